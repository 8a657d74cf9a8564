"""A cross-validation problem: samples, classes and folds, checked once for all cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.kernel import Block, BlockMatrix, SortedSamples
from hypercover.classifiers.svm.threads import default_threads
from hypercover.errors import CallError, SplitError
from hypercover.memory import available_bytes

__all__ = ["CVProblem", "Folds", "check_positive", "check_samples"]

_MAX_FEATURE = 1e15
"""Value of a feature whose squared distances still fit into single precision."""
_MAX_GAMMA = 1e38
"""Gamma beyond which single precision has no number."""

Folds = Sequence[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]


@dataclass(frozen=True, eq=False)
class CVProblem:
    """Samples, their classes and folds, checked and sorted, with shared distances."""

    samples: SortedSamples
    """Samples sorted by class."""
    inside: npt.NDArray[np.bool_]
    """Whether a sample trains (fold, sample)."""
    held: npt.NDArray[np.bool_]
    """Whether a sample is held out (fold, sample)."""
    budget: int
    """Bytes that distances and kernels may take, those in use included."""
    tile_bytes: int
    """Bytes of distances, and as many of kernels, that may be kept."""
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

        Several problems ``sharing`` the memory keep less between their rows each;
        what is being solved may take all of it.

        Raises
        ------
        CallError
            If the features are not finite numbers, there is one class, or the
            memory does not suffice for the largest pair of classes.
        SplitError
            If a fold is not valid.
        """
        features, codes = check_samples(X, y)
        samples = SortedSamples.sort(features, codes)
        inside, held = _fold_masks(folds, samples)
        budget = available_bytes() // 2 if memory is None else int(memory)
        _check_pairs(samples.counts, budget)
        # Half for distances, which serve every gamma, half for the kernel of one.
        rest = max(0, budget - default_threads() * _pair_bytes(samples.counts))
        rest //= 2 * sharing
        tiles = BlockMatrix(
            samples.squared_distances, rest, _diagonal_bytes(samples.counts)
        )
        return cls(samples, inside, held, budget, rest, tiles)

    def kernels(self, gamma: float) -> BlockMatrix:
        """Return the kernels less one, exp(-gamma · distance²) - 1, between classes."""

        def make(i: int, j: int) -> Block:
            # Infinitely far is as good as far.
            with np.errstate(over="ignore"):
                kernel = self.distances[i, j] * np.float32(-min(gamma, _MAX_GAMMA))
            return np.asarray(np.expm1(kernel, out=kernel))

        return BlockMatrix(make, self.tile_bytes, _diagonal_bytes(self.samples.counts))

    def threads(self, n_jobs: int | None) -> int:
        """Return how many pairs can be solved at once: one a core, as memory allows."""
        if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0):
            raise CallError(
                "The number of threads must be a whole number that is not 0, got "
                f"{n_jobs!r}; use None or -1 for one a core."
            )
        wanted = n_jobs if n_jobs is not None and n_jobs > 0 else default_threads()
        return max(1, min(wanted, self.budget // _pair_bytes(self.samples.counts)))

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Whether a class has training samples (fold, class)."""
        spans = self.samples.spans
        return np.stack([self.inside[:, span].any(axis=1) for span in spans], axis=1)


def check_positive(values: Sequence[Any], what: str) -> list[float]:
    """Return numbers after checking that each is above zero and finite.

    Raises
    ------
    CallError
        If one is not, or there is none.
    """
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0.0 < float(value) < np.inf:
            raise CallError(
                f"Every {what} must be a finite number above 0, got {value!r}; use for "
                "example 1."
            )
    if not len(values):
        raise CallError(f"The grid needs at least one {what}, got none.")
    return [float(value) for value in values]


def check_samples(
    X: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Return features and classes after checking that one can be searched for the other.

    Raises
    ------
    CallError
        If the features are no table of finite numbers, the classes do not fit
        them, or there is only one.
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
            "out the pixels without data."
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


def _fold_masks(
    folds: Folds, samples: SortedSamples
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which samples train and which are held out (fold, sample), as sorted."""
    n = len(samples.order)
    inside, held = np.zeros((2, len(folds), n), dtype=bool)
    if not len(folds):
        raise SplitError("A search needs at least one fold, got none.")
    for number, (train, test) in enumerate(folds):
        for where, positions in ((inside, train), (held, test)):
            rows = np.asarray(positions)
            whole = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows)
            if not whole or rows.min() < 0 or rows.max() >= n:
                raise SplitError(
                    f"Fold {number + 1} must name training and held-out samples from 0 to "
                    f"{n - 1}; it names none or others."
                )
            where[number, rows] = True
    if (inside & held).any():
        raise SplitError(
            "A fold holds out samples that it trains on; its parts must be apart."
        )
    inside, held = inside[:, samples.order], held[:, samples.order]
    for number, row in enumerate(inside):
        if sum(row[span].any() for span in samples.spans) < 2:
            raise SplitError(
                f"Fold {number + 1} has training samples of fewer than two classes; use "
                "fewer folds or smaller blocks."
            )
    return inside, held


def _pair_bytes(counts: Sequence[int]) -> int:
    """Return what the largest pair takes: its kernel and what is cut out of it."""
    return 2 * 4 * sum(sorted(counts)[-2:]) ** 2


def _diagonal_bytes(counts: Sequence[int]) -> int:
    """Return what the blocks of each class with itself take."""
    return 4 * sum(count**2 for count in counts)


def _check_pairs(counts: Sequence[int], budget: int) -> None:
    """Refuse a problem whose largest pair of classes alone exceeds the memory."""
    needed = _pair_bytes(counts)
    if needed > budget:
        raise CallError(
            f"The two largest classes have {sum(sorted(counts)[-2:])} samples together, "
            f"whose kernel takes {needed / 2**30:.2g} GiB, more than the "
            f"{budget / 2**30:.2g} GiB a search may use here; draw fewer training pixels "
            "or allow more memory."
        )
