"""What makes a task be done again."""

import numpy as np
import pytest

from hypercover.experiment.plan import make_plan
from hypercover.experiment.reading import parse


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((3, 9, 9)))
    return tmp_path


def plan(folder, **changes):
    document = {
        "name": "a",
        "scene": {"path": "cube.npy"},
        "split": {"kind": "random", "train": 0.5},
        "beside": {"blocks": {"kind": "blocks", "size": 3}},
        "models": {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "window": 5}},
        "versions": {"torch": "2"},
    }
    return make_plan(parse(document | changes, folder)).fingerprints


def again(before, after):
    """Names of the tasks that both plans have and that must be done again."""
    return {name for name in before if name in after and before[name] != after[name]}


def test_nothing_changed_nothing_done(folder):
    assert again(plan(folder), plan(folder)) == set()


def test_another_model_is_trained_alone(folder):
    models = {"svm": {"kind": "svm", "C": 3}, "cnn": {"kind": "cnn", "window": 5}}
    redone = again(plan(folder), plan(folder, models=models))
    assert redone == {
        "train-main-0-svm",
        "train-blocks-0-svm",
        "map-svm",
        "reduce",
        "classes",
        "report",
    }


@pytest.mark.parametrize(
    "change", [{"versions": {"torch": "3"}}, {"scene": {"path": "other.npy"}}]
)
def test_other_packages_or_another_scene_undo_everything(folder, change):
    np.save(folder / "other.npy", np.ones((3, 9, 9)))
    before = plan(folder)
    assert again(before, plan(folder, **change)) == set(before)


def test_a_changed_image_undoes_everything(folder):
    before = plan(folder)
    np.save(folder / "cube.npy", np.ones((3, 9, 10)))
    assert again(before, plan(folder)) == set(before)
