"""One declared value for all pixels without data, as files need it, unused by any other."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.nodata import NoData, without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import SIDE, strips

__all__ = ["settled", "unused_value"]

Mask = npt.NDArray[np.bool_]

_USUAL = (0, -9999)
"""What most files of whole numbers take for no data."""
_EXACT = 2**53
"""Whole numbers below this are exact as the real numbers that files note them as."""
_SMALL = 2
"""Bytes of a type of which every value is looked for."""
_WIDER = {"u1": "i2", "i1": "i2", "u2": "i4", "i2": "i4", "u4": "f8", "i4": "f8"}
"""Types that hold all values of others and more."""


def unused_value(scene: Scene, inside: npt.NDArray[np.bool_]) -> int | None:
    """Return a whole number that no pixel with data holds in any band; None if all are held.

    Why it exists: what lies outside an area must be told from what is measured,
    by every program.  0 is taken where it can be, then -9999, then the ends of the type
    and, of small types, any value.

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
    >>> unused_value(Scene(cube), np.ones((2, 2), bool)), unused_value(Scene(cube + 1), cube[0] > 0)
    (255, 0)
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


def settled(scene: Scene, inside: Mask | None = None) -> Scene:
    """Return a scene whose pixels without data hold one value, which its file can declare.

    Why it exists: masks, alpha bands, several values and a value of each band's own
    can be read, but no format that is written holds all of them.  An image of whole
    numbers that declares no value gets one that none of its pixels holds, for which
    it is read once; where all are held, a type that can hold another.

    Parameters
    ----------
    scene : Scene
        Returned as it is where one value, or none, says all.
    inside : array of bool (y, x), optional
        Pixels beyond which there is no data either.
    """
    rule = scene.no_data
    plain = _is_plain(scene, rule)
    if plain and (inside is None or inside.all()):
        return scene
    kept = np.ones(scene.shape, dtype=bool) if inside is None else inside
    dtype = scene.cube.dtype.newbyteorder("=")
    notes: tuple[str, ...] = ()
    value: float | None = rule.primary
    if value is None and dtype.kind not in "ui":
        value = float("nan")
    if value is None:
        value, dtype, notes = _chosen(scene, kept)
    mask = kept if plain else kept & scene.valid
    fetch = partial(_settle, scene, mask, np.asarray(value).astype(dtype))
    lazy = LazyArray(scene.cube.shape, dtype, fetch)
    bare = without_nodata(scene.cube)
    cube = xr.DataArray(
        lazy.as_variable_data(), dims=bare.dims, coords=bare.coords, attrs=bare.attrs
    )
    cube.attrs["nodata"] = value
    return scene.replace(cube=cube).noting(*notes)


def _is_plain(scene: Scene, rule: NoData) -> bool:
    """Tell whether one declared value, or none, says all that a rule and masks say."""
    several = len(rule.values) > 1 or rule.by_band or rule.valid_range
    zero = rule.zero and rule.values != (0.0,)
    return not (several or zero or "has_data" in scene.cube.coords)


def _chosen(scene: Scene, inside: Mask) -> tuple[float, np.dtype[Any], tuple[str, ...]]:
    """Return a value for no data, a type that can hold it, and what to say of both."""
    dtype = scene.cube.dtype.newbyteorder("=")
    value = unused_value(scene, inside)
    if value is not None:
        said = f"{value}, which no pixel with data holds, was taken and is noted in it"
        return value, dtype, (f"The image names no value for no data; {said}.",)
    wider = np.dtype(_WIDER.get(dtype.str[1:], "f8"))
    return -9999.0, wider, (
        f"The image names no value for no data, and every value that {dtype} can hold is "
        f"measured somewhere: its pixels became {wider}, and -9999 stands for no data.",
    )  # fmt: skip


def _settle(
    scene: Scene, mask: Mask, value: npt.NDArray[np.generic], wanted: Indices
) -> npt.NDArray[np.generic]:
    """Read a piece, with the value wherever the mask is False."""
    layers, rows, cols = wanted
    around = bounding_slice(rows), bounding_slice(cols)
    block = scene.cube.isel(band=layers, y=around[0], x=around[1]).values
    block = np.where(mask[around], block.astype(value.dtype, copy=False), value)
    return block[:, rows - around[0].start][:, :, cols - around[1].start]


def _values(
    scene: Scene, inside: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.generic]]:
    """Read the values (n,) of the pixels with data, strip by strip and band by band."""
    across = np.flatnonzero(inside.any(axis=0))
    cols = slice(int(across[0]), int(across[-1]) + 1)
    for rows in strips(scene.shape[0], SIDE):
        kept = inside[rows, cols]
        if kept.any():
            block, valid = scene.read_valid(rows, cols)
            kept = kept & valid
            yield from (band[kept] for band in block)
