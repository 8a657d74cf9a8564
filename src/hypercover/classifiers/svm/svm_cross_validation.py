"""What the machines see of the samples: once for all folds, or fold by fold."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter, thread_time
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm.active_set import solve_folds
from hypercover.classifiers.svm.cv_problem import CVProblem, Folds, check_positive
from hypercover.classifiers.svm.kernel import BlockMatrix, SortedSamples
from hypercover.classifiers.svm.threads import single_threaded_blas
from hypercover.errors import CallError

__all__ = [
    "GammaScores",
    "PairSolutions",
    "cross_validate_gamma",
    "predict_held_out",
    "solve_pair",
]


@dataclass(frozen=True, eq=False)
class PairSolutions:
    """The machines of one pair of classes."""

    first: npt.NDArray[np.float64]
    """Signed weights (C, fold, sample) of the samples of the first class, ≥ 0."""
    second: npt.NDArray[np.float64]
    """Signed weights (C, fold, sample) of the samples of the second class, ≤ 0."""
    thresholds: npt.NDArray[np.float64]
    """What is taken off a decision (C, fold): LIBSVM's rho."""
    seconds: npt.NDArray[np.float64]
    """Processor time spent on each C."""
    steps: npt.NDArray[np.int64]
    """Steps of optimisation taken for each C."""
    failures: int
    """Machines whose steps did not suffice."""


def solve_pair(
    samples: SortedSamples,
    kernels: BlockMatrix,
    inside: npt.NDArray[np.bool_],
    pair: tuple[int, int],
    C: Sequence[float],
    factors: npt.NDArray[np.float64],
    tolerance: float,
) -> PairSolutions:
    """Solve the machines of a pair of classes along rising C, for all folds.

    Parameters
    ----------
    samples : SortedSamples
    kernels : BlockMatrix
        Kernels between classes, for one gamma.
    inside : array (fold, sample)
        Which samples train in each fold, in the order of ``samples``.
    pair : (int, int)
        Positions of the classes, the first lower.
    C : sequence of float
        Rising costs.
    factors : array (fold + 1, 2)
        Factors on C for the two classes: for all samples, then for each fold.
    tolerance : float
        LIBSVM's stopping tolerance.
    """
    i, j = pair
    spans = samples.spans[i], samples.spans[j]
    n = samples.counts[i]
    began = thread_time()
    kernel = kernels.block(i, j)
    signs = np.ones(len(kernel))
    signs[n:] = -1.0
    insides = np.hstack([inside[:, span] for span in spans])
    if len(inside) > 1:
        # All samples first: their solution is where those of the folds begin.
        insides = np.vstack([np.ones((1, len(kernel)), dtype=bool), insides])
    factors = factors[-len(insides) :].copy()
    betas = np.zeros(insides.shape)
    gradients = np.tile(-signs, (len(insides), 1))
    thresholds = np.zeros(len(insides))
    shape = (len(C), *inside.shape)
    found = np.empty((*shape[:2], len(kernel)))
    rhos = np.empty(shape[:2])
    seconds, steps, failures = np.zeros(len(C)), np.zeros(len(C), np.int64), 0
    seconds += (thread_time() - began) / len(C)
    before = 0.0
    for position, cost in enumerate(C):
        began = thread_time()
        steps[position], failed = solve_folds(
            kernel,
            insides,
            signs,
            float(cost),
            before,
            factors,
            gradients,
            betas,
            thresholds,
            tolerance,
        )
        failures += failed
        found[position] = betas[-len(inside) :]
        rhos[position] = thresholds[-len(inside) :]
        before = float(cost)
        seconds[position] += thread_time() - began
    return PairSolutions(found[..., :n], found[..., n:], rhos, seconds, steps, failures)


Floats = npt.NDArray[np.float64]

Held = Sequence[npt.NDArray[np.intp]]


def predict_held_out(
    samples: SortedSamples,
    kernels: BlockMatrix,
    machines: Mapping[tuple[int, int], PairSolutions],
    k: int,
    held: Held,
    present: npt.NDArray[np.bool_],
) -> list[npt.NDArray[np.intp]]:
    """Predict the held-out samples of one class in every fold, for every C.

    Why it exists: the decisions of all pairs that share a class come from one
    product of its kernel block with all their weights at once.

    Parameters
    ----------
    samples, kernels, machines
        What was solved for one gamma.
    k : int
        The class whose samples are predicted.
    held : sequence of array
        For each fold, positions within class k of the samples held out.
    present : array (fold, class)
        Whether a class has training samples in a fold.

    Returns
    -------
    list of array (C, sample)
        For each fold, positions of the classes with most votes, as LIBSVM votes.
    """
    n_classes = len(samples.spans)
    n_costs = next(iter(machines.values())).thresholds.shape[0]
    pairs = {pair: at for at, pair in enumerate(combinations(range(n_classes), 2))}
    # What both sides say is of the size of C and nearly cancels: double precision.
    decisions = [np.zeros((len(pairs), n_costs, len(rows))) for rows in held]
    for i in range(n_classes):
        block = kernels[k, i]
        others = [j for j in range(n_classes) if j != i]
        at = [pairs[min(i, j), max(i, j)] for j in others]
        for fold, rows in enumerate(held):
            if len(rows):
                weights = _dual_coefficients(machines, i, others, fold)
                values = weights.reshape(-1, weights.shape[-1]) @ block[rows].T
                decisions[fold][at] += values.reshape(len(others), n_costs, -1)
    return [
        _majority_votes(values, pairs, machines, fold, present[fold])
        for fold, values in enumerate(decisions)
    ]


