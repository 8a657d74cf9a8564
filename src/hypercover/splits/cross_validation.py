"""Cross-validation: whole blocks, fields or shapes are held out in turn."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from hypercover.errors import SplitError, counted
from hypercover.scene.samples import Samples
from hypercover.splits.fields import draw_validation_fields, field_map
from hypercover.splits.folds import (
    BlockFolds,
    ClusterFolds,
    Fold,
    Folds,
    cluster_numbers,
    saved_settings,
    unscored_classes,
)
from hypercover.splits.split import (
    PARTS,
    Guard,
    Split,
    check_guard,
    check_labels,
    check_validation,
    guard_notes,
    guard_width,
)
from hypercover.types import Array, Ints, Mask

_MAX_LISTED = 8
"""Number of classes that a note lists one by one."""


class FoldedSplit(ABC):
    """Base class of splitters with several folds."""

    n_splits: int

    def splits(
        self, labels: ArrayLike, *, seed: int = 0, window: int = 1
    ) -> tuple[Split, ...]:
        """Return the splits of a label map (y, x), one for each fold.

        Raises
        ------
        SplitError
            If the labels do not suffice for this many folds.
        """
        make = self._assign(check_labels(labels, window), seed, window)
        return tuple(make(fold) for fold in range(self.n_splits))

    def split(
        self, labels: ArrayLike, *, seed: int = 0, window: int = 1, fold: int = 0
    ) -> Split:
        """Return the split of a label map (y, x) that tests one fold, counted from 0.

        Raises
        ------
        SplitError
            As :meth:`splits`, or if the fold does not exist.
        """
        if not 0 <= fold < self.n_splits:
            raise SplitError(f"The fold must be from 0 to {self.n_splits - 1}, got {fold}.")
        return self._assign(check_labels(labels, window), seed, window)(fold)

    def _settings(self, guard: int, fold: int) -> dict[str, Any]:
        """Return the settings of the split that tests one fold, as files keep them."""
        return saved_settings(self, "folds") | {"guard": guard, "fold": fold}

    @abstractmethod
    def _assign(self, label_map: Ints, seed: int, window: int) -> Callable[[int], Split]:
        """Assign labelled pixels to folds; return what makes the split that tests one."""


def _mask(samples: Samples, which: Array, label_map: Ints) -> Mask:
    """Return the pixels (y, x) of some samples, given by index or mask."""
    mask = np.zeros(label_map.shape, dtype=bool)
    mask[samples.rows[which], samples.cols[which]] = True
    return mask


@dataclass(frozen=True)
class KFoldSplit(FoldedSplit):
    """Test the blocks or fields of each fold in turn, beyond a guard band.

    Over all folds every labelled pixel is tested exactly once, where one draw of
    blocks tests only a part.  Whole blocks or fields are assigned to the folds so
    that every class is spread over as many as possible.  The pixels of one fold are
    tested and those of the others train; training pixels within ``guard`` pixels
    (Chebyshev) of a tested one are the guard.  All pixels of a class in a single fold
    count as errors, because it has no training pixels when it is tested; a note says
    so.

    Parameters
    ----------
    by : "blocks" or "fields"
        What the folds consist of; a field is a connected set of pixels of one class,
        corners included.
    n_splits : int
        Number of folds, from 2.
    size : int
        Side of a block in pixels.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the training pixels set aside for validation, by whole fields.

    Examples
    --------
    >>> labels = np.repeat(np.repeat([[1, 2]], 6, axis=1), 4, axis=0)
    >>> splitter = KFoldSplit(n_splits=2, size=3, guard=1)
    >>> for split in splitter.splits(labels, seed=1):
    ...     print([split.count(part) for part in ("train", "test", "guard")])
    [8, 24, 16]
    [8, 24, 16]
    """

    by: Literal["blocks", "fields"] = "blocks"
    """What the folds consist of."""
    n_splits: int = 5
    """Number of folds."""
    size: int = 15
    """Side of a block in pixels."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.by not in ("blocks", "fields"):
            raise SplitError(f"Folds are made of blocks or fields, got {self.by!r}.")
        check_guard(self.guard)
        check_validation(self.validation)
        self._folds(0)

    def _folds(self, guard: int) -> BlockFolds | ClusterFolds:
        if self.by == "blocks":
            return BlockFolds(self.n_splits, size=self.size, guard=guard)
        return ClusterFolds(self.n_splits, guard=guard, gap=1)

    def _assign(self, label_map: Ints, seed: int, window: int) -> Callable[[int], Split]:
        guard, samples = guard_width(self.guard, window), Samples.of(label_map)
        folds = self._folds(guard).folds(samples, seed=seed)
        if len(folds) < self.n_splits:
            raise SplitError(
                f"A guard of {guard} pixels leaves {self.n_splits - len(folds)} of "
                f"{self.n_splits} folds with too little to train on; use a smaller guard, "
                "fewer folds or other blocks."
            )

        def make(number: int) -> Split:
            fold = folds.parts[number]
            drawn = _mask(samples, fold.train, label_map)
            trained = np.where(drawn, label_map, 0)
            validation = draw_validation_fields(
                trained, field_map(trained), drawn, self.validation, guard=guard, seed=seed
            )
            held = np.concatenate((fold.test, fold.unscored))
            return Split.from_regions(
                label_map,
                drawn=drawn,
                validation=validation,
                test=_mask(samples, held, label_map),
                guard=guard,
                kind="kfold",
                seed=seed,
                settings=self._settings(guard, number),
                window=window,
                notes=_untrained_notes(folds),
            )

        return make


