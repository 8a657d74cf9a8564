"""Units: the same land under every seed, and nothing that no test pixel lies in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from hypercover.errors import CallError
from hypercover.evaluation.intervals import BlockUnits, FieldUnits, units_of_split
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples

LABELS = arrays(np.int64, (7, 9), elements=st.integers(0, 3)).filter(np.any)


def answers(labels):
    test = Samples.of(labels)
    return Predictions.of(test, test.labels, shape=labels.shape)


def same_partition(one, other):
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(LABELS, st.integers(1, 10))
def test_blocks_are_squares_from_the_upper_left_corner(labels, size):
    one = answers(labels)
    (numbers,), count = BlockUnits(size).assign([one])
    squares = one.rows // size * 100 + one.cols // size
    assert same_partition(numbers, squares)
    assert sorted(set(numbers.tolist())) == list(range(count))


@given(LABELS)
def test_fields_are_components_of_one_class_corners_included(labels):
    one = answers(labels)
    (numbers,), count = FieldUnits().assign([one])
    named = np.zeros(labels.shape, int)
    for code in range(1, 4):
        parts, _ = label(labels == code, structure=np.ones((3, 3)))
        named = np.where(parts > 0, 100 * code + parts, named)
    assert same_partition(numbers, named[labels > 0])
    assert sorted(set(numbers.tolist())) == list(range(count))


@given(LABELS, arrays(bool, (2, 7, 9)), st.sampled_from([BlockUnits(3), FieldUnits()]))
def test_a_pixel_lies_in_the_same_unit_under_every_seed(labels, tested, units):
    parts = [answers(np.where(mask, labels, 0)) for mask in tested]
    if not sum(map(len, parts)):
        return
    numbers, count = units.assign(parts)
    at = np.full(labels.shape, -1)
    for part, own in zip(parts, numbers, strict=True):
        before = at[part.rows, part.cols]
        assert ((before == own) | (before == -1)).all()
        at[part.rows, part.cols] = own
    assert set(at[at >= 0].tolist()) == set(range(count))


def test_a_field_cut_in_two_by_one_seed_is_one_where_another_tests_the_middle():
    apart, whole = answers(np.array([[1, 0, 1]])), answers(np.array([[1, 1, 1]]))
    assert FieldUnits().assign([apart])[1] == 2
    assert FieldUnits().assign([apart, whole])[1] == 1


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("blocks", {"size": 8, "origin": [1, 2]}, "blocks of 8 px"),
        ("blocks", {"size": "large"}, "blocks of 15 px"),
        ("blocks", {"size": -1}, "blocks of 15 px"),
        ("random", {"size": 3}, "blocks of 15 px"),
        ("masks", {}, "blocks of 15 px"),
        ("fields", {"train": 0.3}, "fields"),
        ("clusters", {"size": 9}, "fields"),
        ("kfold", {"by": "blocks", "size": 9}, "blocks of 9 px"),
        ("kfold", {"by": "fields", "size": 9}, "fields"),
    ],
)
def test_the_split_chooses_the_units(kind, settings, words):
    assert units_of_split(kind, settings).description == words


def test_what_cannot_be_counted_is_refused():
    one, other = answers(np.array([[1, 2]])), answers(np.array([[1], [2]]))
    with pytest.raises(CallError, match="of one scene, got 2 sizes"):
        BlockUnits(2).assign([one, other])
    with pytest.raises(CallError, match="no test pixels"):
        FieldUnits().assign([answers(np.zeros((2, 2), int))])
    with pytest.raises(CallError, match="at least 1 pixel, got 0"):
        BlockUnits(0)
