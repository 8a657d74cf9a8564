"""Class tables that the user gives."""

import json
import struct

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from hypercover.errors import LabelError
from hypercover.gis.style import category_style, palette_style
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_tables import (
    parse_clr,
    parse_qml,
    read_legend,
    read_trailer_names,
)
from hypercover.scene.io.reading import open_labels
from hypercover.scene.legend import Legend, class_colors

NAMES = {1: "Water", 2: "Süd, Wald", 5: "Road"}

WATER = Legend.of(NAMES, class_colors(NAMES, {2: "#00ff00"}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'code,name,color\n1,Water,\n2,"Süd, Wald",#00ff00\n5,Road,\n'),
        ("a.csv", "\ufeffCode;Name;Colour\n1;Water;\n2;Süd, Wald;#00ff00\n5;Road;\n"),
        ("a.tsv", "name\tcode\tcolor\nWater\t1\t\nSüd, Wald\t2\t#00ff00\nRoad\t5\t\n"),
        (
            "a.yaml",
            "- {code: 1, name: Water}\n- {code: 2, name: 'Süd, Wald', color: '#00ff00'}\n"
            "- {code: 5, name: Road}\n",
        ),
        ("a.json", json.dumps(WATER.to_json())),
        ("a.json", json.dumps({"classes": WATER.to_json()})),
    ],
)
def test_all_ways_to_write_it(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_legend(tmp_path / name) == WATER


def test_a_mapping_from_code_to_name(tmp_path):
    (tmp_path / "a.yml").write_text("1: Water\n2: Wald\n")
    assert read_legend(tmp_path / "a.yml").names == ("Water", "Wald")


def test_it_comes_before_what_the_file_says(tmp_path, codes, utm):
    np.save(tmp_path / "gt.npy", codes)
    (tmp_path / "a.csv").write_text("code,name\n1,Eins\n2,Zwei\n")
    _, legend = open_labels(tmp_path / "gt.npy", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Eins", "Zwei", "Class 5")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "code,name\n"),
        ("a.csv", "number,title\n1,x\n"),
        ("a.csv", "code,name\nx,y\n"),
        ("a.csv", "code,name\n1,\n"),
        ("a.csv", "code,name\n0,zero\n"),
        ("a.csv", "code,name\n-1,minus\n"),
        ("a.csv", "code,name\n1.5,half\n"),
        ("a.csv", "code,name,r,g,b\n1,a,300,0,0\n"),
        ("a.csv", "code,name\n1,a\n1,b\n"),
        ("a.csv", "code,name,color\n1,a,red\n"),
        ("a.json", "{"),
        ("a.json", "3"),
        ("a.json", "[1, 2]"),
        ("a.yaml", "a: [b"),
        ("a.yaml", "!!python/object/apply:os.system [echo]"),
        ("a.yaml", "[" * 5000),
        ("a.csv", "\0\0\0"),
    ],
)
def test_what_is_no_table(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError):
        read_legend(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_legend(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 100_000),
        ("deep.yaml", "[" * 20_000),
        ("nested.json", json.dumps([{"code": 1, "name": ["Water"]}])),
        ("nested.yaml", "- {code: 1, name: &a [x, x]}\n- {code: 2, name: [*a, *a]}\n"),
    ],
)
def test_tables_that_unfold_without_end_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match="is not a class table"):
        read_legend(tmp_path / name)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_as_spreadsheets_save_it(tmp_path, encoding, delimiter, newline):
    rows = [
        "Code;Name;",
        ";;",
        "1.0;Straße;",
        "2,0;Gewässer;" if delimiter != "," else "2.;Gewässer;",
        ";;",
    ]
    text = newline.join(rows).replace(";", delimiter) + newline
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_legend(tmp_path / "a.csv").names == ("Straße", "Gewässer")
    assert read_legend(tmp_path / "a.csv").codes == (1, 2)


@pytest.mark.parametrize(
    "heads",
    [
        "Value,Class",
        "CLASS_ID,Class Name",
        "id,label",
        "Klasse,Bezeichnung",
        "valeur,nom",
        "Código,Nombre",
        "codice,nome",
        "gridcode,LandCover",
        "Nr.;Name",
        "class,name",
    ],
)
def test_heads_of_other_programs_and_languages(tmp_path, heads):
    delimiter = ";" if ";" in heads else ","
    (tmp_path / "a.csv").write_text(f"{heads}\n3{delimiter}Wald\n", encoding="utf-8")
    legend = read_legend(tmp_path / "a.csv")
    assert (legend.codes, legend.names) == ((3,), ("Wald",))


