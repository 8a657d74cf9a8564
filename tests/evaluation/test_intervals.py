"""Intervals of accuracies hold a known truth as often as they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.units import BlockUnits, FieldUnits
from hypercover.samples.samples import Samples

PROGRAM = Path(__file__).parents[2] / "benchmarks/interval_coverage.py"


@pytest.fixture(scope="module")
def simulated():
    found = importlib.util.spec_from_file_location("coverage_of_intervals", PROGRAM)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_errors_in_patches_are_covered_by_blocks_and_not_by_pixels(simulated):
    """Patches of errors about 5 pixels wide, 16 blocks of 15 × 15."""
    rng = np.random.default_rng(11)
    found = simulated.shares(simulated.coverage(
        lambda: simulated.patches(60, 1, rng), simulated.RIGHT, 600, resamples=300
    ))  # fmt: skip
    for name in ("overall", "average", "producer"):
        assert 0.93 <= found[name] <= 0.97, (name, found)
    assert found["pixels"] < 0.6


@pytest.mark.parametrize(
    "count",
    [
        20,
        pytest.param(10, marks=pytest.mark.slow),
        pytest.param(60, marks=pytest.mark.slow),
    ],
)
def test_fields_with_accuracies_of_their_own_are_covered(simulated, count):
    rng = np.random.default_rng(count)
    found = simulated.shares(simulated.coverage(
        lambda: simulated.fields(count, rng, truth=0.7), 0.7, 1000, resamples=400,
        units=FieldUnits(),
    ))  # fmt: skip
    for name in ("overall", "average", "kappa"):
        assert 0.93 <= found[name] <= 0.97, (name, found)
    assert found["pixels"] < 0.5


def test_what_trainings_differ_by_is_covered_too(simulated):
    rng = np.random.default_rng(13)
    truth = simulated.seeds_truth(training=0.8)
    found = simulated.shares(simulated.coverage(
        lambda: simulated.seeds(10, 7, rng, training=0.8), truth, 400, resamples=200,
        units=BlockUnits(5),
    ))  # fmt: skip
    assert 0.93 <= found["overall"] <= 0.97


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    test = Samples.of(rng.choice([0, 2, 5], (40, 40)))
    taken = np.where(rng.random(len(test)) < 0.8, test.labels, 7 - test.labels)
    return Predictions.of(test, taken, shape=(40, 40))


def test_what_is_listed_holds_what_was_measured(answers):
    found = accuracy_intervals(answers, units=BlockUnits(5))
    low, high = found.overall_accuracy
    assert low < answers.right.mean() < high
    assert (found.unit, found.units, found.resamples) == ("blocks of 5 px", 64, 2000)
    told = found.to_json()
    assert [row["code"] for row in told["per_class"]] == [2, 5]
    for row in told["per_class"]:
        own = answers.labels == row["code"]
        low, high = row["producers_accuracy"]
        assert low < answers.right[own].mean() < high
        mapped = answers.predicted == row["code"]
        low, high = row["users_accuracy"]
        assert low < answers.right[mapped].mean() < high


def test_a_class_that_does_not_occur_or_lies_in_one_unit_has_no_interval(answers):
    found = accuracy_intervals(answers, units=BlockUnits(40), codes=[1, 2, 5])
    assert found.overall_accuracy is None
    found = accuracy_intervals(answers, units=BlockUnits(5), codes=[1, 2, 5])
    assert found.per_class[0] == {
        "code": 1, "producers_accuracy": None, "users_accuracy": None, "f1": None
    }  # fmt: skip
    assert found.per_class[1]["f1"] is not None


@pytest.mark.parametrize("fields", [4, 5])
def test_fewer_than_five_pieces_of_land_give_no_interval(fields):
    labels = np.zeros((1, 30), int)
    for place in range(fields):
        labels[0, 6 * place : 6 * place + 5] = 1 + place % 2
    test = Samples.of(labels)
    taken = np.where(np.arange(len(test)) % 3, test.labels, 3 - test.labels)
    answers = Predictions.of(test, taken, shape=(1, 30))
    found = accuracy_intervals(answers, units=FieldUnits())
    assert (found.units, found.too_few) == (fields, fields < 5)
    ends = [found.overall_accuracy, found.kappa, found.per_class[0]["f1"]]
    assert [one is None for one in ends] == [fields < 5] * 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": 1.0}, "between 0 and 1, got 1.0"),
        ({"resamples": 5}, "at least 100 resamples, got 5"),
        ({"codes": [2]}, r"without \[5\]"),
        ({"codes": [5, 2]}, "ascending order"),
    ],
)
def test_what_makes_no_sense_is_refused(answers, options, sentence):
    with pytest.raises(CallError, match=sentence):
        accuracy_intervals(answers, **options)
