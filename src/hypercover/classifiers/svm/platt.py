"""Platt scaling and pairwise coupling: calibrated probabilities from SVM decisions.

As in LIBSVM, a sigmoid per pair turns decision values into the probability of the
first of two classes (Platt), and the probabilities of all pairs are coupled into one
per class.

References
----------
J. C. Platt, Probabilistic outputs for support vector machines, 1999.
H.-T. Lin, C.-J. Lin and R. C. Weng, A note on Platt's probabilistic outputs for
support vector machines, Machine Learning 68, 2007, algorithm 1.
T.-F. Wu, C.-J. Lin and R. C. Weng, Probability estimates for multi-class
classification by pairwise coupling, JMLR 5, 2004, section 4.2 (the second method).
"""

from itertools import combinations

import numpy as np
from scipy.special import expit

from hypercover.types import Floats, Indices, Mask

_MAX_STEPS = 100
_TOLERANCE = 1e-5
_SHORTEST_STEP = 1e-10
_RIDGE = 1e-12
_ARMIJO = 1e-4
_LEAST_PROBABILITY = 1e-7


def stratified_folds(y: Indices, count: int, seed: int) -> Indices:
    """Return a stratified random fold for each sample.

    >>> stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0).tolist()
    [2, 1, 0, 0, 1, 2]
    """
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    folds = np.empty(len(y), dtype=np.intp)
    folds[shuffled] = np.arange(len(y)) % count
    return folds


def fit_sigmoids(decisions: Floats, y: Indices, n_classes: int) -> Floats:
    """Fit the sigmoids (pair, 2) to held-out decisions (sample, pair)."""
    sigmoids = np.empty((decisions.shape[1], 2))
    for column, (i, j) in enumerate(combinations(range(n_classes), 2)):
        of_pair = (y == i) | (y == j)
        sigmoids[column] = fit_sigmoid(decisions[of_pair, column], y[of_pair] == i)
    return sigmoids


def fit_sigmoid(decisions: Floats, first: Mask) -> tuple[float, float]:
    """Fit P(first | f) = 1 / (1 + exp(slope · f + offset)) by damped Newton steps.

    As in Platt's method, the target probabilities are slightly inside (0, 1), so that
    the sigmoid of few or perfectly separated samples is not a step.

    Parameters
    ----------
    decisions : array (sample,)
    first : array (sample,)
        Whether a sample belongs to the first class.

    Examples
    --------
    >>> slope, offset = fit_sigmoid(np.array([-2.0, -1.0, 1.0, 2.0]), np.arange(4) > 1)
    >>> slope < 0, abs(offset) < 1e-9
    (True, True)
    """
    n_first = float(np.count_nonzero(first))
    n_second = len(first) - n_first
    targets = np.where(first, (n_first + 1) / (n_first + 2), 1 / (n_second + 2))

    def loss(point: Floats) -> float:
        """Return the cross-entropy, in a form that cannot overflow."""
        exponent = decisions * point[0] + point[1]
        return float((targets * exponent + np.logaddexp(0.0, -exponent)).sum())

    point = np.array([0.0, np.log((n_second + 1) / (n_first + 1))])
    for _ in range(_MAX_STEPS):
        gradient, hessian = _derivatives(decisions, targets, point)
        if np.abs(gradient).max() < _TOLERANCE:
            break
        direction = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
        slope, before, step = float(gradient @ direction), loss(point), 1.0
        # a loss that is NaN is not lower either
        while not loss(point + step * direction) < before + _ARMIJO * step * slope:
            step /= 2.0
            if step < _SHORTEST_STEP:
                return float(point[0]), float(point[1])
        point = point + step * direction
    return float(point[0]), float(point[1])


def _derivatives(
    decisions: Floats, targets: Floats, point: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient (2,) and the Hessian (2, 2) of the loss, with a small ridge."""
    probability = expit(-(decisions * point[0] + point[1]))
    excess = targets - probability
    curvature = probability * (1.0 - probability)
    mixed = float(decisions @ curvature)
    hessian = np.array(
        [[float(decisions**2 @ curvature), mixed], [mixed, float(curvature.sum())]]
    )
    gradient = np.array([float(decisions @ excess), float(excess.sum())])
    return gradient, hessian + _RIDGE * np.eye(2)


def pair_probabilities(decisions: Floats, sigmoids: Floats) -> Floats:
    """Return the probability (pixel, pair) of the first class of each pair, inside (0, 1)."""
    probabilities = expit(-(decisions * sigmoids[:, 0] + sigmoids[:, 1]))
    probabilities = np.clip(probabilities, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return np.asarray(probabilities)


def couple_pairs(probabilities: Floats, n_classes: int) -> Floats:
    """Couple pairwise probabilities into class probabilities (pixel, class).

    They minimise the sum over pairs of (r_ji p_i - r_ij p_j)², where r_ij is the
    probability of class i against class j, and sum to 1.  The linear system of each
    pixel is solved exactly, whereas LIBSVM stops an iteration early.

    Parameters
    ----------
    probabilities : array (pixel, pair)
        Of the first class, in the order (0, 1), (0, 2), …, (1, 2), …

    Examples
    --------
    >>> couple_pairs(np.array([[0.9]]), 2).round(3).tolist()
    [[0.9, 0.1]]
    """
    system = np.zeros((len(probabilities), n_classes + 1, n_classes + 1))
    system[:, -1, :-1] = system[:, :-1, -1] = 1.0
    for column, (i, j) in enumerate(combinations(range(n_classes), 2)):
        first = probabilities[:, column]
        second = 1.0 - first
        system[:, i, i] += second**2
        system[:, j, j] += first**2
        system[:, i, j] = system[:, j, i] = -first * second
    right = np.zeros((n_classes + 1, 1))
    right[-1] = 1.0
    solved = np.linalg.solve(system, right)[:, :-1, 0]
    np.maximum(solved, 0.0, out=solved)
    return np.asarray(solved / solved.sum(axis=1, keepdims=True))
