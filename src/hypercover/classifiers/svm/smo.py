"""Solvers of the binary SVM problem on a dense kernel: SMO, Newton steps and an active set.

With signed weights β (positive for the first class, negative for the second)
the dual of a C-SVC is

    minimise ½ βᵀKβ − yᵀβ   with   lower ≤ β ≤ upper,   Σβ = 0.

It is solved when no weight that can increase has a smaller gradient K·β − y than one
that can decrease.  As the weights sum to zero, K may be the kernel minus one,
exp(−γd²) − 1, which only affects rounding: if γ is so small that all kernel values
are close to 1, single precision still resolves the distances.

Sequential minimal optimisation (Fan, Chen and Lin, JMLR 6, 2005: second-order
selection of the working set) finds the weights at their bounds in few steps, but
needs hundreds of thousands to converge in the others if C is large.  So it
alternates with Newton's method, which moves the free weights to their joint minimum;
weights that reach a bound on the way stay there.

Most samples are far on their own side of the margin and have weight 0; others are
far on the wrong side and have the largest weight.  Only the remaining, *active*
samples are solved for, on a small submatrix of the kernel; then the others are
checked and added to the active set if they violate the optimality conditions
(Joachims, Making large-scale SVM learning practical, 1999).  Warm starts make this
pay: the solution for the previous C, or that of all samples for those of one fold.

All functions are compiled, release the GIL and are called from several threads.  They
are in one file because numba recompiles a function only if its own file changes.
"""

import numpy as np
from numba import njit

from hypercover.types import Floats, Ints, Mask, Singles

# Fast math: no value here is ever infinite or NaN.
_compiled = njit(nogil=True, cache=True, fastmath=True)
_inlined = njit(inline="always", nogil=True, cache=True, fastmath=True)

_INFINITY = 1e30
"""Finite stand-in for infinity, which fast math forbids."""
_MAX_STEPS = 10_000_000
"""Largest number of steps, as in LIBSVM."""

_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
_FAR = np.float32(_INFINITY)
_TAU = np.float32(1e-12)
"""Smallest curvature, for duplicate samples."""
_BLOCK = 64
"""Values per block, so that loops are vectorised."""
_RIDGE, _MOST_RIDGE = 1e-7, 1e-2
"""Added to the diagonal, because the kernel is in single precision."""
_FLAT = 1e-12
"""Curvature along one weight below which it is rounding error."""
_FIRST_STEPS = 30
_STEP_SHARE = 0.15
"""Time spent on SMO steps before a factorisation, as a share of its time."""
_MARGIN = 0.05
"""Samples whose gradient is this close to the threshold are active initially."""
_BOUND_TOLERANCE = 1e-12
"""Rounding error of a weight at its bound, as a share of its range."""
_MAX_SHRUNK_ROUNDS = 30
"""Rounds after which all possible samples become active."""
_MAX_ROUNDS = 60


@_inlined
def _partner(row: Singles, gradient: Floats, falls: Singles, least: float) -> int:
    """Select the weight to decrease: the one whose step lowers the objective most."""
    n = gradient.shape[0]
    best, at = _ZERO, -1
    for start in range(0, n, _BLOCK):
        top = _ZERO
        for k in range(start, min(start + _BLOCK, n)):
            slope = max(np.float32(gradient[k] - least) * falls[k], _ZERO)
            top = max(top, slope * slope / max(-_TWO * row[k], _TAU))
        if top > best:
            best, at = top, start
    if at < 0:
        return -1
    partner, best = -1, _ZERO
    for k in range(at, min(at + _BLOCK, n)):
        slope = max(np.float32(gradient[k] - least) * falls[k], _ZERO)
        gain = slope * slope / max(-_TWO * row[k], _TAU)
        if gain > best:
            best, partner = gain, k
    return partner


@_inlined
def _update_gradient(
    rising: Singles,
    falling: Singles,
    step: float,
    gradient: Floats,
    no_rise: Singles,
    no_fall: Singles,
) -> tuple[float, int, float]:
    """Update the gradient after a step and find its extremes.

    Returns the smallest gradient of a weight that can increase, its index, and the
    largest of one that can decrease.
    """
    n = gradient.shape[0]
    least, greatest, at = _INFINITY, -_INFINITY, 0
    for start in range(0, n, _BLOCK):
        low, high = _INFINITY, -_INFINITY
        for k in range(start, min(start + _BLOCK, n)):
            value = gradient[k] + step * (np.float64(rising[k]) - np.float64(falling[k]))
            gradient[k] = value
            low = min(low, value + no_rise[k])
            high = max(high, value - no_fall[k])
        if low < least:
            least, at = low, start
        greatest = max(greatest, high)
    position, low = at, _INFINITY
    for k in range(at, min(at + _BLOCK, n)):
        value = gradient[k] + no_rise[k]
        if value < low:
            low, position = value, k
    return least, position, greatest


