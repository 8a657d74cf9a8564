"""Calibration measures: closed forms, brute force, and no dependence on order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax

from hypercover.errors import CallError
from hypercover.evaluation.calibration import (
    COVERAGES,
    Calibration,
    abstention_curve,
    apply_temperature,
    calibration_error,
    fit_confidence_temperature,
    fit_temperature,
    reliability_bins,
)

PIXELS = st.lists(
    st.tuples(st.integers(0, 20).map(lambda k: k / 20), st.booleans()),
    min_size=1,
    max_size=40,
)


def by_hand(sure, right, bins):
    """Guo et al. (2017), equation 3, bin by bin with its own loops."""
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = [
            position
            for position, value in enumerate(sure)
            if low < value <= high or (index == 0 and value == 0)
        ]
        if inside:
            accuracy = sum(right[position] for position in inside) / len(inside)
            confidence = sum(sure[position] for position in inside) / len(inside)
            total += len(inside) / len(sure) * abs(accuracy - confidence)
    return total


@given(PIXELS, st.sampled_from([1, 2, 3, 7, 15]))
def test_the_error_is_that_of_the_definition(pixels, bins):
    sure, right = zip(*pixels, strict=True)
    found = calibration_error(sure, right, bins=bins)
    assert found == pytest.approx(by_hand(sure, right, bins), abs=1e-12)


@given(PIXELS, st.randoms())
def test_no_figure_depends_on_the_order_of_the_pixels(pixels, random):
    shuffled = list(pixels)
    random.shuffle(shuffled)
    one, other = (zip(*each, strict=True) for each in (pixels, shuffled))
    one, other = tuple(one), tuple(other)
    for measure in (
        lambda *given: calibration_error(*given),
        lambda *given: calibration_error(*given, equal="mass"),
    ):
        assert measure(*one) == pytest.approx(measure(*other), abs=1e-12)
    assert abstention_curve(*one) == abstention_curve(*other)


def test_bins_hold_their_upper_edge_and_zero():
    sure = [0.0, 0.2, 0.2000001, 0.4, 1.0]
    counts = [each.count for each in reliability_bins(sure, [True] * 5, bins=5)]
    assert counts == [2, 2, 0, 0, 1]
    empty = reliability_bins(sure, [True] * 5, bins=5)[2]
    assert (empty.confidence, empty.accuracy) == (None, None)
    assert (empty.low, empty.high) == pytest.approx((0.4, 0.6))


def test_every_fifteenth_lies_in_its_own_bin():
    edges = np.linspace(0, 1, 16)[1:]
    bins = reliability_bins(edges, np.ones(15, bool))
    assert [each.count for each in bins] == [1] * 15


@given(st.integers(1, 60), st.integers(1, 20))
def test_bins_of_equal_mass_differ_by_one_pixel_at_most(pixels, bins):
    sure = np.random.default_rng(pixels).permutation(pixels) / pixels
    counts = [
        each.count for each in reliability_bins(sure, sure > 0, bins=bins, equal="mass")
    ]
    assert sum(counts) == pixels
    assert max(counts) - min(counts) <= 1
    assert len(counts) == min(bins, pixels)


def test_bins_of_equal_mass_keep_equals_together():
    sure = [0.9] * 6 + [0.5, 0.4]
    found = reliability_bins(sure, [True] * 8, bins=4, equal="mass")
    assert [each.count for each in found] == [2, 6]
    assert [(each.low, each.high) for each in found] == [(0.4, 0.5), (0.9, 0.9)]


@pytest.mark.parametrize("equal", ["width", "mass"])
def test_confidences_all_equal_leave_one_gap(equal):
    right = [True] * 3 + [False]
    assert calibration_error([0.9] * 4, right, equal=equal) == pytest.approx(0.15)
    curve = abstention_curve([0.9] * 4, right)
    assert [accuracy for _, accuracy in curve] == pytest.approx([0.75] * len(COVERAGES))


def test_honest_confidences_have_a_small_error_and_boasting_ones_a_large_one():
    random = np.random.default_rng(0)
    sure = random.random(20_000)
    right = random.random(20_000) < sure
    for equal in ("width", "mass"):
        assert calibration_error(sure, right, equal=equal) < 0.02
        boast = np.sqrt(sure)
        # E √u − E u = 2/3 − 1/2
        assert calibration_error(boast, right, equal=equal) == pytest.approx(
            1 / 6, abs=0.01
        )


@given(PIXELS, st.integers(0, 3))
def test_the_curve_is_the_mean_over_all_orders_of_equals(pixels, seed):
    """Against a random order of equals, drawn very often."""
    sure, right = (np.array(each) for each in zip(*pixels, strict=True))
    random = np.random.default_rng(seed)
    kept = 1 + seed * (len(sure) - 1) // 3
    shares = []
    for _ in range(300):
        order = np.lexsort([random.random(len(sure)), -sure])
        shares.append(right[order[:kept]].mean())
    ((_, found),) = abstention_curve(sure, right, [kept / len(sure)])
    assert found == pytest.approx(np.mean(shares), abs=0.16)
    # beyond the equals at the border there is nothing random
    border = np.sort(sure)[-kept]
    if (sure == border).sum() == 1:
        assert found == pytest.approx(shares[0])


def test_the_last_point_is_the_overall_accuracy():
    random = np.random.default_rng(1)
    sure, right = random.random(137), random.random(137) < 0.7
    curve = abstention_curve(sure, right)
    assert [kept for kept, _ in curve] == list(COVERAGES)
    assert curve[-1] == (1.0, pytest.approx(right.mean()))


def test_a_test_of_one_class_is_measured_as_any_other():
    found = Calibration.of([0.8] * 10, [True] * 8 + [False] * 2)
    assert found.error == pytest.approx(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.2, 1.7])
def test_what_is_no_share_is_refused(bad):
    for measure in (calibration_error, abstention_curve, Calibration.of):
        with pytest.raises(CallError, match="A confidence is a share from 0 to 1, got"):
            measure([0.5, bad], [True, False])


def test_rounding_beyond_one_is_no_offence():
    assert calibration_error([1.0000002], [True]) == 0


@pytest.mark.parametrize(
    ("sure", "right"), [([], []), ([0.5], [True, False]), ([[0.5]], [[True]])]
)
def test_other_shapes_are_refused(sure, right):
    with pytest.raises(CallError, match="at least one pixel with one confidence"):
        calibration_error(sure, right)


def test_bins_and_shares_that_make_no_sense_are_refused():
    with pytest.raises(CallError, match="at least one bin, got 0"):
        calibration_error([0.5], [True], bins=0)
    with pytest.raises(CallError, match="equal width or mass, got 'size'"):
        calibration_error([0.5], [True], equal="size")
    with pytest.raises(CallError, match="above 0 and up to 1"):
        abstention_curve([0.5], [True], [0.0, 1.0])


def test_the_figures_are_plain_values_that_tell_the_same():
    random = np.random.default_rng(2)
    sure, right = random.random(50).astype(np.float32), random.random(50) < 0.5
    found = Calibration.of(sure, right, temperature=2.0, fitted_on=9, error_before=0.3)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["error"] == pytest.approx(calibration_error(sure, right))
    assert (told["temperature"], told["fitted_on"], told["error_before"]) == (2.0, 9, 0.3)
    assert sum(row["count"] for row in told["bins"]) == 50
    assert len(told["bins"]) == 15
    assert told["abstention"][-1] == {"kept": 1.0, "accuracy": pytest.approx(right.mean())}


SCORES = hnp.arrays(np.float64, (7, 4), elements=st.floats(-30, 30))

TEMPERATURES = st.floats(0.05, 20)

CLASSES = np.array([3, 7, 11, 40])


def drawn(temperature, count=4000, seed=0):
    """Scores that are too sure by a factor, and labels drawn from the honest ones."""
    random = np.random.default_rng(seed)
    honest = random.normal(scale=2, size=(count, 4))
    chances = softmax(honest, axis=1).cumsum(axis=1)
    labels = (random.random((count, 1)) > chances).sum(axis=1).clip(max=3)
    return honest * temperature, CLASSES[labels]


def loss(temperature, scores, labels):
    """Guo's objective on scores, by another road than powers of probabilities."""
    rows = np.arange(len(labels))
    return -log_softmax(scores / temperature, axis=1)[
        rows, np.searchsorted(CLASSES, labels)
    ].mean()


