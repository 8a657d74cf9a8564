"""Input of pixel classifiers: the centre spectra of windows, and linear reductions of them."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from hypercover.errors import ModelError
from hypercover.types import Floats


def centre_spectra(X: Any) -> Any:
    """Return the centre spectra (n, band) of windows; other input is returned unchanged.

    Parameters
    ----------
    X : lazy windows, array (n, band, row, col) or array (n, band)
        Lazy windows are anything with a method ``centres``.

    Examples
    --------
    >>> centre_spectra(np.arange(18).reshape(1, 2, 3, 3))
    array([[ 4, 13]])
    """
    if hasattr(X, "centres"):
        return X.centres()
    if getattr(X, "ndim", 2) != 4:
        return X
    stack = np.asarray(X)
    return stack[:, :, stack.shape[2] // 2, stack.shape[3] // 2]


def linear_map(reduction: Any, scaled: Floats, y: Any) -> tuple[Floats, Floats]:
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
    >>> projection, offset = linear_map(PCA(1), np.array([[0.0, 1], [1, 1], [2, 1]]), None)
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
        "The reduction of a support vector machine must be linear, with components_ "
        f"(feature, band) and mean_ (band,), got {type(reduction).__name__}; use for "
        "example NWFE, or scikit-learn's PCA without whitening."
    )
