"""Images and label maps in files of named arrays: MATLAB, NumPy, HDF5 and NetCDF."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import HypercoverError, LabelError, SceneError, counted
from hypercover.memory import check_cube_size
from hypercover.scene.encoding import header_from_attributes
from hypercover.scene.grid import Grid, grid_of, with_grid
from hypercover.scene.io import hdf5, matlab, named_arrays, netcdf, numpy_files
from hypercover.scene.io.axes import (
    Order,
    Sizes,
    find_order,
    order_from_names,
    orders_fitting_labels,
    parse_axes,
)
from hypercover.scene.io.file_types import FileType, detect_type
from hypercover.scene.io.named_arrays import NamedArray, NamedArrays
from hypercover.scene.io.raster import raster_size
from hypercover.scene.labels import LabelMap, check_size
from hypercover.scene.metadata import clean_header, with_header
from hypercover.scene.nodata import NodataRule, declared_nodata, declares_nodata
from hypercover.scene.scene import NO_LABELS, Scene
from hypercover.scene.tiling import LazyArray
from hypercover.types import Array

ARRAY_READERS: dict[FileType, Callable[[Path], list[NamedArray]]] = {
    FileType.MATLAB: matlab.list_arrays,
    FileType.MATLAB_HDF5: lambda path: hdf5.list_arrays(path, reversed_axes=True),
    FileType.HDF5: hdf5.list_arrays,
    FileType.NETCDF_CLASSIC: netcdf.list_arrays,
    FileType.NPY: numpy_files.list_npy,
    FileType.NPZ: numpy_files.list_npz,
}
"""What lists the arrays of a file, for each type of file that holds named arrays."""

_MATLAB = (FileType.MATLAB, FileType.MATLAB_HDF5)

ORDERS = ("row,col,band", "band,row,col", "col,row,band", "band,col,row")
"""Axis orders that an image may have in a file that does not name its axes."""

_MAX_ARRAYS = 200
"""Arrays of one file that are outlined."""


@dataclass(frozen=True)
class ArrayOutline:
    """The shape of an array in a file, known before it is read."""

    path: Path
    """The file."""
    variable: str | None
    """Name of the array, in a file of several."""
    shape: tuple[int, ...]
    """Shape; rows, columns and bands where the file names its axes."""
    orders: tuple[str, ...] = ()
    """Orders its axes may have, where the file does not name them."""


def outline_arrays(path: Path) -> list[ArrayOutline]:
    """List the arrays of a file that could be an image or a label map.

    Damaged, unreadable and other files hold none.
    """
    try:
        file_type = detect_type(path)
        if file_type is FileType.VECTOR:
            return []
        if file_type in ARRAY_READERS:
            members = ArrayFile(path, file_type).members[:_MAX_ARRAYS]
            shapes = {
                array.name: array.shape if array.is_image else array.flat_shape
                for array in members
                if array.is_numeric
            }
            return [ArrayOutline(path, *each, ORDERS) for each in shapes.items()]
        bands, rows, cols = raster_size(path)
    except HypercoverError:
        return []
    return [ArrayOutline(path, None, (rows, cols) if bands == 1 else (rows, cols, bands))]


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """A file of named arrays."""

    path: Path
    """The file."""
    file_type: FileType
    """Its type."""

    @cached_property
    def members(self) -> NamedArrays:
        """Its arrays; listing them raises a SceneError if it is damaged."""
        return ARRAY_READERS[self.file_type](self.path)

    def map_shapes(self, name: str | None = None) -> list[tuple[int, int]]:
        """Sizes of all arrays, or of the one named, that may be label maps."""
        named = [array for array in self.members if name in (None, array.basename)]
        return [array.map_shape for array in named if array.map_shape is not None]

    def image(
        self,
        variable: str | None,
        axes: str | None,
        label_shapes: Sizes,
        own_shapes: Sizes = (),
    ) -> Scene:
        """Return the scene of the image, with its axes in the order of a cube.

        Sizes of the given labels, and of arrays in the file that may be labels, are
        evidence for that order.

        Raises
        ------
        SceneError
            If no array or more than one fits, or the axis order is ambiguous.
        """
        members = named_arrays.tables_to_images(
            self.members, by_columns=self.file_type in _MATLAB, label_shapes=label_shapes
        )
        image = named_arrays.choose_image(members, self.path, variable).unsigned()
        order, evidence = self._order(image, axes, label_shapes, own_shapes)
        self._check_order(image, order, label_shapes)
        cube = _cube(image, order, self.members)
        rows, cols, bands = (cube.sizes[dim] for dim in ("y", "x", "band"))
        lists = [*named_arrays.attribute_lists(image), *self.members]
        table = named_arrays.band_table(lists, bands)
        names = image.bands or _texts(self.members, "band_name", bands)
        if names and all(names):
            cube = cube.assign_coords(band_name=("band", np.array(names, dtype=np.str_)))
        cube = netcdf.place_by_coordinates(cube, image, self.members)
        cube, place_notes = self._placed_by_header(cube)
        scaling = header_from_attributes(image.attrs, bands, whole=cube.dtype.kind in "ui")
        is_hdf5 = self.file_type is FileType.HDF5
        attrs, header = (
            hdf5.read_attributes(self.path, group) if is_hdf5 else {}
            for group in ("/", "header")
        )
        cube = with_header(cube, scaling | clean_header(header))
        notes = [
            f"Image: variable {image.name!r}, {rows} rows × {cols} columns × "
            f"{counted(bands, 'band')}.",
            image.note,
            f"Axes of the file: {', '.join(order)}, because {evidence}.",
            *place_notes,
            *table.notes,
        ]
        return Scene(
            table.on(cube),
            name=self.path.stem,
            source=str(self.path),
            simulated=attrs.get("HYPERCOVER_SIMULATED") == "yes",
            stand_in=attrs.get("HYPERCOVER_STAND_IN") == "yes",
            notes=tuple(filter(None, notes)),
        )

    def _placed_by_header(self, cube: xr.DataArray) -> tuple[xr.DataArray, tuple[str, ...]]:
        """Place a cube by the text of an ENVI header in the file, if nothing else does."""
        if grid_of(cube).placed or self.file_type is not FileType.HDF5:
            return cube, ()
        texts = {"mapinfo": "", "epsgcode": "", "epsg": "", "coordinatesystemstring": ""}
        for array in self.members:
            if texts.get(array.key) == "" and array.flat_shape == ():
                is_text = array.kind not in "iu"
                read = partial(hdf5.read_text, self.path, array.name)
                texts[array.key] = str(read() if is_text else array.values().item())
        epsg, wkt = texts["epsgcode"] or texts["epsg"], texts["coordinatesystemstring"]
        return netcdf.place_by_map_info(cube, texts["mapinfo"], epsg, wkt)

    def _order(
        self, image: NamedArray, axes: str | None, label_shapes: Sizes, own_shapes: Sizes
    ) -> tuple[Order, str]:
        """Return the axis order and the evidence for it."""
        if axes is not None:
            return parse_axes(axes), "they were given that way"
        lists = filter(named_arrays.is_band_list, self.members)
        band_counts = [max(array.shape) for array in lists]
        if self.file_type in _MATLAB:
            return _matlab_order(image.shape, label_shapes or own_shapes, band_counts)
        sizes = [*label_shapes, *own_shapes, *self.map_shapes()]
        return find_order(image.shape, image.dims, sizes, band_counts)

    def _check_order(self, image: NamedArray, order: Order, label_shapes: Sizes) -> None:
        """Refuse an axis order under which the labels do not fit while others do."""
        orders = orders_fitting_labels(image.shape, label_shapes)
        if not orders or order in orders or order == order_from_names(image.dims):
            return
        rows, cols = (image.shape[order.index(role)] for role in ("row", "col"))
        options = " or ".join(f"--axes {','.join(fit)}" for fit in orders[:2])
        size = " × ".join(map(str, label_shapes[0]))
        raise SceneError(
            f"The labels are of {size} pixels, but {image.name} of {self.path} "
            f"({' × '.join(map(str, image.shape))}) has {rows} × {cols} when its axes are "
            f"{','.join(order)}; give labels made for this image, or other axes with "
            f"{options} (axes: in an experiment file)."
        )

    def labels(self, grid: Grid, variable: str | None) -> LabelMap:
        """Return the label map of this size.

        Raises
        ------
        LabelError
            If no array or more than one fits, or its values are not class codes.
        """
        choice = self.members, self.path, grid.shape, variable
        member = named_arrays.choose_labels(*choice).unsigned()
        source = f"{member.name} of {self.path}"
        if not member.is_numeric:
            raise LabelError(f"The labels {source} are not numbers; name another variable.")
        values = member.values()
        values = values if values.ndim == 2 else values.reshape(member.flat_shape)
        check_size(values.shape, grid, source)
        return self._label_map(member, values, source, f"variable {member.name!r}")

    def own_labels(self, grid: Grid) -> tuple[LabelMap | None, tuple[str, ...]]:
        """Return the only label map in the file of the image.

        Where several arrays could be it, none is taken; a note says so.
        """
        arrays, maps = [], []
        for array in map(NamedArray.unsigned, self.members):
            if array.is_numeric and array.shape == grid.shape:
                where = f"variable {array.name!r} of the same file"
                with suppress(LabelError):
                    maps.append(self._label_map(array, array.values(), array.name, where))
                    arrays.append(array)
        if len(maps) > 1:
            return None, (
                f"{NO_LABELS} {len(maps)} arrays could be them; name one with "
                f"--label-variable NAME: {named_arrays.describe(arrays)}.",
            )
        return (maps[0] if maps else None), ()

    def _label_map(
        self, member: NamedArray, values: Array, source: str, where: str
    ) -> LabelMap:
        names, colors = _classes(self.members, member)
        nodata, notes = (
            NodataRule.first_of(member.attrs, values.dtype),
            (f"Labels: {where}.",),
        )
        return LabelMap.of(
            values, source, nodata=nodata, names=names, colors=colors, notes=notes
        )


def _matlab_order(
    shape: Sequence[int], label_shapes: Sizes, band_counts: Sequence[int]
) -> tuple[Order, str]:
    """Return MATLAB's usual order, unless labels or band lists fit only another one."""
    usual = ("row", "col", "band")
    orders = orders_fitting_labels(shape, label_shapes)
    # Labels that would fit with rows and columns exchanged may be of another image.
    upright = [fit for fit in orders if fit.index("row") < fit.index("col")]
    if upright and usual not in orders:
        listed = [fit for fit in upright if shape[fit.index("band")] in band_counts]
        order = (listed or upright)[0]
        rows, cols = (shape[order.index(role)] for role in ("row", "col"))
        return order, f"the labels have {rows} × {cols} pixels"
    if not orders and shape[2] not in band_counts and shape[0] in band_counts:
        return ("band", "row", "col"), f"the band list has {shape[0]} entries"
    return usual, "MATLAB cubes are stored this way"


