"""The problem of a cross-validation: its samples, folds and kernels, checked and shared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.threads import default_threads
from hypercover.errors import CallError, ModelError, SplitError
from hypercover.memory import available_bytes
from hypercover.types import Array, Floats, Indices, Mask, Singles

_MAX_FEATURE = 1e15
"""Largest feature whose squared distances fit into single precision."""
_MAX_GAMMA = 1e38
"""Largest gamma in single precision."""

Folds = Sequence[tuple[Indices, Indices]]


@dataclass(frozen=True, eq=False)
class SortedSamples:
    """Samples sorted by class, so that pairs of classes are blocks of the kernel."""

    features: Floats
    """Features (sample, feature), class after class."""
    order: Indices
    """Original index of each sample."""
    classes: Array
    """Class codes in ascending order."""
    spans: tuple[slice, ...]
    """Rows of each class."""

    @classmethod
    def sort(cls, X: Floats, y: Array) -> "SortedSamples":
        """Sort samples by class, preserving the order within a class."""
        order = np.argsort(y, kind="stable")
        classes, counts = np.unique(y, return_counts=True)
        ends = [0, *np.cumsum(counts).tolist()]
        spans = tuple(slice(*ends) for ends in pairwise(ends))
        return cls(np.ascontiguousarray(X[order]), order, classes, spans)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of samples of each class."""
        return tuple(span.stop - span.start for span in self.spans)

    def squared_distances(self, i: int, j: int) -> Singles:
        """Return the squared distances between the samples of two classes."""
        first, second = self.features[self.spans[i]], self.features[self.spans[j]]
        # In double precision, because large numbers cancel.
        squares = first @ second.T
        squares *= -2.0
        lengths = [np.einsum("ij,ij->i", side, side) for side in (first, second)]
        if i == j:
            # In one operation, so that rounding keeps the matrix symmetric.
            squares += np.add.outer(*lengths)
            np.fill_diagonal(squares, 0.0)
        else:
            squares += lengths[0][:, np.newaxis]
            squares += lengths[1]
        np.maximum(squares, 0.0, out=squares)
        return squares.astype(np.float32)


@dataclass(eq=False)
class BlockMatrix:
    """Symmetric matrix in blocks between classes, computed on demand and cached.

    Distances are shared by every gamma and kernels by every C and fold.  If the
    matrix exceeds the memory, blocks are recomputed; diagonal blocks, which every
    pair of a class needs, are cached first.
    """

    compute: Callable[[int, int], Singles]
    """Computes the block between classes i ≤ j."""
    budget: int
    """Remaining bytes of the cache."""
    reserved: int = 0
    """Bytes of the cache reserved for diagonal blocks."""
    _cache: dict[tuple[int, int], Singles] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __getitem__(self, pair: tuple[int, int]) -> Singles:
        """Return the block between two classes, in either order."""
        i, j = pair
        if i > j:
            return self[j, i].T
        with self._lock:
            cached = self._cache.get(pair)
        if cached is not None:
            return cached
        block = self.compute(i, j)
        with self._lock:
            room = self.budget if i == j else self.budget - self.reserved
            if pair not in self._cache and block.nbytes <= room:
                self._cache[pair] = block
                self.budget -= block.nbytes
                self.reserved = max(0, self.reserved - block.nbytes * (i == j))
        return block

    def block(self, i: int, j: int) -> Singles:
        """Return the symmetric matrix of the samples of two classes."""
        n = self[i, i].shape[0]
        size = n + self[j, j].shape[0]
        block = np.empty((size, size), np.float32)
        block[:n, :n], block[n:, n:] = self[i, i], self[j, j]
        between = self[i, j]
        block[:n, n:], block[n:, :n] = between, between.T
        return block