@given(SCORES, TEMPERATURES)
def test_powers_of_a_softmax_are_the_softmax_of_divided_scores(scores, temperature):
    found = apply_temperature(softmax(scores, axis=1), temperature)
    np.testing.assert_allclose(found, softmax(scores / temperature, axis=1), atol=1e-9)


@given(SCORES, TEMPERATURES)
def test_the_order_of_classes_stays(scores, temperature):
    shares = softmax(scores, axis=1)
    found = apply_temperature(shares, temperature)
    best = shares.argmax(axis=1)
    assert (found[np.arange(len(best)), best] == found.max(axis=1)).all()
    for before, after in zip(shares, found, strict=True):
        assert (np.diff(after[np.argsort(before)]) >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("temperature", [None, 1, 1.0])
def test_a_temperature_of_one_leaves_every_bit(temperature):
    shares = softmax(np.random.default_rng(0).normal(size=(5, 4)), axis=1)
    assert np.array_equal(apply_temperature(shares, temperature), shares)


def test_maps_are_tempered_along_their_classes_in_their_own_type():
    shares = softmax(np.random.default_rng(0).normal(size=(3, 4, 5)), axis=0)
    found = apply_temperature(shares.astype(np.float32), 3.0, axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found[:, 2, 1], apply_temperature(shares[:, 2, 1], 3.0), rtol=1e-5
    )


def test_thousands_of_equal_classes_do_not_vanish_when_sharpened():
    shares = np.full((1, 60_000), 1 / 60_000, np.float32)
    np.testing.assert_allclose(apply_temperature(shares, 0.05), shares, rtol=1e-3)


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.0, 4.0])
def test_a_planted_temperature_is_found(planted):
    scores, labels = drawn(planted)
    found = fit_temperature(softmax(scores, axis=1), labels, CLASSES)
    assert found == pytest.approx(planted, rel=0.08)


