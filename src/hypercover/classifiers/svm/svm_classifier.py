"""Support vector machines on spectra: scaling, an RBF kernel, one machine per pair."""

from numbers import Real
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import codes_from_json, codes_to_json
from hypercover.classifiers.pixel_spectra import centre_spectra, linear_map
from hypercover.classifiers.svm import platt
from hypercover.classifiers.svm.one_vs_one import OneVsOneMachines
from hypercover.errors import ModelError

__all__ = ["SVMClassifier"]

Arrays = dict[str, npt.NDArray[Any]]

_REQUIRED = ("mean", "scale", "vectors", "coefficients", "intercepts", "counts")


def _check_positive(value: Any, name: str) -> float:
    """Return a number after checking that it is above zero and finite.

    Raises
    ------
    ModelError
        If it is not, or no number at all.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and 0.0 < float(value) < np.inf:
        return float(value)
    raise ModelError(
        f"The {name} of a support vector machine must be a number above 0, got {repr(value)[:60]}; "
        f"use for example {'1' if name != 'cache_size' else '200'}."
    )


def _check_weights(weights: Any) -> None:
    """Refuse class weights that are no weights.

    Raises
    ------
    ModelError
        If they are neither None, "balanced" nor numbers above zero by code.
    """
    if isinstance(weights, dict):
        for weight in weights.values():
            _check_positive(weight, "class weight")
    elif weights is not None and weights != "balanced":
        raise ModelError(
            "The class weights of a support vector machine must be None, 'balanced' or a "
            f"number above 0 for each code, got {repr(weights)[:60]}; use for example 'balanced'."
        )


def _weights_to_json(weights: Any) -> Any:
    """Return class weights as JSON can hold them: pairs of code and weight."""
    if not isinstance(weights, dict):
        return weights
    codes = np.asarray(list(weights)).tolist()
    return [[code, float(weights[key])] for code, key in zip(codes, weights, strict=True)]


_Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class _SavedSVM(BaseModel):
    """Settings of a saved classifier, which may come from anyone."""

    C: _Positive
    gamma: Literal["scale", "auto"] | _Positive
    width: _Positive
    """The gamma of the fitted kernel."""
    class_weight: (
        Literal["balanced"]
        | list[tuple[StrictBool | StrictInt | StrictFloat | StrictStr, _Positive]]
        | None
    ) = None

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Self:
        """Check settings.

        Raises
        ------
        ModelError
            If one is missing or out of range.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise ModelError(
                f"The {fault['loc'][0]} of the saved SVM is not readable "
                f"({fault['msg'][:100]}); train it again."
            ) from error


def _check_arrays(arrays: Arrays, n_classes: int) -> None:
    """Refuse arrays that cannot belong to an SVM for this number of classes.

    Raises
    ------
    ModelError
        If one is missing, of another shape or type, or out of range.
    """
    missing = set(_REQUIRED) - set(arrays)
    if missing:
        raise ModelError(
            f"The model lacks its {', '.join(sorted(missing))}; train it again."
        )
    if ("projection" in arrays) != ("offset" in arrays):
        raise ModelError(
            "The model has one of projection and offset without the other; train it again."
        )
    vectors, projection = arrays["vectors"], arrays.get("projection")
    n_vectors, n_features = vectors.shape if vectors.ndim == 2 else (0, 0)
    reduces = projection is not None and projection.ndim == 2
    n_bands = projection.shape[1] if projection is not None and reduces else n_features
    n_pairs = n_classes * (n_classes - 1) // 2
    shapes = {
        "projection": (n_features, n_bands),
        "offset": (n_features,),
        "mean": (n_bands,),
        "scale": (n_bands,),
        "vectors": (n_vectors, n_features),
        "coefficients": (n_classes - 1, n_vectors),
        "intercepts": (n_pairs,),
        "counts": (n_classes,),
        "sigmoids": (n_pairs, 2),
    }
    for name, shape in shapes.items():
        array = arrays.get(name)
        kind = np.dtype(np.int64 if name == "counts" else np.float64)
        if array is not None and (
            array.shape != shape or array.dtype != kind or not np.isfinite(array).all()
        ):
            raise ModelError(
                f"The model's {name} must be finite {kind} values of shape {shape}, got "
                f"{array.dtype} of shape {array.shape}; train it again."
            )
    counts = arrays["counts"]
    if (counts < 0).any() or int(counts.sum()) != n_vectors or not n_vectors:
        raise ModelError(
            f"The model's support vector counts do not add up to its {n_vectors} support "
            "vectors; train it again."
        )
    if not (arrays["scale"] > 0).all():
        raise ModelError("The model's band scales must be above 0; train it again.")


