"""Class maps, class checks and confidence maps as GeoTIFF with names and styles for a GIS."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import LabelError
from hypercover.evaluation.predictions import Predictions
from hypercover.gis.style import fraction_style, palette_style
from hypercover.scene.grid import Grid, grid_of
from hypercover.scene.io.raster import open_dataset
from hypercover.scene.io.writing import class_raster_writer, geotiff_writer
from hypercover.scene.legend import LandClass, Legend
from hypercover.scene.metadata import Origin
from hypercover.splits.split import PARTS
from hypercover.types import Array, Bytes, Codes

RIGHT, WRONG, TRAINING, UNLABELLED = 1, 2, 3, 4

CHECK_LEGEND = Legend(
    (
        LandClass(RIGHT, "right", "#1f5fd0"),
        LandClass(WRONG, "wrong", "#d7261e"),
        LandClass(TRAINING, "training", "#7fb2f7"),
        LandClass(UNLABELLED, "unlabelled", "#a6a6a6"),
    )
)
"""Codes, names and colours of a class check; blue is right or training."""

TRAINING_PART = PARTS.index("train")
"""Value of a training pixel in the parts of a split."""
BOTH_RIGHT, ONLY_FIRST, ONLY_SECOND, BOTH_WRONG = 1, 2, 3, 4


def class_check(labels: Codes, predicted: Codes, parts: Bytes) -> Bytes:
    """Compare a class map with the labels, pixel by pixel.

    Every labelled pixel outside the training is compared with the map, including the
    guard, which does not count for the accuracy.  Without data in the map the check has
    none.

    Parameters
    ----------
    labels, predicted : arrays of shape (y, x)
    parts : array of shape (y, x)
        Parts of a split: 0 unused, 1 train, 2 validation, 3 test, 4 guard.

    Returns
    -------
    array of shape (y, x) with the codes of :data:`CHECK_LEGEND`

    Raises
    ------
    LabelError
        If the three do not have the same size.
    """
    shapes = {labels.shape, predicted.shape, parts.shape}
    if len(shapes) > 1:
        raise LabelError(
            "A class check needs labels, map and split of one size, got "
            f"{labels.shape}, {predicted.shape} and {parts.shape}; give those of one scene."
        )
    check = np.where(predicted == labels, RIGHT, WRONG)
    check = np.where(parts == TRAINING_PART, TRAINING, check)
    check = np.where(labels == 0, UNLABELLED, check)
    return np.where(predicted == 0, 0, check).astype(np.uint8)


def agreement_legend(first: str, second: str) -> Legend:
    """Return names and colour-blind safe colours for an agreement map."""
    return Legend(
        (
            LandClass(BOTH_RIGHT, "both right", "#0072b2"),
            LandClass(ONLY_FIRST, f"only {first} right", "#e69f00"),
            LandClass(ONLY_SECOND, f"only {second} right", "#56b4e9"),
            LandClass(BOTH_WRONG, "both wrong", "#3b3f45"),
        )
    )


def agreement_map(first: Predictions, second: Predictions) -> Bytes:
    """Map (y, x) which of two models is right at the test pixels; 0 elsewhere.

    Examples
    --------
    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of([[1, 1, 1, 0, 1]])
    >>> one = Predictions.of(test, [1, 1, 2, 2], shape=(1, 5))
    >>> other = Predictions.of(test, [1, 2, 1, 2], shape=(1, 5))
    >>> agreement_map(one, other).tolist()
    [[1, 2, 3, 0, 4]]
    """
    codes = np.zeros(first.shape, dtype=np.uint8)
    codes[first.rows, first.cols] = BOTH_WRONG - first.right * 2 - second.right
    return codes


_UNTILED = 512
"""Side in pixels up to which an image needs neither tiles nor overviews."""

_TYPES = {
    "GTiff": "image/tiff; application=geotiff",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "JP2OpenJPEG": "image/jp2",
}


def media_type(path: Path) -> str | None:
    """Return the media type of a raster; None if it has none or is not a file."""
    if not path.is_file():
        return None
    with open_dataset(path) as dataset:
        kind = _TYPES.get(dataset.driver)
    return f"{kind}; profile=cloud-optimized" if kind and is_cog(path) else kind


def is_cog(path: Path) -> bool:
    """Tell whether a raster is a valid cloud-optimised GeoTIFF.

    The rules are those of GDAL's ``validate_cloud_optimized_geotiff.py``: tiles, and
    overviews in the file itself, of an image larger than 512 pixels; directories in
    front, the full image before its overviews; then pixels, the smallest overview
    first.  Missing overviews, of which GDAL only warns, count as a defect here.

    Raises
    ------
    SceneError
        If it cannot be read.
    """
    with open_dataset(path) as dataset:
        if dataset.driver != "GTiff" or path.with_name(f"{path.name}.ovr").exists():
            return False
        levels = (None, *range(len(dataset.overviews(1))))
        striped = dataset.block_shapes[0][1] == dataset.width > _UNTILED
        if max(dataset.shape) > _UNTILED and (striped or len(levels) == 1):
            return False

        def offsets(name: str) -> list[int]:
            tags = (dataset.get_tag_item(name, "TIFF", 1, level) for level in levels)
            return [int(tag) for tag in tags if tag is not None]

        directories, pixels = offsets("IFD_OFFSET"), offsets("BLOCK_OFFSET_0_0")
    in_order = [*directories, *pixels[::-1]]
    return bool(directories and pixels) and in_order == sorted(in_order)


_ORIGIN_NOTES = {
    "simulated": "Made from a simulated scene, not a measured one",
    "stand_in": "Made from a stand-in for a measured scene, not from that scene",
}
"""Description of a map of an image that was not measured."""


def complete_legend(legend: Legend, codes: npt.ArrayLike) -> Legend:
    """Return the legend with a class for every code that it lacks.

    Examples
    --------
    >>> complete_legend(Legend.of({2: "Corn"}), [0, 2, 5]).names
    ('Corn', 'Class 5')
    """
    missing = (entry for entry in legend.covering(codes) if entry.code not in legend)
    return Legend((*legend, *missing))


def _origin_tags(origin: Origin) -> dict[str, str]:
    """Return the tags of a map whose image was not measured."""
    tags: dict[str, str] = {}
    for what, note in _ORIGIN_NOTES.items():
        if origin.get(what):
            tags |= {f"HYPERCOVER_{what.upper()}": "yes", "TIFFTAG_IMAGEDESCRIPTION": note}
    return tags


def class_map_writer(
    path: str | Path, legend: Legend, grid: Grid, **origin: Unpack[Origin]
) -> AbstractContextManager[Any]:
    """Open a class map to be written window by window, with names and colours.

    The context is a rasterio dataset whose ``write(codes, 1, window=...)`` takes
    codes; when the block ends without error the map, its ``.aux.xml`` and its
    ``.qml`` are in place.
    """
    tags, style = (
        _origin_tags(origin),
        {Path(path).with_suffix(".qml"): palette_style(legend)},
    )
    return class_raster_writer(
        Path(path), legend, grid, tags=tags, texts=style, cloud_optimised=True
    )


def fraction_writer(
    path: str | Path, names: Sequence[str], grid: Grid, **origin: Unpack[Origin]
) -> AbstractContextManager[Any]:
    """Open a map of fractions from 0 to 1, one band per name, NaN = no data.

    Confidence, entropy and probabilities are such maps.  The QGIS style shows the
    first band.
    """
    return geotiff_writer(
        Path(path),
        grid,
        np.float32,
        nodata=float("nan"),
        band_names=names,
        tags=_origin_tags(origin),
        texts={Path(path).with_suffix(".qml"): fraction_style()},
        cloud_optimised=True,
    )


def _check_shape(values: Array, grid: Grid) -> None:
    if values.shape != grid.shape:
        raise LabelError(
            f"A map must have the size of its grid, {grid.rows} rows × {grid.cols} "
            f"columns, got {' × '.join(map(str, values.shape))}; give the grid of its scene."
        )


def write_class_map(
    path: str | Path,
    labels: Codes | xr.DataArray | xr.Dataset,
    legend: Legend | None = None,
    grid: Grid | None = None,
    **origin: Unpack[Origin],
) -> None:
    """Write class codes as a GeoTIFF with class names and colours for any GIS.

    The file is cloud-optimised and compressed, uint8, or uint16 where a code is above
    255; 0 is no data.  Names are in ``<file>.aux.xml``, a QGIS style in ``<stem>.qml``.
    Codes missing from the legend are named "Class 7".

    Parameters
    ----------
    path : path
    labels : array of shape (y, x), or result of ``predict_scene``
        A Dataset with the variable ``labels``, or this variable, brings its own legend,
        grid and origin.
    legend : Legend, optional
    grid : Grid, optional
        Shape and georeference; by default the map has none.
    **origin : bool
        ``simulated`` and ``stand_in``, as ``scene.origin`` gives them; stored in the file.

    Raises
    ------
    LabelError
        If the labels do not fit the grid or hold a code that no map can hold.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> write_class_map("map.tif", predict_scene(svm, scene))  # doctest: +SKIP
    """
    if isinstance(labels, xr.Dataset):
        own: Origin = {
            "simulated": bool(labels.attrs.get("simulated")),
            "stand_in": bool(labels.attrs.get("stand_in")),
        }
        origin, labels = own | origin, labels["labels"]
    if isinstance(labels, xr.DataArray):
        labels = labels.transpose("y", "x")
        legend, grid = legend or _legend_of(labels), grid or grid_of(labels)
    codes = np.asarray(labels)
    if codes.dtype.kind not in "iu":
        raise LabelError(
            f"A class map holds whole numbers, got {codes.dtype}; give class codes from 1."
        )
    grid = grid or Grid(*codes.shape)
    _check_shape(codes, grid)
    if codes.size and codes.min() < 0:
        raise LabelError(
            f"A class map cannot hold the code {codes.min()}; use 1 and above, 0 for no data."
        )
    complete = complete_legend(legend or Legend(()), codes)
    with class_map_writer(path, complete, grid, **origin) as raster:
        raster.write(codes.astype(raster.dtypes[0]), 1)


def _legend_of(labels: xr.DataArray) -> Legend:
    """Read the legend from the attributes of predicted labels."""
    # A single value comes back from a netCDF file as a scalar.
    columns = [
        np.atleast_1d(labels.attrs.get(name, [])).tolist()
        for name in ("flag_values", "class_names", "class_colors")
    ]
    return Legend(
        tuple(
            LandClass(int(code), str(name), str(color))
            for code, name, color in zip(*columns, strict=False)
        )
    )


def write_confidence(
    path: str | Path,
    confidence: npt.NDArray[np.floating],
    grid: Grid,
    **origin: Unpack[Origin],
) -> None:
    """Write the confidence (y, x) of each pixel as float32; NaN = no data."""
    _check_shape(confidence, grid)
    with fraction_writer(path, ("confidence",), grid, **origin) as raster:
        raster.write(confidence.astype(np.float32), 1)
