"""Cross-validation of RBF SVMs for one gamma and several C, sharing kernels and solutions.

A `CVProblem` holds the checked samples, folds and distances; `cross_validate_gamma` solves
it for one gamma.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from numbers import Integral, Real
from threading import Lock
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.smo import solve_folds
from hypercover.classifiers.svm.threads import default_threads, single_threaded_blas
from hypercover.errors import CallError, ModelError, SplitError
from hypercover.memory import available_bytes
from hypercover.types import Array, Floats, Indices, Ints, Mask, Report, Singles

_log = logging.getLogger(__name__)

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
    budget: int
    """Bytes for distances and kernels, including those in use."""
    cache_bytes: int
    """Bytes of the cache of distances, and of that of kernels."""
    distances: BlockMatrix
    """Squared distances between classes."""

    @classmethod
    def of(
        cls, X: npt.ArrayLike, y: npt.ArrayLike, folds: Folds, *, memory: int | None = None
    ) -> "CVProblem":
        """Check samples and folds and sort the samples by class.

        Parameters
        ----------
        X : array (sample, feature)
            Scaled features.
        y : array (sample,)
            Class codes.
        folds : sequence of (train, test)
            Indices of training and held-out samples.
        memory : int or None
            Bytes for distances and kernels; None takes half of the free memory.

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
        budget = available_bytes() // 2 if memory is None else int(memory)
        pair_bytes = _pair_bytes(samples.counts)
        if pair_bytes > budget:
            raise CallError(
                f"The two largest classes have {sum(sorted(samples.counts)[-2:])} samples, whose "
                f"kernel takes {pair_bytes / 2**30:.2g} GiB, more than the "
                f"{budget / 2**30:.2g} GiB "
                "allowed; draw fewer training pixels or allow more memory."
            )
        # Half for distances, half for the kernel of one gamma.
        rest = max(0, budget - default_threads() * pair_bytes) // 2
        diagonal = _diagonal_bytes(samples.counts)
        tiles = BlockMatrix(samples.squared_distances, rest, diagonal)
        return cls(samples, train_mask, test_mask, budget, rest, tiles)

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
                "The number of threads must be a whole number other than 0, got "
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
            "A search needs features (sample, feature) and one class for each sample, got the "
            f"shapes {features.shape} and {codes.shape}."
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
            f"A search needs samples of at least two classes, got {n_classes}; label pixels of another class."
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
                    f"Fold {number + 1} must list samples from 0 to {n - 1}; check the splitter."
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
                f"Fold {number + 1} has training samples of fewer than two classes; use "
                "fewer folds."
            )
    return train_mask, test_mask


def _pair_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the largest pair: its kernel and a submatrix of it."""
    return 2 * 4 * sum(sorted(counts)[-2:]) ** 2


def _diagonal_bytes(counts: Sequence[int]) -> int:
    """Return the bytes of the diagonal blocks."""
    return 4 * sum(count**2 for count in counts)


_SOLVING = 0.9
"""Progress after all SVMs are solved."""


@dataclass(frozen=True, eq=False)
class PairSolutions:
    """Solutions of the SVMs of one pair of classes."""

    first: Floats
    """Dual coefficients (C, fold, sample) of the samples of the first class, ≥ 0."""
    second: Floats
    """Dual coefficients (C, fold, sample) of the samples of the second class, ≤ 0."""
    thresholds: Floats
    """Subtracted from a decision (C, fold): LIBSVM's rho."""
    seconds: Floats
    """Processor time of each C."""
    steps: Ints
    """Optimisation steps of each C."""
    failures: int
    """Number of SVMs that did not converge."""


def solve_pair(
    samples: SortedSamples,
    kernels: BlockMatrix,
    train_mask: Mask,
    pair: tuple[int, int],
    C: Sequence[float],
    factors: Floats,
    tolerance: float,
) -> PairSolutions:
    """Solve the SVMs of a pair of classes for ascending C and all folds.

    Parameters
    ----------
    samples : SortedSamples
    kernels : BlockMatrix
        Kernels between classes, for one gamma.
    train_mask : array (fold, sample)
        Training samples of each fold, in the order of ``samples``.
    pair : (int, int)
        Indices of the classes, in ascending order.
    C : sequence of float
        In ascending order.
    factors : array (fold + 1, 2)
        Factors on C for the two classes: of all samples, then of each fold.
    tolerance : float
        LIBSVM's stopping tolerance.
    """
    i, j = pair
    spans, n = (samples.spans[i], samples.spans[j]), samples.counts[i]
    began = thread_time()
    kernel = kernels.block(i, j)
    signs = np.ones(len(kernel))
    signs[n:] = -1.0
    train_masks = np.hstack([train_mask[:, span] for span in spans])
    if len(train_mask) > 1:
        # All samples first: the folds start from their solution.
        train_masks = np.vstack([np.ones((1, len(kernel)), dtype=bool), train_masks])
    factors = factors[-len(train_masks) :].copy()
    betas, thresholds = np.zeros(train_masks.shape), np.zeros(len(train_masks))
    gradients = np.tile(-signs, (len(train_masks), 1))
    coefficients = np.empty((len(C), len(train_mask), len(kernel)))
    rhos = np.empty((len(C), len(train_mask)))
    steps, failures, previous_C = np.zeros(len(C), np.int64), 0, 0.0
    seconds = np.full(len(C), (thread_time() - began) / len(C))
    for position, value in enumerate(C):
        began = thread_time()
        steps[position], failed = solve_folds(
            kernel,
            train_masks,
            signs,
            float(value),
            previous_C,
            factors,
            gradients,
            betas,
            thresholds,
            tolerance,
        )
        failures += failed
        coefficients[position] = betas[-len(train_mask) :]
        rhos[position] = thresholds[-len(train_mask) :]
        previous_C = float(value)
        seconds[position] += thread_time() - began
    return PairSolutions(
        coefficients[..., :n], coefficients[..., n:], rhos, seconds, steps, failures
    )


