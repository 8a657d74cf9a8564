"""Tiles: the rectangles in which an image is read, computed and written."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hypercover.types import Codes, Mask

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
