"""PRISMA in HDF-EOS 5: a VNIR and a SWIR cube, with band metadata in the attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.hdf5 import read_attributes
from hypercover.scene.io.named_arrays import NamedArray
from hypercover.scene.lazy import Indices, LazyArray
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.nodata import normalized_key
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Array

_PARTS = ("Vnir", "Swir")
_PIXEL = 30.0
"""Side of a pixel in m."""

Attributes = Mapping[str, Any]
"""Attributes of a file by name, in the spelling of `normalized_key`."""


def _cubes(members: Sequence[NamedArray]) -> list[NamedArray]:
    """Return the VNIR and SWIR cubes of the hyperspectral swath (HCO), or an empty list."""
    swath = {
        one.basename.upper(): one
        for one in members
        if one.is_image and "/PRS_L" in one.name.upper() and "_HCO/" in one.name.upper()
    }
    names = [f"{part.upper()}_CUBE" for part in _PARTS]
    return [swath[name] for name in names] if set(names) <= set(swath) else []


def is_prisma(members: Sequence[NamedArray]) -> bool:
    """Tell whether an HDF5 file is a hyperspectral PRISMA image."""
    return bool(_cubes(members))


def read_prisma(path: Path, members: Sequence[NamedArray]) -> Scene:
    """Open a PRISMA image: VNIR and then SWIR, each by wavelength, without empty bands.

    Values are those of the file; the notes tell how to convert them to reflectance. Only
    level 2D gets a georeference.

    Raises
    ------
    SceneError
        If attributes are missing, or do not fit the cubes.
    """
    attributes = {
        normalized_key(name): value for name, value in read_attributes(path).items()
    }
    cubes = _cubes(members)
    layers: list[tuple[int, int]] = []
    centres: list[float] = []
    widths: list[float] = []
    for at, (part, cube) in enumerate(zip(_PARTS, cubes, strict=True)):
        own = _bands(attributes, part, cube, path)
        layers += [(at, band) for band in own[0]]
        centres += own[1]
        widths += own[2]
    rows, _, cols = cubes[0].shape
    if cubes[1].shape[0] != rows or cubes[1].shape[2] != cols or not layers:
        raise SceneError(f"The two cubes of {path} differ in size; download it again.")
    fetch = partial(_fetch, [cube.read() for cube in cubes], layers)
    data = LazyArray((len(layers), rows, cols), np.uint16, fetch).as_variable_data()
    # Zero is the smallest reflectance; outside the swath it is in every band.
    image = xr.DataArray(data, dims=("band", "y", "x"), attrs={"zero_is_nodata": True})
    table = BandTable(np.array(centres), np.array(widths))
    scales = [_scale(attributes, part) for part in _PARTS]
    image = with_header(image, _header(attributes, layers, scales))
    return Scene(
        table.on(with_grid(image, _grid(attributes, rows, cols))),
        name=path.stem,
        source=str(path),
        notes=(
            f"PRISMA: {len(layers)} bands, VNIR before SWIR; they overlap.",
            *(f"{scale.formula}." for scale in scales if scale),
        ),
    )


def _bands(
    attributes: Attributes, part: str, cube: NamedArray, path: Path
) -> tuple[list[int], list[float], list[float]]:
    """Return positions, centres and widths of the bands with data, by wavelength."""
    lists = [
        np.asarray(
            attributes.get(normalized_key(f"List_{what}_{part}"), ()), dtype=np.float64
        ).reshape(-1)
        for what in ("Cw", "Fwhm")
    ]
    if any(len(one) != cube.shape[1] for one in lists):
        raise SceneError(
            f"{path} lacks List_Cw_{part} or List_Fwhm_{part} for the {cube.shape[1]} bands of "
            f"{part.upper()}; download it again."
        )
    flags = np.asarray(
        attributes.get(normalized_key(f"List_Cw_{part}_Flags"), lists[0] > 0)
    ).reshape(-1)
    used = (lists[0] > 0) & (flags == 1 if len(flags) == len(lists[0]) else True)
    order = [int(at) for at in np.argsort(lists[0], kind="stable") if used[at]]
    return order, lists[0][order].tolist(), lists[1][order].tolist()


def _fetch(
    cubes: Sequence[Any], layers: Sequence[tuple[int, int]], indices: Indices
) -> Array:
    """Read bands from their cubes (row, band, col)."""
    bands, rows, cols = indices
    block = np.empty(tuple(map(len, indices)), np.uint16)
    for at, cube in enumerate(cubes):
        targets = [target for target, band in enumerate(bands) if layers[band][0] == at]
        if targets:
            inside = np.array([layers[bands[target]][1] for target in targets])
            ascending, order = np.sort(inside), np.argsort(np.argsort(inside))
            variable = xr.Variable(("row", "band", "col"), cube.as_variable_data())
            values = variable[rows, ascending, cols].values
            block[targets] = values[:, order].transpose(1, 0, 2)
    return block


def _grid(attributes: Attributes, rows: int, cols: int) -> Grid:
    """Return the grid of level 2D; its corners are pixel centres or edges, as fits 30 m."""
    names = (
        "ULcorner_easting",
        "ULcorner_northing",
        "LRcorner_easting",
        "LRcorner_northing",
    )
    try:
        left, top, right, bottom = (
            float(attributes[normalized_key(f"Product_{name}")]) for name in names
        )
        code = int(attributes["epsgcode"])
    except (KeyError, TypeError, ValueError):
        return Grid(rows, cols)
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        wkt = CRS.from_epsg(code).to_wkt()
    except CRSError:
        return Grid(rows, cols)
    across, down = (right - left, cols), (top - bottom, rows)
    centres = all(abs(span / max(count - 1, 1) - _PIXEL) < abs(span / count - _PIXEL)
                  for span, count in (across, down))  # fmt: skip
    less = 1 if centres else 0
    wide, high = across[0] / (cols - less or 1), down[0] / (rows - less or 1)
    west, north = left - less * wide / 2, top + less * high / 2
    return Grid(rows, cols, wkt, (wide, 0.0, west, 0.0, -high, north))


@dataclass(frozen=True)
class _Scale:
    """How to convert the values of a cube to a physical quantity."""

    gain: float
    offset: float
    formula: str


def _scale(attributes: Attributes, part: str) -> _Scale | None:
    """Return the scale of a part: reflectance of level 2, radiance of level 1."""

    def numbers(*names: str) -> list[float]:
        values = (attributes.get(normalized_key(name)) for name in names)
        return [float(one) for one in values if isinstance(one, float | int)]

    ends = numbers(f"L2Scale{part}Min", f"L2Scale{part}Max")
    if len(ends) == 2:
        low, high = ends
        return _Scale(
            (high - low) / 65535,
            low,
            f"Reflectance of {part.upper()}: {low:g} + number / 65535 × ({high:g} − {low:g})",
        )
    level_1 = numbers(f"ScaleFactor_{part}", f"Offset_{part}")
    if len(level_1) == 2 and level_1[0]:
        factor, less = level_1
        formula = f"Radiance of {part.upper()}: number / {factor:g} − {less:g}"
        return _Scale(1 / factor, -less, formula)
    return None


def _header(
    attributes: Attributes,
    layers: Sequence[tuple[int, int]],
    scales: Sequence[_Scale | None],
) -> dict[str, str]:
    """Return sensor, time, and gain and offset of each band if both cubes have them."""
    known = [scale for at, _ in layers if (scale := scales[at]) is not None]
    if len(known) < len(layers):
        known = []
    return product_header(
        "PRISMA",
        attributes.get("productstarttime"),
        (scale.gain for scale in known),
        (scale.offset for scale in known),
    )
