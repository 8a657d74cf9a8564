"""Fill values: one declared value for all pixels without data, as file formats need it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.nodata import NoData, without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import IMAGE_BLOCK, strips
from hypercover.types import Array, Mask

_USUAL = (0, -9999)
"""Common no-data values of integer files."""
_EXACT = 2**53
"""Integers below this are exact as the floating-point numbers in which files declare them."""
_SMALL = 2
"""Bytes of a type whose values are all searched."""
_WIDER = {"u1": "i2", "i1": "i2", "u2": "i4", "i2": "i4", "u4": "f8", "i4": "f8"}
"""A wider type for each type."""


def unused_value(scene: Scene, inside: Mask) -> int | None:
    """Find an integer that no valid pixel has in any band; None if all are used.

    0 is preferred, then -9999, then the limits of the type and, for types of one or
    two bytes, any value.

    Parameters
    ----------
    scene : Scene
        Of integers; read once, strip by strip.
    inside : array of bool, shape (y, x)
        Pixels to search.

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
    candidates = [
        value
        for value in (*_USUAL, *ends, *every)
        if limits.min <= value <= limits.max and abs(value) < _EXACT
    ]
    if small:
        used = np.zeros(len(every), dtype=bool)
        for values in _values(scene, inside):
            used[values.astype(np.int64) - limits.min] = True
        return next((one for one in candidates if not used[one - limits.min]), None)
    for values in _values(scene, inside):
        candidates = [value for value in candidates if not (values == value).any()]
    return next(iter(candidates), None)


def with_fill_value(scene: Scene, inside: Mask | None = None) -> Scene:
    """Give all pixels without data one value, which the file of the scene can declare.

    Masks, alpha bands, several values and values per band can be read, but no format
    that is written supports all of them.  An integer image that declares no value
    gets an unused one, for which it is read once, or a wider type if all are used.

    Parameters
    ----------
    scene : Scene
        Returned unchanged if it has at most one value and no mask.
    inside : array of bool, shape (y, x), optional
        Other pixels become no data as well.
    """
    rule = scene.no_data
    plain = _is_plain(scene, rule)
    if plain and (inside is None or inside.all()):
        return scene
    mask = np.ones(scene.shape, dtype=bool) if inside is None else inside
    dtype = scene.cube.dtype.newbyteorder("=")
    notes: tuple[str, ...] = ()
    value: float | None = rule.primary
    if value is None and dtype.kind not in "ui":
        value = float("nan")
    if value is None:
        value, dtype, notes = _chosen(scene, mask)
    mask = mask if plain else mask & scene.valid
    fetch = partial(_settle, scene, mask, np.asarray(value).astype(dtype))
    lazy = LazyArray(scene.cube.shape, dtype, fetch)
    bare = without_nodata(scene.cube)
    cube = xr.DataArray(
        lazy.as_variable_data(), dims=bare.dims, coords=bare.coords, attrs=bare.attrs
    )
    cube.attrs["nodata"] = value
    return scene.replace(cube=cube).noting(*notes)


def _is_plain(scene: Scene, rule: NoData) -> bool:
    """Tell whether at most one declared value expresses the rule, without masks."""
    several = len(rule.values) > 1 or rule.by_band or rule.valid_range
    zero = rule.zero and rule.values != (0.0,)
    return not (several or zero or "has_data" in scene.cube.coords)


def _chosen(scene: Scene, inside: Mask) -> tuple[float, np.dtype[Any], tuple[str, ...]]:
    """Choose a value for no data and a type that holds it; also return a note."""
    dtype = scene.cube.dtype.newbyteorder("=")
    value = unused_value(scene, inside)
    if value is not None:
        note = (
            f"The image declares no value for no data; {value}, which is unused, was taken."
        )
        return value, dtype, (note,)
    wider = np.dtype(_WIDER.get(dtype.str[1:], "f8"))
    note = (
        f"The image declares no value for no data, and its pixels use every value of {dtype}: "
        f"they were converted to {wider}, with -9999 for no data."
    )
    return -9999.0, wider, (note,)


def _settle(scene: Scene, mask: Mask, value: Array, indices: Indices) -> Array:
    """Read a block, with the value wherever the mask is False."""
    bands, rows, cols = indices
    around = bounding_slice(rows), bounding_slice(cols)
    block = scene.cube.isel(band=bands, y=around[0], x=around[1]).values
    block = np.where(mask[around], block.astype(value.dtype, copy=False), value)
    return block[:, rows - around[0].start][:, :, cols - around[1].start]


def _values(scene: Scene, inside: Mask) -> Iterator[Array]:
    """Read the values (n,) of valid pixels, strip by strip and band by band."""
    across = np.flatnonzero(inside.any(axis=0))
    cols = slice(int(across[0]), int(across[-1]) + 1)
    for rows in strips(scene.shape[0], IMAGE_BLOCK):
        mask = inside[rows, cols]
        if mask.any():
            block, valid = scene.read_valid(rows, cols)
            mask = mask & valid
            yield from (band[mask] for band in block)
