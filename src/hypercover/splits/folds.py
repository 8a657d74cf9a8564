"""Folds for cross-validation: random, by whole blocks, or by whole clusters."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from scipy.ndimage import find_objects, label, maximum_filter
from scipy.sparse import coo_array
from scipy.spatial import KDTree

from hypercover.errors import SplitError, counted
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.types import Indices, Ints, Mask


def cluster_numbers(samples: Samples, gap: int) -> Indices:
    """Return the cluster of each sample: samples of one class linked over ``gap`` pixels.

    Two samples are linked if the squares of side ``gap`` around them touch or
    overlap.
    """
    rows, cols = samples.rows - samples.rows.min(), samples.cols - samples.cols.min()
    _, classes = np.unique(samples.labels, return_inverse=True)
    codes = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), dtype=np.int32)
    codes[rows, cols] = classes + 1
    groups, count = np.empty(len(samples), dtype=np.intp), 0
    for position, box in enumerate(find_objects(codes)):
        own = classes == position
        marked = np.pad(codes[box] == position + 1, gap).astype(np.uint8)
        linked, n_clusters = label(
            maximum_filter(marked, size=gap), structure=np.ones((3, 3))
        )
        top, left = (gap - side.start for side in box)
        groups[own] = count + linked[rows[own] + top, cols[own] + left] - 1
        count += n_clusters
    return groups


def assign_folds(labels: Ints, groups: Indices, n_splits: int, rng: Generator) -> Indices:
    """Assign whole groups to folds and return the fold of each sample.

    Groups are assigned in descending order of size, each to the fold that has least
    of its classes.  Every class is spread over as many folds as it has groups, and no
    fold stays empty.
    """
    _, classes = np.unique(labels, return_inverse=True)
    counts = coo_array((np.ones(len(groups)), (groups, classes))).toarray()
    shares = counts / counts.sum(axis=0)
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares.max(axis=1)[order], kind="stable")]
    held, sizes = np.zeros((n_splits, shares.shape[1])), np.zeros(n_splits)
    numbers = np.empty(len(shares), dtype=np.intp)
    for group in order:
        numbers[group] = chosen = np.lexsort((sizes, held @ shares[group]))[0]
        held[chosen] += shares[group]
        sizes[chosen] += counts[group].sum()
    return np.asarray(numbers[groups])


def saved_settings(maker: Any, n_splits: str) -> dict[str, Any]:
    """Return the settings of what makes folds, with the name that files have for n_splits."""
    settings = {name: value for name, value in vars(maker).items() if value is not None}
    return {n_splits if name == "n_splits" else name: settings[name] for name in settings}


def _class_name(code: int, legend: Legend | None) -> str:
    """Return the code of a class and, if it is in the legend, its name."""
    name = f" ({legend[code].name})" if legend and code in legend else ""
    return f"Class {code}{name}"


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: the samples that train, are held out, or do neither."""

    train: Indices
    """Positions of the samples to train on."""
    test: Indices
    """Positions of the samples held out and scored."""
    guard: Indices
    """Positions of the samples left out because they are close to a held-out one."""
    unscored: Indices
    """Positions of the held-out samples whose class has no training samples."""

    def to_json(self) -> dict[str, int]:
        """Return the size of each part."""
        return {name: len(part) for name, part in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds of some samples, verified to be disjoint and a guard apart.

    It is a cross-validation generator of scikit-learn for exactly these samples, in
    their order: ``GridSearchCV(…, cv=folds)``.
    """

    samples: Samples
    """The samples."""
    parts: tuple[Fold, ...]
    """The folds."""
    kind: str = "given"
    """How they were made: random, blocks, clusters, or given."""
    guard: int = 0
    """Chebyshev distance in pixels that held-out samples exceed to training samples."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the fold maker, as plain values."""
    notes: tuple[str, ...] = ()
    """Samples that are not scored and why, one sentence each."""

    def __post_init__(self) -> None:
        """Check that the parts of each fold are disjoint and a guard apart."""
        for number, fold in enumerate(self.parts, start=1):
            _check_disjoint(fold, len(self.samples), number)
            if self.guard and self._near(fold, self.guard):
                raise SplitError(
                    f"Fold {number} must keep its held-out samples more than {self.guard} "
                    "pixels from the training ones, but some are closer; make the folds again."
                )

    def __len__(self) -> int:
        """Count the folds."""
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[Indices, Indices]]:
        """Iterate over (training positions, held-out positions)."""
        return ((fold.train, fold.test) for fold in self.parts)

    def split(
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Indices, Indices]]:
        """Iterate over the folds, as scikit-learn's splitters do.

        Raises
        ------
        SplitError
            If ``X`` has another number of rows than there are samples.
        """
        rows = len(self.samples) if X is None else np.shape(X)[0]
        if rows != len(self.samples):
            raise SplitError(
                f"The folds were made for {len(self.samples)} samples, got {rows}; "
                "make folds for these samples."
            )
        return iter(self)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds, as scikit-learn's splitters do."""
        return len(self.parts)

    @cached_property
    def scored(self) -> int:
        """Number of scored samples in all folds."""
        return sum(len(fold.test) for fold in self.parts)

    def near(self, distance: int) -> float:
        """Return the share of scored samples within a distance of a training sample."""
        return sum(self._near(fold, distance) for fold in self.parts) / self.scored

    def _near(self, fold: Fold, distance: int) -> int:
        """Count the held-out samples of a fold within a distance of a training sample."""
        near = _within_distance(self.samples, fold.test, fold.train, distance)
        return int(np.count_nonzero(near))

    def to_json(self) -> dict[str, Any]:
        """Return settings and sizes of the folds as plain values."""
        return {
            "kind": self.kind,
            "settings": dict(self.settings),
            "samples": len(self.samples),
            "scored": self.scored,
            "folds": [fold.to_json() for fold in self.parts],
            "touching": self.near(1),
            "notes": list(self.notes),
        }


