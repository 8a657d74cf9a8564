"""GeoJSON written shape by shape is what GDAL writes, in time that grows with the map."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.errors import CallError, LabelError
from hypercover.gis.polygons import write_geojson, write_polygons
from hypercover.scene.class_map import ClassMap
from hypercover.scene.grid import Grid
from hypercover.scene.io.vector import read_vector_labels
from hypercover.scene.legend import Legend

NAMES = ['Wälder "am" Hang\\', "2020-01-01", "Hay", "1999/01/01"]


def made(count, names):
    shapes = shapely.box(np.arange(count) + 0.1, 0, np.arange(count) + 1 / 3, 49.5)
    named = np.array([names[one % len(names)] for one in range(count)], object)
    codes = np.arange(count) % len(names)
    return shapes, {"class_id": codes, "class_name": named, "area": shapely.area(shapes)}


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:4258", "OGC:CRS84"])
def test_it_is_what_gdal_writes(crs, tmp_path):
    shapes, said = made(7, NAMES[:1])
    ours, theirs = tmp_path / "ours.geojson", tmp_path / "theirs.geojson"
    first = shapes[:3], {name: one[:3] for name, one in said.items()}
    rest = shapes[3:], {name: one[3:] for name, one in said.items()}
    write_geojson(ours, crs, iter([first, rest]))
    pyogrio.raw.write(
        theirs,
        geometry=shapely.to_wkb(shapes),
        field_data=list(said.values()),
        fields=list(said),
        geometry_type="Polygon",
        crs=crs,
        driver="GeoJSON",
    )
    read = [json.loads(file.read_text(encoding="utf-8")) for file in (ours, theirs)]
    assert read[0]["crs"] == read[1]["crs"]
    for one, other in zip(*(found["features"] for found in read), strict=True):
        assert one["properties"] == pytest.approx(other["properties"])
        assert one["geometry"]["type"] == other["geometry"]["type"]
        corners = [feature["geometry"]["coordinates"][0] for feature in (one, other)]
        np.testing.assert_allclose(*corners, rtol=1e-14)
    meta, _, wkb, columns = pyogrio.raw.read(ours)
    assert meta["fields"].tolist() == list(said)
    assert (shapely.from_wkb(wkb) == shapes).all()
    for column, expected in zip(columns, said.values(), strict=True):
        assert (column == expected).all()
    assert meta["crs"] == pyogrio.raw.read(theirs)[0]["crs"]


def test_a_name_that_looks_like_a_date_is_left_as_it_is(tmp_path):
    shapes, said = made(4, NAMES)
    parts = [
        (shapes[at : at + 1], {name: one[at : at + 1] for name, one in said.items()})
        for at in (1, 3, 2, 0)
    ]
    write_geojson(tmp_path / "m.geojson", "EPSG:32633", parts)
    found = json.loads((tmp_path / "m.geojson").read_text(encoding="utf-8"))["features"]
    names = [one["properties"]["class_name"] for one in found]
    assert names == [NAMES[at] for at in (1, 3, 2, 0)]


PLACE = (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_500_000.0)

LEGEND = Legend.of({1: "Corn & <rye>", 2: "Wälder", 5: "Hay"})


def class_map(codes, crs="EPSG:32633", place=PLACE):
    from rasterio.crs import CRS

    wkt = CRS.from_user_input(crs).to_wkt() if crs else None
    return ClassMap(codes, LEGEND, Grid(*codes.shape, wkt, place))


def read(path):
    meta, _, wkb, columns = pyogrio.raw.read(path)
    named = dict(zip(meta["fields"].tolist(), columns, strict=True))
    return meta, shapely.from_wkb(wkb), named


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 5])))
def test_burning_the_polygons_gives_the_map_again(codes, tmp_path):
    codes[0, 0] = 1
    made, path = class_map(codes), tmp_path / "map.gpkg"
    number, told = write_polygons(made, path)
    meta, shapes, columns = read(path)
    assert number == len(shapes)
    assert told == ""
    assert (read_vector_labels(path, made.grid, "class_id").codes == codes).all()
    assert shapely.is_valid(shapes).all()
    assert columns["area"] == pytest.approx(shapely.area(shapes))
    assert meta["crs"] == "EPSG:32633"
    for code, name, color in zip(
        columns["class_id"], columns["class_name"], columns["color"], strict=True
    ):
        assert (name, color) == (LEGEND[int(code)].name, LEGEND[int(code)].color)


def test_the_minimum_area_merges_and_islands_go(tmp_path):
    codes = np.ones((8, 9), np.uint8)
    codes[2, 2], codes[4:6, 4:6] = 2, 5
    codes[:, 7], codes[0, 8], codes[1:, 8] = 0, 2, 0
    said = []
    number, told = write_polygons(
        class_map(codes),
        tmp_path / "m.gpkg",
        minimum_area=0.04,
        progress=lambda *done: said.append(done),
    )
    _, shapes, columns = read(tmp_path / "m.gpkg")
    # A pixel is 0.01 ha: the four of class 5 stay, the one inside 1 is merged, the
    # island beyond the gap is left out.
    assert sorted(zip(columns["class_id"].tolist(), shapely.area(shapes), strict=True)) == [
        (1, 52 * 100.0),
        (5, 4 * 100.0),
    ]
    assert number == 2
    assert told == (
        "1 pixel changed class in regions of fewer than 4. Left out for lack of a neighbour: "
        "1 region with 1 pixel."
    )
    assert said[-1] == (2, 2)


def test_a_style_for_qgis_lies_beside(tmp_path):
    write_polygons(class_map(np.array([[1, 2, 5]], np.uint8)), tmp_path / "m.geojson")
    style = ElementTree.parse(tmp_path / "m.qml").getroot().find("renderer-v2")
    assert style.get("attr") == "class_name"
    names = [one.get("value") for one in style.find("categories")]
    assert names == list(LEGEND.names)
    assert len(style.find("symbols")) == 3
    assert read(tmp_path / "m.geojson")[2]["class_name"].tolist() == list(LEGEND.names)


def test_geojson_of_many_strips_is_not_read_again_for_each(tmp_path, monkeypatch):
    def refused(*_asked, **_options):
        raise AssertionError("GDAL would read what it appends to")

    monkeypatch.setattr("hypercover.gis.cleaning._STRIP_PIXELS", 7)
    codes = np.random.default_rng(0).choice([1, 2, 5], (20, 7)).astype(np.uint8)
    made, path = class_map(codes), tmp_path / "m.geojson"
    with monkeypatch.context() as patch:
        patch.setattr(pyogrio.raw, "write", refused)
        number, _ = write_polygons(made, path)
    assert number == len(read(path)[1])
    assert (read_vector_labels(path, made.grid, "class_id").codes == codes).all()


def test_what_cannot_be_drawn_is_refused_and_nothing_is_left(tmp_path):
    codes = np.array([[1, 2]], np.uint8)
    with pytest.raises(CallError, match="GeoPackage"):
        write_polygons(class_map(codes), tmp_path / "m.shp")
    with pytest.raises(CallError, match="0 or more hectares"):
        write_polygons(class_map(codes), tmp_path / "m.gpkg", minimum_area=-1)
    with pytest.raises(LabelError, match="no georeference"):
        write_polygons(ClassMap(codes, LEGEND, Grid(1, 2)), tmp_path / "m.gpkg")
    with pytest.raises(LabelError, match="no region of that size"):
        write_polygons(class_map(codes * 0), tmp_path / "m.gpkg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.gpkg", "m.geojson"])
def test_a_system_without_its_code_is_recognised(name, tmp_path):
    from rasterio.crs import CRS

    bare = re.sub(r',AUTHORITY\["EPSG","\d+"\]', "", CRS.from_epsg(32633).to_wkt())
    write_polygons(class_map(np.array([[1, 2]], np.uint8), bare), tmp_path / name)
    assert read(tmp_path / name)[0]["crs"] == "EPSG:32633"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("crs", [None, "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"])
def test_geojson_is_no_place_for_a_system_that_it_cannot_name(crs, tmp_path):
    made = class_map(np.array([[1, 2]], np.uint8), crs)
    with pytest.raises(LabelError, match=r"would be read as degrees.*GeoPackage"):
        write_polygons(made, tmp_path / "m.geojson")
    assert list(tmp_path.iterdir()) == []
    write_polygons(made, tmp_path / "m.gpkg")
    shapes = read(tmp_path / "m.gpkg")[1]
    assert shapely.area(shapes).tolist() == [100.0, 100.0]


def test_hectares_need_a_coordinate_system(tmp_path):
    made = class_map(np.array([[1, 2]], np.uint8), None)
    with pytest.raises(LabelError, match=r"no coordinate system.*--sieve"):
        write_polygons(made, tmp_path / "m.gpkg", minimum_area=0.5)
    assert list(tmp_path.iterdir()) == []


def test_polygons_of_a_map_in_degrees_have_areas_in_square_metres(tmp_path):
    codes = np.repeat([[1, 2]], 3, axis=1).repeat(4, axis=0).astype(np.uint8)
    codes[3, 0] = 2
    made = class_map(codes, "EPSG:4326", (0.01, 0, 10.0, 0, -0.01, 60.0))
    number, told = write_polygons(made, tmp_path / "m.gpkg", minimum_area=100.0)
    assert number == 2
    assert told == "1 pixel changed class in regions of less than 100 ha."
    _, _, columns = read(tmp_path / "m.gpkg")
    hectares = 3 * float(made.pixel_areas.sum())
    np.testing.assert_allclose(columns["area"], hectares * 10_000, rtol=1e-9)
