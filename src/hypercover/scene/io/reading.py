"""Opening scenes and labels in any format."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from hypercover.errors import LabelError, SceneError, counted
from hypercover.files import find_ignoring_case
from hypercover.scene.datasets.catalog import with_known_bands, with_known_image
from hypercover.scene.grid import Grid
from hypercover.scene.io import raster, satellite_products
from hypercover.scene.io.array_files import ARRAY_READERS, ArrayFile
from hypercover.scene.io.class_tables import read_legend
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.raster import WARP_NOTE
from hypercover.scene.io.vector import read_vector_labels
from hypercover.scene.labels import (
    LabelMap,
    flip_to_grid,
    legend_of,
    match_classes,
    shortlist,
)
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.nodata import (
    NodataRule,
    NodataSpec,
    fill_note,
    parse_nodata,
    with_nodata,
)
from hypercover.scene.scene import Scene
from hypercover.types import Codes

PathLike = str | Path

_ENMAP_IMAGE = re.compile(
    r"(ENMAP.*)SPECTRAL_IMAGE(?:_COG)?\.(?:tiff?|bsq|bil|bip|img|dat|hdr|jp2)",
    re.IGNORECASE,
)
_SENTINEL2 = re.compile(r"MTD_MSIL(1C|2A)\.xml", re.IGNORECASE)
_PRODUCTS: dict[re.Pattern[str], Callable[[Path, str | None], Scene]] = {
    re.compile(r"ENMAP.*METADATA\.XML", re.IGNORECASE): satellite_products.read_enmap,
    _SENTINEL2: satellite_products.read_sentinel2,
    re.compile(
        r"L.*\d.*_MTL\.(txt|xml|json)|MTL\.(txt|xml|json)", re.IGNORECASE
    ): satellite_products.read_landsat,
}
"""Readers of products by the name of their metadata file."""


def product_file(path: PathLike) -> Path:
    """Return the metadata file of a product, given it, its folder or its image.

    Any other file is returned as it is.

    Raises
    ------
    SceneError
        As :func:`~hypercover.scene.io.file_types.local_file`.
    """
    folder = Path(path)
    if folder.suffix.lower() == ".safe" and folder.is_dir():
        matches = [file for file in folder.iterdir() if _SENTINEL2.fullmatch(file.name)]
        if len(matches) != 1:
            raise SceneError(
                f"{folder} must hold one MTD_MSIL1C.xml or MTD_MSIL2A.xml, found "
                f"{len(matches)}; download the product again."
            )
        return local_file(matches[0])
    file = local_file(path)
    if image := _ENMAP_IMAGE.fullmatch(file.name):
        metadata = find_ignoring_case(file.with_name(f"{image[1]}METADATA.XML"))
        if metadata is not None and metadata.is_file():
            return metadata
    return file


def open_scene(
    path: PathLike | xr.DataArray,
    labels: PathLike | Literal[False] | None = None,
    *,
    variable: str | None = None,
    label_variable: str | None = None,
    axes: str | None = None,
    label_field: str | None = None,
    label_layer: str | None = None,
    legend: Legend | PathLike | None = None,
    name: str | None = None,
    nodata: NodataSpec | None = None,
) -> Scene:
    """Open an image, and its labels where given or found in its file.

    One call for every format: MATLAB (5 and 7.3), NumPy, HDF5, NetCDF, and with
    GDAL the raster formats such as GeoTIFF, ENVI and ERDAS. The choices made are listed in
    ``notes`` of the scene. Raster and HDF5 pixels stay in the file until they are read.

    Parameters
    ----------
    path : path or DataArray
        The image; for ENVI its header or its data; for EnMAP, Sentinel-2 and Landsat
        the metadata file; or an array that :meth:`Scene.from_array` takes, such as
        ``rioxarray.open_rasterio`` returns.
    labels : path, False or None
        A label map in any of these formats or a vector file. None takes the only label map
        in the image's own file, if any; False and ``"none"`` leave the scene unlabelled.
    variable, label_variable : str, optional
        Names of the arrays to take, where a file holds several.
    axes : str, optional
        Order of the axes in the file, such as ``"row,col,band"``.
    label_field : str, optional
        Attribute of a vector file that holds the class.
    label_layer : str, optional
        Layer of a vector file, where it holds several.
    legend : Legend or path, optional
        Class names and colours, or a table (CSV, YAML, JSON) of code, name, color. Where
        the labels name their classes, these take the codes of their names in the table.
    name : str, optional
        Name of the scene; the file's by default.
    nodata : number, text or sequence of them, optional
        No-data values in addition to those that the file declares; ``"all-zero"``
        for pixels that are zero in all bands; ``"none"`` to ignore what the file declares.

    Raises
    ------
    SceneError
        If the image is damaged, ambiguous or of an unknown format, or cannot hold a no-data
        value.
    LabelError
        If the labels are damaged, are not class codes, or do not fit the image.

    Examples
    --------
    >>> scene = open_scene(xr.DataArray(np.ones((3, 4, 5)), dims=("band", "y", "x")))
    >>> scene.n_bands, scene.shape
    (3, (4, 5))
    """
    if str(labels).lower() == "none" and not (labels and Path(labels).exists()):
        labels = None if labels is None else False
    table = read_legend(legend)
    image = path if isinstance(path, xr.DataArray) else product_file(path)
    label_file = None if labels is None or labels is False else _label_file(labels)
    shapes = [] if label_file is None else _label_shapes(label_file, label_variable)
    label_map: LabelMap | None = None
    if isinstance(image, xr.DataArray):
        scene = Scene.from_array(image)
    else:
        find_labels = labels is None
        scene, label_map = _image(
            image, variable, axes, shapes, label_variable, find_labels=find_labels
        )
    scene = scene.replace(name=name or scene.name)
    if nodata is not None:
        scene = _with_stated_nodata(scene, nodata)
    # Pixels that cannot be read are reported by whoever needs them.
    with suppress(SceneError):
        scene = scene.noting(*filter(None, [fill_note(scene.cube)]))
    if label_file is not None:
        try:
            label_map = read_label_map(
                label_file, scene.grid, label_variable, label_field, label_layer
            )
        except LabelError as error:
            warp = [note for note in scene.notes if note.startswith(WARP_NOTE)]
            if scene.grid.placed or not warp:
                raise
            raise LabelError(f"{error} {warp[0]}") from error
    if label_map is not None:
        scene = _with_labels(scene, label_map, table)
    return with_known_image(with_known_bands(scene))


def _image(
    file: Path,
    variable: str | None,
    axes: str | None,
    shapes: list[tuple[int, int]],
    label_variable: str | None,
    *,
    find_labels: bool,
) -> tuple[Scene, LabelMap | None]:
    """Open the image, and on request the labels in the same file."""
    for pattern, read_product in _PRODUCTS.items():
        if pattern.fullmatch(file.name):
            return read_product(file, variable), None
    file_type = detect_type(file)
    if file_type is FileType.VECTOR:
        raise SceneError(f"{file} is a vector file, not an image; give it with --labels.")
    if file_type not in ARRAY_READERS:
        option = "--variable" if variable is not None else "--axes"
        if variable is not None or axes is not None:
            raise SceneError(
                f"{option} is for files of named arrays (MATLAB, NumPy, HDF5, NetCDF), but "
                f"{file} is a raster, whose axes are known; leave the option out."
            )
        return raster.read_image(file), None
    arrays = ArrayFile(file, file_type)
    if variable is None and satellite_products.is_prisma(arrays.members):
        return satellite_products.read_prisma(file, arrays.members), None
    if variable is None and satellite_products.is_emit(arrays.members):
        return satellite_products.read_emit(file, arrays.members), None
    own_shapes = arrays.map_shapes(label_variable if find_labels else None)
    scene = arrays.image(variable, axes, shapes, own_shapes)
    if not find_labels:
        return scene, None
    if label_variable is not None:
        return scene, arrays.labels(scene.grid, label_variable)
    label_map, notes = arrays.own_labels(scene.grid)
    return scene.noting(*notes), label_map


def _with_stated_nodata(scene: Scene, nodata: NodataSpec) -> Scene:
    """Mask the values that the user states as no data."""
    cube = with_nodata(scene.cube, nodata, scene.name)
    parts = parse_nodata(nodata)
    stated = ", ".join(part if isinstance(part, str) else f"{part:.10g}" for part in parts)
    rule = NodataRule.of(cube)
    return scene.replace(cube=cube).noting(
        f"No data as stated: {stated}; together with the file: {rule or 'no value'}."
    )


@contextmanager
def _as_label_error() -> Iterator[None]:
    try:
        yield
    except SceneError as error:
        raise LabelError(str(error)) from error


@_as_label_error()
def _label_file(path: PathLike) -> Path:
    return local_file(path)


@_as_label_error()
def _label_shapes(file: Path, variable: str | None) -> list[tuple[int, int]]:
    """Return the sizes that the labels of a file may have: evidence for the axis order."""
    file_type = detect_type(file)
    if file_type is FileType.VECTOR:
        return []
    if file_type in ARRAY_READERS:
        return ArrayFile(file, file_type).map_shapes(variable)
    return [raster.raster_size(file)[1:]]


@_as_label_error()
def read_label_map(
    file: Path,
    grid: Grid,
    variable: str | None = None,
    field: str | None = None,
    layer: str | None = None,
) -> LabelMap:
    """Read labels from any local file that holds a label map or shapes.

    Raises
    ------
    LabelError
        If they cannot be read or do not fit the grid.
    """
    file_type = detect_type(file)
    if file_type is FileType.VECTOR:
        return read_vector_labels(file, grid, field, layer)
    if file_type in ARRAY_READERS:
        return ArrayFile(file, file_type).labels(grid, variable)
    label_map = raster.read_raster_labels(file)
    codes = flip_to_grid(label_map.codes, label_map.grid, grid, file)
    return replace(label_map, codes=codes, grid=grid)


def _with_labels(scene: Scene, label_map: LabelMap, table: Legend | None) -> Scene:
    label_map = _with_table(label_map, table)
    legend, notes = legend_of(label_map, table)
    count = int(np.count_nonzero(label_map.codes))
    total = f"{count:,} labelled pixels of {len(legend)} classes."
    labelled = scene.with_labels(label_map.codes, legend)
    return labelled.noting(*label_map.notes, total, *notes).replace(
        losses=(*scene.losses, *label_map.losses), shapes=label_map.shapes
    )


def _with_table(label_map: LabelMap, table: Legend | None) -> LabelMap:
    """Give the classes of labels the codes of a class table, if there is one."""
    if table is None:
        return label_map
    if label_map.zero is not None and table.zero is not None:
        name, color = table.zero
        label_map = label_map.naming_zero(name)
        if label_map.zero is not None:
            code = label_map.zero if label_map.zero not in table else max(table.codes) + 1
            colors = {entry.code: entry.color for entry in table}
            colors |= {code: color} if color else {}
            names = {entry.code: entry.name for entry in table} | {code: name}
            table = Legend.of(names, class_colors(names, colors))
    return match_classes(label_map, table, "the class table", renames=True)


def open_labels(
    path: PathLike,
    grid: Grid,
    *,
    variable: str | None = None,
    field: str | None = None,
    layer: str | None = None,
    legend: Legend | PathLike | None = None,
) -> tuple[Codes, Legend]:
    """Open a label map or a mask alone, for an image of this grid.

    Parameters
    ----------
    path : path
        A label map in any format :func:`open_scene` reads, or a vector file.
    grid : Grid
        Grid of the image: ``scene.grid``.
    variable, field, layer, legend
        As ``label_variable``, ``label_field``, ``label_layer`` and ``legend`` of
        :func:`open_scene`.

    Returns
    -------
    labels : array of unsigned int, shape (y, x)
    legend : Legend

    Raises
    ------
    LabelError
        If they cannot be read or do not fit the grid.
    """
    table = read_legend(legend)
    label_map = read_label_map(_label_file(path), grid, variable, field, layer)
    label_map = _with_table(label_map, table)
    return label_map.codes, legend_of(label_map, table)[0]


def open_mask(
    path: PathLike,
    scene: Scene,
    variable: str | None = None,
    field: str | None = None,
    layer: str | None = None,
) -> tuple[Codes, tuple[str, ...]]:
    """Open a mask: the pixels that a label map or a vector file marks; 0 marks none.

    Parameters
    ----------
    path : path
    scene : Scene
    variable, field, layer
        As of :func:`open_labels`.

    Returns
    -------
    mask : array of unsigned int, shape (y, x)
        Nonzero where the mask marks a pixel.
    notes : tuple of str
        How many pixels have another class in the mask than in the labels; classes are
        matched by name, or else by code.

    Raises
    ------
    LabelError
        If it cannot be read or does not fit the grid.
    """
    file = _label_file(path)
    mask = read_label_map(file, scene.grid, variable, field, layer)
    if mask.zero is not None:
        codes = np.where(mask.codes == mask.zero, 0, mask.codes)
        mask = replace(mask, codes=codes.astype(mask.codes.dtype), zero=None)
    if scene.labels is None or len(np.unique(mask.codes[mask.codes > 0])) < 2:
        return mask.codes, ()
    try:
        matched = match_classes(mask, scene.legend, "the labels")
    except LabelError:
        return mask.codes, ()
    both = (matched.codes > 0) & (scene.labels > 0)
    differing = int(np.count_nonzero(matched.codes[both] != scene.labels[both]))
    if not differing:
        return mask.codes, ()
    return mask.codes, (
        f"{differing:,} of the {int(both.sum()):,} labelled pixels that {file.name} marks have "
        "another class there, by name or else by code; that of the labels counts.",
    )


def _no_valid_pixel(scene: Scene) -> str:
    """Explain why no pixel is valid, naming the bands that mask all others."""
    # Zero is a value here: at most it masks pixels that are zero in all bands.
    bands = [scene.cube.isel(band=[at]) for at in range(scene.n_bands)]
    rules = [replace(NodataRule.of(band), zero=False) for band in bands]
    filled = np.zeros(scene.n_bands, dtype=bool)
    for rows in scene.strips():
        values = scene.read(rows, slice(None))[:, None]
        filled |= [rule.valid(band).any() for rule, band in zip(rules, values, strict=True)]
    empty = scene.bands[~filled]
    if 0 < len(empty) < scene.n_bands:
        numbers = ",".join(map(str, empty))
        return (
            f"No pixel of {scene.name} holds data in every band, because none does in band "
            f"{numbers}; leave these out with drop_bands: '{numbers}' (--drop-bands {numbers})."
        )
    return (
        f"No pixel of {scene.name} holds data: all are masked, NaN or no data "
        f"({scene.nodata_rule or 'no value is declared'}); give another image, or state what "
        "is no data with nodata: none (--nodata none) and values."
    )


def label_losses(scene: Scene) -> tuple[str, ...]:
    """List the labelled pixels without data, and the classes lost with them.

    Returns
    -------
    tuple of str
        One sentence each; empty if all labelled pixels hold data.
    """
    if scene.labels is None:
        return ()
    codes, counts = np.unique(scene.labels[~scene.valid], return_counts=True)
    lost = {int(c): int(n) for c, n in zip(codes, counts, strict=True) if c > 0}
    if not lost:
        return ()
    number, labelled = sum(lost.values()), int(np.count_nonzero(scene.labels))
    names = {code: scene.legend[code].name for code in lost}
    shown = shortlist(f"{count:,} of {names[code]}" for code, count in lost.items())
    verb = "holds" if number == 1 else "hold"
    losses = [
        f"{number:,} of the {labelled:,} labelled pixels {verb} no data: left out ({shown})."
    ]
    if scene.shapes is not None:
        drawn, usable = (
            len(np.unique(scene.shapes[labels > 0]))
            for labels in (scene.labels, scene.usable_labels)
        )
        if usable < drawn:
            losses.append(
                f"{drawn - usable:,} of {counted(drawn, 'shape')} wholly without data."
            )
    remaining = set(np.unique(scene.usable_labels).tolist())
    gone = [names[code] for code in lost if code not in remaining]
    if gone:
        losses.append(
            f"Classes lost, because none of their pixels holds data: {shortlist(gone)}."
        )
    return tuple(losses)


def check_usable(scene: Scene) -> None:
    """Refuse a scene that nothing can be learnt from.

    Raises
    ------
    SceneError
        If no pixel holds data.
    LabelError
        If no labelled pixel holds data, or all are of one class.
    """
    if not scene.valid.any():
        raise SceneError(_no_valid_pixel(scene))
    scene.check_range()
    codes = np.unique(scene.usable_labels)
    codes = codes[codes > 0]
    if len(codes) == 0:
        raise LabelError(f"No labelled pixel of {scene.name} holds data; give new labels.")
    if len(codes) == 1:
        raise LabelError(
            f"At least two classes are needed, found only class {int(codes[0])} in the "
            f"labels of {scene.name}; label pixels of another class as well."
        )