class FoldMaker(ABC):
    """Base class: assigns samples to folds and keeps a guard around those held out."""

    kind: ClassVar[str]
    n_splits: int
    guard: int = 0

    def __post_init__(self) -> None:
        """Check number of folds and guard."""
        if self.n_splits < 2:
            raise SplitError(
                f"Cross-validation needs at least 2 folds, got {self.n_splits}; use 10."
            )
        if self.guard < 0:
            raise SplitError(
                f"The guard must be a width in pixels from 0, got {self.guard}; use 4."
            )

    def folds(
        self, samples: Samples, *, seed: int = 0, legend: Legend | None = None
    ) -> Folds:
        """Make folds of samples.

        Raises
        ------
        SplitError
            If there are fewer than two classes, fewer samples of a class, blocks or
            clusters than folds, or the guard leaves too few training samples.
        """
        codes = np.unique(samples.labels)
        if len(codes) < 2:
            given = f"only class {codes[0]}" if len(codes) else "no samples"
            raise SplitError(
                f"Folds need samples of at least two classes, got {given}; label more pixels."
            )
        numbers = self._assign(samples, np.random.default_rng(seed), legend)
        parts = [
            _fold(samples, numbers == number, self.guard) for number in range(self.n_splits)
        ]
        usable = [fold for fold in parts if len(fold.test)]
        if len(usable) < 2:
            raise SplitError(
                f"A guard of {self.guard} pixels leaves {len(usable)} of {self.n_splits} folds "
                "with samples of two classes to train on and one of them to hold out; use "
                "a smaller guard or folds at random."
            )
        lost = [str(number) for number, fold in enumerate(parts, 1) if not len(fold.test)]
        notes = [
            f"{_class_name(code, legend)}: {count} of {total} samples not scored, as their fold "
            "has no training samples of the class."
            for code, count, total in unscored_classes(samples, parts)
        ]
        if lost:
            which = f"{', '.join(lost)} of {len(parts)}"
            notes = [f"Folds left out for lack of training samples: {which}.", *notes]
        return Folds(
            samples,
            tuple(usable),
            kind=self.kind,
            guard=self.guard,
            settings=saved_settings(self, "n") | {"seed": seed},
            notes=tuple(notes),
        )

    @abstractmethod
    def _assign(self, samples: Samples, rng: Generator, legend: Legend | None) -> Indices:
        """Return the fold of each sample."""