@dataclass(frozen=True, eq=False)
class CVProblem:
    """Checked samples, classes and folds, with shared distances."""

    samples: SortedSamples
    """Samples sorted by class."""
    train_mask: Mask
    """Training samples of each fold (fold, sample)."""
    test_mask: Mask
    """Held-out samples of each fold (fold, sample)."""
    folds: tuple[int, ...]
    """Number of each fold, from 0, among all folds of the cross-validation."""
    budget: int
    """Bytes for distances and kernels, including those in use."""
    cache_bytes: int
    """Bytes of the cache of distances, and of that of kernels."""
    distances: BlockMatrix
    """Squared distances between classes."""

    @classmethod
    def of(
        cls,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        folds: Folds,
        *,
        numbers: Sequence[int] | None = None,
        memory: int | None = None,
        sharing: int = 1,
    ) -> "CVProblem":
        """Check samples and folds and sort the samples by class.

        ``numbers`` are those of the folds among all, where features are preprocessed
        differently for each fold.  Several problems ``sharing`` the memory have smaller
        caches; the problem being solved may use all of it.

        Raises
        ------
        CallError
            If the features are not finite, there is only one class, or the largest
            pair of classes does not fit in memory.
        SplitError
            If a fold is not valid.
        """
        samples = SortedSamples.sort(*check_samples(X, y))
        train_mask, test_mask = _fold_masks(folds, samples)
        numbers = range(len(folds)) if numbers is None else numbers
        budget = available_bytes() // 2 if memory is None else int(memory)
        pair_bytes = _pair_bytes(samples.counts)
        if pair_bytes > budget:
            raise CallError(
                f"The two largest classes have {sum(sorted(samples.counts)[-2:])} samples "
                f"together, whose kernel takes {pair_bytes / 2**30:.2g} GiB, more than the "
                f"{budget / 2**30:.2g} GiB a search may use here; draw fewer training pixels "
                "or allow more memory."
            )
        # Half for distances, half for the kernel of one gamma.
        rest = max(0, budget - default_threads() * pair_bytes) // (2 * sharing)
        tiles = BlockMatrix(
            samples.squared_distances, rest, _diagonal_bytes(samples.counts)
        )
        return cls(samples, train_mask, test_mask, tuple(numbers), budget, rest, tiles)

    def kernels(self, gamma: float) -> BlockMatrix:
        """Return the kernel minus one, exp(-gamma · distance²) - 1, in blocks between classes."""

        def compute(i: int, j: int) -> Singles:
            # Infinite distances give the right kernel.
            with np.errstate(over="ignore"):
                kernel = self.distances[i, j] * np.float32(-min(gamma, _MAX_GAMMA))
            return np.asarray(np.expm1(kernel, out=kernel))

        return BlockMatrix(compute, self.cache_bytes, _diagonal_bytes(self.samples.counts))

    def gamma_value(self, gamma: float | str) -> float:
        """Return a gamma that may be "scale", for the samples that train, or "auto"."""
        if isinstance(gamma, str) and gamma in ("scale", "auto"):
            trained = self.samples.features[self.train_mask.any(axis=0)]
            return kernel_gamma(gamma, trained)
        return check_positive([gamma], "gamma")[0]

    def threads(self, n_jobs: int | None) -> int:
        """Return the number of pairs to solve in parallel: one per core, as memory allows."""
        if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0):
            raise CallError(
                "The number of threads must be a whole number that is not 0, got "
                f"{n_jobs!r}; use None or -1 for one per core."
            )
        count = n_jobs if n_jobs is not None and n_jobs > 0 else default_threads()
        return max(1, min(count, self.budget // _pair_bytes(self.samples.counts)))

    @property
    def present(self) -> Mask:
        """Classes with training samples in each fold (fold, class)."""
        spans = self.samples.spans
        return np.stack([self.train_mask[:, span].any(axis=1) for span in spans], axis=1)


def kernel_gamma(gamma: float | str, features: Floats) -> float:
    """Return a gamma that may be "scale" or "auto", as in scikit-learn.

    Examples
    --------
    >>> kernel_gamma("auto", np.array([[0.0, 2.0], [2.0, 0.0]]))
    0.5
    """
    n_features = float(features.shape[1])
    if gamma == "auto":
        return 1.0 / n_features
    if gamma == "scale":
        return 1.0 / (n_features * (float(np.var(features)) or 1.0))
    return float(gamma)


def check_positive(values: Sequence[Any], what: str) -> list[float]:
    """Return numbers after checking that they are positive and finite.

    Raises
    ------
    ModelError
        If one is not, or the list is empty.
    """
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0.0 < float(value) < np.inf:
            raise ModelError(
                f"The {what} must be a finite number above 0, got {value!r:.60}; use for example 1."
            )
    if not len(values):
        raise ModelError(f"The grid needs at least one {what}; give for example [1].")
    return [float(value) for value in values]


def check_class_weight(class_weight: Any) -> None:
    """Refuse class weights that are neither None, "balanced" nor positive numbers by code.

    Raises
    ------
    ModelError
        If they are something else.
    """
    if isinstance(class_weight, Mapping):
        for weight in class_weight.values():
            check_positive([weight], "class weight")
    elif class_weight is not None and class_weight != "balanced":
        raise ModelError(
            "The class weights must be None, 'balanced' or a number above 0 for each code, got "
            f"{class_weight!r:.60}; use for example 'balanced'."
        )


def check_samples(X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Array]:
    """Return features and class codes after checking them.

    Raises
    ------
    CallError
        If the features are not a table of finite numbers, or there is not one class
        code per sample, or only one class.
    """
    try:
        features, codes = np.asarray(X, dtype=np.float64), np.asarray(y)
    except (TypeError, ValueError) as error:
        raise CallError(
            f"A search needs features (sample, feature) that are numbers: {error}."
        ) from error
    if features.ndim != 2 or codes.shape != features.shape[:1]:
        raise CallError(
            "A search needs features (sample, feature) and one class for each sample, got "
            f"the shapes {features.shape} and {codes.shape}."
        )
    if not np.isfinite(features).all():
        raise CallError("Some features are NaN or infinite; leave out pixels without data.")
    largest, n_classes = np.abs(features).max(initial=0.0), len(np.unique(codes))
    if largest > _MAX_FEATURE:
        raise CallError(
            f"Features may be at most {_MAX_FEATURE:g}, got {largest:g}; scale them."
        )
    if n_classes < 2:
        raise CallError(
            f"A search needs samples of at least two classes, got {n_classes}; label more."
        )
    return features, codes


def _fold_masks(folds: Folds, samples: SortedSamples) -> tuple[Mask, Mask]:
    """Return training and held-out samples as masks (fold, sample) of the sorted samples."""
    n = len(samples.order)
    train_mask, test_mask = masks = np.zeros((2, len(folds), n), dtype=bool)
    if not len(folds):
        raise SplitError("A search needs at least one fold, got none.")
    for number, fold in enumerate(folds):
        for mask, positions in zip(masks, fold, strict=True):
            rows = np.asarray(positions)
            whole = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows)
            if not whole or rows.min() < 0 or rows.max() >= n:
                raise SplitError(
                    f"Fold {number + 1} must list training and held-out samples from 0 to "
                    f"{n - 1}, but is empty or lists others; check the splitter."
                )
            mask[number, rows] = True
    if (train_mask & test_mask).any():
        raise SplitError(
            "A fold holds out samples that it trains on; its parts must be disjoint."
        )
    train_mask, test_mask = train_mask[:, samples.order], test_mask[:, samples.order]
    for number, row in enumerate(train_mask):
        if sum(row[span].any() for span in samples.spans) < 2:
            raise SplitError(
                f"Fold {number + 1} has training samples of fewer than two classes; use fewer folds."
            )
    return train_mask, test_mask


def _pair_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the largest pair: its kernel and a submatrix of it."""
    return 2 * 4 * sum(sorted(counts)[-2:]) ** 2


def _diagonal_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the diagonal blocks."""
    return 4 * sum(count**2 for count in counts)
