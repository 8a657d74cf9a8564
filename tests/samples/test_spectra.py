"""Spectra of samples, read strip by strip, are those of the whole cube."""

import numpy as np
import pytest
import xarray as xr

from hypercover.samples.samples import Samples
from hypercover.samples.spectra import spectra_of
from hypercover.scene import scene as module
from hypercover.scene.lazy import LazyArray
from hypercover.scene.scene import Scene

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
