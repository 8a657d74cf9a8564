"""Small scenes, cubes and grids that the tests of this folder share."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.scene import Scene

ROWS, COLS, BANDS = 13, 11, 6


@pytest.fixture
def values() -> npt.NDArray[np.int16]:
    """Cube (band, row, col) of distinct numbers."""
    count = BANDS * ROWS * COLS
    return np.arange(1, count + 1, dtype=np.int16).reshape(BANDS, ROWS, COLS)


@pytest.fixture
def codes() -> npt.NDArray[np.uint8]:
    """Label map with three classes and unlabelled pixels."""
    label_map = np.zeros((ROWS, COLS), np.uint8)
    label_map[1:4, 1:4], label_map[6:9, 2:8], label_map[10, 10] = 1, 2, 5
    return label_map


@pytest.fixture
def utm() -> Grid:
    """Grid of 20 m pixels in UTM."""
    from rasterio.crs import CRS

    wkt = CRS.from_epsg(32616).to_wkt()
    return Grid(ROWS, COLS, wkt, (20.0, 0.0, 500_000.5, 0.0, -20.0, 4_480_000.0))


@pytest.fixture
def scene(values: npt.NDArray[np.int16], utm: Grid) -> Scene:
    """Scene with everything a band can carry."""
    cube = xr.DataArray(
        values, dims=("band", "y", "x"), attrs={"nodata": -9.0, "units": "W m-2"}
    ).assign_coords(
        band=np.arange(1, BANDS + 1),
        wavelength=("band", 400.1 + 100 / 3 * np.arange(BANDS)),
        fwhm=("band", np.linspace(9.7, 10.1, BANDS)),
        bad=("band", np.arange(BANDS) == 2),
    )
    return Scene(with_grid(cube, utm), name="small")
