"""EMIT in NetCDF 4: a swath, orthorectified by its geometric lookup table."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.hdf5 import read_attributes
from hypercover.scene.io.limits import check_memory
from hypercover.scene.io.named_arrays import NamedArray, band_table
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.nodata import normalized_key
from hypercover.scene.scene import Scene
from hypercover.types import Array, Ints

_IMAGES = ("reflectance", "radiance")
_TABLES = ("location/glt_x", "location/glt_y")
_BANDS = "sensor_band_parameters/"
_BLOCK = 128
"""Side of the squares that are read at once: the swath is slanted, so wide strips of the grid
would touch all of it."""


def is_emit(members: Sequence[NamedArray]) -> bool:
    """Tell whether an HDF5 file is an EMIT image with its geometric lookup table."""
    names = {one.name.lower() for one in members}
    return set(_TABLES) <= names and any(name in names for name in _IMAGES)


def read_emit(path: Path, members: Sequence[NamedArray]) -> Scene:
    """Open an EMIT image on its grid of longitude and latitude.

    Each pixel of the grid takes the value of one pixel of the swath, or holds no data.

    Raises
    ------
    SceneError
        If the lookup table, wavelengths or georeference are missing or do not fit.
    """
    by_name = {one.name.lower(): one for one in members}
    image = next(by_name[name] for name in _IMAGES if name in by_name)
    tables = [_table(by_name[name], path) for name in _TABLES]
    rows, cols = tables[0].shape
    if tables[1].shape != (rows, cols) or len(image.shape) != 3:
        raise SceneError(
            f"The lookup table of {path} does not fit its image; download it again."
        )
    high, wide, count = image.shape
    if tables[0].max(initial=0) > wide or tables[1].max(initial=0) > high:
        raise SceneError(
            f"The lookup table of {path} points outside its image; download it again."
        )
    stated = image.attribute("_FillValue")
    fill = float(stated) if isinstance(stated, float | int) else -9999.0
    raw = image.read()
    dtype = np.dtype(getattr(raw, "dtype", np.float32))
    fetch = partial(_fetch, raw, tables, fill)
    data = LazyArray((count, rows, cols), dtype, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"), attrs={"nodata": fill})
    lists = [one for one in members if one.name.lower().startswith(_BANDS)]
    table = band_table(lists, count)
    attrs = {normalized_key(name): value for name, value in read_attributes(path).items()}
    cube = with_header(cube, product_header("EMIT", attrs.get("timecoveragestart")))
    note = f"EMIT: {image.name}, orthorectified by its lookup table; no data outside the swath."
    return Scene(
        table.on(with_grid(cube, _grid(attrs, rows, cols, path))),
        name=path.stem,
        source=str(path),
        notes=(note, *table.notes),
    )


def _table(member: NamedArray, path: Path) -> Ints:
    """Read one half of the lookup table (y, x): a column or row from 1, 0 = none."""
    if len(member.shape) != 2 or not member.is_numeric:
        raise SceneError(
            f"{member.name} of {path} is not a lookup table; download it again."
        )
    check_memory(24 * int(np.prod(member.shape)), f"The lookup table of {path}")
    return np.asarray(member.values(), dtype=np.int64)


def _grid(attributes: dict[str, Any], rows: int, cols: int, path: Path) -> Grid:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    place = np.asarray(attributes.get("geotransform", ()), dtype=np.float64).reshape(-1)
    try:
        wkt = CRS.from_wkt(str(attributes.get("spatialref", ""))).to_wkt()
    except CRSError:
        wkt = ""
    if len(place) != 6 or not wkt or not np.isfinite(place).all():
        raise SceneError(
            f"{path} lacks geotransform or spatial_ref; download it again, or read the swath "
            "as it is with --variable reflectance."
        )
    c, a, b, f, d, e = map(float, place)
    return Grid(rows, cols, wkt, (a, b, c, d, e, f))


def _fetch(raw: Any, tables: Sequence[Ints], fill: float, indices: Indices) -> Array:
    bands, rows, cols = indices
    ortho = np.full(tuple(map(len, indices)), fill, np.dtype(raw.dtype))
    variable = xr.Variable(("row", "col", "band"), raw.as_variable_data())
    for top in range(0, len(rows), _BLOCK):
        for left in range(0, len(cols), _BLOCK):
            block = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
            across, down = (
                table[np.ix_(rows[block[0]], cols[block[1]])] for table in tables
            )
            inside = (across > 0) & (down > 0)
            if inside.any():
                x, y = across[inside] - 1, down[inside] - 1
                part = bounding_slice(y), bounding_slice(x)
                values = variable[part[0], part[1], bands].values
                picked = values[y - part[0].start, x - part[1].start]
                ortho[:, *block][:, inside] = picked.T
    return ortho
