"""Images and label maps in files that hold named arrays without a georeference."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import HypercoverError, LabelError, SceneError, counted
from hypercover.scene.grid import Grid, grid_of, with_grid
from hypercover.scene.io import hdf5, matlab, netcdf, numpy_files
from hypercover.scene.io.axes import (
    Order,
    find_order,
    order_from_names,
    orders_fitting_labels,
    parse_axes,
)
from hypercover.scene.io.file_types import FileType, detect_type
from hypercover.scene.io.limits import check_cube_size
from hypercover.scene.io.named_arrays import (
    NamedArray,
    attribute_lists,
    band_table,
    choose_image,
    choose_labels,
    describe,
    is_band_list,
    tables_to_images,
)
from hypercover.scene.labels import LabelMap, check_size
from hypercover.scene.lazy import LazyArray
from hypercover.scene.metadata import Origin, kept, with_header
from hypercover.scene.nodata import NoData, declared, declares_nodata, plain_key
from hypercover.scene.scale_offset import stated_by_attributes
from hypercover.scene.scene import NO_LABELS, Scene

__all__ = [
    "ARRAY_READERS",
    "ORDERS",
    "ArrayFile",
    "ArrayOutline",
    "classes_of",
    "named_bands",
    "open_array_file",
    "outline_arrays",
]

ORDERS = ("row,col,band", "band,row,col", "col,row,band", "band,col,row")
"""Orders the axes of an image may have in a file that does not say."""

_MOST_ARRAYS = 200
"""Arrays of one file that are looked at."""


@dataclass(frozen=True)
class ArrayOutline:
    """An array in a file, known by its shape before it is read."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    shape: tuple[int, ...]
    """Shape; rows, columns and bands where the file says which is which."""
    orders: tuple[str, ...] = ()
    """Orders its axes may have, where the file does not say."""


def outline_arrays(path: Path) -> list[ArrayOutline]:
    """List the arrays of a file that could be an image or a label map.

    A file that is damaged, unreadable or of something else holds none.
    """
    try:
        kind = detect_type(path)
        if kind in ARRAY_READERS:
            return _members(path, kind)
        if kind is FileType.VECTOR:
            return []
        from hypercover.scene.io.raster import raster_size

        bands, rows, cols = raster_size(path)
    except HypercoverError:
        return []
    shape = (rows, cols) if bands == 1 else (rows, cols, bands)
    return [ArrayOutline(path, None, shape)]


def _members(path: Path, kind: FileType) -> list[ArrayOutline]:
    return [
        ArrayOutline(path, one.name, one.shape if one.is_image else one.flat_shape, ORDERS)
        for one in open_array_file(path, kind).members[:_MOST_ARRAYS]
        if one.is_numeric
    ]


_LONGEST = 200

_MOST = 70_000

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Classes(TypedDict, total=False):
    """Names and colours of classes by code."""

    names: dict[int, str]
    colors: dict[int, str]


def _texts(members: Sequence[NamedArray], name: str, count: int) -> list[str]:
    """Return a list of text of this name and length; empty without one."""
    for one in members:
        fits = one.shape == (count,) and count <= _MOST
        if one.name == name and one.kind == "S" and fits:
            values = np.atleast_1d(one.values().reshape(-1))
            return [bytes(text).decode("utf-8", "replace")[:_LONGEST] for text in values]
    return []


def named_bands(cube: xr.DataArray, members: Sequence[NamedArray]) -> xr.DataArray:
    """Return the cube with the names in ``band_name``, where there is one for each band."""
    names = _texts(members, "band_name", cube.sizes["band"])
    if not names or not all(names):
        return cube
    return cube.assign_coords(band_name=("band", np.array(names, dtype=np.str_)))


