"""Folds for cross-validation: at random, by whole blocks, or by whole clusters."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label, maximum_filter
from scipy.sparse import coo_array
from scipy.spatial import KDTree

from hypercover.errors import SplitError, counted
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples

__all__ = [
    "BlockFolds",
    "ClusterFolds",
    "Fold",
    "Folds",
    "RandomFolds",
    "check_classes",
    "check_groups",
    "check_members",
    "check_number",
    "check_width",
    "class_name",
    "clusters",
    "deal",
]

Positions = npt.NDArray[np.intp]


def clusters(samples: Samples, gap: int) -> Positions:
    """Give each sample a cluster: samples of one class, linked over at most ``gap`` pixels.

    Two samples are so near exactly when the squares of side ``gap`` around them
    touch or overlap.
    """
    rows, cols = samples.rows - samples.rows.min(), samples.cols - samples.cols.min()
    _, classes = np.unique(samples.labels, return_inverse=True)
    codes = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), dtype=np.int32)
    codes[rows, cols] = classes + 1
    groups, count = np.empty(len(samples), dtype=np.intp), 0
    for position, box in enumerate(find_objects(codes)):
        own = classes == position
        marked = np.pad(codes[box] == position + 1, gap).astype(np.uint8)
        named, found = label(maximum_filter(marked, size=gap), structure=np.ones((3, 3)))
        top, left = (gap - side.start for side in box)
        groups[own] = count + named[rows[own] + top, cols[own] + left] - 1
        count += found
    return groups


def deal(
    labels: npt.NDArray[np.int64], groups: Positions, n: int, rng: np.random.Generator
) -> Positions:
    """Deal whole groups to folds; return the fold of each sample.

    Large groups first, each goes where least of its classes lies, so that every
    class is spread over as many folds as it has groups, and no fold stays empty.
    """
    _, classes = np.unique(labels, return_inverse=True)
    counts = coo_array((np.ones(len(groups)), (groups, classes))).toarray()
    shares = counts / counts.sum(axis=0)
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares.max(axis=1)[order], kind="stable")]
    held, sizes = np.zeros((n, shares.shape[1])), np.zeros(n)
    numbers = np.empty(len(shares), dtype=np.intp)
    for group in order:
        numbers[group] = chosen = np.lexsort((sizes, held @ shares[group]))[0]
        held[chosen] += shares[group]
        sizes[chosen] += counts[group].sum()
    return np.asarray(numbers[groups])


def class_name(code: int, legend: Legend | None) -> str:
    """Name a class by code and, where a legend knows it, by name."""
    return (
        f"Class {code} ({legend[code].name})"
        if legend and code in legend
        else f"Class {code}"
    )


def check_classes(samples: Samples) -> None:
    """Refuse samples that no classifier can be trained on."""
    codes = np.unique(samples.labels)
    if len(codes) < 2:
        found = f"only class {codes[0]}" if len(codes) else "no sample"
        raise SplitError(
            f"Folds need samples of at least two classes, got {found}; label more pixels."
        )


def check_members(samples: Samples, n: int, legend: Legend | None) -> None:
    """Refuse a class that cannot give a sample to every fold."""
    codes, counts = np.unique(samples.labels, return_counts=True)
    least = int(counts.argmin())
    code, count = int(codes[least]), int(counts[least])
    if count >= n:
        return
    fewer = f"use at most {count} folds, " if count > 1 else ""
    raise SplitError(
        f"{class_name(code, legend)} has {counted(count, 'sample')}, fewer than "
        f"the {n} folds; {fewer}label more of it or drop the class."
    )


def check_groups(
    groups: Positions, n: int, what: str, way_out: str, *, size: str = ""
) -> None:
    """Refuse fewer groups than folds."""
    count = int(groups.max()) + 1
    if count >= n:
        return
    fewer = f"at most {count} folds or " if count > 1 else ""
    raise SplitError(
        f"The samples lie in {counted(count, what)}{size}, fewer than the {n} folds; "
        f"use {fewer}{way_out}."
    )


def check_number(n: int) -> None:
    """Refuse a number of folds that leaves nothing to hold out."""
    if n < 2:
        raise SplitError(f"Cross-validation needs at least 2 folds, got {n}; use 10.")


def check_width(guard: int) -> None:
    """Refuse a guard that is no width."""
    if guard < 0:
        raise SplitError(f"The guard is a width in pixels from 0, got {guard}; use 4.")


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: which samples train, which are held out, and which do neither."""

    train: Positions
    """Positions of the samples to train on."""
    test: Positions
    """Positions of the samples held out and scored."""
    guard: Positions
    """Positions of the samples left out because they lie near a held-out one."""
    unscored: Positions
    """Positions of the samples held out whose class no training sample is left of."""

    def to_json(self) -> dict[str, int]:
        """Return the size of each part."""
        return {name: len(part) for name, part in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds over some samples, proved disjoint and a guard apart.

    Why it exists: an accuracy by cross-validation is worth what its folds are
    worth.  It is a scikit-learn splitter for exactly these samples, in their
    order: ``GridSearchCV(…, cv=folds)``.
    """

    samples: Samples
    """The samples that are folded."""
    parts: tuple[Fold, ...]
    """The folds."""
    kind: str = "given"
    """How they were made: random, blocks, clusters, or given."""
    guard: int = 0
    """Pixels that a held-out sample is at least away from the nearest training sample,
    by Chebyshev distance; it is farther away than this."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the maker, as plain values."""
    notes: tuple[str, ...] = ()
    """What is not scored and why, one sentence each, for people."""

    def __post_init__(self) -> None:
        """Prove that the parts of each fold are disjoint and the guard apart."""
        for number, fold in enumerate(self.parts, start=1):
            _prove_disjoint(fold, len(self.samples), number)
            if self.guard and _near(self.samples, fold.test, fold.train, self.guard).any():
                raise SplitError(
                    f"Fold {number} must keep its held-out samples more than {self.guard} "
                    "pixels from the training ones, but some are nearer; make the folds anew."
                )

    def __len__(self) -> int:
        """Count the folds."""
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[Positions, Positions]]:
        """Go through the folds as (training positions, held-out positions)."""
        return ((fold.train, fold.test) for fold in self.parts)

    def split(
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Positions, Positions]]:
        """Go through the folds as scikit-learn asks for them.

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
        """Count the folds, as scikit-learn asks for it."""
        return len(self.parts)

    @cached_property
    def scored(self) -> int:
        """Held-out samples that are scored, in all folds together."""
        return sum(len(fold.test) for fold in self.parts)

    def near(self, distance: int) -> float:
        """Return the share of scored samples with a training sample so many pixels away."""
        close = [
            np.count_nonzero(_near(self.samples, fold.test, fold.train, distance))
            for fold in self.parts
        ]
        return sum(close) / self.scored

    def to_json(self) -> dict[str, Any]:
        """Return how the folds were made and what they hold, as plain values."""
        return {
            "kind": self.kind,
            "settings": dict(self.settings),
            "samples": len(self.samples),
            "scored": self.scored,
            "folds": [fold.to_json() for fold in self.parts],
            "touching": self.near(1),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class RandomFolds:
    """Deal the samples of every class to the folds at random.

    Why it exists: the folds of LIBSVM and of most published searches.
    Neighbours of one field land on both sides, so the accuracy flatters.

    Parameters
    ----------
    n : int
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

    n: int = 10
    """Number of folds."""

    def __post_init__(self) -> None:
        """Refuse a number of folds that leaves nothing to hold out."""
        check_number(self.n)

    def folds(
        self, samples: Samples, *, seed: int = 0, legend: Legend | None = None
    ) -> Folds:
        """Make folds of about one size, each with its share of every class.

        Raises
        ------
        SplitError
            If a class has fewer samples than there are folds, or is alone.
        """
        check_classes(samples)
        check_members(samples, self.n, legend)
        rng = np.random.default_rng(seed)
        numbers, dealt = np.empty(len(samples), dtype=np.intp), 0
        for code in np.unique(samples.labels):
            own = rng.permutation(np.flatnonzero(samples.labels == code))
            numbers[own] = (dealt + np.arange(len(own))) % self.n
            dealt += len(own)
        return _folded(samples, numbers, self, seed=seed, legend=legend)


