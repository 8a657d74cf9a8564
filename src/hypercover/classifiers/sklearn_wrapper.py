"""Any classifier of scikit-learn, by its import path, with the bands scaled first.

As nothing is ever pickled, such a model is kept as its training samples,
parameters and seed, and fitted again when it is loaded, which takes as long as
the first time; a small probe tells whether it still answers the same.
"""

import difflib
import inspect
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import codes_from_json, codes_to_json
from hypercover.classifiers.scaling import centre_spectra
from hypercover.errors import ModelError

__all__ = ["SklearnClassifier", "sklearn_classifier"]

_PROBES = 64
_MAX_PARAMETER, _MAX_PARAMETERS = 10_000_000, {
    "n_estimators": 10_000, "max_iter": 1_000_000, "hidden_layer_sizes": 10_000,
    "n_jobs": 10_000, "n_quantiles": 10_000,
}  # fmt: skip
"""Largest whole numbers that are believed as parameters."""
_DEFAULT = "sklearn.ensemble.RandomForestClassifier"


def sklearn_classifier(
    path: str,
    params: dict[str, Any] | None = None,
    *,
    random_state: int | None = None,
) -> "SklearnClassifier":
    """Return a classifier of scikit-learn by its import path, after checking the names.

    Raises
    ------
    ModelError
        If scikit-learn has no such classifier or it has no such parameter;
        close matches are named.

    Examples
    --------
    >>> sklearn_classifier("sklearn.ensemble.RandomForestClasifier")
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: scikit-learn has no classifier 'sklearn.ensemble.RandomForestClasifier'; close is sklearn.ensemble.RandomForestClassifier.
    """
    classifier = SklearnClassifier(path, params, random_state=random_state)
    classifier.build()
    return classifier


class SklearnClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify spectra with a classifier of scikit-learn, the bands scaled first.

    Why it exists: any method of scikit-learn can stand beside the SVM and the
    networks, under the same split and in the same report.

    Parameters
    ----------
    path : str
        Import path such as ``sklearn.ensemble.RandomForestClassifier``.  Only
        scikit-learn's own classifiers that need no other estimator.
    params : dict or None
        Its parameters; None takes its defaults.
    random_state : None or int
        Seed, for classifiers that have one; None draws one when fitting.

    Attributes
    ----------
    classes_ : array (class,)
        Class codes in rising order.
    n_features_in_ : int
        Number of bands.
    seed_ : int
        The seed that was used, with which a saved model is fitted again.
    fitted_ : estimator
        The fitted classifier of scikit-learn, on scaled bands.

    Examples
    --------
    >>> spectra = np.array([[0.0, 1.0], [0.1, 1.1], [3.0, 2.0], [3.1, 2.1]])
    >>> nearest = SklearnClassifier("sklearn.neighbors.NearestCentroid")
    >>> nearest.fit(spectra, [11, 11, 21, 21]).predict([[0.2, 1.0], [2.9, 2.2]])
    array([11, 21])
    """

    def __init__(
        self,
        path: str = _DEFAULT,
        params: dict[str, Any] | None = None,
        *,
        random_state: int | None = None,
    ) -> None:
        self.path = path
        self.params = params
        self.random_state = random_state

    def build(self) -> Any:
        """Return the classifier of scikit-learn, not fitted.

        Raises
        ------
        ModelError
            If scikit-learn has no such classifier or it has no such parameter.
        """
        kind = _class_of(self.path)
        params = dict(self.params or {})
        known = kind().get_params(deep=False)
        _check_params(self.path, params, set(known))
        if "random_state" in known:
            params.setdefault("random_state", getattr(self, "seed_", None))
        return kind(**params)

    def fit(self, X: Any, y: Any) -> "SklearnClassifier":
        """Fit scaling and classifier to spectra (n, band) or the centres of windows.

        Raises
        ------
        ModelError
            If the classifier cannot be built or does not take the samples.
        """
        self.seed_ = _seed(self.random_state)
        classifier = self.build()
        spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ModelError(
                "A classifier needs training pixels of at least two classes, got one "
                f"class, {self.classes_[0]}; label pixels of another class."
            )
        self._samples, self._labels = spectra, y
        self._scaler = StandardScaler().fit(spectra)
        try:
            self.fitted_ = classifier.fit(self._scaler.transform(spectra), y)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path} cannot learn from these {len(spectra)} samples: {str(error)[:300]}"
            ) from error
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class code of each spectrum (n, band) or window."""
        scaled = self._scaled(X)
        return np.asarray(self.fitted_.predict(scaled))

    def _gives_shares(self) -> bool:
        return hasattr(getattr(self, "fitted_", None) or self.build(), "predict_proba")

    @available_if(_gives_shares)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the classifier's own class probabilities (n, class), if it has any."""
        scaled = self._scaled(X)
        return np.asarray(self.fitted_.predict_proba(scaled))

    def _scaled(self, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self, "fitted_")
        spectra = validate_data(self, centre_spectra(X), dtype=np.float64, reset=False)
        return np.asarray(self._scaler.transform(spectra))

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return path, parameters and seed, and the training samples with a probe."""
        check_is_fitted(self, "fitted_")
        probes = self._samples[:: max(1, len(self._samples) // _PROBES)]
        settings = {
            "path": self.path,
            "params": self.params,
            "seed": self.seed_,
            "classes": codes_to_json(self.classes_),
            "scikit_learn": sklearn.__version__,
        }
        return settings, {
            "samples": self._samples,
            "labels": np.searchsorted(self.classes_, self._labels).astype(np.int64),
            "probes": np.searchsorted(self.classes_, self.predict(probes)).astype(np.int64),
        }

    @classmethod
    def from_state(
        cls, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> "SklearnClassifier":
        """Fit the classifier that `state` described again, and check that it is the same.

        Raises
        ------
        ModelError
            If the state is incomplete, or the classifier fitted again answers
            the probe otherwise.
        """
        path, params, seed = (settings.get(name) for name in ("path", "params", "seed"))
        if not isinstance(params, dict | None) or type(seed) is not int:
            raise ModelError("The model's parameters are not readable; train it again.")
        classes = codes_from_json(settings.get("classes"))
        _check_arrays(arrays, len(classes))
        classifier = sklearn_classifier(str(path), params, random_state=seed)
        try:
            classifier.fit(arrays["samples"], classes[arrays["labels"]])
            probes = classifier.state()[1]["probes"]
        except ModelError:
            raise
        except Exception as error:  # Whatever scikit-learn makes of strange parameters.
            raise ModelError(
                f"The model {path} cannot be fitted again with its parameters "
                f"({type(error).__name__}: {str(error)[:200]}); train it again."
            ) from error
        if not np.array_equal(classifier.classes_, classes) or not np.array_equal(
            probes, arrays["probes"]
        ):
            made = str(settings.get("scikit_learn"))[:20]
            raise ModelError(
                f"The model {path} was made with scikit-learn {made} and answers otherwise "
                f"with {sklearn.__version__}; install that version or train it again with "
                "a seed."
            )
        return classifier


@lru_cache(maxsize=1)
def _sklearn_classifiers() -> dict[str, type]:
    """Return scikit-learn's classifiers that need no other estimator, by import path."""
    found = {}
    for name, kind in all_estimators(type_filter="classifier"):
        parts = [part for part in kind.__module__.split(".") if not part.startswith("_")]
        parameters = inspect.signature(kind).parameters.values()
        if all(
            one.default is not one.empty or one.kind == one.VAR_KEYWORD
            for one in parameters
        ):
            found[".".join([*parts, name])] = kind
    return found


