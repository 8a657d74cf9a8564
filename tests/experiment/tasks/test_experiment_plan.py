"""What makes a task be done again."""

import numpy as np
import pytest

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.tasks.experiment_plan import make_plan


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((3, 9, 9)))
    return tmp_path


VALIDATED = {"kind": "random", "train": 0.5, "validation": 0.2}


def plan(folder, **changes):
    return planned(folder, **changes).fingerprints


def planned(folder, **changes):
    document = {
        "name": "a",
        "scene": {"path": "cube.npy"},
        "split": {"kind": "random", "train": 0.5},
        "beside": {"blocks": {"kind": "blocks", "size": 3}},
        "models": {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "window": 5}},
        "versions": {"torch": "2"},
    }
    return make_plan(parse(document | changes, folder))


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
        "train-all-0-svm",
        "map-svm",
        "reduce-first",
        "report-first",
        "reduce",
        "classes",
        "report",
    }


def test_quick_models_map_and_report_before_a_network_is_trained(folder):
    """In whatever order the file names them, and a network waits for nothing of theirs."""
    models = {"cnn": {"kind": "cnn", "window": 5}, "svm": {"kind": "svm"}}
    made = planned(folder, models=models, map="best", split=VALIDATED)
    order = [task.name for task in made.tasks]
    first = ["train-main-0-svm", "reduce-first", "train-all-0-svm", "map-svm"]
    assert [name for name in order if name in first] == first
    assert order.index("report-first") < order.index("train-main-0-cnn")
    assert made.task("train-main-0-cnn").needs == ("split-main-0",)
    needed = {"train-main-0-svm"}
    needed |= made.dependents(["train-main-0-cnn"])
    assert {"reduce", "report", "train-all-0-cnn", "map-cnn"} <= needed
    assert not needed & {"reduce-first", "report-first", "map-svm", "train-all-0-svm"}


def test_one_kind_of_model_reports_once(folder):
    made = planned(folder, models={"svm": {"kind": "svm"}})
    assert not [task.name for task in made.tasks if "first" in task.name]


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
