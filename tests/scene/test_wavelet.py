"""The wavelet transform: its planes add up, it shifts with the image, others compute it too."""

import numpy as np
import pytest
import pywt

from hypercover.scene.wavelet import KERNEL, atrous, low_pass, reach


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
    margin = reach(2) + max(down, across)
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
    margin = reach(2)
    whole = low_pass(np.pad(image, margin, mode="edge"), 2)
    part = low_pass(image[10 - margin : 30 + margin, 20 - margin : 40 + margin], 2)
    assert (part == whole[10:30, 20:40]).all()