def classes_of(members: Sequence[NamedArray], labels: NamedArray) -> Classes:
    """Return names and colours from ``classes/code``, ``name`` and ``color`` beside labels."""
    folder = labels.name.rpartition("/")[0]
    start = f"{folder}/classes/" if folder else "classes/"
    listed = next((one for one in members if one.name == f"{start}code"), None)
    if listed is None or not listed.is_numeric or len(listed.shape) != 1:
        return {}
    if listed.shape[0] > _MOST:
        return {}
    codes = [int(code) for code in listed.values()]
    names = _texts(members, f"{start}name", len(codes))
    colors = _texts(members, f"{start}color", len(codes))
    usable = len(colors) == len(codes) and all(map(_COLOR.fullmatch, colors))
    return {
        "names": dict(zip(codes, names, strict=False)),
        "colors": dict(zip(codes, colors, strict=True)) if usable else {},
    }


ARRAY_READERS: dict[FileType, Callable[[Path], list[NamedArray]]] = {
    FileType.MATLAB: matlab.list_arrays,
    FileType.MATLAB_HDF5: lambda path: hdf5.list_arrays(path, reversed_axes=True),
    FileType.HDF5: hdf5.list_arrays,
    FileType.NETCDF_CLASSIC: netcdf.list_arrays,
    FileType.NPY: numpy_files.list_npy,
    FileType.NPZ: numpy_files.list_npz,
}

