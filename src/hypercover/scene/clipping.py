"""Clipping: what lies in an area is kept, the rest holds no data."""

from pathlib import Path

import numpy as np

from hypercover.errors import LabelError
from hypercover.scene.area import Mask, area_of
from hypercover.scene.cropping import rectangle
from hypercover.scene.lazy import bounding_slice
from hypercover.scene.scene import Scene
from hypercover.scene.unused import settled

__all__ = ["clip"]


def clip(scene: Scene, area: Mask | str | Path) -> Scene:
    """Return the part of a scene that lies in an area, cut to the rectangle around it.

    Why it exists: a map is wanted of a municipality, not of a swath.  Pixels of the
    rectangle outside the area hold no data; labels there are 0.  The cube stays in its
    file until it is read; no data is declared as :func:`~hypercover.scene.unused.settled`
    does.

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
    >>> import xarray as xr
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
    part, kept = rectangle(scene, rows, cols), inside[rows, cols]
    if part.labels is not None:
        codes = np.where(kept, part.labels, 0).astype(part.labels.dtype)
        part = part.with_labels(codes)
    return settled(part, kept)
