"""The experiment of somebody who only gave an image and labels."""

from pathlib import Path

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.experiment.config.presets import default_experiment


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
    """Two fields that touch: neither can be left out, and no block fits beside a guard."""
    codes = np.zeros((48, 48))
    codes[20:25, 20:23], codes[20:25, 23:26] = 1, 2
    made = default_experiment(scene(codes))
    assert (made.split.kind, made.beside) == ("random", {})
    assert made.notes[0].startswith("No guard-banded blocks can be drawn")
    assert default_experiment(scene(FIELDS)).notes == []


@pytest.mark.parametrize("model", ["svm", "cnn", "forest", "lda"])
def test_one_model_if_so_asked_withholds_no_pixel_to_choose_by(scene, model):
    made = default_experiment(scene(FIELDS), model=model)
    assert (list(made.models), made.map, made.split.validation) == ([model], True, 0)


def test_several_models_are_chosen_from(scene):
    made = default_experiment(scene(FIELDS), model=["forest", "svm", "forest"])
    assert (list(made.models), made.map) == (["forest", "svm"], "best")
    assert made.split.validation == 0.2


def points(*counts: int) -> np.ndarray:
    """Label single pixels, far apart, so many of each class."""
    codes = np.zeros((48, 48))
    named = np.repeat(1 + np.arange(len(counts)), counts)
    places = np.random.default_rng(1).permutation(16)[: len(named)]
    codes[5 + places // 4 * 12, 5 + places % 4 * 12] = named
    return codes


@pytest.mark.parametrize(
    ("counts", "folds"), [((2, 2, 1), 4), ((4, 4, 4, 4), 16), ((3, 2), 5)]
)
def test_points_are_left_out_one_after_another(scene, counts, folds):
    made = default_experiment(scene(points(*counts)))
    assert (made.split.kind, made.split.folds) == ("leave-one-out", folds)
    assert (list(made.models), made.map, made.beside) == (["svm", "forest"], True, {})
    assert f"left out one after another in {folds} trainings" in made.notes[0]
    assert "No network was trained" in made.notes[1]


def test_a_network_that_is_asked_for_is_trained_a_few_times(scene):
    made = default_experiment(scene(points(4, 4, 4, 4)), model="cnn")
    assert (list(made.models), made.split.folds) == (["cnn"], 5)


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (5, 1)])
def test_too_few_to_judge_are_mapped_all_the_same(scene, counts):
    made = default_experiment(scene(points(*counts)))
    assert (made.split.kind, made.map, made.refits) == ("none", True, False)
    assert made.notes[0].startswith("Too few labels to evaluate a map")


def test_a_few_fields_of_which_blocks_would_lose_a_class_are_left_out_one_by_one(scene):
    codes = np.zeros((48, 48))
    for code, row in enumerate((4, 20, 36), start=1):
        for col in (4, 20, 36):
            codes[row : row + 6, col : col + 6] = code
    codes[36:42] = 0
    codes[36:39, 4:7] = 3
    made = default_experiment(scene(codes), model="svm")
    assert (made.split.kind, made.split.folds) == ("leave-one-out", 6)


def test_an_image_smaller_than_a_window_is_classified(scene):
    """An SVM needs no window, and that of a network shrinks."""
    codes = 1 + np.add.outer(np.arange(7) // 3, np.arange(7) // 3) % 2
    made = default_experiment(scene(codes), model=["svm", "cnn"])
    assert made.models["cnn"].window == 7
    assert default_experiment(scene(codes), model="svm").window == 1


def test_the_window_of_networks_and_guards_can_be_chosen(scene):
    codes = 1 + np.add.outer(np.arange(60) // 5, np.arange(60) // 5) % 2
    made = default_experiment(scene(codes), model=["svm", "cnn"], window=5)
    assert made.models["cnn"].window == 5
    assert made.split.guard in (4, 2)
    for window in (4, 61, -1):
        with pytest.raises(
            CallError, match=f"60 × 60 pixels, got {window}; give --window 9"
        ):
            default_experiment(scene(codes), model=["svm", "cnn"], window=window)


def test_an_unknown_model_is_refused_before_the_image_is_read():
    with pytest.raises(CallError, match="must be svm, cnn, forest or lda, got 'tree'"):
        default_experiment({"path": Path("gone.tif")}, model="tree")


@pytest.mark.parametrize(
    ("file", "name"),
    [("my field (2).npz", "my-field-2"), ("Å.npz", "scene"), ("-x-.npz", "x")],
)
def test_any_file_name_gives_a_name_for_the_run(scene, file, name):
    assert default_experiment(scene(FIELDS, file), model="svm").name == name
