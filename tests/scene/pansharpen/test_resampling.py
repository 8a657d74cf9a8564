"""Interpolation and means over areas, held to closed forms."""

import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st

from hypercover.scene.pansharpen.registration import (
    KERNEL,
    area_means,
    atrous,
    fill_gaps,
    filter_radius,
    interpolate,
    interpolation_support,
    low_pass,
)


def test_parabolas_are_met_exactly_between_the_pixels():
    def curve(x):
        return 3 * x**2 - 2 * x + 5

    places = np.array([2.0, 2.25, 3.5, 4.875, 6.999])
    made = interpolate(curve(np.arange(10.0)), places, 0)
    assert made == pytest.approx(curve(places), rel=1e-12)


def test_a_part_of_an_axis_gives_what_the_whole_gives():
    values = np.random.default_rng(0).normal(size=(3, 50))
    places = np.linspace(20.1, 29.7, 33)
    part = interpolation_support(places, 50)
    assert (part.start, part.stop) == (19, 32)
    whole = interpolate(values, places, 1)
    assert (interpolate(values[:, part], places, 1, part.start) == whole).all()


def test_beyond_the_ends_the_last_pixel_is_repeated():
    made = interpolate(np.array([4.0, 4.0, 9.0, 9.0]), np.array([-3.0, 20.0]), 0)
    assert made.tolist() == [4.0, 9.0]


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=12),
    st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True),
)
def test_means_over_areas_are_integrals(values, shares):
    edges = np.sort(np.array(shares)) * len(values)
    if (np.diff(edges) < 1e-3).any():
        return
    fine = np.repeat(np.array(values, float), 2000)
    made = area_means(np.array(values, float), edges, 0)
    for mean, low, high in zip(made, edges[:-1], edges[1:], strict=True):
        at = (np.arange(fine.size) + 0.5) / 2000
        weight = np.clip(
            np.minimum(at + 2.5e-4, high) - np.maximum(at - 2.5e-4, low), 0, None
        )
        assert mean == pytest.approx((fine * weight).sum() / weight.sum(), abs=1e-6)


def test_holes_take_the_nearest_value():
    values = np.array([[[1.0, 0.0, 0.0, 8.0]]])
    valid = np.array([[True, False, False, True]])
    assert fill_gaps(values, valid).tolist() == [[[1.0, 1.0, 8.0, 8.0]]]
    assert fill_gaps(values, np.zeros((1, 4), bool)) is values


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 4096, (70, 64)).astype(np.float64)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_planes_and_residual_add_up_to_the_image_exactly(image, levels):
    planes, residual = atrous(image, levels)
    assert planes.shape == (levels, *image.shape)
    assert (planes.sum(axis=0) + residual == image).all()


def test_a_constant_has_no_detail():
    planes, residual = atrous(np.full((20, 30), 7.0), 3)
    assert not planes.any()
    assert (residual == 7.0).all()


@pytest.mark.parametrize(("down", "across"), [(1, 0), (0, 3), (5, 2)])
def test_the_transform_shifts_with_the_image(image, down, across):
    """A decimated transform would not: of an odd shift it makes other planes."""
    planes, residual = atrous(image, 2)
    shifted, smooth = atrous(np.roll(image, (down, across), axis=(0, 1)), 2)
    margin = filter_radius(2) + max(down, across)
    inner = slice(margin, -margin), slice(margin, -margin)
    assert (
        np.roll(planes, (down, across), axis=(1, 2))[:, *inner] == shifted[:, *inner]
    ).all()
    assert (np.roll(residual, (down, across), axis=(0, 1))[inner] == smooth[inner]).all()


def test_pywavelets_smooths_alike(image):
    """Its stationary transform of one line, with our kernel, away from the ends."""
    line = image[0]
    filters = [[*KERNEL[::-1].tolist(), 0.0], [0.0] * 6, [0.0] * 6, [0.0] * 6]
    ours = pywt.Wavelet("b3", filter_bank=filters)
    (smooth, _), _ = pywt.swt(line, ours, level=2)
    own = low_pass(np.pad(line[None].repeat(40, 0), ((0, 0), (6, 6)), "wrap"), 2)[0]
    apart = [np.abs(np.roll(smooth, shift) - own).max() for shift in range(-8, 9)]
    assert min(apart) < 1e-9


def test_a_tile_with_its_margin_is_smoothed_as_the_whole(image):
    margin = filter_radius(2)
    whole = low_pass(np.pad(image, margin, mode="edge"), 2)
    part = low_pass(image[10 - margin : 30 + margin, 20 - margin : 40 + margin], 2)
    assert (part == whole[10:30, 20:40]).all()
