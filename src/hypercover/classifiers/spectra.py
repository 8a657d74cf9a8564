"""Spectra: what a pixel classifier sees of a stack of windows."""

from typing import Any

import numpy as np

__all__ = ["centre_spectra"]


def centre_spectra(X: Any) -> Any:
    """Return the centre spectra (n, band) of windows; anything else comes back as it is.

    Why it exists: a pixel classifier takes the same X as a convolutional
    network, so that an experiment can give both the same windows.

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
