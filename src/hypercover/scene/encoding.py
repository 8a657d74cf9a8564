"""How files encode pixel values: scale and offset of bands, and fill values for no data.

Files state scale and offset as GDAL's scale and offset of a band, as ENVI's ``data gain values``,
``data offset values`` and ``reflectance scale factor``, as ``scale_factor`` and
``add_offset`` of NetCDF and HDF5 in many spellings, or in the metadata of products.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypercover.scene import metadata
from hypercover.scene.data_tables import attribute_names
from hypercover.scene.nodata import without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import IMAGE_BLOCK, lazy_cube, strips
from hypercover.types import Array, Floats, Indices, Mask

REFLECTANCE = "reflectance scale factor"
"""Key of an ENVI header: the pixel value of a reflectance of 1."""
_SCALES, _OFFSETS = attribute_names("scale"), attribute_names("offset")
_CF = "scale_factor"
"""Key of the CF conventions, which multiply by it."""
_DIVIDES = 10.0
"""Scale factors from here on are divisors: 10000 is the pixel value of 1."""
_CLOSE = 1e-5
"""Relative difference up to which scales are equal: float32 has seven digits."""


@dataclass(frozen=True)
class ScaleOffset:
    """Scale and offset of each band: quantity = scale × pixel value + offset."""

    scale: tuple[float, ...]
    """Quantity per unit of the pixel values (band,)."""
    offset: tuple[float, ...]
    """Quantity at a pixel value of 0 (band,)."""

    @classmethod
    def of(cls, scene: Scene) -> "ScaleOffset | None":
        """Return scale and offset of a scene, or None if it states none.

        Examples
        --------
        >>> import xarray as xr
        >>> cube = xr.DataArray(np.ones((2, 1, 1)), dims=("band", "y", "x"))
        >>> cube.attrs["header"] = {"reflectance scale factor": "10000"}
        >>> ScaleOffset.of(Scene(cube))
        ScaleOffset(scale=(0.0001, 0.0001), offset=(0.0, 0.0))
        """
        header, count = scene.header, scene.n_bands
        scales, offsets = (
            metadata.header_numbers(header, key, count)
            for key in (metadata.GAINS, metadata.OFFSETS)
        )
        stated = cls.checked(scales, offsets, count)
        # A scale of 1 and an offset of 0 say nothing.
        if stated is not None and (set(stated.scale) != {1.0} or any(stated.offset)):
            return stated
        reflectance = _each(header.get(REFLECTANCE), 0.0, 1)
        if reflectance is not None and reflectance[0] > 0:
            return cls((1 / reflectance[0],) * count, (0.0,) * count)
        attrs = scene.cube.attrs
        return stated or cls.checked(attrs.get(_CF), attrs.get("add_offset"), count)

    @classmethod
    def checked(cls, scales: Any, offsets: Any, count: int) -> "ScaleOffset | None":
        """Return scales and offsets, each one number or one per band, if they are usable.

        None means 1 and 0 if the other is given.
        """
        if scales is None and offsets is None:
            return None
        both = _each(scales, 1.0, count), _each(offsets, 0.0, count)
        if both[0] is None or both[1] is None or not all(both[0]):
            return None
        return cls(both[0], both[1])

    def towards(self, other: "ScaleOffset") -> "tuple[Floats, Floats] | None":
        """Return factor and shift (band,) that convert pixel values to another scale.

        None if both are equal.

        Examples
        --------
        >>> thousandths, shares = ScaleOffset((0.001,), (0.0,)), ScaleOffset((1.0,), (0.0,))
        >>> [part.tolist() for part in thousandths.towards(shares)]
        [[0.001], [0.0]]
        """
        scale, target = np.array(self.scale), np.array(other.scale)
        apart = np.array(self.offset) - np.array(other.offset)
        factor = scale / target
        factor = np.where(np.abs(factor - 1) <= _CLOSE, 1.0, factor)
        largest = np.maximum(np.abs(self.offset), np.abs(other.offset))
        shift = np.where(np.abs(apart) <= _CLOSE * largest, 0.0, apart / target)
        return None if (factor == 1).all() and not shift.any() else (factor, shift)

    def __str__(self) -> str:
        """Describe them, by the first band if the bands differ."""
        each = set(zip(self.scale, self.offset, strict=True))
        where = "" if len(each) == 1 else " in the first band"
        return f"scale {self.scale[0]:.6g} and offset {self.offset[0]:.6g}{where}"


def _each(value: Any, default: float, count: int) -> tuple[float, ...] | None:
    """Return one finite number per band, or None."""
    try:
        numbers = np.asarray(default if value is None else value, dtype=np.float64)
        each = np.broadcast_to(numbers, count)
    except (TypeError, ValueError, OverflowError):
        return None
    return tuple(each.tolist()) if np.isfinite(each).all() else None


def header_from_attributes(
    attrs: Mapping[str, Any], count: int, *, whole: bool
) -> dict[str, str]:
    """Convert scale and offset in the attributes of an array to header entries.

    The CF conventions multiply by ``scale_factor``.  Other products, such as NEON's with
    a ``Scale_Factor`` of 10000, divide by it.  A factor of 10 or more is taken as a
    divisor, unless its key is that of CF and the pixel values are not integers or an
    ``add_offset`` is given.

    Parameters
    ----------
    attrs : mapping
        Attributes by name, in any spelling.
    count : int
        Number of bands.
    whole : bool
        Whether the pixel values are integers.

    Examples
    --------
    >>> header_from_attributes({"Scale_Factor": 10000.0}, 2, whole=True)
    {'data gain values': '{0.0001, 0.0001}', 'data offset values': '{0.0, 0.0}'}
    >>> header_from_attributes({"scale_factor": 0.5, "add_offset": 3}, 1, whole=True)
    {'data gain values': '{0.5}', 'data offset values': '{3.0}'}
    """
    stated_by: dict[str, tuple[str, Any]] = {}
    for key, value in attrs.items():
        letters = re.sub(r"[^a-z]", "", str(key).lower())
        for role, names in (("scale", _SCALES), ("offset", _OFFSETS)):
            # The exact keys of CF take precedence.
            if letters in names and (role not in stated_by or key in (_CF, "add_offset")):
                stated_by[role] = (str(key), value)
    scale, offset = (stated_by.get(role, ("", None)) for role in ("scale", "offset"))
    stated = ScaleOffset.checked(scale[1], offset[1], count)
    if stated is None:
        return {}
    scales = stated.scale
    multiplies = scale[0] == _CF and (not whole or offset[0] == "add_offset")
    if min(scales) >= _DIVIDES and not multiplies:
        scales = tuple(1 / divisor for divisor in scales)
    return metadata.scale_header(scales, stated.offset)


def rescale(scene: Scene, factor: Floats, shift: Floats, meaning: ScaleOffset) -> Scene:
    """Return the scene with pixel values factor × value + shift, computed on reading.

    Pixels without data become NaN.

    Parameters
    ----------
    scene : Scene
    factor, shift : array of float, shape (band,)
    meaning : ScaleOffset
        Scale and offset of the new pixel values.
    """
    cube = scene.cube
    dtype = np.result_type(np.float32, cube.dtype)

    def read(bands: Indices, rows: slice, cols: slice) -> Array:
        values, valid = scene.read_valid(rows, cols)
        scaled = values[bands].astype(np.float64) * factor[bands, None, None]
        scaled += shift[bands, None, None]
        return np.where(valid, scaled, np.nan).astype(dtype)

    new = lazy_cube(cube.shape, dtype, read, cube)
    header = {key: text for key, text in scene.header.items() if key != REFLECTANCE}
    header |= metadata.scale_header(meaning.scale, meaning.offset)
    return scene.replace(cube=metadata.with_header(without_nodata(new), header))


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
    ends = int(limits.min), int(limits.max)
    every = range(ends[0], ends[1] + 1) if dtype.itemsize <= _SMALL else ()
    preferred = dict.fromkeys((*_USUAL, *ends, *every))
    candidates = np.array(
        [
            value
            for value in preferred
            if ends[0] <= value <= ends[1] and abs(value) < _EXACT
        ]
    )
    for values in _values(scene, inside):
        candidates = candidates[~np.isin(candidates, values.astype(np.int64))]
    return int(candidates[0]) if candidates.size else None


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
    rule = scene.nodata_rule
    several = len(rule.values) > 1 or rule.by_band or rule.valid_range
    zero = rule.zero and rule.values != (0.0,)
    plain = not (several or zero or "has_data" in scene.cube.coords)
    if plain and (inside is None or inside.all()):
        return scene
    mask = np.ones(scene.shape, dtype=bool) if inside is None else inside
    dtype = scene.cube.dtype.newbyteorder("=")
    value, notes = rule.primary, list[str]()
    if value is None and dtype.kind not in "ui":
        value = float("nan")
    if value is None:
        value = unused_value(scene, mask)
        note = f"; {value}, which is unused, was taken."
        if value is None:
            value, kind = -9999.0, dtype
            dtype = np.dtype(_WIDER.get(kind.str[1:], "f8"))
            note = (
                f", and its pixels use every value of {kind}: they were converted to {dtype}, "
                "with -9999 for no data."
            )
        notes = [f"The image declares no value for no data{note}"]
    mask = mask if plain else mask & scene.valid
    fill = np.asarray(value).astype(dtype)

    def read(bands: Indices, rows: slice, cols: slice) -> Array:
        block = scene.cube.isel(band=bands, y=rows, x=cols).values
        return np.where(mask[rows, cols], block.astype(dtype, copy=False), fill)

    cube = lazy_cube(scene.cube.shape, dtype, read, without_nodata(scene.cube))
    return scene.replace(cube=cube.assign_attrs(nodata=value)).noting(*notes)


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