def _untrained_notes(folds: Folds) -> tuple[str, ...]:
    """Return a note on the test pixels whose class has no training pixels."""
    classes = unscored_classes(folds.samples, folds.parts)
    if not classes:
        return ()
    listed = [f"class {code} ({count:,} of {total:,})" for code, count, total in classes]
    if len(listed) > _MAX_LISTED:
        listed[_MAX_LISTED:] = [f"{len(listed) - _MAX_LISTED} more classes"]
    return (
        "Test pixels of classes without training pixels in their fold count as errors: "
        f"{', '.join(listed)}.",
    )


class HeldOutShapes:
    """The shapes of a label map that can be held out, and those that each fold holds out.

    Shapes are assigned class by class, each to the emptiest fold in which all classes
    still have training samples.
    """

    def __init__(self, label_map: Ints, guard: int, n_splits: int, seed: int) -> None:
        self.samples = Samples.of(label_map)
        self.numbers = cluster_numbers(self.samples, 1)
        _, first = np.unique(self.numbers, return_index=True)
        self.codes = self.samples.labels[first]
        points = np.column_stack((self.samples.rows, self.samples.cols))
        tree = KDTree(points)
        # The samples of each shape and of the buffer around it, which do not train with it.
        self._near = [
            np.unique(np.concatenate(tree.query_ball_point(own, guard + 0.5, p=np.inf)))
            for own in (points[self.numbers == shape] for shape in range(len(self.codes)))
        ]
        order = np.random.default_rng(seed).permutation(len(self.codes))
        order = order[np.argsort(self.codes[order], kind="stable")]
        self.held: list[list[int]] = [[] for _ in range(n_splits)]
        classes = len(np.unique(self.codes))
        for shape in order.tolist():
            for fold in sorted(self.held, key=len):
                trained = self.samples.labels[~self.lost([*fold, shape])]
                if len(np.unique(trained)) == classes:
                    fold.append(shape)
                    break

    def lost(self, held: list[int]) -> Mask:
        """Return which samples (n,) do not train when some shapes are held out."""
        mask = np.zeros(len(self.samples), dtype=bool)
        for shape in held:
            mask[self._near[shape]] = True
        return mask

    @property
    def shapes(self) -> dict[int, int]:
        """Number of shapes held out, by class code."""
        held = [shape for fold in self.held for shape in fold]
        codes, counts = np.unique(self.codes[held], return_counts=True)
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))

    @property
    def folds(self) -> int:
        """Folds that hold out at least one shape."""
        return sum(map(bool, self.held))

    @property
    def enough(self) -> bool:
        """Whether an accuracy is meaningful: at least two classes are tested."""
        return len(self.shapes) > 1

    def notes(self, guard: int) -> list[str]:
        """Return notes on the shapes held out, and on the classes without any."""
        total, held = len(self.codes), sum(map(len, self.held))
        notes = [
            f"The labels form {total} shapes; {held} are held out once, more than {guard} "
            f"pixels from the training pixels, and {total - held} always train."
        ]
        untested = sorted(set(self.codes.tolist()) - self.shapes.keys())
        if untested:
            notes.append(
                f"Class {', '.join(map(str, untested))}: too few shapes to judge; mapped without "
                "an accuracy."
            )
        return notes