@_inlined
def _update_bounds(
    k: int,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    no_rise: Singles,
    no_fall: Singles,
    falls: Singles,
) -> None:
    """Update whether a weight can increase and decrease."""
    no_rise[k] = _ZERO if beta[k] < upper[k] else _FAR
    no_fall[k] = _ZERO if beta[k] > lower[k] else _FAR
    falls[k] = _ONE if beta[k] > lower[k] else _ZERO


@_compiled
def _smo(
    kernel: Singles,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    tolerance: float,
    max_steps: int,
) -> tuple[int, float, float]:
    """Take up to ``max_steps`` steps; return their number and the extremes of the gradient."""
    n = gradient.shape[0]
    no_rise = np.empty(n, np.float32)
    no_fall = np.empty(n, np.float32)
    falls = np.empty(n, np.float32)
    for k in range(n):
        _update_bounds(k, beta, lower, upper, no_rise, no_fall, falls)
    least, i, greatest = _update_gradient(
        kernel[0], kernel[0], 0.0, gradient, no_rise, no_fall
    )
    steps = 0
    while greatest - least > tolerance and steps < max_steps:
        j = _partner(kernel[i], gradient, falls, least)
        if j < 0:
            break
        curvature = max(-2.0 * np.float64(kernel[i, j]), 1e-12)
        room_up, room_down = upper[i] - beta[i], beta[j] - lower[j]
        step = min((gradient[j] - least) / curvature, min(room_up, room_down))
        # Exactly to the bound, without rounding error.
        beta[i] = upper[i] if step >= room_up else beta[i] + step
        beta[j] = lower[j] if step >= room_down else beta[j] - step
        _update_bounds(i, beta, lower, upper, no_rise, no_fall, falls)
        _update_bounds(j, beta, lower, upper, no_rise, no_fall, falls)
        least, i, greatest = _update_gradient(
            kernel[i], kernel[j], step, gradient, no_rise, no_fall
        )
        steps += 1
    return steps, least, greatest


@njit(nogil=True, cache=True)
def _cholesky(matrix: Floats) -> tuple[bool, Floats]:
    """Factorise a matrix; return False if it is not positive definite."""
    factor: Floats = matrix
    positive = True
    try:
        factor = np.linalg.cholesky(matrix)  # type: ignore[assignment]
    except Exception:  # numba supports no specific type
        positive = False
    return positive, factor


@_compiled
def _factor(kernel: Singles, free: Ints) -> tuple[bool, Floats]:
    """Factorise the kernel of the free samples with the smallest ridge that suffices."""
    n = free.shape[0]
    matrix = np.empty((n, n))
    ridge = _RIDGE
    factor = matrix
    while ridge <= _MOST_RIDGE:
        for p in range(n):
            row = kernel[free[p]]
            for q in range(n):
                matrix[p, q] = 1.0 + row[free[q]]
            matrix[p, p] += ridge
        positive, factor = _cholesky(matrix)
        if positive:
            return True, factor
        ridge *= 30.0
    return False, factor


@_compiled
def _substitute(factor: Floats, values: Floats) -> None:
    """Solve L·Lᵀ·x = values in place."""
    n = values.shape[0]
    for p in range(n):
        row = factor[p]
        total = values[p]
        for q in range(p):
            total -= row[q] * values[q]
        values[p] = total / row[p]
    for p in range(n - 1, -1, -1):
        row = factor[p]
        value = values[p] / row[p]
        values[p] = value
        for q in range(p):
            values[q] -= value * row[q]


@_compiled
def _free(beta: Floats, lower: Floats, upper: Floats) -> Ints:
    """Return the indices of the weights that are not at a bound."""
    n = beta.shape[0]
    free, count = np.empty(n, np.int64), 0
    for k in range(n):
        if lower[k] < beta[k] < upper[k]:
            free[count] = k
            count += 1
    return free[:count]


@_compiled
def _step_limit(step: float, value: float, lower: float, upper: float) -> float:
    """Return the share of a step that takes a weight to its bound; above 1 if none does."""
    if step > 0.0:
        return (upper - value) / step
    if step < 0.0:
        return (lower - value) / step
    return 2.0


