"""Tallies give what confusion matrices give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.evaluation import metrics
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.tally import accuracies, bearing, tally
from hypercover.samples.samples import Samples

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
    heads = [metrics.overall_accuracy, metrics.average_accuracy, metrics.kappa]
    rows = [metrics.producers_accuracy, metrics.users_accuracy, metrics.f1]
    values = [head(matrix) for head in heads] + [v for row in rows for v in row(matrix)]
    return [np.nan if value is None else value for value in values]


@given(answered())
def test_measures_of_a_tally_are_those_of_the_confusion_matrix(drawn):
    answers, units = drawn
    tallies = tally(answers, units, 4, CODES)
    for unit in range(4):
        own = units == unit
        matrix = metrics.confusion_matrix(
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
    whole = tally(answers, units * 0, 1, CODES)
    np.testing.assert_array_equal(tally(answers, units, 4, CODES).sum(axis=0), whole[0])


@given(answered())
def test_a_measure_rests_on_the_pixels_it_is_measured_on(drawn):
    answers, units = drawn
    shares = bearing(tally(answers, units, 4, CODES))
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
