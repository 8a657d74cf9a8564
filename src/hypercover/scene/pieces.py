"""The pieces in which an image is written, from the top: strips, or parts of wide ones."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from hypercover.scene.keeping import Kept
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import Layers, TileStore

__all__ = ["SIDE", "Piece", "read_pieces"]

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
    kept = Kept(store, "strip", len(pieces))
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
