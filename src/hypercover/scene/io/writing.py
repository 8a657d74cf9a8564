"""Writing cubes and label maps as GeoTIFF, ENVI or HDF5."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from hypercover.errors import CallError, OutputError, SceneError
from hypercover.files import atomic, check_writable, remove_abandoned_drafts, write_text
from hypercover.scene.encoding import with_fill_value
from hypercover.scene.file_identity import companions
from hypercover.scene.grid import Grid
from hypercover.scene.io.envi import class_lines, finish_header, list_item
from hypercover.scene.io.gdal import create_raster, explained_write
from hypercover.scene.io.geotiff import category_xml, class_raster_writer, sidecar
from hypercover.scene.io.hdf5 import write_hdf5
from hypercover.scene.io.raster import check_raster, dataset_grid, open_dataset
from hypercover.scene.labels import as_codes, check_size, grid_offset
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import GAINS, OFFSETS, clean_header, header_numbers
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, read_tiles
from hypercover.scene.tiling import IMAGE_BLOCK
from hypercover.scene.wavelengths import BandTable, band_tags
from hypercover.types import Codes, Progress

_DRIVERS = {
    ".tif": "GTiff",
    ".tiff": "GTiff",
    ".hdr": "ENVI",
    ".img": "ENVI",
    ".dat": "ENVI",
    ".bsq": "ENVI",
    ".bil": "ENVI",
    ".bip": "ENVI",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
}

_GTIFF = {
    "tiled": True,
    "blockxsize": IMAGE_BLOCK,
    "blockysize": IMAGE_BLOCK,
    "compress": "deflate",
    "zlevel": 4,
    "bigtiff": "IF_SAFER",
    # GDAL would take the fourth of four bands of bytes for alpha.
    "photometric": "MINISBLACK",
    "alpha": "NO",
}

_UNLABELLED = "Unlabelled"

_SHIFTED = 1e-3
"""Pixels by which a written grid may miss the one asked for."""


def driver_for(path: Path) -> str:
    """Return the driver for a file name: GTiff, ENVI or HDF5.

    Raises
    ------
    CallError
        If the suffix is unknown.
    """
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise CallError(
            "Images are written as GeoTIFF (.tif), ENVI (.hdr, .img, .dat, .bsq, .bil, .bip) "
            f"or HDF5 (.h5), got the name {path.name!r}; give it one of these suffixes."
        )
    return driver


def check_overwrite(out: Path, *sources: Path | None) -> None:
    """Refuse to overwrite a file that is read for the output, or a folder.

    Both the header and the pixels of an ENVI image count.

    Raises
    ------
    CallError
        If the output is one of the sources; sources that are None are skipped.
    OutputError
        If no file of that name can be written.
    """
    check_writable(out)
    for written in _files_of(out):
        check_writable(written)
    # os.access answers where Path.exists raises: of a name too long for a file.
    given = [source for source in sources if source is not None]
    for source in (source for source in given if os.access(source, os.F_OK)):
        for written, read in product(_files_of(out), companions(source)):
            if written.exists() and written.samefile(read):
                raise CallError(
                    f"Writing {out} would destroy {source}; choose another name."
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
    progress: Progress | None = None,
) -> Path:
    """Write the cube of a scene with its band metadata and georeference.

    Wavelengths, widths, bad bands, names, scale factors and no-data values are written
    where they are known. The cube is read and written in pieces, so it may be larger than
    memory. The file appears under its name only once it is complete; of ENVI's two files
    the header comes last.

    Parameters
    ----------
    scene : Scene
    path : path
        ``.tif`` for a tiled, compressed GeoTIFF; ``.hdr``, ``.img``, ``.dat`` for ENVI;
        ``.h5`` for HDF5, which also stores labels and classes.
    interleave : {"bsq", "bil", "bip"}, optional
        Order of the values in an ENVI file: by band (default), line or pixel.
    tags : mapping, optional
        Additional metadata.
    store : TileStore, optional
        Keeps finished pieces of a cube that takes long to compute, so that writing can
        resume (:func:`~hypercover.scene.tile_store.open_tile_store`).
    progress : callable, optional
        Called with the rows written and the total number of rows.

    Returns
    -------
    Path
        The data file.

    Raises
    ------
    CallError
        If the suffix or the interleave is unknown, or ENVI cannot hold the grid.
    OutputError
        If it cannot be written; an older file of that name stays.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_scene(Scene.from_array(np.ones((3, 4, 5))), f"{folder}/image.tif").name
    'image.tif'
    """
    target = Path(path)
    driver = driver_for(target)
    options = _options(driver, target, interleave)
    scene = with_fill_value(scene)
    origin = (key for key, applies in scene.origin.items() if applies)
    tags = {**(tags or {}), **{f"HYPERCOVER_{key.upper()}": "yes" for key in origin}}
    # Drafts of a killed process, before the disk is needed for this one.
    remove_abandoned_drafts(target)
    if driver == "HDF5":
        tiles = read_tiles(scene, store)
        return write_hdf5(scene, target, tiles, tags=tags, progress=progress)
    dtype = _storable(scene.cube.dtype, driver)
    options |= {"count": scene.n_bands, "dtype": dtype, "nodata": scene.nodata}
    description = scene.header.get("description", scene.name)
    with _draft(target, scene.grid, driver, options, description=description) as file:
        _describe(file, scene, driver, tags)
        for tile, values in read_tiles(scene, store):
            window = (tile.rows.start, tile.rows.stop), (tile.cols.start, tile.cols.stop)
            file.write(values.astype(dtype, copy=False), window=window)
            if progress is not None:
                progress(tile.rows.stop, scene.shape[0])
    return data_path(target)


def write_labels(
    labels: Codes,
    legend: Legend,
    grid: Grid,
    path: str | Path,
    *,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """Write a label map with the names and colours of its classes.

    A GeoTIFF has a palette, and the names in ``<file>.aux.xml``, where GDAL and QGIS look
    for them. ENVI gets a classification header, and an ``.aux.xml`` where a name has
    characters that a header cannot hold.

    Parameters
    ----------
    labels : array of shape (y, x)
        Class codes; 0 = unlabelled, written as no data.
    legend : Legend
    grid : Grid
        Georeference; its size must be that of the labels.
    path : path
        ``.tif``, or an ENVI suffix.
    tags : mapping, optional
        Additional metadata of a GeoTIFF.

    Returns
    -------
    Path
        The data file.

    Raises
    ------
    CallError
        If the suffix is unknown, or the labels are of another size.
    OutputError
        If it cannot be written.
    """
    target = Path(path)
    driver = driver_for(target)
    if driver == "HDF5":
        raise CallError(
            "Label maps are written as GeoTIFF (.tif) or ENVI (.hdr, .img, .dat), got the name "
            f"{target.name!r}; HDF5 stores labels only together with their image."
        )
    check_size(labels.shape, grid, "the array to be written")
    codes = as_codes(np.asarray(labels), "to be written")
    legend = legend.covering(codes)
    if driver == "GTiff":
        writer = class_raster_writer(target, legend, grid, zero=_UNLABELLED, tags=tags)
        with writer as raster:
            raster.write(codes, 1)
        return target
    options = {"count": 1, "dtype": codes.dtype, "nodata": 0}
    header = {"description": target.stem, "more": class_lines(legend)}
    with _draft(target, grid, driver, options, **header) as file:
        file.write(codes, 1)
    data = data_path(target)
    # The lists of a header cannot hold every character; the sidecar can.
    if any(list_item(name) != name for name in legend.names):
        write_text(sidecar(data), category_xml(legend, _UNLABELLED))
    return data


def _options(driver: str, path: Path, interleave: str | None) -> dict[str, Any]:
    suffix = path.suffix.lower().strip(".")
    order = (interleave or (suffix if suffix in {"bil", "bip"} else "bsq")).lower()
    if order not in {"bsq", "bil", "bip"}:
        raise CallError(
            f"The interleave must be bsq, bil or bip, got {interleave!r}; bsq keeps "
            "whole bands together, bip whole spectra."
        )
    return {"interleave": order} if driver == "ENVI" else dict(_GTIFF)


def _storable(dtype: np.dtype[Any], driver: str) -> np.dtype[Any]:
    """Return the type the format can hold that keeps every value."""
    native = dtype.newbyteorder("=")
    wider = {"float16": "float32", "bool": "uint8"}
    if driver == "ENVI":
        wider |= {"int8": "int16"}
    return np.dtype(wider.get(native.name, native))


def _describe(file: Any, scene: Scene, driver: str, tags: Mapping[str, str]) -> None:
    """Write the metadata of bands and image."""
    counted = np.array_equal(scene.bands, np.arange(1, scene.n_bands + 1))
    numbers = None if counted else scene.bands
    bad = scene.bad if "bad" in scene.cube.coords else None
    envi, bands = band_tags(BandTable(scene.wavelengths, scene.fwhm, bad, numbers))
    for key, attribute in ((GAINS, "scales"), (OFFSETS, "offsets")):
        if (values := header_numbers(scene.header, key, scene.n_bands)) is not None:
            setattr(file, attribute, values)
    header = {
        # GDAL skips ENVI values with a second =.
        key.replace(" ", "_"): text.replace("=", "-") if driver == "ENVI" else text
        for key, text in clean_header(scene.header).items()
        if key not in (GAINS, OFFSETS)
    }
    unit = scene.cube.attrs.get("units")
    if driver == "ENVI":
        envi |= {key.lower(): list_item(text) for key, text in tags.items()}
        envi |= {"data_units": list_item(str(unit))} if unit else {}
    else:
        file.update_tags(**tags)
        for number, own in enumerate(bands, 1):
            file.update_tags(number, ns="IMAGERY", **own)
        if unit:
            file.units = (str(unit),) * scene.n_bands
    file.update_tags(ns="ENVI", **header | envi)
    names = scene.band_names or tuple(f"Band {number}" for number in scene.bands)
    # A header lists names between commas, so none may hold one.
    file.descriptions = tuple(map(list_item, names)) if driver == "ENVI" else names


def data_path(path: Path) -> Path:
    """Return the data file of an image to be written."""
    return path.with_suffix(".img") if path.suffix.lower() == ".hdr" else path


@contextmanager
def _draft(
    target: Path, grid: Grid, driver: str, options: Mapping[str, Any], **header: str
) -> Iterator[Any]:
    """Open a raster for writing, which gets its name only when it is complete."""
    data = data_path(target)
    settings = dict(options) | {"height": grid.rows, "width": grid.cols, "crs": grid.crs}
    if grid.placed:
        settings["transform"] = Affine(*grid.transform)
    with ExitStack() as drafts:
        header_draft = None
        if driver == "ENVI":
            header_draft = drafts.enter_context(atomic(data.with_suffix(".hdr")))
        with atomic(data) as draft:
            draft.touch()
            gdal_header = draft.with_suffix(".hdr")
            try:
                with (
                    explained_write(target),
                    create_raster(draft, driver=driver, **settings) as file,
                ):
                    yield file
                _check_complete(draft, grid, target)
                if header_draft is not None:
                    finish_header(gdal_header, draft, **header)
                    gdal_header.replace(header_draft)
            finally:
                gdal_header.unlink(missing_ok=True)
                sidecar(draft).unlink(missing_ok=True)
            # What belongs to an older image of that name must not mix with this one.
            sidecar(data).unlink(missing_ok=True)
            if header_draft is not None:
                data.with_suffix(".hdr").unlink(missing_ok=True)


def _check_complete(draft: Path, grid: Grid, target: Path) -> None:
    """Read back what was written: GDAL reports a full disk late or not at all."""
    try:
        with open_dataset(draft) as file:
            check_raster(file, draft)
            written = dataset_grid(file)
    except SceneError as error:
        raise OutputError(
            f"Cannot write {target}: what was written cannot be read again, perhaps because "
            "the disk is full; free some space or choose another folder."
        ) from error
    if grid_offset(written, grid) > _SHIFTED:
        raise CallError(
            "ENVI cannot hold a georeference that is mirrored or sheared; write a GeoTIFF "
            "(.tif) instead."
        )
