"""Scale and offset of bands, and rescaling.

Files state them as GDAL's scale and offset of a band, as ENVI's ``data gain values``,
``data offset values`` and ``reflectance scale factor``, as ``scale_factor`` and
``add_offset`` of NetCDF and HDF5 in many spellings, or in the metadata of products.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import xarray as xr

from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.metadata import (
    GAINS,
    OFFSETS,
    format_list,
    header_numbers,
    with_header,
)
from hypercover.scene.nodata import without_nodata
from hypercover.scene.scene import Scene
from hypercover.types import Array, Floats

REFLECTANCE = "reflectance scale factor"
"""Key of an ENVI header: the pixel value of a reflectance of 1."""
_SCALES = {
    "scalefactor", "reflectancescalefactor", "scalingfactor", "scale", "gain", "gains",
    "slope", "multiplier", "datagainvalues",
}  # fmt: skip
_OFFSETS = {"addoffset", "offset", "offsets", "bias", "intercept", "dataoffsetvalues"}
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
        >>> cube = xr.DataArray(np.ones((2, 1, 1)), dims=("band", "y", "x"))
        >>> cube.attrs["header"] = {"reflectance scale factor": "10000"}
        >>> ScaleOffset.of(Scene(cube))
        ScaleOffset(scale=(0.0001, 0.0001), offset=(0.0, 0.0))
        """
        header, count = scene.header, scene.n_bands
        scales, offsets = (header_numbers(header, key, count) for key in (GAINS, OFFSETS))
        stated = cls.checked(scales, offsets, count)
        if stated is not None and not stated._trivial:
            return stated
        reflectance = _number(header.get(REFLECTANCE))
        if reflectance is not None and reflectance > 0:
            return cls((1 / reflectance,) * count, (0.0,) * count)
        attrs = {key: scene.cube.attrs.get(key) for key in (_CF, "add_offset")}
        return stated or cls.checked(attrs[_CF], attrs["add_offset"], count)

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

    @property
    def _trivial(self) -> bool:
        """Whether the pixel values are the quantity itself."""
        return all(one == 1 for one in self.scale) and not any(self.offset)

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


def _number(value: Any) -> float | None:
    """Convert to a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _each(value: Any, default: float, count: int) -> tuple[float, ...] | None:
    """Return one finite number per band, or None."""
    if value is None:
        return (default,) * count
    listed = value if isinstance(value, Sequence | np.ndarray) else [value]
    listed = [listed] if isinstance(listed, str | bytes) else list(listed)
    numbers = [_number(one) for one in listed]
    known = [one for one in numbers if one is not None]
    if len(known) < len(numbers) or len(known) not in (1, count):
        return None
    return tuple(known) * (count if len(known) == 1 else 1)


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
        scales = tuple(1 / one for one in scales)
    return {GAINS: format_list(scales), OFFSETS: format_list(stated.offset)}


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

    def fetch(indices: Indices) -> Array:
        bands, rows, cols = indices
        down, across = bounding_slice(rows), bounding_slice(cols)
        values, valid = scene.read_valid(down, across)
        scaled = (
            values[bands].astype(np.float64) * factor[bands, None, None]
            + shift[bands, None, None]
        )
        block = np.where(valid, scaled, np.nan).astype(dtype)
        return block[:, rows - down.start][:, :, cols - across.start]

    lazy = LazyArray(cube.shape, dtype, fetch).as_variable_data()
    new = xr.DataArray(lazy, dims=cube.dims, coords=cube.coords, attrs=cube.attrs)
    header = {key: text for key, text in scene.header.items() if key != REFLECTANCE}
    header |= {GAINS: format_list(meaning.scale), OFFSETS: format_list(meaning.offset)}
    return scene.replace(cube=with_header(without_nodata(new), header))
