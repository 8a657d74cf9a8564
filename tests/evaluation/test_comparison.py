"""Comparing two models: differences, intervals that hold the truth, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as oracle

from hypercover.errors import CallError
from hypercover.evaluation import accuracy
from hypercover.evaluation.comparison import (
    compare_models,
    describe_test_difference,
    mcnemar,
)
from hypercover.evaluation.intervals import BlockUnits, FieldUnits
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples


def answers(labels, taken):
    return Predictions.of(Samples.of(labels), taken, shape=np.shape(labels))


@pytest.fixture
def two():
    """Two models on 60 × 60 pixels of three classes, the second better."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, (12, 12)).repeat(5, 0).repeat(5, 1)
    test = Samples.of(labels)
    made = []
    for share in (0.7, 0.8):
        right = rng.random(len(test)) < share
        other = (test.labels + rng.integers(0, 2, len(test))) % 3 + 1
        made.append(answers(labels, np.where(right, test.labels, other)))
    return made


def test_values_are_those_of_the_confusion_matrices(two):
    found = compare_models(*two, units=BlockUnits(5), codes=[1, 2, 3, 4])
    for position, side in enumerate(("first", "second")):
        one = two[position]
        matrix = accuracy.confusion_matrix(one.labels, one.predicted, [1, 2, 3, 4])
        for name in ("overall_accuracy", "average_accuracy", "kappa"):
            value = getattr(found.headlines[name], side)
            assert value == pytest.approx(getattr(accuracy, name)(matrix))
        for name in ("producers_accuracy", "users_accuracy", "f1"):
            values = [getattr(found.per_class[code][name], side) for code in (1, 2, 3, 4)]
            assert values == pytest.approx(getattr(accuracy, name)(matrix))
    whole = found.overall
    assert whole.difference == pytest.approx(whole.first - whole.second)
    assert whole.interval[0] < whole.difference < whole.interval[1]
    assert found.per_class[4]["f1"].interval is None
    assert found.pixels == (3600,)
    assert found.per_seed[0][0] == whole


def test_the_other_way_round_has_the_other_sign(two):
    one, other = compare_models(*two), compare_models(*two[::-1])
    assert other.overall.difference == pytest.approx(-one.overall.difference)
    np.testing.assert_allclose(
        other.overall.interval, -np.array(one.overall.interval)[::-1]
    )
    assert other.overall.p_value == pytest.approx(one.overall.p_value)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_equal_models_do_not_differ(two, seeds):
    same = [two[seed % 2] for seed in range(seeds)]
    found = compare_models(same, same)
    for one in (*found.headlines.values(), *found.per_class[1].values()):
        assert (one.difference, one.p_value, one.interval) == (0, 1, None)
    assert [test.exact_p for _, test in found.per_seed] == [1] * seeds


@pytest.mark.parametrize(("size", "units"), [(60, 1), (30, 4)])
def test_fewer_than_five_units_tell_nothing(two, size, units):
    found = compare_models(*two, units=BlockUnits(size))
    assert found.units == units
    assert found.overall.difference is not None
    assert found.overall.interval is None
    assert found.overall.p_value is None


def patchy(rng, share, common):
    """Tell where a model is right: in patches, which two models have in part in common."""
    own = rng.standard_normal((90, 90))
    surface = gaussian_filter(np.sqrt(0.5) * common + np.sqrt(0.5) * own, 1)
    return surface * 2 * np.sqrt(np.pi) < norm.ppf(share)


def test_intervals_of_a_difference_hold_it_as_often_as_they_say():
    """And McNemar's test finds a difference where there is none far too often."""
    rng = np.random.default_rng(6)
    labels = rng.integers(1, 3, (6, 6)).repeat(15, 0).repeat(15, 1)
    held, believed, tested = [], [], []
    for _ in range(500):
        common = rng.standard_normal((90, 90))
        worse, same, like = (patchy(rng, share, common) for share in (0.7, 0.8, 0.8))
        made = [
            answers(labels, np.where(right, labels, 3 - labels).ravel())
            for right in (worse, same, like)
        ]
        low, high = compare_models(*made[:2], resamples=300).overall.interval
        held.append(low <= -0.1 <= high)
        null = compare_models(*made[1:], resamples=300)
        believed.append(null.overall.p_value < 0.05)
        tested.append(null.per_seed[0][1].exact_p < 0.05)
    assert 0.92 <= np.mean(held) <= 0.97
    assert 0.03 <= np.mean(believed) <= 0.08
    assert np.mean(tested) > 0.3


