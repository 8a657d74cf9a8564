"""Writing class maps and confidence maps as GeoTIFF with names and styles for a GIS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import LabelError
from hypercover.gis.agreement import CHECK_LEGEND, SplitParts, class_check
from hypercover.gis.style import palette_style, ramp_style
from hypercover.scene.grid import Grid, grid_of
from hypercover.scene.io.geotiff import class_raster_writer, geotiff_writer
from hypercover.scene.io.raster import open_dataset
from hypercover.scene.legend import LandClass, Legend
from hypercover.scene.metadata import Origin
from hypercover.types import Array, Codes

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
        return (
            f"{kind}; profile=cloud-optimized" if kind and _is_cog(path, dataset) else kind
        )


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
        return _is_cog(path, dataset)


def _is_cog(path: Path, dataset: Any) -> bool:
    if dataset.driver != "GTiff" or path.with_name(f"{path.name}.ovr").exists():
        return False
    levels = range(len(dataset.overviews(1)))
    if max(dataset.shape) > _UNTILED:
        striped = dataset.block_shapes[0][1] == dataset.width > _UNTILED
        if striped or not levels:
            return False

    def offsets(name: str) -> list[int]:
        tags = (
            dataset.get_tag_item(name, "TIFF", bidx=1, ovr=level)
            for level in (None, *levels)
        )
        return [int(tag) for tag in tags if tag is not None]

    directories, pixels = offsets("IFD_OFFSET"), offsets("BLOCK_OFFSET_0_0")
    if not directories or not pixels:
        return False
    return (
        directories == sorted(directories)
        and pixels == sorted(pixels, reverse=True)
        and max(directories) < min(pixels)
    )


_VIRIDIS = {
    0.0: "#440154",
    0.25: "#3b528b",
    0.5: "#21918c",
    0.75: "#5ec962",
    1.0: "#fde725",
}

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
    unknown = (land for land in legend.covering(codes) if land.code not in legend)
    return Legend((*legend, *unknown))


def _origin_tags(origin: Origin) -> dict[str, str]:
    """Return the tags of a map whose image was not measured."""
    tags: dict[str, str] = {}
    for what, note in _ORIGIN_NOTES.items():
        if origin.get(what):
            tags |= {f"HYPERCOVER_{what.upper()}": "yes", "TIFFTAG_IMAGEDESCRIPTION": note}
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
        Path(path),
        legend,
        grid,
        tags=_origin_tags(origin),
        texts=style,
        cloud_optimised=True,
    ) as raster:
        yield raster


@contextmanager
def fraction_writer(
    path: str | Path, names: Sequence[str], grid: Grid, **origin: Unpack[Origin]
) -> Iterator[Any]:
    """Open a map of fractions from 0 to 1, one band per name, NaN = no data.

    Confidence, entropy and probabilities are such maps.  The QGIS style shows the
    first band.
    """
    with geotiff_writer(
        Path(path),
        grid,
        np.float32,
        nodata=float("nan"),
        band_names=names,
        tags=_origin_tags(origin),
        texts={Path(path).with_suffix(".qml"): ramp_style(_VIRIDIS)},
        cloud_optimised=True,
    ) as raster:
        yield raster


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
            f"A class map holds whole numbers, got {codes.dtype}; give class codes from 1, "
            "and 0 for no data."
        )
    grid = grid or Grid(*codes.shape)
    _check_shape(codes, grid)
    if codes.size and codes.min() < 0:
        raise LabelError(
            f"A class map cannot hold the code {codes.min()}; use codes from 1, and 0 "
            "for no data."
        )
    known = complete_legend(legend or Legend(()), codes)
    with class_map_writer(path, known, grid, **origin) as raster:
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


def write_class_check(
    path: str | Path,
    labels: Codes,
    predicted: Codes,
    split: SplitParts,
    grid: Grid,
    **origin: Unpack[Origin],
) -> None:
    """Write the class check: blue = right or training, red = wrong, grey = unlabelled."""
    check = class_check(labels, predicted, split)
    write_class_map(path, check, CHECK_LEGEND, grid, **origin)
