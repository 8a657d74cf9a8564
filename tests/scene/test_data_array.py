"""Scenes from arrays and DataArrays, selecting parts of them, and the way back to xarray."""

import matplotlib as mpl
import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

import hypercover as hc
from hypercover.errors import LabelError, SceneError
from hypercover.scene.scene import Scene

mpl.use("agg")
CUBE = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
PLACE = Affine(20.0, 0.0, 500_000.0, 0.0, -20.0, 4_000_000.0)


@pytest.fixture
def placed() -> Scene:
    labels = np.zeros((4, 5), int)
    labels[0, 0], labels[3, 4] = 1, 2
    return Scene.from_array(
        CUBE,
        labels,
        {1: "Corn", 2: "Woods & <water>"},
        wavelengths=[460, 550, 650],
        crs="EPSG:32633",
        transform=PLACE,
    )


@pytest.mark.parametrize(
    ("dims", "order"),
    [
        (("band", "y", "x"), (0, 1, 2)),
        (("y", "x", "band"), (1, 2, 0)),
        (("lat", "lon", "wavelength"), (1, 2, 0)),
        (("row", "band", "col"), (1, 0, 2)),
    ],
)
def test_axes_are_recognised_by_their_names_in_any_order(dims, order):
    array = xr.DataArray(CUBE.transpose(order), dims=dims, name="field")
    scene = hc.open_scene(array)
    np.testing.assert_array_equal(scene.cube.values, CUBE)
    assert scene.name == "field"


def test_the_coordinate_of_a_wavelength_axis_is_read_in_its_unit():
    waves = xr.Variable("wavelength", [0.46, 0.55, 0.65], {"units": "um"})
    scene = hc.open_scene(
        xr.DataArray(CUBE, dims=("wavelength", "y", "x"), coords={"wavelength": waves})
    )
    np.testing.assert_allclose(scene.wavelengths, [460, 550, 650])
    assert scene.bands.tolist() == [1, 2, 3]


def test_two_dimensions_are_one_band():
    scene = Scene.from_array(CUBE[0])
    assert scene.cube.shape == (1, 4, 5)
    named = xr.DataArray(CUBE[:1], dims=("time", "y", "x"))
    assert Scene.from_array(named).cube.shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"array": np.ones(4)}, SceneError, "got the shape"),
        ({"array": xr.DataArray(CUBE, dims=("a", "b", "c"))}, SceneError, "dimensions"),
        ({"array": CUBE, "wavelengths": [1, 2]}, SceneError, "3 bands and there are 2"),
        ({"array": CUBE, "crs": "EPSG:nonsense"}, SceneError, "coordinate reference"),
        ({"array": CUBE, "transform": (1, 2)}, SceneError, "six numbers"),
        ({"array": CUBE, "labels": np.ones((2, 2), int)}, LabelError, "size of the image"),
        ({"array": CUBE, "labels": np.full((4, 5), 0.5)}, LabelError, "whole"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        Scene.from_array(**given)


def test_values_without_data_can_be_stated():
    scene = Scene.from_array(CUBE, nodata=0)
    assert not scene.valid[0, 0]
    assert scene.valid.sum() == 19


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_xarray_gets_everything_back(placed):
    array = placed.to_xarray()
    assert array.rio.crs.to_epsg() == 32633
    assert tuple(array.rio.transform())[:6] == pytest.approx(tuple(PLACE)[:6])
    np.testing.assert_allclose(array.x[:2], [500_010, 500_030])
    assert array.wavelength.attrs["units"] == "nm"
    assert array.labels.attrs["flag_values"] == [1, 2]
    again = hc.open_scene(array)
    assert again.grid == placed.grid
    np.testing.assert_array_equal(again.wavelengths, placed.wavelengths)
    np.testing.assert_array_equal(again.cube.values, placed.cube.values)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_rioxarray_writes_and_opens_is_a_scene(placed, tmp_path):
    array = placed.to_xarray().drop_vars("labels")
    array.rio.to_raster(tmp_path / "a.tif")
    with rioxarray.open_rasterio(tmp_path / "a.tif") as found:
        scene = hc.open_scene(found)
        assert scene.grid == placed.grid
        np.testing.assert_array_equal(scene.cube.values, CUBE)


def test_a_fill_value_survives_the_way_back():
    scene = Scene.from_array(CUBE, nodata=7)
    assert hc.open_scene(scene.to_xarray()).nodata == 7


ENDS = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), st.integers(0, 5))


@given(ENDS, st.integers(-3, 2))
def test_indexing_is_that_of_numpy(ends, band):
    rows, cols = (
        slice(ends[0], ends[0] + max(1, ends[1])),
        slice(ends[2], ends[2] + 1 + ends[3]),
    )
    scene = Scene.from_array(CUBE, crs="EPSG:32633", transform=PLACE)
    part = scene[band, rows, cols]
    np.testing.assert_array_equal(part.cube.values, CUBE[[band], rows, cols])
    left, top = part.grid.transform[2], part.grid.transform[5]
    assert (left, top) == (500_000 + 20 * cols.start, 4_000_000 - 20 * rows.start)


def test_an_ellipsis_and_missing_axes_mean_all_of_them(placed):
    assert placed[...].cube.shape == (3, 4, 5)
    assert placed[1].cube.shape == (1, 4, 5)
    assert placed[..., 2:].cube.shape == (3, 4, 3)
    assert placed[[2, 0]].wavelengths.tolist() == [650, 460]


def test_labels_and_their_losses_go_with_the_part(placed):
    part = placed[:, :2, :2]
    assert part.legend.names == ("Corn",)
    assert part.losses == (
        "Classes without a pixel in the selected part: Woods & <water>.",
    )


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ((slice(None), slice(2, 2)), SceneError),
        ((slice(None), slice(None, None, 2)), SceneError),
        ((slice(5, 5),), SceneError),
        (9, IndexError),
        ((0, 9), IndexError),
        ((0, 0, 0, 0), IndexError),
    ],
)
def test_an_index_that_selects_nothing_is_refused(placed, key, error):
    with pytest.raises(error):
        placed[key]


def test_bands_are_selected_by_wavelength(placed):
    assert placed.sel(wavelength=600).wavelengths.tolist() == [550]
    assert placed.sel(wavelength=[640, 470]).wavelengths.tolist() == [650, 460]
    assert placed.sel(wavelength=slice(500, None)).wavelengths.tolist() == [550, 650]
    with pytest.raises(SceneError, match="no band between 700"):
        placed.sel(wavelength=slice(700, 800))
    with pytest.raises(SceneError, match="wavelengths of scene are not known"):
        Scene.from_array(CUBE).sel(wavelength=500)


def test_it_describes_itself_as_text_and_as_html(placed):
    text = repr(placed)
    assert text.splitlines()[0] == (
        "<hypercover.Scene 'scene': 3 bands × 4 rows × 5 columns, float32>"
    )
    assert "WGS 84 / UTM zone 33N, pixel size 20" in text
    assert "2 pixels in 2 classes" in text
    html = placed._repr_html_()
    assert "Woods &amp; &lt;water&gt;" in html
    assert "<water>" not in html


def test_a_plot_shows_the_colours_where_they_are_on_the_ground(placed):
    axes = placed.plot()
    picture = axes.images[0]
    assert picture.get_extent() == [500_000, 500_100, 3_999_920, 4_000_000]
    assert picture.get_array().shape == (4, 5, 3)
    assert picture.get_array()[3, 4].tolist() == [255, 255, 255]
    assert axes.get_title() == "scene: true colour"
