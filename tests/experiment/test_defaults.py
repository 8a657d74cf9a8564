"""The experiment of somebody who only gave an image and labels."""

from pathlib import Path

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.experiment.defaults import default_experiment


@pytest.fixture
def scene(tmp_path):
    """Save an image of 48 × 48 pixels and labels where a test wants them."""

    def saved(codes: np.ndarray, name: str = "cube.npz") -> dict[str, Path]:
        cube = np.random.default_rng(0).integers(1, 99, (*codes.shape, 5))
        np.savez(tmp_path / name, cube=cube.astype(np.uint8))
        np.save(tmp_path / "labels.npy", codes.astype(np.uint8))
        given = {"path": tmp_path / name, "labels": tmp_path / "labels.npy"}
        return given | {"axes": "row,col,band"}

    return saved


FIELDS = 1 + np.add.outer(np.arange(48) // 8, np.arange(48) // 8) % 3


def test_blocks_with_a_wide_guard_beside_a_random_split(scene):
    made = default_experiment(scene(FIELDS), seed=4)
    assert (made.split.kind, made.split.guard, made.split.validation) == ("blocks", 8, 0.2)
    assert made.beside["random"].train == made.split.train
    assert list(made.models) == ["svm", "cnn"]
    assert (made.map, made.seed, made.notes) == ("best", 4, [])


def test_a_random_split_alone_says_so(scene):
    codes = np.zeros((48, 48))
    codes[20:22, 20:24] = [[1, 2, 1, 2], [2, 1, 2, 1]]
    made = default_experiment(scene(codes))
    assert (made.split.kind, made.beside) == ("random", {})
    assert made.notes[0].startswith("No guard-banded blocks can be drawn")
    assert default_experiment(scene(FIELDS)).notes == []


@pytest.mark.parametrize("model", ["svm", "cnn"])
def test_one_model_if_so_asked(scene, model):
    assert list(default_experiment(scene(FIELDS), model=model).models) == [model]


def test_an_unknown_model_is_refused_before_the_image_is_read():
    with pytest.raises(CallError, match="must be cnn or svm, got 'tree'"):
        default_experiment({"path": Path("gone.tif")}, model="tree")


@pytest.mark.parametrize(
    ("file", "name"),
    [("my field (2).npz", "my-field-2"), ("Å.npz", "scene"), ("-x-.npz", "x")],
)
def test_any_file_name_gives_a_name_for_the_run(scene, file, name):
    assert default_experiment(scene(FIELDS, file), model="svm").name == name
