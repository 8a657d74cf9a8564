"""Writing maps that open right in any GIS: georeferenced, coloured, named."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.gis.agreement import CHECK_LEGEND, SplitParts, class_check
from hypercover.gis.style import palette_style, ramp_style
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_raster import class_raster_writer
from hypercover.scene.io.geotiff import geotiff_writer
from hypercover.scene.io.raster import open_dataset
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import Origin

__all__ = [
    "class_map_writer",
    "complete_legend",
    "confidence_writer",
    "fraction_writer",
    "is_cog",
    "media_type",
    "write_class_check",
    "write_class_map",
    "write_confidence",
]

_TILELESS = 512
"""Side in pixels up to which an image needs neither tiles nor overviews."""

_TYPES = {
    "GTiff": "image/tiff; application=geotiff",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "JP2OpenJPEG": "image/jp2",
}

_OPTIMISED = "; profile=cloud-optimized"


def media_type(path: Path) -> str | None:
    """Return the media type of a raster; None of one that has none, or cannot be read."""
    if not path.is_file():
        return None
    with open_dataset(path) as dataset:
        kind = _TYPES.get(dataset.driver)
        return f"{kind}{_OPTIMISED}" if kind and _optimised(path, dataset) else kind


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
        return _optimised(path, dataset)


def _optimised(path: Path, dataset: Any) -> bool:
    if dataset.driver != "GTiff" or path.with_name(f"{path.name}.ovr").exists():
        return False
    levels = range(len(dataset.overviews(1)))
    if max(dataset.shape) > _TILELESS:
        striped = dataset.block_shapes[0][1] == dataset.width > _TILELESS
        if striped or not levels:
            return False

    def offsets(name: str) -> list[int]:
        found = (
            dataset.get_tag_item(name, "TIFF", bidx=1, ovr=level)
            for level in (None, *levels)
        )
        return [int(one) for one in found if one is not None]

    directories, pixels = offsets("IFD_OFFSET"), offsets("BLOCK_OFFSET_0_0")
    if not directories or not pixels:
        return False
    return (
        directories == sorted(directories)
        and pixels == sorted(pixels, reverse=True)
        and max(directories) < min(pixels)
    )


_RAMP = {
    0.0: "#440154",
    0.25: "#3b528b",
    0.5: "#21918c",
    0.75: "#5ec962",
    1.0: "#fde725",
}
"""Viridis: even steps of lightness, also for colour-blind eyes and in grey."""

_NOT_MEASURED = {
    "simulated": "Made from a simulated scene, not a measured one",
    "stand_in": "Made from a stand-in for a measured scene, not from that scene",
}
"""What a map of an image that was not measured says of itself, wherever it is carried."""


def complete_legend(legend: Legend, codes: npt.ArrayLike) -> Legend:
    """Return the legend with a class for every code that it lacks.

    Examples
    --------
    >>> completed(Legend.of({2: "Corn"}), [0, 2, 5]).names
    ('Corn', 'Class 5')
    """
    unknown = (land for land in legend.covering(codes) if land.code not in legend)
    return Legend((*legend, *unknown))


def _tags(origin: Origin) -> dict[str, str]:
    """Return the tags of a map whose image was not measured."""
    tags: dict[str, str] = {}
    for what, words in _NOT_MEASURED.items():
        if origin.get(what):
            tags |= {f"HYPERCOVER_{what.upper()}": "yes", "TIFFTAG_IMAGEDESCRIPTION": words}
    return tags


@contextmanager
def class_map_writer(
    path: str | Path, legend: Legend, grid: Grid, **origin: Unpack[Origin]
) -> Iterator[Any]:
    """Open a class map to be written window by window, with names and colours.

    Yields a rasterio dataset whose ``write(codes, 1, window=...)`` takes
    codes; when the block ends without error the map, its ``.aux.xml`` and its
    ``.qml`` are in place.
    """
    style = {Path(path).with_suffix(".qml"): palette_style(legend)}
    with class_raster_writer(
        Path(path), legend, grid, tags=_tags(origin), texts=style, cloud_optimised=True
    ) as raster:
        yield raster


@contextmanager
def confidence_writer(
    path: str | Path, grid: Grid, **origin: Unpack[Origin]
) -> Iterator[Any]:
    """Open a confidence map to be written window by window: 0 to 1, NaN = no data."""
    with fraction_writer(path, ("confidence",), grid, **origin) as raster:
        yield raster


@contextmanager
def fraction_writer(
    path: str | Path, names: Sequence[str], grid: Grid, **origin: Unpack[Origin]
) -> Iterator[Any]:
    """Open a map of shares from 0 to 1, one band for each name, NaN = no data.

    Why it exists: confidence, entropy and the probabilities of all classes
    differ in nothing but their names.  The QGIS style shows the first band.
    """
    with geotiff_writer(
        Path(path),
        grid,
        np.float32,
        nodata=float("nan"),
        band_names=names,
        tags=_tags(origin),
        texts={Path(path).with_suffix(".qml"): ramp_style(_RAMP)},
        cloud_optimised=True,
    ) as raster:
        yield raster


def _check_size(values: npt.NDArray[Any], grid: Grid) -> None:
    if values.shape != grid.shape:
        raise LabelError(
            f"A map must have the size of its grid, {grid.rows} rows × {grid.cols} "
            f"columns, got {' × '.join(map(str, values.shape))}; give the grid of its scene."
        )


def write_class_map(
    path: str | Path,
    labels: npt.NDArray[np.integer],
    legend: Legend,
    grid: Grid,
    **origin: Unpack[Origin],
) -> None:
    """Write class codes as a GeoTIFF that shows names and colours in any GIS.

    uint8, or uint16 where a code is above 255; 0 is no data; tiled and
    compressed; names in ``<file>.aux.xml``, a QGIS style in ``<stem>.qml``.
    Codes that the legend lacks are added to it as "Class 7".

    Parameters
    ----------
    path : path
    labels : array of shape (y, x)
    legend : Legend
    grid : Grid
    **origin : bool
        ``simulated`` and ``stand_in``, as ``scene.origin`` gives them; the file says so.

    Raises
    ------
    LabelError
        If the labels do not fit the grid or hold a code no map can hold.
    OutputError
        If the file cannot be written.
    """
    _check_size(labels, grid)
    if labels.size and labels.min() < 0:
        raise LabelError(
            f"A class map cannot hold the code {labels.min()}; use codes from 1, and 0 "
            "for no data."
        )
    known = complete_legend(legend, labels)
    with class_map_writer(path, known, grid, **origin) as raster:
        raster.write(labels.astype(raster.dtypes[0]), 1)


def write_confidence(
    path: str | Path,
    confidence: npt.NDArray[np.floating],
    grid: Grid,
    **origin: Unpack[Origin],
) -> None:
    """Write how sure the classifier was of each pixel: float32, NaN = no data."""
    _check_size(confidence, grid)
    with confidence_writer(path, grid, **origin) as raster:
        raster.write(confidence.astype(np.float32), 1)


def write_class_check(
    path: str | Path,
    labels: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    split: SplitParts,
    grid: Grid,
    **origin: Unpack[Origin],
) -> None:
    """Write the class check: blue = right or training, red = wrong, grey = unlabelled."""
    check = class_check(labels, predicted, split)
    write_class_map(path, check, CHECK_LEGEND, grid, **origin)
