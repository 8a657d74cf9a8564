"""Tiles in which an image is read, computed and written, and arrays that are read lazily."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray import DataArray
from xarray.backends import BackendArray
from xarray.core import indexing

from hypercover.types import Array, Codes, Mask

IMAGE_BLOCK = 64
"""Side of the blocks of the GeoTIFF files that are written, in pixels."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image."""

    rows: slice
    cols: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def cut(self, height: int, width: int | None = None) -> Iterator["Tile"]:
        """Cut the tile into smaller ones, row by row; square unless a width is given."""
        width = width or height
        for top in range(self.rows.start, self.rows.stop, height):
            for left in range(self.cols.start, self.cols.stop, width):
                yield Tile(
                    slice(top, min(top + height, self.rows.stop)),
                    slice(left, min(left + width, self.cols.stop)),
                )

    def holds(self, rows: Codes, cols: Codes) -> Mask:
        """Tell which pixels (n,) are in the tile."""
        down = (rows >= self.rows.start) & (rows < self.rows.stop)
        return np.asarray(down & (cols >= self.cols.start) & (cols < self.cols.stop))

    def within(self, outer: "Tile") -> tuple[slice, slice]:
        """Return rows and columns of the tile relative to the corner of another tile."""
        top, left = outer.rows.start, outer.cols.start
        return (
            slice(self.rows.start - top, self.rows.stop - top),
            slice(self.cols.start - left, self.cols.stop - left),
        )

    def with_margin(
        self, margin: int, shape: tuple[int, int]
    ) -> tuple["Tile", list[tuple[int, int]]]:
        """Grow the tile by a margin on every side, inside an image of (rows, columns).

        Returns
        -------
        tile
            The grown tile, clipped to the image.
        padding
            Rows above and below, and columns left and right, that the image lacks, as
            :func:`numpy.pad` takes them.

        Examples
        --------
        >>> tile, padding = Tile(slice(0, 4), slice(4, 8)).with_margin(2, (16, 9))
        >>> tile.rows, tile.cols, padding
        (slice(0, 6, None), slice(2, 9, None), [(2, 0), (0, 1)])
        """
        inside, padding = [], []
        for part, size in zip((self.rows, self.cols), shape, strict=True):
            first, last = part.start - margin, part.stop + margin
            inside.append(slice(max(first, 0), min(last, size)))
            padding.append((max(-first, 0), max(last - size, 0)))
        return Tile(*inside), padding


def tiles(shape: tuple[int, int], height: int, width: int | None = None) -> list[Tile]:
    """Cut an image of (rows, columns) into tiles; square unless a width is given.

    Examples
    --------
    >>> [tile.shape for tile in tiles((5, 7), 4)]
    [(4, 4), (4, 3), (1, 4), (1, 3)]
    """
    return list(Tile(slice(0, shape[0]), slice(0, shape[1])).cut(height, width))


def strips(rows: int, height: int) -> Iterator[slice]:
    """Cut the rows of an image into strips.

    Examples
    --------
    >>> list(strips(5, 4))
    [slice(0, 4, None), slice(4, 5, None)]
    """
    return (tile.rows for tile in Tile(slice(0, rows), slice(0, 1)).cut(height))


Indices = tuple[npt.NDArray[np.intp], ...]
"""Positions along each axis of an array."""
Fetch = Callable[[Indices], Array]


class LazyArray(BackendArray):
    """An array that a function reads block by block, for xarray.

    Parameters
    ----------
    shape, dtype
    fetch : callable
        Returns the block of some indices along each axis; it turns read errors into a
        message about the scene.
    """

    def __init__(self, shape: Sequence[int], dtype: npt.DTypeLike, fetch: Fetch) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.block = fetch

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the block of an xarray index."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._indexed
        )

    def _indexed(self, key: tuple[Any, ...]) -> Array:
        indices = tuple(
            np.atleast_1d(np.arange(size)[part])
            for size, part in zip(self.shape, key, strict=True)
        )
        counts = [len(each) for each in indices]
        block = self.block(indices) if all(counts) else np.empty(counts, self.dtype)
        single = tuple(
            0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None)
            for part in key
        )
        return block[single]

    def reordered(self, axes: Sequence[int]) -> "LazyArray":
        """Return the array with its axes in another order, still unread."""

        def fetch(indices: Indices) -> Array:
            own = tuple(indices[axes.index(axis)] for axis in range(len(axes)))
            return self.block(own).transpose(axes)

        return LazyArray([self.shape[axis] for axis in axes], self.dtype, fetch)

    def without(self, axes: Sequence[int]) -> "LazyArray":
        """Return the array without some axes of length 1, still unread."""
        left = [axis for axis in range(len(self.shape)) if axis not in axes]

        def fetch(indices: Indices) -> Array:
            own = [np.zeros(1, np.intp)] * len(self.shape)
            for axis, part in zip(left, indices, strict=True):
                own[axis] = part
            return self.block(tuple(own)).squeeze(tuple(axes))

        return LazyArray([self.shape[axis] for axis in left], self.dtype, fetch)

    def viewed(self, dtype: npt.DTypeLike) -> "LazyArray":
        """Return the bytes as numbers of another type of the same size, still unread."""

        def fetch(indices: Indices) -> Array:
            block = self.block(indices)
            return block.astype(block.dtype.newbyteorder("="), copy=False).view(dtype)

        return LazyArray(self.shape, dtype, fetch)

    def as_variable_data(self) -> indexing.LazilyIndexedArray:
        """Wrap the array for xarray, so that selection stays lazy."""
        return indexing.LazilyIndexedArray(self)


def bounding_slice(indices: npt.NDArray[np.intp]) -> slice:
    """Return the smallest slice that contains all indices."""
    return slice(int(indices.min()), int(indices.max()) + 1)


def lazy_cube(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    read: Callable[[npt.NDArray[np.intp], slice, slice], Array],
    like: DataArray | None = None,
) -> DataArray:
    """Return a cube (band, y, x) whose rectangles are computed on reading.

    Parameters
    ----------
    shape, dtype
    read : callable
        Returns (band, row, col), given the positions of bands, and rows and columns as
        slices with start and stop.
    like : DataArray, optional
        Gives the coordinates and attributes.

    Examples
    --------
    >>> cube = lazy_cube((2, 3, 4), float, lambda bands, rows, cols: np.ones((len(bands),
    ...     rows.stop - rows.start, cols.stop - cols.start)))
    >>> cube.isel(band=1, y=[0, 2]).shape
    (2, 4)
    """

    def fetch(indices: Indices) -> Array:
        bands, rows, cols = indices
        down, across = bounding_slice(rows), bounding_slice(cols)
        block = read(bands, down, across)
        return block[:, rows - down.start][:, :, cols - across.start]

    data = LazyArray(shape, dtype, fetch).as_variable_data()
    cube = DataArray(data, dims=("band", "y", "x"))
    return (
        cube if like is None else cube.assign_coords(like.coords).assign_attrs(like.attrs)
    )
