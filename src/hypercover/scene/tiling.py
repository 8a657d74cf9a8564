"""Cutting a scene into tiles, and reading one with what lies around it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError

from hypercover.errors import SceneError
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import Layers, StoredTiles, TileStore

__all__ = ["SIDE", "Piece", "Tile", "read_pieces", "read_with_margin", "tiles"]

Piece = tuple[slice, slice, npt.NDArray[np.generic]]
"""Rows, columns and values (band, row, col) of a part of an image."""

SIDE = 64
"""Side of the tiles of a GeoTIFF; pieces are cut along them."""

_AT_ONCE = 2**24
"""Values written at once."""


def read_pieces(scene: Scene, store: TileStore | None = None) -> Iterator[Piece]:
    """Read an image piece by piece; those that a store holds are taken from there.

    Why it exists: the cube may be larger than memory, and take long to compute.
    """
    pieces = list(_pieces(scene))
    kept = StoredTiles(store, "strip", len(pieces))
    for number, (rows, cols) in enumerate(pieces):
        shape = scene.n_bands, rows.stop - rows.start, cols.stop - cols.start
        like = {"values": np.empty(shape, scene.cube.dtype)}
        found = kept.piece(number, like, partial(_read, scene, rows, cols))
        yield rows, cols, found["values"]


def _read(scene: Scene, rows: slice, cols: slice) -> Layers:
    return {"values": scene.read(rows, cols).astype(scene.cube.dtype, copy=False)}


def _pieces(scene: Scene) -> Iterator[tuple[slice, slice]]:
    """Cut the image along the tiles into rectangles that fit in memory."""
    rows, cols = scene.shape
    across = max(1, _AT_ONCE // (SIDE * SIDE * scene.n_bands)) * SIDE
    for top in range(0, rows, SIDE):
        for left in range(0, cols, across):
            yield (
                slice(top, min(top + SIDE, rows)),
                slice(left, min(left + across, cols)),
            )


@dataclass(frozen=True)
class Tile:
    """One rectangle of a scene."""

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

    def cut(self, side: int) -> Iterator["Tile"]:
        """Cut it into smaller ones, row by row of tiles."""
        for row in range(self.rows.start, self.rows.stop, side):
            for col in range(self.cols.start, self.cols.stop, side):
                yield Tile(
                    slice(row, min(row + side, self.rows.stop)),
                    slice(col, min(col + side, self.cols.stop)),
                )

    def holds(
        self, rows: npt.NDArray[np.integer], cols: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.bool_]:
        """Tell which pixels (n,) lie in it."""
        down = (rows >= self.rows.start) & (rows < self.rows.stop)
        return np.asarray(down & (cols >= self.cols.start) & (cols < self.cols.stop))

    def within(self, outer: "Tile") -> tuple[slice, slice]:
        """Return its rows and columns as counted from the corner of another."""
        top, left = outer.rows.start, outer.cols.start
        return (
            slice(self.rows.start - top, self.rows.stop - top),
            slice(self.cols.start - left, self.cols.stop - left),
        )


def tiles(shape: tuple[int, int], side: int) -> list[Tile]:
    """Cut an image of (rows, columns) into tiles.

    Examples
    --------
    >>> [tile.shape for tile in tiles((5, 7), 4)]
    [(4, 4), (4, 3), (1, 4), (1, 3)]
    """
    return list(Tile(slice(0, shape[0]), slice(0, shape[1])).cut(side))


def read_with_margin(
    scene: Scene, tile: Tile, margin: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read a tile and what lies around it, and which pixels of both hold data.

    Beyond the scene its edge is repeated.

    Raises
    ------
    SceneError
        If the file cannot be read there.
    """
    inside, missing = [], []
    for part, size in zip((tile.rows, tile.cols), scene.shape, strict=True):
        first, last = part.start - margin, part.stop + margin
        inside.append(slice(max(first, 0), min(last, size)))
        missing.append((max(-first, 0), max(last - size, 0)))
    try:
        values, valid = scene.read_valid(*inside)
    except (OSError, RasterioError) as error:
        raise SceneError(
            f"The image {scene.name} cannot be read at rows {inside[0].start} to "
            f"{inside[0].stop}; its file may be cut short or gone."
        ) from error
    if not any(map(any, missing)):
        return values, valid
    padded = np.pad(values, [(0, 0), *missing], mode="edge")
    return padded, np.pad(valid, missing, mode="edge")
