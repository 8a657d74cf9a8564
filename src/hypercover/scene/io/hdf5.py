"""HDF5: reading the arrays of any file (MATLAB 7.3 and NetCDF 4 too), and writing scenes."""

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.errors import SceneError
from hypercover.files import atomic
from hypercover.memory import check_unpacking
from hypercover.scene.grid import with_grid
from hypercover.scene.io.named_arrays import NamedArray, explain_damage, plain_attributes
from hypercover.scene.metadata import clean_header
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Indices, LazyArray, Tile, bounding_slice
from hypercover.types import Array, Progress

_MAX_OBJECTS = 10_000
"""Objects of one file that are listed."""
_MAX_TEXT = 10_000
_MAX_LIST = 16
"""Entries of a list that is not one of a value for each band."""
_PHANTOM = "This is a netCDF dimension but not a netCDF variable"
"""Name that NetCDF 4 gives to the scale of an axis without values."""


def list_arrays(path: Path, *, reversed_axes: bool = False) -> list[NamedArray]:
    """List the arrays of an HDF5 file; they are read piece by piece.

    Parameters
    ----------
    path : Path
    reversed_axes : bool
        MATLAB 7.3 stores the axes in reverse; they are shown as MATLAB shows them.

    Raises
    ------
    SceneError
        If the file is damaged or takes data from other files.
    """
    with _opened(path) as file:
        datasets = _datasets(path, file)
        return [_member(path, name, data, reversed_axes) for name, data in datasets]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for reading; errors of HDF5 become one about damage."""
    import h5py
    import hdf5plugin  # noqa: F401  (registers the compression filters)

    with explain_damage(path, "HDF5"), h5py.File(path, "r") as file:
        yield file


def read_attributes(path: Path, group: str = "/") -> dict[str, Any]:
    """Return the attributes of the file or of a group in it; empty without the group.

    Only text, numbers, and lists of numbers, as tuples, are returned.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    import h5py

    with _opened(path) as file:
        link = file.get(group, getlink=True) if group != "/" else None
        inside = link is None or isinstance(link, h5py.HardLink)
        if not inside or not isinstance(file.get(group), h5py.Group):
            return {}
        return plain_attributes(file[group].attrs, 1000)


