"""Class maps: what a pixel measures, and reference labels in the codes of the map."""

import numpy as np
import pytest
from rasterio.crs import CRS

from hypercover.errors import HypercoverError, LabelError, SceneError
from hypercover.maps.export import write_class_map
from hypercover.scene.classmap import ClassMap, open_class_map
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
    assert found.hectares == pytest.approx(0.09)
    assert found.made_from == "simulated scene"


@pytest.mark.parametrize(
    ("code", "hectares"),
    [(32616, 0.09), (2263, 900 * 0.3048006096**2 / 10_000), (None, None)],
)
def test_a_pixel_is_measured_in_the_units_of_the_map(code, hectares):
    found = ClassMap(CODES, LEGEND, grid(code)).hectares
    assert found == (hectares if hectares is None else pytest.approx(hectares))


def test_a_turned_map_has_pixels_of_the_same_area():
    wkt = CRS.from_epsg(32616).to_wkt()
    turned = Grid(2, 3, wkt, (24.0, 18.0, 0.0, 18.0, -24.0, 0.0))
    assert ClassMap(CODES, LEGEND, turned).hectares == pytest.approx(0.09)


@pytest.mark.parametrize(("code", "what"), [(4326, "in degrees"), (3857, "Web Mercator")])
def test_pixels_of_uneven_area_are_refused(code, what):
    with pytest.raises(SceneError, match=what):
        _ = ClassMap(CODES, LEGEND, grid(code, 0.1, -0.1)).hectares


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
    assert notes[-1] == "Classes of the reference that the map lacks: Bare."


def test_points_with_numbers_hold_codes(path, tmp_path):
    file = points(tmp_path / "p.geojson", [5, 2, 9], [(0, 0), (1, 1), (0, 2)])
    codes, legend, _ = open_class_map(path).reference(file)
    assert codes.tolist() == [[5, 0, 9], [0, 2, 0]]
    assert legend.codes == (2, 5, 9)


def test_points_of_other_names_are_refused(path, tmp_path):
    file = points(tmp_path / "p.geojson", ["a", "b"], [(0, 0), (1, 1)])
    with pytest.raises(LabelError, match="has the name of one of the map, which are Corn"):
        open_class_map(path).reference(file)


def test_a_raster_is_taken_by_its_codes(path, tmp_path):
    write_class_map(tmp_path / "r.tif", CODES[::-1], Legend(), grid(32616))
    codes, legend, _ = open_class_map(path).reference(tmp_path / "r.tif")
    np.testing.assert_array_equal(codes, CODES[::-1])
    assert legend == LEGEND


def test_a_raster_whose_codes_mean_other_classes_is_refused(path, tmp_path):
    swapped = Legend.of({2: "Woods", 5: "Corn"})
    write_class_map(tmp_path / "r.tif", CODES, swapped, grid(32616))
    with pytest.raises(LabelError, match=r"Code 2 is Woods in .* but Corn in the map"):
        open_class_map(path).reference(tmp_path / "r.tif")


def test_a_raster_of_another_place_or_size_is_refused(path, tmp_path):
    moved = Grid(2, 3, grid(32616).crs, (30.0, 0.0, 500_015.0, 0.0, -30.0, 4_500_000.0))
    write_class_map(tmp_path / "r.tif", CODES, LEGEND, moved)
    with pytest.raises(LabelError, match="pixels beside the image"):
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
