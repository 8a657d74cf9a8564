"""A grid search over C and gamma in the manner of scikit-learn, many times faster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from hypercover.classifiers.scaling import centre_spectra
from hypercover.classifiers.svm.cv_problem import (
    CVProblem,
    Folds,
    check_positive,
    check_samples,
)
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.classifiers.svm.svm_cross_validation import (
    GammaScores,
    cross_validate_gamma,
)
from hypercover.errors import CallError, SplitError, counted
from hypercover.memory import available_bytes

__all__ = ["FoldGroup", "KernelGridSearch", "cv_results", "preprocess_folds"]


def cv_results(
    cells: Sequence[Mapping[str, Any]],
    scores: npt.NDArray[np.float64],
    seconds: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Return ``cv_results_`` as GridSearchCV names its parts.

    Parameters
    ----------
    cells : parameters of each cell
    scores : array (cell, fold)
    seconds : array (cell,)
        Processor time of all folds of a cell.
    """
    means = scores.mean(axis=1)
    results: dict[str, Any] = {
        "mean_fit_time": seconds / scores.shape[1],
        "params": [dict(cell) for cell in cells],
    }
    for name in ("C", "gamma"):
        values = np.ma.masked_array(np.empty(len(cells), dtype=object), mask=False)
        values[:] = [cell[name] for cell in cells]
        results[f"param_{name}"] = values
    for fold, column in enumerate(scores.T):
        results[f"split{fold}_test_score"] = column
    results["mean_test_score"] = means
    results["std_test_score"] = scores.std(axis=1)
    results["rank_test_score"] = rankdata(-means, method="min").astype(np.int32)
    return results


Gamma = float | str

_COSTS = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True, eq=False)
class FoldGroup:
    """Samples as the machines see them in some of the folds."""

    problem: CVProblem
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
    ) -> GammaScores:
        """Cross-validate one gamma, which may be "scale" or "auto".

        The estimator tells class weights and tolerance, where it has them.
        """
        n_features = self.problem.samples.features.shape[1]
        widths = {"auto": 1.0 / n_features, "scale": 1.0 / (n_features * self.variance)}
        return cross_validate_gamma(
            self.problem,
            gamma=widths[gamma] if isinstance(gamma, str) else gamma,
            C=costs,
            class_weight=getattr(estimator, "class_weight", None),
            tol=getattr(estimator, "tol", 1e-3),
            n_jobs=n_jobs,
            progress=progress,
        )


def preprocess_folds(
    estimator: Any,
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    folds: Folds,
    *,
    memory: int | None = None,
) -> list[FoldGroup]:
    """Preprocess samples as an estimator would, again in each fold if it sees labels."""
    if getattr(estimator, "reduction", None) is None:
        seen = X
        if hasattr(estimator, "fit_preprocessing"):
            seen = clone(estimator).fit_preprocessing(X, y).preprocess(X)
        return [_fold_group(seen, y, folds, range(len(folds)), memory)]
    # Asked once: what the first fold keeps is no longer free.
    whole = available_bytes() // 2 if memory is None else memory
    views = []
    for number, (train, _) in enumerate(folds):
        fitted = clone(estimator).fit_preprocessing(X[train], y[train])
        views.append(_fold_group(fitted.preprocess(X), y, folds, [number], whole))
    return views


