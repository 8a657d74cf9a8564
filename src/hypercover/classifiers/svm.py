"""Support vector machines on spectra: scaling, an RBF kernel, one machine per pair."""

from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.codes import codes_from_json, codes_to_json
from hypercover.classifiers.pairwise import PairwiseMachines
from hypercover.classifiers.spectra import centre_spectra
from hypercover.errors import ModelError

__all__ = ["SVMClassifier"]

Floats = npt.NDArray[np.float64]


class SVMClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify spectra with an RBF support vector machine.

    Why it exists: the classic of remote sensing with few labelled pixels, and
    the yardstick for every network.  Each band is scaled by mean and standard
    deviation of the training pixels, scikit-learn's SVC (LIBSVM) is fitted,
    and prediction runs as matrix products with the labels LIBSVM would give.

    Parameters
    ----------
    C : float
        Cost of a training pixel on the wrong side.
    gamma : "scale", "auto" or float
        Width of the kernel exp(-gamma · distance²) on scaled bands; "scale" is
        1 / (bands · variance), "auto" is 1 / bands.
    class_weight : None, "balanced" or dict from code to weight
        Factor on C for each class.
    cache_size : float
        Kernel cache while fitting, in MB.
    random_state : None or int
        Not needed, as the fit has nothing random; kept so that all classifiers
        are built alike.

    Attributes
    ----------
    classes_ : array (class,)
        Class codes in rising order.
    n_features_in_ : int
        Number of bands.
    n_support_ : array (class,)
        Support vectors of each class.
    machines_ : PairwiseMachines
        The fitted machines, on scaled bands.

    Examples
    --------
    >>> spectra = np.array([[0.0, 1.0], [0.1, 1.1], [3.0, 2.0], [3.1, 2.1]])
    >>> svm = SVMClassifier().fit(spectra, [11, 11, 21, 21])
    >>> svm.predict([[0.2, 1.0], [2.9, 2.2]])
    array([11, 21])
    """

    def __init__(
        self,
        C: float = 100.0,
        gamma: Literal["scale", "auto"] | float = "scale",
        *,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        cache_size: float = 500.0,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.cache_size = cache_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "SVMClassifier":
        """Fit scaling and machines to spectra (n, band) or the centres of windows.

        Raises
        ------
        ModelError
            If a parameter is out of range or there is only one class.
        """
        self._check_parameters()
        spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = _at_least_two(np.unique(y))
        scaler = StandardScaler().fit(spectra)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        scaled = self._scaled(spectra)
        svc = SVC(
            C=float(self.C),
            gamma=self._width(scaled),
            class_weight=self.class_weight,
            cache_size=self.cache_size,
        ).fit(scaled, y)
        self.machines_ = _machines(svc)
        self.n_support_ = svc.n_support_
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class code of each spectrum (n, band) or window: SVC's labels."""
        spectra = self._checked(X)
        positions = np.empty(len(spectra), dtype=np.intp)
        for block in self.machines_.blocks(len(spectra)):
            decisions = self.machines_.decisions(self._scaled(spectra[block]))
            positions[block] = self.machines_.winners(decisions)
        return np.asarray(self.classes_[positions])

    def predict_proba(self, X: Any) -> Floats:
        """Return uncalibrated confidences (n, class) that sum to 1.

        Each decision value is read as log-odds between its two classes; a
        class's share is proportional to the product of its pairwise
        probabilities.  They rank pixels by how sure the machines are and are
        **not** calibrated: 0.9 does not mean right nine times in ten.  The
        class that `predict` gives always has the highest share.
        """
        spectra = self._checked(X)
        shares = np.empty((len(spectra), len(self.classes_)))
        for block in self.machines_.blocks(len(spectra)):
            decisions = self.machines_.decisions(self._scaled(spectra[block]))
            shares[block] = _shares(decisions, self.machines_)
        return shares

    def _check_parameters(self) -> None:
        _positive(self.C, "C")
        _positive(self.cache_size, "cache_size")
        if self.gamma not in ("scale", "auto"):
            _positive(self.gamma, "gamma")

    def _checked(self, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self)
        return np.asarray(validate_data(self, centre_spectra(X), reset=False))

    def _scaled(self, spectra: npt.NDArray[Any]) -> Floats:
        scaled = spectra.astype(np.float64)
        scaled -= self.mean_
        scaled /= self.scale_
        return np.asarray(scaled)

    def _width(self, scaled: Floats) -> float:
        n_bands = float(scaled.shape[1])
        if self.gamma == "auto":
            return 1.0 / n_bands
        if self.gamma == "scale":
            return 1.0 / (n_bands * (float(scaled.var()) or 1.0))
        return float(self.gamma)

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the fitted machines as JSON-able settings and plain arrays."""
        check_is_fitted(self)
        machines = self.machines_
        settings = {
            "C": float(self.C),
            "gamma": self.gamma if isinstance(self.gamma, str) else float(self.gamma),
            "class_weight": self._weights_to_json(),
            "width": machines.gamma,
            "classes": codes_to_json(self.classes_),
        }
        return settings, {
            "mean": self.mean_,
            "scale": self.scale_,
            "vectors": machines.vectors,
            "coefficients": machines.coefficients,
            "intercepts": machines.intercepts,
            "counts": np.asarray(machines.counts, dtype=np.int64),
        }

    def _weights_to_json(self) -> Any:
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        codes = np.asarray(list(self.class_weight)).tolist()
        weights = [float(weight) for weight in self.class_weight.values()]
        return [list(pair) for pair in zip(codes, weights, strict=True)]

    @classmethod
    def from_state(
        cls, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> "SVMClassifier":
        """Return the fitted classifier that `state` described.

        Raises
        ------
        ModelError
            If the state is incomplete or its shapes contradict each other.
        """
        classes = codes_from_json(settings.get("classes"))
        width = _positive(settings.get("width"), "width")
        _check_arrays(arrays, len(classes))
        gamma = settings.get("gamma")
        if gamma not in ("scale", "auto"):
            gamma = _positive(gamma, "gamma")
        weights = _weights_from_json(settings.get("class_weight"))
        svm = cls(_positive(settings.get("C"), "C"), gamma, class_weight=weights)
        svm.classes_, svm.n_features_in_ = classes, len(arrays["mean"])
        svm.mean_, svm.scale_ = arrays["mean"], arrays["scale"]
        counts = tuple(arrays["counts"].tolist())
        svm.n_support_ = np.asarray(counts, dtype=np.int32)
        svm.machines_ = PairwiseMachines(
            arrays["vectors"], arrays["coefficients"], arrays["intercepts"], counts, width
        )
        return svm


def _positive(value: Any, name: str) -> float:
    """Return a number after checking that it is above zero and finite."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and 0.0 < float(value) < np.inf:
        return float(value)
    raise ModelError(
        f"The {name} of a support vector machine must be a number above 0, got {value!r}; "
        f"use for example {'1' if name != 'cache_size' else '200'}."
    )


