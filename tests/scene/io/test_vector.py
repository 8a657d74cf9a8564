"""Labels from shapes: attributes become classes, centres of pixels decide."""

import sqlite3
import struct
import threading
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform_geom

from hypercover.errors import LabelError
from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.io.vector import read_vector_labels
from hypercover.scene.selection import read_area

UTM = "EPSG:32616"


def cells(utm, row, col, rows, cols):
    """Rectangle that covers whole pixels."""
    a, _, c, _, e, f = utm.transform
    return shapely.box(c + a * col, f + e * (row + rows), c + a * (col + cols), f + e * row)


def save(path, geometries, crs=UTM, **columns):
    names, values = list(columns), [np.asarray(column) for column in columns.values()]
    kinds = {one.geom_type if one is not None else "Polygon" for one in geometries}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(geometries, object)),
        values,
        names,
        geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        crs=crs,
    )
    return path


@pytest.fixture
def shapes(utm):
    """Three fields of two classes."""
    return [cells(utm, 1, 1, 3, 3), cells(utm, 6, 2, 3, 6), cells(utm, 10, 10, 1, 1)]


@pytest.fixture
def expected():
    label_map = np.zeros((13, 11), np.uint8)
    label_map[1:4, 1:4], label_map[6:9, 2:8], label_map[10, 10] = 3, 7, 3
    return label_map


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
@pytest.mark.parametrize("kind", [np.int32, np.float64])
def test_numbers_are_codes(tmp_path, utm, shapes, expected, name, kind):
    crs = "EPSG:4326" if name == "a.geojson" else UTM
    there = shapes
    if crs != UTM:
        there = [
            shapely.geometry.shape(
                transform_geom(UTM, crs, shapely.geometry.mapping(one), precision=12)
            )
            for one in shapes
        ]
    path = save(tmp_path / name, there, crs, code=np.array([3, 7, 3], kind))
    labels, legend = open_labels(path, utm)
    np.testing.assert_array_equal(labels, expected)
    assert legend.codes == (3, 7)


@pytest.mark.parametrize("count", [4, 10**6, 10**10, 2**62])
def test_a_flatgeobuf_that_lies_about_its_shapes_is_refused(tmp_path, utm, shapes, count):
    path = save(tmp_path / "a.fgb", shapes, code=[3, 7, 3])
    whole = path.read_bytes()
    at = whole.find(struct.pack("<Q", 3))
    path.write_bytes(whole[:at] + struct.pack("<Q", count) + whole[at + 8 :])
    with pytest.raises(LabelError):
        open_labels(path, utm)


@pytest.mark.parametrize("cut", [9, 60, 200, -1])
def test_a_flatgeobuf_cut_short_is_refused(tmp_path, utm, shapes, cut):
    path = save(tmp_path / "a.fgb", shapes, code=[3, 7, 3])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(LabelError):
        open_labels(path, utm)


@pytest.mark.parametrize(
    ("name", "begin", "kind"),
    [
        ("my a.parquet", b"PAR1\x15\x04", "is Parquet"),
        ("my a.kml", b'<?xml version="1.0"?>\n<kml xmlns="x">', "is KML"),
        ("my a.gml", b"\xef\xbb\xbf<gml:FeatureCollection>", "is GML"),
        ("my a.gpx", b"<gpx>", "is GPX"),
        ("my a.kmz", b"PK\x03\x04", "is KMZ"),
        ("my a.tab", b"!table\n!version 300", "is MapInfo"),
    ],
)
def test_shapes_in_other_formats_are_told_which_are_read(tmp_path, utm, name, begin, kind):
    path = tmp_path / name
    path.write_bytes(begin)
    with pytest.raises(LabelError) as refused:
        open_labels(path, utm)
    said = str(refused.value)
    assert "Shapes are read from GeoPackage, GeoJSON, Shapefile and FlatGeobuf" in said
    assert kind in said
    # The command can be copied, spaces and all.
    assert said.endswith(f"(ogr2ogr shapes.gpkg '{path}').")