class _GroupFolds(FoldMaker):
    """Base class of folds that keep groups of samples whole."""

    remedy: ClassVar[str]
    """What helps if there are fewer groups than folds."""

    def _assign(self, samples: Samples, rng: Generator, legend: Legend | None) -> Indices:
        groups = self._groups(samples, rng)
        count = int(groups.max()) + 1
        if count < self.n_splits:
            fewer = f"at most {count} folds or " if count > 1 else ""
            side = getattr(self, "size", None)
            extent = f" of {side} × {side} pixels" if side else ""
            raise SplitError(
                f"The samples are in {counted(count, self.kind.removesuffix('s'))}{extent}, "
                f"fewer than the {self.n_splits} folds; use {fewer}{self.remedy}."
            )
        return assign_folds(samples.labels, groups, self.n_splits, rng)

    @abstractmethod
    def _groups(self, samples: Samples, rng: Generator) -> Indices:
        """Return the block or cluster of each sample, from 0."""


@dataclass(frozen=True)
class RandomFolds(FoldMaker):
    """Assign the samples of every class to the folds at random.

    These are the folds of LIBSVM and of most published searches.  Neighbours of one
    field fall on both sides, so the accuracy is optimistic.

    Parameters
    ----------
    n_splits : int
        Number of folds, from 2.

    Examples
    --------
    >>> samples = Samples.of([[1, 1, 1, 2, 2, 2]])
    >>> for train, test in RandomFolds(3).folds(samples, seed=1):
    ...     print(train, test)
    [1 2 3 4] [0 5]
    [0 2 4 5] [1 3]
    [0 1 3 5] [2 4]
    """

    n_splits: int = 10
    """Number of folds."""

    kind = "random"

    def _assign(self, samples: Samples, rng: Generator, legend: Legend | None) -> Indices:
        codes, counts = np.unique(samples.labels, return_counts=True)
        count = int(counts.min())
        if count < self.n_splits:
            name = _class_name(int(codes[counts.argmin()]), legend)
            fewer = f"use at most {count} folds, " if count > 1 else ""
            raise SplitError(
                f"{name} has {counted(count, 'sample')}, fewer than the {self.n_splits} folds; "
                f"{fewer}label more of it or drop the class."
            )
        numbers, assigned = np.empty(len(samples), dtype=np.intp), 0
        for code in codes:
            own = rng.permutation(np.flatnonzero(samples.labels == code))
            numbers[own] = (assigned + np.arange(len(own))) % self.n_splits
            assigned += len(own)
        return numbers


@dataclass(frozen=True)
class BlockFolds(_GroupFolds):
    """Hold out whole square blocks, with a guard around the held-out samples.

    Parameters chosen on neighbours of the training samples suit the fields that were
    seen.  Every class is spread over as many folds as possible.

    Parameters
    ----------
    n_splits : int
        Number of folds, from 2.
    size : int
        Side of a block in pixels; the first begins at a seeded position.
    guard : int
        Training samples within this Chebyshev distance in pixels of a held-out
        sample are left out of the fold.

    Examples
    --------
    >>> labels = np.repeat(np.repeat([[1, 2]], 6, axis=1), 4, axis=0)
    >>> folds = BlockFolds(2, size=3, guard=1).folds(Samples.of(labels), seed=1)
    >>> folds.parts[0].to_json()
    {'train': 8, 'test': 24, 'guard': 16, 'unscored': 0}
    """

    n_splits: int = 10
    """Number of folds."""
    size: int = 15
    """Side of a block in pixels."""
    guard: int = 4
    """Pixels around held-out samples that are left out."""

    kind, remedy = "blocks", "smaller blocks"

    def __post_init__(self) -> None:
        """Check number, size and guard."""
        super().__post_init__()
        if self.size < 1:
            raise SplitError(f"A block must be at least 1 pixel wide, got {self.size}.")

    def _groups(self, samples: Samples, rng: Generator) -> Indices:
        origin = rng.integers(self.size, size=2)
        rows, cols = samples.rows + origin[0], samples.cols + origin[1]
        across = int(cols.max()) // self.size + 1
        blocks = rows // self.size * across + cols // self.size
        return np.unique(blocks, return_inverse=True)[1]


