"""Arrays of HDF5 files: MATLAB 7.3, NetCDF 4 and any other that holds numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.io.limits import check_unpacking
from hypercover.scene.io.named_arrays import BAND_LISTS, NamedArray
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.nodata import plain_key

__all__ = ["list_arrays", "read_attributes", "read_text"]

_MOST = 10_000
"""Objects looked at in one file."""
_SHORT, _LONGEST_TEXT = 16, 10_000
"""Entries of a list, and letters of a text, that an attribute or a data set may hold."""
_MOST_ATTRIBUTES, _LONGEST_LIST = 1000, 10_000
"""Attributes of a file that are looked at, and entries of a list among them."""
_PHANTOM = "This is a netCDF dimension but not a netCDF variable"
"""How NetCDF 4 names the scale of an axis that has no values."""
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def list_arrays(path: Path, *, reversed_axes: bool = False) -> list[NamedArray]:
    """List the arrays of an HDF5 file, to be read piece by piece.

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
    import hdf5plugin  # noqa: F401  (registers the compression filters)

    with _opened(path) as file:
        return [
            _member(path, name, dataset, reversed_axes)
            for name, dataset in _datasets(path, file)
        ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for reading; what breaks while it is read is told as damage."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except SceneError:
        raise
    except _BROKEN as error:
        raise _damaged(path) from error


def read_attributes(path: Path, group: str = "/") -> dict[str, Any]:
    """Return the attributes of the file itself or of a group in it; none without the group.

    Text, numbers, and lists of numbers as tuples; other attributes are left out.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    import h5py

    with _opened(path) as file:
        link = file.get(group, getlink=True) if group != "/" else None
        linked = link is None or isinstance(link, h5py.HardLink)
        if not linked or not isinstance(file.get(group), h5py.Group):
            return {}
        return _plain(file[group].attrs, _MOST_ATTRIBUTES, _LONGEST_LIST)


def _damaged(path: Path) -> SceneError:
    return SceneError(
        f"{path} cannot be read as an HDF5 file: it is damaged or cut short; "
        "copy or download it again."
    )


def _datasets(path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    """Go through all arrays once, without following links out of the file."""
    import h5py

    root = h5py.h5o.get_info(file["/"].id).addr
    waiting, seen, count = [("", file)], {root}, 0
    while waiting:
        prefix, group = waiting.pop(0)
        for key in group:
            count += 1
            if count > _MOST:
                raise SceneError(
                    f"{path} holds more than {_MOST:,} objects; give a file with the "
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
            elif isinstance(item, h5py.Dataset) and not _is_phantom(item):
                yield prefix + key, item


def _is_phantom(dataset: Any) -> bool:
    """Tell whether a data set only stands for an axis, as NetCDF 4 writes one without values."""
    name = _plain(dataset.attrs).get("NAME") if "NAME" in dataset.attrs else ""
    return str(name).startswith(_PHANTOM)


def _points_elsewhere(path: Path, name: str) -> SceneError:
    return SceneError(
        f"{name} of {path} takes its data from another file, which is never followed; "
        "store the data in the file itself."
    )


def _member(path: Path, name: str, dataset: Any, reversed_axes: bool) -> NamedArray:
    if dataset.is_virtual or dataset.external:
        raise _points_elsewhere(path, name)
    shape = tuple(dataset.shape or ())
    order = tuple(reversed(range(len(shape)))) if reversed_axes else None
    dims = _dims(dataset, len(shape))
    kind = "O" if dataset.attrs.get("MATLAB_empty") else dataset.dtype.kind
    # MATLAB stores complex numbers so; h5py's own are of kind "c".
    kind = "c" if dataset.dtype.names == ("real", "imag") else kind
    return NamedArray(
        name,
        tuple(shape[axis] for axis in order) if order else shape,
        kind,
        partial(_lazy, path, name, shape, dataset.dtype, order, _stored(dataset)),
        tuple(dims[axis] for axis in order) if order and dims else dims,
        _plain(dataset.attrs),
        _around(dataset),
    )


def _around(dataset: Any) -> dict[str, Any]:
    """Return the attributes of the groups that a data set lies in, the nearest group's first."""
    found: dict[str, Any] = {}
    group = dataset
    while group.name != "/":
        group = group.parent
        found = found | {
            key: value for key, value in _plain(group.attrs).items() if key not in found
        }
    return found


def read_text(path: Path, name: str) -> str:
    """Return the single text that a data set holds; "" where it holds anything else.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    import h5py

    with _opened(path) as file:
        dataset = file[name]
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None or dataset.size != 1 or (kind.length or 0) > _LONGEST_TEXT:
            return ""
        value = np.asarray(dataset[()]).reshape(-1)[0]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text[:_LONGEST_TEXT]


def _stored(dataset: Any) -> int:
    """Bytes of an array as they lie in the file."""
    return int(dataset.id.get_storage_size())


def _dims(dataset: Any, count: int) -> tuple[str, ...]:
    """Names of the axes as NetCDF 4 and HDF5 dimension scales give them, or none."""
    names = []
    for axis in range(count):
        dimension = dataset.dims[axis]
        scales = list(dimension.keys()) if len(dimension) else []
        told = scales[0] if scales and not scales[0].startswith(_PHANTOM) else ""
        attached = dimension[0].name.rsplit("/", 1)[-1] if len(dimension) else ""
        names.append(dimension.label or told or attached)
    return tuple(names) if all(names) else ()


def _plain(attrs: Any, most: int = 100, longest: int = _SHORT) -> dict[str, Any]:
    """Keep the attributes that are text, single numbers or lists of them up to a length."""
    kept: dict[str, Any] = {}
    for key in list(attrs)[:most]:
        try:
            value = attrs[key]
        except _BROKEN:
            continue
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str | np.integer | np.floating):
            kept[str(key)] = value if isinstance(value, str) else value.item()
        elif (
            isinstance(value, np.ndarray)
            and value.dtype.kind in "uif"
            and 1 < value.size <= max(longest, _most_of(key))
        ):
            # A range, several values for no data, or what each band is.
            kept[str(key)] = tuple(value.reshape(-1).tolist())
    return kept


def _most_of(key: str) -> int:
    """Return how long a list may be: that of a number for each band, any usual length."""
    of_bands = {*BAND_LISTS, "scalefactor", "addoffset", "offset", "gains", "offsets"}
    return _LONGEST_LIST if plain_key(key) in of_bands else _SHORT


def _lazy(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    order: tuple[int, ...] | None,
    stored: int,
) -> LazyArray:
    n_bytes = prod(shape) * dtype.itemsize
    check_unpacking(n_bytes, stored, f"{name} of {path}")
    return LazyArray(shape, dtype, partial(_fetch, path, name), order)


def _fetch(path: Path, name: str, wanted: Indices) -> npt.NDArray[np.generic]:
    """Read the rectangle around the wanted indices and pick them from it."""
    import h5py
    import hdf5plugin  # noqa: F401  (registers the compression filters)

    around = tuple(bounding_slice(indices) for indices in wanted)
    try:
        with h5py.File(path, "r") as file:
            block: npt.NDArray[np.generic] = file[name][around]
    except _BROKEN as error:
        raise SceneError(
            f"{name} of {path} cannot be read: the file is damaged or cut short; "
            "copy or download it again."
        ) from error
    if block.shape == tuple(len(indices) for indices in wanted):
        return block
    inside = (indices - part.start for indices, part in zip(wanted, around, strict=True))
    return block[np.ix_(*inside)]
