"""Cropping: a rectangle of rows and columns in the place of a whole image."""

import re

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.labels import listed
from hypercover.scene.scene import Scene

__all__ = ["crop", "rectangle"]

_FORM = re.compile(r"\s*(\d{0,9}):(\d{0,9})\s*,\s*(\d{0,9}):(\d{0,9})\s*")


def crop(scene: Scene, part: str) -> Scene:
    """Return a rectangle of a scene, with its labels; the cube stays in its file.

    Why it exists: the published flight line is longer than the scene that papers
    use, and a large image is best tried out on a piece of it.

    Parameters
    ----------
    scene : Scene
    part : str
        Rows and columns from 0, the end left out, as in NumPy: ``"0:1417,0:617"``;
        what is left out is the edge of the image: ``":1417,:"``.

    Raises
    ------
    SceneError
        If the part is not written so, is empty, or lies beyond the image.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> scene = Scene(xr.DataArray(np.ones((2, 9, 5)), dims=("band", "y", "x")))
    >>> crop(scene, "2:6,:4").shape
    (4, 4)
    """
    rows, cols = _slices(part, scene)
    cut = rectangle(scene, rows, cols)
    return cut.noting(
        f"Cropped to rows {rows.start} to {rows.stop - 1} and columns {cols.start} to "
        f"{cols.stop - 1} of {scene.shape[0]} × {scene.shape[1]}."
    )


def rectangle(scene: Scene, rows: slice, cols: slice) -> Scene:
    """Return a rectangle of a scene, with its labels; the cube stays in its file."""
    grid = scene.grid
    a, b, c, d, e, f = grid.transform
    moved = (a, b, c + a * cols.start + b * rows.start,
             d, e, f + d * cols.start + e * rows.start)  # fmt: skip
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    place = Grid(*shape, grid.crs, moved if grid.placed else grid.transform)
    cut = scene.replace(
        cube=with_grid(scene.cube.isel(y=rows, x=cols), place),
        labels=None if scene.labels is None else scene.labels[rows, cols],
        shapes=None if scene.shapes is None else scene.shapes[rows, cols],
    )
    if cut.labels is None:
        return cut
    cut = cut.with_labels(cut.labels)
    gone = [land.name for land in scene.legend if land.code not in cut.legend]
    if not gone:
        return cut
    lost = f"Classes lost, because none of their pixels lies in the part: {listed(gone)}."
    return cut.replace(losses=(*cut.losses, lost))


def _slices(part: str, scene: Scene) -> tuple[slice, slice]:
    """Read the rows and columns of a part."""
    found = _FORM.fullmatch(part)
    ends = [int(text) if text else None for text in found.groups()] if found else []
    if ends:
        rows = slice(ends[0] or 0, scene.shape[0] if ends[1] is None else ends[1])
        cols = slice(ends[2] or 0, scene.shape[1] if ends[3] is None else ends[3])
        inside = rows.stop <= scene.shape[0] and cols.stop <= scene.shape[1]
        if rows.start < rows.stop and cols.start < cols.stop and inside:
            return rows, cols
    raise SceneError(
        f"A crop must be rows and columns of the image, {scene.shape[0]} × "
        f"{scene.shape[1]}, such as '0:{scene.shape[0]},0:{scene.shape[1]}', got {part!r}."
    )
