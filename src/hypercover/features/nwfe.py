"""Nonparametric weighted feature extraction (NWFE), a supervised linear transformer."""

from itertools import product
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.errors import ModelError
from hypercover.features.spectral_features import fix_signs, squared_distances
from hypercover.types import Array, Floats, Indices, Mask

_BLOCK = 2**20
"""Distances held in memory at a time: 8 MiB, which fit in the cache."""
_DUPLICATE_DISTANCE = 1e-3
"""Distance below which two samples are duplicates, as a share of the root mean square one."""
_LEAST_SCATTER = 1e-9
"""Floor of the within-class scatter of a band, as a share of its variance."""


class NWFE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Linear features that separate neighbouring samples of different classes.

    A scikit-learn transformer on spectra (n, band).  Unlike linear discriminant
    analysis, which yields at most one feature less than there are classes, NWFE
    compares each sample with local means of each class and gives samples near class
    boundaries most weight.  It yields more features and does not assume normal
    distributions.

    Parameters
    ----------
    n_components : None or int
        Number of features; None takes one per band that is not constant.
    regularisation : float from 0 to 1
        Weight of the diagonal when it is mixed with the within-class scatter.
    max_per_class : None or int
        Largest number of samples to draw from a class; None takes all of them.
    random_state : None, int or RandomState
        Seed of that draw.

    Attributes
    ----------
    components_ : array (feature, band)
        Directions, scaled so that the regularised within-class scatter of the
        features is the identity; the largest weight of each is positive.
    mean_ : array (band,)
        Mean of the training samples.
    eigenvalues_ : array (feature,)
        Between-class scatter of each feature, in descending order.
    n_features_in_ : int
        Number of bands.

    Notes
    -----
    Features are ``components_ @ (x - mean_)``.  Time grows with the square of the
    number of samples, memory linearly.  A sample is excluded from its own local mean,
    and so are its duplicates: all samples closer than 1/1000 of the root mean square
    distance.  A class of one sample has no within-class scatter; constant bands get
    no weight.

    References
    ----------
    B.-C. Kuo and D. A. Landgrebe, Nonparametric weighted feature extraction for
    classification, IEEE TGRS 42(5), 2004, equations 8 to 13.

    Examples
    --------
    Two classes that differ in the second band only:

    >>> rng = np.random.default_rng(0)
    >>> codes = np.repeat([1, 2], 50)
    >>> spectra = rng.normal(size=(100, 3)) + 5 * (codes[:, None] == 2) * [0, 1, 0]
    >>> nwfe = NWFE(1).fit(spectra, codes)
    >>> int(np.abs(nwfe.components_[0]).argmax())
    1
    >>> nwfe.transform(spectra).shape
    (100, 1)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        regularisation: float = 0.5,
        max_per_class: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_components = n_components
        self.regularisation = regularisation
        self.max_per_class = max_per_class
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples (n, band) and their class codes (n,).

        Raises
        ------
        ModelError
            If a parameter is out of range, there is only one class, no class has
            two samples, or there are more features than varying bands.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        members = self._members(y)
        varying = np.ptp(X, axis=0) > 0
        n_components = self._number(varying)
        self.mean_ = X.mean(axis=0)
        centred = (X - self.mean_)[:, varying]
        within, between = _scatters([centred[member] for member in members])
        # mixed with its diagonal, so that it can be inverted
        diagonal = np.maximum(within.diagonal(), _LEAST_SCATTER * centred.var(axis=0))
        within = (1.0 - self.regularisation) * within
        np.fill_diagonal(within, diagonal)
        self.eigenvalues_, axes = _leading_eigenvectors(between, within, n_components)
        self.components_ = np.zeros((n_components, X.shape[1]))
        self.components_[:, varying] = axes
        return self

    def transform(self, X: Any) -> Floats:
        """Return the features (n, feature) of samples (n, band)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray((X - self.mean_) @ self.components_.T)

    def __sklearn_tags__(self) -> Any:
        """Declare that fitting needs labels."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _check_parameters(self) -> None:
        _check_whole(self.n_components, "number of features")
        _check_whole(self.max_per_class, "most samples per class")
        share = self.regularisation
        number = isinstance(share, Real) and not isinstance(share, bool)
        if not (number and 0.0 <= float(share) <= 1.0):
            raise ModelError(
                f"The regularisation of NWFE must be a number from 0 to 1, got {share!r}; use 0.5."
            )

    def _number(self, varying: Mask) -> int:
        """Return the number of features after checking it against the bands."""
        most = int(varying.sum())
        if not most:
            raise ModelError(
                f"NWFE needs bands that vary, but all {len(varying)} bands are constant; "
                "check the image."
            )
        count = int(self.n_components or most)
        if count > most:
            raise ModelError(
                f"NWFE cannot compute {count} features, because only {most} of "
                f"{len(varying)} bands "
                f"vary between the training samples; use at most {most}."
            )
        return count

    def _members(self, y: Array) -> list[Indices]:
        """Return the indices of each class's samples, subsampled if there are too many."""
        codes, classes = np.unique(y, return_inverse=True)
        if len(codes) < 2:
            raise ModelError(
                "NWFE needs training samples of at least two classes, got one class, "
                f"{codes[0]}; label pixels of another class."
            )
        rng = check_random_state(self.random_state)
        most = self.max_per_class or len(y)
        members = [np.flatnonzero(classes == position) for position in range(len(codes))]
        for position, member in enumerate(members):
            if len(member) > most:
                members[position] = np.sort(rng.choice(member, most, replace=False))
        if max(map(len, members)) < 2:
            raise ModelError(
                f"NWFE needs a class of at least two training samples, got {len(codes)} "
                "classes of one; "
                "label more pixels."
            )
        return members


