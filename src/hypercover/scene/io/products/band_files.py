"""Bands that lie in files of their own, read as one cube."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import raster
from hypercover.scene.io.raster import dataset_grid, open_dataset, read_window
from hypercover.scene.lazy import Indices, LazyArray

__all__ = ["BandFile", "stack_bands"]


@dataclass(frozen=True)
class BandFile:
    """One band in a file of its own."""

    path: Path
    """The file."""
    name: str
    """Name of the band, such as ``B04``."""
    wavelength: float
    """Centre in nm."""


def stack_bands(files: Sequence[BandFile], nodata: float | None) -> xr.DataArray:
    """Return a cube (band, y, x) of bands in files on one grid, read where it is used.

    Raises
    ------
    SceneError
        If there is none, a file has several bands, or their grids or types differ.
    """
    if not files:
        raise SceneError("The product names no band; give a whole product.")
    looked = [_look(file) for file in files]
    grid, dtype = looked[0]
    for file, found in zip(files, looked, strict=True):
        if found != (grid, dtype):
            raise SceneError(
                f"The bands of a product must lie on one grid, but {file.path.name} differs "
                f"from {files[0].path.name}; download the product again."
            )
    fetch = partial(_fetch, tuple(file.path for file in files))
    data = LazyArray((len(files), *grid.shape), dtype, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    if nodata is not None:
        cube.attrs["nodata"] = nodata
    along = {
        "band": np.arange(1, len(files) + 1),
        "wavelength": np.array([file.wavelength for file in files]),
        "band_name": np.array([file.name for file in files]),
    }
    placed = with_grid(cube, grid)
    return placed.assign_coords({name: ("band", each) for name, each in along.items()})


def _look(file: BandFile) -> tuple[Grid, np.dtype[Any]]:
    """Return grid and type of a file of one band."""
    with open_dataset(file.path) as dataset:
        raster.check_raster(dataset, file.path)
        if dataset.count != 1:
            raise SceneError(
                f"{file.path} must hold one band, found {dataset.count}; download the product "
                "again."
            )
        return dataset_grid(dataset), np.dtype(dataset.dtypes[0])


def _fetch(files: tuple[Path, ...], wanted: Indices) -> npt.NDArray[np.generic]:
    bands, rows, cols = wanted
    only = np.zeros(1, np.intp)
    return np.concatenate([read_window(files[band], (only, rows, cols)) for band in bands])
