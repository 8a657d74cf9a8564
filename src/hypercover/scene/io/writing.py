"""Writing cubes as GeoTIFF, ENVI or HDF5, strip by strip, with all that is known of the bands."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from hypercover.errors import CallError, OutputError, SceneError
from hypercover.files import atomic, check_writable, sweep_drafts, write_text
from hypercover.scene.fill_value import settled
from hypercover.scene.grid import Grid
from hypercover.scene.inputs import companions
from hypercover.scene.io import raster
from hypercover.scene.io.class_raster import class_raster_writer
from hypercover.scene.io.envi import class_lines, finish_header, list_item
from hypercover.scene.io.gdal import GDAL_ERRORS, create_raster
from hypercover.scene.io.pam import category_xml, sidecar
from hypercover.scene.io.raster import dataset_grid, open_dataset
from hypercover.scene.labels import as_codes, check_size, offset
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import GAINS, OFFSETS, factors, kept
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, read_tiles
from hypercover.scene.tiling import SIDE, Tile
from hypercover.scene.wavelengths import BandTable, band_tags

__all__ = [
    "check_overwrite",
    "data_path",
    "driver_for",
    "write_hdf5",
    "write_labels",
    "write_scene",
]

_DRIVERS = {
    ".tif": "GTiff", ".tiff": "GTiff", ".hdr": "ENVI", ".img": "ENVI", ".dat": "ENVI",
    ".bsq": "ENVI", ".bil": "ENVI", ".bip": "ENVI", ".h5": "HDF5", ".hdf5": "HDF5",
}  # fmt: skip

_GTIFF = {
    "tiled": True,
    "blockxsize": SIDE,
    "blockysize": SIDE,
    "compress": "deflate",
    "zlevel": 4,
    "bigtiff": "IF_SAFER",
}

_UNLABELLED = "Unlabelled"

_SHIFTED = 1e-3
"""Pixels by which a written grid may miss the one asked for."""


def driver_for(path: Path) -> str:
    """Return the GDAL driver that a file name asks for.

    Raises
    ------
    CallError
        If the suffix is that of neither GeoTIFF, ENVI nor HDF5.
    """
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise CallError(
            "An image is written as GeoTIFF (.tif) or ENVI (.hdr, .img, .dat, .bsq, .bil, "
            f".bip), or as HDF5 (.h5), got the name {path.name!r}; give it one of these "
            "suffixes."
        )
    return driver


def check_overwrite(out: Path, *sources: Path | None) -> None:
    """Refuse to write over a file that is read for it, or over a folder.

    Why it exists: one slip in a command must not cost anybody the measured
    image.  Of ENVI, header and pixels both count.

    Raises
    ------
    CallError
        If the file to be written is one of the sources; those that are None
        were not given.
    OutputError
        If no file of that name can be written.
    """
    check_writable(out)
    for written in _files_of(out):
        check_writable(written)
    # os.access answers where Path.exists raises: of a name too long for a file.
    given = [one for one in sources if one is not None and os.access(one, os.F_OK)]
    for source in given:
        for written, read in product(_files_of(out), companions(source)):
            if written.exists() and written.samefile(read):
                raise CallError(
                    f"Writing {out} would destroy {source}, which is read for it; choose "
                    "another name."
                )


def _files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that writing an image of this name replaces."""
    if _DRIVERS.get(path.suffix.lower()) != "ENVI":
        return (path,)
    return (path, data_path(path), path.with_suffix(".hdr"))


