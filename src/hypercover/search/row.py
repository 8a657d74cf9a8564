"""A row of the grid: one gamma, every C, every fold, all pairs of classes at once."""

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

from hypercover.classifiers.threads import one_thread_each
from hypercover.errors import CallError
from hypercover.search.heldout import predict_class
from hypercover.search.kernel import Tiles
from hypercover.search.pair import Machines, solve_pair
from hypercover.search.problem import Folds, Problem, positive

__all__ = ["Row", "search_row"]

Progress = Callable[[float, str], None]

Key = TypeVar("Key")
Value = TypeVar("Value")

_log = logging.getLogger(__name__)
_SOLVING = 0.9
"""Share of the work that is done when all machines are solved."""


@dataclass(frozen=True, eq=False)
class Row:
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


def search_row(
    X: npt.ArrayLike | Problem,
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
) -> Row:
    """Cross-validate RBF machines for one gamma and several C, sharing their work.

    Why it exists: a grid search that trains every cell and fold by itself
    computes the same distances and kernels again and again, and solves from
    nothing what its neighbours already know.

    Parameters
    ----------
    X : array (sample, feature) or Problem
        What the machines see: already scaled.  A `Problem` shares its
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
    problem = X if isinstance(X, Problem) else Problem.of(X, y, folds, memory=memory)
    costs = positive(C, "C")
    kernels = problem.kernels(positive([gamma], "gamma")[0])
    order = np.argsort(costs, kind="stable")
    rising = [costs[position] for position in order]
    with _threads(problem.threads(n_jobs)) as pool:
        machines = _solve(problem, kernels, rising, class_weight, tol, pool, progress)
        correct, spent = _score(problem, kernels, machines, pool, progress)
    seconds = sum(found.seconds for found in machines.values()) + spent / len(rising)
    steps = np.sum([found.steps for found in machines.values()], axis=0)
    n_support = _n_support(machines, len(problem.samples.spans))
    back = np.argsort(order)
    return Row(
        float(gamma),
        tuple(costs),
        correct[back],
        problem.held.sum(axis=1),
        n_support[back],
        steps[back],
        np.asarray(seconds)[back],
        perf_counter() - began,
    )


def _solve(
    problem: Problem,
    kernels: Tiles,
    costs: Sequence[float],
    class_weight: Mapping[Any, float] | str | None,
    tolerance: float,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> dict[tuple[int, int], Machines]:
    """Solve all pairs of classes, the largest first."""
    counts = problem.samples.counts
    factors = _factors(problem, class_weight)
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
    for pair, machines in _as_done(pending):
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


def _score(
    problem: Problem,
    kernels: Tiles,
    machines: Mapping[tuple[int, int], Machines],
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> tuple[npt.NDArray[np.int64], float]:
    """Count the held-out samples predicted right (C, fold), and the processor time."""
    samples, present = problem.samples, problem.present
    n_costs = next(iter(machines.values())).thresholds.shape[0]

    def right(k: int) -> tuple[npt.NDArray[np.int64], float]:
        began = thread_time()
        held = [np.flatnonzero(rows) for rows in problem.held[:, samples.spans[k]]]
        winners = predict_class(samples, kernels, machines, k, held, present)
        hits = [np.count_nonzero(found == k, axis=1) for found in winners]
        return np.stack(hits, axis=1), thread_time() - began

    correct, spent = np.zeros((n_costs, len(problem.held)), dtype=np.int64), 0.0
    pending = {pool.submit(right, k): k for k in range(len(samples.spans))}
    for done, (_, (hits, seconds)) in enumerate(_as_done(pending), start=1):
        correct += hits
        spent += seconds
        if progress is not None:
            share = _SOLVING + (1 - _SOLVING) * done / len(pending)
            progress(share, "predicting what was held out")
    return correct, spent


def _as_done(pending: dict[Future[Value], Key]) -> Iterator[tuple[Key, Value]]:
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
    with one_thread_each, ThreadPoolExecutor(count) as pool:
        yield pool


def _factors(
    problem: Problem, class_weight: Mapping[Any, float] | str | None
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
            factors[:, column] = positive([class_weight.get(code, 1.0)], "class weight")
    elif class_weight is not None:
        raise CallError(
            f"The class weights must be 'balanced' or one number per class, got "
            f"{class_weight!r}."
        )
    return factors


def _n_support(
    machines: Mapping[tuple[int, int], Machines], n_classes: int
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
