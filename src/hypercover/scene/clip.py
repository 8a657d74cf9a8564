"""Cropping a scene to a rectangle, and clipping it to an area."""

import re
from pathlib import Path

import numpy as np

from hypercover.errors import LabelError, SceneError
from hypercover.scene.fill_value import with_fill_value
from hypercover.scene.grid import Grid
from hypercover.scene.io.array_files import ARRAY_READERS, ArrayFile
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.named_arrays import describe
from hypercover.scene.labels import flip_to_grid, replaced_options
from hypercover.scene.lazy import bounding_slice
from hypercover.scene.scene import Scene
from hypercover.types import Array, Mask

_RECTANGLE = re.compile(r"\s*(\d{0,9}):(\d{0,9})\s*,\s*(\d{0,9}):(\d{0,9})\s*")


def crop(scene: Scene, part: str) -> Scene:
    """Crop a scene and its labels to a rectangle; the cube stays in its file.

    Parameters
    ----------
    scene : Scene
    part : str
        Slices of rows and columns as in NumPy: ``"0:1417,0:617"`` or ``":1417,:"``.

    Raises
    ------
    SceneError
        If the part cannot be parsed, is empty, or exceeds the image.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> scene = Scene(xr.DataArray(np.ones((2, 9, 5)), dims=("band", "y", "x")))
    >>> crop(scene, "2:6,:4").shape
    (4, 4)
    """
    rows, cols = _slices(part, scene)
    cut = scene.isel(y=rows, x=cols)
    return cut.noting(
        f"Cropped to rows {rows.start} to {rows.stop - 1} and columns {cols.start} to "
        f"{cols.stop - 1} of {scene.shape[0]} × {scene.shape[1]}."
    )


def _slices(part: str, scene: Scene) -> tuple[slice, slice]:
    """Parse the rows and columns of a part."""
    match = _RECTANGLE.fullmatch(part)
    ends = [int(text) if text else None for text in match.groups()] if match else []
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


def read_area(
    path: str | Path, grid: Grid, layer: str | None = None, option: str = "--within-layer"
) -> Mask:
    """Read an area from a file as a mask (y, x) on a grid.

    The file holds shapes in any coordinate system, or a raster on the grid with
    nonzero pixels inside the area.

    Parameters
    ----------
    path : path
    grid : Grid
    layer : str, optional
        Layer of a vector file, if it has several.
    option : str
        Name of the option for the layer in messages.

    Raises
    ------
    LabelError
        If it does not fit the grid, or contains no pixel.
    SceneError
        If it cannot be read.
    """
    file = local_file(path)
    kind = detect_type(file)
    if kind is FileType.VECTOR:
        from hypercover.scene.io.vector import read_vector_area

        with replaced_options({"--label-layer NAME (scene.label_layer)": f"{option} NAME",
                             "--label-layer": option}):  # fmt: skip
            return read_vector_area(file, grid, layer)
    inside = _array(file, kind, grid) if kind in ARRAY_READERS else _raster(file, grid)
    if not inside.any():
        raise LabelError(
            f"All pixels of {file} are zero; give an area with at least one nonzero pixel."
        )
    return inside


def _raster(file: Path, grid: Grid) -> Mask:
    from hypercover.scene.io.raster import read_layer

    layer = read_layer(file, what="area")
    values = flip_to_grid(layer.values, layer.grid, grid, file, what="area")
    return _marked(values, layer.nodata)


def _array(file: Path, kind: FileType, grid: Grid) -> Mask:
    """Read the only array of a file that has the size of the image."""
    members = ArrayFile(file, kind).members
    fitting = [one for one in members if one.is_numeric and one.shape == grid.shape]
    if len(fitting) != 1:
        raise LabelError(
            f"An area must be one array of the size of the image, {grid.rows} rows × "
            f"{grid.cols} columns, found in {file} {describe(members) or 'no array'}; give a "
            "file with that array alone, or polygons."
        )
    return _marked(np.asarray(fitting[0].values()), None)


def _marked(values: Array, nodata: float | None) -> Mask:
    marked: Mask = np.isfinite(values) & (values != 0)
    return marked if nodata is None else marked & np.asarray(values != nodata)


def clip(scene: Scene, area: Mask | str | Path) -> Scene:
    """Clip a scene to an area and crop it to the bounding rectangle.

    Pixels outside the area have no data and no label.  The cube stays in its file
    until it is read; see :func:`~hypercover.scene.fill_value.with_fill_value` for the value of
    no data.

    Parameters
    ----------
    scene : Scene
    area : array of bool (y, x), or path
        See :func:`~hypercover.scene.clip.read_area`.

    Raises
    ------
    LabelError
        If the area has another size, cannot be read, or is empty.

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
    inside = area if isinstance(area, np.ndarray) else read_area(area, scene.grid)
    if inside.shape != scene.shape or not inside.any():
        raise LabelError(
            "An area must have the size of the image and at least one pixel, got "
            f"{' × '.join(map(str, inside.shape))} for {scene.shape[0]} × {scene.shape[1]}."
        )
    rows, cols = (bounding_slice(np.flatnonzero(inside.any(axis=one))) for one in (1, 0))
    part, mask = scene.isel(y=rows, x=cols), inside[rows, cols]
    if part.labels is not None:
        codes = np.where(mask, part.labels, 0).astype(part.labels.dtype)
        part = part.with_labels(codes)
    return with_fill_value(part, mask)
