"""Calibration measures: closed forms, brute force, and no dependence on order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import CallError
from hypercover.evaluation.calibration import (
    KEPT,
    Calibration,
    abstention_curve,
    calibration_error,
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
    assert [accuracy for _, accuracy in curve] == pytest.approx([0.75] * len(KEPT))


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
    assert [kept for kept, _ in curve] == list(KEPT)
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