@pytest.mark.parametrize(
    ("heads", "cells"),
    [
        ("code,name,color", '1,a,"60, 180, 75"'),
        ("code,name,color", "1,a,3CB44B"),
        ("value,class,red,green,blue", "1,a,60,180,75"),
        ("code,name,R,G,B,A", "1,a,60,180,75,255"),
        ("code,name,rgb", '1,a,"rgb(60,180,75)"'),
    ],
)
def test_colours_as_people_write_them(tmp_path, heads, cells):
    (tmp_path / "a.csv").write_text(f"{heads}\n{cells}\n")
    assert read_legend(tmp_path / "a.csv")[1].color == "#3cb44b"


def test_a_table_without_heads(tmp_path):
    (tmp_path / "a.csv").write_text("1;Wald;#112233\n2;Moor;\n")
    legend = read_legend(tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor")
    assert legend[1].color == "#112233"


def test_a_fault_names_its_line(tmp_path):
    (tmp_path / "a.csv").write_text("code,name\n1,a\n\nzwei,b\n")
    with pytest.raises(LabelError, match="line 4 has 'zwei' instead of a class code"):
        read_legend(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("kode number,titel\n1,a\n")
    with pytest.raises(
        LabelError, match="no column is the code or the name among 'kode number'"
    ):
        read_legend(tmp_path / "a.csv")


def test_a_name_for_0_counts_where_0_is_a_class(tmp_path, utm):
    import rasterio

    values = np.arange(13 * 11, dtype=np.uint8).reshape(13, 11) % 3
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=13,
        width=11,
        count=1,
        dtype="uint8",
        nodata=255,
    ) as file:
        file.write(values, 1)
    (tmp_path / "a.csv").write_text("code,name\n0,Fels\n1,Wald\n2,Moor\n")
    labels, legend = open_labels(tmp_path / "a.tif", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor", "Fels")
    assert np.array_equal(labels, np.where(values == 0, 3, values))
    (tmp_path / "a.csv").write_text("code,name\n0,unlabelled\n1,Wald\n2,Moor\n")
    labels, legend = open_labels(tmp_path / "a.tif", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor")
    assert np.array_equal(labels, values)


LEGEND = Legend.of({1: "Moor", 2: "Heide"}, {1: "#123456", 2: "#654321"})

OLD = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="2.18"><renderer-v2 attr="kind" type="categorizedSymbol">
<categories><category symbol="0" value="1" label="Moor"/><category symbol="1" value="2" label="Heide"/>
<category symbol="1" value="" label="all other"/></categories>
<symbols><symbol name="0" type="fill"><layer class="SimpleFill"><prop k="color" v="18,52,86,255"/>
<prop k="outline_color" v="0,0,0,255"/></layer></symbol>
<symbol name="1" type="fill"><layer class="SimpleFill"><prop k="color" v="101,67,33,255"/></layer></symbol>
</symbols></renderer-v2></qgis>"""


def raster(path, utm, codes, **options):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=13,
        width=11,
        count=1,
        dtype="uint8",
        crs=utm.crs,
        transform=Affine(*utm.transform),
        **options,
    ) as file:
        file.write(codes, 1)


@pytest.fixture
def patches():
    codes = np.zeros((13, 11), np.uint8)
    codes[:4], codes[8:] = 1, 2
    return codes


def shapes(path, utm, values, name="kind"):
    a, _, c, _, e, f = utm.transform
    boxes = [
        shapely.box(c, f + 4 * e, c + 4 * a, f),
        shapely.box(c, f + 9 * e, c + 4 * a, f + 5 * e),
    ]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(boxes, object)),
        [np.asarray(values)],
        [name],
        geometry_type="Polygon",
        crs=utm.crs,
    )
    return path


def test_the_style_beside_a_raster(tmp_path, utm, patches):
    raster(tmp_path / "a.tif", utm, patches)
    (tmp_path / "a.qml").write_text(palette_style(LEGEND), encoding="utf-8")
    _, legend = open_labels(tmp_path / "a.tif", utm)
    assert legend == LEGEND


@pytest.mark.parametrize("name", ["a.clr", "a.tif.clr"])
def test_the_colour_file_beside_a_raster(tmp_path, utm, patches, name):
    raster(tmp_path / "a.tif", utm, patches)
    (tmp_path / name).write_text("0 0 0 0\n1 18 52 86 255 Moor\n2 101 67 33 255 Heide\n")
    assert open_labels(tmp_path / "a.tif", utm)[1] == LEGEND


@pytest.mark.parametrize("values", [[1, 2], np.array(["1", "2"], object), [1.0, 2.0]])
@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson"])
def test_the_style_beside_shapes_with_codes(tmp_path, utm, values, name):
    path = shapes(tmp_path / name, utm, values)
    (tmp_path / "a.qml").write_text(OLD)
    assert open_labels(path, utm)[1] == LEGEND


def test_the_style_in_a_geopackage(tmp_path, utm):
    """As QGIS keeps it, beside one of another layer."""
    path = shapes(tmp_path / "a.gpkg", utm, np.array(["Moor", "Heide"], object))
    style = category_style(LEGEND, "kind")
    columns = {
        "f_table_name": ["other", "a"],
        "useAsDefault": [True, True],
        "styleQML": [style.replace("18,52,86", "1,1,1"), style],
    }
    pyogrio.raw.write(
        path,
        None,
        [
            np.array(one, object if isinstance(one[0], str) else None)
            for one in columns.values()
        ],
        list(columns),
        geometry_type=None,
        layer="layer_styles",
        append=True,
    )
    _, legend = open_labels(path, utm)
    assert {land.name: land.color for land in legend} == {
        "Moor": "#123456",
        "Heide": "#654321",
    }


def test_a_style_of_another_attribute_is_passed_over(tmp_path, utm):
    path = shapes(tmp_path / "a.gpkg", utm, [1, 2], "code")
    (tmp_path / "a.qml").write_text(OLD)
    assert open_labels(path, utm)[1].names == ("Class 1", "Class 2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<qgis>",
        "<qgis/>",
        "<qgis><paletteEntry/></qgis>",
        '<!DOCTYPE q [<!ENTITY a "b">]><qgis><paletteEntry value="1" color="#112233"/></qgis>',
        '<qgis><paletteEntry value="1" color="red"/></qgis>',
    ],
)
def test_what_is_no_style_gives_no_colour(text):
    assert parse_qml(text).colors == {}


def test_a_colour_file_with_nonsense_keeps_what_is_a_colour():
    found = parse_clr("# colours\n1 0 0 255\n2 0 0 256\nx 1 2 3\n3,10,20,30\n")
    assert found.colors == {"1": "#0000ff", "3": "#0a141e"}


def test_names_of_an_attribute_table_are_read(tmp_path, utm, patches):
    """ArcGIS and QGIS write tables of attributes, not the list of categories."""
    raster(tmp_path / "a.tif", utm, patches)
    columns = [("OID", 0, 0), ("Value", 0, 5), ("Count", 0, 1), ("Class_Name", 2, 2)]
    heads = "".join(
        f"<FieldDefn index='{at}'><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>"
        for at, (name, kind, usage) in enumerate(columns)
    )
    rows = "".join(
        f"<Row index='{at}'><F>{at}</F><F>{code}</F><F>44</F><F>{name}</F></Row>"
        for at, (code, name) in enumerate([(2, "Heide"), (1, "Moor")])
    )
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><GDALRasterAttributeTable>"
        f"{heads}{rows}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    assert open_labels(tmp_path / "a.tif", utm)[1].names == ("Moor", "Heide")


NAMES_OF_TRAILER = ["background", "Corn-CleanTill-NS-Irrigated", "Hay?", "", "Grass/Trees"]


def write_gis(path, codes):
    """Write a label map of 8 bits: a head of 128 bytes, then the codes."""
    rows, cols = codes.shape
    head = struct.pack("<6sHH6xii", b"HEAD74", 0, 1, cols, rows)
    path.write_bytes(head.ljust(128, b"\0") + codes.tobytes())


def trailer(names, head=b"TRAIL74"):
    """Lay out a trailer: head, colours, head, counts, and 32 bytes for each name."""
    colours = bytes(range(256)) * 3
    listed = b"".join((name.encode("latin-1") + b"~").ljust(32, b"\0") for name in names)
    return (
        head.ljust(128, b"\0") + colours + head.ljust(128, b"\0") + bytes(8 * 128) + listed
    )


@pytest.mark.parametrize("suffix", [".trl", ".TRL"])
def test_names_of_a_gis_label_map(tmp_path, suffix):
    codes = np.array([[0, 1, 2], [3, 4, 4]], np.uint8)
    write_gis(tmp_path / "truth.GIS", codes)
    (tmp_path / f"truth{suffix}").write_bytes(trailer(NAMES_OF_TRAILER))
    found, legend = open_labels(tmp_path / "truth.GIS", Grid(2, 3))
    np.testing.assert_array_equal(found, codes)
    named = dict(zip(legend.codes, legend.names, strict=True))
    assert named == {1: NAMES_OF_TRAILER[1], 2: "Hay?", 3: "Class 3", 4: "Grass/Trees"}


@pytest.mark.parametrize(
    "content",
    [b"", b"TRAIL74", trailer(NAMES_OF_TRAILER, b"NOTHING"), trailer(["", "a\x07b"])],
)
def test_what_is_no_trailer_names_nothing(tmp_path, content):
    path = tmp_path / "truth.GIS"
    assert read_trailer_names(path) == {}
    path.with_suffix(".trl").write_bytes(content)
    assert read_trailer_names(path) == {}