def test_it_is_the_best_of_a_fine_grid():
    scores, labels = drawn(2.5, count=500)
    found = fit_temperature(softmax(scores, axis=1), labels, CLASSES)
    grid = np.geomspace(0.1, 10, 2001)
    best = grid[np.argmin([loss(each, scores, labels) for each in grid])]
    # one pixel more, of any class, among 500
    assert found == pytest.approx(best, rel=0.02)
    assert found > best


def test_the_calibration_error_of_a_planted_overconfidence_falls():
    scores, labels = drawn(3.0)
    half = slice(None, 2000), slice(2000, None)
    shares = softmax(scores, axis=1)
    found = fit_temperature(shares[half[0]], labels[half[0]], CLASSES)
    errors = []
    for temperature in (None, found):
        sure = apply_temperature(shares[half[1]], temperature)
        answers = CLASSES[sure.argmax(axis=1)]
        errors.append(calibration_error(sure.max(axis=1), answers == labels[half[1]]))
    before, after = errors
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize("count", [10, 1000])
def test_pixels_that_are_all_right_ask_for_no_certainty(count):
    shares = np.tile([0.7, 0.1, 0.1, 0.1], (count, 1))
    found = fit_temperature(shares, np.full(count, 3), CLASSES)
    sure = apply_temperature(shares[0], found)[0]
    # one pixel more, of any of four classes, is wrong three times in four
    assert sure == pytest.approx(1 - 0.75 / (count + 1), abs=1e-6)


def test_a_class_of_probability_zero_says_nothing():
    scores, labels = drawn(2.0)
    shares = softmax(scores, axis=1)
    found = fit_temperature(shares, labels, CLASSES)
    lost = np.tile([0.7, 0.3, 0.0, 0.0], (50, 1))
    more = fit_temperature(np.concatenate([shares, lost]), [*labels, *[40] * 50], CLASSES)
    assert more == pytest.approx(found, rel=1e-3)


def test_zeros_and_ones_have_no_temperature():
    shares = np.eye(4)[[0, 1, 2, 3, 0]]
    assert fit_temperature(shares, [3, 7, 11, 40, 7], CLASSES) == 1
    assert np.array_equal(apply_temperature(shares, 5.0), shares)