def predict_held_out(
    kernels: BlockMatrix,
    solutions: Mapping[tuple[int, int], PairSolutions],
    k: int,
    held_out: Sequence[Indices],
    present: Mask,
) -> list[Indices]:
    """Predict the held-out samples of one class for every fold and C.

    One matrix product of a kernel block with the dual coefficients gives the
    decisions of all pairs that share a class.

    Parameters
    ----------
    kernels, solutions
        Kernels and solutions for one gamma.
    k : int
        The class whose samples are predicted.
    held_out : sequence of array
        For each fold, indices within class k of the held-out samples.
    present : array (fold, class)
        Classes with training samples in each fold.

    Returns
    -------
    list of array (C, sample)
        For each fold, indices of the classes with most votes, the first of those that
        tie, as in LIBSVM.
    """
    n_classes, n_values = present.shape[1], len(next(iter(solutions.values())).thresholds)
    pairs = {pair: at for at, pair in enumerate(combinations(range(n_classes), 2))}
    # In double precision: both sides are of the size of C and nearly cancel.
    decisions = [np.zeros((len(pairs), n_values, len(rows))) for rows in held_out]
    for i in range(n_classes):
        block = kernels[k, i]
        others = [j for j in range(n_classes) if j != i]
        at = [pairs[min(i, j), max(i, j)] for j in others]
        for fold, rows in enumerate(held_out):
            if len(rows):
                betas = [
                    solutions[i, j].first[:, fold]
                    if i < j
                    else solutions[j, i].second[:, fold]
                    for j in others
                ]
                stacked = np.concatenate(betas, dtype=np.float64)
                values = stacked @ block[rows].T
                decisions[fold][at] += values.reshape(len(others), n_values, -1)
    winners = []
    for fold, values in enumerate(decisions):
        votes = np.zeros((n_classes, *values.shape[1:]), dtype=np.int32)
        for i, j in combinations(np.flatnonzero(present[fold]).tolist(), 2):
            threshold = solutions[i, j].thresholds[:, fold, np.newaxis]
            for_first = values[pairs[i, j]] > threshold
            votes[i] += for_first
            votes[j] += ~for_first
        votes[~present[fold]] = -1
        winners.append(votes.argmax(axis=0))
    return winners


@dataclass(frozen=True, eq=False)
class GammaScores:
    """Cross-validation scores for one gamma."""

    gamma: float
    """Gamma of the kernel exp(-gamma · distance²)."""
    C: tuple[float, ...]
    """Values of C."""
    correct: Ints
    """Correctly predicted held-out samples (C, fold)."""
    counts: Ints
    """Held-out samples (fold,)."""
    n_support: Ints
    """Number of support vectors (C, fold)."""
    steps: Ints
    """Optimisation steps (C,)."""
    seconds: Floats
    """Processor time (C,)."""
    wall_seconds: float
    """Elapsed time."""

    @property
    def accuracy(self) -> Floats:
        """Share of correctly predicted held-out samples over all folds (C,)."""
        return np.asarray(self.correct.sum(axis=1) / self.counts.sum())


def cross_validate_gamma(
    problem: CVProblem,
    *,
    gamma: float | str,
    C: Sequence[float],
    class_weight: Mapping[Any, float] | str | None = None,
    tol: float = 1e-3,
    n_jobs: int | None = None,
    progress: Report | None = None,
) -> GammaScores:
    """Cross-validate RBF SVMs for one gamma and several C.

    Kernels are shared by every C and fold, and solutions are warm starts for the next
    C and for the folds.

    Parameters
    ----------
    problem : CVProblem
        Samples and folds; its distances are shared between several gamma.
    gamma : float, "scale" or "auto"
        Gamma of the kernel exp(-gamma · distance²).
    C : sequence of float
        In any order.
    class_weight : mapping from code to factor, "balanced" or None
        As in scikit-learn's SVC.
    tol : float
        LIBSVM's stopping tolerance.
    n_jobs : int or None
        Number of threads; None takes one per core.
    progress : callable
        Called with the completed share and a short description.

    Raises
    ------
    CallError
        If a parameter is not valid.
    """
    began = perf_counter()
    values, gamma = check_positive(C, "C"), problem.gamma_value(gamma)
    kernels, order = problem.kernels(gamma), np.argsort(values, kind="stable")
    ascending = [values[position] for position in order]
    with single_threaded_blas, ThreadPoolExecutor(problem.threads(n_jobs)) as pool:
        try:
            solutions = _solve_pairs(
                problem, kernels, ascending, class_weight, tol, pool, progress
            )
            correct, spent = _count_correct(problem, kernels, solutions, pool, progress)
        finally:
            pool.shutdown(cancel_futures=True)
    seconds = sum(pair.seconds for pair in solutions.values()) + spent / len(ascending)
    steps = np.sum([pair.steps for pair in solutions.values()], axis=0)
    back = np.argsort(order)
    return GammaScores(
        gamma,
        tuple(values),
        correct[back],
        problem.test_mask.sum(axis=1),
        _n_support(solutions, len(problem.samples.spans))[back],
        steps[back],
        np.asarray(seconds)[back],
        perf_counter() - began,
    )


