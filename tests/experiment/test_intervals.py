"""Intervals of a run: made of its kept answers, in the units its split calls for."""

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.units import BlockUnits, FieldUnits
from hypercover.experiment.folder import RunFolder
from hypercover.experiment.intervals import kept_answers, model_interval
from hypercover.samples.samples import Samples

BLOCKS = {"kind": "blocks", "settings": {"size": 6}}


@pytest.fixture
def kept(tmp_path):
    """Keep the answers of a model under two seeds."""
    rng, run = np.random.default_rng(0), RunFolder(tmp_path)
    labels = rng.integers(1, 3, (8, 8)).repeat(4, 0).repeat(4, 1)
    answers = []
    for seed in (3, 4):
        test = Samples.of(np.where(rng.random(labels.shape) < 0.5, labels, 0))
        taken = np.where(rng.random(len(test)) < 0.8, test.labels, 3 - test.labels)
        answers.append(Predictions.of(test, taken, shape=labels.shape))
        answers[-1].save(run.predictions("main", seed, "svm"))
    return run, answers


def asked(run, made, seeds=((3,), (4,))):
    answers = kept_answers(run, "svm", split="main", seeds=seeds)
    return model_interval(answers, made=made, codes=[1, 2])


def test_units_are_those_of_the_split(kept):
    run, answers = kept
    for made, units in (
        (BLOCKS, BlockUnits(6)),
        ({"kind": "fields", "settings": {}}, FieldUnits()),
        ({"kind": "random", "settings": {"train": 0.1}}, BlockUnits(15)),
    ):
        expected = accuracy_intervals(answers, units=units, codes=[1, 2]).to_json()
        assert asked(run, made) == expected
        assert expected["unit"] == units.words


@pytest.mark.parametrize(("size", "units"), [(32, 1), (16, 4)])
def test_test_pixels_in_few_units_give_no_interval(kept, size, units):
    run, _ = kept
    found = asked(run, {"kind": "blocks", "settings": {"size": size}})
    assert (found["units"], found["too_few"]) == (units, True)
    assert found["overall_accuracy"] is found["average_accuracy"] is found["kappa"] is None
    assert all(row["f1"] is None for row in found["per_class"])
    assert not asked(run, BLOCKS)["too_few"]


def test_no_test_pixels_have_no_interval():
    assert model_interval([], made=BLOCKS, codes=[1, 2]) is None


def test_answers_that_are_gone_are_named(kept):
    run, _ = kept
    run.predictions("main", 4, "svm").unlink()
    with pytest.raises(CallError, match=r"main-4-svm\.npz are missing"):
        asked(run, BLOCKS)


def test_folds_of_a_seed_are_one_set_of_answers(kept):
    run, answers = kept
    together = Predictions.joined(answers)
    assert len(together) == sum(map(len, answers))
    expected = accuracy_intervals(together, units=BlockUnits(6), codes=[1, 2]).to_json()
    assert asked(run, BLOCKS, seeds=[[3, 4]]) == expected
