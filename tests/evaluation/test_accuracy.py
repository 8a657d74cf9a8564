"""The measures agree with a worked example, with scikit-learn, and with their definitions."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as oracle

from hypercover.evaluation import accuracy
from hypercover.evaluation.accuracy import accuracies, count_by_unit, unit_weights
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples

# the example of Congalton (1991), turned so that rows are the reference:
# deciduous, conifer, agriculture, shrub
EXAMPLE = np.array(
    [[65, 6, 0, 4], [4, 81, 11, 7], [22, 5, 85, 3], [24, 8, 19, 90]], dtype=np.int64
)

MATRICES = st.integers(1, 5).flatmap(
    lambda n: arrays(np.int64, (n, n), elements=st.integers(0, 12))
)


def drawn(matrix):
    """Return reference and predicted codes that give a matrix."""
    rows, cols = np.indices(matrix.shape)
    return np.repeat(rows.ravel(), matrix.ravel()), np.repeat(cols.ravel(), matrix.ravel())


def test_the_textbook_example():
    assert accuracy.overall_accuracy(EXAMPLE) == pytest.approx(321 / 434)
    assert round(100 * accuracy.overall_accuracy(EXAMPLE)) == 74
    producers = [round(100 * value) for value in accuracy.producers_accuracy(EXAMPLE)]
    users = [round(100 * value) for value in accuracy.users_accuracy(EXAMPLE)]
    assert producers == [87, 79, 74, 64]
    assert users == [57, 81, 74, 87]
    assert accuracy.kappa(EXAMPLE) == pytest.approx(0.65, abs=0.005)


def test_a_matrix_worked_by_hand():
    matrix = np.array([[8, 2, 0], [1, 4, 0], [0, 5, 0]])
    assert accuracy.overall_accuracy(matrix) == 12 / 20
    assert accuracy.producers_accuracy(matrix) == [0.8, 0.8, 0.0]
    assert accuracy.users_accuracy(matrix) == [8 / 9, 4 / 11, None]
    assert accuracy.average_accuracy(matrix) == pytest.approx(1.6 / 3)
    chance = (10 * 9 + 5 * 11 + 5 * 0) / 400
    assert accuracy.kappa(matrix) == pytest.approx((0.6 - chance) / (1 - chance))
    assert accuracy.f1(matrix) == [16 / 19, 8 / 16, 0.0]


@given(MATRICES)
def test_all_measures_agree_with_scikit_learn(matrix):
    assume(matrix.sum() > 0)
    reference, predicted = drawn(matrix)
    codes = np.arange(len(matrix))
    found = accuracy.confusion_matrix(reference, predicted, codes)
    np.testing.assert_array_equal(found, matrix)
    known = np.flatnonzero(matrix.sum(axis=1))
    mapped = np.flatnonzero(matrix.sum(axis=0))
    exact = {"labels": codes, "average": None, "zero_division": 0}
    recall = oracle.recall_score(reference, predicted, **exact)
    precision = oracle.precision_score(reference, predicted, **exact)
    f1 = oracle.f1_score(reference, predicted, **exact)
    assert accuracy.overall_accuracy(matrix) == pytest.approx(
        oracle.accuracy_score(reference, predicted)
    )
    assert accuracy.average_accuracy(matrix) == pytest.approx(recall[known].mean())
    for code in codes:
        for values, expected, defined in (
            (accuracy.producers_accuracy(matrix), recall, known),
            (accuracy.users_accuracy(matrix), precision, mapped),
            (accuracy.f1(matrix), f1, known),
        ):
            if code in defined:
                assert values[code] == pytest.approx(expected[code])
            else:
                assert values[code] is None


@given(MATRICES)
def test_average_accuracy_is_scikit_learns_balanced_accuracy(matrix):
    known = matrix.sum(axis=1) > 0
    # scikit-learn warns of single classes and of predicted ones without reference
    assume(known.sum() > 1)
    matrix = matrix[known][:, known]
    assume((matrix.sum(axis=1) > 0).all())
    score = oracle.balanced_accuracy_score(*drawn(matrix))
    assert accuracy.average_accuracy(matrix) == pytest.approx(score)


@given(MATRICES)
def test_kappa_agrees_with_scikit_learn_where_it_is_defined(matrix):
    reference, predicted = drawn(matrix)
    classes = set(reference) | set(predicted)
    found = accuracy.kappa(matrix)
    if len(classes) < 2:
        assert found is None
    else:
        assert found == pytest.approx(oracle.cohen_kappa_score(reference, predicted))


@given(MATRICES, st.randoms())
def test_the_order_of_the_classes_does_not_matter(matrix, random):
    order = list(range(len(matrix)))
    random.shuffle(order)
    shuffled = matrix[np.ix_(order, order)]
    for measure in (accuracy.overall_accuracy, accuracy.average_accuracy, accuracy.kappa):
        assert measure(shuffled) == pytest.approx(measure(matrix))
    for measure in (accuracy.producers_accuracy, accuracy.users_accuracy, accuracy.f1):
        assert measure(shuffled) == [measure(matrix)[place] for place in order]


@given(MATRICES)
def test_transposing_swaps_producer_and_user(matrix):
    assert accuracy.producers_accuracy(matrix.T) == accuracy.users_accuracy(matrix)


@given(MATRICES)
def test_defined_values_lie_in_their_range(matrix):
    for measure in (accuracy.producers_accuracy, accuracy.users_accuracy, accuracy.f1):
        assert all(value is None or 0 <= value <= 1 for value in measure(matrix))
    value = accuracy.kappa(matrix)
    assert value is None or -1 <= value <= 1


def test_a_perfect_map_scores_one_everywhere():
    perfect = np.diag([3, 0, 9])
    assert accuracy.overall_accuracy(perfect) == accuracy.kappa(perfect) == 1
    assert accuracy.f1(perfect) == [1.0, None, 1.0]


def test_nothing_to_divide_by_is_none_and_never_nan():
    empty = np.zeros((2, 2), dtype=np.int64)
    assert accuracy.overall_accuracy(empty) is None
    assert accuracy.average_accuracy(empty) is None
    assert accuracy.kappa(empty) is None
    assert accuracy.f1(empty) == [None, None]
    assert accuracy.kappa(np.array([[5, 0], [0, 0]])) is None
    assert accuracy.kappa(np.array([[0, 5], [0, 0]])) == 0


def test_codes_need_not_be_consecutive():
    found = accuracy.confusion_matrix([10, 700, 10], [700, 700, 10], [10, 99, 700])
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 1]]


CODES = [1, 4, 9]


@st.composite
def answered(draw):
    """Draw some pixels with labels, answers and units; some classes may not occur."""
    n = draw(st.integers(1, 30))
    codes = st.sampled_from(CODES)
    labels = draw(arrays(np.int64, n, elements=codes))
    taken = draw(arrays(np.int64, n, elements=codes))
    units = draw(arrays(np.intp, n, elements=st.integers(0, 3)))
    at = np.arange(n)
    return Predictions.of(Samples(at * 0, at, labels), taken, shape=(1, n)), units


def measured(matrix):
    heads = [accuracy.overall_accuracy, accuracy.average_accuracy, accuracy.kappa]
    rows = [accuracy.producers_accuracy, accuracy.users_accuracy, accuracy.f1]
    values = [head(matrix) for head in heads] + [v for row in rows for v in row(matrix)]
    return [np.nan if value is None else value for value in values]


@given(answered())
def test_measures_of_a_tally_are_those_of_the_confusion_matrix(drawn):
    answers, units = drawn
    tallies = count_by_unit(answers, units, 4, CODES)
    for unit in range(4):
        own = units == unit
        matrix = accuracy.confusion_matrix(
            answers.labels[own], answers.predicted[own], CODES
        )
        np.testing.assert_array_equal(tallies[unit, 0], np.diagonal(matrix))
        np.testing.assert_array_equal(tallies[unit, 1], matrix.sum(axis=1))
        np.testing.assert_array_equal(tallies[unit, 2], matrix.sum(axis=0))
        found = accuracies(tallies)[unit]
        np.testing.assert_allclose(found, measured(matrix), atol=1e-12)


@given(answered())
def test_the_sum_of_tallies_is_the_tally_of_all(drawn):
    answers, units = drawn
    whole = count_by_unit(answers, units * 0, 1, CODES)
    np.testing.assert_array_equal(
        count_by_unit(answers, units, 4, CODES).sum(axis=0), whole[0]
    )


@given(answered())
def test_a_measure_rests_on_the_pixels_it_is_measured_on(drawn):
    answers, units = drawn
    shares = unit_weights(count_by_unit(answers, units, 4, CODES))
    for unit in range(4):
        own = units == unit
        labels, taken = answers.labels[own], answers.predicted[own]
        assert shares[unit, 0] == shares[unit, 2] == own.sum()
        for at, code in enumerate(CODES):
            found, mapped = (labels == code).sum(), (taken == code).sum()
            assert shares[unit, 3 + at] == found
            assert shares[unit, 6 + at] == mapped
            assert shares[unit, 9 + at] == found + mapped
    classes = len(set(answers.labels.tolist()))
    assert shares[:, 1].sum() == pytest.approx(classes)