def _cube(image: NamedArray, order: Order, members: NamedArrays) -> xr.DataArray:
    """Give the array the dims (band, y, x) without reading it."""
    axes = tuple(order.index(role) for role in ("band", "row", "col"))
    data: Any = image.read()
    if isinstance(data, LazyArray):
        data = data.reordered(axes).as_variable_data()
    else:
        data = np.transpose(data, axes)
    if 0 in data.shape:
        raise SceneError(f"The image {image.name} is empty.")
    check_cube_size(data.shape, f"The image {image.name}")
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    cube.attrs = _attributes(image, cube.dtype, members)
    return with_grid(cube, Grid(cube.sizes["y"], cube.sizes["x"]))


def _attributes(
    image: NamedArray, dtype: npt.DTypeLike, members: NamedArrays
) -> dict[str, Any]:
    """No-data values and unit, from the array, its groups or a single value in the file."""
    attrs = declared_nodata(image.attrs, dtype)
    if "nodata" not in attrs:
        single = [array for array in members if array.is_numeric and array.flat_shape == ()]
        declaring = [array for array in single if declares_nodata(array.basename)]
        values = {array.basename: array.values() for array in declaring}
        around = declared_nodata(image.around, dtype) or declared_nodata(values, dtype)
        attrs |= {key: value for key, value in around.items() if key == "nodata"}
    unit = image.attribute("units", "unit")
    if isinstance(unit, str):
        attrs["units"] = unit
    return attrs


