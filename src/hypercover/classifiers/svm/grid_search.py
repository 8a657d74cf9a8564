"""Grid search over C and gamma of RBF SVMs, with the interface of scikit-learn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from hypercover.classifiers.pixel_spectra import centre_spectra
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.classifiers.svm.svm_cross_validation import (
    CVProblem,
    Folds,
    GammaScores,
    check_positive,
    check_samples,
    cross_validate_gamma,
)
from hypercover.errors import CallError, SplitError, counted
from hypercover.types import Array, Floats, Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_C = (1.0, 10.0, 100.0, 1000.0, 10000.0)


def cv_results(
    cells: Sequence[Mapping[str, Any]], scores: Floats, seconds: Floats
) -> dict[str, Any]:
    """Return ``cv_results_`` in the layout of GridSearchCV.

    Parameters
    ----------
    cells : parameters of each cell
    scores : array (cell, fold)
    seconds : array (cell,)
        Processor time of each cell over all folds.
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
    results |= {f"split{fold}_test_score": column for fold, column in enumerate(scores.T)}
    return results | {
        "mean_test_score": means,
        "std_test_score": scores.std(axis=1),
        "rank_test_score": rankdata(-means, method="min").astype(np.int32),
    }


def preprocess_folds(
    estimator: Any, X: Array, y: Array, folds: Folds, *, memory: int | None = None
) -> Iterator[tuple[list[int], CVProblem]]:
    """Yield the numbers of folds, and their samples as an estimator preprocesses them.

    A reduction that uses labels is fitted for one fold after another: the distances of
    all of them may not fit into memory.
    """
    if getattr(estimator, "reduction", None) is None:
        if isinstance(estimator, SVMClassifier):
            X = clone(estimator).fit_preprocessing(X, y).preprocess(X)
        yield list(range(len(folds))), CVProblem.of(X, y, folds, memory=memory)
        return
    for number, (train, test) in enumerate(folds):
        fitted = clone(estimator).fit_preprocessing(X[train], y[train])
        yield (
            [number],
            CVProblem.of(fitted.preprocess(X), y, [(train, test)], memory=memory),
        )


