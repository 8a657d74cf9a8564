"""Clipping keeps what lies in an area and blanks the rest."""

import json

import numpy as np
import pyogrio
import pytest
import shapely
import xarray as xr

from hypercover.errors import LabelError
from hypercover.scene.area import area_of
from hypercover.scene.clipping import clip
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.writing import write_scene


def polygons(path, *boxes, crs="EPSG:32616"):
    """Write boxes of pixels (top, left, bottom, right) of the grid of the tests."""
    shapes = [shapely.box(500_000.5 + 20 * left, 4_480_000 - 20 * bottom,
                          500_000.5 + 20 * right, 4_480_000 - 20 * top)
              for top, left, bottom, right in boxes]  # fmt: skip
    pyogrio.raw.write(path, shapely.to_wkb(shapes), [np.zeros(len(boxes))] * 2, ["a", "b"],
                      geometry_type="Polygon", crs=crs)  # fmt: skip
    return path


def test_polygons_without_a_class_are_an_area(scene, tmp_path):
    path = polygons(tmp_path / "area.gpkg", (2, 3, 5, 7), (9, 0, 10, 2))
    expected = np.zeros(scene.shape, bool)
    expected[2:5, 3:7] = expected[9, :2] = True
    assert (area_of(path, scene.grid) == expected).all()


def test_a_clipped_image_lies_where_it_lay(scene, tmp_path):
    path = polygons(tmp_path / "area.gpkg", (2, 3, 5, 7), (4, 6, 8, 9))
    part = clip(scene, path)
    assert part.shape == (6, 6)
    assert part.grid.transform[2] == 500_000.5 + 3 * 20
    assert part.grid.transform[5] == 4_480_000 - 2 * 20
    written = open_scene(write_scene(part, tmp_path / "part.tif"))
    inside = area_of(path, scene.grid)[2:8, 3:9]
    assert (written.valid == inside).all()
    assert (
        written.cube.values[:, inside] == scene.cube.values[:, 2:8, 3:9][:, inside]
    ).all()
    assert (written.cube.values[:, ~inside] == -9).all()
    assert written.wavelengths == pytest.approx(scene.wavelengths)
    assert written.bad.tolist() == scene.bad.tolist()
    some = part.cube[[4, 1], 1:5:2, [5, 0]].values
    assert (some == part.cube.values[[4, 1]][:, 1:5:2][:, :, [5, 0]]).all()


def whole_numbers(values, utm):
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    return Scene(with_grid(cube, Grid(*values.shape[1:], utm.crs, utm.transform)))


@pytest.mark.parametrize("suffix", [".tif", ".hdr", ".h5"])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("u1", 1, 255, 0),
        ("u1", 0, 254, 255),
        ("u2", 0, 500, 65535),
        ("i2", -3, 500, -9999),
        ("i4", -3, 500, -9999),
        ("u4", 0, 500, 2**32 - 1),
    ],
)
def test_whole_numbers_get_a_value_for_no_data(
    suffix, dtype, low, high, expected, utm, tmp_path
):
    values = np.random.default_rng(0).integers(low, high + 1, (3, 30, 30)).astype(dtype)
    values[0, 0, 0], values[:, 2:4, 3:5] = low, max(low, 0)
    inside = np.add.outer(np.arange(30), np.arange(30)) < 45
    part = clip(whole_numbers(values, utm), inside)
    written = open_scene(write_scene(part, tmp_path / f"a{suffix}"))
    assert written.nodata == expected
    assert written.cube.dtype == dtype
    outside = ~inside
    assert (written.cube.values[:, outside] == expected).all()
    assert (written.cube.values[:, inside] == values[:, inside]).all()
    # Zero in all bands is data where nothing says otherwise.
    assert (written.valid == inside).all()
    assert f"{expected}, which no pixel" in part.notes[-1]


def test_the_value_for_no_data_is_looked_for_inside_alone(utm):
    values = np.full((2, 6, 6), 9, np.uint8)
    values[:, 5] = np.arange(12).reshape(2, 6)
    inside = np.ones((6, 6), bool)
    inside[5] = False
    inside[4, 0] = False
    assert clip(whole_numbers(values, utm), inside).nodata == 0
    whole = clip(whole_numbers(values, utm), np.ones((6, 6), bool))
    assert whole.nodata is None


def test_an_odd_value_is_taken_where_the_usual_are_held_and_a_wider_type_where_all_are(
    utm, tmp_path
):
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(2, axis=0)
    values[1, 0, 0] = 1
    inside = np.ones((16, 16), bool)
    inside[15, 14] = False
    assert clip(whole_numbers(values, utm), inside).nodata == 254
    values[0, 0, 1] = 254
    part = clip(whole_numbers(values, utm), inside)
    assert (part.nodata, part.cube.dtype) == (-9999, "int16")
    assert "every value that uint8 can hold is measured" in part.notes[-1]
    written = open_scene(write_scene(part, tmp_path / "part.tif"))
    assert (written.valid == inside).all()
    assert (written.cube.values[:, inside] == values[:, inside]).all()


def test_labels_outside_are_dropped(scene, codes):
    inside = np.zeros(scene.shape, bool)
    inside[0:4, 0:5] = True
    part = clip(scene.with_labels(codes, Legend.of({1: "a", 2: "b", 5: "c"})), inside)
    assert part.legend.names == ("a",)
    assert (part.labels == codes[0:4, 0:5]).all()


def test_areas_that_are_none_are_refused(scene, tmp_path):
    outside = polygons(tmp_path / "far.gpkg", (100, 100, 120, 120))
    with pytest.raises(LabelError, match="covers the centre of a pixel"):
        clip(scene, outside)
    with pytest.raises(LabelError, match="must have the size of the image"):
        clip(scene, np.ones((3, 3), bool))
    empty = polygons(tmp_path / "empty.gpkg")
    with pytest.raises(LabelError, match="holds no shape"):
        clip(scene, empty)
    linked = tmp_path / "linked.geojson"
    crs = {"type": "link", "properties": {"href": "http://127.0.0.1:9/crs"}}
    linked.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": []}))
    with pytest.raises(LabelError, match="network address"):
        clip(scene, linked)
