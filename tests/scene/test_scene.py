"""Scenes made in Python: of cubes that xarray and rioxarray have cut, and of what is no cube."""

import numpy as np
import pytest
import rioxarray
import xarray as xr

from hypercover.errors import LabelError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.writing import write_scene
from hypercover.scene.scene import Scene

OWN = ("band", "y", "x")
PLACE = (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_000_000.0)


@pytest.fixture
def opened(tmp_path, values, utm):
    """The cube of a GeoTIFF as rioxarray opens it."""
    place = Grid(13, 11, utm.crs, PLACE)
    cube = xr.DataArray(values, dims=OWN)
    path = write_scene(Scene(with_grid(cube, place)), tmp_path / "a.tif")
    with rioxarray.open_rasterio(path) as found:
        yield found


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(
    ("cut", "place"),
    [
        (lambda cube: cube, PLACE),
        (
            lambda cube: cube.isel(x=slice(2, 9), y=slice(3, 8)),
            (20, 0, 500_040, 0, -20, 3_999_940),
        ),
        (lambda cube: cube.isel(x=[4], y=[5]), (20, 0, 500_080, 0, -20, 3_999_900)),
        (
            lambda cube: cube.isel(y=slice(None, None, -1)),
            (20, 0, 500_000, 0, 20, 3_999_740),
        ),
        (
            lambda cube: cube.coarsen(x=2, y=2, boundary="trim").mean(),
            (40, 0, 500_000, 0, -40, 4_000_000),
        ),
        (lambda cube: cube.drop_vars(["x", "y"]), PLACE),
    ],
    ids=["whole", "piece", "pixel", "reversed", "coarser", "bare"],
)
def test_a_piece_of_an_image_lies_where_its_coordinates_say(opened, utm, cut, place):
    """The transform that rioxarray notes stays that of the whole."""
    grid = Scene(cut(opened)).grid
    np.testing.assert_allclose(grid.transform, place, atol=1e-6)
    assert grid.crs == utm.crs


def test_coordinates_alone_place_an_image_and_counts_of_pixels_do_not(values):
    x, y = 5e5 + 10 + 20 * np.arange(11), 4e6 - 10 - 20 * np.arange(13)
    placed = Scene(xr.DataArray(values, dims=OWN, coords={"x": x, "y": y}))
    assert placed.grid.transform == PLACE
    counted = {"x": np.arange(11), "y": np.arange(13)}
    assert not Scene(xr.DataArray(values, dims=OWN, coords=counted)).grid.placed
    uneven = {"x": 5e5 + np.arange(11) ** 2, "y": y}
    assert not Scene(xr.DataArray(values, dims=OWN, coords=uneven)).grid.placed


@pytest.mark.parametrize(
    "dims",
    [
        ("y", "x", "band"),
        ("wavelength", "lat", "lon"),
        ("northing", "easting", "bands"),
        ("time", "band", "y", "x"),
        ("line", "sample", "wl"),
    ],
)
def test_other_dimensions_are_refused_with_a_remedy_that_works(dims, values):
    roles = {
        "band": 0,
        "bands": 0,
        "wavelength": 0,
        "wl": 0,
        "y": 1,
        "lat": 1,
        "line": 1,
        "northing": 1,
        "x": 2,
        "lon": 2,
        "easting": 2,
        "sample": 2,
    }
    order = [roles[name] for name in dims if name in roles]
    array = values.transpose(order)
    cube = xr.DataArray(array[None] if dims[0] == "time" else array, dims=dims)
    centres = np.linspace(450, 950, 6)
    if "wavelength" in dims:
        cube = cube.assign_coords(wavelength=centres)
    with pytest.raises(SceneError, match="make a scene of such an array with") as told:
        Scene(cube)
    remedy = str(told.value).partition("such an array with ")[2].rstrip(".")
    scene = eval(remedy, {"cube": cube, "Scene": Scene})
    np.testing.assert_array_equal(scene.cube.values, values)
    assert scene.bands.tolist() == [1, 2, 3, 4, 5, 6]
    if "wavelength" in dims:
        np.testing.assert_array_equal(scene.wavelengths, centres)


@pytest.mark.parametrize("given", [np.ones((2, 3, 4)), "a.tif", xr.Dataset(), None])
def test_what_is_no_cube_is_named(given):
    with pytest.raises(SceneError, match=f"got {type(given).__name__}; wrap an array"):
        Scene(given)


@pytest.mark.parametrize("wrong", [-1, 0.5, np.nan])
def test_labels_that_are_no_codes_are_refused(values, wrong):
    labels = np.ones((13, 11))
    labels[3, 4] = wrong
    with pytest.raises(LabelError, match="whole numbers from 0 on"):
        Scene(xr.DataArray(values, dims=OWN), labels)
