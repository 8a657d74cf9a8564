"""Windows: lazy cuts of a cube around pixels."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError, counted
from hypercover.scene.samples import Samples, check_window
from hypercover.scene.scene import Scene, blank_invalid
from hypercover.types import Array, Indices


class LazyStack(ABC):
    """A lazy stack (n, band, row, col) that is indexed like an array.

    Windows of a cube and windows of a file share this interface.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the stack: (n, band, row, col)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    @abstractmethod
    def cut(self) -> Array:
        """Cut all windows now: an array (n, band, row, col)."""

    @abstractmethod
    def _part(self, which: Any) -> Self:
        """Select windows, lazily, by a slice, indices or a mask."""

    @property
    def ndim(self) -> int:
        """Number of axes: always 4."""
        return 4

    def __len__(self) -> int:
        """Count the windows."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Name the number, shape and type of the windows."""
        sides = " × ".join(map(str, self.shape[1:]))
        count = counted(len(self), "window")
        return (
            f"<{type(self).__name__} of {count} of {sides} (band, row, col), {self.dtype}>"
        )

    def __getitem__(self, key: Any) -> Any:
        """Select windows lazily by slice or indices; cut one by an integer."""
        if isinstance(key, tuple) and (not key or key[0] is Ellipsis):
            return self.cut()[key]
        first, more = (key[0], key[1:]) if isinstance(key, tuple) else (key, None)
        single = isinstance(first, int | np.integer)
        if more is None and not single:
            return self._part(key)
        cut = self._part(np.atleast_1d(np.arange(len(self))[first])).cut()
        return cut[(0 if single else slice(None), *(more or ()))]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> Array:
        """Cut all windows for NumPy."""
        if copy is False:
            raise ValueError(
                "Windows are cut on demand, so an array is always a copy; use copy=None."
            )
        return self.cut().astype(dtype or self.dtype, copy=False)


class Windows(LazyStack):
    """A stack (n, band, row, col) of windows that are cut from a cube on demand.

    A stack of 9 × 9 windows is 81 times as large as the pixels.  This one takes one
    padded copy of the cube and works with scikit-learn like an array.

    Parameters
    ----------
    cube : array of shape (band, row, col)
    rows, cols : arrays of shape (n,)
        Centres of the windows.
    size : odd int
        Side of a window in pixels.  Beyond the edge of the cube its edge pixels are
        repeated, as in Lange et al. (2018).

    Examples
    --------
    >>> cube = np.arange(18).reshape(2, 3, 3)
    >>> windows = Windows(cube, [0, 1], [0, 1], size=3)
    >>> windows.shape
    (2, 2, 3, 3)
    >>> windows[0, 0].tolist()
    [[0, 0, 1], [0, 0, 1], [3, 3, 4]]
    """

    def __init__(
        self, cube: Array, rows: npt.ArrayLike, cols: npt.ArrayLike, size: int
    ) -> None:
        check_window(size, (cube.shape[1], cube.shape[2]))
        margin = size // 2
        pad = ((0, 0), (margin, margin), (margin, margin))
        self.size = size
        self._padded = np.pad(cube, pad, mode="edge") if margin else cube
        self._view = np.lib.stride_tricks.sliding_window_view(
            self._padded, (size, size), axis=(1, 2)
        )
        self.rows = _checked_positions(rows, cube.shape[1], "rows")
        self.cols = _checked_positions(cols, cube.shape[2], "columns")
        if len(self.rows) != len(self.cols):
            raise CallError(
                f"Each window needs one row and one column, got {len(self.rows)} rows and "
                f"{len(self.cols)} columns; give as many of both."
            )

    @classmethod
    def of(cls, scene: Scene, samples: Samples, size: int) -> Self:
        """Return the windows around samples of a scene; pixels without data are zero."""
        values = blank_invalid(np.asarray(scene.load().cube.values), scene.valid)
        return cls(values, samples.rows, samples.cols, size)

    @classmethod
    def near(cls, scene: Scene, samples: Samples, size: int) -> Self:
        """Return the windows around samples in row order, reading only the rows they cover."""
        margin, height = size // 2, scene.shape[0]
        top = max(0, min(int(samples.rows[0]) - margin, height - size))
        end = min(height, max(int(samples.rows[-1]) + margin + 1, top + size))
        values = blank_invalid(*scene.read_valid(slice(top, end), slice(None)))
        return cls(values, samples.rows - top, samples.cols, size)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the stack: (n, band, row, col)."""
        return len(self.rows), self._padded.shape[0], self.size, self.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: that of the cube."""
        return self._padded.dtype

    def _part(self, which: Any) -> Self:
        part = object.__new__(type(self))
        part.size, part._padded, part._view = self.size, self._padded, self._view
        part.rows, part.cols = self.rows[which], self.cols[which]
        return part

    def cut(self) -> Array:
        """Cut all windows now: an array (n, band, row, col) in the cube's type."""
        cut = self._view[:, self.rows, self.cols]
        return np.ascontiguousarray(np.moveaxis(cut, 0, 1))

    def cube_and_corners(self) -> tuple[Array, Indices, Indices]:
        """Return the padded cube (band, row, col) and each window's first row and column."""
        return self._padded, self.rows, self.cols

    def centres(self) -> Array:
        """Return the spectra of the centre pixels: an array (n, band)."""
        margin = self.size // 2
        return np.ascontiguousarray(
            self._padded[:, self.rows + margin, self.cols + margin].T
        )


def _checked_positions(given: npt.ArrayLike, side: int, what: str) -> Indices:
    """Return positions (n,) after checking that they are in the image."""
    positions = np.asarray(given, dtype=np.intp)
    if positions.size and not 0 <= positions.min() <= positions.max() < side:
        raise CallError(
            f"The {what} of windows must be from 0 to {side - 1}, got "
            f"{positions.min()} to {positions.max()}; count them from 0 in this image."
        )
    return positions
