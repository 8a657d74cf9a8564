"""Reductions: linear transformers between scaling and machines, kept as plain arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone

from hypercover.errors import ModelError

__all__ = ["linear_map"]

Floats = npt.NDArray[np.float64]


def linear_map(reduction: Any, scaled: Floats, y: Any) -> tuple[Floats, Floats]:
    """Fit a clone of a transformer and return it as projection and offset.

    Why it exists: two arrays can be kept in a bundle and opened by anyone, an
    object cannot.  That they say all about the transformer is tried, not believed.

    Parameters
    ----------
    reduction : transformer
        Has ``components_`` (feature, band) and ``mean_`` (band,) after fitting.
    scaled : array (n, band)
        Scaled training pixels.
    y : array (n,) or None
        Their class codes, for a transformer that looks at them.

    Raises
    ------
    ModelError
        If it is no transformer, or not that linear map.

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