@_compiled
def _column(factor: Floats, hit: int, columns: Floats, hits: Ints, count: int) -> Floats:
    """Return a column of the inverse without the weights that reached their bounds."""
    column = np.zeros(factor.shape[0])
    column[hit] = 1.0
    _substitute(factor, column)
    for h in range(count):
        share = columns[h, hit] / columns[h, hits[h]]
        for p in range(column.shape[0]):
            column[p] -= share * columns[h, p]
    return column


@_compiled
def _face_minimum(
    factor: Floats, gradient: Floats, lower: Floats, upper: Floats, values: Floats
) -> None:
    """Move weights to their joint minimum; those that reach a bound on the way stay there.

    The inverse of the kernel is never formed: removing a weight is a rank-one
    update, whose column is kept, so that each costs two substitutions instead of a
    factorisation.
    """
    n = values.shape[0]
    ones, step = np.ones(n), gradient.copy()
    _substitute(factor, ones)
    _substitute(factor, step)
    stays = np.zeros(n, np.bool_)
    columns, hits = np.empty((16, n)), np.empty(n, np.int64)
    # Stored, because computing a tiny value twice may change its sign.
    moves = np.empty(n)
    for count in range(n):
        # The step to the minimum that preserves the sum of the weights.
        share = step.sum() / ones.sum()
        length, hit = 1.0, -1
        for p in range(n):
            moves[p] = share * ones[p] - step[p]
        for p in range(n):
            if not stays[p]:
                room = _step_limit(moves[p], values[p], lower[p], upper[p])
                if room < length:
                    length, hit = room, p
        for p in range(n):
            if not stays[p]:
                values[p] += length * moves[p]
            step[p] += length * moves[p]
        if hit < 0:
            return
        values[hit] = upper[hit] if moves[hit] > 0.0 else lower[hit]
        column = _column(factor, hit, columns, hits, count)
        if column[hit] <= _FLAT:
            return
        stays[hit], hits[count] = True, hit
        if count == columns.shape[0]:
            columns = np.vstack((columns, np.empty_like(columns)))
        columns[count] = column
        one, slope = ones[hit] / column[hit], step[hit] / column[hit]
        for p in range(n):
            ones[p] -= one * column[p]
            step[p] -= slope * column[p]


@_compiled
def _restore_sum(total: float, lower: Floats, upper: Floats, values: Floats) -> None:
    """Correct the rounding error of the sum of weights, on the weight with most room."""
    surplus, most, at = values.sum() - total, 0.0, 0
    for p in range(values.shape[0]):
        room = values[p] - lower[p] if surplus > 0.0 else upper[p] - values[p]
        if room > most:
            most, at = room, p
    values[at] = min(max(values[at] - surplus, lower[at]), upper[at])