def test_a_confidence_is_fitted_though_the_rest_of_the_shares_is_not_to_be_believed():
    """What is left for the wrong classes is of another temperature, which rules the first fit."""
    scores, labels = drawn(2.0)
    shares = softmax(scores, axis=1)
    first = shares.argmax(axis=1)
    # The same confidences, but all of the rest goes to the second class.
    second = np.argsort(shares, axis=1)[:, -2]
    bent = np.full_like(shares, 1e-9)
    every = np.arange(len(shares))
    sure = np.clip(shares.max(axis=1), 0.51, 1 - 1e-6)
    bent[every, first], bent[every, second] = sure, 1 - sure
    bent /= bent.sum(axis=1, keepdims=True)
    right = CLASSES[first] == labels

    def error(temperature):
        return calibration_error(apply_temperature(bent, temperature).max(axis=1), right)

    by_classes = fit_temperature(bent, labels, CLASSES)
    assert (
        error(fit_confidence_temperature(bent, labels, CLASSES))
        < 0.03
        < error(by_classes) / 2
    )


@pytest.mark.parametrize("units", [None, 40])
def test_the_temperature_of_a_confidence_is_the_best_of_a_fine_grid(units):
    scores, labels = drawn(2.5, count=500)
    shares = softmax(scores, axis=1)
    right = CLASSES[shares.argmax(axis=1)] == labels
    # One more of the units, half of it right.
    wanted = right + 0.5 / (units or 500), ~right + 0.5 / (units or 500)

    def loss(temperature):
        sure = apply_temperature(shares, temperature).max(axis=1)
        return -np.sum(wanted[0] * np.log(sure) + wanted[1] * np.log(1 - sure))

    grid = np.geomspace(0.5, 10, 3001)
    best = grid[np.argmin([loss(each) for each in grid])]
    found = fit_confidence_temperature(shares, labels, CLASSES, units=units)
    assert found == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("units", [1, 10, 1000])
def test_units_that_are_all_right_ask_for_no_certainty(units):
    shares = np.tile([0.7, 0.1, 0.1, 0.1], (1000, 1))
    found = fit_confidence_temperature(shares, np.full(1000, 3), CLASSES, units=units)
    expected = (1 + 0.5 / units) / (1 + 1 / units)
    assert apply_temperature(shares[0], found).max() == pytest.approx(expected, abs=1e-5)


def test_votes_without_doubt_keep_their_confidence():
    shares = np.eye(4)[[0, 1, 2, 3, 0]]
    assert fit_confidence_temperature(shares, [3, 7, 11, 40, 7], CLASSES) == 1


def test_classes_that_the_model_does_not_know_are_left_out():
    scores, labels = drawn(2.0, count=300)
    shares = softmax(scores, axis=1)
    again = fit_temperature(
        np.concatenate([shares, shares]), [*labels, *[99] * 300], CLASSES
    )
    assert again == fit_temperature(shares, labels, CLASSES)
    with pytest.raises(CallError, match="No validation pixel belongs to a class"):
        fit_temperature(shares, [99] * 300, CLASSES)


@pytest.mark.parametrize(
    "row", [[0.5, 0.2, 0.1, 0.1], [2, -1, 0, 0], [np.nan, 1, 0, 0], [9.0, 0, 0, 0]]
)
def test_what_are_no_probabilities_is_refused(row):
    shares = np.array([[0.25] * 4, row])
    with pytest.raises(CallError, match="sum to one for each pixel, but those of 1 of 2"):
        fit_temperature(shares, [3, 7], CLASSES)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (2, 4, 1), (2,)])
def test_other_shapes_are_refused_of_temperature(shape):
    with pytest.raises(CallError, match="one row per pixel"):
        fit_temperature(np.full(shape, 0.25), [3, 7], CLASSES)


def test_float32_probabilities_of_many_classes_are_fine():
    shares = softmax(np.random.default_rng(0).normal(size=(50, 200)), axis=1)
    found = fit_temperature(shares.astype(np.float32), np.arange(50), np.arange(200))
    assert found > 1


@pytest.mark.parametrize("temperature", [0, -1.0, np.inf, np.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(CallError, match="must be a number above 0"):
        apply_temperature([0.9, 0.1], temperature)
