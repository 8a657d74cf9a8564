"""Clipping: what lies in an area is kept, the rest holds no data."""

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import LabelError
from hypercover.scene.area import Mask, area_of
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.scene import Scene
from hypercover.scene.unused import unused_value

__all__ = ["clip"]


def clip(scene: Scene, area: Mask | str | Path) -> Scene:
    """Return the part of a scene that lies in an area, cut to the rectangle around it.

    Why it exists: a map is wanted of a municipality, not of a swath.  Pixels of the
    rectangle outside the area hold no data; labels there are 0.  The cube stays in its
    file until it is read.  An image of whole numbers that names no value for no data
    gets one that none of its pixels holds, for which it is read once.

    Parameters
    ----------
    scene : Scene
    area : array of bool (y, x), or path
        See :func:`~hypercover.scene.area.area_of`.

    Raises
    ------
    LabelError
        If the area has another size, cannot be read, or holds no pixel.

    Examples
    --------
    >>> cube = xr.DataArray(np.ones((2, 4, 5)), dims=("band", "y", "x"))
    >>> area = np.zeros((4, 5), bool)
    >>> area[1:3, 1:4] = area[0, 2] = True
    >>> part = clip(Scene(cube), area)
    >>> part.shape, part.valid.astype(int).tolist()
    ((3, 3), [[0, 1, 0], [1, 1, 1], [1, 1, 1]])
    """
    inside = area if isinstance(area, np.ndarray) else area_of(area, scene.grid)
    if inside.shape != scene.shape or not inside.any():
        raise LabelError(
            "An area must have the size of the image and hold at least one pixel, got "
            f"{' × '.join(map(str, inside.shape))} for {scene.shape[0]} × {scene.shape[1]}."
        )
    rows, cols = (bounding_slice(np.flatnonzero(inside.any(axis=one))) for one in (1, 0))
    labels = scene.labels
    if labels is not None:
        labels = np.where(inside, labels, 0)[rows, cols].astype(labels.dtype)
    if not inside[rows, cols].all():
        scene = _with_nodata(scene, inside)
    part = scene.replace(cube=_cut(scene, inside, rows, cols), labels=labels)
    return part if labels is None else part.with_labels(labels)


def _with_nodata(scene: Scene, inside: Mask) -> Scene:
    """Name a value for no data, where whole numbers need one outside the area."""
    if scene.nodata is not None or scene.cube.dtype.kind not in "iu":
        return scene
    value = unused_value(scene, inside)
    if value is None:
        return scene.noting(
            f"Every value that {scene.cube.dtype} can hold is measured somewhere, so none "
            "can stand for no data: outside the area all bands are 0, which other programs "
            "take for data; convert the image to a larger type before it is clipped."
        )
    return scene.replace(cube=scene.cube.assign_attrs(nodata=float(value))).noting(
        f"The image names no value for no data; {value}, which no pixel with data holds, "
        "was taken and is noted in it."
    )


def _cut(scene: Scene, inside: Mask, rows: slice, cols: slice) -> xr.DataArray:
    """Return the cube of a rectangle, blanked outside the area where it is read."""
    shape = (scene.n_bands, rows.stop - rows.start, cols.stop - cols.start)
    fetch = partial(_fetch, scene, inside, (rows.start, cols.start))
    lazy = LazyArray(shape, scene.cube.dtype, fetch)
    cube = xr.DataArray(lazy.as_variable_data(), dims=("band", "y", "x"))
    cube.attrs = dict(scene.cube.attrs)
    along = {name: one for name, one in scene.cube.coords.items() if one.dims == ("band",)}
    grid = scene.grid
    a, b, c, d, e, f = grid.transform
    moved = (a, b, c + a * cols.start + b * rows.start,
             d, e, f + d * cols.start + e * rows.start)  # fmt: skip
    place = Grid(*shape[1:], grid.crs, moved if grid.placed else grid.transform)
    return with_grid(cube.assign_coords(along), place)


def _fetch(
    scene: Scene, inside: Mask, corner: tuple[int, int], wanted: Indices
) -> npt.NDArray[np.generic]:
    layers, rows, cols = wanted
    down, across = rows + corner[0], cols + corner[1]
    around = bounding_slice(down), bounding_slice(across)
    values = scene.cube.isel(band=layers, y=around[0], x=around[1]).values
    kept = inside[around]
    floating = scene.cube.dtype.kind == "f"
    fallback = float("nan") if floating else 0
    nodata = fallback if scene.nodata is None else scene.nodata
    blank = np.asarray(nodata).astype(scene.cube.dtype)
    clipped = np.where(kept, values, blank)
    return clipped[:, down - around[0].start][:, :, across - around[1].start]
