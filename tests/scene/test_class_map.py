"""Class maps: what a pixel measures, and reference labels in the codes of the map."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from hypercover.errors import HypercoverError, LabelError
from hypercover.gis.map_writing import write_class_map
from hypercover.scene.class_map import ClassMap, open_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

LEGEND = Legend.of({2: "Corn", 5: "Woods"}, {2: "#112233", 5: "#445566"})
CODES = np.array([[2, 2, 5], [0, 5, 5]], dtype=np.uint8)


def grid(code, width=30.0, height=-30.0):
    wkt = None if code is None else CRS.from_epsg(code).to_wkt()
    return Grid(2, 3, wkt, (width, 0.0, 500_000.0, 0.0, height, 4_500_000.0))


@pytest.fixture
def path(tmp_path):
    write_class_map(tmp_path / "map.tif", CODES, LEGEND, grid(32616), simulated=True)
    return tmp_path / "map.tif"


def test_a_map_keeps_codes_names_place_and_origin(path):
    found = open_class_map(path)
    np.testing.assert_array_equal(found.codes, CODES)
    assert found.legend == LEGEND
    assert found.pixel_areas.tolist() == [[pytest.approx(0.09)]]
    assert found.made_from == "simulated scene"


@pytest.mark.parametrize(
    ("code", "hectares"),
    [(32616, 0.09), (2263, 900 * 0.3048006096**2 / 10_000), (None, None)],
)
def test_a_pixel_is_measured_in_the_units_of_the_map(code, hectares):
    found = ClassMap(CODES, LEGEND, grid(code)).pixel_areas
    assert (None if found is None else found.tolist()) == (
        hectares if hectares is None else [[pytest.approx(hectares)]]
    )


def test_a_turned_map_has_pixels_of_the_same_area():
    wkt = CRS.from_epsg(32616).to_wkt()
    turned = Grid(2, 3, wkt, (24.0, 18.0, 0.0, 18.0, -24.0, 0.0))
    assert ClassMap(CODES, LEGEND, turned).pixel_areas.tolist() == [[pytest.approx(0.09)]]


@pytest.mark.parametrize("code", [4326, 3857])
def test_pixels_of_uneven_area_are_measured_row_by_row(code):
    """Such maps were refused."""
    found = ClassMap(CODES, LEGEND, grid(code, 0.1, -0.1)).pixel_areas
    assert found.shape == (2, 1)


def points(path, names, at):
    """Write points at the centres of some pixels as GeoJSON in the map's own system."""
    import json

    features = [
        {
            "type": "Feature",
            "properties": {"class": name},
            "geometry": {
                "type": "Point",
                "coordinates": [500_000 + 30 * (col + 0.5), 4_500_000 - 30 * (row + 0.5)],
            },
        }
        for name, (row, col) in zip(names, at, strict=True)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32616"}}
    document = {"type": "FeatureCollection", "crs": crs, "features": features}
    path.write_text(json.dumps(document))
    return path


def test_points_are_matched_by_name_whatever_their_case(path, tmp_path):
    file = points(
        tmp_path / "p.geojson", ["woods", "CORN", "Bare"], [(0, 0), (1, 1), (0, 2)]
    )
    codes, legend, notes = open_class_map(path).reference(file)
    assert codes.tolist() == [[5, 0, 6], [0, 2, 0]]
    assert legend.names == ("Corn", "Woods", "Bare")
    assert legend.codes == (2, 5, 6)
    assert notes[-2:] == (
        "Classes matched with the map by name: Corn (2), Woods (5).",
        "Classes that the map lacks, with their new codes: Bare (6).",
    )


def test_points_with_numbers_hold_codes(path, tmp_path):
    file = points(tmp_path / "p.geojson", [5, 2, 9], [(0, 0), (1, 1), (0, 2)])
    codes, legend, _ = open_class_map(path).reference(file)
    assert codes.tolist() == [[5, 0, 9], [0, 2, 0]]
    assert legend.codes == (2, 5, 9)


def test_points_of_other_names_are_refused(path, tmp_path):
    file = points(tmp_path / "p.geojson", ["a", "b"], [(0, 0), (1, 1)])
    with pytest.raises(LabelError, match="the name of one of the map, which are Corn"):
        open_class_map(path).reference(file)


def test_a_raster_is_taken_by_its_codes(path, tmp_path):
    write_class_map(tmp_path / "r.tif", CODES[::-1], Legend(), grid(32616))
    codes, legend, _ = open_class_map(path).reference(tmp_path / "r.tif")
    np.testing.assert_array_equal(codes, CODES[::-1])
    assert legend == LEGEND


def test_a_raster_whose_codes_mean_other_classes_is_matched_by_name(path, tmp_path):
    swapped = Legend.of({2: "Woods", 5: "Corn"})
    write_class_map(tmp_path / "r.tif", CODES, swapped, grid(32616))
    codes, legend, notes = open_class_map(path).reference(tmp_path / "r.tif")
    assert codes.tolist() == [[5, 5, 2], [0, 2, 2]]
    assert legend == LEGEND
    assert "Classes matched with the map by name: Corn (2), Woods (5)." in notes


def test_a_map_in_which_0_is_a_class_says_which_code_stands_for_it(tmp_path):
    values = np.array([[0, 1], [255, 1]], np.uint8)
    with rasterio.open(
        tmp_path / "m.tif",
        "w",
        driver="GTiff",
        height=2,
        width=2,
        count=1,
        dtype="uint8",
        nodata=255,
        crs="EPSG:32616",
        transform=Affine(*grid(32616).transform),
    ) as file:
        file.write(values, 1)
    found = open_class_map(tmp_path / "m.tif")
    assert found.codes.tolist() == [[2, 1], [0, 1]]
    assert found.legend[2].name == "Class 0"
    assert found.notes[-1] == "Code 2 (Class 0) is 0 in the labels."


def test_a_raster_of_another_place_or_size_is_refused(path, tmp_path):
    moved = Grid(2, 3, grid(32616).crs, (30.0, 0.0, 500_015.0, 0.0, -30.0, 4_500_000.0))
    write_class_map(tmp_path / "r.tif", CODES, LEGEND, moved)
    with pytest.raises(LabelError, match="pixels off those of the image"):
        open_class_map(path).reference(tmp_path / "r.tif")


def test_what_is_no_class_map_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", CODES)
    for name, content in (
        ("a.npy", None),
        ("b.tif", b"II*\0 nothing"),
        ("c.geojson", b"{}"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(HypercoverError):
            open_class_map(tmp_path / name)
