"""Samples that are hard to separate, and scikit-learn's SVC as the judge."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

Arrays = tuple[np.ndarray, np.ndarray]


def _clouds(
    counts: tuple[int, ...], n_features: int, apart: float, seed: int = 0
) -> Arrays:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)) + 1, counts)
    centres = apart * rng.normal(size=(len(counts) + 1, n_features))
    return rng.normal(size=(len(y), n_features)) + centres[y], y


@pytest.fixture
def clouds() -> Callable[..., Arrays]:
    """Draw Gaussian clouds: samples of each class, features, distance, seed."""
    return _clouds


def _relabelled() -> Arrays:
    X, y = _clouds((70, 70, 70), 5, 1.5, seed=1)
    rng = np.random.default_rng(1)
    wrong = rng.random(len(y)) < 0.15
    return X, np.where(wrong, rng.integers(1, 4, len(y)), y)


def _digits() -> Arrays:
    X, y = load_digits(return_X_y=True)
    return X[:500] / 16.0, y[:500]


SETS: dict[str, tuple[Callable[[], Arrays], float]] = {
    "two classes": (lambda: _clouds((120, 100), 4, 0.8), 0.2),
    "five classes, unbalanced": (lambda: _clouds((150, 80, 40, 12, 6), 6, 0.9), 0.1),
    "labels mistaken": (_relabelled, 0.2),
    "digits": (_digits, 0.05),
    "clouds in one place": (lambda: _clouds((90, 90, 90), 3, 0.2), 0.5),
    "two samples of a class": (lambda: _clouds((60, 40, 2, 2), 4, 1.0), 0.15),
}


@dataclass(frozen=True)
class Case:
    """A data set, its folds and a gamma that suits it."""

    X: np.ndarray
    y: np.ndarray
    folds: list[Arrays]
    gamma: float


@pytest.fixture(params=SETS)
def case(request) -> Case:
    """Every data set in turn, in three stratified folds."""
    make, gamma = SETS[request.param]
    X, y = make()
    with warnings.catch_warnings():
        # A class with two samples lacks in one fold or other, and shall.
        warnings.simplefilter("ignore", UserWarning)
        folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    return Case(X, y, folds, gamma)


@dataclass(frozen=True)
class Judged:
    """What SVC makes of the cells of a row."""

    correct: np.ndarray
    n_support: np.ndarray


@pytest.fixture
def judge() -> Callable[..., Judged]:
    """Count what SVC predicts right (C, fold), every machine from nothing."""

    def judged(
        X: Any, y: Any, folds: Any, gamma: float, C: Any, weights: Any = None
    ) -> Judged:
        correct, n_support = np.zeros((2, len(C), len(folds)), dtype=int)
        for row, cost in enumerate(C):
            for fold, (train, test) in enumerate(folds):
                svc = SVC(C=cost, gamma=gamma, class_weight=weights, tol=1e-5)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    svc.fit(X[train], y[train])
                correct[row, fold] = np.count_nonzero(svc.predict(X[test]) == y[test])
                n_support[row, fold] = svc.n_support_.sum()
        return Judged(correct, n_support)

    return judged