@dataclass(frozen=True)
class BlockFolds:
    """Hold out whole square blocks, with a guard around the held-out samples.

    Why it exists: parameters chosen on neighbours of the training samples suit
    the fields they have seen.  Blocks are dealt so that every class is spread
    over as many folds as it can be.

    Parameters
    ----------
    n : int
        Number of folds, from 2.
    size : int
        Side of a block in pixels; the first begins at a seeded place.
    guard : int
        Training samples within so many pixels (Chebyshev) of a held-out sample
        are left out of the fold.

    Examples
    --------
    >>> labels = np.repeat(np.repeat([[1, 2]], 6, axis=1), 4, axis=0)
    >>> folds = BlockFolds(2, size=3, guard=1).folds(Samples.of(labels), seed=1)
    >>> folds.parts[0].to_json()
    {'train': 8, 'test': 24, 'guard': 16, 'unscored': 0}
    """

    n: int = 10
    """Number of folds."""
    size: int = 15
    """Side of a block in pixels."""
    guard: int = 4
    """Pixels around held-out samples that do not train."""

    def __post_init__(self) -> None:
        """Refuse numbers, sizes and guards that no image could give."""
        check_number(self.n)
        check_width(self.guard)
        if self.size < 1:
            raise SplitError(f"A block must be at least 1 pixel wide, got {self.size}.")

    def folds(
        self, samples: Samples, *, seed: int = 0, legend: Legend | None = None
    ) -> Folds:
        """Make folds of whole blocks.

        Raises
        ------
        SplitError
            If there are fewer blocks than folds, or the guard leaves nothing to
            train on.
        """
        check_classes(samples)
        rng = np.random.default_rng(seed)
        origin = rng.integers(self.size, size=2)
        rows, cols = (samples.rows + origin[0], samples.cols + origin[1])
        across = int(cols.max()) // self.size + 1
        _, groups = np.unique(
            rows // self.size * across + cols // self.size, return_inverse=True
        )
        size = f" of {self.size} × {self.size} pixels"
        check_groups(groups, self.n, "block", "smaller blocks", size=size)
        numbers = deal(samples.labels, groups, self.n, rng)
        return _folded(samples, numbers, self, seed=seed, legend=legend)


