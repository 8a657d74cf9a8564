"""Calibrated probabilities out of the decisions of pairwise machines.

Two steps, as in LIBSVM: a sigmoid for each pair turns a decision value into
the probability of the first of two classes (Platt), and the probabilities of
all pairs are coupled into one for each class.

References
----------
J. C. Platt, Probabilistic outputs for support vector machines, 1999.
H.-T. Lin, C.-J. Lin and R. C. Weng, A note on Platt's probabilistic outputs for
support vector machines, Machine Learning 68, 2007, algorithm 1.
T.-F. Wu, C.-J. Lin and R. C. Weng, Probability estimates for multi-class
classification by pairwise coupling, JMLR 5, 2004, section 4.2 (the second method).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

__all__ = [
    "couple_pairs",
    "fit_sigmoid",
    "fit_sigmoids",
    "pair_probabilities",
    "stratified_folds",
]

_MAX_STEPS = 100
_TOLERANCE = 1e-5
_SHORTEST_STEP = 1e-10
_RIDGE = 1e-12
_ARMIJO = 1e-4
_LEAST_PROBABILITY = 1e-7

Floats = npt.NDArray[np.float64]


def stratified_folds(
    y: npt.NDArray[np.intp], count: int, seed: int
) -> npt.NDArray[np.intp]:
    """Deal samples out to folds, class by class, so that each has its share of every class.

    >>> stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0).tolist()
    [2, 1, 0, 0, 1, 2]
    """
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    folds = np.empty(len(y), dtype=np.intp)
    folds[shuffled] = np.arange(len(y)) % count
    return folds


def fit_sigmoids(decisions: Floats, y: npt.NDArray[np.intp], n_classes: int) -> Floats:
    """Fit the sigmoid (pair, 2) of each pair to held-out decisions (sample, pair)."""
    sigmoids = np.empty((decisions.shape[1], 2))
    for column, (i, j) in enumerate(combinations(range(n_classes), 2)):
        of_pair = (y == i) | (y == j)
        sigmoids[column] = fit_sigmoid(decisions[of_pair, column], y[of_pair] == i)
    return sigmoids


def fit_sigmoid(decisions: Floats, first: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Fit P(first | f) = 1 / (1 + exp(slope · f + offset)) by Newton steps that never climb.

    The wanted probabilities are drawn in from 0 and 1 as Platt does, so that
    few samples, or ones that are parted perfectly, do not make it a step.

    Parameters
    ----------
    decisions : array (sample,)
    first : array (sample,)
        Whether a sample is of the first class.

    Examples
    --------
    >>> slope, offset = fit_sigmoid(np.array([-2.0, -1.0, 1.0, 2.0]), np.arange(4) > 1)
    >>> slope < 0, abs(offset) < 1e-9
    (True, True)
    """
    ours = float(np.count_nonzero(first))
    others = len(first) - ours
    wanted = np.where(first, (ours + 1) / (ours + 2), 1 / (others + 2))
    fit = _SigmoidLoss(decisions, wanted)
    point = np.array([0.0, np.log((others + 1) / (ours + 1))])
    for _ in range(_MAX_STEPS):
        gradient, hessian = fit.slopes(point)
        if np.abs(gradient).max() < _TOLERANCE:
            break
        direction = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
        further = fit.descend(point, direction, float(gradient @ direction))
        if further is None:
            break
        point = further
    return float(point[0]), float(point[1])


@dataclass(frozen=True, eq=False)
class _SigmoidLoss:
    """The loss of a sigmoid, as a function of its slope and offset."""

    decisions: Floats
    """Decision values (sample,)."""
    wanted: Floats
    """Wanted probability of the first class (sample,)."""

    def loss(self, point: Floats) -> float:
        """Return the cross-entropy, in the form that cannot overflow."""
        exponent = self.decisions * point[0] + point[1]
        return float((self.wanted * exponent + np.logaddexp(0.0, -exponent)).sum())

    def slopes(self, point: Floats) -> tuple[Floats, Floats]:
        """Return the gradient (2,) and the Hessian (2, 2) with a little ridge."""
        probability = expit(-(self.decisions * point[0] + point[1]))
        excess = self.wanted - probability
        curvature = probability * (1.0 - probability)
        mixed = float(self.decisions @ curvature)
        hessian = np.array(
            [[float(self.decisions**2 @ curvature), mixed], [mixed, float(curvature.sum())]]
        )
        gradient = np.array([float(self.decisions @ excess), float(excess.sum())])
        return gradient, hessian + _RIDGE * np.eye(2)

    def descend(self, point: Floats, direction: Floats, slope: float) -> Floats | None:
        """Return the first of ever shorter steps that lowers the loss enough."""
        step, loss = 1.0, self.loss(point)
        while step >= _SHORTEST_STEP:
            further = point + step * direction
            if self.loss(further) < loss + _ARMIJO * step * slope:
                return np.asarray(further)
            step /= 2.0
        return None


def pair_probabilities(decisions: Floats, sigmoids: Floats) -> Floats:
    """Return the probability (pixel, pair) of the first class of each pair, short of 0 and 1."""
    probabilities = expit(-(decisions * sigmoids[:, 0] + sigmoids[:, 1]))
    probabilities = np.clip(probabilities, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return np.asarray(probabilities)


def couple_pairs(probabilities: Floats, n_classes: int) -> Floats:
    """Return the probabilities (pixel, class) that agree best with those of all pairs.

    They minimise the sum over pairs of (r_ji p_i - r_ij p_j)², where r_ij is
    the probability of class i against class j, and sum to 1: a linear system
    for each pixel, solved exactly where LIBSVM stops its iteration early.

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
    wanted = np.zeros((n_classes + 1, 1))
    wanted[-1] = 1.0
    solved = np.linalg.solve(system, wanted)[:, :-1, 0]
    np.maximum(solved, 0.0, out=solved)
    return np.asarray(solved / solved.sum(axis=1, keepdims=True))