def test_names_are_numbered_by_the_alphabet(tmp_path, utm, shapes, expected):
    path = save(
        tmp_path / "a.gpkg", shapes, kind=np.array(["Wheat", " Corn", "Wheat"], object)
    )
    labels, legend = open_labels(path, utm)
    np.testing.assert_array_equal(labels, np.where(expected == 3, 2, expected // 7))
    assert dict(zip(legend.codes, legend.names, strict=True)) == {1: "Corn", 2: "Wheat"}


def test_another_system_is_reprojected(tmp_path, utm, shapes, expected):
    path = save(
        tmp_path / "a.gpkg",
        [
            shapely.geometry.shape(
                transform_geom(UTM, "EPSG:3857", shapely.geometry.mapping(one))
            )
            for one in shapes
        ],
        "EPSG:3857",
        code=[3, 7, 3],
    )
    np.testing.assert_array_equal(open_labels(path, utm)[0], expected)


def test_the_centre_of_a_pixel_decides(tmp_path, utm):
    a, _, c, _, e, f = utm.transform
    corner = (c + 4 * a, f + 5 * e)
    for share, inside in ((0.49, False), (0.51, True)):
        box = shapely.box(
            corner[0], corner[1] + share * e, corner[0] + share * a, corner[1]
        )
        far = cells(utm, 0, 0, 1, 1)
        path = save(tmp_path / f"{inside}.gpkg", [box, far], code=[2, 1])
        assert bool(open_labels(path, utm)[0][5, 4] == 2) is inside


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson"])
def test_lines_are_no_land(tmp_path, utm, shapes, name):
    """They labelled each pixel that they touch, though none has its centre in one."""
    line = shapely.LineString([shapes[0].centroid, shapes[1].centroid])
    path = save(tmp_path / name, [shapes[0], line], code=[1, 2])
    for reading in (open_labels, read_area):
        with pytest.raises(LabelError, match="holds lines, which contain no pixel centre"):
            reading(path, utm)


def test_a_file_without_a_shape_is_said_to_have_none(tmp_path, utm):
    path = tmp_path / "a.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    for reading in (partial(open_labels, field="crop"), read_area):
        with pytest.raises(LabelError, match="holds no shape; give one that has some"):
            reading(path, utm)


def test_one_shape_without_a_class_is_one_left_out(tmp_path, utm, shapes):
    path = save(tmp_path / "a.gpkg", shapes, kind=np.array(["Corn", None, "Oats"], object))
    assert read_vector_labels(path, utm).losses == ("1 shape without a class: left out.",)


def test_points_label_their_pixel(tmp_path, utm):
    a, _, c, _, e, f = utm.transform
    points = [
        shapely.Point(c + (col + 0.3) * a, f + (row + 0.8) * e)
        for row, col in ((2, 3), (7, 1))
    ]
    labels, _ = open_labels(save(tmp_path / "a.gpkg", points, code=[4, 5]), utm)
    assert np.argwhere(labels == 4).tolist() == [[2, 3]]
    assert np.argwhere(labels == 5).tolist() == [[7, 1]]


def test_pixels_of_two_classes_stay_unlabelled_and_are_counted(tmp_path, utm, values):
    boxes = [cells(utm, 0, 0, 4, 4), cells(utm, 2, 2, 4, 4), cells(utm, 0, 0, 2, 2)]
    path = save(tmp_path / "a.gpkg", boxes, code=[1, 2, 1])
    labels, _ = open_labels(path, utm)
    assert (labels[2:4, 2:4] == 0).all()
    assert (labels[:2, :4] == 1).all()
    assert np.count_nonzero(labels) == 16 + 16 - 8
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=13,
        width=11,
        count=6,
        dtype="int16",
        crs=utm.crs,
        transform=Affine(*utm.transform),
    ) as file:
        file.write(values)
    notes = open_scene(tmp_path / "a.tif", path).notes
    assert any("4 pixels lie in shapes of more than one class" in note for note in notes)


def test_shapes_without_class_or_geometry_are_left_out(tmp_path, utm, shapes):
    path = save(
        tmp_path / "a.gpkg", [*shapes, None], kind=np.array(["a", None, " ", "b"], object)
    )
    labels, legend = open_labels(path, utm)
    assert np.count_nonzero(labels) == 9
    assert legend.names == ("a",)


class TestAttribute:
    def test_an_ambiguous_one_is_asked_for(self, tmp_path, utm, shapes):
        path = save(
            tmp_path / "a.gpkg", shapes, owner=["x", "y", "z"], crop=["a", "b", "a"]
        )
        with pytest.raises(LabelError, match="--label-field NAME, one of: owner, crop"):
            open_labels(path, utm)
        assert open_labels(path, utm, field="crop")[1].names == ("a", "b")

    def test_a_usual_name_is_found(self, tmp_path, utm, shapes):
        path = save(tmp_path / "a.gpkg", shapes, owner=["x", "y", "z"], Class=[1, 2, 1])
        assert open_labels(path, utm)[1].codes == (1, 2)

    def test_an_unknown_one(self, tmp_path, utm, shapes):
        path = save(tmp_path / "a.gpkg", shapes, code=[1, 2, 1])
        with pytest.raises(LabelError, match=r"no attribute 'x'.*one of: code"):
            open_labels(path, utm, field="x")

    @pytest.mark.parametrize("value", [1.5, -1.0, 70000.0])
    def test_numbers_that_are_no_codes(self, tmp_path, utm, shapes, value):
        path = save(tmp_path / "a.gpkg", shapes, code=[1.0, value, 2.0])
        with pytest.raises(LabelError, match=f"from 0 to 65535, found {value:g}"):
            open_labels(path, utm)


class TestPlace:
    def test_shapes_elsewhere(self, tmp_path, utm, shapes):
        far = [shapely.affinity.translate(one, 1e5, 0) for one in shapes]
        with pytest.raises(LabelError, match="covers the centre of a pixel"):
            open_labels(save(tmp_path / "a.gpkg", far, code=[1, 2, 3]), utm)

    @pytest.mark.filterwarnings("ignore:'crs' was not provided")
    def test_degrees_without_a_system_are_told(self, tmp_path, utm):
        path = save(tmp_path / "a.shp", [shapely.box(15, 36, 16, 37)], None, code=[1])
        (tmp_path / "a.prj").unlink(missing_ok=True)
        with pytest.raises(LabelError, match=r"look like degrees.*-a_srs EPSG:4326"):
            open_labels(path, utm)

    def test_an_image_without_a_place(self, tmp_path, shapes):
        path = save(tmp_path / "a.gpkg", shapes, code=[1, 2, 3])
        with pytest.raises(LabelError, match="without a georeference"):
            open_labels(path, Grid(13, 11))

    @pytest.mark.filterwarnings("ignore:'crs' was not provided")
    def test_without_a_system_the_image_s_is_taken(self, tmp_path, utm, shapes, expected):
        path = save(tmp_path / "a.shp", shapes, None, code=[3, 7, 3])
        (tmp_path / "a.prj").unlink(missing_ok=True)
        np.testing.assert_array_equal(open_labels(path, utm)[0], expected)


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson"])
def test_damage_is_explained(tmp_path, utm, shapes, name):
    path = save(tmp_path / name, shapes, "EPSG:4326", code=[1, 2, 3])
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(LabelError, match=name):
        open_labels(path, utm)


def test_no_shape_of_a_file_cut_short_is_lost_in_silence(tmp_path, utm, shapes):
    """GDAL ends where the bytes of a FlatGeobuf end, and says nothing."""
    path = save(tmp_path / "a.fgb", shapes, "EPSG:4326", code=[1, 2, 3])
    whole = path.read_bytes()
    said = set()
    for size in range(len(whole) - 1, len(whole) // 2, -7):
        path.write_bytes(whole[:size])
        with pytest.raises(LabelError, match="damaged") as refused:
            open_labels(path, utm)
        said.add(str(refused.value))
    assert any("3 shapes, of which" in sentence for sentence in said)


@pytest.fixture
def server():
    """A server on this machine that counts who asks."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/crs", asked
        found.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "crs",
    [
        '"crs": {"type": "link", "properties": {"href": "ADDRESS"}}',
        '"CRS": {"properties": {"url": "ADDRESS"}, "Type": "URL"}',
        '"crs": {"type": "l\\u0069nk", "properties": {"href": "ADDRESS"}}',
        '"crs" /* GDAL takes notes */: {"type": "link", "properties": {"href": "ADDRESS"}}',
        "'crs': {'type': 'link', 'properties': {'href': 'ADDRESS'}}",
    ],
)
def test_a_link_in_geojson_is_never_followed(tmp_path, utm, shapes, server, crs):
    address, asked = server
    told = crs.replace("ADDRESS", address)
    field = f'{{"type": "Feature", "properties": {{"class": 1}}, "geometry": {shapely.to_geojson(shapes[0])}}}'
    path = tmp_path / "linked.geojson"
    path.write_text(f'{{"type": "FeatureCollection", "features": [{field}], {told}}}')
    with pytest.raises(LabelError, match=r"network address|not GeoJSON"):
        open_labels(path, utm)
    assert asked == []


def test_a_database_that_is_no_geopackage_is_refused(tmp_path, utm):
    path = tmp_path / "a.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE fields (class INTEGER)")
    database.execute("INSERT INTO fields VALUES (1)")
    database.commit()
    database.close()
    with pytest.raises(LabelError, match="not a GeoPackage"):
        open_labels(path, utm)


def test_a_table_without_shapes_is_refused(tmp_path, utm):
    path = tmp_path / "a.gpkg"
    pyogrio.raw.write(path, None, [np.array([1])], ["class"], geometry_type=None)
    with pytest.raises(LabelError, match="a table without shapes"):
        open_labels(path, utm)


def test_of_two_layers_with_shapes_none_is_chosen_in_silence(tmp_path, utm, shapes):
    path = save(tmp_path / "a.gpkg", shapes, code=[3, 7, 3])
    table = [np.array(["<qgis/>"], object)]
    pyogrio.raw.write(
        path, None, table, ["qml"], geometry_type=None, layer="layer_styles", append=True
    )
    assert open_labels(path, utm)[0].any()
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes[:1]),
        [np.array([9])],
        ["code"],
        geometry_type="Polygon",
        crs=UTM,
        layer="later",
        append=True,
    )
    with pytest.raises(
        LabelError, match=r"2 layers with shapes.*--label-layer.*: a, later"
    ):
        open_labels(path, utm)
    assert open_labels(path, utm, layer="later")[1].codes == (9,)
    assert open_labels(path, utm, layer="a")[1].codes == (3, 7)
    with pytest.raises(LabelError, match=r"no layer 'b' of shapes.*one of: a, later"):
        open_labels(path, utm, layer="b")


ENDLESS = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT "
VIEW = f"CREATE VIEW {{}} AS {ENDLESS} i AS fid, i AS class, NULL AS geom FROM r"
REGISTERED = (
    "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
    "SELECT 'more', data_type, 'more', srs_id FROM gpkg_contents",
    "INSERT INTO gpkg_geometry_columns SELECT 'more', column_name, geometry_type_name, "
    "srs_id, z, m FROM gpkg_geometry_columns",
)


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as database:
        for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY", "ST_IsEmpty"):
            database.create_function(name, 1, lambda _: 0)
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((VIEW.format("more"), *REGISTERED), "more of .* is a view"),
        (
            ("ALTER TABLE fields RENAME TO f", VIEW.format("fields")),
            "fields of .* is a view",
        ),
        (
            (
                "ALTER TABLE gpkg_contents RENAME TO c",
                f"CREATE VIEW gpkg_contents AS {ENDLESS} c.* FROM c, r",
            ),
            "gpkg_contents of .* is a view",
        ),
        ((VIEW.format("layer_styles"),), "layer_styles of .* is a view"),
        (("CREATE VIRTUAL TABLE more USING fts4(class)", *REGISTERED), "virtual table"),
        (
            ("ALTER TABLE fields ADD big TEXT AS (hex(zeroblob(400000000)))",),
            "generated columns",
        ),
        (("DROP TABLE gpkg_contents",), "not a GeoPackage"),
    ],
)
def test_a_layer_that_is_computed_is_refused_before_it_runs(
    tmp_path, utm, shapes, statements, said
):
    path = save(tmp_path / "fields.gpkg", shapes, **{"class": [1, 2, 2]})
    changed(path, *statements)
    with pytest.raises(LabelError, match=said):
        read_vector_labels(path, utm)


@pytest.mark.parametrize(
    "statement",
    [
        VIEW.format("beside"),
        "CREATE TRIGGER wipe AFTER INSERT ON fields BEGIN DELETE FROM fields; END",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)",
    ],
)
def test_views_and_triggers_that_nothing_runs_do_no_harm(
    tmp_path, utm, shapes, expected, statement
):
    path = save(tmp_path / "fields.gpkg", shapes, **{"class": [2, 7, 2]})
    plain = read_vector_labels(path, utm).codes
    changed(path, statement)
    assert np.array_equal(read_vector_labels(path, utm).codes, plain)


def test_looking_at_a_geopackage_has_an_end(tmp_path, utm, shapes, monkeypatch):
    """The clock is asked while SQLite works, so that no listing takes for ever."""
    monkeypatch.setattr("hypercover.scene.io.vector._SECONDS", -1.0)
    monkeypatch.setattr("hypercover.scene.io.vector._STEPS", 1)
    path = save(tmp_path / "fields.gpkg", shapes, **{"class": [1, 2, 2]})
    with pytest.raises(LabelError, match="takes too long"):
        read_vector_labels(path, utm)


def test_more_shapes_than_are_read_are_refused(tmp_path, utm, shapes, monkeypatch):
    monkeypatch.setattr("hypercover.scene.io.vector._MAX_SHAPES", 2)
    path = save(tmp_path / "fields.gpkg", shapes, **{"class": [1, 2, 2]})
    with pytest.raises(LabelError, match="3 shapes, more than the 2"):
        read_vector_labels(path, utm)


def text(*values):
    return np.array(values, object)


@pytest.mark.parametrize(
    "written", [("1", "10", "2"), ("1.0", " 10 ", "2,0"), ("01", "10", "+2")]
)
def test_text_that_is_a_whole_number_is_that_code(tmp_path, utm, shapes, expected, written):
    """They were numbered by the alphabet: "10" became 2, and "2" became 3."""
    path = save(tmp_path / "a.gpkg", shapes, kind=text(*written))
    labels, legend = open_labels(path, utm)
    assert legend.codes == (1, 2, 10)
    assert labels[2, 2] == 1
    assert labels[7, 4] == 10
    assert labels[10, 10] == 2


def test_names_beside_numbers_take_codes_that_no_number_has(tmp_path, utm, shapes):
    path = save(tmp_path / "a.gpkg", shapes, kind=text("Wheat", "1", "7"))
    labels, legend = open_labels(path, utm)
    assert dict(zip(legend.codes, legend.names, strict=True)) == {
        1: "Class 1",
        7: "Class 7",
        8: "Wheat",
    }
    assert labels[2, 2] == 8


def test_text_that_is_no_code_is_refused_or_a_name(tmp_path, utm, shapes):
    path = save(tmp_path / "a.gpkg", shapes, kind=text("1", "-1", "2"))
    with pytest.raises(LabelError, match="from 0 to 65535, found -1"):
        open_labels(path, utm)
    path = save(tmp_path / "b.gpkg", shapes, kind=text("700101", "700102", "700101"))
    assert open_labels(path, utm)[1].names == ("700101", "700102")


class TestLosses:
    """Of what shapes and classes vanish, each is counted and named."""

    def test_shapes_outside_too_small_and_under_others(self, tmp_path, utm, shapes):
        a, _, c, _, e, f = utm.transform
        tiny = shapely.box(c + 5.1 * a, f + 5.4 * e, c + 5.4 * a, f + 5.1 * e)
        far = shapely.affinity.translate(shapes[0], 1e5, 0)
        path = save(
            tmp_path / "a.gpkg",
            [*shapes, tiny, far, far, shapes[2]],
            kind=text("a", "b", "a", "speck", "away", "a", "a"),
        )
        assert read_vector_labels(path, utm).losses == (
            "2 shapes of 7 outside the image: 1 of a, 1 of away.",
            "1 shape of 7 without the centre of a pixel in it: 1 of speck.",
            "1 shape of 7 wholly under other shapes: 1 of a.",
            "Classes lost, because none of their shapes labels a pixel: away, speck.",
        )

    def test_codes_without_names(self, tmp_path, utm, shapes):
        far = shapely.affinity.translate(shapes[2], 1e5, 0)
        path = save(tmp_path / "a.gpkg", [*shapes[:2], far], code=[1, 2, 3])
        assert read_vector_labels(path, utm).losses == (
            "1 shape of 3 outside the image: 1 of class 3.",
            "Classes lost, because none of their shapes labels a pixel: class 3.",
        )

    def test_shapes_without_class_or_geometry_and_of_code_0(self, tmp_path, utm, shapes):
        path = save(tmp_path / "a.gpkg", [*shapes, None], code=[1.0, np.nan, 0.0, 2.0])
        told = read_vector_labels(path, utm).losses
        assert told[:2] == (
            "1 shape without a geometry: left out.",
            "1 shape without a class: left out.",
        )
        assert told[2].startswith("1 shape of code 0, which means unlabelled: left out")

    def test_a_shape_seen_in_one_pixel_is_not_lost(self, tmp_path, utm):
        boxes = [cells(utm, 0, 0, 4, 4), cells(utm, 1, 1, 3, 4), cells(utm, 2, 2, 9, 9)]
        path = save(tmp_path / "a.gpkg", boxes, code=[5, 5, 5])
        assert read_vector_labels(path, utm).losses == ()


@pytest.mark.parametrize("encoding", ["UTF-8", "cp1252", "iso-8859-1", "cp850"])
@pytest.mark.parametrize("stated", [True, False])
def test_text_of_a_shapefile_in_its_encoding(tmp_path, utm, shapes, encoding, stated):
    """Without a .cpg, UTF-8 was read as Latin-1: Gewässer had five strange letters."""
    if encoding == "cp850" and not stated:
        pytest.skip("nothing tells it from Windows-1252")
    names = np.array(["Gewässer", "Straße", "Gewässer"], object)
    pyogrio.raw.write(
        tmp_path / "a.shp",
        shapely.to_wkb(np.array(shapes, object)),
        [names],
        ["kind"],
        geometry_type="Polygon",
        crs=UTM,
        encoding=encoding,
    )
    if not stated:
        (tmp_path / "a.cpg").unlink()
    assert open_labels(tmp_path / "a.shp", utm)[1].names == ("Gewässer", "Straße")


def test_a_shapefile_that_states_a_wrong_encoding_is_still_read(tmp_path, utm, shapes):
    names = np.array(["Gewässer", "Straße", "Gewässer"], object)
    pyogrio.raw.write(
        tmp_path / "a.shp",
        shapely.to_wkb(np.array(shapes, object)),
        [names],
        ["kind"],
        geometry_type="Polygon",
        crs=UTM,
        encoding="cp1252",
    )
    (tmp_path / "a.cpg").write_text("UTF-8")
    found = open_labels(tmp_path / "a.shp", utm)[1].names
    assert len(found) == 2
    assert found[1].startswith("Stra")
