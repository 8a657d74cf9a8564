"""An area: the pixels that polygons cover, or that a raster marks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.scene.formats.containers import CONTAINERS, open_container
from hypercover.scene.formats.members import describe
from hypercover.scene.formats.signature import Kind, kind_of, local_file
from hypercover.scene.grid import Grid
from hypercover.scene.labels import naming_options, on_grid

__all__ = ["Mask", "area_of"]

Mask = npt.NDArray[np.bool_]


def area_of(
    path: str | Path, grid: Grid, layer: str | None = None, option: str = "--within-layer"
) -> Mask:
    """Tell which pixels (y, x) of a grid lie in the area that a file gives.

    Shapes of a vector file in any coordinate system, or a raster on the grid whose
    pixels are in where they hold a number other than zero.

    Parameters
    ----------
    path : path
    grid : Grid
    layer : str, optional
        Layer of a vector file, where it holds several.
    option : str
        What messages call the option for the layer.

    Raises
    ------
    LabelError
        If it does not fit, or no pixel lies in it.
    SceneError
        If it cannot be read.
    """
    file = local_file(path)
    kind = kind_of(file)
    if kind is Kind.VECTOR:
        from hypercover.scene.formats.vector import read_vector_area

        with naming_options({"--label-layer NAME (scene.label_layer)": f"{option} NAME",
                             "--label-layer": option}):  # fmt: skip
            return read_vector_area(file, grid, layer)
    inside = _array(file, kind, grid) if kind in CONTAINERS else _raster(file, grid)
    if not inside.any():
        raise LabelError(
            f"All pixels of {file} are zero: no area; give one that has pixels."
        )
    return inside


def _raster(file: Path, grid: Grid) -> Mask:
    from hypercover.scene.formats.raster import read_layer

    layer = read_layer(file, what="area")
    values = on_grid(layer.values, layer.grid, grid, file, what="area")
    return _marked(values, layer.nodata)


def _array(file: Path, kind: Kind, grid: Grid) -> Mask:
    """Take the one array of a file of arrays that has the size of the image."""
    members = open_container(file, kind).members
    fitting = [one for one in members if one.is_numeric and one.shape == grid.shape]
    if len(fitting) != 1:
        raise LabelError(
            f"An area must be one array of the size of the image, {grid.rows} rows × "
            f"{grid.cols} columns, found in {file} {describe(members) or 'no array'}; give a "
            "file with that array alone, or polygons."
        )
    return _marked(np.asarray(fitting[0].values()), None)


def _marked(values: npt.NDArray[np.generic], nodata: float | None) -> Mask:
    marked: Mask = np.isfinite(values) & (values != 0)
    return marked if nodata is None else marked & np.asarray(values != nodata)