_FOLDS = 5
"""Folds that the decisions for the probabilities are held out of, as in LIBSVM."""

Floats = npt.NDArray[np.float64]


class SVMClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify spectra with an RBF support vector machine.

    Why it exists: the classic of remote sensing with few labelled pixels, and
    the yardstick for every network.  Each band is scaled by mean and standard
    deviation of the training pixels, a linear reduction may follow,
    scikit-learn's SVC (LIBSVM) is fitted, and prediction runs as matrix
    products with the labels LIBSVM would give.

    Parameters
    ----------
    C : float
        Cost of a training pixel on the wrong side.
    gamma : "scale", "auto" or float
        Width of the kernel exp(-gamma · distance²) on what the machines see
        (scaled bands, or their features); "scale" is 1 / (features · variance),
        "auto" is 1 / features.
    class_weight : None, "balanced" or dict from code to weight
        Factor on C for each class.
    reduction : None or transformer
        A linear transformer such as NWFE or PCA, which has ``components_``
        (feature, band) and ``mean_`` (band,) after fitting.  A clone of it is
        fitted on the scaled training pixels with their codes.
    probability : bool
        Whether `predict_proba` is calibrated, which takes five more fits.
    cache_size : float
        Kernel cache while fitting, in MB.
    random_state : None or int
        Seed of the folds that calibrate; None is 0.  Nothing else is random.

    Attributes
    ----------
    classes_ : array (class,)
        Class codes in rising order; those of an imported LIBSVM model in its own.
    n_features_in_ : int
        Number of bands.
    mean_, scale_ : array (band,)
        Mean and standard deviation of the training pixels.
    projection_, offset_ : array (feature, band), array (feature,), or None
        The machines see ``projection_ @ scaled + offset_`` where there is a reduction.
    n_support_ : array (class,)
        Support vectors of each class.
    machines_ : OneVsOneMachines
        The fitted machines, on what `preprocess` gives.
    sigmoids_ : array (pair, 2) or None
        Slope and offset of each pair's sigmoid: LIBSVM's probA and probB.

    Notes
    -----
    A classifier that comes out of a saved state has the reduction as arrays and
    its parameter ``reduction`` is None: hand a transformer in to fit it again.

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
        reduction: Any = None,
        probability: bool = False,
        cache_size: float = 500.0,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.reduction = reduction
        self.probability = probability
        self.cache_size = cache_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "SVMClassifier":
        """Fit scaling, reduction and machines to spectra (n, band) or centres of windows.

        Raises
        ------
        ModelError
            If a parameter is out of range, there is only one class, or the
            reduction is not linear.
        """
        self._check_parameters()
        spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = _at_least_two(np.unique(y))
        seen = self._prepare(spectra, y)._seen(spectra)
        svc = SVC(
            C=float(self.C),
            gamma=self._width(seen),
            class_weight=self.class_weight,
            cache_size=self.cache_size,
        ).fit(seen, y)
        self.sigmoids_ = self._calibrated(spectra, y) if self.probability else None
        self.n_support_ = svc.n_support_
        self.machines_ = _machines_of(svc)
        return self

    def fit_preprocessing(self, X: Any, y: Any = None) -> "SVMClassifier":
        """Fit scaling and reduction alone; `preprocess` then gives what machines would see.

        Why it exists: a search over C and gamma needs it once, not once a cell.
        ``y`` is needed only where there is a reduction that looks at it.
        """
        if y is None:
            spectra = validate_data(self, centre_spectra(X), dtype=np.float64)
        else:
            spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        return self._prepare(spectra, y)

    def preprocess(self, X: Any) -> Floats:
        """Return what the machines see (n, feature) of spectra (n, band) or windows."""
        return self._seen(self._checked(X, "mean_"))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class code of each spectrum (n, band) or window: SVC's labels."""
        spectra = self._checked(X)
        positions = self.machines_.labels(
            lambda rows: self._seen(spectra[rows]), len(spectra)
        )
        return np.asarray(self.classes_[positions])

    def predict_proba(self, X: Any) -> Floats:
        """Return confidences (n, class) that sum to 1: calibrated ones if asked for.

        With ``probability=True`` they are Platt's, coupled over all pairs.  The
        class that is most probable is then mostly, not always, the one that
        `predict` gives, which counts votes.

        Otherwise each decision value is read as log-odds between its two
        classes; a class's share is proportional to the product of its pairwise
        probabilities.  They rank pixels by how sure the machines are and are
        **not** calibrated: 0.9 does not mean right nine times in ten.  The
        class that `predict` gives then always has the highest share.
        """
        spectra = self._checked(X)
        shares = np.empty((len(spectra), len(self.classes_)))

        def share(block: slice) -> None:
            decisions = self.machines_.decisions(self._seen(spectra[block]))
            shares[block] = self._confidences(decisions)

        self.machines_.in_blocks(share, len(spectra))
        return shares

    def _confidences(self, decisions: Floats) -> Floats:
        if self.sigmoids_ is None:
            return self.machines_.shares(decisions)
        pairs = platt.pair_probabilities(decisions, self.sigmoids_)
        return platt.couple_pairs(pairs, len(self.classes_))

    def _check_parameters(self) -> None:
        _check_positive(self.C, "C")
        _check_positive(self.cache_size, "cache_size")
        if self.gamma not in ("scale", "auto"):
            _check_positive(self.gamma, "gamma")
        _check_weights(self.class_weight)
        if not isinstance(self.probability, bool | np.bool_):
            raise ModelError(
                "The probability of a support vector machine must be True or False, got "
                f"{self.probability!r}; use True for calibrated probabilities."
            )

    def _checked(self, X: Any, fitted: str = "machines_") -> npt.NDArray[Any]:
        check_is_fitted(self, fitted)
        return np.asarray(validate_data(self, centre_spectra(X), reset=False))

    def _prepare(self, spectra: Floats, y: Any) -> "SVMClassifier":
        """Fit scaling and reduction; machines for older ones are forgotten."""
        self.__dict__.pop("machines_", None)
        scaler = StandardScaler().fit(spectra)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        self.projection_: Floats | None = None
        self.offset_: Floats | None = None
        if self.reduction is not None:
            scaled = self._seen(spectra)
            self.projection_, self.offset_ = linear_map(self.reduction, scaled, y)
        return self

    def _seen(self, spectra: npt.NDArray[Any]) -> Floats:
        """Return what the machines see of spectra that were checked before."""
        scaled = spectra.astype(np.float64)
        scaled -= self.mean_
        scaled /= self.scale_
        if self.projection_ is None or self.offset_ is None:
            return np.asarray(scaled)
        return np.asarray(scaled @ self.projection_.T + self.offset_)

    def _width(self, seen: Floats) -> float:
        n_features = float(seen.shape[1])
        if self.gamma == "auto":
            return 1.0 / n_features
        if self.gamma == "scale":
            return 1.0 / (n_features * (float(seen.var()) or 1.0))
        return float(self.gamma)

    def _calibrated(self, spectra: Floats, y: npt.NDArray[Any]) -> Floats:
        """Fit the sigmoids to decisions about pixels that took no part in them."""
        positions = np.searchsorted(self.classes_, y)
        # None is a seed like any other: the same pixels give the same probabilities.
        seed = 0 if self.random_state is None else self.random_state
        folds = platt.stratified_folds(
            positions, _FOLDS, check_random_state(seed).randint(2**31)
        )
        decisions = np.zeros((len(y), len(self.classes_) * (len(self.classes_) - 1) // 2))
        for fold in np.unique(folds):
            held = folds == fold
            decisions[held] = self._decisions_of_others(spectra, y, held)
        return platt.fit_sigmoids(decisions, positions, len(self.classes_))

    def _decisions_of_others(
        self, spectra: Floats, y: npt.NDArray[Any], held: npt.NDArray[np.bool_]
    ) -> Floats:
        """Return the decisions (held pixel, pair) of machines fitted without those pixels.

        As in LIBSVM, a pair with one class left speaks for that class, one with
        none for neither.
        """
        known = np.isin(self.classes_, y[~held])
        first, second = np.triu_indices(len(self.classes_), 1)
        decisions = np.empty((int(held.sum()), len(first)))
        decisions[:] = known[first].astype(float) - known[second]
        if known.sum() > 1:
            weights = self.class_weight
            if isinstance(weights, dict):
                weights = {code: weights[code] for code in weights if code in y[~held]}
            fitted = clone(self).set_params(probability=False, class_weight=weights)
            fitted.fit(spectra[~held], y[~held])
            seen = fitted._seen(spectra[held])
            decisions[:, known[first] & known[second]] = fitted.machines_.decisions(seen)
        return decisions

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the fitted machines as JSON-able settings and plain arrays."""
        check_is_fitted(self, "machines_")
        machines = self.machines_
        settings = {
            "C": float(self.C),
            "gamma": self.gamma if isinstance(self.gamma, str) else float(self.gamma),
            "class_weight": _weights_to_json(self.class_weight),
            "width": machines.gamma,
            "classes": codes_to_json(self.classes_),
        }
        arrays = {
            "mean": self.mean_,
            "scale": self.scale_,
            "projection": self.projection_,
            "offset": self.offset_,
            "vectors": machines.vectors,
            "coefficients": machines.coefficients,
            "intercepts": machines.intercepts,
            "counts": np.asarray(machines.counts, dtype=np.int64),
            "sigmoids": self.sigmoids_,
        }
        return settings, {
            name: array for name, array in arrays.items() if array is not None
        }

    @classmethod
    def from_state(
        cls, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> Self:
        """Return the fitted classifier that `state` described.

        Raises
        ------
        ModelError
            If the state is incomplete or its shapes contradict each other.
        """
        classes = codes_from_json(settings.get("classes"), ordered=False)
        _check_arrays(arrays, len(classes))
        saved = _SavedSVM.read(settings)
        weights = saved.class_weight
        svm = cls(
            saved.C,
            saved.gamma,
            class_weight=dict(weights) if isinstance(weights, list) else weights,
            probability="sigmoids" in arrays,
        )
        svm.classes_, svm.n_features_in_ = classes, len(arrays["mean"])
        svm.mean_, svm.scale_ = arrays["mean"], arrays["scale"]
        svm.projection_, svm.offset_ = arrays.get("projection"), arrays.get("offset")
        svm.sigmoids_ = arrays.get("sigmoids")
        counts = tuple(arrays["counts"].tolist())
        svm.n_support_ = np.asarray(counts, dtype=np.int32)
        svm.machines_ = OneVsOneMachines(
            arrays["vectors"],
            arrays["coefficients"],
            arrays["intercepts"],
            counts,
            saved.width,
        )
        return svm


def _at_least_two(classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Refuse to learn a single class."""
    if len(classes) < 2:
        raise ModelError(
            "A classifier needs training pixels of at least two classes, got one class, "
            f"{classes[0]}; label pixels of another class."
        )
    return classes


def _machines_of(svc: SVC) -> OneVsOneMachines:
    """Take the machines out of a fitted SVC, with LIBSVM's signs."""
    # scikit-learn turns the signs of a single pair around.
    sign = -1.0 if len(svc.classes_) == 2 else 1.0
    return OneVsOneMachines(
        np.ascontiguousarray(svc.support_vectors_),
        sign * np.asarray(svc.dual_coef_),
        sign * np.asarray(svc.intercept_),
        tuple(svc.n_support_.tolist()),
        float(svc.gamma),
    )
