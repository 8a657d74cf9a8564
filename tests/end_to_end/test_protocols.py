"""Runs under every kind of split, folds and learning curves included."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from hypercover.evaluation.predictions import Predictions
from hypercover.splits.cross_validation import KFoldSplit
from hypercover.splits.split import Split

pytestmark = pytest.mark.usefixtures("sketched")

SVM = {"svm": {"kind": "svm"}}
FOLDS = {"kind": "kfold", "by": "blocks", "folds": 3, "size": 8, "guard": 2}


@pytest.fixture(scope="module")
def folded(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """A run of two repeats of three folds, and other protocols beside it."""
    folder = tmp_path_factory.mktemp("folded")
    beside = {
        "fields": {"kind": "fields", "train": 0.4, "guard": 2, "validation": 0.3},
        "clusters": {"kind": "clusters", "train": 0.3, "order": "spread", "guard": 2},
        "by-fields": {"kind": "kfold", "by": "fields", "folds": 2, "guard": 1},
    }
    changes = {"split": FOLDS, "beside": beside, "models": SVM, "repeats": 2}
    path = desk.experiment(scene, folder, **changes)
    ended = desk.here("run", path, "-o", folder / "run", "--workers", 1)
    assert ended.code == 0
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    return SimpleNamespace(folder=folder / "run", metrics=metrics, out=ended.out)


def test_every_labelled_pixel_is_tested_once_a_repeat(scene, folded):
    for repeat in (0, 1):
        tested = np.zeros(scene.codes.shape, int)
        dealt = KFoldSplit("blocks", 3, 8, 2).splits(scene.codes, seed=3 + repeat, window=1)
        for fold in range(3):
            draw = repeat * 3 + fold
            answers = Predictions.load(
                folded.folder / f"predictions/main-{3 + draw}-svm.npz"
            )
            tested[answers.rows, answers.cols] += 1
            where = ("split",) if draw == 0 else ("splits", f"main-{draw}")
            kept = Split.load(folded.folder.joinpath(*where[:-1]), where[-1])
            assert kept.digest == dealt[fold].digest
        np.testing.assert_array_equal(tested, scene.codes > 0)


def test_figures_of_folds_are_those_of_all_pixels_together(folded):
    model = folded.metrics["models"]["svm"]
    right, recall = [], []
    for repeat in (0, 1):
        draws = [3 + repeat * 3 + fold for fold in range(3)]
        answers = [
            Predictions.load(folded.folder / f"predictions/main-{draw}-svm.npz")
            for draw in draws
        ]
        labels = np.concatenate([one.labels for one in answers])
        predicted = np.concatenate([one.predicted for one in answers])
        right.append(accuracy_score(labels, predicted))
        recall.append(recall_score(labels, predicted, average="macro"))
    assert model["overall_accuracy"] == pytest.approx(np.mean(right))
    assert model["average_accuracy"] == pytest.approx(np.mean(recall))
    each = [row["overall_accuracy"] for row in model["repeats"]]
    assert [(row["seed"], row["fold"]) for row in model["repeats"]] == [
        (3 + draw, draw % 3 + 1) for draw in range(6)
    ]
    assert model["spread"]["overall_accuracy"] == pytest.approx(np.std(each, ddof=1))
    assert model["folds"] == 3
    # all pixels of all folds stand in one order, so the end of the curve is the accuracy
    *_, last = model["calibration"]["abstention"]
    assert (last["kept"], last["accuracy"]) == (1, pytest.approx(np.mean(right)))


def test_counts_of_folds_are_those_of_a_whole_repeat(scene, folded):
    split = folded.metrics["split"]
    assert split["test"]["count"] == np.count_nonzero(scene.codes)
    assert sum(split["test"]["per_class"].values()) == split["test"]["count"]
    assert 0 < split["train"]["count"] < split["test"]["count"]
    assert any("tested once in 3 folds" in note for note in split["notes"])
    assert "sha256" not in split
    assert "3 folds of blocks of 8 px" in (folded.folder / "report.html").read_text()


def test_other_protocols_stand_beside_it(folded):
    assert set(folded.metrics["beside"]) == {"fields", "clusters", "by-fields"}
    for name, part in folded.metrics["beside"].items():
        assert 0 < part["models"]["svm"]["overall_accuracy"] <= 1, name
    assert len(folded.metrics["beside"]["by-fields"]["models"]["svm"]["repeats"]) == 4


def test_a_finished_run_of_folds_has_nothing_left_to_do(call, folded):
    before = (folded.folder / "metrics.json").stat().st_mtime_ns
    ended = call("run", folded.folder / "experiment.yaml", "-o", folded.folder)
    assert (ended.code, ended.err) == (0, "")
    assert (folded.folder / "metrics.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def curved(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """A run of a learning curve under fields, and its split taken over by another run."""
    folder = tmp_path_factory.mktemp("curved")
    split = {"kind": "random", "train": 0.2}
    changes = {"split": split, "models": SVM, "learning_curve": [0.5, 0.05], "map": False}
    path = desk.experiment(scene, folder, **changes)
    ended = desk.here("run", path, "-o", folder / "run")
    assert ended.code == 0
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    return SimpleNamespace(folder=folder / "run", metrics=metrics, out=ended.out)


def test_a_learning_curve_has_a_row_for_each_share(curved):
    rows = curved.metrics["curve"]["rows"]
    assert [(row["model"], row["train"]) for row in rows] == [("svm", 0.05), ("svm", 0.5)]
    assert rows[0]["overall_accuracy"] < rows[1]["overall_accuracy"]
    parts = curved.metrics["learning_curve"]
    assert set(parts) == {"train-0.05", "train-0.5"}
    for share, row in zip((0.05, 0.5), rows, strict=True):
        part = parts[f"train-{share}"]
        assert part["split"]["settings"]["train"] == share
        assert part["models"]["svm"]["overall_accuracy"] == row["overall_accuracy"]
    assert "overall accuracy in % by training share" in curved.out
    assert (curved.folder / "figures/curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_digest_of_a_split_is_told_and_holds(desk, scene, call, curved, tmp_path):
    digest = curved.metrics["split"]["sha256"]
    assert digest == Split.load(curved.folder).digest
    assert f"(SHA-256 {digest})" in curved.out
    saved = {"kind": "saved", "path": str(curved.folder), "sha256": digest}
    path = desk.experiment(scene, tmp_path, split=saved, models=SVM, map=False)
    ended = call("run", path, "-o", tmp_path / "run")
    assert ended.code == 0, ended.err
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert again["split"]["sha256"] == digest
    one, other = (found["models"]["svm"]["confusion"] for found in (again, curved.metrics))
    assert one == other


def test_what_cannot_be_asked_is_said_before_anything_runs(desk, scene, call, tmp_path):
    wrong = {
        "Of the split 'train-0.9': A guard of": {
            "split": {"kind": "blocks", "size": 8, "guard": 30, "train": 0.1},
            "learning_curve": [0.9],
        },
        "none; split by random, blocks": {"split": FOLDS, "learning_curve": [0.1]},
        "that of a share of learning_curve": {
            "learning_curve": [0.1],
            "beside": {"train-0.1": {"kind": "random"}},
        },
        "give the file of that split": {
            "split": {"kind": "saved", "path": str(scene.image.parent), "sha256": "0" * 64}
        },
    }
    Split.from_parts(train=scene.codes % 2 == 1, test=scene.codes == 2).save(
        scene.image.parent
    )
    for words, change in wrong.items():
        path = desk.experiment(scene, tmp_path, models=SVM, **change)
        assert words in call("run", path, "-o", tmp_path / "run").sentence
        assert not (tmp_path / "run").exists()
