"""A run shows how each class fares, over all its seeds and folds."""

import json

import numpy as np
import pytest

from hypercover.jobs.task_files import result_of
from hypercover.report.finished_run import read_image

SPLITS = {
    "seeds": {"kind": "blocks", "size": 8, "train": 0.3, "guard": 4},
    "folds": {"kind": "kfold", "by": "blocks", "size": 8, "folds": 2, "guard": 4},
}


@pytest.fixture(scope="module", params=SPLITS)
def ran(desk, scene, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("ran")
    changes = {"models": {"svm": {"kind": "svm"}}, "split": SPLITS[request.param]}
    path = desk.experiment(scene, folder, **changes, map=False, repeats=2)
    assert desk.here("run", path, "-o", folder / "run", "--workers", 1).code == 0
    return folder / "run"


def test_the_confused_pairs_are_those_of_all_draws_together(ran):
    confusion = json.loads((ran / "metrics.json").read_text())["models"]["svm"]["confusion"]
    matrix, codes = np.array(confusion["matrix"]), confusion["codes"]
    both = np.tril(matrix + matrix.T, -1)
    found = result_of(ran, "classes")["confused"]["svm"]
    assert len(found) == min(3, np.count_nonzero(both))
    places = [sorted(map(codes.index, pair), reverse=True) for pair in found]
    counts = [both[tuple(place)] for place in places]
    assert counts == sorted(both[both > 0], reverse=True)[:3]
    for what in ("classes-svm", "confused-svm"):
        assert read_image(ran / "figures", what) is not None


def test_a_lost_figure_is_drawn_again(desk, ran, call):
    figure = ran / "figures" / "classes-svm.png"
    before = figure.read_bytes()
    figure.unlink()
    trained = (ran / "tasks" / "train-main-3-svm.json").read_bytes()
    assert call("run", ran / "experiment.yaml", "-o", ran, "--workers", 1).code == 0
    assert figure.read_bytes() == before
    assert (ran / "tasks" / "train-main-3-svm.json").read_bytes() == trained
