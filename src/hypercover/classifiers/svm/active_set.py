"""Active-set solver of the binary SVM problem, with warm starts along C and across folds.

Most samples are far on their own side of the margin and have weight 0; others are
far on the wrong side and have the largest weight.  Only the remaining, *active*
samples are solved for, on a small submatrix of the kernel; then the others are
checked and added to the active set if they violate the optimality conditions
(Joachims, Making large-scale SVM learning practical, 1999).  Warm starts make this
pay: the solution for the previous C, or that of all samples for those of one fold.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from hypercover.classifiers.svm.smo import (
    INFINITY,
    MAX_STEPS,
    NUMBA_OPTIONS,
    SOURCE_HASH,
    add_row,
    minimise,
)
from hypercover.types import Floats, Ints, Mask, Singles

_MARGIN = 0.05
"""Samples whose gradient is this close to the threshold are active initially."""
_BOUND_TOLERANCE = 1e-12
"""Rounding error of a weight at its bound, as a share of its range."""
_MAX_SHRUNK_ROUNDS = 30
"""Rounds after which all possible samples become active."""
_MAX_ROUNDS = 60


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, and recompile it when `smo` changes.

    numba's cache tracks the file of a function, but not those of the functions it
    calls.  The hash of that file in the name invalidates the cache.
    """
    function.__qualname__ += f"-{SOURCE_HASH}"
    return njit(**NUMBA_OPTIONS)(function)


