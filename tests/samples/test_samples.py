"""Samples are the labelled pixels, row by row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.samples.samples import Samples

LABEL_MAPS = arrays(
    np.uint16, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 300)
)


@given(LABEL_MAPS)
def test_samples_are_the_labelled_pixels_in_reading_order(labels):
    samples = Samples.of(labels)
    found = list(zip(samples.rows, samples.cols, samples.labels, strict=True))
    expected = [
        (row, col, labels[row, col])
        for row in range(labels.shape[0])
        for col in range(labels.shape[1])
        if labels[row, col]
    ]
    assert found == expected
    assert len(samples) == len(expected)


@given(LABEL_MAPS)
def test_taking_by_mask_and_by_position_agree(labels):
    samples = Samples.of(labels)
    odd = samples.labels % 2 == 1
    by_mask, by_position = samples.take(odd), samples.take(np.flatnonzero(odd))
    for part in ("rows", "cols", "labels"):
        np.testing.assert_array_equal(getattr(by_mask, part), getattr(by_position, part))


def test_large_codes_survive():
    assert Samples.of(np.array([[65535]], dtype=np.uint16)).labels.tolist() == [65535]
