"""How the parts of an experiment file become scenes and splits."""

import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat

from hypercover.errors import LabelError
from hypercover.experiment.schema import MasksSpec
from hypercover.experiment.stages import split_for
from hypercover.scene.scene import Scene


@pytest.fixture
def scene():
    labels = np.tile(np.array([1, 2], np.uint8), (6, 3))
    return Scene(xr.DataArray(np.ones((2, 6, 6)), dims=("band", "y", "x")), labels)


def test_two_masks_in_one_file_are_told_apart_by_name(tmp_path, scene):
    upper = np.arange(6)[:, None] < np.full(6, 2)
    path = tmp_path / "masks.mat"
    savemat(path, {"TR": 9 * upper.astype("u1"), "TE": (~upper).astype("u1")})
    spec = MasksSpec(train=path, test=path, train_variable="TR", test_variable="TE")
    split = split_for(spec, scene, seed=0, window=1)
    np.testing.assert_array_equal(split.mask("train"), upper)
    np.testing.assert_array_equal(split.mask("test"), ~upper)
    with pytest.raises(LabelError, match=r"TR \(6 × 6\), TE \(6 × 6\)"):
        split_for(MasksSpec(train=path), scene, seed=0, window=1)
