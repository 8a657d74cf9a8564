"""NetCDF: the arrays of the classic format, and georeferences by coordinates or by text."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.memory import check_memory
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.gdal import crs_wkt
from hypercover.scene.io.named_arrays import (
    NamedArray,
    NamedArrays,
    explain_damage,
    plain_attributes,
)
from hypercover.types import Array

_AXIS, _FLATTENING = 6_378_137.0, 298.257_223_563
"""Semi-major axis (m) and inverse flattening of the ellipsoid of WGS 84."""
_REGULAR = 1e-3
"""Unevenness of a coordinate, in pixels, up to which it counts as regular."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for reading; errors of SciPy become one about damage."""
    from scipy.io import netcdf_file

    with explain_damage(path, "NetCDF"), netcdf_file(str(path), "r", mmap=False) as file:
        yield file


def list_arrays(path: Path) -> list[NamedArray]:
    """List the arrays of a classic NetCDF file.

    Raises
    ------
    SceneError
        If it is damaged or cut short.
    """
    with _opened(path) as file:
        around = plain_attributes(file._attributes)
        arrays = []
        for name, variable in file.variables.items():
            read = partial(_read, path, name)
            shape, dims = tuple(variable.shape), tuple(variable.dimensions)
            kind, attrs = variable.data.dtype.kind, plain_attributes(variable._attributes)
            arrays.append(NamedArray(name, shape, kind, read, dims, attrs, around))
        return arrays


def _read(path: Path, name: str) -> Array:
    check_memory(path.stat().st_size, f"The image {path}")
    with _opened(path) as file:
        values = np.array(file.variables[name].data)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def place_by_coordinates(
    cube: xr.DataArray, image: NamedArray, members: NamedArrays
) -> xr.DataArray:
    """Return the cube with the georeference of its coordinate variables, if any.

    By the CF conventions, one-dimensional variables with the names of the axes hold the
    pixel centres, and ``grid_mapping`` names the coordinate system. Without such variables,
    ``GeoTransform`` of the coordinate system counts.
    """
    if len(image.dims) != 3:
        return cube
    by_name = {member.basename: member for member in members}
    # The long form lists coordinates after a colon: "crs: x y".
    name = str(image.attribute("grid_mapping") or "spatial_ref").partition(":")[0].split()
    mapping = by_name.get(name[0] if name else "")
    x = _regular(by_name, image, cube.sizes["x"], "x")
    y = _regular(by_name, image, cube.sizes["y"], "y")
    if x is None or y is None:
        return _transformed(cube, mapping)
    transform = (x[1], 0.0, x[0] - x[1] / 2, 0.0, y[1], y[0] - y[1] / 2)
    crs = _crs(mapping)
    if (
        mapping is None
        and {dim.rsplit("/", 1)[-1].lower() for dim in image.dims} & _DEGREES
    ):
        crs = crs_wkt(4326)
    return with_grid(cube, Grid(cube.sizes["y"], cube.sizes["x"], crs, transform))


def _transformed(cube: xr.DataArray, mapping: NamedArray | None) -> xr.DataArray:
    """Return the cube with the georeference that GDAL writes as ``GeoTransform``."""
    rows, cols, crs = cube.sizes["y"], cube.sizes["x"], _crs(mapping)
    text = "" if mapping is None else str(mapping.attrs.get("GeoTransform", ""))
    try:
        c, a, b, f, d, e = map(float, text.split())
    except ValueError:
        return cube if crs is None else with_grid(cube, Grid(rows, cols, crs))
    usable = np.isfinite([a, b, c, d, e, f]).all() and a * e != b * d
    return with_grid(cube, Grid(rows, cols, crs, (a, b, c, d, e, f))) if usable else cube


_DEGREES = {"lat", "latitude"}
"""Names of axes in degrees, where there is no coordinate system."""
_COORDINATES = {
    "x": {"x", "lon", "longitude", "easting"},
    "y": {"y", "northing", *_DEGREES},
}


def _regular(
    by_name: dict[str, NamedArray], image: NamedArray, count: int, axis: str
) -> tuple[float, float] | None:
    """Return first centre and step of a regular coordinate of this length, if there is one."""
    for name in (dim.rsplit("/", 1)[-1] for dim in image.dims):
        member = by_name.get(name)
        if name.lower() not in _COORDINATES[axis] or member is None:
            continue
        if member.shape != (count,) or count < 2 or not member.is_numeric:
            continue
        centres = np.asarray(member.values(), dtype=np.float64)
        if re.fullmatch(
            "km|kilomet(er|re)s?", str(member.attribute("units")).strip().lower()
        ):
            centres *= 1e3
        step = (centres[-1] - centres[0]) / (count - 1)
        even = centres[0] + step * np.arange(count)
        if step != 0 and np.abs(centres - even).max() <= _REGULAR * abs(step):
            return float(centres[0]), float(step)
    return None