@_compiled
def _extremes(
    train_mask: Mask, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> tuple[float, float]:
    """Return the smallest gradient of weights that can increase, the largest of those that can decrease."""
    least, greatest = INFINITY, -INFINITY
    for k in range(gradient.shape[0]):
        if train_mask[k]:
            if beta[k] < upper[k] and gradient[k] < least:
                least = gradient[k]
            if beta[k] > lower[k] and gradient[k] > greatest:
                greatest = gradient[k]
    return least, greatest


@_compiled
def _active(
    train_mask: Mask,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    threshold: float,
    margin: float,
) -> Ints:
    """Return the samples that are free or (nearly) violate the threshold."""
    active = np.empty(gradient.shape[0], np.int64)
    count = 0
    for k in range(gradient.shape[0]):
        if not train_mask[k]:
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
def _subkernel(kernel: Singles, active: Ints) -> Singles:
    """Return the kernel matrix of the active samples."""
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
    train_mask: Mask, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> float:
    """Return the mean gradient of the free samples, or the middle between the bounds.

    Weights within rounding error of a bound are set to it first: a single one that
    counted as free would determine the threshold.
    """
    total, count = 0.0, 0
    for k in range(gradient.shape[0]):
        if beta[k] - lower[k] <= _BOUND_TOLERANCE * (upper[k] - lower[k]):
            beta[k] = lower[k]
        elif upper[k] - beta[k] <= _BOUND_TOLERANCE * (upper[k] - lower[k]):
            beta[k] = upper[k]
        elif train_mask[k]:
            total += gradient[k]
            count += 1
    if count:
        return total / count
    least, greatest = _extremes(train_mask, gradient, beta, lower, upper)
    middle: float = 0.5 * (least + greatest)
    return middle


@_compiled
def solve(
    kernel: Singles,
    train_mask: Mask,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    threshold_guess: float,
    margin: float,
    tolerance: float,
) -> tuple[float, int]:
    """Solve the problem of the training samples, in place.

    Parameters
    ----------
    kernel : array (sample, sample)
    train_mask : array (sample,)
        Training samples; the others have weight 0.
    gradient, beta, lower, upper : array (sample,)
        As in `minimise`, for all samples.
    threshold_guess, margin : float
        Initial threshold, and how far from it samples are active initially; an
        infinite margin makes all samples active.

    Returns
    -------
    threshold : float
        Subtracted from kernel · β in a decision: LIBSVM's rho.
    steps : int
        Number of steps, negative if the solver did not converge.
    """
    total_steps = 0
    for attempt in range(_MAX_ROUNDS):
        least, greatest = _extremes(train_mask, gradient, beta, lower, upper)
        if greatest - least <= tolerance:
            return _threshold(train_mask, gradient, beta, lower, upper), total_steps
        if attempt == _MAX_SHRUNK_ROUNDS:
            margin = INFINITY
        # Between the extremes, so that the maximal violating pair is always active.
        threshold_guess = min(max(threshold_guess, least), greatest)
        active = _active(train_mask, gradient, beta, lower, upper, threshold_guess, margin)
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
        total_steps += steps
        threshold_guess = 0.5 * (least + greatest)
        if margin >= INFINITY and attempt < _MAX_SHRUNK_ROUNDS:
            margin = _MARGIN
        for p in range(active.shape[0]):
            beta[active[p]] = part[p]
            add_row(kernel[active[p]], part[p] - before[p], gradient)
        if total_steps > MAX_STEPS:
            break
    return _threshold(train_mask, gradient, beta, lower, upper), -total_steps


@_compiled
def _remove_held_out(
    kernel: Singles, train_mask: Mask, signs: Floats, gradient: Floats, beta: Floats
) -> None:
    """Set the weights of held-out samples to 0 and restore the zero sum of the weights.

    The surplus is total_steps from the samples of the other class with the most extreme
    gradients.
    """
    surplus = 0.0
    for k in range(beta.shape[0]):
        if not train_mask[k] and beta[k] != 0.0:
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
    """Return whether any weight is bounded by C."""
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
    """Scale all weights down, so that they are within their bounds."""
    for k in range(beta.shape[0]):
        beta[k] = min(max(share * beta[k], lower[k]), upper[k])
        gradient[k] = share * (gradient[k] + signs[k]) - signs[k]


@_compiled
def _set_bounds(
    signs: Floats, rise: float, fall: float, lower: Floats, upper: Floats
) -> None:
    """Set the bounds of the weights from the costs of the two classes."""
    for k in range(signs.shape[0]):
        upper[k] = rise if signs[k] > 0.0 else 0.0
        lower[k] = 0.0 if signs[k] > 0.0 else -fall


@_compiled
def solve_folds(
    kernel: Singles,
    train_masks: Mask,
    signs: Floats,
    cost: float,
    previous_cost: float,
    factors: Floats,
    gradients: Floats,
    betas: Floats,
    thresholds: Floats,
    tolerance: float,
) -> tuple[int, int]:
    """Solve the problem for all samples, then for the training samples of each fold, in place.

    Row 0 of every array belongs to all samples, row f + 1 to fold f.  On entry the
    arrays hold the solutions for ``previous_cost`` (0: none); ``factors`` (row, 2)
    multiply the costs of the two classes.

    A solution without weights bounded by C is valid for every larger C.  Otherwise
    a fold starts from the better of two: its solution for the previous C, or the
    solution of all samples without the held-out ones (DeCoste and Wagstaff, Alpha
    seeding for support vector machines, KDD 2000).

    Returns
    -------
    steps : int
        Number of steps over all folds.
    failures : int
        Number of problems that did not converge.
    """
    lower, upper = np.empty(signs.shape[0]), np.empty(signs.shape[0])
    total_steps, failures = 0, 0
    for row in range(train_masks.shape[0]):
        gradient, beta, threshold_guess = gradients[row], betas[row], thresholds[row]
        rise, fall = factors[row, 0], factors[row, 1]
        if previous_cost > 0.0:
            _set_bounds(signs, previous_cost * rise, previous_cost * fall, lower, upper)
            if not _any_bounded(beta, lower, upper):
                continue
        _set_bounds(signs, cost * rise, cost * fall, lower, upper)
        if row > 0:
            seed, slopes = betas[0].copy(), gradients[0].copy()
            _remove_held_out(kernel, train_masks[row], signs, slopes, seed)
            share = min(rise / factors[0, 0], fall / factors[0, 1])
            if share < 1.0:
                _shrink_weights(share, signs, slopes, seed, lower, upper)
            is_better = _objective(seed, slopes, signs) < _objective(beta, gradient, signs)
            if previous_cost == 0.0 or is_better:
                beta[:] = seed
                gradient[:] = slopes
                threshold_guess = thresholds[0]
        margin = INFINITY if previous_cost == 0.0 and row == 0 else _MARGIN
        threshold, steps = solve(
            kernel,
            train_masks[row],
            gradient,
            beta,
            lower,
            upper,
            threshold_guess,
            margin,
            tolerance,
        )
        thresholds[row] = threshold
        total_steps += abs(steps)
        failures += steps < 0
    return total_steps, failures