_MAX_TEXT = 200
_MAX_CLASSES = 70_000
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def _texts(members: NamedArrays, name: str, count: int) -> list[str]:
    """Return the list of texts of this name and length, or an empty one."""
    for array in members:
        fits = array.shape == (count,) and count <= _MAX_CLASSES
        if array.name == name and array.kind == "S" and fits:
            texts = map(bytes, array.values().reshape(-1))
            return [text.decode("utf-8", "replace")[:_MAX_TEXT] for text in texts]
    return []


def _classes(
    members: NamedArrays, labels: NamedArray
) -> tuple[dict[int, str], dict[int, str]]:
    """Return names and colours from ``classes/code``, ``name`` and ``color`` beside labels."""
    prefix = labels.name[: -len(labels.basename)] + "classes/"
    listed = next((array for array in members if array.name == f"{prefix}code"), None)
    usable = listed is not None and listed.is_numeric and len(listed.shape) == 1
    if listed is None or not usable or listed.shape[0] > _MAX_CLASSES:
        return {}, {}
    codes = [int(code) for code in listed.values()]
    names = _texts(members, f"{prefix}name", len(codes))
    colors = _texts(members, f"{prefix}color", len(codes))
    colors = colors if all(map(_COLOR.fullmatch, colors)) else []
    named, colored = (zip(codes, texts, strict=False) for texts in (names, colors))
    return dict(named), dict(colored)
