"""Taking a fitted feature back from a file that anybody may have written."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError
from hypercover.features.feature import Arrays, Settings

__all__ = ["count_in", "matrix_in", "number_in", "vector_in"]

_MOST = 2**20
"""Counts above this are believed of no feature."""


def count_in(settings: Settings, name: str) -> int:
    """Return a whole number from 1 out of the settings of a saved feature."""
    value = settings.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST:
        return value
    raise ModelError(
        f"The saved feature's {name} must be a whole number from 1, got "
        f"{str(value)[:40]!r}; train the model again."
    )


def number_in(settings: Settings, name: str) -> float:
    """Return a finite number above 0 out of the settings of a saved feature."""
    value = settings.get(name)
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < np.inf
    ):
        return float(value)
    raise ModelError(
        f"The saved feature's {name} must be a number above 0, got {str(value)[:40]!r}; "
        "train the model again."
    )


def vector_in(
    arrays: Mapping[str, npt.NDArray[np.generic]], name: str, length: int | None = None
) -> npt.NDArray[np.float64]:
    """Return a vector of finite float64 values out of the arrays of a saved feature."""
    return _array(arrays, name, (length,))


def matrix_in(
    arrays: Arrays, name: str, rows: int | None, cols: int | None
) -> npt.NDArray[np.float64]:
    """Return a matrix of finite float64 values; None stands for any size above 0."""
    return _array(arrays, name, (rows, cols))


def _array(
    arrays: Mapping[str, npt.NDArray[np.generic]], name: str, shape: tuple[int | None, ...]
) -> npt.NDArray[np.float64]:
    array = arrays.get(name)
    if array is None:
        raise ModelError(f"The saved feature lacks its {name}; train the model again.")
    fits = array.ndim == len(shape) and all(
        size > 0 and wanted in (None, size)
        for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != np.float64 or not np.isfinite(array).all():
        wanted_text = " × ".join("n" if size is None else str(size) for size in shape)
        raise ModelError(
            f"The saved feature's {name} must be {wanted_text} finite float64 values, got "
            f"{array.dtype} of shape {array.shape}; train the model again."
        )
    return array.astype(np.float64, order="C")