def _seed(random_state: Any) -> int:
    """Return a seed that can be saved."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _class_of(path: str) -> type:
    """Return a class of scikit-learn by its import path."""
    known = _sklearn_classifiers()
    if path not in known:
        raise ModelError(
            f"scikit-learn has no classifier {str(path)[:100]!r}; "
            f"{_close_matches(str(path)[:100], known)}."
        )
    return known[path]


def _check_params(path: str, params: dict[str, Any], known: set[str]) -> None:
    """Refuse parameters the classifier does not have."""
    for name in params:
        if name not in known:
            raise ModelError(
                f"{path} has no parameter {str(name)[:60]!r}; {_close_matches(str(name)[:60], known)}."
            )
    for name, value in params.items():
        _check_amount(path, name, value)


def _check_amount(path: str, name: str, value: Any) -> None:
    """Refuse an amount of work that would never end, such as 10¹⁹ trees."""
    if isinstance(value, list | tuple):
        for one in value:
            _check_amount(path, name, one)
    most = _MAX_PARAMETERS.get(name, _MAX_PARAMETER)
    # A seed is no amount.
    if name != "random_state" and isinstance(value, int) and abs(value) > most:
        raise ModelError(
            f"{path} takes at most {most:,} as {name}, got {str(value)[:25]}; give less."
        )


def _close_matches(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to one that is not known, whatever their package."""
    last = {one.rsplit(".", 1)[-1]: one for one in sorted(known)}
    near = difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=2, cutoff=0.8)
    if near:
        are = "is" if len(near) == 1 else "are"
        return f"close {are} {', '.join(last[one] for one in near)}"
    some = list(last.values())
    rest = f" and {len(some) - 6} more" if len(some) > 6 else ""
    return f"known are {', '.join(some[:6])}{rest}"


def _check_arrays(arrays: dict[str, npt.NDArray[Any]], n_classes: int) -> None:
    """Refuse arrays that cannot be training samples with labels and a probe."""
    samples, labels, probes = (arrays.get(name) for name in ("samples", "labels", "probes"))
    if samples is None or labels is None or probes is None:
        raise ModelError("The model lacks its samples, labels or probe; train it again.")
    whole = labels.dtype == np.int64 and labels.ndim == 1 and len(labels) == len(samples)
    if samples.ndim != 2 or samples.dtype != np.float64 or not whole or not samples.size:
        raise ModelError(
            f"The model's samples and labels do not fit together: {samples.dtype} of shape "
            f"{samples.shape} and {labels.dtype} of shape {labels.shape}; train it again."
        )
    if not np.isfinite(samples).all():
        raise ModelError("The model's samples must be finite numbers; train it again.")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ModelError(
            f"The model's labels must lie between 0 and {n_classes - 1}, got "
            f"{labels.min()} to {labels.max()}; train it again."
        )