_MATLAB = {FileType.MATLAB, FileType.MATLAB_HDF5}


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An opened file of named arrays."""

    path: Path
    """The file."""
    kind: FileType
    """What it is."""
    members: Sequence[NamedArray]
    """Its arrays."""

    def flat_shapes(self, name: str | None = None) -> list[tuple[int, int]]:
        """Sizes of the 2-D arrays, or of the one named, which may be label maps."""
        found = [
            one.shape if len(one.shape) == 2 else one.flat_shape
            for one in self.members
            if one.is_numeric and (name is None or one.name.rsplit("/", 1)[-1] == name)
        ]
        return [(shape[0], shape[1]) for shape in found if len(shape) == 2]

    def image(
        self,
        variable: str | None,
        axes: str | None,
        label_shapes: Sequence[tuple[int, int]],
        own_shapes: Sequence[tuple[int, int]] = (),
    ) -> Scene:
        """Return the scene of the image, with its axes in the order of a cube.

        Sizes of the labels that were given, and of arrays in the file that may be
        labels, are evidence of that order.

        Raises
        ------
        SceneError
            If no array or more than one fits, or the axis order is ambiguous.
        """
        members = tables_to_images(
            self.members, by_columns=self.kind in _MATLAB, label_shapes=label_shapes
        )
        member = choose_image(members, self.path, variable).unsigned()
        order, evidence = self._order(member, axes, label_shapes, own_shapes)
        self._check_order(member, order, label_shapes)
        cube = _cube(member, order, self.members)
        lists = [*attribute_lists(member), *self.members]
        table = band_table(lists, cube.sizes["band"])
        cube = named_bands(
            netcdf.place_by_coordinates(cube, member, self.members), self.members
        )
        if member.bands:
            cube = cube.assign_coords(band_name=("band", np.asarray(member.bands)))
        cube, placed = self._mapped(cube)
        whole = cube.dtype.kind in "ui"
        scaling = stated_by_attributes(member.attrs, cube.sizes["band"], whole=whole)
        cube = with_header(cube, scaling | self._header())
        rows, cols = cube.sizes["y"], cube.sizes["x"]
        chosen = (
            f"Image: variable {member.name!r}, {rows} rows × {cols} columns × "
            f"{counted(cube.sizes['band'], 'band')}."
        )
        told = f"Axes of the file: {', '.join(order)}, because {evidence}."
        return Scene(
            table.on(cube),
            name=self.path.stem,
            source=str(self.path),
            **self._origin(),
            notes=(chosen, *filter(None, [member.note]), told, *placed, *table.notes),
        )

    def _mapped(self, cube: xr.DataArray) -> tuple[xr.DataArray, tuple[str, ...]]:
        """Place a cube by the text of an ENVI header beside it, where nothing else does."""
        if grid_of(cube).placed or self.kind is not FileType.HDF5:
            return cube, ()
        wanted = {"mapinfo": "", "epsgcode": "", "epsg": "", "coordinatesystemstring": ""}
        for one in self.members:
            key = plain_key(one.name.rsplit("/", 1)[-1])
            if wanted.get(key) == "" and one.flat_shape == ():
                number = one.is_numeric and one.kind in "iu"
                wanted[key] = (
                    str(one.values()) if number else hdf5.read_text(self.path, one.name)
                )
        epsg = wanted["epsgcode"] or wanted["epsg"]
        return netcdf.place_by_map_info(
            cube, wanted["mapinfo"], epsg, wanted["coordinatesystemstring"]
        )

    def _origin(self) -> Origin:
        """Read whether the file says that its values were not measured."""
        if self.kind is not FileType.HDF5:
            return {}
        said = hdf5.read_attributes(self.path)
        return {
            "simulated": said.get("HYPERCOVER_SIMULATED") == "yes",
            "stand_in": said.get("HYPERCOVER_STAND_IN") == "yes",
        }

    def _header(self) -> dict[str, str]:
        """Read what the file says of its image as a whole, as `write_hdf5` notes it."""
        if self.kind is not FileType.HDF5:
            return {}
        return kept(hdf5.read_attributes(self.path, "header"))

    def _order(
        self,
        member: NamedArray,
        axes: str | None,
        label_shapes: Sequence[tuple[int, int]],
        own_shapes: Sequence[tuple[int, int]],
    ) -> tuple[Order, str]:
        if axes is not None:
            return parse_axes(axes), "they were given so"
        if self.kind in _MATLAB:
            shapes = label_shapes or own_shapes
            return self._matlab_order(member.shape, shapes)
        lists = [max(one.shape) for one in self.members if is_band_list(one)]
        return find_order(
            member.shape,
            dims=member.dims,
            label_shapes=[*label_shapes, *own_shapes, *self.flat_shapes()],
            band_counts=lists,
        )

    def _matlab_order(
        self, shape: Sequence[int], label_shapes: Sequence[tuple[int, int]]
    ) -> tuple[Order, str]:
        """Return MATLAB's usual order, unless labels or band lists fit another one alone."""
        usual = ("row", "col", "band")
        orders = orders_fitting_labels(shape, label_shapes)
        # Labels that would fit with rows and columns exchanged may be of another image.
        upright = [one for one in orders if one.index("row") < one.index("col")]
        lists = [max(one.shape) for one in self.members if is_band_list(one)]
        if upright and usual not in orders:
            listed = [one for one in upright if shape[one.index("band")] in lists]
            order = (listed or upright)[0]
            rows, cols = (shape[order.index(role)] for role in ("row", "col"))
            return order, f"the labels have {rows} × {cols} pixels"
        if not orders and lists and shape[2] not in lists and shape[0] in lists:
            return ("band", "row", "col"), f"the band list has {shape[0]} entries"
        return usual, "MATLAB cubes are stored so"

    def _check_order(
        self, member: NamedArray, order: Order, label_shapes: Sequence[tuple[int, int]]
    ) -> None:
        """Refuse an order of the axes under which the labels do not fit while others do."""
        rows, cols = (member.shape[order.index(role)] for role in ("row", "col"))
        orders = orders_fitting_labels(member.shape, label_shapes)
        if not orders or order in orders or order == order_from_names(member.dims):
            return
        fitting = " or ".join(f"--axes {','.join(one)}" for one in orders[:2])
        size = " × ".join(map(str, label_shapes[0]))
        raise SceneError(
            f"The labels are of {size} pixels, but {member.name} of {self.path} "
            f"({' × '.join(map(str, member.shape))}) has {rows} × {cols} when its axes are "
            f"{','.join(order)}; give labels made for this image, or say that its axes are "
            f"others with {fitting} (axes: in an experiment file)."
        )

    def labels(self, grid: Grid, variable: str | None) -> LabelMap:
        """Return the label map of this size.

        Raises
        ------
        LabelError
            If none or more than one fits, or its values are no codes.
        """
        member = choose_labels(self.members, self.path, grid.shape, variable).unsigned()
        source = f"{member.name} of {self.path}"
        if not member.is_numeric:
            raise LabelError(f"The labels {source} are not numbers; name another variable.")
        values = member.values()
        if values.ndim != 2:
            values = values.reshape(member.flat_shape)
        check_size(values.shape, grid, source)
        return LabelMap.of(
            values,
            source,
            nodata=NoData.first_of(member.attrs, values.dtype),
            **classes_of(self.members, member),
            notes=(f"Labels: variable {member.name!r}.",),
        )

    def own_labels(self, grid: Grid) -> tuple[LabelMap | None, tuple[str, ...]]:
        """Return the label map that lies beside the image in this file, if just one does.

        Where several arrays could be it, none is taken, and what is returned beside says so.
        """
        fitting = []
        for one in map(NamedArray.unsigned, self.members):
            if one.is_numeric and one.shape == grid.shape:
                known = classes_of(self.members, one)
                note = f"Labels: variable {one.name!r} of the same file."
                values = one.values()
                nodata = NoData.first_of(one.attrs, values.dtype)
                try:
                    labels = LabelMap.of(
                        values, one.name, nodata=nodata, **known, notes=(note,)
                    )
                except LabelError:
                    continue
                fitting.append((one, labels))
        if len(fitting) > 1:
            return None, (
                f"{NO_LABELS} {len(fitting)} arrays could be them; name one with "
                f"--label-variable NAME: {describe(one for one, _ in fitting)}.",
            )
        return (fitting[0][1] if fitting else None), ()


