"""Samples, classes and folds of a cross-validation, checked once for all C and gamma."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.kernel import BlockMatrix, SortedSamples
from hypercover.classifiers.svm.threads import default_threads
from hypercover.errors import CallError, SplitError
from hypercover.memory import available_bytes
from hypercover.types import Array, Floats, Indices, Mask, Singles

_MAX_FEATURE = 1e15
"""Largest feature whose squared distances fit into single precision."""
_MAX_GAMMA = 1e38
"""Largest gamma in single precision."""

Folds = Sequence[tuple[Indices, Indices]]


@dataclass(frozen=True, eq=False)
class CVProblem:
    """Checked samples, classes and folds, with shared distances."""

    samples: SortedSamples
    """Samples sorted by class."""
    train_mask: Mask
    """Training samples of each fold (fold, sample)."""
    test_mask: Mask
    """Held-out samples of each fold (fold, sample)."""
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
        memory: int | None = None,
        sharing: int = 1,
    ) -> "CVProblem":
        """Check samples and folds and sort the samples by class.

        Several problems ``sharing`` the memory have smaller caches; the problem
        being solved may use all of it.

        Raises
        ------
        CallError
            If the features are not finite, there is only one class, or the largest
            pair of classes does not fit in memory.
        SplitError
            If a fold is not valid.
        """
        features, codes = check_samples(X, y)
        samples = SortedSamples.sort(features, codes)
        train_mask, test_mask = _fold_masks(folds, samples)
        budget = available_bytes() // 2 if memory is None else int(memory)
        _check_pairs(samples.counts, budget)
        # Half for distances, half for the kernel of one gamma.
        rest = max(0, budget - default_threads() * _pair_bytes(samples.counts))
        rest //= 2 * sharing
        tiles = BlockMatrix(
            samples.squared_distances, rest, _diagonal_bytes(samples.counts)
        )
        return cls(samples, train_mask, test_mask, budget, rest, tiles)

    def kernels(self, gamma: float) -> BlockMatrix:
        """Return the kernel minus one, exp(-gamma · distance²) - 1, in blocks between classes."""

        def compute(i: int, j: int) -> Singles:
            # Infinite distances give the right kernel.
            with np.errstate(over="ignore"):
                kernel = self.distances[i, j] * np.float32(-min(gamma, _MAX_GAMMA))
            return np.asarray(np.expm1(kernel, out=kernel))

        return BlockMatrix(compute, self.cache_bytes, _diagonal_bytes(self.samples.counts))

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


def check_positive(values: Sequence[Any], what: str) -> list[float]:
    """Return numbers after checking that they are positive and finite.

    Raises
    ------
    CallError
        If one is not, or the list is empty.
    """
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0.0 < float(value) < np.inf:
            raise CallError(
                f"Every {what} must be a finite number above 0, got {value!r}; use for "
                "example 1."
            )
    if not len(values):
        raise CallError(f"The grid needs at least one {what}; give for example [1].")
    return [float(value) for value in values]


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
        raise CallError(
            "The features must be finite numbers, but some are NaN or infinite; leave "
            "out pixels without data."
        )
    if np.abs(features).max(initial=0.0) > _MAX_FEATURE:
        raise CallError(
            f"The features must not exceed {_MAX_FEATURE:g}, got "
            f"{np.abs(features).max():g}; scale them."
        )
    if len(np.unique(codes)) < 2:
        raise CallError(
            f"A search needs samples of at least two classes, got {len(np.unique(codes))}; "
            "label pixels of another class."
        )
    return features, codes


def _fold_masks(folds: Folds, samples: SortedSamples) -> tuple[Mask, Mask]:
    """Return training and held-out samples as masks (fold, sample) of the sorted samples."""
    n = len(samples.order)
    train_mask, test_mask = np.zeros((2, len(folds), n), dtype=bool)
    if not len(folds):
        raise SplitError("A search needs at least one fold, got none.")
    for number, (train, test) in enumerate(folds):
        for where, positions in ((train_mask, train), (test_mask, test)):
            rows = np.asarray(positions)
            whole = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows)
            if not whole or rows.min() < 0 or rows.max() >= n:
                raise SplitError(
                    f"Fold {number + 1} must list training and held-out samples from 0 to "
                    f"{n - 1}, but is empty or lists others; check the splitter."
                )
            where[number, rows] = True
    if (train_mask & test_mask).any():
        raise SplitError(
            "A fold holds out samples that it trains on; its parts must be disjoint."
        )
    train_mask, test_mask = train_mask[:, samples.order], test_mask[:, samples.order]
    for number, row in enumerate(train_mask):
        if sum(row[span].any() for span in samples.spans) < 2:
            raise SplitError(
                f"Fold {number + 1} has training samples of fewer than two classes; use "
                "fewer folds or smaller blocks."
            )
    return train_mask, test_mask


def _pair_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the largest pair: its kernel and a submatrix of it."""
    return 2 * 4 * sum(sorted(counts)[-2:]) ** 2


def _diagonal_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the diagonal blocks."""
    return 4 * sum(count**2 for count in counts)


def _check_pairs(counts: Sequence[int], budget: int) -> None:
    """Refuse a problem whose largest pair of classes exceeds the memory."""
    needed = _pair_bytes(counts)
    if needed > budget:
        raise CallError(
            f"The two largest classes have {sum(sorted(counts)[-2:])} samples together, "
            f"whose kernel takes {needed / 2**30:.2g} GiB, more than the "
            f"{budget / 2**30:.2g} GiB a search may use here; draw fewer training pixels "
            "or allow more memory."
        )