def _dual_coefficients(
    machines: Mapping[tuple[int, int], PairSolutions],
    i: int,
    others: Sequence[int],
    fold: int,
) -> Floats:
    """Return the weights (class, C, sample) of class i against every other class."""
    return np.stack(
        [
            machines[i, j].first[:, fold] if i < j else machines[j, i].second[:, fold]
            for j in others
        ],
        dtype=np.float64,
    )


def _majority_votes(
    decisions: Floats,
    pairs: Mapping[tuple[int, int], int],
    machines: Mapping[tuple[int, int], PairSolutions],
    fold: int,
    present: npt.NDArray[np.bool_],
) -> npt.NDArray[np.intp]:
    """Count the votes of all pairs; the first of the classes that tie wins."""
    votes = np.zeros((len(present), *decisions.shape[1:]), dtype=np.int32)
    for i, j in combinations(np.flatnonzero(present).tolist(), 2):
        threshold = machines[i, j].thresholds[:, fold, np.newaxis]
        for_first = decisions[pairs[i, j]] > threshold
        votes[i] += for_first
        votes[j] += ~for_first
    votes[~present] = -1
    return np.asarray(votes.argmax(axis=0))


Progress = Callable[[float, str], None]

Key = TypeVar("Key")

Value = TypeVar("Value")

_log = logging.getLogger(__name__)

_SOLVING = 0.9
"""Share of the work that is done when all machines are solved."""


@dataclass(frozen=True, eq=False)
class GammaScores:
    """What cross-validation found for one gamma."""

    gamma: float
    """Width of the kernel exp(-gamma · distance²)."""
    C: tuple[float, ...]
    """Costs."""
    correct: npt.NDArray[np.int64]
    """Held-out samples that were predicted right (C, fold)."""
    counts: npt.NDArray[np.int64]
    """Held-out samples (fold,)."""
    n_support: npt.NDArray[np.int64]
    """Support vectors (C, fold)."""
    steps: npt.NDArray[np.int64]
    """Steps of optimisation (C,)."""
    seconds: npt.NDArray[np.float64]
    """Processor time (C,): what the cells would take one after another."""
    wall_seconds: float
    """Time the row took."""

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """Share of held-out samples predicted right, over all folds (C,)."""
        return np.asarray(self.correct.sum(axis=1) / self.counts.sum())


