"""Few labels: shapes left out one after another, and never a class too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import label

from hypercover.errors import LabelError, SplitError
from hypercover.splits.cross_validation import LeaveOneOutSplit, as_cv
from hypercover.splits.split import PARTS

TRAIN, TEST, GUARD = (PARTS.index(name) for name in ("train", "test", "guard"))
POINTS = np.array([[1, 0, 0, 2, 0, 0, 1, 0, 0, 2, 0, 0, 3]])


def shapes_of(labels):
    """Return a mask (y, x) for each connected set of pixels of one class."""
    found = []
    for code in np.unique(labels[labels > 0]):
        numbers, count = label(labels == code, np.ones((3, 3)))
        found += [numbers == number for number in range(1, count + 1)]
    return found


def keeps(labels, held, guard):
    """Whether every class has a pixel beyond the buffer, by looking at every pair."""
    places = np.argwhere(labels > 0)
    gone = np.argwhere(held)
    near = np.abs(places[:, None] - gone[None]).max(axis=2).min(axis=1) <= guard
    return set(labels[tuple(places[~near].T)]) == set(np.unique(labels[labels > 0]))


@given(
    arrays.arrays(np.int64, (6, 8), elements=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3])),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_all_shapes_that_can_be_spared_are_tested_once_and_no_class_is_lost(
    labels, guard, seed
):
    spared = [held for held in shapes_of(labels) if keeps(labels, held, guard)]
    classes = {int(labels[held][0]) for held in spared}
    if len(np.unique(labels[labels > 0])) < 2:
        with pytest.raises(LabelError):
            LeaveOneOutSplit(guard=guard).outlook(labels)
        return
    many = LeaveOneOutSplit(n_splits=48, guard=guard).outlook(labels, seed=seed)
    assert (sum(many.shapes.values()), many.folds) == (len(spared), len(spared))
    assert (set(many.shapes), many.enough) == (classes, len(classes) > 1)
    if not many.enough:
        with pytest.raises(SplitError, match="Too few labels to judge"):
            LeaveOneOutSplit(n_splits=2, guard=guard).split(labels)
        return
    splits = LeaveOneOutSplit(n_splits=many.folds, guard=guard).splits(labels, seed=seed)
    tested = sum((split.parts == TEST).astype(int) for split in splits)
    assert (tested == np.logical_or.reduce(spared)).all()
    for split in splits:
        assert ((split.parts > 0) == (labels > 0)).all()
        assert set(labels[split.parts == TRAIN]) == set(np.unique(labels[labels > 0]))
        train, test = (np.argwhere(split.parts == part) for part in (TRAIN, TEST))
        assert (np.abs(train[:, None] - test[None]).max(axis=2) > guard).all()
        # Nothing is withheld but the buffer.
        withheld = np.argwhere(split.parts == GUARD)
        gaps = np.abs(withheld[:, None] - test[None]).max(axis=2)
        assert (gaps.min(axis=1) <= guard).all()


def test_fewer_folds_hold_out_several_shapes_at_a_time():
    labels = np.zeros((9, 40), int)
    labels[::4, ::4] = 1 + np.arange(30).reshape(3, 10) % 3
    splits = LeaveOneOutSplit(n_splits=5, guard=1).splits(labels, seed=1)
    tested = [int((split.parts == TEST).sum()) for split in splits]
    assert (sum(tested), max(tested) - min(tested) <= 1) == (30, True)
    assert all(len(set(labels[split.parts == TEST])) == 3 for split in splits)


def test_the_only_shape_of_a_class_trains_and_a_note_names_it():
    split = LeaveOneOutSplit(n_splits=4, guard=1).split(POINTS)
    assert all(
        one.parts[0, -1] == TRAIN
        for one in LeaveOneOutSplit(n_splits=4, guard=1).splits(POINTS)
    )
    assert "form 5 shapes; 4 are held out once, more than 1 pixels" in split.notes[0]
    assert "1 always train" in split.notes[0]
    assert split.notes[1].startswith("Class 3: too few shapes to judge")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([[1, 0, 2, 0, 3]], "those of 0 can be"),
        ([[1, 0, 0, 1, 0, 0, 2]], "those of 1 can be"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, says):
    with pytest.raises(SplitError, match=says):
        LeaveOneOutSplit(n_splits=2, guard=0).split(labels)


def test_all_folds_stand_in_a_cross_validation_of_scikit_learn():
    folds = as_cv(LeaveOneOutSplit(n_splits=4, guard=1), POINTS, repeats=1, window=1)
    assert sorted(test.tolist() for _, test in folds) == [[0], [1], [2], [3]]
    assert all(len(train) == 4 for train, _ in folds)


def test_more_folds_than_shapes_are_refused_with_the_number_that_works():
    with pytest.raises(SplitError, match="set folds to 4"):
        LeaveOneOutSplit(n_splits=7, guard=1).split(POINTS)
    with pytest.raises(SplitError, match="at least 2 folds"):
        LeaveOneOutSplit(n_splits=1)
    with pytest.raises(SplitError, match="from 0 to 3"):
        LeaveOneOutSplit(n_splits=4, guard=1).split(POINTS, fold=4)
