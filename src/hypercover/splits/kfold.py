"""Splits by folds: every labelled pixel is tested once, by whole blocks or fields."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError, counted
from hypercover.scene.samples import Samples, check_window
from hypercover.splits.fields import draw_validation_fields, field_map
from hypercover.splits.folds import BlockFolds, ClusterFolds, Folds
from hypercover.splits.guard import Guard, check_guard, guard_notes, guard_width, near
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels, check_learnable

__all__ = ["FoldedSplit", "KFoldSplit"]

_NAMED = 8
"""Classes of which a note tells what part of them cannot be learnt."""
Mask = npt.NDArray[np.bool_]
Dealt = TypeVar("Dealt")


class FoldedSplit(ABC, Generic[Dealt]):
    """A splitter that parts the labels in as many ways as it has folds.

    One that follows it deals labels to the folds and makes the split of one of them.
    """

    folds: int

    def splits(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1
    ) -> tuple[Split, ...]:
        """Split a label map (y, x) in as many ways as there are folds.

        Raises
        ------
        SplitError
            If the labels cannot be dealt to so many folds.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        dealt = self._dealt(label_map, seed, window)
        return tuple(
            self._split(label_map, dealt, fold, seed=seed, window=window)
            for fold in range(self.folds)
        )

    def split(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1, fold: int = 0
    ) -> Split:
        """Split a label map (y, x): one of the folds, counted from 0, is tested.

        Raises
        ------
        SplitError
            As :meth:`splits`, or if there is no such fold.
        """
        if not 0 <= fold < self.folds:
            raise SplitError(f"There are folds 0 to {self.folds - 1}, got {fold}.")
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        dealt = self._dealt(label_map, seed, window)
        return self._split(label_map, dealt, fold, seed=seed, window=window)

    @abstractmethod
    def _dealt(self, label_map: npt.NDArray[np.integer], seed: int, window: int) -> Dealt:
        """Deal all labelled pixels to the folds."""

    @abstractmethod
    def _split(
        self,
        label_map: npt.NDArray[np.integer],
        dealt: Dealt,
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests one fold."""


@dataclass(frozen=True)
class KFoldSplit(FoldedSplit[Folds]):
    """Hold out the blocks or fields of each fold in turn, a guard band apart.

    Why it exists: one draw of blocks tests some land and leaves the rest
    unasked.  Over all folds every labelled pixel is tested exactly once, by a
    classifier that has seen no pixel within the guard around its fold.

    Whole blocks or fields are dealt to the folds so that every class is spread
    over as many as it can be.  The pixels of one fold are tested, those of the
    others train, except that training pixels within ``guard`` pixels
    (Chebyshev) of a tested one are the guard.  A class that lies in one fold
    alone has no training pixel when it is tested, so all its pixels count as
    errors; a note says so.

    Parameters
    ----------
    by : "blocks" or "fields"
        What is kept whole; a field is a connected set of pixels of one class,
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
    """What is kept whole."""
    folds: int = 5
    """Number of folds."""
    size: int = 15
    """Side of a block in pixels."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Refuse settings that no image could give."""
        if self.by not in ("blocks", "fields"):
            raise SplitError(f"Folds are made of blocks or fields, got {self.by!r}.")
        check_guard(self.guard)
        check_validation(self.validation)
        self._maker(0)

    def _maker(self, guard: int) -> BlockFolds | ClusterFolds:
        if self.by == "blocks":
            return BlockFolds(self.folds, size=self.size, guard=guard)
        return ClusterFolds(self.folds, guard=guard, gap=1)

    def _dealt(self, label_map: npt.NDArray[np.integer], seed: int, window: int) -> Folds:
        """Deal all labelled pixels to the folds."""
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
        label_map: npt.NDArray[np.integer],
        dealt: Folds,
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests one fold."""
        folds, fold = dealt, dealt.parts[number]
        train = _mask(folds, label_map.shape, fold.train)
        learnt = np.where(train, label_map, 0)
        validation = draw_validation_fields(
            learnt, field_map(learnt), train, self.validation, guard=folds.guard, seed=seed
        )
        kept = train & ~validation & ~near(validation, folds.guard)
        split = Split.from_parts(
            train=kept,
            validation=validation,
            test=_mask(folds, label_map.shape, fold.test, fold.unscored),
            guard=_mask(folds, label_map.shape, fold.guard) | (train & ~kept & ~validation),
            kind="kfold",
            seed=seed,
            settings=asdict(self) | {"guard": folds.guard, "fold": number},
            window=window,
            notes=(*_unlearnt(folds), *guard_notes(folds.guard, window)),
        )
        return check_learnable(split, label_map)


def _mask(folds: Folds, shape: tuple[int, ...], *parts: npt.NDArray[np.intp]) -> Mask:
    """Mark the pixels (y, x) of some parts of a fold."""
    which = np.concatenate(parts)
    mask = np.zeros(shape, dtype=bool)
    mask[folds.samples.rows[which], folds.samples.cols[which]] = True
    return mask


def _unlearnt(folds: Folds) -> tuple[str, ...]:
    """Name in one sentence the classes with pixels that no classifier can get right."""
    labels = folds.samples.labels
    lost = labels[np.concatenate([fold.unscored for fold in folds.parts])]
    if not len(lost):
        return ()
    counts = [
        (int(code), int(count), int(np.count_nonzero(labels == code)))
        for code, count in zip(*np.unique(lost, return_counts=True), strict=True)
    ]
    whole = ", ".join(str(code) for code, count, total in counts if count == total)
    parts = [f"{n:,} of {of:,} of class {code}" for code, n, of in counts if n < of]
    more = len(parts) - _NAMED
    said = [f"all of {'classes' if ',' in whole else 'class'} {whole}"] if whole else []
    said += [*parts[:_NAMED], *([f"some of {more} more classes"] if more > 0 else [])]
    one = len(lost) == 1
    return (
        f"{counted(len(lost), 'pixel')} {'is' if one else 'are'} tested in a fold that leaves "
        f"none of {'its' if one else 'their'} class to train on, and "
        f"{'counts as an error' if one else 'count as errors'}: {'; '.join(said)}.",
    )
