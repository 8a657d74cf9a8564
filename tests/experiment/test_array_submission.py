"""What a plan says of the memory of its tasks, which batch systems are then asked for."""

import numpy as np
import pytest

from hypercover.experiment.array_submission import TaskMemory
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.tasks.experiment_plan import make_plan

GIB = 2**30
CITY = {"pixels": 1200 * 1200, "bands": 5, "labelled": 775_401, "classes": 9}
LARGE = {"pixels": 10_000**2, "bands": 200, "labelled": 20_000, "classes": 10}


def memory(tmp_path, sizes, models, **keys):
    """Return the GiB of each task that a plan says, by name."""
    keys = {"split": {"kind": "random", "train": 0.1}, "map": False} | keys
    scene = {"path": "scene.npy"}
    np.save(tmp_path / "scene.npy", np.ones((3, 9, 9)))
    experiment = parse({"name": "a", "scene": scene, "models": models, **keys}, tmp_path)
    rules = TaskMemory(experiment, **sizes)
    return {task.name: rules.of(task) / GIB for task in make_plan(experiment).tasks}


def test_fitting_an_svm_takes_its_cache_and_not_all_kernels(tmp_path):
    found = memory(tmp_path, CITY, {"svm": {"kind": "svm"}})
    assert 0.5 < found["train-main-0-svm"] < 2


def test_searching_takes_at_least_the_kernels_of_two_classes(tmp_path):
    models = {"svm": {"kind": "svm", "C": "search", "gamma": "search"}}
    pair = 4 * (4 * 77_540 // 9) ** 2 / GIB
    found = memory(tmp_path, CITY, models)["train-main-0-svm"]
    assert pair < found < 3 * 4 * 77_540**2 / GIB


def test_a_cube_is_held_whole_only_by_a_network(tmp_path):
    models = {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "network": "default"}}
    found = memory(tmp_path, LARGE, models)
    assert found["train-main-0-svm"] < 5
    assert found["train-main-0-cnn"] > LARGE["pixels"] * LARGE["bands"] * 4 / GIB


@pytest.mark.parametrize(("chain", "least"), [("pca:3", 0), ("pca:3,esdap:area=9/99", 100)])
def test_shapes_across_the_scene_ask_for_much(tmp_path, chain, least):
    models = {"svm": {"kind": "svm", "features": "f"}}
    found = memory(tmp_path, LARGE, models, features={"f": chain})
    tree = least * LARGE["pixels"] / GIB
    assert tree < found["features-f"] < tree + 20
