"""Splits as scikit-learn asks for them: training and test positions, draw by draw."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import Samples
from hypercover.splits.folds import Fold, Folds
from hypercover.splits.kfold import FoldedSplit
from hypercover.splits.split import PARTS, Split

__all__ = ["Splitter", "as_cv"]


class Splitter(Protocol):
    """Anything that splits a label map."""

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x)."""


def as_cv(
    splitter: Splitter,
    labels: npt.ArrayLike,
    *,
    repeats: int = 5,
    window: int = 9,
    seed: int = 0,
) -> Folds:
    """Return some draws of a splitter as a cross-validation for scikit-learn.

    Why it exists: ``cross_val_score(model, X, y, cv=as_cv(…))`` scores any model
    of scikit-learn on land it has not seen.  The rows of ``X`` and ``y`` are the
    labelled pixels, row by row: ``samples.labels`` of what is returned is ``y``.
    Only training pixels train and only test pixels are scored; guard and
    validation pixels do neither.

    Parameters
    ----------
    splitter : RandomSplit, BlockSplit, FieldSplit, ClusterSplit, MaskSplit, …
        What draws; KFoldSplit and LeaveOneOutSplit give all their folds for each seed.
    labels : array (y, x)
        Class codes; 0 = unlabelled.
    repeats : int
        Seeds, from ``seed`` on.
    window : odd int
        Side of the windows the model sees, for a guard that follows it.

    Raises
    ------
    SplitError, LabelError
        As the splitter.

    Examples
    --------
    >>> from hypercover.splits.random_split import RandomSplit
    >>> for train, test in as_cv(RandomSplit(0.5), [[1, 1, 2, 2]], repeats=2, window=1, seed=2):
    ...     print(train, test)
    [0 3] [1 2]
    [1 2] [0 3]
    """
    if repeats < 1:
        raise SplitError(f"At least 1 repeat is needed, got {repeats}; use 5.")
    samples = Samples.of(labels)
    splits = [
        split
        for number in range(seed, seed + repeats)
        for split in _draws(splitter, labels, number, window)
    ]
    return Folds(
        samples,
        tuple(_fold(split, samples) for split in splits),
        kind=splits[0].kind,
        guard=int(splits[0].settings.get("guard", 0)),
        settings=dict(splits[0].settings),
        notes=splits[0].notes,
    )


def _draws(
    splitter: Splitter, labels: npt.ArrayLike, seed: int, window: int
) -> tuple[Split, ...]:
    if isinstance(splitter, FoldedSplit):
        return splitter.splits(labels, seed=seed, window=window)
    return (splitter.split(labels, seed=seed, window=window),)


def _fold(split: Split, samples: Samples) -> Fold:
    """Return where the parts of a split stand among the samples."""
    parts = split.parts[samples.rows, samples.cols]
    train, test = (parts == PARTS.index(part) for part in ("train", "test"))
    nothing = np.zeros_like(train)
    return Fold(*map(np.flatnonzero, (train, test, ~train & ~test, nothing)))