@dataclass(frozen=True)
class LeaveOneOutSplit(FoldedSplit):
    """Hold out one shape after another, with a buffer around it.

    A few points or polygons cannot be divided into training and test areas without
    losing whole classes.  Each shape, a connected set of pixels of one class (corners
    included), is tested by a classifier trained on all others except the labelled
    pixels within ``guard`` pixels (Chebyshev) of it (spatial leave-one-out, Le Rest et
    al. 2014).  The accuracy is that of all predictions together.

    A shape is held out only if every class keeps training pixels beyond the buffer.
    The only shape of a class therefore always trains, and that class has no accuracy.

    With fewer folds than shapes, several are held out at a time.

    Parameters
    ----------
    n_splits : int
        Number of trainings, from 2; at most the number of shapes that can be held out.
    guard : int or "auto"
        Width of the buffer in pixels; "auto" is window − 1.

    References
    ----------
    Le Rest et al. (2014), Spatial leave-one-out cross-validation for variable
    selection in the presence of spatial autocorrelation, Global Ecology and
    Biogeography 23.

    Examples
    --------
    T train, o test, . neither; two points of class 1, two of class 2 and one of class 3:

    >>> labels = np.array([[1, 0, 2, 0, 1, 0, 2, 0, 3]])
    >>> splitter = LeaveOneOutSplit(n_splits=4, guard=1)
    >>> for split in splitter.splits(labels, seed=0):
    ...     print("".join(".T!o-"[part] for part in split.parts[0]))
    o.T.T.T.T
    T.T.o.T.T
    T.o.T.T.T
    T.T.T.o.T
    """

    n_splits: int = 10
    """Number of trainings."""
    guard: Guard = "auto"
    """Pixels between held-out shapes and training pixels; auto = window − 1."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.n_splits < 2:
            raise SplitError(
                f"Leave-one-out needs at least 2 folds, got {self.n_splits}; use 10."
            )
        check_guard(self.guard)

    def outlook(
        self, labels: ArrayLike, *, seed: int = 0, window: int = 1
    ) -> HeldOutShapes:
        """Return how many shapes of a label map (y, x) are held out, and in how many folds.

        Examples
        --------
        >>> labels = np.array([[1, 0, 2, 0, 1, 0, 2, 0, 3]])
        >>> outlook = LeaveOneOutSplit(n_splits=10, guard=1).outlook(labels)
        >>> outlook.shapes, outlook.folds
        ({1: 2, 2: 2}, 4)
        """
        guard = guard_width(self.guard, window)
        return HeldOutShapes(check_labels(labels), guard, self.n_splits, seed)

    def _assign(self, label_map: Ints, seed: int, window: int) -> Callable[[int], Split]:
        guard = guard_width(self.guard, window)
        shapes = HeldOutShapes(label_map, guard, self.n_splits, seed)
        if not shapes.enough:
            raise SplitError(
                "Too few labels to judge a map by: shapes of at least two classes must be held "
                f"out, {guard} pixels from the training pixels and without removing a whole "
                f"class, and those of {len(shapes.shapes)} can be; label more shapes of each "
                "class, or train on all of them and test none (kind: none)."
            )
        if shapes.folds < self.n_splits:
            raise SplitError(
                f"Only {counted(shapes.folds, 'shape')} can be held out, fewer than the "
                f"{self.n_splits} folds; set folds to {shapes.folds}."
            )

        def make(number: int) -> Split:
            held = shapes.held[number]
            test, lost = np.isin(shapes.numbers, held), shapes.lost(held)
            return Split.from_parts(
                train=_mask(shapes.samples, ~lost, label_map),
                test=_mask(shapes.samples, test, label_map),
                guard=_mask(shapes.samples, lost & ~test, label_map),
                kind="leave-one-out",
                seed=seed,
                settings=self._settings(guard, number),
                window=window,
                notes=(*shapes.notes(guard), *guard_notes(guard, window)),
            )

        return make


class Splitter(Protocol):
    """Anything that splits a label map."""

    def split(self, labels: ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x)."""


def as_cv(
    splitter: Splitter,
    labels: ArrayLike,
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
        for split in (
            splitter.splits(labels, seed=number, window=window)
            if isinstance(splitter, FoldedSplit)
            else (splitter.split(labels, seed=number, window=window),)
        )
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


def _fold(split: Split, samples: Samples) -> Fold:
    """Return the positions of a split's parts among the samples."""
    parts = split.parts[samples.rows, samples.cols]
    train, test = (parts == PARTS.index(part) for part in ("train", "test"))
    nothing = np.zeros_like(train)
    return Fold(*map(np.flatnonzero, (train, test, ~train & ~test, nothing)))