def _fold_group(
    seen: npt.NDArray[Any],
    y: npt.NDArray[Any],
    folds: Folds,
    numbers: Sequence[int],
    memory: int | None,
) -> FoldGroup:
    problem = CVProblem.of(
        seen,
        y,
        [folds[number] for number in numbers],
        memory=memory,
        sharing=max(1, len(folds) // max(1, len(numbers))),
    )
    trained = problem.samples.features[problem.inside.any(axis=0)]
    return FoldGroup(problem, tuple(numbers), float(np.var(trained)) or 1.0)


class KernelGridSearch(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Choose C and gamma of an RBF support vector machine by cross-validation.

    Why it exists: ``GridSearchCV`` trains every cell and fold from nothing.
    Here distances are computed once, a kernel once per gamma, and each machine
    begins where its neighbours in C and among the folds ended; the accuracies
    are those of LIBSVM's machines.

    What has seen labels, a reduction such as NWFE, is fitted again on the
    training samples of every fold; mere scaling is fitted once.

    Parameters
    ----------
    estimator : SVMClassifier, sklearn.svm.SVC (RBF) or None
        None is ``SVMClassifier()``.
    param_grid : mapping
        Values of ``C`` and of ``gamma`` (numbers, "scale" or "auto"); what it
        leaves out stays as the estimator has it.  None: C = 1 … 10,000.
    cv : int, splitter or iterable of (train, test)
        An int stands for shuffled stratified folds, as in LIBSVM.
    refit : bool
        Whether to fit the best cell to all samples.
    n_jobs : int or None
        Threads; None and -1 take one a core.
    memory : int or None
        Bytes that distances and kernels may take; None: half of what is free.
    random_state : int or None
        Seed of the folds where ``cv`` is an int; None is 0.
    progress : callable or None
        Called with the share done and a few words.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As GridSearchCV's; the times are processor time.
    best_params_, best_score_, best_index_, best_estimator_
        The best cell, the first of those that tie, and its classifier.
    rows_ : list of Row
        One for each gamma and view of the samples.
    n_splits_ : int
        Number of folds.
    wall_time_ : float
        Seconds the search took, without the last fit.
    refit_time_ : float
        Seconds of the last fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spectra = np.vstack([rng.normal(0, 1, (30, 4)), rng.normal(3, 1, (30, 4))])
    >>> labels = np.repeat([11, 21], 30)
    >>> grid = {"C": [1, 100], "gamma": [0.01, 0.1]}
    >>> search = KernelGridSearch(param_grid=grid, cv=5).fit(spectra, labels)
    >>> sorted(search.best_params_)
    ['C', 'gamma']
    >>> search.predict(spectra[:1])
    array([11])
    """

    def __init__(
        self,
        estimator: Any = None,
        param_grid: Mapping[str, Iterable[Any]] | None = None,
        *,
        cv: Any = 10,
        refit: bool = True,
        n_jobs: int | None = None,
        memory: int | None = None,
        random_state: int | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.memory = memory
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: Any, groups: Any = None) -> "KernelGridSearch":
        """Cross-validate all cells and fit the best one to all samples.

        Raises
        ------
        CallError
            If the samples, the grid or the estimator cannot be searched here.
        SplitError
            If a class has fewer samples than there are folds, or a fold is not valid.
        """
        estimator = self._estimator()
        costs, gammas = _check_grid(self.param_grid, estimator)
        spectra, codes = np.asarray(centre_spectra(X)), np.asarray(y)
        check_samples(spectra, codes)
        folds = self._folds(spectra, codes, groups)
        began = perf_counter()
        views = preprocess_folds(estimator, spectra, codes, folds, memory=self.memory)
        self.rows_, correct, counts, seconds = self._search(views, costs, gammas, estimator)
        self.wall_time_ = perf_counter() - began
        self.n_splits_ = len(folds)
        cells = list(ParameterGrid({"C": costs, "gamma": gammas}))
        at = [(gammas.index(cell["gamma"]), costs.index(cell["C"])) for cell in cells]
        self.cv_results_ = cv_results(
            cells,
            np.array([correct[place] / counts for place in at]),
            np.array([seconds[place] for place in at]),
        )
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_params_ = cells[self.best_index_]
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.classes_ = np.unique(codes)
        self.n_features_in_ = spectra.shape[1]
        if self.refit:
            began = perf_counter()
            best = clone(estimator).set_params(**self.best_params_)
            self.best_estimator_ = best.fit(spectra, codes)
            self.refit_time_ = perf_counter() - began
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class codes the best classifier gives."""
        return np.asarray(self._best().predict(centre_spectra(X)))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the class shares (n, class) the best classifier gives."""
        return np.asarray(self._best().predict_proba(centre_spectra(X)))

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    def _estimator(self) -> Any:
        """Return the estimator after checking that it is one of those known here."""
        estimator = SVMClassifier() if self.estimator is None else self.estimator
        plain = isinstance(estimator, SVC) and estimator.kernel == "rbf"
        if not plain and not isinstance(estimator, SVMClassifier):
            raise CallError(
                "Kernels can be shared between the cells of an SVMClassifier or of an SVC "
                f"with kernel 'rbf', got {estimator!r}; use scikit-learn's GridSearchCV."
            )
        if plain and (estimator.break_ties or estimator.max_iter != -1):
            raise CallError(
                "Machines are solved to the end and vote as LIBSVM's; leave break_ties "
                "and max_iter of the SVC as they are, or use scikit-learn's GridSearchCV."
            )
        return estimator

    def _folds(self, X: npt.NDArray[Any], y: npt.NDArray[Any], groups: Any) -> Folds:
        """Return the folds as positions of training and held-out samples."""
        if isinstance(self.cv, Integral):
            _check_class_sizes(y, int(self.cv))
            seed = 0 if self.random_state is None else self.random_state
            folds = StratifiedKFold(int(self.cv), shuffle=True, random_state=seed)
            return list(folds.split(X, y))
        if hasattr(self.cv, "get_n_splits"):
            return list(self.cv.split(X, y, groups))
        if not isinstance(self.cv, Iterable) or isinstance(self.cv, str):
            raise SplitError(
                "Folds are given as a number, a splitter or pairs of positions, got "
                f"{self.cv!r}; use for example 10."
            )
        return [(np.asarray(train), np.asarray(test)) for train, test in self.cv]

    def _search(
        self,
        views: list[FoldGroup],
        costs: list[float],
        gammas: list[Gamma],
        estimator: Any,
    ) -> tuple[
        list[GammaScores],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.float64],
    ]:
        """Do all rows; return them, hits (gamma, C, fold), counts and seconds (gamma, C)."""
        n_folds = sum(len(view.folds) for view in views)
        correct = np.zeros((len(gammas), len(costs), n_folds), dtype=np.int64)
        counts = np.zeros(n_folds, dtype=np.int64)
        seconds = np.zeros(correct.shape[:2])
        rows: list[GammaScores] = []
        whole = len(gammas) * len(views)
        for place, gamma in enumerate(gammas):
            for view in views:
                done = len(rows)

                def said(share: float, what: str, done: int = done) -> None:
                    if self.progress is not None:
                        self.progress((done + share) / whole, what)

                row = view.row(gamma, costs, estimator, self.n_jobs, said)
                correct[place][:, view.folds] = row.correct
                counts[list(view.folds)] = row.counts
                seconds[place] += row.seconds
                rows.append(row)
        return rows, correct, counts, seconds


def _check_grid(
    param_grid: Mapping[str, Iterable[Any]] | None, estimator: Any
) -> tuple[list[float], list[Gamma]]:
    """Return costs and gammas of a grid after checking them."""
    grid = {"C": _COSTS} if param_grid is None else param_grid
    listed = list(grid.values()) if isinstance(grid, Mapping) else [None]
    if any(isinstance(each, str) or not isinstance(each, Iterable) for each in listed):
        raise CallError(
            "The grid names lists of values, got "
            f"{param_grid!r}; use for example {{'C': [1, 100], 'gamma': [0.1]}}."
        )
    unknown = set(grid) - {"C", "gamma"}
    if unknown:
        raise CallError(
            f"The grid may hold C and gamma, got {', '.join(sorted(map(str, unknown)))} as "
            "well; use scikit-learn's GridSearchCV for other parameters."
        )
    costs = check_positive(list(grid.get("C", [estimator.C])), "C")
    gammas = list(grid.get("gamma", [estimator.gamma]))
    named = ("scale", "auto")
    numbers = [each for each in gammas if not (isinstance(each, str) and each in named)]
    if numbers or not gammas:
        check_positive(numbers, "gamma")
    for what, values in (("C", costs), ("gamma", gammas)):
        if len(set(values)) < len(values):
            raise CallError(f"The grid names a {what} twice; give each value once.")
    return costs, gammas


def _check_class_sizes(y: npt.NDArray[Any], n_folds: int) -> None:
    """Refuse more folds than the smallest class has samples."""
    codes, counts = np.unique(y, return_counts=True)
    if n_folds < 2:
        raise SplitError(f"Cross-validation needs at least 2 folds, got {n_folds}.")
    if len(counts) and counts.min() < n_folds:
        members = counted(int(counts.min()), "sample")
        raise SplitError(
            f"Class {codes[counts.argmin()]} has {members}, fewer than the {n_folds} folds; "
            "use fewer folds or leave the class out."
        )
