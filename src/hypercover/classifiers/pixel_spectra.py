"""Input of pixel classifiers: the centre spectra of windows, and their classes."""

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from hypercover.errors import ModelError
from hypercover.types import Array, Indices


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


def training_classes(y: Array) -> tuple[Array, Indices]:
    """Return the classes of training pixels in order, and the position of each pixel's class.

    Raises
    ------
    ModelError
        If there is only one class.

    Examples
    --------
    >>> training_classes(np.array([21, 11, 21]))
    (array([11, 21]), array([1, 0, 1]))
    """
    check_classification_targets(y)
    classes, positions = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ModelError(
            f"Training needs pixels of at least two classes, got one class, {classes[0]}; "
            "label pixels of another class."
        )
    return classes, positions
