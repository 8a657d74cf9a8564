"""Intervals of accuracies hold a known truth as often as they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hypercover.errors import CallError
from hypercover.evaluation.accuracy import accuracies, unit_weights
from hypercover.evaluation.intervals import (
    BlockUnits,
    BootstrapEstimate,
    FieldUnits,
    accuracy_intervals,
    bootstrap,
)
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples

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
    found = simulated.shares(
        simulated.coverage(
            lambda: simulated.patches(60, 1, rng), simulated.RIGHT, 600, resamples=300
        )
    )
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
    found = simulated.shares(
        simulated.coverage(
            lambda: simulated.fields(count, rng, truth=0.7),
            0.7,
            1000,
            resamples=400,
            units=FieldUnits(),
        )
    )
    for name in ("overall", "average", "kappa"):
        assert 0.93 <= found[name] <= 0.97, (name, found)
    assert found["pixels"] < 0.5


def test_what_trainings_differ_by_is_covered_too(simulated):
    rng = np.random.default_rng(13)
    truth = simulated.seeds_truth(training=0.8)
    found = simulated.shares(
        simulated.coverage(
            lambda: simulated.seeds(10, 7, rng, training=0.8),
            truth,
            400,
            resamples=200,
            units=BlockUnits(5),
        )
    )
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
    assert found.per_class[0].to_json() == {
        "code": 1,
        "producers_accuracy": None,
        "users_accuracy": None,
        "f1": None,
    }
    assert found.per_class[1].f1 is not None


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
    ends = [found.overall_accuracy, found.kappa, found.per_class[0].f1]
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


def share(tallies):
    return tallies[..., 0, :] / tallies[..., 1, :]


def even(*shares):
    """One class, units of 100 pixels: fields are right and all; one row a seed."""
    right = 100 * np.atleast_2d(shares)
    return np.stack([right, np.full(right.shape, 100.0)], axis=-1)[..., None]


def ones(tallies):
    return np.ones((tallies.shape[1], 1))


def test_units_of_one_size_give_the_standard_error_of_a_mean():
    shares = np.random.default_rng(0).uniform(0.5, 1, 40)
    found = bootstrap(even(shares), share, np.ones((40, 1)), resamples=40_000)
    assert found.value[0] == pytest.approx(shares.mean())
    assert found.error[0] == pytest.approx(stats.sem(shares), rel=0.02)
    assert found.freedom[0] == pytest.approx(39)


def test_the_interval_is_that_of_student_on_the_logit_scale():
    shares = np.array([0.9, 0.8, 0.7, 0.95, 0.6])
    found = bootstrap(even(shares), share, np.ones((5, 1)), resamples=40_000)
    low, high = found.of_shares(0.9)[0]
    logit = np.log(found.value[0] / (1 - found.value[0]))
    half = stats.t.ppf(0.95, 4) * found.error[0] / (found.value[0] * (1 - found.value[0]))
    assert np.log(low / (1 - low)) == pytest.approx(logit - half)
    assert np.log(high / (1 - high)) == pytest.approx(logit + half)
    wider = found.of_shares(0.99)[0]
    assert 0 < wider[0] < low < high < wider[1] < 1


def test_units_of_uneven_size_are_worth_fewer():
    tallies = even([0.9, 0.8, 0.7, 0.6])
    sizes = np.array([[97.0], [1.0], [1.0], [1.0]])
    free = bootstrap(tallies, share, sizes).freedom[0]
    assert free == pytest.approx(max(100**2 / (97**2 + 3) - 1, 0.5))


def test_drawing_is_brute_force_with_all_resamples_of_three_units():
    """27 equally likely resamples of three units of uneven size, F1 and kappa among them."""
    tallies = np.array(
        [
            [[5, 2], [6, 4], [7, 3]],
            [[1, 8], [3, 9], [2, 10]],
            [[0, 3], [4, 3], [0, 7]],
        ],
        dtype=float,
    )
    draws = np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)
    every = accuracies(tallies[draws].sum(axis=1))
    rests = unit_weights(tallies)
    found = bootstrap(tallies[None], accuracies, rests, resamples=200_000)
    worth = rests.sum(axis=0) ** 2 / (rests**2).sum(axis=0)
    expected = np.nanstd(every, axis=0) * np.sqrt(worth / (worth - 1))
    np.testing.assert_allclose(found.error, expected, rtol=0.02)
    np.testing.assert_allclose(found.value, accuracies(tallies.sum(axis=0)))


def test_seeds_add_what_they_differ_by():
    """Seeds that are good or bad everywhere: the variance of their mean is added."""
    land = np.random.default_rng(1).uniform(0.5, 0.8, 30)
    shifts = np.array([-0.1, 0.0, 0.2])
    one = bootstrap(even(land), share, np.ones((30, 1)), resamples=20_000)
    tallies = even(*(land + shifts[:, None]))
    found = bootstrap(tallies, share, np.ones((30, 1)), resamples=20_000)
    of_seeds = shifts.var(ddof=1) / 3
    assert found.value[0] == pytest.approx((land + shifts[:, None]).mean())
    assert found.error[0] ** 2 == pytest.approx(one.error[0] ** 2 + of_seeds, rel=0.02)
    total = one.error[0] ** 2 + of_seeds
    expected = total**2 / (one.error[0] ** 4 / 29 + of_seeds**2 / 2)
    assert found.freedom[0] == pytest.approx(expected, rel=0.05)


def test_seeds_that_agree_are_worth_no_more_land_than_one():
    """Ten seeds on the same land do not make its interval narrower."""
    shares = np.random.default_rng(2).uniform(0.5, 1, 12)
    one = bootstrap(even(shares), share, np.ones((12, 1)))
    ten = bootstrap(even(*[shares] * 10), share, np.ones((12, 1)))
    np.testing.assert_allclose(ten.of_shares(), one.of_shares())


def test_a_seed_that_did_not_test_a_class_is_left_out_of_its_mean():
    both = np.array([[[3, 4], [4, 8], [4, 6]], [[2, 6], [5, 7], [3, 9]]], dtype=float)
    without = both.copy()
    without[:, :, 1] = 0
    tallies = np.stack([both, without])
    found = bootstrap(tallies, accuracies, unit_weights(tallies.sum(axis=0)))
    assert found.value[4] == pytest.approx(10 / 15)
    assert np.isfinite(found.error[4])


def test_many_units_are_drawn_in_several_goes():
    shares = np.random.default_rng(3).uniform(0.5, 1, 30_000)
    found = bootstrap(even(shares), share, np.ones((30_000, 1)), resamples=300)
    assert found.error[0] == pytest.approx(stats.sem(shares), rel=0.15)


def test_the_same_call_gives_the_same_numbers():
    tallies = even([0.9, 0.8, 0.7, 0.6])
    one, same, other = (
        bootstrap(tallies, share, ones(tallies), seed=seed).error for seed in (5, 5, 6)
    )
    assert one == same != other


@pytest.mark.parametrize("shares", [[0.8], [1.0, 1.0, 1.0], [0.0, 0.0]])
def test_nothing_is_said_of_one_unit_or_of_a_model_without_errors(shares):
    tallies = even(shares)
    found = bootstrap(tallies, share, ones(tallies))
    assert np.isnan(found.of_shares()).all()


def test_intervals_of_differences_and_their_p_values_agree():
    found = BootstrapEstimate(
        np.array([0.1, 0.0, -0.9]), np.array([0.05, 0.0, 0.1]), np.array([9.0, 9.0, 9.0])
    )
    p = found.p_values()
    assert p[0] == pytest.approx(2 * stats.t.sf(2, 9))
    assert p[1] == 1
    edge = found.of_differences(1 - p[0])[0]
    assert edge[0] == pytest.approx(0, abs=1e-12)
    assert found.of_differences()[2, 0] == -1


def test_kappa_has_an_interval_from_minus_one():
    found = BootstrapEstimate(np.array([-0.5]), np.array([0.1]), np.array([20.0]))
    ((low, high),) = found.of_shares(least=np.array([-1.0]))
    assert -1 < low < -0.5 < high < 0
    assert np.isnan(found.of_shares()).all()
