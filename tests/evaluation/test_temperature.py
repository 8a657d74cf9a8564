"""A temperature is found where one was planted, and changes no label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax

from hypercover.errors import CallError
from hypercover.evaluation.calibration import calibration_error
from hypercover.evaluation.temperature import fit_confidence, fit_temperature, tempered

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
    found = tempered(softmax(scores, axis=1), temperature)
    np.testing.assert_allclose(found, softmax(scores / temperature, axis=1), atol=1e-9)


@given(SCORES, TEMPERATURES)
def test_the_order_of_classes_stays(scores, temperature):
    shares = softmax(scores, axis=1)
    found = tempered(shares, temperature)
    best = shares.argmax(axis=1)
    assert (found[np.arange(len(best)), best] == found.max(axis=1)).all()
    for before, after in zip(shares, found, strict=True):
        assert (np.diff(after[np.argsort(before)]) >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("temperature", [None, 1, 1.0])
def test_a_temperature_of_one_leaves_every_bit(temperature):
    shares = softmax(np.random.default_rng(0).normal(size=(5, 4)), axis=1)
    assert np.array_equal(tempered(shares, temperature), shares)


def test_maps_are_tempered_along_their_classes_in_their_own_type():
    shares = softmax(np.random.default_rng(0).normal(size=(3, 4, 5)), axis=0)
    found = tempered(shares.astype(np.float32), 3.0, axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 2, 1], tempered(shares[:, 2, 1], 3.0), rtol=1e-5)


def test_thousands_of_equal_classes_do_not_vanish_when_sharpened():
    shares = np.full((1, 60_000), 1 / 60_000, np.float32)
    np.testing.assert_allclose(tempered(shares, 0.05), shares, rtol=1e-3)


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
        sure = tempered(shares[half[1]], temperature)
        answers = CLASSES[sure.argmax(axis=1)]
        errors.append(calibration_error(sure.max(axis=1), answers == labels[half[1]]))
    before, after = errors
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize("count", [10, 1000])
def test_pixels_that_are_all_right_ask_for_no_certainty(count):
    shares = np.tile([0.7, 0.1, 0.1, 0.1], (count, 1))
    found = fit_temperature(shares, np.full(count, 3), CLASSES)
    sure = tempered(shares[0], found)[0]
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
    assert np.array_equal(tempered(shares, 5.0), shares)


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
        return calibration_error(tempered(bent, temperature).max(axis=1), right)

    by_classes = fit_temperature(bent, labels, CLASSES)
    assert error(fit_confidence(bent, labels, CLASSES)) < 0.03 < error(by_classes) / 2


@pytest.mark.parametrize("units", [None, 40])
def test_the_temperature_of_a_confidence_is_the_best_of_a_fine_grid(units):
    scores, labels = drawn(2.5, count=500)
    shares = softmax(scores, axis=1)
    right = CLASSES[shares.argmax(axis=1)] == labels
    # One more of the units, half of it right.
    wanted = right + 0.5 / (units or 500), ~right + 0.5 / (units or 500)

    def loss(temperature):
        sure = tempered(shares, temperature).max(axis=1)
        return -np.sum(wanted[0] * np.log(sure) + wanted[1] * np.log(1 - sure))

    grid = np.geomspace(0.5, 10, 3001)
    best = grid[np.argmin([loss(each) for each in grid])]
    found = fit_confidence(shares, labels, CLASSES, units=units)
    assert found == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("units", [1, 10, 1000])
def test_units_that_are_all_right_ask_for_no_certainty(units):
    shares = np.tile([0.7, 0.1, 0.1, 0.1], (1000, 1))
    found = fit_confidence(shares, np.full(1000, 3), CLASSES, units=units)
    expected = (1 + 0.5 / units) / (1 + 1 / units)
    assert tempered(shares[0], found).max() == pytest.approx(expected, abs=1e-5)


def test_votes_without_doubt_keep_their_confidence():
    shares = np.eye(4)[[0, 1, 2, 3, 0]]
    assert fit_confidence(shares, [3, 7, 11, 40, 7], CLASSES) == 1


def test_classes_that_the_model_does_not_know_are_left_out():
    scores, labels = drawn(2.0, count=300)
    shares = softmax(scores, axis=1)
    again = fit_temperature(
        np.concatenate([shares, shares]), [*labels, *[99] * 300], CLASSES
    )
    assert again == fit_temperature(shares, labels, CLASSES)
    with pytest.raises(CallError, match="there is none; give validation pixels"):
        fit_temperature(shares, [99] * 300, CLASSES)


@pytest.mark.parametrize(
    "row", [[0.5, 0.2, 0.1, 0.1], [2, -1, 0, 0], [np.nan, 1, 0, 0], [9.0, 0, 0, 0]]
)
def test_what_are_no_probabilities_is_refused(row):
    shares = np.array([[0.25] * 4, row])
    with pytest.raises(CallError, match="sum to one for each pixel, but those of 1 of 2"):
        fit_temperature(shares, [3, 7], CLASSES)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (2, 4, 1), (2,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(CallError, match="one row a pixel"):
        fit_temperature(np.full(shape, 0.25), [3, 7], CLASSES)


def test_float32_probabilities_of_many_classes_are_fine():
    shares = softmax(np.random.default_rng(0).normal(size=(50, 200)), axis=1)
    found = fit_temperature(shares.astype(np.float32), np.arange(50), np.arange(200))
    assert found > 1


@pytest.mark.parametrize("temperature", [0, -1.0, np.inf, np.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(CallError, match="must be a number above 0"):
        tempered([0.9, 0.1], temperature)
