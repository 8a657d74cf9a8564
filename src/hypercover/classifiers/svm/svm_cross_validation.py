"""Cross-validation of RBF SVMs for one gamma and several C, sharing kernels and solutions."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.cv_problem import (
    BlockMatrix,
    CVProblem,
    Folds,
    SortedSamples,
    check_class_weight,
    check_positive,
)
from hypercover.classifiers.svm.smo import solve_folds
from hypercover.classifiers.svm.threads import single_threaded_blas
from hypercover.types import Floats, Indices, Ints, Mask, Report

_SOLVING = 0.9
"""Progress after all SVMs are solved."""

_log = logging.getLogger(__name__)


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
        For each fold, indices of the classes with most votes, counted as in LIBSVM.
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
    return [
        _majority_votes(values, pairs, solutions, fold, present[fold])
        for fold, values in enumerate(decisions)
    ]


def _majority_votes(
    decisions: Floats,
    pairs: Mapping[tuple[int, int], int],
    solutions: Mapping[tuple[int, int], PairSolutions],
    fold: int,
    present: Mask,
) -> Indices:
    """Return the class with most votes of all pairs, the first of those that tie."""
    votes = np.zeros((len(present), *decisions.shape[1:]), dtype=np.int32)
    for i, j in combinations(np.flatnonzero(present).tolist(), 2):
        threshold = solutions[i, j].thresholds[:, fold, np.newaxis]
        for_first = decisions[pairs[i, j]] > threshold
        votes[i] += for_first
        votes[j] += ~for_first
    votes[~present] = -1
    return np.asarray(votes.argmax(axis=0))


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
    X: npt.ArrayLike | CVProblem,
    y: npt.ArrayLike = (),
    folds: Folds = (),
    *,
    gamma: float | str,
    C: Sequence[float],
    class_weight: Mapping[Any, float] | str | None = None,
    tol: float = 1e-3,
    n_jobs: int | None = None,
    memory: int | None = None,
    progress: Report | None = None,
) -> GammaScores:
    """Cross-validate RBF SVMs for one gamma and several C.

    Kernels are shared by every C and fold, and solutions are warm starts for the next
    C and for the folds.

    Parameters
    ----------
    X : array (sample, feature) or CVProblem
        Scaled features.  A `CVProblem` shares its distances between several gamma.
    y : array (sample,)
        Class codes.
    folds : sequence of (train, test)
        Indices of training and held-out samples.
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
    memory : int or None
        Bytes for distances and kernels; None takes half of the free memory.
    progress : callable
        Called with the completed share and a short description.

    Raises
    ------
    CallError, SplitError
        If a parameter, the samples or a fold is not valid.
    """
    began = perf_counter()
    problem = X if isinstance(X, CVProblem) else CVProblem.of(X, y, folds, memory=memory)
    values, gamma = check_positive(C, "C"), problem.gamma_value(gamma)
    kernels, order = problem.kernels(gamma), np.argsort(values, kind="stable")
    ascending = [values[position] for position in order]
    with _threads(problem.threads(n_jobs)) as pool:
        solutions = _solve_pairs(
            problem, kernels, ascending, class_weight, tol, pool, progress
        )
        correct, spent = _count_correct(problem, kernels, solutions, pool, progress)
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
    pairs = list(combinations(range(len(samples.counts)), 2))
    effort = {(i, j): float(samples.counts[i] + samples.counts[j]) ** 2 for i, j in pairs}
    pending = {
        pool.submit(
            solve_pair,
            samples,
            kernels,
            problem.train_mask,
            pair,
            C,
            factors[:, pair],
            tolerance,
        ): pair
        for pair in sorted(pairs, key=lambda pair: -effort[pair])
    }
    solutions: dict[tuple[int, int], PairSolutions] = {}
    total, done = sum(effort.values()), 0.0
    for future in as_completed(pending):
        pair = pending[future]
        solutions[pair] = future.result()
        done += effort[pair]
        if progress is not None:
            what = f"{len(solutions)} of {len(pairs)} pairs of classes"
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

    pending = [pool.submit(count, k) for k in range(len(spans))]
    for done, future in enumerate(as_completed(pending), start=1):
        future.result()
        if progress is not None:
            share = _SOLVING + (1 - _SOLVING) * done / len(spans)
            progress(share, "predicting held-out samples")
    hits, seconds = zip(*(future.result() for future in pending), strict=True)
    return np.asarray(np.sum(hits, axis=0, dtype=np.int64)), sum(seconds)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads with single-threaded matrix products; an error cancels the rest."""
    with single_threaded_blas, ThreadPoolExecutor(count) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _class_weights(
    problem: CVProblem, class_weight: Mapping[Any, float] | str | None
) -> Floats:
    """Return the class weights (fold + 1, class): of all samples, then of each fold."""
    check_class_weight(class_weight)
    spans, classes = problem.samples.spans, problem.samples.classes
    factors = np.ones((len(problem.train_mask) + 1, len(classes)))
    if class_weight == "balanced":
        everything = np.ones((1, problem.train_mask.shape[1]), dtype=bool)
        train_mask = np.vstack([everything, problem.train_mask])
        counts = np.stack([train_mask[:, span].sum(axis=1) for span in spans], axis=1)
        present = np.count_nonzero(counts, axis=1)[:, np.newaxis]
        total = counts.sum(axis=1, keepdims=True)
        return np.asarray(total / (present * np.maximum(counts, 1)))
    if isinstance(class_weight, Mapping):
        factors[:] = [float(class_weight.get(code, 1.0)) for code in classes.tolist()]
    return factors


def _n_support(solutions: Mapping[tuple[int, int], PairSolutions], n_classes: int) -> Ints:
    """Return the number of samples with a coefficient in any pair (C, fold)."""
    total = np.zeros_like(next(iter(solutions.values())).thresholds, dtype=np.int64)
    for k in range(n_classes):
        sides = [pair.first for (i, _), pair in solutions.items() if i == k]
        sides += [pair.second for (_, j), pair in solutions.items() if j == k]
        total += np.any([side != 0 for side in sides], axis=0).sum(axis=2)
    return total
