"""Pansharpening, held to closed forms, to whole images, and to bad pairs."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from rasterio.crs import CRS

from hypercover.errors import CallError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.pansharpen.fusion import (
    BandMatch,
    Moments,
    compare_bands,
    pansharpen,
    wald_quality,
)
from hypercover.scene.pansharpen.registration import atrous
from hypercover.scene.scene import Scene

UTM33 = CRS.from_epsg(32633).to_wkt()


def placed(values, side, *, left=0.0, nodata=None, **coords):
    """Return a scene (band, row, col) of pixels of this side."""
    cube = xr.DataArray(values, dims=("band", "y", "x")).assign_coords(coords)
    if nodata is not None:
        cube.attrs["nodata"] = nodata
    grid = Grid(*values.shape[1:], UTM33, (side, 0.0, 3e5 + left, 0.0, -side, 4.6e6))
    return Scene(with_grid(cube, grid), name="pair")


def pair(rows=20, cols=24, ratio=4, dtype=np.float64, seed=0):
    """Return a fine grey image and coarse bands: means of fine bands of blobs and edges."""
    random = np.random.default_rng(seed)
    size = rows * ratio, cols * ratio
    fields = random.integers(0, 4, (rows // 3 + 1, cols // 3 + 1))
    fields = fields.repeat(3 * ratio - 2, 0).repeat(3 * ratio - 2, 1)
    tall = [-(-one // side) for one, side in zip(size, fields.shape, strict=True)]
    fields = np.tile(fields, tall)[: size[0], : size[1]]
    spectra = random.uniform(600, 1800, 4) * random.uniform(0.8, 1.2, (4, 4))
    fine = spectra[:, fields] + random.normal(0, 20, (4, *size))
    coarse = fine.reshape(4, rows, ratio, cols, ratio).mean(axis=(2, 4))
    grey = fine.mean(axis=0, keepdims=True)
    return placed(grey.astype(dtype), 0.6), placed(coarse.astype(dtype), 0.6 * ratio), fine


def values_of(scene):
    return scene.read(slice(None), slice(None))


def test_additive_injection_adds_the_matched_planes_and_nothing_else():
    pan, bands, _ = pair()
    plain = values_of(pansharpen(pan, bands, injection="none"))
    made = values_of(pansharpen(pan, bands))
    grey = values_of(pan)[0]
    planes, residual = atrous(grey, 2)
    for band, before in zip(made, plain, strict=True):
        gain = before.std() / residual.std()
        assert band == pytest.approx(before + gain * planes.sum(axis=0), rel=1e-9)


def test_proportional_injection_multiplies_by_grey_over_its_low_passed_image():
    pan, bands, _ = pair()
    plain = values_of(pansharpen(pan, bands, injection="none"))
    made = values_of(pansharpen(pan, bands, injection="proportional"))
    grey = values_of(pan)[0]
    _, residual = atrous(grey, 2)
    for band, before in zip(made, plain, strict=True):
        gain = before.std() / residual.std()
        offset = before.mean() - gain * grey.mean()
        ratio = (gain * grey + offset) / (gain * residual + offset)
        assert band == pytest.approx(before * ratio, rel=1e-9)


@pytest.mark.parametrize("injection", ["additive", "proportional"])
def test_a_constant_grey_image_adds_nothing(injection):
    pan, bands, _ = pair()
    flat = placed(np.full_like(values_of(pan), 300.0), 0.6)
    plain = values_of(pansharpen(flat, bands, injection="none"))
    assert (values_of(pansharpen(flat, bands, injection=injection)) == plain).all()


def test_a_ramp_is_interpolated_with_the_right_phase():
    """Half a pixel of phase lost would shift every value by 1.5 fine pixels."""
    rows, cols = np.mgrid[0:80, 0:96]
    fine = (10.0 + 3 * rows + 2 * cols)[None]
    coarse = fine.reshape(1, 20, 4, 24, 4).mean(axis=(2, 4))
    made = pansharpen(placed(fine, 0.6), placed(coarse, 2.4), injection="none")
    inner = slice(8, -8), slice(8, -8)
    assert values_of(made)[0][inner] == pytest.approx(fine[0][inner], rel=1e-12)


def test_a_grid_shifted_by_fine_pixels_shifts_the_result():
    pan, bands, _ = pair()
    whole = values_of(pansharpen(pan, bands, injection="none"))
    moved = placed(values_of(pan)[:, :, 3:], 0.6, left=1.8)
    made = values_of(pansharpen(moved, bands, injection="none"))
    assert made == pytest.approx(whole[:, :, 3:], rel=1e-9)


@pytest.mark.parametrize("injection", ["additive", "proportional"])
def test_sharpened_bands_lie_nearer_to_the_truth_than_interpolated_ones(injection):
    pan, bands, fine = pair(48, 48)
    truth = placed(fine, 0.6)
    plain = compare_bands(pansharpen(pan, bands, injection="none"), truth, ratio=4)
    sharp = compare_bands(pansharpen(pan, bands, injection=injection), truth, ratio=4)
    assert sharp.ergas < 0.8 * plain.ergas
    assert sharp.q > plain.q


def test_tiles_of_a_file_are_the_whole(tmp_path, monkeypatch):
    pan, bands, _ = pair(33, 41, dtype=np.uint16)
    monkeypatch.setattr("hypercover.scene.pansharpen.fusion._STRIP", 32)
    written = write_scene(pansharpen(pan, bands), tmp_path / "sharp.tif")
    monkeypatch.undo()
    whole = values_of(pansharpen(pan, bands))
    tiled = values_of(open_scene(written))
    assert whole.dtype == tiled.dtype == np.uint16
    assert (whole == tiled).all()
    one = pansharpen(pan, bands).cube
    assert (one[2, 5:40:3, [7, 100, 50]].values == whole[2, 5:40:3][:, [7, 100, 50]]).all()


@pytest.mark.parametrize("levels", ["uint8", "int16", "float32"])
def test_the_type_is_kept_and_no_value_wraps_around(levels):
    pan, bands, _ = pair()
    grey = values_of(pan)
    grey[0, 30:34, 30:34] = grey.max() * 50
    top = 250 if levels == "uint8" else 3000
    coarse = (values_of(bands) / values_of(bands).max() * top).astype(levels)
    made = values_of(pansharpen(placed(grey, 0.6), placed(coarse, 2.4)))
    assert made.dtype == levels
    if levels == "uint8":
        assert made[:, 31, 31].tolist() == [255] * 4
        assert made.min() >= 1


def test_no_data_of_either_image_stays_no_data_and_draws_no_neighbour():
    pan, bands, _ = pair()
    coarse, grey = values_of(bands).copy(), values_of(pan).copy()
    coarse[:, 5:8, 6] = -9999.0
    grey[0, 50:53, 60] = np.nan
    made = pansharpen(placed(grey, 0.6), placed(coarse, 2.4, nodata=-9999.0))
    holes = np.zeros(made.shape, bool)
    holes[20:32, 24:28] = holes[50:53, 60] = True
    assert made.nodata == -9999.0
    assert (made.valid == ~holes).all()
    values = values_of(made)[:, ~holes]
    assert values.min() > -500


def test_a_measured_zero_is_not_turned_into_no_data():
    pan, bands, _ = pair(dtype=np.uint16)
    coarse = np.minimum(values_of(bands), 1)
    made = pansharpen(pan, placed(coarse, 2.4))
    assert made.nodata == 0
    assert made.valid.all()


def test_outside_the_bands_there_is_no_data():
    pan, bands, _ = pair()
    part = placed(values_of(bands)[:, :, 10:], 2.4, left=24.0)
    valid = pansharpen(pan, part).valid
    assert not valid[:, :40].any()
    assert valid[:, 40:].all()


def test_wavelengths_names_and_origin_are_carried(tmp_path):
    pan, bands, _ = pair(dtype=np.uint16)
    centres = np.array([485.0, 560.0, 660.0, 830.0])
    known = bands.cube.assign_coords(
        wavelength=("band", centres), fwhm=("band", centres / 10), bad=("band", [False] * 4)
    )
    bands = bands.replace(cube=known, simulated=True)
    made = open_scene(write_scene(pansharpen(pan, bands), tmp_path / "sharp.tif"))
    assert made.wavelengths.tolist() == centres.tolist()
    assert made.fwhm.tolist() == (centres / 10).tolist()
    assert made.grid == pan.grid
    kept = pansharpen(pan, bands, keep_pan=True)
    assert kept.band_names == ("pan", "ms1", "ms2", "ms3", "ms4")
    assert kept.wavelengths is None
    assert kept.simulated
    assert (kept.cube[0].values == values_of(pan)[0]).all()
    assert (kept.cube[1:].values == values_of(pansharpen(pan, bands))).all()
    assert (kept.cube[[0, 3]].values == kept.cube.values[[0, 3]]).all()


def test_bad_bands_stay_bad_beside_the_grey_image():
    pan, bands, _ = pair()
    marked = bands.replace(
        cube=bands.cube.assign_coords(bad=("band", np.eye(4, dtype=bool)[2]))
    )
    assert pansharpen(pan, marked).bad.tolist() == [False, False, True, False]
    kept = pansharpen(pan, marked, keep_pan=True)
    assert kept.bad.tolist() == [False, False, False, True, False]


def test_a_grey_image_without_a_coordinate_system_lies_in_that_of_the_bands():
    pan, bands, _ = pair()
    bare = pan.replace(cube=with_grid(pan.cube, replace(pan.grid, crs=None)), name="grey")
    made = pansharpen(bare, bands)
    assert made.grid == pan.grid
    assert "grey names no coordinate system; that of pair was taken." in made.notes
    assert (values_of(made) == values_of(pansharpen(pan, bands))).all()


def test_several_bands_as_the_grey_image_are_refused():
    pan, bands, _ = pair()
    with pytest.raises(SceneError, match="must have one band, found 4"):
        pansharpen(bands, pan)
    with pytest.raises(CallError, match="must be one of additive, proportional, none"):
        pansharpen(pan, bands, injection="brovey")


def test_images_without_common_data_are_refused():
    pan, bands, _ = pair()
    empty = placed(np.full_like(values_of(pan), np.nan), 0.6)
    with pytest.raises(SceneError, match="have no pixel with data in both"):
        pansharpen(empty, bands)


def test_moments_do_not_depend_on_the_pieces():
    values = np.random.default_rng(0).normal(1e6, 1, (2, 1000))
    whole, pieces = Moments(2), Moments(2)
    whole.add(values)
    for first in range(0, 1000, 37):
        pieces.add(values[:, first : first + 37])
    pieces.add(values[:, :0])
    assert pieces.mean == pytest.approx(values.mean(axis=1), rel=1e-14)
    assert pieces.deviation == pytest.approx(values.std(axis=1), rel=1e-9)
    assert whole.deviation == pytest.approx(pieces.deviation, rel=1e-9)


def test_where_the_smoothed_grey_image_is_dark_details_are_added():
    match = BandMatch(np.array([1.0]), np.array([0.0]), np.array([0.5]))
    grey, low = np.array([[2.0, 5.0]]), np.array([[-1.0, 4.0]])
    made = match.injected(np.array([[10.0, 8.0]]), grey, low, 0, "proportional")
    assert made.tolist() == [[13.0, 10.0]]


def test_wald_prefers_sharpening_and_counts_every_pixel():
    plain, *sharp = wald_quality(*pair(48, 64)[:2])
    assert [one.method for one in (plain, *sharp)] == [
        "interpolation",
        "additive",
        "proportional",
    ]
    assert plain.pixels == 48 * 64
    assert all(one.ergas < plain.ergas and one.q > plain.q for one in sharp)


def test_measures_of_equal_images_are_perfect_and_of_scaled_ones_known():
    truth = placed(np.random.default_rng(0).uniform(1, 2, (3, 40, 70)), 1.0)
    same = compare_bands(truth, truth, ratio=4)
    assert (same.sam, same.ergas, same.q) == pytest.approx((0, 0, 1), abs=1e-5)
    twice = placed(2 * values_of(truth), 1.0)
    double = compare_bands(twice, truth, ratio=4)
    assert double.sam == pytest.approx(0, abs=1e-5)
    # Of x against 2x: ERGAS is 100/ratio · rms/mean, Q is (4/5)² of a correlation of 1.
    means = values_of(truth).mean(axis=(1, 2))
    rms = np.sqrt(np.square(values_of(truth)).mean(axis=(1, 2)))
    assert double.ergas == pytest.approx(25 * np.sqrt(np.mean((rms / means) ** 2)))
    assert double.q == pytest.approx(0.64)


def test_the_angle_between_known_spectra_is_known():
    one = placed(np.array([1.0, 0.0])[:, None, None] * np.ones((2, 4, 4)), 1.0)
    other = placed(np.array([1.0, 1.0])[:, None, None] * np.ones((2, 4, 4)), 1.0)
    assert compare_bands(one, other, ratio=2).sam == pytest.approx(45)


def test_what_cannot_be_compared_is_refused():
    pan, bands, _ = pair()
    with pytest.raises(SceneError, match="reference of the same shape"):
        compare_bands(pan, bands, ratio=4)
    small = placed(values_of(bands)[:, :12, :12], 2.4)
    with pytest.raises(SceneError, match="too small to be made 4 times coarser"):
        wald_quality(pan, small)
