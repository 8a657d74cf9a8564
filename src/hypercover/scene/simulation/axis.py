"""The two directions in which land was surveyed, as coordinates of pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "strips"]

Floats = npt.NDArray[np.float64]
_AT_ONCE = 2**20
"""Pixels in a strip."""


@dataclass(frozen=True)
class Axis:
    """A coordinate that rises evenly over an image, in pixels.

    Why it exists: two coordinates of every pixel would take more memory than the
    land itself, and any piece of them is quickly computed.

    Examples
    --------
    >>> Axis((2, 3), 1.0, 10.0, 0.5)[:, :]
    array([[ 0.5,  1.5,  2.5],
           [10.5, 11.5, 12.5]])
    """

    shape: tuple[int, int]
    """Rows and columns of the image."""
    per_col: float
    """By how much it rises from one column to the next."""
    per_row: float
    """By how much it rises from one row to the next."""
    start: float
    """What it is at the first pixel."""

    def __getitem__(self, window: tuple[slice, slice]) -> Floats:
        """Return the coordinate of the pixels in some rows and columns."""
        y, x = (
            np.arange(*part.indices(size), dtype=np.float64)
            for part, size in zip(window, self.shape, strict=True)
        )
        return self.per_col * x + self.per_row * y[:, None] + self.start

    def at(self, row: int, col: int) -> float:
        """Return the coordinate of one pixel."""
        return self.per_col * col + self.per_row * row + self.start

    @property
    def corners(self) -> Floats:
        """The coordinate of the four corner pixels; no other has less or more."""
        rows, cols = self.shape
        return np.array([self.at(y, x) for y in (0, rows - 1) for x in (0, cols - 1)])


def strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Cut the rows of an image into strips."""
    rows, cols = shape
    step = max(1, _AT_ONCE // cols)
    return (slice(top, min(top + step, rows)) for top in range(0, rows, step))