def write_scene(
    scene: Scene,
    path: str | Path,
    *,
    interleave: str | None = None,
    tags: Mapping[str, str] | None = None,
    store: TileStore | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the cube of a scene with its wavelengths, band names and georeference.

    Widths and bad bands are written too, where they are known.

    The cube is read and written in strips, so it may be larger than memory.  The
    file appears under its name when it is whole; of ENVI's two files the header
    comes last.

    Parameters
    ----------
    scene : Scene
    path : path
        ``.tif`` for a tiled, compressed GeoTIFF; ``.hdr``, ``.img``, ``.dat`` for ENVI;
        ``.h5`` for HDF5, which also takes labels and classes along.
    interleave : {"bsq", "bil", "bip"}, optional
        Order of the values in an ENVI file: by band (default), line or pixel.
    tags : mapping, optional
        More text to keep with the image.
    store : TileStore, optional
        Where finished strips of a cube that takes long to compute are kept until the
        file is whole (:func:`~hypercover.scene.tile_store.open_tile_store`).
    progress : callable, optional
        Called with the rows done and the rows in all.

    Returns
    -------
    Path
        The file of pixels.

    Raises
    ------
    CallError
        If the suffix or the interleave is unknown, or ENVI cannot hold the grid.
    OutputError
        If it cannot be written; an older file of that name stays.
    """
    target = Path(path)
    driver = driver_for(target)
    options = _options(driver, target, interleave)
    scene = settled(scene)
    # Of a killed process; before the disk is needed for this one.
    sweep_drafts(target)
    if driver == "HDF5":
        pieces = read_tiles(scene, store)
        return write_hdf5(scene, target, pieces, tags=tags or {}, progress=progress)
    dtype = _storable(scene.cube.dtype, driver)
    options |= {"count": scene.n_bands, "dtype": dtype, "nodata": scene.nodata}
    if driver == "GTiff":
        # Of four bands of bytes GDAL would call the fourth alpha.
        options |= {"photometric": "MINISBLACK", "alpha": "NO"}
    about = scene.header.get("description", scene.name)
    with _drafted(target, scene.grid, driver, options, description=about) as file:
        _describe(file, scene, driver, tags or {})
        for tile, values in read_tiles(scene, store):
            window = (tile.rows.start, tile.rows.stop), (tile.cols.start, tile.cols.stop)
            file.write(values.astype(dtype, copy=False), window=window)
            if progress is not None:
                progress(tile.rows.stop, scene.shape[0])
    return data_path(target)


def write_labels(
    labels: npt.NDArray[np.unsignedinteger],
    legend: Legend,
    grid: Grid,
    path: str | Path,
    *,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """Write a label map with the names and colours of its classes.

    A GeoTIFF gets a colour table and its names in ``<file>.aux.xml``, where GDAL
    and QGIS look for them; ENVI gets a classification header, and that file too where
    a name has signs that a header cannot hold.

    Parameters
    ----------
    labels : array of shape (y, x)
        Class codes; 0 = unlabelled, written as no-data.
    legend : Legend
    grid : Grid
        Georeference; its size must be that of the labels.
    path : path
        ``.tif``, or an ENVI suffix.
    tags : mapping, optional
        More text to keep with a GeoTIFF.

    Returns
    -------
    Path
        The file of pixels.

    Raises
    ------
    CallError
        If the suffix is unknown, or the labels are of another size or no codes.
    OutputError
        If it cannot be written.
    """
    target = Path(path)
    driver = driver_for(target)
    if driver == "HDF5":
        raise CallError(
            "A label map is written as GeoTIFF (.tif) or ENVI (.hdr, .img, .dat), got the name "
            f"{target.name!r}; HDF5 takes it together with its image."
        )
    check_size(labels.shape, grid, "the array to be written")
    codes = as_codes(np.asarray(labels), "to be written")
    known = legend.covering(codes)
    if driver == "GTiff":
        with class_raster_writer(
            target, known, grid, zero=_UNLABELLED, tags=tags
        ) as raster:
            raster.write(codes, 1)
        return target
    options = {"count": 1, "dtype": codes.dtype, "nodata": 0}
    header = {"description": target.stem, "more": class_lines(known)}
    with _drafted(target, grid, driver, options, **header) as file:
        file.write(codes, 1)
    pixels = data_path(target)
    # A header's lists cannot hold every sign; the sidecar can.
    if any(list_item(name) != name for name in known.names):
        write_text(sidecar(pixels), category_xml(known, _UNLABELLED))
    return pixels


def _options(driver: str, path: Path, interleave: str | None) -> dict[str, Any]:
    suffix = path.suffix.lower().strip(".")
    order = (interleave or (suffix if suffix in {"bil", "bip"} else "bsq")).lower()
    if order not in {"bsq", "bil", "bip"}:
        raise CallError(
            f"The interleave must be bsq, bil or bip, got {interleave!r}; bsq keeps "
            "whole bands together, bip whole spectra."
        )
    if driver == "ENVI":
        return {"interleave": order}
    return dict(_GTIFF)


def _storable(dtype: np.dtype[Any], driver: str) -> np.dtype[Any]:
    """Return the type the format can hold that keeps every value."""
    native = dtype.newbyteorder("=")
    wider = {"float16": "float32", "bool": "uint8"}
    if driver == "ENVI":
        wider |= {"int8": "int16"}
    return np.dtype(wider.get(native.name, native))


def _describe(file: Any, scene: Scene, driver: str, tags: Mapping[str, str]) -> None:
    """Note wavelengths, widths, bad bands, numbers, names, units and origin in the file."""
    counted = np.array_equal(scene.bands, np.arange(1, scene.n_bands + 1))
    table = BandTable(
        scene.wavelengths,
        scene.fwhm,
        scene.bad if "bad" in scene.cube.coords else None,
        None if counted else scene.bands,
    )
    envi, bands = band_tags(table)
    header = _header(file, scene, driver)
    origin = {
        f"HYPERCOVER_{key.upper()}": "yes" for key, yes in scene.origin.items() if yes
    }
    more = dict(tags) | origin
    unit = scene.cube.attrs.get("units")
    if driver == "ENVI":
        envi |= {key.lower(): list_item(text) for key, text in more.items()}
        envi |= {"data_units": list_item(str(unit))} if unit else {}
    else:
        file.update_tags(**more)
        for number, own in enumerate(bands, 1):
            file.update_tags(number, ns="IMAGERY", **own)
        if unit:
            file.units = (str(unit),) * scene.n_bands
    file.update_tags(ns="ENVI", **header | envi)
    names = scene.band_names or tuple(f"Band {number}" for number in scene.bands)
    # A header lists names between commas, so none may hold one.
    file.descriptions = tuple(map(list_item, names)) if driver == "ENVI" else names


def _header(file: Any, scene: Scene, driver: str) -> dict[str, str]:
    """Set gains and offsets of the bands and return the rest of the header as tags."""
    gains, offsets = (factors(scene.header, key, scene.n_bands) for key in (GAINS, OFFSETS))
    if gains is not None:
        file.scales = gains
    if offsets is not None:
        file.offsets = offsets
    return {
        # GDAL passes over a value of ENVI with a second =.
        key.replace(" ", "_"): text.replace("=", "-") if driver == "ENVI" else text
        for key, text in kept(scene.header).items()
        if key not in (GAINS, OFFSETS)
    }


def data_path(path: Path) -> Path:
    """Return the file of the pixels of an image to be written."""
    return path.with_suffix(".img") if path.suffix.lower() == ".hdr" else path


@contextmanager
def _drafted(
    target: Path, grid: Grid, driver: str, options: Mapping[str, Any], **header: str
) -> Iterator[Any]:
    """Open a raster to write to; it takes its name only when it is whole."""
    pixels = data_path(target)
    with _header_last(pixels, driver) as header_draft, atomic(pixels) as draft:
        draft.touch()
        made = draft.with_suffix(".hdr")
        try:
            with _explained(target), _created(draft, grid, driver, options) as file:
                yield file
            _check_whole(draft, grid, target)
            if driver == "ENVI":
                finish_header(made, draft, **header)
                made.replace(header_draft)
        finally:
            for left in (made, sidecar(draft)):
                if left != draft:
                    left.unlink(missing_ok=True)
        _drop_companions(pixels, driver)


def _broke_off(target: Path) -> OutputError:
    return OutputError(
        f"Cannot write {target}: writing broke off, perhaps because the disk is full; "
        "free some space or choose another folder."
    )


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except GDAL_ERRORS as error:
        raise _broke_off(target) from error


def _drop_companions(pixels: Path, driver: str) -> None:
    """Remove what belongs to an older image of that name, so that the two never mix."""
    sidecar(pixels).unlink(missing_ok=True)
    if driver == "ENVI":
        pixels.with_suffix(".hdr").unlink(missing_ok=True)


@contextmanager
def _header_last(pixels: Path, driver: str) -> Iterator[Path]:
    """Give a draft for the header of ENVI; other formats have none."""
    if driver != "ENVI":
        yield pixels
        return
    with atomic(pixels.with_suffix(".hdr")) as draft:
        yield draft


@contextmanager
def _created(
    draft: Path, grid: Grid, driver: str, options: Mapping[str, Any]
) -> Iterator[Any]:
    settings = dict(options) | {"height": grid.rows, "width": grid.cols, "crs": grid.crs}
    if grid.placed:
        settings["transform"] = Affine(*grid.transform)
    with create_raster(draft, driver=driver, **settings) as file:
        yield file


def _check_whole(draft: Path, grid: Grid, target: Path) -> None:
    """Read back what was written: GDAL reports a full disk late or not at all."""
    try:
        with open_dataset(draft) as file:
            raster.check_raster(file, draft)
            found = dataset_grid(file)
    except SceneError as error:
        raise _broke_off(target) from error
    if offset(found, grid) > _SHIFTED:
        raise CallError(
            "ENVI cannot hold a georeference that is mirrored or sheared; write a GeoTIFF "
            "(.tif) instead."
        )


_CHUNK = 64
"""Side of the squares in which the cube is stored; the reader cuts along them too."""

_BANDS_TOGETHER = 32

Pieces = Iterable[tuple[Tile, npt.NDArray[np.generic]]]


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
    carries; :func:`~hypercover.scene.io.reading.open_scene` reads all of it back.
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
            _describe_hdf5(file, scene, tags)
            cube = _cube(file, scene)
            for tile, values in pieces:
                cube[:, tile.rows, tile.cols] = values.astype(cube.dtype)
                sink.check()
                if progress is not None:
                    progress(tile.rows.stop, scene.shape[0])
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


def _describe_hdf5(file: Any, scene: Scene, tags: Mapping[str, str]) -> None:
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
