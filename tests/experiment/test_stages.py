"""How the parts of an experiment file become scenes and splits."""

import os

import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat

from hypercover.errors import LabelError
from hypercover.experiment.schema import Experiment, MasksSpec, SceneSpec
from hypercover.experiment.stages import fingerprint, scene_for, split_for
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


@pytest.mark.parametrize(("bare", "told"), [(0, []), (1, ["1 of the 36 labelled pixels holds"]),
                                           (3, ["3 of the 36 labelled pixels hold"])])  # fmt: skip
def test_labels_on_pixels_without_data_are_told(tmp_path, scene, bare, told):
    cube = np.ones((2, 6, 6), np.float32)
    cube[:, 0, :bare] = np.nan
    np.savez(tmp_path / "scene.npz", cube=cube, labels=scene.labels)
    notes = scene_for(SceneSpec(path=tmp_path / "scene.npz")).notes
    assert [note[: len(said)] for note, said in zip(notes[-1:], told, strict=False)] == told
    assert any("no data: left out" in note for note in notes) == bool(bare)


@pytest.mark.parametrize("changed", ["cube.img", "cube.hdr", "fields.dbf", "fields.shp"])
def test_a_scene_is_another_once_any_of_its_files_is(tmp_path, changed):
    for name in ("cube.hdr", "cube.img", "fields.shp", "fields.dbf", "cube.png"):
        (tmp_path / name).write_text("first")
    experiment = Experiment.model_validate({
        "name": "fields",
        "scene": {"path": tmp_path / "cube.hdr", "labels": tmp_path / "fields.shp"},
        "split": {"kind": "random"},
        "models": {"svm": {"kind": "svm"}},
    })  # fmt: skip
    before = fingerprint(experiment)
    os.utime(tmp_path / "cube.png", (1, 1))
    assert fingerprint(experiment) == before
    os.utime(tmp_path / changed, (1, 1))
    assert fingerprint(experiment) != before
