"""A stack of windows and what is learnt from it before training."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError

__all__ = [
    "LazyWindows",
    "Stack",
    "centres",
    "check_finite",
    "cut",
    "local_noise",
    "pieces",
]

_PIECE = 2**26
"""Bytes of float32 windows that are cut at once when all have to be looked at."""


@runtime_checkable
class LazyWindows(Protocol):
    """A stack (n, band, row, col) that is cut when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stack: (n, band, row, col)."""

    def __len__(self) -> int:
        """Count the windows."""

    def __getitem__(self, key: Any, /) -> Any:
        """Select windows by a slice or an array of positions."""

    def cut(self) -> npt.NDArray[np.generic]:
        """Cut all windows now."""


Stack = npt.NDArray[np.generic] | LazyWindows


def cut(stack: Stack, which: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.generic]:
    """Return some windows as an array (n, band, row, col)."""
    part = stack[which]
    return part if isinstance(part, np.ndarray) else part.cut()


def pieces(stack: Stack) -> Iterator[slice]:
    """Cut a stack into slices small enough to be held as float32."""
    count, *window = stack.shape
    step = max(1, _PIECE // (4 * int(np.prod(window))))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def centres(stack: Stack) -> npt.NDArray[np.generic]:
    """Return the centre spectra (n, band) after checking every window for NaN.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    middle = stack.shape[2] // 2
    spectra = []
    for piece in pieces(stack):
        windows = cut(stack, piece)
        check_finite(windows)
        spectra.append(windows[:, :, middle, middle])
    return np.concatenate(spectra)


def local_noise(stack: Stack) -> npt.NDArray[np.float64] | None:
    """Return the covariance (band, band) of what differs between neighbours.

    Half the mean square of the differences of each centre to its 4 neighbours:
    exactly the covariance of noise that is independent from pixel to pixel over
    a flat ground.  None for windows of one pixel, which have no neighbours.
    """
    count, bands, side, _ = stack.shape
    if side == 1:
        return None
    middle, squares = side // 2, np.zeros((bands, bands))
    for piece in pieces(stack):
        windows = cut(stack, piece)
        around = slice(middle - 1, middle + 2)
        near = np.asarray(windows[:, :, around, around], dtype=np.float64)
        for row, col in ((0, 1), (1, 0), (1, 2), (2, 1)):
            difference = near[:, :, row, col] - near[:, :, 1, 1]
            squares += difference.T @ difference
    return squares / (8 * count)


def check_finite(values: npt.NDArray[np.generic]) -> None:
    """Refuse values that no network can take.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ModelError(
            f"The input contains NaN or infinity in {bad} of {values.size} values; mask "
            "or fill such pixels first."
        )
