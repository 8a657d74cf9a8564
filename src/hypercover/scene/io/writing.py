"""Writing cubes and label maps as GeoTIFF, ENVI or HDF5."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hypercover.errors import CallError, OutputError, SceneError
from hypercover.files import atomic, check_writable, remove_abandoned_drafts, write_text
from hypercover.scene.encoding import with_fill_value
from hypercover.scene.file_identity import companions
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_tables import category_xml, printable, sidecar
from hypercover.scene.io.envi import class_lines, finish_header, list_item
from hypercover.scene.io.gdal import copy_raster, create_raster, explained_write
from hypercover.scene.io.hdf5 import write_hdf5
from hypercover.scene.io.raster import check_length, dataset_grid, open_dataset
from hypercover.scene.labels import as_codes, check_size, grid_offset
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import GAINS, OFFSETS, clean_header, header_numbers
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, read_tiles
from hypercover.scene.tiling import IMAGE_BLOCK
from hypercover.scene.wavelengths import BandTable, band_tags
from hypercover.types import Codes, Progress

_DRIVERS = {
    **dict.fromkeys((".tif", ".tiff"), "GTiff"),
    **dict.fromkeys((".hdr", ".img", ".dat", ".bsq", ".bil", ".bip"), "ENVI"),
    **dict.fromkeys((".h5", ".hdf5"), "HDF5"),
}

MAP_BLOCK = 256
"""Side in pixels of the tiles of a map; those of an image hold many bands."""
_GTIFF = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": MAP_BLOCK,
    "blockysize": MAP_BLOCK,
    "compress": "deflate",
    "bigtiff": "if_safer",
}
_IMAGE = {
    "interleave": "pixel",
    "blockxsize": IMAGE_BLOCK,
    "blockysize": IMAGE_BLOCK,
    "predictor": 1,
    "zlevel": 4,
    # GDAL would take the fourth of four bands of bytes for alpha.
    "photometric": "minisblack",
    "alpha": "no",
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
    order = _interleave(target, interleave)
    scene = with_fill_value(scene)
    origin = (key for key, applies in scene.origin.items() if applies)
    tags = {**(tags or {}), **{f"HYPERCOVER_{key.upper()}": "yes" for key in origin}}
    # Drafts of a killed process, before the disk is needed for this one.
    remove_abandoned_drafts(target)
    if driver == "HDF5":
        tiles = read_tiles(scene, store)
        return write_hdf5(scene, target, tiles, tags=tags, progress=progress)
    dtype = _storable(scene.cube.dtype, driver)
    options: dict[str, Any]
    if driver == "ENVI":
        description = scene.header.get("description", scene.name)
        options = {"count": scene.n_bands, "dtype": dtype, "nodata": scene.nodata}
        writer = _envi_writer(target, scene.grid, description, interleave=order, **options)
    else:
        options = {"nodata": scene.nodata, "band_names": ("",) * scene.n_bands, **_IMAGE}
        writer = geotiff_writer(target, scene.grid, dtype, **options)
    with writer as file:
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
    data, options = data_path(target), {"count": 1, "dtype": codes.dtype, "nodata": 0}
    with _envi_writer(target, grid, target.stem, class_lines(legend), **options) as file:
        file.write(codes, 1)
    # The lists of a header cannot hold every character; the sidecar can.
    if any(list_item(name) != name for name in legend.names):
        write_text(sidecar(data), category_xml(legend, _UNLABELLED))
    return data


def _interleave(path: Path, interleave: str | None) -> str:
    suffix = path.suffix.lower().strip(".")
    order = (interleave or (suffix if suffix in {"bil", "bip"} else "bsq")).lower()
    if order not in {"bsq", "bil", "bip"}:
        raise CallError(
            f"The interleave must be bsq, bil or bip, got {interleave!r}; bsq keeps "
            "whole bands together, bip whole spectra."
        )
    return order


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
def _written(draft: Path, target: Path, grid: Grid, **profile: Any) -> Iterator[Any]:
    """Open the draft of a raster for writing, and check that it is complete."""
    profile |= {"height": grid.rows, "width": grid.cols}
    if grid.placed:
        profile["transform"] = Affine(*grid.transform)
    try:
        profile["crs"] = CRS.from_user_input(grid.crs) if grid.crs else None
    except (CRSError, ValueError) as error:
        raise CallError(
            f"The coordinate system {str(grid.crs)[:60]!r} of the scene is not understood; "
            "give it as WKT or as an EPSG code."
        ) from error
    try:
        with explained_write(target), create_raster(draft, **profile) as raster:
            yield raster
        _check_complete(draft, target)
    finally:
        sidecar(draft).unlink(missing_ok=True)


def _check_complete(draft: Path, target: Path) -> Grid:
    """Open what was written, and return its grid: GDAL may be silent about a full disk."""
    try:
        with open_dataset(draft) as raster:
            check_length(raster, draft)
            return dataset_grid(raster)
    except SceneError as error:
        raise OutputError(
            f"Cannot write {target}: what was written cannot be read again, perhaps because "
            "the disk is full; free some space or choose another folder."
        ) from error


@contextmanager
def _envi_writer(
    path: Path, grid: Grid, description: str, classes: str = "", **profile: Any
) -> Iterator[Any]:
    """Open an ENVI image for writing; its header appears last."""
    data = data_path(path)
    header = data.with_suffix(".hdr")
    with atomic(header) as header_draft, atomic(data) as draft:
        draft.touch()
        own = draft.with_suffix(".hdr")
        try:
            with _written(draft, path, grid, driver="ENVI", **profile) as raster:
                yield raster
            if grid_offset(_check_complete(draft, path), grid) > _SHIFTED:
                raise CallError(
                    "ENVI cannot hold a georeference that is mirrored or sheared; write a "
                    "GeoTIFF (.tif) instead."
                )
            finish_header(own, draft, description, classes)
            own.replace(header_draft)
        finally:
            own.unlink(missing_ok=True)
        # What belongs to an older image of that name must not mix with this one.
        for stale in (sidecar(data), header):
            stale.unlink(missing_ok=True)


@contextmanager
def geotiff_writer(
    path: Path,
    grid: Grid,
    dtype: npt.DTypeLike,
    *,
    nodata: float | None = None,
    band_names: Sequence[str] = ("",),
    palette: Mapping[int, tuple[int, int, int]] | None = None,
    tags: Mapping[str, str] | None = None,
    texts: Mapping[Path, str] | None = None,
    cloud_optimised: bool = False,
    **profile: Any,
) -> Iterator[Any]:
    """Open a tiled, compressed GeoTIFF for writing window by window.

    The file replaces an older one only once it is complete.

    Parameters
    ----------
    path : Path
    grid : Grid
    dtype : dtype
    nodata : float, optional
    band_names : sequence of str
        Description of each band; its length is the number of bands.
    palette : mapping, optional
        Red, green and blue by value.
    tags : mapping, optional
        Metadata of the file.
    texts : mapping of Path to str, optional
        Text files, such as class names and styles, that appear together with the raster.
    cloud_optimised : bool
        Whether a map of one band becomes a cloud-optimised GeoTIFF, with overviews.
    **profile
        Further options of GDAL's driver.

    Yields
    ------
    rasterio dataset

    Raises
    ------
    CallError
        If the coordinate system of the grid is not understood.
    OutputError
        If the file cannot be written; an older file of that name stays.
    """
    floating, count = np.issubdtype(dtype, np.floating), len(band_names)
    profile = {"interleave": "band", "predictor": 3 if floating else 1, **profile}
    profile |= {"dtype": np.dtype(dtype).name, "nodata": nodata, "count": count}
    with ExitStack() as drafts:
        # Drafted first: a map must not appear where its names cannot.
        for text_path, text in (texts or {}).items():
            drafts.enter_context(atomic(text_path)).write_text(text, encoding="utf-8")
        with atomic(path) as draft, explained_write(path), ExitStack() as copies:
            if cloud_optimised and count == 1:
                draft = copies.enter_context(_copied_to_cog(draft, path, floating))
            with _written(draft, path, grid, **{**_GTIFF, **profile}) as raster:
                if palette is not None:
                    # GDAL ignores a palette that comes after the pixels.
                    raster.write_colormap(1, palette)
                for band, name in enumerate(band_names, start=1):
                    if name:
                        raster.set_band_description(band, printable(name))
                if tags:
                    raster.update_tags(**tags)
                yield raster
        # Names, statistics and overviews of an older file would be taken for those of this.
        for suffix in (".aux.xml", ".ovr", ".msk"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _copied_to_cog(draft: Path, target: Path, floating: bool) -> Iterator[Path]:
    """Give a file to write tiles to in any order, which is then copied to a COG.

    A COG has its overviews in front, so it can only be made of a finished map. Classes are
    reduced to the most frequent one, numbers to their mean.
    """
    plain = draft.with_name(f"{draft.stem}.plain{draft.suffix}")
    predictor, resampling = ("yes", "average") if floating else ("no", "mode")
    options = {"predictor": predictor, "overview_resampling": resampling}
    options |= {"compress": "deflate", "bigtiff": "if_safer"}
    try:
        yield plain
        copy_raster(plain, draft, driver="COG", blocksize=MAP_BLOCK, **options)
        _check_complete(draft, target)
    finally:
        plain.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.ovr.tmp").unlink(missing_ok=True)


def code_type(codes: npt.ArrayLike) -> type[np.uint8] | type[np.uint16]:
    """Return the smallest pixel type that holds these class codes."""
    return np.uint8 if np.max(codes, initial=0) <= 255 else np.uint16


def class_raster_writer(
    path: Path,
    legend: Legend,
    grid: Grid,
    *,
    zero: str = "no data",
    zero_rgb: tuple[int, int, int] | None = None,
    nodata: int | None = 0,
    description: str = "",
    texts: Mapping[Path, str] | None = None,
    **options: Any,
) -> AbstractContextManager[Any]:
    """Open a class raster for writing window by window.

    The pixels are uint8, or uint16 where a code is above 255. The palette is stored in
    the GeoTIFF, the class names in ``<file>.aux.xml``, where GDAL and QGIS read them.

    Parameters
    ----------
    path : Path
    legend : Legend
        Name and colour of every code that will be written.
    grid : Grid
    zero, zero_rgb : str and tuple
        Name and colour of code 0; transparent without a colour.
    nodata : int, optional
        The code declared as no data.
    description : str
        Description of the band.
    texts : mapping of Path to str, optional
        Further text files that appear together with the raster.
    **options
        Passed to :func:`geotiff_writer`: tags, cloud_optimised.

    Returns
    -------
    context manager of a rasterio dataset
        Codes are written with ``write(codes, 1, window=...)``.
    """
    return geotiff_writer(
        path,
        grid,
        code_type(legend.codes),
        nodata=nodata,
        band_names=(description,),
        palette={0: zero_rgb or (0, 0, 0)} | {entry.code: entry.rgb for entry in legend},
        texts={sidecar(path): category_xml(legend, zero, zero_rgb), **(texts or {})},
        **options,
    )