@dataclass(frozen=True)
class ClusterFolds(_GroupFolds):
    """Hold out whole clusters of samples, which approximate fields.

    A block may cut a field in two; a cluster does not.  Samples of one class are
    linked if they are at most ``gap`` pixels apart.  By default the gap is the guard,
    which then leaves out samples of other classes only.

    Parameters
    ----------
    n_splits : int
        Number of folds, from 2.
    guard : int
        Training samples within this Chebyshev distance in pixels of a held-out
        sample are left out of the fold.
    gap : int, optional
        Distance in pixels over which samples are linked, at least 1; the guard by
        default.  With 1 the clusters are connected fields, corners included.

    Examples
    --------
    >>> samples = Samples.of([[1, 1, 0, 0, 1, 0, 2, 2, 0, 0, 2]])
    >>> for train, test in ClusterFolds(2, guard=1).folds(samples, seed=0):
    ...     print(train, test)
    [0 1 5] [2 3 4]
    [2 3 4] [0 1 5]
    """

    n_splits: int = 10
    """Number of folds."""
    guard: int = 4
    """Pixels around held-out samples that are left out."""
    gap: int | None = None
    """Distance over which samples of one class are linked; None = the guard."""

    kind, remedy = "clusters", "folds by blocks"

    def _groups(self, samples: Samples, rng: Generator) -> Indices:
        gap = self.guard if self.gap is None else self.gap
        return cluster_numbers(samples, max(gap, 1))


def _fold(samples: Samples, held: Mask, guard: int) -> Fold:
    """Make the fold that holds out some samples."""
    inside, outside = np.flatnonzero(held), np.flatnonzero(~held)
    near = np.zeros(len(outside), dtype=bool)
    if guard:
        near = _within_distance(samples, outside, inside, guard)
    train = outside[~near]
    trained = np.unique(samples.labels[train])
    # With a single training class there is nothing to mistake.
    learnt = np.isin(samples.labels[inside], trained if len(trained) > 1 else [])
    return Fold(train, inside[learnt], outside[near], inside[~learnt])


def _within_distance(
    samples: Samples, which: Indices, others: Indices, distance: int
) -> Mask:
    """Return which samples are within a Chebyshev distance of any of the others."""
    points = np.column_stack((samples.rows, samples.cols))
    if not len(others):
        return np.zeros(len(which), dtype=bool)
    gaps, _ = KDTree(points[others]).query(
        points[which], p=np.inf, distance_upper_bound=distance + 0.5
    )
    return np.asarray(np.isfinite(gaps))


def _check_disjoint(fold: Fold, count: int, number: int) -> None:
    """Raise unless the parts of a fold are disjoint and contain all samples."""
    together = np.sort(np.concatenate(list(vars(fold).values())))
    if not np.array_equal(together, np.arange(count)):
        raise SplitError(
            f"The parts of fold {number} must be disjoint and together all {count} samples; "
            "make the folds again."
        )


def unscored_classes(samples: Samples, parts: Sequence[Fold]) -> list[tuple[int, int, int]]:
    """Return code, unscored samples and samples of each class that some fold cannot score."""
    lost = samples.labels[np.concatenate([fold.unscored for fold in parts])]
    codes, counts = np.unique(lost, return_counts=True)
    totals = np.count_nonzero(samples.labels == codes[:, None], axis=1)
    return list(zip(codes.tolist(), counts.tolist(), totals.tolist(), strict=True))
