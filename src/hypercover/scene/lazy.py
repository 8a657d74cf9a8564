"""Arrays that stay in their file until a piece of them is asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = ["LazyArray", "bounding_slice"]

Indices = tuple[npt.NDArray[np.intp], ...]
Fetch = Callable[[Indices], npt.NDArray[np.generic]]


class LazyArray(BackendArray):
    """An array in a file, read by a function and only where it is indexed.

    Why it exists: cubes may be larger than memory, and every failure to read a
    piece must become a sentence about the scene; the function given does that.

    Parameters
    ----------
    shape, dtype
        Those of the array in the file.
    fetch : callable
        Given the wanted indices along each axis of the file, it returns that block.
    order : sequence of int, optional
        Axes of the file in the order in which they are to be shown.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        fetch: Fetch,
        order: Sequence[int] | None = None,
    ) -> None:
        self._order = tuple(range(len(shape)) if order is None else order)
        self._fetch = fetch
        self.shape = tuple(shape[axis] for axis in self._order)
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an xarray index asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._block
        )

    def _block(self, key: tuple[Any, ...]) -> npt.NDArray[np.generic]:
        wanted = [
            np.atleast_1d(np.arange(size)[part])
            for size, part in zip(self.shape, key, strict=True)
        ]
        in_file = [wanted[self._order.index(axis)] for axis in range(len(wanted))]
        if any(len(indices) == 0 for indices in wanted):
            block = np.empty([len(indices) for indices in in_file], self.dtype)
        else:
            block = self._fetch(tuple(in_file))
        shown = block.transpose(self._order)
        single = tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice)
                       else slice(None) for part in key)  # fmt: skip
        return shown[single]

    def block(self, wanted: Indices) -> npt.NDArray[np.generic]:
        """Read the block of these indices along each axis as it is shown."""
        in_file = tuple(wanted[self._order.index(axis)] for axis in range(len(wanted)))
        return self._fetch(in_file).transpose(self._order)

    def reordered(self, axes: Sequence[int]) -> "LazyArray":
        """Return the same array with its axes in another order, still unread."""
        order = [self._order[axis] for axis in axes]
        in_file = [self.shape[self._order.index(axis)] for axis in range(len(order))]
        return LazyArray(in_file, self.dtype, self._fetch, order)

    def without(self, axes: Sequence[int]) -> "LazyArray":
        """Return the same array without some axes of length 1, still unread."""
        gone = {self._order[axis] for axis in axes}
        left = [axis for axis in range(len(self._order)) if axis not in gone]
        order = [left.index(axis) for axis in self._order if axis not in gone]
        shape = [self.shape[self._order.index(axis)] for axis in left]

        def fetch(wanted: Indices) -> npt.NDArray[np.generic]:
            inside = dict(zip(left, wanted, strict=True))
            only = np.zeros(1, np.intp)
            block = self._fetch(
                tuple(inside.get(axis, only) for axis in range(len(self._order)))
            )
            return block.squeeze(tuple(sorted(gone)))

        return LazyArray(shape, self.dtype, fetch, order)

    def viewed(self, dtype: npt.DTypeLike) -> "LazyArray":
        """Return the same bytes as numbers of another type of this size, still unread."""

        def fetch(wanted: Indices) -> npt.NDArray[np.generic]:
            block = self._fetch(wanted)
            return block.astype(block.dtype.newbyteorder("="), copy=False).view(dtype)

        in_file = [self.shape[self._order.index(axis)] for axis in range(len(self._order))]
        return LazyArray(in_file, dtype, fetch, self._order)

    def as_variable_data(self) -> indexing.LazilyIndexedArray:
        """Wrap for xarray, so that selecting stays lazy."""
        return indexing.LazilyIndexedArray(self)


def bounding_slice(indices: npt.NDArray[np.intp]) -> slice:
    """Return the smallest slice that holds all indices."""
    return slice(int(indices.min()), int(indices.max()) + 1)