def _scatters(classes: list[Floats]) -> tuple[Floats, Floats]:
    """Return within- and between-class scatter (band, band), equations 8 and 9."""
    n_samples, n_bands = sum(map(len, classes)), classes[0].shape[1]
    rms_distance = float(np.sqrt(2.0 * np.concatenate(classes).var(axis=0).sum()))
    floor = _DUPLICATE_DISTANCE * rms_distance
    within, between = np.zeros((n_bands, n_bands)), np.zeros((n_bands, n_bands))
    for i, j in product(range(len(classes)), repeat=2):
        residuals = classes[i] - _local_means(classes[i], classes[j], floor)
        weights = 1.0 / np.maximum(np.linalg.norm(residuals, axis=1), floor)
        # The prior n_i / n times 1 / n_i leaves 1 / n.
        residuals *= np.sqrt(weights / (weights.sum() * n_samples))[:, np.newaxis]
        scatter = within if i == j else between
        scatter += residuals.T @ residuals
    return within, between


def _local_means(samples: Floats, others: Floats, floor: float) -> Floats:
    """Return the local mean (n, band) of a class for each sample, weighted by distance."""
    means = np.empty_like(samples)
    step = max(1, _BLOCK // len(others))
    for top in range(0, len(samples), step):
        block = slice(top, top + step)
        weights = squared_distances(samples[block], others)
        same = weights < floor * floor
        np.maximum(weights, floor * floor, out=weights)
        np.sqrt(weights, out=weights)
        np.reciprocal(weights, out=weights)
        np.copyto(weights, 0.0, where=same)
        # If all samples of the class are duplicates, take their mean.
        weights[same.all(axis=1)] = 1.0
        np.matmul(weights, others, out=means[block])
        means[block] /= weights.sum(axis=1, keepdims=True)
    return means


def _leading_eigenvectors(
    between: Floats, within: Floats, count: int
) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues of within⁻¹ between and their eigenvectors (count, band)."""
    bands = len(within)
    try:
        values, vectors = eigh(between, within, subset_by_index=(bands - count, bands - 1))
    except np.linalg.LinAlgError as error:
        raise ModelError(
            f"The within-class scatter of {bands} bands cannot be inverted: too few samples or "
            "linearly dependent bands; raise NWFE's regularisation to 0.5."
        ) from error
    return np.maximum(values[::-1], 0.0), fix_signs(vectors[:, ::-1]).T


def _check_whole(value: Any, name: str) -> None:
    """Check that a parameter is None or a whole number above zero."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if value is not None and not (whole and int(value) >= 1):
        raise ModelError(
            f"The {name} of NWFE must be a whole number of at least 1, got {value!r}; use "
            "for example 30."
        )