@_compiled
def _newton(
    kernel: Singles, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> None:
    """Take a Newton step: move the free weights to their joint minimum within their bounds."""
    free = _free(beta, lower, upper)
    if free.shape[0] < 2:
        return
    positive, factor = _factor(kernel, free)
    if not positive:
        return
    values, low, high = beta[free], lower[free], upper[free]
    total = values.sum()
    _face_minimum(factor, gradient[free], low, high, values)
    for p in range(free.shape[0]):
        values[p] = min(max(values[p], low[p]), high[p])
    _restore_sum(total, low, high, values)
    for p in range(free.shape[0]):
        k = free[p]
        _add_row(kernel[k], values[p] - beta[k], gradient)
        beta[k] = values[p]


@_inlined
def _add_row(row: Singles, change: float, gradient: Floats) -> None:
    """Update the gradient for a change of one weight."""
    if change != 0.0:
        for k in range(gradient.shape[0]):
            gradient[k] += change * row[k]


@_compiled
def minimise(
    kernel: Singles,
    gradient: Floats,
    beta: Floats,
    lower: Floats,
    upper: Floats,
    tolerance: float,
) -> tuple[int, float, float]:
    """Solve the problem in place, from initial weights that sum to zero.

    Parameters
    ----------
    kernel : array (sample, sample), float32
        The kernel minus one: 0 on the diagonal, from -1 to 0 elsewhere.
    gradient : array (sample,)
        Kernel · β − y, updated in place.
    beta, lower, upper : array (sample,)
        Weights, updated in place, and their bounds.
    tolerance : float
        Difference of gradients at which to stop; 1e-3 in LIBSVM.

    Returns
    -------
    steps : int
        Number of SMO steps.
    least, greatest : float
        Extremes of the gradient; their difference exceeds the tolerance only if
        `_MAX_STEPS` did not suffice.
    """
    n = gradient.shape[0]
    done, next_ = 0, _FIRST_STEPS
    while True:
        steps, least, greatest = _smo(
            kernel, gradient, beta, lower, upper, tolerance, next_
        )
        done += steps
        if greatest - least <= tolerance or steps < next_ or done > _MAX_STEPS:
            return done, least, greatest
        free = _free(beta, lower, upper).shape[0]
        # Measured nanoseconds of a factorisation and of a step.
        newton = free * (free * (0.03 * free + 1.0) + n)
        each = 1.5 * n + 50.0
        affordable = int(max(_FIRST_STEPS, _STEP_SHARE * newton / each))
        if done >= affordable:
            _newton(kernel, gradient, beta, lower, upper)
            next_ = affordable
        else:
            next_ = affordable - done


@_compiled
def _extremes(
    train_mask: Mask, gradient: Floats, beta: Floats, lower: Floats, upper: Floats
) -> tuple[float, float]:
    """Return the smallest gradient of weights that can increase, the largest of those that can decrease."""
    least, greatest = _INFINITY, -_INFINITY
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
            margin = _INFINITY
        # Between the extremes, so that the maximal violating pair is always active.
        threshold_guess = min(max(threshold_guess, least), greatest)
        active = _active(train_mask, gradient, beta, lower, upper, threshold_guess, margin)
        before = beta[active]
        part, slopes = before.copy(), gradient[active]
        block, low, high = _subkernel(kernel, active), lower[active], upper[active]
        steps, least, greatest = minimise(block, slopes, part, low, high, 0.5 * tolerance)
        total_steps += steps
        threshold_guess = 0.5 * (least + greatest)
        if margin >= _INFINITY and attempt < _MAX_SHRUNK_ROUNDS:
            margin = _MARGIN
        for p in range(active.shape[0]):
            beta[active[p]] = part[p]
            _add_row(kernel[active[p]], part[p] - before[p], gradient)
        if total_steps > _MAX_STEPS:
            break
    return _threshold(train_mask, gradient, beta, lower, upper), -total_steps


@_compiled
def _remove_held_out(
    kernel: Singles, train_mask: Mask, gradient: Floats, beta: Floats
) -> None:
    """Set the weights of held-out samples to 0 and restore the zero sum of the weights.

    The surplus is taken from the samples of the other class with the most extreme
    gradients.
    """
    surplus = 0.0
    for k in range(beta.shape[0]):
        if not train_mask[k] and beta[k] != 0.0:
            weight = beta[k]
            surplus -= weight
            beta[k] = 0.0
            _add_row(kernel[k], -weight, gradient)
    side = 1.0 if surplus > 0.0 else -1.0
    surplus = abs(surplus)
    while surplus > 0.0:
        worst, at = -_INFINITY, -1
        for k in range(beta.shape[0]):
            if beta[k] * side > 0.0 and gradient[k] * side > worst:
                worst, at = gradient[k] * side, k
        if at < 0:
            return
        change = -side * min(surplus, abs(beta[at]))
        surplus -= abs(change)
        beta[at] = 0.0 if abs(change) == abs(beta[at]) else beta[at] + change
        _add_row(kernel[at], change, gradient)


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
    C: float,
    previous_C: float,
    factors: Floats,
    gradients: Floats,
    betas: Floats,
    thresholds: Floats,
    tolerance: float,
) -> tuple[int, int]:
    """Solve the problem for all samples, then for the training samples of each fold, in place.

    Row 0 of every array belongs to all samples, row f + 1 to fold f.  On entry the
    arrays hold the solutions for ``previous_C`` (0: none); ``factors`` (row, 2)
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
        if previous_C > 0.0:
            _set_bounds(signs, previous_C * rise, previous_C * fall, lower, upper)
            if not _any_bounded(beta, lower, upper):
                continue
        _set_bounds(signs, C * rise, C * fall, lower, upper)
        if row > 0:
            seed, slopes = betas[0].copy(), gradients[0].copy()
            _remove_held_out(kernel, train_masks[row], slopes, seed)
            share = min(rise / factors[0, 0], fall / factors[0, 1])
            if share < 1.0:
                _shrink_weights(share, signs, slopes, seed, lower, upper)
            is_better = _objective(seed, slopes, signs) < _objective(beta, gradient, signs)
            if previous_C == 0.0 or is_better:
                beta[:] = seed
                gradient[:] = slopes
                threshold_guess = thresholds[0]
        margin = _INFINITY if previous_C == 0.0 and row == 0 else _MARGIN
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
