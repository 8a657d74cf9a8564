"""The binary problem of an SVM among many samples, of which few matter.

Most samples lie far on their own side and have no weight; others lie far on the
wrong side and have all the weight they may.  Only the rest, the *active*
samples, are solved for, in a small kernel cut out of the large one; then the
others are checked and, if need be, join in (Joachims, Making large-scale SVM
learning practical, 1999).  It pays because one knows where to begin: the
solution for the C before, or that of all samples for those of one fold.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from hypercover.classifiers.svm.smo import (
    INFINITY,
    MAX_STEPS,
    NUMBA_OPTIONS,
    SOURCE_HASH,
    Floats,
    Kernel,
    add_row,
    minimise,
)

__all__ = ["solve", "solve_folds"]

Inside = npt.NDArray[np.bool_]

_MARGIN = 0.05
"""Samples whose gradient is so near the threshold are active from the beginning."""
_BOUND_TOLERANCE = 1e-12
"""Share of its range that a weight may be off its bound by rounding."""
_MAX_SHRUNK_ROUNDS = 30
"""Rounds after which all samples that could be active are."""
_MAX_ROUNDS = 60


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, and again whenever the solver it calls has changed.

    numba keeps what it compiled until the file of the function changes; that
    machine code from elsewhere is part of it goes unnoticed.  So the name under
    which it is kept tells what the solver said.
    """
    function.__qualname__ += f"-{SOURCE_HASH}"
    return njit(**NUMBA_OPTIONS)(function)


