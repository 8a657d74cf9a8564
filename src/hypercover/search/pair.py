"""One pair of classes: its machines for every C and every fold, from one kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import thread_time

import numpy as np
import numpy.typing as npt

from hypercover.search.active import solve_folds
from hypercover.search.kernel import Samples, Tiles

__all__ = ["Machines", "solve_pair"]


@dataclass(frozen=True, eq=False)
class Machines:
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
    samples: Samples,
    kernels: Tiles,
    inside: npt.NDArray[np.bool_],
    pair: tuple[int, int],
    C: Sequence[float],
    factors: npt.NDArray[np.float64],
    tolerance: float,
) -> Machines:
    """Solve the machines of a pair of classes along rising C, for all folds.

    Parameters
    ----------
    samples : Samples
    kernels : Tiles
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
    return Machines(found[..., :n], found[..., n:], rhos, seconds, steps, failures)