@dataclass(frozen=True)
class ClusterFolds:
    """Hold out whole clusters: fields, as far as the samples show them.

    Why it exists: a block may cut a field in two; a cluster is the field.
    Samples of one class no farther apart than ``gap`` pixels belong together,
    link by link; by default that is the guard, which then takes samples of other
    classes alone.

    Parameters
    ----------
    n : int
        Number of folds, from 2.
    guard : int
        Training samples within so many pixels (Chebyshev) of a held-out sample
        are left out of the fold.
    gap : int, optional
        Pixels over which samples are linked, at least 1; the guard by default.
        1 makes clusters of connected fields, corners included.

    Examples
    --------
    >>> samples = Samples.of([[1, 1, 0, 0, 1, 0, 2, 2, 0, 0, 2]])
    >>> for train, test in ClusterFolds(2, guard=1).folds(samples, seed=0):
    ...     print(train, test)
    [0 1 5] [2 3 4]
    [2 3 4] [0 1 5]
    """

    n: int = 10
    """Number of folds."""
    guard: int = 4
    """Pixels around held-out samples that do not train."""
    gap: int | None = None
    """Pixels over which samples of one class are linked; None = the guard."""

    def __post_init__(self) -> None:
        """Refuse numbers and guards that no image could give."""
        check_number(self.n)
        check_width(self.guard)

    def folds(
        self, samples: Samples, *, seed: int = 0, legend: Legend | None = None
    ) -> Folds:
        """Make folds of whole clusters.

        Raises
        ------
        SplitError
            If there are fewer clusters than folds, or the guard leaves nothing
            to train on.
        """
        check_classes(samples)
        gap = self.guard if self.gap is None else self.gap
        groups = clusters(samples, max(gap, 1))
        check_groups(groups, self.n, "cluster", "folds by blocks")
        numbers = deal(samples.labels, groups, self.n, np.random.default_rng(seed))
        return _folded(samples, numbers, self, seed=seed, legend=legend)


