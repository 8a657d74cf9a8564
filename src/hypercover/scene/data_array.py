"""Cubes from NumPy arrays and xarray's DataArrays of any axis order."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray

from hypercover.errors import SceneError, counted
from hypercover.scene.grid import Grid, Transform, grid_of, with_grid
from hypercover.scene.io.axes import axis_role, order_from_names
from hypercover.scene.wavelengths import to_nanometres

_DIMS = ("band", "y", "x")
_WAVELENGTH = {"wavelength", "wavelengths", "wl", "wvl", "lambda"}
"""Names of a band dimension whose coordinate holds wavelengths."""
_OWN = {"row": "y", "col": "x", "band": "band"}


def as_cube(
    array: DataArray | ArrayLike,
    *,
    wavelengths: ArrayLike | None = None,
    crs: Any = None,
    transform: Sequence[float] | None = None,
) -> tuple[DataArray, tuple[str, ...]]:
    """Turn an array into a cube (band, y, x).

    Parameters
    ----------
    array : DataArray or array_like
        A DataArray's axes are recognised by the names of its dimensions, in any order
        (``band``, ``wavelength``; ``y``, ``row``, ``lat``; ``x``, ``col``, ``lon``).  A
        plain array is (band, row, col).  Two dimensions are one band.
    wavelengths : array_like (band,), optional
        Centre wavelengths in nm; by default the coordinate ``wavelength`` or the
        coordinate of the band dimension if that is called so, in the unit of its
        attribute ``units``.
    crs : optional
        Coordinate reference system in any form that rasterio takes, such as
        ``"EPSG:32633"``; by default that of the array, as rioxarray keeps it.
    transform : sequence of 6 numbers, optional
        Affine transform a, b, c, d, e, f of pixel corners.

    Returns
    -------
    DataArray, tuple of str
        The cube, and notes on what had to be guessed.

    Raises
    ------
    SceneError
        If the axes cannot be recognised, or wavelengths or CRS do not fit.
    """
    if not isinstance(array, DataArray):
        values = np.asarray(array)
        if values.ndim not in (2, 3):
            raise SceneError(
                f"An image is an array (band, row, col) or (row, col), got the shape "
                f"{values.shape}; reshape it."
            )
        array = DataArray(values, dims=_DIMS[-values.ndim :])
    cube, notes = _with_wavelengths(_ordered(array), wavelengths)
    names = cube.attrs.get("long_name")
    if isinstance(names, tuple | list) and len(names) == cube.sizes["band"]:
        cube = cube.assign_coords(band_name=("band", [str(name) for name in names]))
    if crs is not None or transform is not None:
        cube = _placed(cube, crs, transform)
    return cube, notes


def _ordered(cube: DataArray) -> DataArray:
    """Return the cube as (band, y, x)."""
    single = [
        dim for dim, size in cube.sizes.items() if size == 1 and not axis_role(str(dim))
    ]
    cube = cube.squeeze(single, drop=True)
    if cube.ndim == 2:
        cube = cube.drop_vars("band", errors="ignore").expand_dims("band")
    dims = tuple(map(str, cube.dims))
    roles = order_from_names(dims)
    if roles is None:
        raise SceneError(
            f"The dimensions {dims} do not say which is the band, the row and the column; "
            f"rename them first with array.rename to {_DIMS}."
        )
    new = {old: _OWN[role] for old, role in zip(dims, roles, strict=True)}
    band = next(old for old, name in new.items() if name == "band")
    centres = cube.coords[band] if band in _WAVELENGTH and band in cube.coords else None
    if band != "band":
        # This coordinate numbers no bands: after renaming it would be taken for that.
        cube = cube.drop_vars([band, "band"], errors="ignore")
    renamed = {old: name for old, name in new.items() if old != name}
    cube = cube.rename(renamed).transpose(*_DIMS)
    if centres is None:
        return cube
    return cube.assign_coords(wavelength=("band", centres.values, centres.attrs))


def _with_wavelengths(
    cube: DataArray, given: ArrayLike | None
) -> tuple[DataArray, tuple[str, ...]]:
    """Return the cube with wavelengths in nm."""
    count = cube.sizes["band"]
    if given is not None:
        values, unit = np.asarray(given, dtype=np.float64), "nm"
    elif "wavelength" in cube.coords and cube.coords["wavelength"].dims == ("band",):
        coord = cube.coords["wavelength"]
        values, unit = np.asarray(coord.values, dtype=np.float64), coord.attrs.get("units")
    else:
        return cube, ()
    if values.shape != (count,):
        raise SceneError(
            f"The image has {counted(count, 'band')} and there are {values.size} wavelengths; "
            "give one for each band."
        )
    nm, notes = to_nanometres(values, unit)
    cube = cube.drop_vars("wavelength", errors="ignore")
    return (cube if nm is None else cube.assign_coords(wavelength=("band", nm))), notes


def _placed(cube: DataArray, crs: Any, transform: Sequence[float] | None) -> DataArray:
    """Return the cube with the georeference that was given."""
    grid = grid_of(cube)
    wkt = grid.crs
    if crs is not None:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        try:
            wkt = str(CRS.from_user_input(crs).to_wkt())
        except (CRSError, ValueError) as error:
            raise SceneError(
                f"{crs!r} is not a coordinate reference system ({error}); give one such as "
                "'EPSG:32633'."
            ) from error
    place = grid.transform
    if transform is not None:
        numbers = tuple(float(number) for number in transform)[:6]
        if len(numbers) < 6:
            raise SceneError(
                f"A transform has the six numbers a, b, c, d, e, f, got {list(numbers)}; give "
                "an affine.Affine or six numbers."
            )
        place = cast(Transform, numbers)
    return with_grid(cube, Grid(grid.rows, grid.cols, wkt, place))
