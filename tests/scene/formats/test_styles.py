"""Colours and names from styles that lie in or beside a label file."""

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from hypercover.maps.style import category_style, palette_style
from hypercover.scene.formats.styles import clr_style, qml_style
from hypercover.scene.legend import Legend
from hypercover.scene.reading import open_labels

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
    with rasterio.open(path, "w", driver="GTiff", height=13, width=11, count=1, dtype="uint8",
                       crs=utm.crs, transform=Affine(*utm.transform), **options) as file:  # fmt: skip
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
        path, shapely.to_wkb(np.array(boxes, object)), [np.asarray(values)], [name],
        geometry_type="Polygon", crs=utm.crs,
    )  # fmt: skip
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
    columns = {"f_table_name": ["other", "a"], "useAsDefault": [True, True],
               "styleQML": [style.replace("18,52,86", "1,1,1"), style]}  # fmt: skip
    pyogrio.raw.write(
        path, None, [np.array(one, object if isinstance(one[0], str) else None)
                     for one in columns.values()],
        list(columns), geometry_type=None, layer="layer_styles", append=True,
    )  # fmt: skip
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
        "", "no xml", "<qgis>", "<qgis/>", "<qgis><paletteEntry/></qgis>",
        '<!DOCTYPE q [<!ENTITY a "b">]><qgis><paletteEntry value="1" color="#112233"/></qgis>',
        '<qgis><paletteEntry value="1" color="red"/></qgis>',
    ],
)  # fmt: skip
def test_what_is_no_style_gives_no_colour(text):
    assert qml_style(text).colors == {}


def test_a_colour_file_with_nonsense_keeps_what_is_a_colour():
    found = clr_style("# colours\n1 0 0 255\n2 0 0 256\nx 1 2 3\n3,10,20,30\n")
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
