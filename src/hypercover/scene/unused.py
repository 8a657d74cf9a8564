"""A value that no pixel holds, to stand for no data where an image names none."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hypercover.scene.scene import Scene, valid_pixels

__all__ = ["unused_value"]

_USUAL = (0, -9999)
"""What most files of whole numbers take for no data."""
_EXACT = 2**53
"""Whole numbers below this are exact as the real numbers that files note them as."""
_TILE = 64
"""Rows looked at together: those of the tiles that images are written in."""
_SMALL = 2
"""Bytes of a type of which every value is looked for."""


def unused_value(scene: Scene, inside: npt.NDArray[np.bool_]) -> int | None:
    """Return a whole number that no pixel with data holds in any band; None if all are held.

    Why it exists: what lies outside an area must be told from what is measured,
    by every program.  0 is taken where it can be, then -9999, then the ends of the type
    and, of small types, any value.  Pixels that are zero in all bands hold no data.

    Parameters
    ----------
    scene : Scene
        Of whole numbers; read once, strip by strip.
    inside : array of bool (y, x)
        Pixels that are looked at.

    Examples
    --------
    >>> import xarray as xr
    >>> cube = xr.DataArray(np.arange(4, dtype="u1").reshape(1, 2, 2), dims=("band", "y", "x"))
    >>> unused_value(Scene(cube), np.ones((2, 2), bool))
    0
    """
    dtype = scene.cube.dtype.newbyteorder("=")
    limits = np.iinfo(dtype)
    small = dtype.itemsize <= _SMALL
    every = range(int(limits.min), int(limits.max) + 1) if small else ()
    ends = (int(limits.min), int(limits.max))
    wanted = [
        value
        for value in (*_USUAL, *ends, *every)
        if limits.min <= value <= limits.max and abs(value) < _EXACT
    ]
    if small:
        held = np.zeros(len(every), dtype=bool)
        for values in _values(scene, inside):
            held[values.astype(np.int64) - limits.min] = True
        return next((one for one in wanted if not held[one - limits.min]), None)
    left = dict.fromkeys(wanted)
    for values in _values(scene, inside):
        left = {value: None for value in left if not (values == value).any()}
    return next(iter(left), None)


def _values(
    scene: Scene, inside: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.generic]]:
    """Read the values (n,) of the pixels with data, strip by strip and band by band."""
    across = np.flatnonzero(inside.any(axis=0))
    cols = slice(int(across[0]), int(across[-1]) + 1)
    for top in range(0, scene.shape[0], _TILE):
        rows = slice(top, min(top + _TILE, scene.shape[0]))
        kept = inside[rows, cols]
        if kept.any():
            block = scene.read(rows, cols)
            kept = kept & valid_pixels(block, None)
            yield from (band[kept] for band in block)