class KernelGridSearch(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Choose C and gamma of an RBF support vector machine by cross-validation.

    Many times faster than ``GridSearchCV``, with LIBSVM's accuracies: distances are
    computed once and kernels once per gamma, and each SVM starts from the solution
    for the previous C or for the other folds.

    A reduction that uses labels, such as NWFE, is fitted on the training samples of
    every fold; scaling is fitted once.

    Parameters
    ----------
    estimator : SVMClassifier, sklearn.svm.SVC (RBF) or None
        None is ``SVMClassifier()``.
    param_grid : mapping
        Values of ``C`` and of ``gamma`` (numbers, "scale" or "auto"); a missing one
        is taken from the estimator.  None: C = 1 … 10,000.
    cv : int, splitter or iterable of (train, test)
        An int gives shuffled stratified folds, as in LIBSVM.
    refit : bool
        Whether to refit the best parameters to all samples.
    n_jobs : int or None
        Number of threads; None and -1 take one per core.
    memory : int or None
        Bytes for distances and kernels; None: half of the free memory.
    random_state : int or None
        Seed of the folds if ``cv`` is an int; None is 0.
    progress : callable or None
        Called with the completed share and a short description.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As in GridSearchCV; times are processor time.
    best_params_, best_score_, best_index_, best_estimator_
        The best parameters, the first of those that tie, and their classifier.
    rows_ : list of GammaScores
        One for each group of folds and gamma.
    n_splits_ : int
        Number of folds.
    wall_time_ : float
        Seconds of the search, without the refit.
    refit_time_ : float
        Seconds of the refit.

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
    >>> search
    KernelGridSearch(cv=5, param_grid={'C': [1, 100], 'gamma': [0.01, 0.1]})
    >>> search.to_frame().loc[0, ["param_C", "param_gamma"]].tolist() == [
    ...     search.best_params_["C"], search.best_params_["gamma"]
    ... ]
    True
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
        progress: Report | None = None,
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
        """Cross-validate all parameters and refit the best ones to all samples.

        Raises
        ------
        CallError
            If the samples, the grid or the estimator is not valid.
        SplitError
            If a class has fewer samples than there are folds, or a fold is not valid.
        """
        estimator = self._estimator()
        C, gammas = _check_grid(self.param_grid, estimator)
        spectra, codes = np.asarray(centre_spectra(X)), np.asarray(y)
        check_samples(spectra, codes)
        folds = self._folds(spectra, codes, groups)
        began = perf_counter()
        scores, seconds = self._search(spectra, codes, folds, C, gammas)
        self.wall_time_ = perf_counter() - began
        self.n_splits_ = len(folds)
        cells = list(ParameterGrid({"C": C, "gamma": gammas}))
        self.cv_results_ = cv_results(
            cells, scores.reshape(len(cells), -1), seconds.reshape(-1)
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

    def predict(self, X: Any) -> Array:
        """Return the class codes predicted by the best classifier."""
        return np.asarray(self._best().predict(centre_spectra(X)))

    def predict_proba(self, X: Any) -> Floats:
        """Return the class probabilities (n, class) of the best classifier."""
        return np.asarray(self._best().predict_proba(centre_spectra(X)))

    def to_frame(self) -> "pd.DataFrame":
        """Return ``cv_results_`` as a table with one row for each cell, the best first."""
        import pandas as pd

        check_is_fitted(self, "cv_results_")
        table = pd.DataFrame(self.cv_results_).drop(columns="params")
        return table.sort_values("rank_test_score", kind="stable", ignore_index=True)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the mean accuracy of each cell with matplotlib and return the axes."""
        import matplotlib.pyplot as plt

        check_is_fitted(self, "cv_results_")
        C, gammas = (
            list(dict.fromkeys(cell[name] for cell in self.cv_results_["params"]))
            for name in ("C", "gamma")
        )
        accuracy = 100 * self.cv_results_["mean_test_score"].reshape(len(C), len(gammas)).T
        axes = plt.subplots(layout="constrained")[1] if ax is None else ax
        image = axes.imshow(accuracy, cmap="Blues", aspect="auto")
        axes.set_xticks(range(len(C)), [f"{value:g}" for value in C])
        axes.set_yticks(range(len(gammas)), [str(value) for value in gammas])
        axes.set(xlabel="C", ylabel="gamma")
        axes.figure.colorbar(image, ax=axes, label="mean accuracy of the folds in %")
        return axes

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    def _estimator(self) -> Any:
        """Return the estimator after checking that it is supported."""
        estimator = SVMClassifier() if self.estimator is None else self.estimator
        plain = isinstance(estimator, SVC) and estimator.kernel == "rbf"
        if not plain and not isinstance(estimator, SVMClassifier):
            raise CallError(
                "KernelGridSearch takes an SVMClassifier or an SVC with kernel 'rbf', got "
                f"{estimator!r}; use scikit-learn's GridSearchCV."
            )
        if plain and (estimator.break_ties or estimator.max_iter != -1):
            raise CallError(
                "KernelGridSearch does not support break_ties and max_iter; use "
                "scikit-learn's GridSearchCV."
            )
        return estimator

    def _folds(self, X: Array, y: Array, groups: Any) -> Folds:
        """Return the folds as indices of training and held-out samples."""
        if isinstance(self.cv, Integral):
            _check_class_sizes(y, int(self.cv))
            seed = 0 if self.random_state is None else self.random_state
            splitter = StratifiedKFold(int(self.cv), shuffle=True, random_state=seed)
            return list(splitter.split(X, y))
        if hasattr(self.cv, "get_n_splits"):
            return list(self.cv.split(X, y, groups))
        if not isinstance(self.cv, Iterable) or isinstance(self.cv, str):
            raise SplitError(
                "cv must be a number of folds, a splitter or pairs of index arrays, got "
                f"{self.cv!r}; use for example 10."
            )
        return [(np.asarray(train), np.asarray(test)) for train, test in self.cv]

    def _search(
        self, X: Array, y: Array, folds: Folds, C: list[float], gammas: list[Any]
    ) -> tuple[Floats, Floats]:
        """Return the accuracies (C, gamma, fold) and the seconds (C, gamma)."""
        estimator = self._estimator()
        scores = np.empty((len(C), len(gammas), len(folds)))
        seconds = np.zeros(scores.shape[:2])
        self.rows_: list[GammaScores] = []
        total = len(gammas) * len(folds)
        for numbers, problem in preprocess_folds(
            estimator, X, y, folds, memory=self.memory
        ):
            for place, gamma in enumerate(gammas):
                done = numbers[0] * len(gammas) + place * len(numbers)

                def report(
                    share: float, what: str, done: int = done, part: int = len(numbers)
                ) -> None:
                    if self.progress is not None:
                        self.progress((done + share * part) / total, what)

                row = cross_validate_gamma(
                    problem,
                    gamma=gamma,
                    C=C,
                    class_weight=estimator.class_weight,
                    tol=getattr(estimator, "tol", 1e-3),
                    n_jobs=self.n_jobs,
                    progress=report,
                )
                scores[:, place, numbers] = row.correct / row.counts
                seconds[:, place] += row.seconds
                self.rows_.append(row)
        return scores, seconds


def _check_grid(
    param_grid: Mapping[str, Iterable[Any]] | None, estimator: Any
) -> tuple[list[float], list[Any]]:
    """Return the values of C and gamma of a grid after checking them."""
    grid = {"C": _C} if param_grid is None else param_grid
    listed = list(grid.values()) if isinstance(grid, Mapping) else [None]
    if any(isinstance(each, str) or not isinstance(each, Iterable) for each in listed):
        raise CallError(
            "The grid must map C and gamma to lists of values such as [1, 100], got "
            f"{param_grid!r}."
        )
    unknown = ", ".join(sorted(map(str, set(grid) - {"C", "gamma"})))
    if unknown:
        raise CallError(
            f"The grid may contain C and gamma only, got {unknown}; use scikit-learn's "
            "GridSearchCV."
        )
    C = check_positive(list(grid.get("C", [estimator.C])), "C")
    gammas = list(grid.get("gamma", [estimator.gamma]))
    named = [each for each in gammas if isinstance(each, str) and each in ("scale", "auto")]
    if len(named) < len(gammas) or not gammas:
        check_positive([each for each in gammas if each not in named], "gamma")
    for what, values in (("C", C), ("gamma", gammas)):
        if len(set(values)) < len(values):
            raise CallError(f"The grid contains a {what} twice; give each value once.")
    return C, gammas


def _check_class_sizes(y: Array, n_folds: int) -> None:
    """Refuse more folds than the smallest class has samples."""
    codes, counts = np.unique(y, return_counts=True)
    if n_folds < 2:
        raise SplitError(f"Cross-validation needs at least 2 folds, got {n_folds}; use 10.")
    if len(counts) and counts.min() < n_folds:
        members = counted(int(counts.min()), "sample")
        raise SplitError(
            f"Class {codes[counts.argmin()]} has {members}, fewer than the {n_folds} "
            "folds; use fewer folds."
        )