def test_seeds_are_paired(two):
    """A model that is better under every seed by as much: the seeds differ, not the difference."""
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 3, (30, 30))
    first, second = [], []
    for level in (0.5, 0.7, 0.9):
        luck = rng.random(labels.shape)
        for trials, more in ((first, 0.0), (second, 0.08)):
            right = luck < level + more
            trials.append(answers(labels, np.where(right, labels, 3 - labels).ravel()))
    found = compare_models(first, second, units=BlockUnits(3))
    assert found.overall.difference == pytest.approx(-0.08, abs=0.02)
    assert found.overall.p_value < 0.01
    assert found.overall.first == pytest.approx(
        np.mean([one.right.mean() for one in first])
    )
    assert [one.difference for one, _ in found.per_seed] == pytest.approx(
        [a.right.mean() - b.right.mean() for a, b in zip(first, second, strict=True)]
    )


def test_what_is_compared_is_plain_in_json(two):
    told = compare_models(*two, units=FieldUnits()).to_json()
    assert told["unit"] == "fields"
    assert told["overall_accuracy"]["interval"][0] < 0
    assert [row["code"] for row in told["per_class"]] == [1, 2, 3]
    assert told["per_seed"][0]["mcnemar"]["only_second"] > 0


LABELS = np.array([[1, 2, 1, 2]])


@pytest.mark.parametrize(
    ("labels", "taken", "sentence"),
    [
        ([[1, 2, 1, 0]], [1, 2, 1], "4 and 3 test pixels, 3 in common; give both"),
        (
            [[1, 2, 2, 2]],
            [1] * 4,
            "4 and 4 test pixels, 4 in common, 1 of these with other",
        ),
        ([[1, 2, 1, 2, 2]], [1] * 5, "the scenes have 1 × 4 and 1 × 5 pixels"),
    ],
)
def test_other_test_pixels_are_refused(labels, taken, sentence):
    with pytest.raises(CallError, match=sentence):
        compare_models(answers(LABELS, [1, 2, 1, 1]), answers(np.array(labels), taken))


def test_test_pixels_none_of_which_is_common():
    one, other = answers([[1, 2, 0, 0]], [1, 2]), answers([[0, 0, 1, 2]], [1, 2])
    assert describe_test_difference(one, other) == "2 and 2 test pixels, none in common"
    assert describe_test_difference(one, one) == ""


def test_one_class_alone_and_unequal_seeds_are_refused():
    one = answers([[1, 1]], [1, 2])
    with pytest.raises(CallError, match="found only class 1"):
        compare_models(one, one)
    nothing = answers([[0, 0]], [])
    with pytest.raises(CallError, match="no test pixel"):
        compare_models(nothing, nothing)
    with pytest.raises(CallError, match="got 2 of the first model and 1"):
        compare_models([one, one], one)


COUNT = st.integers(0, 200)


def drawn(both, first, second, none):
    one = np.repeat([True, True, False, False], [both, first, second, none])
    other = np.repeat([True, False, True, False], [both, first, second, none])
    return one, other


@given(COUNT, COUNT, COUNT, COUNT)
def test_both_tests_are_those_of_statsmodels(both, first, second, none):
    found = mcnemar(*drawn(both, first, second, none))
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (
        both,
        first,
        second,
        none,
    )
    table = [[both, first], [second, none]]
    if first + second:
        assert found.exact_p == pytest.approx(oracle(table, exact=True).pvalue)
    if first != second:
        expected = oracle(table, exact=False, correction=True)
        assert found.chi2 == pytest.approx(expected.statistic)
        assert found.chi2_p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("alone", [0, 5])
def test_equally_often_right_is_no_difference(alone):
    found = mcnemar(*drawn(7, alone, alone, 2))
    assert (found.exact_p, found.chi2, found.chi2_p) == (1.0, 0.0, 1.0)
