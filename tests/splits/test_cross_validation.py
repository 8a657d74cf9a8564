"""Any split serves scikit-learn, draw by draw."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from hypercover.errors import SplitError
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.cross_validation import KFoldSplit, as_cv
from hypercover.splits.fields import ClusterSplit, FieldSplit
from hypercover.splits.predefined_splits import MaskSplit
from hypercover.splits.random_split import RandomSplit

SPLITTERS = (
    RandomSplit(0.2),
    BlockSplit(6, 0.3, 2),
    FieldSplit(0.3, 2),
    ClusterSplit(0.8, guard=0, validation=0.3),
    KFoldSplit(n_splits=3, size=8, guard=2),
)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda one: type(one).__name__)
def test_positions_are_those_of_the_splits(labels, splitter):
    cv = as_cv(splitter, labels, repeats=2, window=3, seed=7)
    rows, cols = np.nonzero(labels)
    np.testing.assert_array_equal(cv.samples.labels, labels[rows, cols])
    if isinstance(splitter, KFoldSplit):
        made = [s for seed in (7, 8) for s in splitter.splits(labels, seed=seed, window=3)]
    else:
        made = [splitter.split(labels, seed=seed, window=3) for seed in (7, 8)]
    assert len(cv) == len(made)
    for (train, test), split in zip(cv, made, strict=True):
        np.testing.assert_array_equal(train, np.flatnonzero(split.parts[rows, cols] == 1))
        np.testing.assert_array_equal(test, np.flatnonzero(split.parts[rows, cols] == 3))


def test_scikit_learn_scores_by_it(labels):
    samples = np.argwhere(labels)
    y = labels[tuple(samples.T)]
    model = KNeighborsClassifier(1)

    def score(splitter):
        cv = as_cv(splitter, labels, repeats=3)
        scores = cross_val_score(model, samples, y, cv=cv, groups=y)
        assert len(scores) == cv.get_n_splits() == 3
        return scores.mean()

    # By its neighbours alone a pixel is known where they train, and not on other land.
    assert score(RandomSplit(0.5)) > 0.8
    assert score(BlockSplit(8, 0.3, 4)) < 0.5


def test_rows_of_another_image_are_refused(labels):
    cv = as_cv(RandomSplit(), labels, repeats=1)
    with pytest.raises(SplitError, match="made for"):
        cv.split(np.zeros((3, 1)))
    with pytest.raises(SplitError, match="At least 1 repeat is needed, got 0"):
        as_cv(RandomSplit(), labels, repeats=0)


def test_what_would_give_equal_folds_is_refused(labels):
    for splitter in (
        ClusterSplit(0.3, guard=2),
        MaskSplit(np.indices(labels.shape)[0] < 9),
    ):
        with pytest.raises(
            SplitError, match="the same split for every seed, and 5 repeats"
        ):
            as_cv(splitter, labels)
        assert as_cv(splitter, labels, repeats=1).get_n_splits() == 1


def test_splitters_of_scikit_learn_are_refused(labels):
    with pytest.raises(SplitError, match="got StratifiedKFold, which scikit-learn uses"):
        as_cv(StratifiedKFold(), labels)
