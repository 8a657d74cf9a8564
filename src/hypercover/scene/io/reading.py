"""Opening scenes: one door for every format, with or without labels."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import LabelError, SceneError, counted
from hypercover.files import in_any_case
from hypercover.scene.datasets.catalog import with_known_bands, with_known_image
from hypercover.scene.grid import Grid
from hypercover.scene.io.array_files import ARRAY_READERS, ArrayFile, open_array_file
from hypercover.scene.io.class_tables import read_legend
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.products import emit, prisma
from hypercover.scene.labels import (
    LabelMap,
    legend_of,
    listed,
    match_classes,
    on_grid,
)
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.nodata import Given, NoData, fill_note, parse_nodata, with_nodata
from hypercover.scene.scene import Scene

__all__ = [
    "check_usable",
    "label_losses",
    "open_labels",
    "open_mask",
    "open_scene",
    "product_file",
    "product_reader",
    "read_label_map",
    "read_swath_product",
]

Reader = Callable[[Path, str | None], Scene]

_ENMAP = re.compile(r"(ENMAP.*)METADATA\.XML", re.IGNORECASE)

_ENMAP_IMAGE = re.compile(
    r"(ENMAP.*)SPECTRAL_IMAGE(?:_COG)?\.(?:tiff?|bsq|bil|bip|img|dat|hdr|jp2)",
    re.IGNORECASE,
)

_SENTINEL2 = re.compile(r"MTD_MSIL(1C|2A)\.xml", re.IGNORECASE)

_LANDSAT = re.compile(r"L.*\d.*_MTL\.(txt|xml|json)|MTL\.(txt|xml|json)", re.IGNORECASE)


def product_file(path: str | Path) -> Path:
    """Return the file that stands for a product, where a part or its folder was given.

    Raises
    ------
    SceneError
        As :func:`~hypercover.scene.io.file_types.local_file`.
    """
    found = Path(path)
    if found.suffix.lower() == ".safe" and found.is_dir():
        return _metadata_in(found)
    file = local_file(path)
    image = _ENMAP_IMAGE.fullmatch(file.name)
    beside = in_any_case(file.with_name(f"{image[1]}METADATA.XML")) if image else None
    return file if beside is None or not beside.is_file() else beside


def _metadata_in(folder: Path) -> Path:
    found = [one for one in sorted(folder.iterdir()) if _SENTINEL2.fullmatch(one.name)]
    if len(found) != 1:
        raise SceneError(
            f"{folder} must hold one MTD_MSIL1C.xml or MTD_MSIL2A.xml, found {len(found)}; "
            "download the product again."
        )
    return local_file(found[0])


def product_reader(file: Path) -> Reader | None:
    """Return what reads a product by its file of metadata; None for any other file."""
    if _ENMAP.fullmatch(file.name):
        from hypercover.scene.io.products.enmap import read_enmap

        return read_enmap
    if _SENTINEL2.fullmatch(file.name):
        from hypercover.scene.io.products.sentinel2 import read_sentinel2

        return read_sentinel2
    if _LANDSAT.fullmatch(file.name):
        from hypercover.scene.io.products.landsat import read_landsat

        return read_landsat
    return None


def read_swath_product(container: ArrayFile, variable: str | None) -> Scene | None:
    """Return the image of a PRISMA or EMIT file; None for any other, or a named variable."""
    if variable is not None:
        return None
    if prisma.is_prisma(container.members):
        return prisma.read_prisma(container.path, container.members)
    if emit.is_emit(container.members):
        return emit.read_emit(container.path, container.members)
    return None


PathLike = str | Path

_UNTURNED = "The image is placed by"
"""How the note begins on an image that has to be laid on a grid first."""

Labels = npt.NDArray[np.unsignedinteger]


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
    nodata: Given | None = None,
) -> Scene:
    """Open an image and, where given or found beside it, its labels.

    One call for every format: MATLAB (5 and 7.3), NumPy, HDF5, NetCDF, and with
    GDAL the raster formats such as GeoTIFF, ENVI and ERDAS.  What was chosen
    stands in ``notes`` of the scene.  Raster and HDF5 pixels stay in the file
    until they are read.

    Parameters
    ----------
    path : path or DataArray
        The image; for ENVI its header or its data; for EnMAP, Sentinel-2 and Landsat
        the file of metadata; or an array that :meth:`Scene.from_array` takes, such as
        ``rioxarray.open_rasterio`` returns.
    labels : path, False or None
        A label map in any of these formats or a vector file.  None takes the
        label map in the image's own file, if there is just one; False and ``"none"``
        take none.
    variable, label_variable : str, optional
        Names of the arrays to take, where a file holds several.
    axes : str, optional
        Order of the axes in the file, such as ``"row,col,band"``.
    label_field : str, optional
        Attribute of a vector file that holds the class.
    label_layer : str, optional
        Layer of a vector file, where it holds several.
    legend : Legend or path, optional
        Class names and colours, or a table (CSV, YAML, JSON) of code, name, color.  Where
        the labels name their classes, these take the codes of their names in the table.
    name : str, optional
        Name of the scene; the file's by default.
    nodata : number, text or sequence of them, optional
        Values that stand for no data beside those that the file declares; ``"all-zero"``
        for pixels that are zero in all bands; ``"none"`` to forget what the file declares.

    Raises
    ------
    SceneError
        If the image is damaged, ambiguous or of an unknown format, or cannot hold a value
        given as no data.
    LabelError
        If the labels are damaged, no class codes, or do not fit the image.
    """
    given = path if isinstance(path, xr.DataArray) else product_file(path)
    if str(labels).lower() == "none" and not (labels and Path(labels).exists()):
        labels = None if labels is None else False
    table = read_legend(legend)
    label_file = None if labels is None or labels is False else _label_file(labels)
    shapes = [] if label_file is None else _label_shapes(label_file, label_variable)
    if isinstance(given, xr.DataArray):
        scene, own = Scene.from_array(given), None
    else:
        scene, own = _image(
            given,
            variable,
            axes,
            shapes,
            look=labels is None,
            label_variable=label_variable,
        )
    scene = scene.replace(name=name or scene.name)
    if nodata is not None:
        scene = _with_stated(scene, nodata)
    scene = _noting_fill(scene)
    if label_file is not None:
        own = _labels_on(scene, label_file, label_variable, label_field, label_layer)
    if own is not None:
        scene = _labelled(scene, own, table)
    return with_known_image(with_known_bands(scene))


def _labels_on(
    scene: Scene,
    file: Path,
    variable: str | None,
    field: str | None,
    layer: str | None,
) -> LabelMap:
    """Read labels for a scene; where it lies on no grid, say how it could."""
    try:
        return read_label_map(file, scene.grid, variable, field, layer)
    except LabelError as error:
        how = [note for note in scene.notes if note.startswith(_UNTURNED)]
        if scene.grid.placed or not how:
            raise
        raise LabelError(f"{error} {how[0]}") from error


def _image(
    file: Path,
    variable: str | None,
    axes: str | None,
    shapes: list[tuple[int, int]],
    *,
    look: bool,
    label_variable: str | None,
) -> tuple[Scene, LabelMap | None]:
    """Open the image, and the labels in the same file where they are looked for."""
    read_product = product_reader(file)
    if read_product is not None:
        return read_product(file, variable), None
    kind = detect_type(file)
    if kind is FileType.VECTOR:
        raise SceneError(
            f"{file} is a vector file, not an image; give it with --labels and the "
            "image first."
        )
    if kind not in ARRAY_READERS:
        return _raster_image(file, variable, axes), None
    container = open_array_file(file, kind)
    swath = read_swath_product(container, variable)
    if swath is not None:
        return swath, None
    own = container.flat_shapes(label_variable if look else None)
    scene = container.image(variable, axes, shapes, own)
    if not look:
        return scene, None
    if label_variable is not None:
        return scene, container.labels(scene.grid, label_variable)
    found, notes = container.own_labels(scene.grid)
    return scene.noting(*notes), found


def _raster_image(file: Path, variable: str | None, axes: str | None) -> Scene:
    if variable is not None or axes is not None:
        option = "--variable" if variable is not None else "--axes"
        raise SceneError(
            f"{option} is for files of named arrays (MATLAB, NumPy, HDF5, NetCDF), but "
            f"{file} is a raster, whose axes are known; leave the option out."
        )
    from hypercover.scene.io.raster import read_image

    return read_image(file)


def _with_stated(scene: Scene, nodata: Given) -> Scene:
    """Return a scene in which what a user states is no data too, and say so."""
    cube = with_nodata(scene.cube, nodata, scene.name)
    stated = ", ".join(
        part if isinstance(part, str) else f"{part:.10g}" for part in parse_nodata(nodata)
    )
    rule = NoData.of(cube)
    return scene.replace(cube=cube).noting(
        f"No data as stated: {stated}; together with the file: {rule or 'no value'}."
    )


def _noting_fill(scene: Scene) -> Scene:
    """Say where an image holds values that look like no data that nothing declares."""
    try:
        note = fill_note(scene.cube)
    except SceneError:
        # Of pixels that cannot be read, whoever needs them tells.
        return scene
    return scene if note is None else scene.noting(note)


@contextmanager
def _blaming_labels() -> Iterator[None]:
    """Say of whatever is wrong with a file that it is wrong with the labels."""
    try:
        yield
    except SceneError as error:
        raise LabelError(str(error)) from error


def _label_file(path: PathLike) -> Path:
    with _blaming_labels():
        return local_file(path)


def _label_shapes(file: Path, variable: str | None) -> list[tuple[int, int]]:
    """Sizes that the labels of a file may have: evidence for the axes of the image."""
    with _blaming_labels():
        kind = detect_type(file)
        if kind is FileType.VECTOR:
            return []
        if kind in ARRAY_READERS:
            return open_array_file(file, kind).flat_shapes(variable)
        from hypercover.scene.io.raster import raster_shape

        return [raster_shape(file)]


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
    with _blaming_labels():
        kind = detect_type(file)
        if kind is FileType.VECTOR:
            from hypercover.scene.io.vector import read_vector_labels

            return read_vector_labels(file, grid, field, layer)
        if kind in ARRAY_READERS:
            return open_array_file(file, kind).labels(grid, variable)
        return _raster_labels(file, grid)


def _raster_labels(file: Path, grid: Grid) -> LabelMap:
    from hypercover.scene.io.raster import read_raster_labels

    found = read_raster_labels(file)
    return replace(found, codes=on_grid(found.codes, found.grid, grid, file), grid=grid)


def _labelled(scene: Scene, found: LabelMap, table: Legend | None) -> Scene:
    found = _with_table(found, table)
    legend, notes = legend_of(found, table)
    count = int(np.count_nonzero(found.codes))
    total = f"{count:,} labelled pixels of {len(legend)} classes."
    named = scene.with_labels(found.codes, legend).noting(*found.notes, total, *notes)
    return named.replace(losses=(*scene.losses, *found.losses), shapes=found.shapes)


def _with_table(found: LabelMap, table: Legend | None) -> LabelMap:
    """Give the classes of labels the codes of a class table, if there is one."""
    if table is None:
        return found
    if found.zero is not None and table.zero is not None:
        name, color = table.zero
        found = found.naming_zero(name)
        if found.zero is not None:
            code = found.zero if found.zero not in table else max(table.codes) + 1
            settled = {land.code: land.color for land in table} | (
                {code: color} if color else {}
            )
            names = {land.code: land.name for land in table} | {code: name}
            table = Legend.of(names, class_colors(names, settled))
    return match_classes(found, table, "the class table", renames=True)


def open_labels(
    path: PathLike,
    grid: Grid,
    *,
    variable: str | None = None,
    field: str | None = None,
    layer: str | None = None,
    legend: Legend | PathLike | None = None,
) -> tuple[Labels, Legend]:
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
    found = _with_table(
        read_label_map(_label_file(path), grid, variable, field, layer), table
    )
    known, _ = legend_of(found, table)
    return found.codes, known


def open_mask(
    path: PathLike,
    scene: Scene,
    variable: str | None = None,
    field: str | None = None,
    layer: str | None = None,
) -> tuple[Labels, tuple[str, ...]]:
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
        How many pixels have another class in the mask than in the labels, which are
        matched by name, or else by code; empty where none has.

    Raises
    ------
    LabelError
        If it cannot be read or does not fit the grid.
    """
    file = _label_file(path)
    found = read_label_map(file, scene.grid, variable, field, layer)
    if found.zero is not None:
        codes = np.where(found.codes == found.zero, 0, found.codes)
        found = replace(found, codes=codes.astype(found.codes.dtype), zero=None)
    classes = len(np.unique(found.codes[found.codes > 0]))
    if scene.labels is None or classes < 2:
        return found.codes, ()
    try:
        matched = match_classes(found, scene.legend, "the labels")
    except LabelError:
        return found.codes, ()
    both = (matched.codes > 0) & (scene.labels > 0)
    other = int(np.count_nonzero(matched.codes[both] != scene.labels[both]))
    if not other:
        return found.codes, ()
    return found.codes, (
        f"{other:,} of the {int(both.sum()):,} labelled pixels that {file.name} marks have "
        "another class there, by name or else by code; that of the labels counts.",
    )


