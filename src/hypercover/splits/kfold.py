"""K-fold splits: every labelled pixel is tested once, by whole blocks or fields."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import Samples, check_window
from hypercover.splits.fields import draw_validation_fields, field_map
from hypercover.splits.folds import BlockFolds, ClusterFolds, Folds
from hypercover.splits.guard import (
    Guard,
    check_guard,
    guard_notes,
    guard_width,
    within_distance,
)
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels, check_trainable
from hypercover.types import Codes, Indices, Mask

_NAMED = 8
"""Number of classes that a note lists one by one."""
Assignment = TypeVar("Assignment")


class FoldedSplit(ABC, Generic[Assignment]):
    """Base class of splitters with several folds.

    A subclass assigns labelled pixels to folds and makes the split that tests one.
    """

    folds: int

    def splits(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1
    ) -> tuple[Split, ...]:
        """Return the splits of a label map (y, x), one for each fold.

        Raises
        ------
        SplitError
            If the labels do not suffice for so many folds.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        assigned = self._assign(label_map, seed, window)
        return tuple(
            self._split(label_map, assigned, fold, seed=seed, window=window)
            for fold in range(self.folds)
        )

    def split(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1, fold: int = 0
    ) -> Split:
        """Return the split of a label map (y, x) that tests one fold, counted from 0.

        Raises
        ------
        SplitError
            As :meth:`splits`, or if the fold does not exist.
        """
        if not 0 <= fold < self.folds:
            raise SplitError(f"The fold must be from 0 to {self.folds - 1}, got {fold}.")
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        assigned = self._assign(label_map, seed, window)
        return self._split(label_map, assigned, fold, seed=seed, window=window)

    @abstractmethod
    def _assign(self, label_map: Codes, seed: int, window: int) -> Assignment:
        """Assign all labelled pixels to the folds."""

    @abstractmethod
    def _split(
        self,
        label_map: Codes,
        assigned: Assignment,
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests one fold."""


@dataclass(frozen=True)
class KFoldSplit(FoldedSplit[Folds]):
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
    folds : int
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
    >>> splitter = KFoldSplit(folds=2, size=3, guard=1)
    >>> for split in splitter.splits(labels, seed=1):
    ...     print([split.count(part) for part in ("train", "test", "guard")])
    [8, 24, 16]
    [8, 24, 16]
    """

    by: Literal["blocks", "fields"] = "blocks"
    """What the folds consist of."""
    folds: int = 5
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
        self._maker(0)

    def _maker(self, guard: int) -> BlockFolds | ClusterFolds:
        if self.by == "blocks":
            return BlockFolds(self.folds, size=self.size, guard=guard)
        return ClusterFolds(self.folds, guard=guard, gap=1)

    def _assign(self, label_map: Codes, seed: int, window: int) -> Folds:
        """Assign all labelled pixels to the folds."""
        guard = guard_width(self.guard, window)
        folds = self._maker(guard).folds(Samples.of(label_map), seed=seed)
        if len(folds) < self.folds:
            raise SplitError(
                f"A guard of {guard} pixels leaves {self.folds - len(folds)} of "
                f"{self.folds} folds with too little to train on; use a smaller guard, "
                "fewer folds or other blocks."
            )
        return folds

    def _split(
        self,
        label_map: Codes,
        assigned: Folds,
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests one fold."""
        folds, fold = assigned, assigned.parts[number]
        train = _mask(folds, label_map.shape, fold.train)
        trained = np.where(train, label_map, 0)
        validation = draw_validation_fields(
            trained,
            field_map(trained),
            train,
            self.validation,
            guard=folds.guard,
            seed=seed,
        )
        remaining = train & ~validation & ~within_distance(validation, folds.guard)
        split = Split.from_parts(
            train=remaining,
            validation=validation,
            test=_mask(folds, label_map.shape, fold.test, fold.unscored),
            guard=_mask(folds, label_map.shape, fold.guard)
            | (train & ~remaining & ~validation),
            kind="kfold",
            seed=seed,
            settings=asdict(self) | {"guard": folds.guard, "fold": number},
            window=window,
            notes=(*_untrained_notes(folds), *guard_notes(folds.guard, window)),
        )
        return check_trainable(split, label_map)


def _mask(folds: Folds, shape: tuple[int, ...], *parts: Indices) -> Mask:
    """Return the pixels (y, x) of some parts of a fold."""
    which = np.concatenate(parts)
    mask = np.zeros(shape, dtype=bool)
    mask[folds.samples.rows[which], folds.samples.cols[which]] = True
    return mask


def _untrained_notes(folds: Folds) -> tuple[str, ...]:
    """Return a note on the test pixels whose class has no training pixels."""
    labels = folds.samples.labels
    lost = labels[np.concatenate([fold.unscored for fold in folds.parts])]
    if not len(lost):
        return ()
    counts = [
        (code, count, np.count_nonzero(labels == code))
        for code, count in zip(*np.unique(lost, return_counts=True), strict=True)
    ]
    listed = [
        f"class {code} ({count:,} of {total:,})" for code, count, total in counts[:_NAMED]
    ]
    if len(counts) > _NAMED:
        listed.append(f"{len(counts) - _NAMED} more classes")
    return (
        "Test pixels of classes without training pixels in their fold count as errors: "
        f"{', '.join(listed)}.",
    )
