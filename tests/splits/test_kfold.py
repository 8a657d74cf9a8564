"""Splits by folds test every labelled pixel once, a guard from what trains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.errors import SplitError
from hypercover.splits.cross_validation import KFoldSplit
from hypercover.splits.fields import field_map


@settings(max_examples=40)
@given(
    by=st.sampled_from(["blocks", "fields"]),
    folds=st.integers(2, 4),
    guard=st.integers(0, 2),
    validation=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 99),
)
def test_every_labelled_pixel_is_tested_once_and_the_guard_is_kept(
    make_fields, brute, by, folds, guard, validation, seed
):
    labels = make_fields((32, 32), classes=3, side=6, seed=seed % 4)
    splitter = KFoldSplit(by, folds, size=5, guard=guard, validation=validation)
    splits = splitter.splits(labels, seed=seed)
    assert len(splits) == folds
    tested = sum(split.mask("test").astype(int) for split in splits)
    np.testing.assert_array_equal(tested, labels > 0)
    for split in splits:
        held = split.mask("test")
        for row, col in zip(*np.nonzero(labels), strict=True):
            away = brute.nearest(held, row, col)
            part = split.parts[row, col]
            assert part == 3 if held[row, col] else (part == 4) if away <= guard else part
        for row, col in zip(*np.nonzero(split.mask("validation")), strict=True):
            assert brute.nearest(split.mask("train"), row, col) > guard


@given(st.integers(0, 99))
def test_no_field_is_cut_by_a_fold(make_fields, seed):
    labels = make_fields((32, 32), classes=3, side=6, seed=seed % 4)
    numbers = field_map(labels)
    for split in KFoldSplit("fields", 3, guard=2).splits(labels, seed=seed):
        test = split.mask("test")
        assert not set(numbers[test]) & set(numbers[(labels > 0) & ~test])


def test_one_fold_is_that_of_all_and_seeds_deal_anew(labels):
    splitter = KFoldSplit(n_splits=3, size=8, guard=1)
    splits = splitter.splits(labels, seed=4, window=3)
    for number, split in enumerate(splits):
        assert splitter.split(labels, seed=4, window=3, fold=number) == split
        assert split.settings["fold"] == number
    assert splitter.split(labels, seed=5).digest != splits[0].digest


def test_a_class_that_lies_in_one_fold_is_tested_and_named():
    labels = np.zeros((10, 40), int)
    labels[:3, ::8] = labels[:3, 1::8] = 1
    labels[7:, ::8] = 2
    labels[0, 39] = 5
    splits = KFoldSplit("fields", 2, guard=1).splits(labels)
    assert sum(split.mask("test")[0, 39] for split in splits) == 1
    note = (
        "Test pixels of classes without training pixels in their fold count as errors: "
        "class 5 (1 of 1)."
    )
    assert all(note in split.notes for split in splits)


def test_all_classes_that_cannot_be_learnt_stand_in_one_note():
    """Nine classes of one field each, and one of six fields."""
    labels = np.zeros((12, 60), int)
    labels[:, ::4] = [*range(1, 10), *[20] * 6]
    first, *others = KFoldSplit("fields", 3, guard=0).splits(labels, seed=1)
    (note,) = [one for one in first.notes if "count as errors" in one]
    assert all(note in split.notes for split in others)
    named = [f"class {code} (12 of 12)" for code in range(1, 9)]
    assert note.endswith(f"count as errors: {', '.join(named)}, 1 more classes.")


def test_what_cannot_be_folded_is_said(labels):
    with pytest.raises(SplitError, match="at least 2 folds, got 1"):
        KFoldSplit(n_splits=1)
    with pytest.raises(SplitError, match="blocks or fields, got 'rows'"):
        KFoldSplit(by="rows")
    with pytest.raises(SplitError, match="from 0 to 4, got 5"):
        KFoldSplit().split(labels, fold=5)
    with pytest.raises(SplitError, match="are in 1 block"):
        KFoldSplit(n_splits=2, size=90).split([[1, 2, 1]])
    with pytest.raises(SplitError, match="A guard of 30 pixels leaves"):
        KFoldSplit(n_splits=5, size=8, guard=30).split(labels)