def _solve_pairs(
    problem: CVProblem,
    kernels: BlockMatrix,
    C: Sequence[float],
    class_weight: Mapping[Any, float] | str | None,
    tolerance: float,
    pool: ThreadPoolExecutor,
    progress: Report | None,
) -> dict[tuple[int, int], PairSolutions]:
    """Solve all pairs of classes, the largest first."""
    samples, factors = problem.samples, _class_weights(problem, class_weight)
    pairs = combinations(range(len(samples.counts)), 2)
    effort = {(i, j): float(samples.counts[i] + samples.counts[j]) ** 2 for i, j in pairs}
    solutions: dict[tuple[int, int], PairSolutions] = {}
    total, done = sum(effort.values()), 0.0

    def solve(pair: tuple[int, int]) -> PairSolutions:
        mask, weights = problem.train_mask, factors[:, pair]
        return solve_pair(samples, kernels, mask, pair, C, weights, tolerance)

    largest_first = sorted(effort, key=lambda pair: -effort[pair])
    for pair, solution in zip(largest_first, pool.map(solve, largest_first), strict=True):
        solutions[pair] = solution
        done += effort[pair]
        if progress is not None:
            what = f"{len(solutions)} of {len(effort)} pairs of classes"
            progress(_SOLVING * done / total, what)
    failures = sum(solution.failures for solution in solutions.values())
    if failures:
        _log.warning("%d SVMs did not converge.", failures)
    return solutions


def _count_correct(
    problem: CVProblem,
    kernels: BlockMatrix,
    solutions: Mapping[tuple[int, int], PairSolutions],
    pool: ThreadPoolExecutor,
    progress: Report | None,
) -> tuple[Ints, float]:
    """Return the number of correctly predicted samples (C, fold), and the processor time."""
    spans, present = problem.samples.spans, problem.present

    def count(k: int) -> tuple[Ints, float]:
        began = thread_time()
        rows = [np.flatnonzero(fold) for fold in problem.test_mask[:, spans[k]]]
        winners = predict_held_out(kernels, solutions, k, rows, present)
        correct = [np.count_nonzero(labels == k, axis=1) for labels in winners]
        return np.stack(correct, axis=1), thread_time() - began

    hits, seconds = np.zeros((1, 1), dtype=np.int64), 0.0
    for done, (own, spent) in enumerate(pool.map(count, range(len(spans))), start=1):
        hits, seconds = hits + own, seconds + spent
        if progress is not None:
            share = _SOLVING + (1 - _SOLVING) * done / len(spans)
            progress(share, "predicting held-out samples")
    return hits, seconds


def _class_weights(
    problem: CVProblem, class_weight: Mapping[Any, float] | str | None
) -> Floats:
    """Return the class weights (fold + 1, class): of all samples, then of each fold."""
    check_class_weight(class_weight)
    spans, classes = problem.samples.spans, problem.samples.classes
    factors = np.ones((len(problem.train_mask) + 1, len(classes)))
    if isinstance(class_weight, Mapping):
        factors[:] = [float(class_weight.get(code, 1.0)) for code in classes.tolist()]
    elif class_weight == "balanced":
        starts = [span.start for span in spans]
        counts = np.add.reduceat(problem.train_mask, starts, axis=1, dtype=np.int64)
        counts = np.vstack([problem.samples.counts, counts])
        present = np.count_nonzero(counts, axis=1, keepdims=True)
        factors = counts.sum(axis=1, keepdims=True) / (present * np.maximum(counts, 1))
    return factors


def _n_support(solutions: Mapping[tuple[int, int], PairSolutions], n_classes: int) -> Ints:
    """Return the number of samples with a coefficient in any pair (C, fold)."""
    total = np.zeros_like(next(iter(solutions.values())).thresholds, dtype=np.int64)
    for k in range(n_classes):
        sides = [pair.first for (i, _), pair in solutions.items() if i == k]
        sides += [pair.second for (_, j), pair in solutions.items() if j == k]
        total += np.any([side != 0 for side in sides], axis=0).sum(axis=2)
    return total
