"""A lazy stack: windows that are indexed like an array and cut when asked for."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt

__all__ = ["LazyStack"]


class LazyStack(ABC):
    """A stack (n, band, row, col) that acts like an array and holds no window.

    Why it exists: windows out of a cube and windows out of a file are selected
    in the same way, by scikit-learn, by a network and by people.
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
    def cut(self) -> npt.NDArray[np.generic]:
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
    ) -> npt.NDArray[Any]:
        """Cut all windows for NumPy."""
        if copy is False:
            raise ValueError(
                "Windows are cut when asked for, so an array is always a copy."
            )
        return self.cut().astype(dtype or self.dtype, copy=False)
