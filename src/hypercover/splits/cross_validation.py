"""Cross-validation for scikit-learn from any splitter."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import Samples
from hypercover.splits.folds import Fold, Folds
from hypercover.splits.kfold import FoldedSplit
from hypercover.splits.split import PARTS, Split


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
    """Return repeated splits as a cross-validation generator of scikit-learn.

    A splitter splits a label map, as its blocks and guards need positions; the
    result has ``split`` and ``get_n_splits`` and goes wherever scikit-learn takes
    ``cv``: ``cross_val_score(model, X, y, cv=as_cv(…))``.  The rows of ``X`` and
    ``y`` are the labelled pixels in row order, and ``y`` is ``samples.labels`` of
    the result.  Guard and validation pixels neither train nor are scored.

    Parameters
    ----------
    splitter : RandomSplit, BlockSplit, FieldSplit, ClusterSplit, MaskSplit, …
        KFoldSplit and LeaveOneOutSplit give all their folds for each seed.
    labels : array (y, x)
        Class codes; 0 = unlabelled.
    repeats : int
        Number of seeds.
    window : odd int
        Side of the windows of the model, for a guard of width "auto".
    seed : int
        The first seed.

    Returns
    -------
    Folds
        One fold for each split.

    Raises
    ------
    SplitError
        If the splitter is not one of hypercover, such as scikit-learn's own, which
        need no conversion; or if every seed gives the same split (MaskSplit,
        SavedSplit, ClusterSplit) and ``repeats`` is above 1.
    LabelError
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
    name = type(splitter).__name__
    if hasattr(splitter, "get_n_splits"):
        raise SplitError(
            f"as_cv takes a splitter of label maps, got {name}, which scikit-learn uses as it "
            "is; give it as cv, or use RandomSplit or BlockSplit."
        )
    samples = Samples.of(labels)
    splits = [
        split
        for number in range(seed, seed + repeats)
        for split in _draws(splitter, labels, number, window)
    ]
    if repeats > 1 and len({split.digest for split in splits}) == len(splits) // repeats:
        raise SplitError(
            f"{name} gives the same split for every seed, and {repeats} repeats would count it "
            "several times; use repeats=1."
        )
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
    """Return the positions of a split's parts among the samples."""
    parts = split.parts[samples.rows, samples.cols]
    train, test = (parts == PARTS.index(part) for part in ("train", "test"))
    nothing = np.zeros_like(train)
    return Fold(*map(np.flatnonzero, (train, test, ~train & ~test, nothing)))
