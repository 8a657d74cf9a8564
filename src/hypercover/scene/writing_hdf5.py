"""Writing a whole scene as one HDF5 file: cube, bands, place, labels and classes."""

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.files import atomic
from hypercover.scene.header import kept
from hypercover.scene.scene import Scene

__all__ = ["write_hdf5"]

_CHUNK = 64
"""Side of the squares in which the cube is stored; the reader cuts along them too."""
_BANDS_TOGETHER = 32
Pieces = Iterable[tuple[slice, slice, npt.NDArray[np.generic]]]


def write_hdf5(
    scene: Scene,
    path: Path,
    pieces: Pieces,
    *,
    tags: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a scene as HDF5, piece by piece.

    Why it exists: one file that any language reads, with everything that a scene
    carries; :func:`~hypercover.scene.reading.open_scene` reads all of it back.
    ``cube`` (band, y, x) has beside it ``wavelength`` and ``fwhm`` in nm, ``bbl`` (1 =
    good), ``band_number``, ``band_name``, and ``spatial_ref`` with ``crs_wkt`` and
    ``GeoTransform`` as GDAL and CF tools read them; the attributes of ``header`` are
    what was said of the image as a whole; ``labels`` (y, x) and, below
    ``classes``, ``code``, ``name`` and ``color``.  Text is UTF-8 of fixed length.

    Raises
    ------
    OutputError
        If it cannot be written; an older file of that name stays.
    """
    import h5py

    with atomic(path) as draft, _Sink(draft) as sink:
        with h5py.File(sink, "w") as file:
            _describe(file, scene, tags)
            cube = _cube(file, scene)
            for rows, cols, values in pieces:
                cube[:, rows, cols] = values.astype(cube.dtype)
                sink.check()
                if progress is not None:
                    progress(rows.stop, scene.shape[0])
        sink.check()
    return path


class _Sink(io.FileIO):
    """A file that HDF5 writes to, which remembers a full disk instead of failing.

    Why it exists: HDF5 that cannot write cannot close its file either, and takes the
    process along.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or note why not and forget them."""
        left = memoryview(data).cast("B")
        count = len(left)
        try:
            while self._failure is None and len(left):
                left = left[super().write(left) :]
        except OSError as error:
            self._failure = error
        return count

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file, or note why not."""
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as error:
            self._failure = error
        return size or 0

    def check(self) -> None:
        """Raise what stopped a write, if anything did."""
        if self._failure is not None:
            raise self._failure


def _cube(file: Any, scene: Scene) -> Any:
    """Make the data set of the cube, still empty."""
    shape, native = scene.cube.shape, scene.cube.dtype.newbyteorder("=")
    cube = file.create_dataset(
        "cube",
        shape=shape,
        dtype=np.uint8 if native == np.bool_ else native,
        chunks=tuple(map(min, shape, (_BANDS_TOGETHER, _CHUNK, _CHUNK))),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
        track_times=False,
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


def _describe(file: Any, scene: Scene, tags: Mapping[str, str]) -> None:
    """Note bands, place, labels and origin."""
    origin = {
        f"HYPERCOVER_{key.upper()}": "yes" for key, yes in scene.origin.items() if yes
    }
    file.attrs.update({**tags, **origin})
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
    if header := kept(scene.header):
        file.create_group("header").attrs.update(header)
    _place(file, scene)
    if scene.labels is not None:
        file.create_dataset(
            "labels", data=scene.labels, compression="gzip", track_times=False
        )
        classes = file.create_group("classes")
        classes.create_dataset(
            "code", data=np.array(scene.legend.codes, np.uint16), track_times=False
        )
        _write_texts(classes, "name", scene.legend.names)
        _write_texts(classes, "color", [land.color for land in scene.legend])


def _place(file: Any, scene: Scene) -> None:
    grid = scene.grid
    if not (grid.placed or grid.crs):
        return
    mapping = file.create_dataset("spatial_ref", data=np.int32(0), track_times=False)
    if grid.crs:
        mapping.attrs["crs_wkt"] = mapping.attrs["spatial_ref"] = grid.crs
    if grid.placed:
        a, b, c, d, e, f = grid.transform
        mapping.attrs["GeoTransform"] = " ".join(repr(float(x)) for x in (c, a, b, f, d, e))


def _write_texts(group: Any, name: str, texts: Iterable[str]) -> None:
    encoded = [text.encode() for text in texts]
    longest = max((len(text) for text in encoded), default=0) or 1
    group.create_dataset(name, data=np.array(encoded, f"S{longest}"), track_times=False)
