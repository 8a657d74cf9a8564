"""Label maps and brute-force references shared by the tests of samples."""

from types import SimpleNamespace

import numpy as np
import pytest


def fields(shape=(40, 40), classes=5, side=8, seed=0):
    """Draw a label map of square fields, about a fifth of it unlabelled."""
    rng = np.random.default_rng(seed)
    grid = tuple(-(-length // side) for length in shape)
    codes = rng.integers(1, classes + 1, grid).repeat(side, 0).repeat(side, 1)
    codes = codes[: shape[0], : shape[1]]
    return np.where(rng.random(shape) < 0.2, 0, codes).astype(np.uint8)


@pytest.fixture
def labels():
    return fields()


@pytest.fixture(scope="session")
def make_fields():
    return fields


def squares(gap, classes=4, per_class=6, side=5):
    """Fields of several classes, each so many pixels from the next."""
    rng = np.random.default_rng(5)
    codes = rng.permutation(np.repeat(np.arange(1, classes + 1), per_class)).reshape(4, -1)
    labels = np.zeros((4 * (side + gap), codes.shape[1] * (side + gap)), int)
    for row, col in np.ndindex(codes.shape):
        at = row * (side + gap), col * (side + gap)
        labels[at[0] : at[0] + side, at[1] : at[1] + side] = codes[row, col]
    return labels


@pytest.fixture(scope="session")
def make_squares():
    return squares


def nearest(mask, row, col):
    """Chebyshev distance from a pixel to the nearest pixel of a mask."""
    rows, cols = np.nonzero(mask)
    return np.maximum(abs(rows - row), abs(cols - col)).min(initial=10**9)


@pytest.fixture(scope="session")
def brute():
    return SimpleNamespace(nearest=nearest)


@pytest.fixture(scope="session")
def real(data_folder):
    """Label maps and published masks of Indian Pines and Pavia University."""
    import rasterio
    from scipy.io import loadmat

    def raster(name):
        with rasterio.open(data_folder / "indian_pines" / name) as file:
            return file.read(1)

    def matlab(name):
        values = loadmat(data_folder / name).items()
        return next(value for key, value in values if not key.startswith("__"))

    return SimpleNamespace(
        site3=raster("19920612_AVIRIS_IndianPine_Site3_gr.tif"),
        fixed_train=raster("IndianTR123_temp123.tif"),
        fixed_test=raster("IndianTE123_temp123.tif"),
        dase=matlab("indian_pines/indianpines_disjoint_dset.mat"),
        pavia=matlab("pavia_university/PaviaU_gt.mat"),
        pavia_train=matlab("pavia_university/TRpavia_fixed.mat"),
        pavia_test=matlab("pavia_university/TSpavia_fixed.mat"),
    )