@_compiled
def _extremes(
    inside: Inside, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> tuple[float, float]:
    """Return the least gradient that may rise and the greatest that may fall."""
    least, greatest = INFINITY, -INFINITY
    for k in range(gradient.shape[0]):
        if inside[k]:
            if beta[k] < upper[k] and gradient[k] < least:
                least = gradient[k]
            if beta[k] > lower[k] and gradient[k] > greatest:
                greatest = gradient[k]
    return least, greatest


@_compiled
def _active(
    inside: Inside,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    threshold: float,
    margin: float,
) -> npt.NDArray[np.int64]:
    """Return the samples that are free, violate the threshold, or nearly do."""
    active = np.empty(gradient.shape[0], np.int64)
    count = 0
    for k in range(gradient.shape[0]):
        if not inside[k]:
            continue
        rises, falls = beta[k] < upper[k], beta[k] > lower[k]
        if (
            (rises and falls)
            or (rises and gradient[k] <= threshold + margin)
            or (falls and gradient[k] >= threshold - margin)
        ):
            active[count] = k
            count += 1
    return active[:count]


@_compiled
def _subkernel(kernel: Kernel, active: npt.NDArray[np.int64]) -> Kernel:
    """Cut the kernel of some samples out of the large one."""
    n = active.shape[0]
    if n == kernel.shape[0]:
        return kernel
    block = np.empty((n, n), np.float32)
    for p in range(n):
        row = kernel[active[p]]
        for q in range(n):
            block[p, q] = row[active[q]]
    return block


@_compiled
def _threshold(
    inside: Inside, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> float:
    """Return the gradient of free samples, or the middle between the bounds.

    A weight that only rounding keeps from its bound is put there: it is not free,
    and alone it would decide the threshold.
    """
    total, count = 0.0, 0
    for k in range(gradient.shape[0]):
        if beta[k] - lower[k] <= _BOUND_TOLERANCE * (upper[k] - lower[k]):
            beta[k] = lower[k]
        elif upper[k] - beta[k] <= _BOUND_TOLERANCE * (upper[k] - lower[k]):
            beta[k] = upper[k]
        elif inside[k]:
            total += gradient[k]
            count += 1
    if count:
        return total / count
    least, greatest = _extremes(inside, gradient, beta, lower, upper)
    middle: float = 0.5 * (least + greatest)
    return middle


@_compiled
def solve(
    kernel: Kernel,
    inside: Inside,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    guess: float,
    margin: float,
    tolerance: float,
) -> tuple[float, int]:
    """Solve the problem of the samples inside, in place.

    Parameters
    ----------
    kernel : array (sample, sample)
    inside : array (sample,)
        Which samples there are; the others have weight 0.
    gradient, beta, lower, upper : array (sample,)
        As in `minimise`, for all samples.
    guess, margin : float
        Where the threshold may lie, and how far from it samples are active at
        first; an infinite margin makes all of them active.

    Returns
    -------
    threshold : float
        What is taken off Kernel · β for a decision: LIBSVM's rho.
    steps : int
        Steps taken, negative if they did not suffice.
    """
    taken = 0
    for attempt in range(_MAX_ROUNDS):
        least, greatest = _extremes(inside, gradient, beta, lower, upper)
        if greatest - least <= tolerance:
            return _threshold(inside, gradient, beta, lower, upper), taken
        if attempt == _MAX_SHRUNK_ROUNDS:
            margin = INFINITY
        # Between the two, so that the worst pair is always among the active.
        guess = min(max(guess, least), greatest)
        active = _active(inside, gradient, beta, lower, upper, guess, margin)
        before = beta[active]
        part, slopes = before.copy(), gradient[active]
        steps, least, greatest = minimise(
            _subkernel(kernel, active),
            slopes,
            part,
            lower[active],
            upper[active],
            0.5 * tolerance,
        )
        taken += steps
        guess = 0.5 * (least + greatest)
        if margin >= INFINITY and attempt < _MAX_SHRUNK_ROUNDS:
            margin = _MARGIN
        for p in range(active.shape[0]):
            beta[active[p]] = part[p]
            add_row(kernel[active[p]], part[p] - before[p], gradient)
        if taken > MAX_STEPS:
            break
    return _threshold(inside, gradient, beta, lower, upper), -taken


@_compiled
def _remove_held_out(
    kernel: Kernel, inside: Inside, signs: Floats, gradient: Floats, beta: Floats
) -> None:
    """Take the weight off the samples outside and make the weights sum to zero again.

    What the other side has too much is taken from those of its samples whose
    weight would rather fall.
    """
    surplus = 0.0
    for k in range(beta.shape[0]):
        if not inside[k] and beta[k] != 0.0:
            weight = beta[k]
            surplus -= weight
            beta[k] = 0.0
            add_row(kernel[k], -weight, gradient)
    side = 1.0 if surplus > 0.0 else -1.0
    surplus = abs(surplus)
    while surplus > 0.0:
        worst, at = -INFINITY, -1
        for k in range(beta.shape[0]):
            if beta[k] * side > 0.0 and gradient[k] * side > worst:
                worst, at = gradient[k] * side, k
        if at < 0:
            return
        change = -side * min(surplus, abs(beta[at]))
        surplus -= abs(change)
        beta[at] = 0.0 if abs(change) == abs(beta[at]) else beta[at] + change
        add_row(kernel[at], change, gradient)


@_compiled
def _objective(beta: Floats, gradient: Floats, signs: Floats) -> float:
    """Return ½ βᵀKβ − yᵀβ."""
    total = 0.0
    for k in range(beta.shape[0]):
        total += beta[k] * (gradient[k] - signs[k])
    return 0.5 * total


@_compiled
def _any_bounded(beta: Floats, lower: Floats, upper: Floats) -> bool:
    """Tell whether a weight is as large as C lets it be."""
    for k in range(beta.shape[0]):
        if beta[k] != 0.0 and (beta[k] <= lower[k] or beta[k] >= upper[k]):
            return True
    return False


@_compiled
def _shrink_weights(
    share: float,
    signs: Floats,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
) -> None:
    """Make all weights smaller by a factor, so that they lie within their bounds."""
    for k in range(beta.shape[0]):
        beta[k] = min(max(share * beta[k], lower[k]), upper[k])
        gradient[k] = share * (gradient[k] + signs[k]) - signs[k]


@_compiled
def _set_bounds(
    signs: Floats, rise: float, fall: float, lower: Floats, upper: Floats
) -> None:
    """Bound the weights of the first class by the one cost, of the second by the other."""
    for k in range(signs.shape[0]):
        upper[k] = rise if signs[k] > 0.0 else 0.0
        lower[k] = 0.0 if signs[k] > 0.0 else -fall


@_compiled
def solve_folds(
    kernel: Kernel,
    insides: npt.NDArray[np.bool_],
    signs: Floats,
    cost: float,
    before: float,
    factors: Floats,
    gradients: Floats,
    betas: Floats,
    thresholds: Floats,
    tolerance: float,
) -> tuple[int, int]:
    """Solve the problem for all samples, then for those of each fold, in place.

    Row 0 of every array belongs to all samples, row f + 1 to fold f.  On entry
    the arrays hold the solutions for the lower cost ``before`` (0: none yet);
    ``factors`` (row, 2) multiply the costs of the two classes.

    A solution in which no weight is bounded by C is that for every larger C.
    Otherwise a fold begins with whichever has the lower objective: its solution
    for the C before, or that of all samples without those left out (DeCoste and
    Wagstaff, Alpha seeding for support vector machines, KDD 2000).

    Returns
    -------
    steps : int
        Steps taken over all folds.
    failures : int
        Problems whose steps did not suffice.
    """
    lower, upper = np.empty(signs.shape[0]), np.empty(signs.shape[0])
    taken, failures = 0, 0
    for row in range(insides.shape[0]):
        gradient, beta, guess = gradients[row], betas[row], thresholds[row]
        rise, fall = factors[row, 0], factors[row, 1]
        if before > 0.0:
            _set_bounds(signs, before * rise, before * fall, lower, upper)
            if not _any_bounded(beta, lower, upper):
                continue
        _set_bounds(signs, cost * rise, cost * fall, lower, upper)
        if row > 0:
            seed, slopes = betas[0].copy(), gradients[0].copy()
            _remove_held_out(kernel, insides[row], signs, slopes, seed)
            share = min(rise / factors[0, 0], fall / factors[0, 1])
            if share < 1.0:
                _shrink_weights(share, signs, slopes, seed, lower, upper)
            lower_than = _objective(seed, slopes, signs) < _objective(beta, gradient, signs)
            if before == 0.0 or lower_than:
                beta[:] = seed
                gradient[:] = slopes
                guess = thresholds[0]
        margin = INFINITY if before == 0.0 and row == 0 else _MARGIN
        threshold, steps = solve(
            kernel, insides[row], gradient, beta, lower, upper, guess, margin, tolerance
        )
        thresholds[row] = threshold
        taken += abs(steps)
        failures += steps < 0
    return taken, failures
