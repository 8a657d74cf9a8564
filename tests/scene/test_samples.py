"""Samples are the labelled pixels, row by row."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.scene import scene as module
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import LazyArray

LABEL_MAPS = arrays(
    np.uint16, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 300)
)


@given(LABEL_MAPS)
def test_samples_are_the_labelled_pixels_in_reading_order(labels):
    samples = Samples.of(labels)
    found = list(zip(samples.rows, samples.cols, samples.labels, strict=True))
    expected = [
        (row, col, labels[row, col])
        for row in range(labels.shape[0])
        for col in range(labels.shape[1])
        if labels[row, col]
    ]
    assert found == expected
    assert len(samples) == len(expected)


@given(LABEL_MAPS)
def test_taking_by_mask_and_by_position_agree(labels):
    samples = Samples.of(labels)
    odd = samples.labels % 2 == 1
    by_mask, by_position = samples.take(odd), samples.take(np.flatnonzero(odd))
    for part in ("rows", "cols", "labels"):
        np.testing.assert_array_equal(getattr(by_mask, part), getattr(by_position, part))


def test_large_codes_survive():
    assert Samples.of(np.array([[65535]], dtype=np.uint16)).labels.tolist() == [65535]


NODATA = {"nodata": -1, "zero_is_nodata": True}


@pytest.fixture
def scene(monkeypatch):
    """A scene in strips of four rows, with a pixel without data, that counts its reads."""
    values = np.random.default_rng(0).integers(1, 999, (3, 18, 7)).astype(np.int16)
    values[:, 5, 2] = 0
    values[1, 9, 1] = -1
    read = []

    def fetch(wanted):
        read.append((int(wanted[1].min()), int(wanted[1].max())))
        return values[np.ix_(*wanted)]

    for name in ("_STRIP", "_MOST_STRIP"):
        monkeypatch.setattr(module, name, 4 * 7 * 3)
    lazy = LazyArray(values.shape, values.dtype, fetch).as_variable_data()
    cube = xr.DataArray(lazy, dims=("band", "y", "x"), attrs=NODATA)
    made = Scene(cube)
    assert made.valid.sum() == 18 * 7 - 2
    read.clear()
    return made, values, read


def test_any_order_any_place_and_zeros_without_data(scene):
    made, values, _ = scene
    chance = np.random.default_rng(1)
    rows, cols = chance.integers(0, 18, 40), chance.integers(0, 7, 40)
    rows[:2], cols[:2] = [5, 9], [2, 1]
    found = spectra_of(made, Samples(rows, cols, np.ones(40, np.int64)))
    assert found.dtype == np.int16
    whole = np.where(made.valid, values, 0)
    np.testing.assert_array_equal(found, whole[:, rows, cols].T)
    assert not found[:2].any()


def test_only_strips_that_hold_a_sample_are_read(scene):
    made, _, read = scene
    spectra_of(made, Samples(np.array([6, 7]), np.array([0, 3]), np.ones(2, np.int64)))
    assert read == [(4, 7)]


def test_no_samples_have_no_spectra(scene):
    none = np.empty(0, np.intp)
    assert spectra_of(scene[0], Samples(none, none, none)).shape == (0, 3)
