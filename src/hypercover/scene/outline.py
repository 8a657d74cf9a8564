"""What arrays a file holds, told before any of them is read."""

from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import HypercoverError
from hypercover.scene.formats.containers import CONTAINERS, open_container
from hypercover.scene.formats.signature import Kind, kind_of

__all__ = ["ORDERS", "Outline", "outlines"]

ORDERS = ("row,col,band", "band,row,col", "col,row,band", "band,col,row")
"""Orders the axes of an image may have in a file that does not say."""
_MOST_ARRAYS = 200
"""Arrays of one file that are looked at."""


@dataclass(frozen=True)
class Outline:
    """An array in a file, known by its shape before it is read."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    shape: tuple[int, ...]
    """Shape; rows, columns and bands where the file says which is which."""
    orders: tuple[str, ...] = ()
    """Orders its axes may have, where the file does not say."""


def outlines(path: Path) -> list[Outline]:
    """List the arrays of a file that could be an image or a label map.

    A file that is damaged, unreadable or of something else holds none.
    """
    try:
        kind = kind_of(path)
        if kind in CONTAINERS:
            return _members(path, kind)
        if kind is Kind.VECTOR:
            return []
        from hypercover.scene.formats.raster import raster_size

        bands, rows, cols = raster_size(path)
    except HypercoverError:
        return []
    shape = (rows, cols) if bands == 1 else (rows, cols, bands)
    return [Outline(path, None, shape)]


def _members(path: Path, kind: Kind) -> list[Outline]:
    return [
        Outline(path, one.name, one.shape if one.is_image else one.flat_shape, ORDERS)
        for one in open_container(path, kind).members[:_MOST_ARRAYS]
        if one.is_numeric
    ]
