"""What the machines see of the samples: once for all folds, or fold by fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from hypercover.memory import available_bytes
from hypercover.search.problem import Folds, Problem
from hypercover.search.row import Row, search_row

__all__ = ["View", "views_of"]


@dataclass(frozen=True, eq=False)
class View:
    """Samples as the machines see them in some of the folds."""

    problem: Problem
    """The samples, with distances that all rows share."""
    folds: tuple[int, ...]
    """Numbers of the folds, from 0."""
    variance: float
    """Variance of what trains in any fold, which gamma "scale" refers to."""

    def row(
        self,
        gamma: float | str,
        costs: Sequence[float],
        estimator: Any = None,
        n_jobs: int | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Row:
        """Cross-validate one gamma, which may be "scale" or "auto".

        The estimator tells class weights and tolerance, where it has them.
        """
        n_features = self.problem.samples.features.shape[1]
        widths = {"auto": 1.0 / n_features, "scale": 1.0 / (n_features * self.variance)}
        return search_row(
            self.problem,
            gamma=widths[gamma] if isinstance(gamma, str) else gamma,
            C=costs,
            class_weight=getattr(estimator, "class_weight", None),
            tol=getattr(estimator, "tol", 1e-3),
            n_jobs=n_jobs,
            progress=progress,
        )


def views_of(
    estimator: Any,
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    folds: Folds,
    *,
    memory: int | None = None,
) -> list[View]:
    """Preprocess samples as an estimator would, again in each fold if it sees labels."""
    if getattr(estimator, "reduction", None) is None:
        seen = X
        if hasattr(estimator, "fit_preprocessing"):
            seen = clone(estimator).fit_preprocessing(X, y).preprocess(X)
        return [_view(seen, y, folds, range(len(folds)), memory)]
    # Asked once: what the first fold keeps is no longer free.
    whole = available_bytes() // 2 if memory is None else memory
    views = []
    for number, (train, _) in enumerate(folds):
        fitted = clone(estimator).fit_preprocessing(X[train], y[train])
        views.append(_view(fitted.preprocess(X), y, folds, [number], whole))
    return views


def _view(
    seen: npt.NDArray[Any],
    y: npt.NDArray[Any],
    folds: Folds,
    numbers: Sequence[int],
    memory: int | None,
) -> View:
    problem = Problem.of(
        seen,
        y,
        [folds[number] for number in numbers],
        memory=memory,
        sharing=max(1, len(folds) // max(1, len(numbers))),
    )
    trained = problem.samples.features[problem.inside.any(axis=0)]
    return View(problem, tuple(numbers), float(np.var(trained)) or 1.0)