def open_array_file(path: Path, kind: FileType) -> ArrayFile:
    """Open a file of named arrays by listing them.

    Raises
    ------
    SceneError
        If it is damaged.
    """
    return ArrayFile(path, kind, ARRAY_READERS[kind](path))


def _cube(member: NamedArray, order: Order, members: Sequence[NamedArray]) -> xr.DataArray:
    """Give the array the dims (band, y, x) without reading it."""
    axes = tuple(order.index(role) for role in ("band", "row", "col"))
    data: Any = member.read()
    if isinstance(data, LazyArray):
        data = data.reordered(axes).as_variable_data()
    else:
        data = np.transpose(data, axes)
    if 0 in data.shape:
        raise SceneError(f"The image {member.name} is empty.")
    check_cube_size(data.shape, f"The image {member.name}")
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    cube.attrs = _attributes(member, cube.dtype, members)
    return with_grid(cube, Grid(cube.sizes["y"], cube.sizes["x"]))


def _attributes(
    member: NamedArray, dtype: npt.DTypeLike, members: Sequence[NamedArray]
) -> dict[str, Any]:
    """No-data values and unit, as the array, its groups or a value beside it give them."""
    kept = declared(member.attrs, dtype)
    if "nodata" not in kept:
        around = declared(member.around, dtype) or declared(_beside(members), dtype)
        kept |= {key: value for key, value in around.items() if key == "nodata"}
    unit = member.attribute("units", "unit")
    if isinstance(unit, str):
        kept["units"] = unit
    return kept


def _beside(members: Sequence[NamedArray]) -> dict[str, Any]:
    """Return the single values that lie beside an image under a usual name for no data."""
    return {
        one.name.rsplit("/", 1)[-1]: one.values()
        for one in members
        if one.is_numeric
        and one.flat_shape == ()
        and declares_nodata(one.name.rsplit("/", 1)[-1])
    }
