"""An evaluation compares test predictions with labels and carries its leak audit."""

import csv
import io
import json

import numpy as np
import pytest

from hypercover.errors import CallError, SplitError
from hypercover.evaluation.evaluate import Evaluation, confusion_csv, evaluate
from hypercover.scene.legend import Legend
from hypercover.splits.audit import audit
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split

LEGEND = Legend.of({3: "Corn", 11: 'Soy "NS", drilled', 41: "Woods", 99: "Lake"})


@pytest.fixture
def labels():
    codes = np.random.default_rng(0).choice([3, 11, 41], (4, 4)).repeat(5, 0).repeat(5, 1)
    return codes.astype(np.uint8)


@pytest.fixture
def split(labels):
    return RandomSplit(0.2, validation=0.25).split(labels, seed=1)


@pytest.fixture
def truth(labels, split):
    return split.samples("test", labels).labels


@pytest.fixture
def flawed(labels, split, truth):
    """Evaluate predictions in which every third Corn pixel is mapped as Woods."""
    predicted = truth.copy()
    corn = np.flatnonzero(truth == 3)
    predicted[corn[::3]] = 41
    return evaluate(predicted, labels=labels, split=split, legend=LEGEND, window=5)


def test_right_predictions_score_one(labels, split, truth):
    result = evaluate(truth, labels=labels, split=split, legend=LEGEND)
    assert result.overall_accuracy == result.average_accuracy == result.kappa == 1
    assert result.matrix.trace() == split.count("test")


def test_known_errors_give_known_figures(flawed, truth):
    corn = int(np.sum(truth == 3))
    wrong = -(-corn // 3)
    assert flawed.overall_accuracy == pytest.approx(1 - wrong / len(truth))
    row = flawed.per_class[0]
    assert (row["code"], row["name"], row["test_count"]) == (3, "Corn", corn)
    assert row["producers_accuracy"] == pytest.approx(1 - wrong / corn)
    assert row["users_accuracy"] == 1


def test_rows_are_the_reference(flawed):
    assert flawed.legend.codes == (3, 11, 41)
    assert flawed.matrix[0, 2] > 0
    assert flawed.matrix[2, 0] == 0


def test_the_leak_audit_is_that_of_the_window(flawed, split):
    assert flawed.leakage == audit(split, 5)
    assert flawed.leakage.window_overlap > 0.9


def test_classes_are_those_of_the_label_map(flawed, labels, split):
    counts = split.per_class("train", labels)
    assert {row["code"]: row["train_count"] for row in flawed.per_class} == counts


def test_only_test_pixels_are_asked_for(labels, split):
    assert len(split.samples("test", labels)) < np.count_nonzero(labels)
    with pytest.raises(CallError, match=r"One predicted code for each of the \d+ pixels"):
        evaluate(labels.ravel(), labels=labels, split=split)


@pytest.mark.parametrize("strange", [0, 99, -1, 12])
def test_predictions_that_are_no_class_are_refused(labels, split, truth, strange):
    predicted = truth.copy()
    predicted[0] = strange
    with pytest.raises(CallError, match=rf"got \[{strange}\]; the labels hold 3, 11, 41"):
        evaluate(predicted, labels=labels, split=split, legend=LEGEND)


def test_labels_of_another_size_are_refused(labels, split, truth):
    with pytest.raises(SplitError, match="use the split made for them"):
        evaluate(truth, labels=labels[:-1], split=split)


def test_a_class_never_trained_counts_as_errors_and_lowers_the_average():
    labels = np.array([[1, 2, 1, 2, 3, 3]])
    split = Split.from_parts(train=[[1, 1, 0, 0, 0, 0]], test=[[0, 0, 1, 1, 1, 1]])
    result = evaluate([1, 2, 1, 2], labels=labels, split=split)
    assert result.overall_accuracy == 0.5
    assert result.average_accuracy == pytest.approx(2 / 3)
    assert result.per_class[2]["train_count"] == 0
    assert result.per_class[2]["producers_accuracy"] == 0
    assert result.per_class[2]["users_accuracy"] is None


def test_the_json_object_is_whole_and_can_be_read_back(flawed):
    told = json.loads(json.dumps(flawed.to_json(), allow_nan=False))
    assert set(told) == {
        "overall_accuracy",
        "average_accuracy",
        "kappa",
        "per_class",
        "confusion",
        "leakage",
    }
    assert told["confusion"] == {"codes": [3, 11, 41], "matrix": flawed.matrix.tolist()}
    assert set(told["leakage"]) == {"window", "centre_in_window", "window_overlap"}
    assert Evaluation.from_json(told).to_json() == flawed.to_json()


def table(text):
    return list(csv.reader(io.StringIO(text)))


def test_the_csv_holds_every_matrix_with_its_margins(flawed):
    rows = table(confusion_csv({"svm": flawed, "cnn, deep": flawed}))
    assert len(rows) == 2 * 7 + 1
    assert rows[0] == ["svm: rows = reference, columns = predicted"]
    assert rows[8] == ["cnn, deep: rows = reference, columns = predicted"]
    assert rows[1][1:4] == ["3 Corn", '11 Soy "NS", drilled', "41 Woods"]
    counts = np.array([row[1:4] for row in rows[2:5]], dtype=int)
    np.testing.assert_array_equal(counts, flawed.matrix)
    for row, figures in zip(rows[2:5], flawed.per_class, strict=True):
        assert int(row[4]) == figures["test_count"]
        assert float(row[5]) == pytest.approx(figures["producers_accuracy"], abs=1e-6)
    assert [int(cell) for cell in rows[5][1:5]] == [*counts.sum(axis=0), counts.sum()]
    users = [figures["users_accuracy"] for figures in flawed.per_class]
    assert [float(cell) for cell in rows[6][1:4]] == pytest.approx(users, abs=1e-6)
    assert float(rows[6][5]) == pytest.approx(flawed.overall_accuracy, abs=1e-6)


def test_an_accuracy_that_is_not_defined_is_an_empty_cell():
    labels = np.array([[1, 2, 1, 2, 3]])
    split = Split.from_parts(train=[[1, 1, 0, 0, 1]], test=[[0, 0, 1, 1, 0]])
    rows = table(confusion_csv({"m": evaluate([1, 1], labels=labels, split=split)}))
    assert rows[4][-1] == ""
    assert rows[6][1:4] == ["0.500000", "", ""]


def test_no_model_is_an_empty_text():
    assert confusion_csv({}) == ""


def test_classes_that_are_never_predicted_are_named(labels, split, truth, flawed):
    assert flawed.never_predicted == []
    predicted = np.where(truth == 3, 41, truth)
    result = evaluate(predicted, labels=labels, split=split, legend=LEGEND)
    # The lake has no test pixel: nothing is known of it.
    assert [land.name for land in result.never_predicted] == ["Corn"]
    again = Evaluation.from_json(json.loads(json.dumps(result.to_json())))
    assert [land.code for land in again.never_predicted] == [3]