def cross_validate_gamma(
    X: npt.ArrayLike | CVProblem,
    y: npt.ArrayLike = (),
    folds: Folds = (),
    *,
    gamma: float,
    C: Sequence[float],
    class_weight: Mapping[Any, float] | str | None = None,
    tol: float = 1e-3,
    n_jobs: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> GammaScores:
    """Cross-validate RBF machines for one gamma and several C, sharing their work.

    Why it exists: a grid search that trains every cell and fold by itself
    computes the same distances and kernels again and again, and solves from
    nothing what its neighbours already know.

    Parameters
    ----------
    X : array (sample, feature) or Problem
        What the machines see: already scaled.  A `CVProblem` shares its
        distances with other rows.
    y : array (sample,)
        Class codes.
    folds : sequence of (train, test)
        Positions of the samples that train and that are held out.
    gamma : float
        Width of the kernel exp(-gamma · distance²).
    C : sequence of float
        Costs, in any order.
    class_weight : mapping from code to factor, "balanced" or None
        As in scikit-learn's SVC.
    tol : float
        LIBSVM's stopping tolerance.
    n_jobs : int or None
        Threads; None takes one a core.
    memory : int or None
        Bytes that distances and kernels may take; None takes half of what is free.
    progress : callable
        Called with the share done and a few words.

    Raises
    ------
    CallError, SplitError
        If a parameter, the samples or a fold cannot be used.
    """
    began = perf_counter()
    problem = X if isinstance(X, CVProblem) else CVProblem.of(X, y, folds, memory=memory)
    costs = check_positive(C, "C")
    kernels = problem.kernels(check_positive([gamma], "gamma")[0])
    order = np.argsort(costs, kind="stable")
    rising = [costs[position] for position in order]
    with _threads(problem.threads(n_jobs)) as pool:
        machines = _solve_pairs(problem, kernels, rising, class_weight, tol, pool, progress)
        correct, spent = _count_correct(problem, kernels, machines, pool, progress)
    seconds = sum(found.seconds for found in machines.values()) + spent / len(rising)
    steps = np.sum([found.steps for found in machines.values()], axis=0)
    n_support = _n_support(machines, len(problem.samples.spans))
    back = np.argsort(order)
    return GammaScores(
        float(gamma),
        tuple(costs),
        correct[back],
        problem.held.sum(axis=1),
        n_support[back],
        steps[back],
        np.asarray(seconds)[back],
        perf_counter() - began,
    )


def _solve_pairs(
    problem: CVProblem,
    kernels: BlockMatrix,
    costs: Sequence[float],
    class_weight: Mapping[Any, float] | str | None,
    tolerance: float,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> dict[tuple[int, int], PairSolutions]:
    """Solve all pairs of classes, the largest first."""
    counts = problem.samples.counts
    factors = _class_weights(problem, class_weight)
    pairs = list(combinations(range(len(counts)), 2))
    effort = {(i, j): float(counts[i] + counts[j]) ** 2 for i, j in pairs}
    pending = {
        pool.submit(
            solve_pair,
            problem.samples,
            kernels,
            problem.inside,
            (i, j),
            costs,
            factors[:, [i, j]],
            tolerance,
        ): (i, j)
        for i, j in sorted(pairs, key=lambda pair: -effort[pair])
    }
    found, whole, done = {}, sum(effort.values()), 0.0
    for pair, machines in _as_completed(pending):
        found[pair] = machines
        done += effort[pair]
        if progress is not None:
            progress(
                _SOLVING * done / whole, f"{len(found)} of {len(pairs)} pairs of classes"
            )
    failures = sum(machines.failures for machines in found.values())
    if failures:
        _log.warning("%d machines did not settle in the steps they are given.", failures)
    return found


def _count_correct(
    problem: CVProblem,
    kernels: BlockMatrix,
    machines: Mapping[tuple[int, int], PairSolutions],
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> tuple[npt.NDArray[np.int64], float]:
    """Count the held-out samples predicted right (C, fold), and the processor time."""
    samples, present = problem.samples, problem.present
    n_costs = next(iter(machines.values())).thresholds.shape[0]

    def right(k: int) -> tuple[npt.NDArray[np.int64], float]:
        began = thread_time()
        held = [np.flatnonzero(rows) for rows in problem.held[:, samples.spans[k]]]
        winners = predict_held_out(samples, kernels, machines, k, held, present)
        hits = [np.count_nonzero(found == k, axis=1) for found in winners]
        return np.stack(hits, axis=1), thread_time() - began

    correct, spent = np.zeros((n_costs, len(problem.held)), dtype=np.int64), 0.0
    pending = {pool.submit(right, k): k for k in range(len(samples.spans))}
    for done, (_, (hits, seconds)) in enumerate(_as_completed(pending), start=1):
        correct += hits
        spent += seconds
        if progress is not None:
            share = _SOLVING + (1 - _SOLVING) * done / len(pending)
            progress(share, "predicting what was held out")
    return correct, spent


def _as_completed(pending: dict[Future[Value], Key]) -> Iterator[tuple[Key, Value]]:
    """Yield the results of futures as they come; on an error the others are cancelled."""
    left = set(pending)
    try:
        while left:
            # In short waits, so that Ctrl-C is heard.
            done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending[future], future.result()
    finally:
        for future in left:
            future.cancel()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads, each of which does its products alone."""
    with single_threaded_blas, ThreadPoolExecutor(count) as pool:
        yield pool


def _class_weights(
    problem: CVProblem, class_weight: Mapping[Any, float] | str | None
) -> npt.NDArray[np.float64]:
    """Return the factors on C (fold + 1, class): of all samples, then of each fold."""
    spans, classes = problem.samples.spans, problem.samples.classes
    factors = np.ones((len(problem.inside) + 1, len(classes)))
    if class_weight == "balanced":
        everything = np.ones((1, problem.inside.shape[1]), dtype=bool)
        inside = np.vstack([everything, problem.inside])
        counts = np.stack([inside[:, span].sum(axis=1) for span in spans], axis=1)
        present = np.count_nonzero(counts, axis=1)[:, np.newaxis]
        total = counts.sum(axis=1, keepdims=True)
        return np.asarray(total / (present * np.maximum(counts, 1)))
    if isinstance(class_weight, Mapping):
        for column, code in enumerate(classes.tolist()):
            factors[:, column] = check_positive(
                [class_weight.get(code, 1.0)], "class weight"
            )
    elif class_weight is not None:
        raise CallError(
            f"The class weights must be 'balanced' or one number per class, got "
            f"{class_weight!r}."
        )
    return factors


def _n_support(
    machines: Mapping[tuple[int, int], PairSolutions], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count the samples that have weight in any pair (C, fold)."""
    total = np.zeros_like(next(iter(machines.values())).thresholds, dtype=np.int64)
    for k in range(n_classes):
        sides = [found.first for (i, _), found in machines.items() if i == k]
        sides += [found.second for (_, j), found in machines.items() if j == k]
        used = np.zeros(sides[0].shape, dtype=bool)
        for side in sides:
            used |= side != 0
        total += used.sum(axis=2)
    return total