Maker = RandomFolds | BlockFolds | ClusterFolds

_KINDS = {RandomFolds: "random", BlockFolds: "blocks", ClusterFolds: "clusters"}


def _folded(
    samples: Samples, numbers: Positions, maker: Maker, *, seed: int, legend: Legend | None
) -> Folds:
    """Make folds of the fold number of each sample, and say what they cannot score."""
    guard = getattr(maker, "guard", 0)
    parts = [_fold(samples, numbers == number, guard) for number in range(maker.n)]
    usable = [fold for fold in parts if len(fold.test)]
    if len(usable) < 2:
        raise SplitError(
            f"A guard of {guard} pixels leaves {len(usable)} of {maker.n} folds with samples "
            "of two classes to train on and one of them to hold out; use a smaller guard "
            "or folds at random."
        )
    return Folds(
        samples,
        tuple(usable),
        kind=_KINDS[type(maker)],
        guard=guard,
        settings={key: value for key, value in asdict(maker).items() if value is not None}
        | {"seed": seed},
        notes=(*_lost_folds(parts), *_lost_classes(samples, parts, legend)),
    )


def _fold(samples: Samples, held: Mask, guard: int) -> Fold:
    """Make one fold of the samples that are to be held out."""
    inside, outside = np.flatnonzero(held), np.flatnonzero(~held)
    near = _near(samples, outside, inside, guard) if guard else np.zeros(len(outside), bool)
    train = outside[~near]
    known = np.unique(samples.labels[train])
    # A single class teaches nothing: what is held out of it cannot be mistaken.
    learnt = np.isin(samples.labels[inside], known if len(known) > 1 else [])
    return Fold(train, inside[learnt], outside[near], inside[~learnt])


def _near(samples: Samples, which: Positions, others: Positions, distance: int) -> Mask:
    """Tell which samples lie within a Chebyshev distance of any of the others."""
    places = np.column_stack((samples.rows, samples.cols))
    if not len(others):
        return np.zeros(len(which), dtype=bool)
    gaps, _ = KDTree(places[others]).query(
        places[which], p=np.inf, distance_upper_bound=distance + 0.5
    )
    return np.asarray(np.isfinite(gaps))


def _prove_disjoint(fold: Fold, count: int, number: int) -> None:
    """Raise unless the parts of a fold are disjoint and make up all samples."""
    together = np.sort(np.concatenate(list(vars(fold).values())))
    if not np.array_equal(together, np.arange(count)):
        raise SplitError(
            f"The parts of fold {number} must be disjoint and together all {count} samples; "
            "make the folds anew."
        )


def _lost_folds(parts: list[Fold]) -> list[str]:
    lost = [number for number, fold in enumerate(parts, start=1) if not len(fold.test)]
    if not lost:
        return []
    one = len(lost) == 1
    return [
        f"Fold{'' if one else 's'} {', '.join(map(str, lost))} of {len(parts)} "
        f"{'is' if one else 'are'} left out: too little is left there to train on."
    ]


def _lost_classes(samples: Samples, parts: list[Fold], legend: Legend | None) -> list[str]:
    """Name the classes that some fold cannot have on both of its sides."""
    lost = samples.labels[np.concatenate([fold.unscored for fold in parts])]
    notes = []
    for code, count in zip(*np.unique(lost, return_counts=True), strict=True):
        total = np.count_nonzero(samples.labels == code)
        whose = "its" if count == 1 else "their"
        some = f"{count} of its {total} samples {'is' if count == 1 else 'are'}"
        notes.append(
            f"{class_name(int(code), legend)}: {'its only sample is' if total == 1 else some} "
            f"not scored, as {whose} fold leaves none of the class to train on."
        )
    return notes