def _crs(mapping: NamedArray | None) -> str | None:
    if mapping is None:
        return None
    for key in ("crs_wkt", "spatial_ref"):
        text = mapping.attrs.get(key)
        if isinstance(text, str) and (wkt := crs_wkt(text)):
            return wkt
    code = mapping.attribute("spatial_epsg", "epsg_code", "epsg", "EPSG")
    return _from_epsg(str(code or "")) or _from_parameters(mapping)


def _from_parameters(mapping: NamedArray) -> str | None:
    """Return the coordinate system given by parameters of the CF conventions.

    Only UTM zones and degrees, on WGS 84: others differ too much in names and details to
    be compared with those of labels.
    """

    def number(*names: str, default: float = 0.0) -> float:
        value = mapping.attribute(*names)
        return float(value) if isinstance(value, int | float) else default

    kind = str(mapping.attribute("grid_mapping_name"))
    axis, flattening = number("semi_major_axis"), number("inverse_flattening")
    if abs(axis - _AXIS) > 1e-3 or abs(flattening - _FLATTENING) > 1e-6:
        return None
    if kind == "latitude_longitude":
        return crs_wkt(4326)
    zone = (number("longitude_of_central_meridian", default=np.nan) + 183) / 6
    south = number("false_northing") == 1e7
    is_utm = (
        kind == "transverse_mercator"
        and number("latitude_of_projection_origin") == 0
        and number("scale_factor_at_central_meridian") == 0.9996
        and number("false_easting") == 5e5
        and (south or number("false_northing") == 0)
        and zone in range(1, 61)
    )
    return crs_wkt((32700 if south else 32600) + int(zone)) if is_utm else None


def place_by_map_info(
    cube: xr.DataArray, map_info: str, epsg: str, wkt: str
) -> tuple[xr.DataArray, tuple[str, ...]]:
    """Return the cube with the georeference of an ENVI map info, and notes on it.

    HDF5 files of airborne sensors (NEON) store it as text, with the code of the coordinate
    system next to it.

    Parameters
    ----------
    map_info : str
        ``UTM, 1, 1, 500000, 4000000, 10, 10, 33, North, WGS-84, …``; "" if unknown.
    epsg, wkt : str
        Code or text of the coordinate system; "" if unknown.
    """
    parts = [part.strip() for part in map_info.strip("{} ").split(",")]
    wkt = wkt.strip("{} ")
    crs = _from_epsg(epsg) or (crs_wkt(wkt) if wkt else None) or _from_map_info(parts)
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    try:
        col, row, east, north, wide, high = (float(part) for part in parts[1:7])
    except ValueError:
        return (with_grid(cube, Grid(rows, cols, crs)) if crs else cube), ()
    turned = [
        part.partition("=")[2] for part in parts if part.lower().startswith("rotation")
    ]
    angle = 0.0
    with suppress(ValueError):
        angle = -np.radians(float(turned[0] if turned else 0))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    transform = (
        cos * wide,
        -sin * wide,
        east - (col - 1) * wide,
        -sin * high,
        -cos * high,
        north + (row - 1) * high,
    )
    if not np.isfinite(transform).all() or not wide * high > 0:
        return cube, (
            "The map info of the file is not a valid georeference and was ignored.",
        )
    placed = with_grid(cube, Grid(rows, cols, crs, transform))
    return placed, () if crs else ("The coordinate system of the file is unknown.",)


def _from_epsg(text: str) -> str | None:
    digits = text.strip().lower().removeprefix("epsg:").strip()
    return crs_wkt(int(digits)) if digits.isdecimal() and len(digits) < 7 else None


def _from_map_info(parts: Sequence[str]) -> str | None:
    """Return the coordinate system of a UTM zone or of degrees on WGS 84."""
    words = [part.lower().replace(" ", "") for part in parts]
    if not any(word.replace("-", "") in {"wgs84", "wgs1984"} for word in words):
        return None
    if words[0] == "geographiclat/lon":
        return crs_wkt(4326)
    if words[0] != "utm" or len(words) < 9 or not words[7].isdecimal():
        return None
    zone, first = int(words[7]), 32700 if words[8].startswith("s") else 32600
    return crs_wkt(first + zone) if 1 <= zone <= 60 else None
