"""A rectangle of an image is the image that was cut so."""

import numpy as np
import pytest
import xarray as xr
from rasterio.crs import CRS

from hypercover.errors import SceneError
from hypercover.scene.cropping import crop
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

UTM = CRS.from_epsg(32616).to_wkt()


@pytest.fixture
def scene():
    values = np.arange(3 * 8 * 6).reshape(3, 8, 6)
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    cube = cube.assign_coords(wavelength=("band", [500.0, 600.0, 700.0]))
    grid = Grid(8, 6, UTM, (20.0, 1.0, 1000.0, 2.0, -20.0, 5000.0))
    labels = np.zeros((8, 6), np.uint8)
    labels[:4], labels[4:] = 1, 2
    return Scene(with_grid(cube, grid), labels, Legend.of({1: "Corn", 2: "Woods"}))


def test_pixels_labels_bands_and_place_go_along(scene):
    part = crop(scene, "1:4, 2:6")
    np.testing.assert_array_equal(part.cube.values, scene.cube.values[:, 1:4, 2:6])
    np.testing.assert_array_equal(part.labels, scene.labels[1:4, 2:6])
    assert part.legend.names == ("Corn",)
    assert part.wavelengths.tolist() == [500.0, 600.0, 700.0]
    # The corner of pixel (1, 2), worked out by hand from the affine transform.
    assert part.grid.transform == (20.0, 1.0, 1041.0, 2.0, -20.0, 4984.0)
    assert part.notes[-1] == "Cropped to rows 1 to 3 and columns 2 to 5 of 8 × 6."


def test_what_is_left_out_is_the_edge(scene):
    assert crop(scene, ":,:").shape == (8, 6)
    assert crop(scene, "3:,:2").shape == (5, 2)
    assert crop(crop(scene, "2:,:"), "1:3,:").labels[:, 0].tolist() == [1, 2]


def test_an_image_without_a_place_gets_none(scene):
    bare = Scene(xr.DataArray(np.ones((1, 4, 4)), dims=("band", "y", "x")))
    assert not crop(bare, "1:3,1:3").grid.placed


@pytest.mark.parametrize(
    "part", ["", "1:2", "0:9,0:6", "3:3,0:2", "4:2,:", "-1:2,:", "a:b,:"]
)
def test_what_is_no_part_of_the_image_is_a_sentence(scene, part):
    with pytest.raises(SceneError, match=r"image, 8 × 6, such as '0:8,0:6', got"):
        crop(scene, part)