def _at_least_two(classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Refuse to learn a single class."""
    if len(classes) < 2:
        raise ModelError(
            "A classifier needs training pixels of at least two classes, got one class, "
            f"{classes[0]}; label pixels of another class."
        )
    return classes


def _machines(svc: SVC) -> PairwiseMachines:
    """Take the machines out of a fitted SVC, with LIBSVM's signs."""
    # scikit-learn turns the signs of a single pair around.
    sign = -1.0 if len(svc.classes_) == 2 else 1.0
    return PairwiseMachines(
        np.ascontiguousarray(svc.support_vectors_),
        sign * np.asarray(svc.dual_coef_),
        sign * np.asarray(svc.intercept_),
        tuple(svc.n_support_.tolist()),
        float(svc.gamma),
    )


def _shares(decisions: Floats, machines: PairwiseMachines) -> Floats:
    """Turn pairwise decisions into shares whose highest is the winner of the votes."""
    logs = np.zeros((len(decisions), len(machines.counts)))
    for column, (i, j) in enumerate(machines.pairs):
        logs[:, i] -= np.logaddexp(0.0, -decisions[:, column])
        logs[:, j] -= np.logaddexp(0.0, decisions[:, column])
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    winners = machines.winners(decisions)
    every = np.arange(len(shares))
    # Where the products would prefer another class than the votes, the two swap.
    best = shares.argmax(axis=1)
    shares[every, best] = shares[every, winners]
    np.minimum(shares, 1.0 - 1e-9, out=shares)
    shares[every, winners] = 1.0
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _weights_from_json(value: Any) -> Any:
    """Return class weights as they were given to the classifier."""
    if value is None or value == "balanced":
        return value
    try:
        return {code: _positive(weight, "class weight") for code, weight in value}
    except (TypeError, ValueError) as error:
        raise ModelError(
            "The class weights of the model are not readable; train it again."
        ) from error


def _check_arrays(arrays: dict[str, npt.NDArray[Any]], n_classes: int) -> None:
    """Refuse arrays that cannot be those of machines for so many classes."""
    missing = {"mean", "scale", "vectors", "coefficients", "intercepts", "counts"} - set(
        arrays
    )
    if missing:
        raise ModelError(
            f"The model lacks its {', '.join(sorted(missing))}; train it again."
        )
    vectors, counts = arrays["vectors"], arrays["counts"]
    n_vectors, n_bands = vectors.shape if vectors.ndim == 2 else (0, 0)
    shapes = {
        "mean": (n_bands,),
        "scale": (n_bands,),
        "vectors": (n_vectors, n_bands),
        "coefficients": (n_classes - 1, n_vectors),
        "intercepts": (n_classes * (n_classes - 1) // 2,),
        "counts": (n_classes,),
    }
    for name, shape in shapes.items():
        _check_array(name, arrays[name], shape)
    if (counts < 0).any() or int(counts.sum()) != n_vectors or not n_vectors:
        raise ModelError(
            f"The model's support vector counts do not add up to its {n_vectors} support "
            "vectors; train it again."
        )
    if not (arrays["scale"] > 0).all():
        raise ModelError("The model's band scales must be above 0; train it again.")


def _check_array(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape or type, or with values that are not finite."""
    kind = np.dtype(np.int64 if name == "counts" else np.float64)
    if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
        raise ModelError(
            f"The model's {name} must be finite {kind} values of shape {shape}, got "
            f"{array.dtype} of shape {array.shape}; train it again."
        )
