"""Scenes that image features are tried on."""

import numpy as np
import pytest
import xarray as xr

from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene


def make_scene(cube: np.ndarray, labels: np.ndarray | None = None) -> Scene:
    """Make a placed scene of a cube (band, y, x)."""
    grid = Grid(*cube.shape[1:], None, (10.0, 0.0, 5e5, 0.0, -10.0, 6e6))
    array = with_grid(xr.DataArray(cube, dims=("band", "y", "x")), grid)
    made = Scene(array, name="field")
    return made if labels is None else made.with_labels(labels, Legend())


@pytest.fixture
def placed():
    """Make a scene of any cube."""
    return make_scene


@pytest.fixture
def textured() -> Scene:
    """12 bands, 20 × 17 pixels of smooth land and noise; two pixels hold no data."""
    chance = np.random.default_rng(5)
    smooth = chance.normal(size=(4, 20, 17)).cumsum(axis=1).cumsum(axis=2)
    cube = np.tensordot(chance.normal(size=(12, 4)), smooth, 1) + 50
    cube += chance.normal(size=cube.shape)
    cube[:, 0, 0] = np.inf
    cube[3, 7, 9] = np.nan
    labels = np.zeros((20, 17), np.uint8)
    labels[:10], labels[12:] = 1, 2
    return make_scene(cube, labels)
