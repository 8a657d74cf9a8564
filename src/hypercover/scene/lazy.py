"""Lazy arrays: read from their file, or computed, on indexing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from hypercover.types import Array

Indices = tuple[npt.NDArray[np.intp], ...]
Fetch = Callable[[Indices], Array]


class LazyArray(BackendArray):
    """An array that a function reads block by block, for xarray.

    Parameters
    ----------
    shape, dtype
        Those of the array in the file.
    fetch : callable
        Returns the block of some indices along each axis of the file; it turns read
        errors into a message about the scene.
    order : sequence of int, optional
        Axes of the file in the order of this array; by default unchanged.
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
        """Read the block of an xarray index."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._block
        )

    def _block(self, key: tuple[Any, ...]) -> Array:
        indices = [
            np.atleast_1d(np.arange(size)[part])
            for size, part in zip(self.shape, key, strict=True)
        ]
        if all(len(each) for each in indices):
            block = self.block(tuple(indices))
        else:
            block = np.empty([len(each) for each in indices], self.dtype)
        single = tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice)
                       else slice(None) for part in key)  # fmt: skip
        return block[single]

    def _in_file(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """Put an item for each axis into the order of the axes of the file."""
        return tuple(items[self._order.index(axis)] for axis in range(len(items)))

    def block(self, indices: Indices) -> Array:
        """Read the block of some indices along each axis of this array."""
        return self._fetch(self._in_file(indices)).transpose(self._order)

    def reordered(self, axes: Sequence[int]) -> "LazyArray":
        """Return the array with its axes in another order, still unread."""
        order = [self._order[axis] for axis in axes]
        return LazyArray(self._in_file(self.shape), self.dtype, self._fetch, order)

    def without(self, axes: Sequence[int]) -> "LazyArray":
        """Return the array without some axes of length 1, still unread."""
        dropped = {self._order[axis] for axis in axes}
        left = [axis for axis in range(len(self._order)) if axis not in dropped]
        order = [left.index(axis) for axis in self._order if axis not in dropped]
        shape = [self.shape[self._order.index(axis)] for axis in left]

        def fetch(indices: Indices) -> Array:
            inside = dict(zip(left, indices, strict=True))
            only = np.zeros(1, np.intp)
            block = self._fetch(
                tuple(inside.get(axis, only) for axis in range(len(self._order)))
            )
            return block.squeeze(tuple(sorted(dropped)))

        return LazyArray(shape, self.dtype, fetch, order)

    def viewed(self, dtype: npt.DTypeLike) -> "LazyArray":
        """Return the bytes as numbers of another type of the same size, still unread."""

        def fetch(indices: Indices) -> Array:
            block = self._fetch(indices)
            return block.astype(block.dtype.newbyteorder("="), copy=False).view(dtype)

        return LazyArray(self._in_file(self.shape), dtype, fetch, self._order)

    def as_variable_data(self) -> indexing.LazilyIndexedArray:
        """Wrap the array for xarray, so that selection stays lazy."""
        return indexing.LazilyIndexedArray(self)


def bounding_slice(indices: npt.NDArray[np.intp]) -> slice:
    """Return the smallest slice that contains all indices."""
    return slice(int(indices.min()), int(indices.max()) + 1)