def _without_data(scene: Scene) -> str:
    """Say why no pixel holds data, and name the bands that mask all others."""
    # Zero is a value here: at most it masks a pixel where it stands in all bands.
    rules = [replace(NoData.of(scene.cube.isel(band=[at])), zero=False)
             for at in range(scene.n_bands)]  # fmt: skip
    filled = np.zeros(scene.n_bands, dtype=bool)
    for rows in scene.strips():
        block = scene.read(rows, slice(None))
        filled |= [
            rule.valid(band[None]).any() for rule, band in zip(rules, block, strict=True)
        ]
    empty = scene.bands[~filled]
    if 0 < len(empty) < scene.n_bands:
        listed = ",".join(map(str, empty))
        return (
            f"No pixel of {scene.name} holds data in every band, because none does in band "
            f"{listed}; leave these out with drop_bands: '{listed}' (--drop-bands {listed})."
        )
    return (
        f"No pixel of {scene.name} holds data: all are masked, NaN or no data "
        f"({scene.no_data or 'no value is declared'}); give another image, or state what "
        "is no data with nodata: none (--nodata none) and values."
    )


def label_losses(scene: Scene) -> tuple[str, ...]:
    """Say which labelled pixels hold no data, and which classes are lost with them.

    Returns
    -------
    tuple of str
        One sentence each; none where all labelled pixels hold data.
    """
    if scene.labels is None:
        return ()
    bare, counts = np.unique(scene.labels[~scene.valid], return_counts=True)
    lost = {int(c): int(n) for c, n in zip(bare, counts, strict=True) if c > 0}
    if not lost:
        return ()
    number, labelled = sum(lost.values()), int(np.count_nonzero(scene.labels))
    names = {code: scene.legend[code].name for code in lost}
    shown = listed(f"{count:,} of {names[code]}" for code, count in lost.items())
    verb = "holds" if number == 1 else "hold"
    told = [
        f"{number:,} of the {labelled:,} labelled pixels {verb} no data: left out ({shown})."
    ]
    if scene.shapes is not None:
        drawn, held = (
            len(np.unique(scene.shapes[labels > 0]))
            for labels in (scene.labels, scene.usable_labels)
        )
        if held < drawn:
            told.append(
                f"{drawn - held:,} of {counted(drawn, 'shape')} wholly without data."
            )
    left = set(np.unique(scene.usable_labels).tolist())
    gone = [names[code] for code in lost if code not in left]
    if gone:
        told.append(
            f"Classes lost, because none of their pixels holds data: {listed(gone)}."
        )
    return tuple(told)


def check_usable(scene: Scene) -> None:
    """Refuse a scene that nothing can be learnt from.

    Raises
    ------
    SceneError
        If no pixel holds data.
    LabelError
        If there are no labels, none of them lies on data, or all are of one class.
    """
    if not scene.valid.any():
        raise SceneError(_without_data(scene))
    scene.check_range()
    codes = np.unique(scene.usable_labels)
    codes = codes[codes > 0]
    if len(codes) == 0:
        raise LabelError(
            f"No labelled pixel of {scene.name} lies on a pixel with data; give labels "
            "made for this image."
        )
    if len(codes) == 1:
        raise LabelError(
            f"At least two classes are needed, found only class {int(codes[0])} in the "
            f"labels of {scene.name}; label pixels of another class as well."
        )
