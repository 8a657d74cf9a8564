"""Landsat and Sentinel-2: products with a file for each band."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.grid import with_grid
from hypercover.scene.io.raster import check_raster, dataset_grid, open_dataset, read_window
from hypercover.scene.io.safe_parsers import parse_xml, read_bounded
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Indices, LazyArray
from hypercover.types import Array


@dataclass(frozen=True)
class _BandFile:
    """One band in a file of its own."""

    path: Path
    """The file."""
    name: str
    """Name of the band, such as ``B04``."""
    wavelength: float
    """Centre in nm."""


def _stack_bands(files: Sequence[_BandFile]) -> xr.DataArray:
    """Return a lazy cube (band, y, x) of bands in files on one grid.

    Raises
    ------
    SceneError
        If a file has several bands, or the grids or types of the files differ.
    """
    layouts = []
    for file in files:
        with open_dataset(file.path) as dataset:
            check_raster(dataset, file.path)
            if dataset.count != 1:
                raise SceneError(
                    f"{file.path} must hold one band, found {dataset.count}; download it again."
                )
            layouts.append((dataset_grid(dataset), np.dtype(dataset.dtypes[0])))
        if layouts[-1] != layouts[0]:
            raise SceneError(
                f"The bands of a product must lie on one grid, but {file.path.name} differs "
                f"from {files[0].path.name}; download the product again."
            )
    grid, dtype = layouts[0]
    fetch = partial(_fetch, tuple(file.path for file in files))
    data = LazyArray((len(files), *grid.shape), dtype, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"), attrs={"nodata": 0.0})
    return with_grid(cube, grid).assign_coords(
        band=np.arange(1, len(files) + 1),
        wavelength=("band", np.array([file.wavelength for file in files])),
        band_name=("band", np.array([file.name for file in files])),
    )


def _fetch(files: tuple[Path, ...], indices: Indices) -> Array:
    bands, rows, cols = indices
    only = np.zeros(1, np.intp)
    return np.concatenate([read_window(files[band], (only, rows, cols)) for band in bands])


_LARGEST = 2**22
_LINE = re.compile(r'^\s*([A-Z0-9_]+)\s*=\s*"?([^"\r\n]*)"?\s*$', re.MULTILINE)
_OLI = {
    "1": 443.0,
    "2": 482.0,
    "3": 561.4,
    "4": 654.6,
    "5": 864.7,
    "6": 1608.9,
    "7": 2200.7,
}
_TM = {"1": 485.0, "2": 560.0, "3": 660.0, "4": 830.0, "5": 1650.0, "7": 2215.0}
_CENTRES = {"4": _TM, "5": _TM, "7": _TM, "8": _OLI, "9": _OLI}
"""Centres of the reflective 30 m bands in nm, by satellite (USGS)."""


def read_landsat(metadata: Path, variable: str | None = None) -> Scene:
    """Open the reflective 30 m bands of a Landsat image.

    Values are those of the files; the notes tell how to convert them to reflectance. The
    panchromatic band 8 of 15 m has a grid of its own: open its file for
    :func:`~hypercover.scene.pansharpen.fusion.pansharpen`.

    Raises
    ------
    SceneError
        If files are missing or damaged, or the satellite is unknown.
    """
    if variable is not None:
        raise SceneError("A Landsat image has one variable; leave --variable out.")
    values = _values(metadata)
    satellite = re.sub(r"\D", "", values.get("SPACECRAFT_ID", ""))
    if satellite not in _CENTRES:
        raise SceneError(
            f"{metadata} must be from Landsat 4, 5, 7, 8 or 9, found "
            f"{values.get('SPACECRAFT_ID', 'no satellite')!r}; open the bands one by one."
        )
    centres = _CENTRES[satellite]
    # The second key is that from before 2012.
    names = {
        band: values.get(f"FILE_NAME_BAND_{band}") or values.get(f"BAND{band}_FILE_NAME")
        for band in centres
    }
    files = [
        _BandFile(_band_path(metadata, name), f"B{band}", centres[band])
        for band, name in names.items()
        if name
    ]
    if not files:
        raise SceneError(f"{metadata} names no band of 30 m; download the product again.")
    listed = ", ".join(file.name for file in files)
    stem = re.sub(r"_MTL$", "", metadata.stem, flags=re.IGNORECASE)
    scales = [_scale(values, file.name.removeprefix("B")) for file in files]
    stated = [scale for scale in scales if scale is not None]
    sensor = f"{values.get('SPACECRAFT_ID', '')} {values.get('SENSOR_ID', '')}"
    day, hour = values.get("DATE_ACQUIRED"), values.get("SCENE_CENTER_TIME")
    time = f"{day}T{hour}" if day and hour else day
    gains, offsets = zip(*stated, strict=True) if len(stated) == len(scales) else ((), ())
    header = product_header(sensor, time, gains, offsets)
    return Scene(
        with_header(_stack_bands(files), header),
        name=stem,
        source=str(metadata),
        notes=(
            f"Landsat {satellite}: bands {listed}, centres by the table of the USGS.",
            *_landsat_scale_note(values, scales[0]),
        ),
    )


def _scale(values: dict[str, str], number: str) -> tuple[float, float] | None:
    """Return gain and offset of the reflectance in a band."""
    keys = (f"REFLECTANCE_MULT_BAND_{number}", f"REFLECTANCE_ADD_BAND_{number}")
    try:
        return float(values[keys[0]]), float(values[keys[1]])
    except (KeyError, ValueError):
        return None


def _landsat_scale_note(
    values: dict[str, str], scale: tuple[float, float] | None
) -> tuple[str, ...]:
    """Tell how to convert values to reflectance at the surface or at the top of atmosphere."""
    if scale is None:
        return ()
    formula = f"number × {scale[0]:g} + {scale[1]:g}"
    # Before the collections the level was the data type, and always the first.
    level = values.get("PROCESSING_LEVEL") or values.get("DATA_TYPE") or "L2"
    if level.startswith("L2"):
        return (f"Reflectance: {formula}.",)
    return (f"Top-of-atmosphere reflectance: ({formula}) / sine of the sun's elevation.",)


def _band_path(metadata: Path, name: str) -> Path:
    """Return a file of the product, refusing names that lead elsewhere."""
    if Path(name).name != name or name in {"", ".", ".."}:
        raise SceneError(
            f"{metadata} names the file {name[:60]!r}, which is not next to it and is never "
            "opened; download the product again."
        )
    path = find_ignoring_case(metadata.with_name(name))
    if path is None or not path.is_file():
        raise SceneError(f"There is no {name} next to {metadata}; put both in one folder.")
    return path


def _values(metadata: Path) -> dict[str, str]:
    """Return the values of the metadata by name, from XML, JSON or text.

    Several groups repeat a name; the first is that of the product.
    """
    suffix = metadata.suffix.lower()
    if suffix == ".xml":
        root = parse_xml(metadata)
        leaves = [element for element in root.iter() if not len(element)]
        return {leaf.tag: (leaf.text or "").strip() for leaf in reversed(leaves)}
    text = read_bounded(metadata, _LARGEST).decode("utf-8", "replace")
    if suffix != ".json":
        return dict(reversed(_LINE.findall(text)))
    try:
        groups = [*next(iter(json.loads(text).values())).values()]
        pairs = [pair for group in reversed(groups) for pair in group.items()]
    except (ValueError, AttributeError, StopIteration, RecursionError) as error:
        raise SceneError(f"{metadata} is damaged; download it again.") from error
    return {key: str(value) for key, value in pairs}


_OFFSET_TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
_RESOLUTIONS = ("R10m", "R20m", "R60m")
_BAND = re.compile(r".*_(B\d[\dA])(?:_\d\dm)?\.jp2", re.IGNORECASE)
_KNOWN = {
    "B01": (442.7, 60),
    "B02": (492.4, 10),
    "B03": (559.8, 10),
    "B04": (664.6, 10),
    "B05": (704.1, 20),
    "B06": (740.5, 20),
    "B07": (782.8, 20),
    "B08": (832.8, 10),
    "B8A": (864.7, 20),
    "B09": (945.1, 60),
    "B10": (1373.5, 60),
    "B11": (1613.7, 20),
    "B12": (2202.4, 20),
}
"""Centre in nm (of Sentinel-2A, where the metadata have none) and pixel size in m."""


def read_sentinel2(metadata: Path, variable: str | None = None) -> Scene:
    """Open the bands of one resolution of a Sentinel-2 image.

    Values are those of the files; the notes tell how to convert them to reflectance.

    Parameters
    ----------
    metadata : path
        ``MTD_MSIL2A.xml`` or ``MTD_MSIL1C.xml`` in the ``.SAFE`` folder.
    variable : {"R10m", "R20m", "R60m"}, optional
        Resolution; 10 m (bands 2, 3, 4 and 8) by default.

    Raises
    ------
    SceneError
        If files are missing or damaged, or the resolution is unknown.
    """
    resolution = variable or _RESOLUTIONS[0]
    if resolution not in _RESOLUTIONS:
        raise SceneError(
            f"Sentinel-2 has three resolutions (R10m, R20m, R60m), got --variable {resolution}; "
            "choose one of these."
        )
    root = parse_xml(metadata)
    centres = _centres(root)
    files = [
        _BandFile(path, name, centres.get(name, _KNOWN[name][0]))
        for name, path in _bands(metadata.parent, resolution).items()
    ]
    files.sort(key=lambda file: file.wavelength)
    if not files:
        raise SceneError(
            f"There is no band of {resolution} in {metadata.parent}/GRANULE; download the "
            "whole .SAFE folder, with one granule."
        )
    names = [file.name for file in files]
    quantity = _text(root, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    notes = [f"Sentinel-2: {resolution}, bands {', '.join(names)}."]
    if quantity:
        offset = _text(root, *_OFFSET_TAGS) or "0"
        notes.append(f"Reflectance: (number + {offset}) / {quantity}.")
    return Scene(
        with_header(_stack_bands(files), _sentinel2_header(root, names, quantity)),
        name=metadata.parent.stem,
        source=str(metadata),
        notes=tuple(notes),
    )


def _bands(folder: Path, resolution: str) -> dict[str, Path]:
    """Find the files of the bands by name; paths in the XML are never followed."""
    parent = find_ignoring_case(folder / "GRANULE")
    inner = sorted(parent.iterdir()) if parent is not None and parent.is_dir() else []
    found = (find_ignoring_case(path / "IMG_DATA") for path in inner if path.is_dir())
    granules = [path for path in found if path is not None and path.is_dir()]
    if len(granules) > 1:
        raise SceneError(
            f"{folder} holds {len(granules)} granules; give a product with one (since 2016)."
        )
    metres = int(resolution[1:3])
    bands = {}
    for images in granules:
        inside = find_ignoring_case(images / resolution) or images / resolution
        for path in sorted((inside if inside.is_dir() else images).iterdir()):
            match = _BAND.fullmatch(path.name)
            name = match[1].upper() if match else ""
            # Level 1C has all resolutions in one folder.
            if name in _KNOWN and (inside.is_dir() or _KNOWN[name][1] == metres):
                bands[name] = path
    return bands


def _centres(root: Element) -> dict[str, float]:
    """Return the centre of each band in nm; the metadata write B1 for B01."""
    centres = {}
    for element in root.iter("Spectral_Information"):
        name, text = element.get("physicalBand", ""), element.findtext("Wavelength/CENTRAL")
        if re.fullmatch(r"B\d[\dA]?", name) and text:
            try:
                centres[name if len(name) == 3 else f"B0{name[1:]}"] = float(text)
            except ValueError:
                continue
    return {name: nm for name, nm in centres.items() if 300 < nm < 3000}


def _text(root: Element, *tags: str) -> str | None:
    """Return the text of the first element with one of these tags."""
    return next((element.text for tag in tags for element in root.iter(tag)), None)


def _sentinel2_header(
    root: Element, names: Sequence[str], quantity: str | None
) -> dict[str, str]:
    """Return sensor, time, and gain and offset of each band, which are numbered from 0."""
    gains: list[float] = []
    offsets: list[float] = []
    with suppress(ValueError, ZeroDivisionError):
        elements = [element for tag in _OFFSET_TAGS for element in root.iter(tag)]
        added = {element.get("band_id"): float(element.text or "") for element in elements}
        divisor, numbers = float(quantity or "0"), list(_KNOWN)
        offsets = [added.get(str(numbers.index(name)), 0.0) / divisor for name in names]
        gains = [1 / divisor] * len(names)
    sensor = f"{_text(root, 'SPACECRAFT_NAME') or 'Sentinel-2'} MSI"
    return product_header(sensor, _text(root, "PRODUCT_START_TIME"), gains, offsets)
