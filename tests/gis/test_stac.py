"""The STAC item of a class map: classes, place and moment."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform

from hypercover.errors import CallError
from hypercover.gis.map_writing import write_class_map
from hypercover.gis.stac import stac_item, write_stac_item, write_stac_item_of_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

LEGEND = Legend.of({1: "Corn-no till", 4: "北"}, {1: "#0a64ff", 4: "#ff0000"})
WKT = CRS.from_epsg(32616).to_wkt()
GRID = Grid(100, 200, WKT, (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))


def item(grid=GRID, when="1992-06-12"):
    return stac_item("maps/cnn.tif", when, legend=LEGEND, grid=grid)


def test_classes_stand_in_the_words_of_the_extension():
    asset = item()["assets"]["classes"]
    assert asset["href"] == "./cnn.tif"
    assert asset["classification:classes"] == [
        {"value": 0, "name": "no_data", "title": "no data", "nodata": True},
        {
            "value": 1,
            "name": "Corn-no_till",
            "title": "Corn-no till",
            "color_hint": "0A64FF",
        },
        {"value": 4, "name": "class_4", "title": "北", "color_hint": "FF0000"},
    ]


def test_the_footprint_is_that_of_the_corners():
    made = item()
    lon, lat = transform(
        CRS.from_epsg(32616),
        CRS.from_epsg(4326),
        [500_000, 504_000],
        [4_480_000, 4_478_000],
    )
    ring = made["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == pytest.approx([lon[0], lat[0]], abs=1e-6)
    assert ring[2] == pytest.approx([lon[1], lat[1]], abs=1e-6)
    west, south, east, north = made["bbox"]
    assert west < east
    assert south < north
    assert made["properties"]["proj:code"] == "EPSG:32616"
    assert made["properties"]["proj:shape"] == [100, 200]


def test_over_the_180th_meridian_the_footprint_is_cut_in_two():
    crs = CRS.from_epsg(32601).to_wkt()
    place = (600.0, 0.0, 278_000.0, 0.0, -600.0, 6_100_000.0)
    made = item(Grid(100, 100, crs, place))
    east, west = made["geometry"]["coordinates"]
    assert made["geometry"]["type"] == "MultiPolygon"
    assert {lon for lon, _ in east[0] if lon > 179.99} == {180.0}
    assert {lon for lon, _ in west[0] if lon < -179.99} == {-180.0}
    # As GeoJSON has it, a box over the meridian begins in the east and ends in the west.
    assert made["bbox"] == pytest.approx([179.529, 54.459, -179.501, 55.020], abs=1e-3)


def test_a_map_of_the_pole_reaches_the_pole():
    crs = CRS.from_epsg(3413).to_wkt()
    place = (24.0, 0.0, -1200.0, 0.0, -24.0, 1200.0)
    box = item(Grid(100, 100, crs, place))["bbox"]
    assert box == pytest.approx([-180, 89.984, 180, 90], abs=1e-3)


def test_without_a_place_there_is_no_geometry():
    made = item(Grid(3, 4))
    assert made["geometry"] is None
    assert "bbox" not in made
    assert "proj:code" not in made["properties"]


def test_a_system_without_a_code_stands_there_as_wkt2():
    crs = CRS.from_user_input("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84")
    made = item(Grid(3, 4, crs.to_wkt(), GRID.transform))["properties"]
    assert made["proj:code"] is None
    assert made["proj:wkt2"].startswith("PROJCRS[")
    assert CRS.from_wkt(made["proj:wkt2"]) == crs


@pytest.mark.parametrize(
    ("when", "moment"),
    [
        ("1992-06-12", "1992-06-12T00:00:00Z"),
        ("2024-05-01T10:30:00+02:00", "2024-05-01T08:30:00Z"),
    ],
)
def test_the_moment_is_in_universal_time(when, moment):
    assert item(when=when)["properties"]["datetime"] == moment


def test_a_moment_that_is_none_is_refused():
    with pytest.raises(
        CallError, match="date of the image must be written as 1992-06-12, got 'June'"
    ):
        item(when="June")


def test_simulated_land_says_so_and_the_file_is_json(tmp_path):
    known = {"legend": LEGEND, "grid": GRID, "origin": {"simulated": True}}
    write_stac_item(tmp_path / "m.json", tmp_path / "m.tif", "1992-06-12", **known)
    made = json.loads((tmp_path / "m.json").read_text())
    assert made["properties"]["description"] == "Made from a simulated scene."
    assert made["id"] == "m"


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2005-06-21T10:32:00Z", "2005-06-21T10:32:00Z"),
        ("2005-06-21 10:32:00.5", "2005-06-21T10:32:00Z"),
        ("2024-06-01T10:10:10.1234567Z", "2024-06-01T10:10:10Z"),
        ("2024-06-01T12:10:10+0200", "2024-06-01T10:10:10Z"),
        ("{2005-06-21}", "2005-06-21T00:00:00Z"),
        ("21 June 2005", None),
        ("0001-01-01", None),
        ("9999-01-01", None),
        (None, None),
    ],
)
def test_a_map_gets_an_item_where_its_image_says_when_it_was_taken(said, moment, tmp_path):
    header = {} if said is None else {"acquisition time": said}
    known = {"legend": LEGEND, "grid": GRID, "origin": {}}
    (tmp_path / "m.stac.json").write_text("older")
    made = write_stac_item_of_map(tmp_path / "m.tif", header, **known)
    if moment is None:
        assert made is None
        assert not list(tmp_path.iterdir())
        return
    assert made == tmp_path / "m.stac.json"
    assert json.loads(made.read_text())["properties"]["datetime"] == moment


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cog.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("strips.tif", "image/tiff; application=geotiff"),
        ("plain.img", None),
        ("plain.png", "image/png"),
        ("gone.tif", None),
    ],
)
def test_the_format_is_called_what_it_is(name, kind, tmp_path):
    path, codes = tmp_path / name, np.ones((700, 600), np.uint8)
    driver = {".tif": "GTiff", ".img": "ENVI", ".png": "PNG"}[path.suffix]
    if name == "cog.tif":
        write_class_map(path, codes, LEGEND, Grid(700, 600, WKT, GRID.transform))
    elif name != "gone.tif":
        shape = {"height": 700, "width": 600, "count": 1, "dtype": "uint8"}
        with rasterio.open(path, "w", driver=driver, **shape) as file:
            file.write(codes, 1)
    asset = stac_item(path, "1992-06-12", legend=LEGEND, grid=GRID)["assets"]["classes"]
    assert asset.get("type") == kind
