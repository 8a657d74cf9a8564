"""RBF support vector machine on standardised spectra, as a scikit-learn classifier.

Its probabilities are calibrated as in LIBSVM: a sigmoid per pair turns decision values into
the probability of the first of two classes (Platt), and the probabilities of all pairs are
coupled into one per class.

References
----------
J. C. Platt, Probabilistic outputs for support vector machines, 1999.
H.-T. Lin, C.-J. Lin and R. C. Weng, A note on Platt's probabilistic outputs for
support vector machines, Machine Learning 68, 2007, algorithm 1.
T.-F. Wu, C.-J. Lin and R. C. Weng, Probability estimates for multi-class
classification by pairwise coupling, JMLR 5, 2004, section 4.2 (the second method).
"""

from itertools import combinations
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import State, codes_from_json, codes_to_json, validated
from hypercover.classifiers.pixel_spectra import centre_spectra, training_classes
from hypercover.classifiers.svm.one_vs_one import OneVsOneSVMs
from hypercover.classifiers.svm.svm_cross_validation import (
    check_class_weight,
    check_positive,
    kernel_gamma,
)
from hypercover.errors import ModelError
from hypercover.types import Array, Arrays, Floats, Indices, Mask

_REQUIRED = {"mean", "scale", "vectors", "coefficients", "intercepts", "counts"}

_FOLDS = 5
"""Folds for Platt scaling, as in LIBSVM."""

_Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Code = bool | int | float | str


class _SavedSVM(BaseModel):
    """Settings of a saved classifier, which may come from anyone."""

    C: _Positive
    gamma: Literal["scale", "auto"] | _Positive
    width: _Positive
    """The gamma of the fitted kernel."""
    class_weight: Literal["balanced"] | list[tuple[_Code, _Positive]] | None = None


def _check_arrays(arrays: Arrays, n_classes: int) -> None:
    """Refuse arrays that cannot belong to an SVM for this number of classes.

    Raises
    ------
    ModelError
        If one is missing, of another shape or type, or out of range.
    """
    missing = ", ".join(sorted(_REQUIRED - set(arrays)))
    if missing:
        raise ModelError(f"The model lacks its {missing}; train it again.")
    if ("projection" in arrays) != ("offset" in arrays):
        raise ModelError(
            "The model has one of projection and offset without the other; train it again."
        )
    vectors, counts = arrays["vectors"], arrays["counts"]
    n_vectors, n_features = vectors.shape if vectors.ndim == 2 else (0, 0)
    projection = arrays.get("projection", vectors)
    n_bands = projection.shape[1] if projection.ndim == 2 else n_features
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
        if name not in arrays:
            continue
        array = arrays[name]
        kind = np.dtype(np.int64 if name == "counts" else np.float64)
        if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
            raise ModelError(
                f"The model's {name} must be finite {kind} {shape}, got {array.dtype} "
                f"{array.shape}; train it again."
            )
    if (counts < 0).any() or int(counts.sum()) != n_vectors or not n_vectors:
        raise ModelError(
            f"The model's counts do not add up to its {n_vectors} support vectors; train it again."
        )
    if not (arrays["scale"] > 0).all():
        raise ModelError("The model's band scales must be above 0; train it again.")


class SVMClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify spectra with an RBF support vector machine.

    Bands are standardised over the training pixels, optionally reduced by a linear
    transformer, and classified by scikit-learn's SVC (LIBSVM).  Prediction uses matrix
    products and gives LIBSVM's labels.

    Parameters
    ----------
    C : float
        Regularisation parameter: the cost of a margin violation.
    gamma : "scale", "auto" or float
        Gamma of the kernel exp(-gamma · distance²) on the scaled or reduced bands;
        "scale" is 1 / (features · variance), "auto" is 1 / features.
    class_weight : None, "balanced" or dict from code to weight
        Factor on C for each class.
    reduction : None or transformer
        A linear transformer such as NWFE or PCA, which has ``components_``
        (feature, band) and ``mean_`` (band,) after fitting.  A clone of it is
        fitted to the scaled training pixels and their codes.
    probability : bool
        Whether to calibrate `predict_proba`, which takes five more fits.
    cache_size : float
        Kernel cache while fitting, in MB.
    random_state : None or int
        Seed of the calibration folds; None is 0.  Nothing else is random.

    Attributes
    ----------
    classes_ : array (class,)
        Class codes in ascending order; in the order of the file for imported LIBSVM
        models.
    n_features_in_ : int
        Number of bands.
    mean_, scale_ : array (band,)
        Mean and standard deviation of the training pixels.
    projection_, offset_ : array (feature, band), array (feature,), or None
        With a reduction, the features are ``projection_ @ scaled + offset_``.
    n_support_ : array (class,)
        Number of support vectors of each class.
    machines_ : OneVsOneSVMs
        The fitted SVMs, on the output of `preprocess`.
    sigmoids_ : array (pair, 2) or None
        Slope and offset of each pair's sigmoid: LIBSVM's probA and probB.

    Notes
    -----
    A classifier loaded from a file keeps the reduction as arrays, but its parameter
    ``reduction`` is None: set it before you fit the classifier again.

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
        """Fit to spectra (n, band) or to the centre spectra of windows.

        Raises
        ------
        ModelError
            If a parameter is out of range, there is only one class, or the reduction
            is not linear.
        """
        self._check_parameters()
        spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        self.classes_, _ = training_classes(y)
        features = self._prepare(spectra, y)._features(spectra)
        svc = SVC(
            C=float(self.C),
            gamma=kernel_gamma(self.gamma, features),
            class_weight=self.class_weight,
            cache_size=self.cache_size,
        ).fit(features, y)
        self.sigmoids_ = self._fit_sigmoids(spectra, y) if self.probability else None
        self.n_support_ = svc.n_support_
        # scikit-learn flips LIBSVM's signs of a single pair.
        sign = -1.0 if len(svc.classes_) == 2 else 1.0
        self.machines_ = OneVsOneSVMs(
            np.ascontiguousarray(svc.support_vectors_),
            sign * np.asarray(svc.dual_coef_),
            sign * np.asarray(svc.intercept_),
            tuple(svc.n_support_.tolist()),
            float(svc.gamma),
        )
        return self

    def fit_preprocessing(self, X: Any, y: Any = None) -> "SVMClassifier":
        """Fit scaling and reduction only, for `preprocess`.

        ``y`` is needed only by a supervised reduction.
        """
        if y is None:
            spectra = validate_data(self, centre_spectra(X), dtype=np.float64)
        else:
            spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        return self._prepare(spectra, y)

    def preprocess(self, X: Any) -> Floats:
        """Return the scaled and reduced features (n, feature) of spectra (n, band) or windows."""
        return self._features(self._checked(X, "mean_"))

    def predict(self, X: Any) -> Array:
        """Return the class code of each spectrum (n, band) or window, as LIBSVM does."""
        spectra = self._checked(X)
        positions = self.machines_.labels(
            lambda rows: self._features(spectra[rows]), len(spectra)
        )
        return np.asarray(self.classes_[positions])

    def predict_proba(self, X: Any) -> Floats:
        """Return class probabilities or scores (n, class) that sum to 1.

        With ``probability=True`` they are Platt's probabilities, coupled over all
        pairs.  The most probable class may differ from that of `predict`, which
        counts votes.

        Otherwise each decision value is taken as the log-odds of its two classes,
        and a class's score is proportional to the product of its pairwise
        probabilities.  These scores rank pixels but are **not** calibrated: 0.9 does
        not mean correct nine times in ten.  The class of `predict` has the highest
        score.
        """
        spectra = self._checked(X)
        scores = np.empty((len(spectra), len(self.classes_)))

        def score(block: slice) -> None:
            decisions = self.machines_.decisions(self._features(spectra[block]))
            if self.sigmoids_ is None:
                scores[block] = self.machines_.shares(decisions)
            else:
                pairs = pair_probabilities(decisions, self.sigmoids_)
                scores[block] = couple_pairs(pairs, len(self.classes_))

        self.machines_.in_blocks(score, len(spectra))
        return scores

    def _check_parameters(self) -> None:
        check_positive([self.C], "C")
        check_positive([self.cache_size], "cache_size")
        if self.gamma not in ("scale", "auto"):
            check_positive([self.gamma], "gamma")
        check_class_weight(self.class_weight)
        if not isinstance(self.probability, bool | np.bool_):
            raise ModelError(
                f"The probability must be True or False, got {self.probability!r:.60}; use True."
            )

    def _checked(self, X: Any, fitted: str = "machines_") -> Array:
        check_is_fitted(self, fitted)
        return np.asarray(validate_data(self, centre_spectra(X), reset=False))

    def _prepare(self, spectra: Floats, y: Any) -> "SVMClassifier":
        """Fit scaling and reduction, and discard SVMs fitted to older ones."""
        self.__dict__.pop("machines_", None)
        scaler = StandardScaler().fit(spectra)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        self.projection_: Floats | None = None
        self.offset_: Floats | None = None
        if self.reduction is not None:
            scaled = self._features(spectra)
            self.projection_, self.offset_ = _linear_map(self.reduction, scaled, y)
        return self

    def _features(self, spectra: Array) -> Floats:
        """Return the scaled and reduced features of checked spectra."""
        scaled = spectra.astype(np.float64)
        scaled -= self.mean_
        scaled /= self.scale_
        if self.projection_ is None or self.offset_ is None:
            return np.asarray(scaled)
        return np.asarray(scaled @ self.projection_.T + self.offset_)

    def _fit_sigmoids(self, spectra: Floats, y: Array) -> Floats:
        """Fit the sigmoids to out-of-fold decisions."""
        positions = np.searchsorted(self.classes_, y)
        # Deterministic by default: None is seed 0.
        seed = 0 if self.random_state is None else self.random_state
        folds = stratified_folds(positions, _FOLDS, check_random_state(seed).randint(2**31))
        decisions = np.zeros((len(y), len(self.classes_) * (len(self.classes_) - 1) // 2))
        for fold in np.unique(folds):
            test_mask = folds == fold
            decisions[test_mask] = self._held_out_decisions(spectra, y, test_mask)
        return fit_sigmoids(decisions, positions, len(self.classes_))

    def _held_out_decisions(self, spectra: Floats, y: Array, test_mask: Mask) -> Floats:
        """Return the decisions (held-out pixel, pair) of SVMs fitted without those pixels.

        As in LIBSVM, a pair with one class left votes for it, and one with none for
        neither.
        """
        known = np.isin(self.classes_, y[~test_mask])
        first, second = np.triu_indices(len(self.classes_), 1)
        decisions = np.empty((int(test_mask.sum()), len(first)))
        decisions[:] = known[first].astype(float) - known[second]
        if known.sum() > 1:
            weights = self.class_weight
            if isinstance(weights, dict):
                weights = {code: weights[code] for code in weights if code in y[~test_mask]}
            fitted = clone(self).set_params(probability=False, class_weight=weights)
            fitted.fit(spectra[~test_mask], y[~test_mask])
            features = fitted._features(spectra[test_mask])
            decisions[:, known[first] & known[second]] = fitted.machines_.decisions(
                features
            )
        return decisions

    def state(self) -> State:
        """Return the fitted classifier as JSON-able settings and arrays."""
        check_is_fitted(self, "machines_")
        machines = self.machines_
        weights: Any = self.class_weight
        if isinstance(weights, dict):
            codes, factors = np.asarray(list(weights)).tolist(), weights.values()
            weights = [[c, float(factor)] for c, factor in zip(codes, factors, strict=True)]
        settings = {
            "C": float(self.C),
            "gamma": self.gamma if isinstance(self.gamma, str) else float(self.gamma),
            "class_weight": weights,
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
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Restore a fitted classifier from its `state`.

        Raises
        ------
        ModelError
            If the state is incomplete or inconsistent.
        """
        classes = codes_from_json(settings.get("classes"), ordered=False)
        _check_arrays(arrays, len(classes))
        saved = validated(_SavedSVM, settings, "settings of the saved SVM")
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
        svm.n_support_ = arrays["counts"].astype(np.int32)
        counts = tuple(arrays["counts"].tolist())
        vectors, coefficients = arrays["vectors"], arrays["coefficients"]
        svm.machines_ = OneVsOneSVMs(
            vectors, coefficients, arrays["intercepts"], counts, saved.width
        )
        return svm


def _linear_map(reduction: Any, scaled: Floats, y: Any) -> tuple[Floats, Floats]:
    """Fit a clone of a linear transformer and return it as projection and offset.

    Parameters
    ----------
    reduction : transformer
        Has ``components_`` (feature, band) and ``mean_`` (band,) after fitting.
    scaled : array (n, band)
        Scaled training pixels.
    y : array (n,) or None
        Class codes, for supervised transformers.

    Raises
    ------
    ModelError
        If it is not a transformer or not linear, as tested on some pixels.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> projection, offset = _linear_map(PCA(1), np.array([[0.0, 1], [1, 1], [2, 1]]), None)
    >>> abs(projection).tolist(), abs(offset).tolist()
    ([[1.0, 0.0]], [1.0])
    """
    if isinstance(reduction, BaseEstimator):
        fitted = clone(reduction).fit(scaled, y)
        projection = np.array(getattr(fitted, "components_", np.empty(0)), dtype=np.float64)
        mean = np.array(getattr(fitted, "mean_", np.empty(0)), dtype=np.float64)
        if projection.ndim == 2 and projection.shape[1:] == mean.shape == scaled.shape[1:]:
            offset, probe = -projection @ mean, scaled[:100]
            if np.allclose(fitted.transform(probe), probe @ projection.T + offset):
                return projection, offset
    raise ModelError(
        "The reduction must be linear, with components_ (feature, band) and mean_ (band,), got "
        f"{type(reduction).__name__}; use NWFE, or scikit-learn's PCA without whitening."
    )


_MAX_STEPS = 100
_GRADIENT_TOLERANCE = 1e-5
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
        if np.abs(gradient).max() < _GRADIENT_TOLERANCE:
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
