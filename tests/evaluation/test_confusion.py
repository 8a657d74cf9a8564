"""The pairs that are confused most are those of the confusion matrix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.evaluation.accuracy import confusion_matrix
from hypercover.evaluation.evaluate import most_confused
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples

CODES = (1, 2, 5, 9)
maps = arrays(np.int64, (4, 6), elements=st.sampled_from(CODES))


def answers_of(labels, predicted):
    return Predictions.of(Samples.of(labels), predicted.ravel(), shape=labels.shape)


@given(st.lists(st.tuples(maps, maps), min_size=1, max_size=3), st.integers(1, 7))
def test_pairs_are_those_of_the_summed_matrix(seeds, most):
    matrix = sum(
        np.asarray(confusion_matrix(labels.ravel(), predicted.ravel(), CODES))
        for labels, predicted in seeds
    )
    counts = {
        (CODES[one], CODES[other]): int(matrix[one, other] + matrix[other, one])
        for one in range(4)
        for other in range(one)
        if matrix[one, other] + matrix[other, one]
    }
    found = most_confused([answers_of(*pair) for pair in seeds], most)
    assert [pair.count for pair in found] == sorted(counts.values(), reverse=True)[:most]
    for pair in found:
        place = CODES.index(pair.first), CODES.index(pair.second)
        assert len(pair.first_as_second) == matrix[place]
        assert len(pair.second_as_first) == matrix[place[::-1]]
        assert len(pair.first_as_second) >= len(pair.second_as_first)
        assert (
            pair.count == counts[max(pair.first, pair.second), min(pair.first, pair.second)]
        )


def test_places_are_where_the_errors_lie():
    labels = np.array([[1, 2, 1], [2, 2, 1]])
    predicted = np.array([[1, 1, 2], [2, 2, 2]])
    (pair,) = most_confused([answers_of(labels, predicted)] * 2)
    assert (pair.first, pair.second) == (1, 2)
    assert sorted(pair.first_as_second.tolist()) == [[0, 2], [0, 2], [1, 2], [1, 2]]
    assert pair.second_as_first.tolist() == [[0, 1], [0, 1]]


def test_nothing_confused_is_no_pair():
    labels = np.array([[1, 2], [2, 1]])
    assert most_confused([answers_of(labels, labels)]) == []
    assert most_confused([]) == []
