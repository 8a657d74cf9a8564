"""Stacks of features: what a feature makes of a scene, as a scene again."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.scene.grid import with_grid
from hypercover.scene.header import of_land, with_header
from hypercover.scene.memory import check_fits
from hypercover.scene.scene import Scene, check_size

__all__ = ["check_range", "check_stack", "feature_scene", "new_stack"]


def check_range(values: npt.NDArray[np.float64], scene: Scene) -> None:
    """Refuse values of pixels with data that are too large to compute with.

    Raises
    ------
    SceneError
        If there are some: mostly a fill value that the file does not name.
    """
    check_size(float(np.abs(values).max(initial=0.0)), scene.name)


def check_stack(scene: Scene, count: int) -> None:
    """Refuse so many features of every pixel where they do not fit in memory.

    Raises
    ------
    SceneError
        If they do not.
    """
    rows, cols = scene.shape
    check_fits(
        4 * count * rows * cols,
        f"A stack of {count} features of the image {scene.name}, which is computed whole,",
        "ask for fewer features, cut the image smaller, or use a larger machine",
    )


def new_stack(scene: Scene, count: int) -> npt.NDArray[np.float32]:
    """Return NaN for so many features of every pixel (feature, y, x), if they fit in memory.

    Raises
    ------
    SceneError
        If they do not.
    """
    check_stack(scene, count)
    return np.full((count, *scene.shape), np.nan, dtype=np.float32)


def feature_scene(
    scene: Scene, values: npt.NDArray[np.float32] | xr.Variable, names: Sequence[str]
) -> Scene:
    """Return the scene with features (feature, y, x) in the place of its bands.

    Grid, labels, legend, name, sensor, moment and notes stay; bands are numbered
    from 1, named by the coordinate ``band_name``, and have no wavelengths.  NaN is
    no data.
    """
    coords = {
        "band": np.arange(1, len(values) + 1),
        "band_name": ("band", np.asarray(names, dtype=np.str_)),
    }
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords=coords)
    cube.attrs["nodata"] = float("nan")
    cube = with_header(cube, of_land(scene.header))
    return scene.replace(cube=with_grid(cube, scene.grid))
