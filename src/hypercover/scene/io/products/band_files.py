"""Images with each band in a file of its own, read as one cube."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import raster
from hypercover.scene.io.raster import dataset_grid, open_dataset, read_window
from hypercover.scene.lazy import Indices, LazyArray
from hypercover.types import Array


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
    """Return a lazy cube (band, y, x) of bands in files on one grid.

    Raises
    ------
    SceneError
        If a file has several bands, or the grids or types of the files differ.
    """
    layouts = [_layout(file) for file in files]
    grid, dtype = layouts[0]
    for file, layout in zip(files, layouts, strict=True):
        if layout != (grid, dtype):
            raise SceneError(
                f"The bands of a product must lie on one grid, but {file.path.name} differs "
                f"from {files[0].path.name}; download the product again."
            )
    fetch = partial(_fetch, tuple(file.path for file in files))
    data = LazyArray((len(files), *grid.shape), dtype, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    if nodata is not None:
        cube.attrs["nodata"] = nodata
    return with_grid(cube, grid).assign_coords(
        band=np.arange(1, len(files) + 1),
        wavelength=("band", np.array([file.wavelength for file in files])),
        band_name=("band", np.array([file.name for file in files])),
    )


def _layout(file: BandFile) -> tuple[Grid, np.dtype[Any]]:
    """Return grid and type of a file of one band."""
    with open_dataset(file.path) as dataset:
        raster.check_raster(dataset, file.path)
        if dataset.count != 1:
            raise SceneError(
                f"{file.path} must hold one band, found {dataset.count}; download the product "
                "again."
            )
        return dataset_grid(dataset), np.dtype(dataset.dtypes[0])


def _fetch(files: tuple[Path, ...], indices: Indices) -> Array:
    bands, rows, cols = indices
    only = np.zeros(1, np.intp)
    return np.concatenate([read_window(files[band], (only, rows, cols)) for band in bands])