def _datasets(path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    """Yield every array once, without following links out of the file."""
    import h5py

    root = h5py.h5o.get_info(file["/"].id).addr
    waiting, seen, count = [("", file)], {root}, 0
    while waiting:
        prefix, group = waiting.pop(0)
        for key in group:
            count += 1
            if count > _MAX_OBJECTS:
                raise SceneError(
                    f"{path} holds more than {_MAX_OBJECTS:,} objects; give a file with the "
                    "image alone."
                )
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _points_elsewhere(path, prefix + key)
            if isinstance(link, h5py.SoftLink) or key.startswith("#"):
                continue
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append((f"{prefix}{key}/", item))
            elif isinstance(item, h5py.Dataset):
                # NetCDF 4 represents an axis without values like this.
                title = plain_attributes(item.attrs, 100) if "NAME" in item.attrs else {}
                if not str(title.get("NAME")).startswith(_PHANTOM):
                    yield prefix + key, item


def _points_elsewhere(path: Path, name: str) -> SceneError:
    return SceneError(
        f"{name} of {path} takes its data from another file, which is never followed; "
        "store the data in the file itself."
    )


def _member(path: Path, name: str, dataset: Any, reversed_axes: bool) -> NamedArray:
    if dataset.is_virtual or dataset.external:
        raise _points_elsewhere(path, name)
    shape, step = tuple(dataset.shape or ()), -1 if reversed_axes else 1
    order, dims = tuple(range(len(shape)))[::step], _dims(dataset, len(shape))[::step]
    kind = "O" if dataset.attrs.get("MATLAB_empty") else dataset.dtype.kind
    # MATLAB's complex numbers; those of h5py are of kind "c" anyway.
    kind = "c" if dataset.dtype.names == ("real", "imag") else kind
    dtype, stored = dataset.dtype, int(dataset.id.get_storage_size())

    def read() -> LazyArray:
        check_unpacking(prod(shape) * dtype.itemsize, stored, f"{name} of {path}")
        lazy = LazyArray(shape, dtype, partial(_fetch, path, name))
        return lazy.reordered(order) if order else lazy

    attrs = plain_attributes(dataset.attrs, 100, _MAX_LIST)
    return NamedArray(name, shape[::step], kind, read, dims, attrs, _around(dataset))


def _around(dataset: Any) -> dict[str, Any]:
    """Return the attributes of the groups of a dataset; those of the nearest win."""
    attrs: dict[str, Any] = {}
    group = dataset
    while group.name != "/":
        group = group.parent
        attrs |= plain_attributes(group.attrs, 100, _MAX_LIST) | attrs
    return attrs


def read_text(path: Path, name: str) -> str:
    """Return the single text in a dataset; "" if it holds anything else.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    import h5py

    with _opened(path) as file:
        dataset = file[name]
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None or dataset.size != 1 or (kind.length or 0) > _MAX_TEXT:
            return ""
        value = np.asarray(dataset[()]).reshape(-1)[0]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text[:_MAX_TEXT]


def _dims(dataset: Any, count: int) -> tuple[str, ...]:
    """Names of the axes by NetCDF 4 and HDF5 dimension scales, or empty."""
    names = []
    for dimension in map(dataset.dims.__getitem__, range(count)):
        scales = list(dimension.keys()) if len(dimension) else []
        scale = scales[0] if scales and not scales[0].startswith(_PHANTOM) else ""
        attached = dimension[0].name.rsplit("/", 1)[-1] if len(dimension) else ""
        names.append(dimension.label or scale or attached)
    return tuple(names) if all(names) else ()


def _fetch(path: Path, name: str, indices: Indices) -> Array:
    """Read the rectangle around the indices and pick them from it."""
    around = tuple(bounding_slice(axis) for axis in indices)
    with _opened(path) as file:
        block: Array = file[name][around]
    if block.shape == tuple(map(len, indices)):
        return block
    inside = (axis - part.start for axis, part in zip(indices, around, strict=True))
    return block[np.ix_(*inside)]


_CHUNK_SIDE, _CHUNK_BANDS = 64, 32
_GZIP = {"compression": "gzip", "track_times": False}


def write_hdf5(
    scene: Scene,
    path: Path,
    tiles: Iterable[tuple[Tile, Array]],
    *,
    tags: Mapping[str, str],
    progress: Progress | None = None,
) -> Path:
    """Write a scene as HDF5, tile by tile.

    :func:`~hypercover.scene.io.reading.open_scene` reads all of it back. ``cube`` (band, y, x)
    comes with ``wavelength`` and ``fwhm`` in nm, ``bbl`` (1 = good), ``band_number``,
    ``band_name``, and ``spatial_ref`` with ``crs_wkt`` and ``GeoTransform`` as GDAL and CF
    tools read them. The group ``header`` holds the metadata of the image as attributes;
    ``labels`` (y, x) come with ``classes/code``, ``name`` and ``color``. Text is UTF-8 of
    fixed length.

    Raises
    ------
    OutputError
        If it cannot be written; an older file of that name stays.
    """
    import h5py

    with atomic(path) as draft, _CheckedFile(draft) as output:
        with h5py.File(output, "w") as file:
            _write_metadata(file, scene, tags)
            cube = _create_cube(file, scene)
            for tile, values in tiles:
                cube[:, tile.rows, tile.cols] = values.astype(cube.dtype)
                output.check()
                if progress is not None:
                    progress(tile.rows.stop, scene.shape[0])
        output.check()
    return path


class _CheckedFile(io.FileIO):
    """A file for HDF5 that remembers a failed write instead of raising.

    HDF5 that cannot write cannot close its file either, and aborts the process.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or remember why not and drop them."""
        rest = memoryview(data).cast("B")
        count = len(rest)
        try:
            while self._failure is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._failure = error
        return count

    def truncate(self, size: int | None = None) -> int:
        """Change the length of the file, or remember why not."""
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as error:
            self._failure = error
        return size or 0

    def check(self) -> None:
        """Raise the error that stopped a write, if any did."""
        if self._failure is not None:
            raise self._failure


def _create_cube(file: Any, scene: Scene) -> Any:
    """Create the dataset of the cube, still empty."""
    shape, native = scene.cube.shape, scene.cube.dtype.newbyteorder("=")
    cube = file.create_dataset(
        "cube",
        shape=shape,
        dtype=np.uint8 if native == np.bool_ else native,
        chunks=tuple(map(min, shape, (_CHUNK_BANDS, _CHUNK_SIDE, _CHUNK_SIDE))),
        shuffle=True,
        **(_GZIP | {"compression_opts": 4}),
    )
    for axis, name in enumerate(scene.cube.dims):
        cube.dims[axis].label = str(name)
    if scene.nodata is not None:
        cube.attrs["_FillValue"] = np.asarray(scene.nodata).astype(cube.dtype)
    if unit := scene.cube.attrs.get("units"):
        cube.attrs["units"] = str(unit)
    if scene.grid.placed or scene.grid.crs:
        cube.attrs["grid_mapping"] = "spatial_ref"
    return cube


def _write_metadata(file: Any, scene: Scene, tags: Mapping[str, str]) -> None:
    """Write tags, band lists, georeference, labels and classes."""
    file.attrs.update(tags)
    lists = {
        "wavelength": scene.wavelengths,
        "fwhm": scene.fwhm,
        "bbl": (~scene.bad).astype(np.uint8) if "bad" in scene.cube.coords else None,
        "band_number": scene.bands,
    }
    for name, values in lists.items():
        if values is not None:
            file.create_dataset(name, data=values, track_times=False)
            if name in {"wavelength", "fwhm"}:
                file[name].attrs["units"] = "nm"
    if scene.band_names is not None:
        _write_texts(file, "band_name", scene.band_names)
    if header := clean_header(scene.header):
        file.create_group("header").attrs.update(header)
    _write_georeference(file, scene)
    if scene.labels is not None:
        file.create_dataset("labels", data=scene.labels, **_GZIP)
        classes = file.create_group("classes")
        codes = np.array(scene.legend.codes, np.uint16)
        classes.create_dataset("code", data=codes, track_times=False)
        _write_texts(classes, "name", scene.legend.names)
        _write_texts(classes, "color", [entry.color for entry in scene.legend])


def _write_georeference(file: Any, scene: Scene) -> None:
    if scene.grid.placed or scene.grid.crs:
        mapping = file.create_dataset("spatial_ref", data=np.int32(0), track_times=False)
        for key, text in with_grid(scene.cube, scene.grid).spatial_ref.attrs.items():
            if scene.grid.placed or key != "GeoTransform":
                mapping.attrs[key] = text


def _write_texts(group: Any, name: str, texts: Iterable[str]) -> None:
    encoded = [text.encode() for text in texts]
    longest = max((len(text) for text in encoded), default=0) or 1
    group.create_dataset(name, data=np.array(encoded, f"S{longest}"), track_times=False)
