"""Products of satellites: EnMAP, EMIT, PRISMA, Landsat and Sentinel-2."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import nan
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr
from affine import Affine

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.memory import check_memory
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import raster
from hypercover.scene.io.gdal import crs_wkt
from hypercover.scene.io.hdf5 import read_attributes
from hypercover.scene.io.named_arrays import NamedArray, NamedArrays, band_table
from hypercover.scene.io.safe_parsers import parse_xml, read_bounded
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.nodata import normalized_key
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Fetch, Indices, LazyArray, bounding_slice
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Array, Floats, Ints

Attributes = Mapping[str, Any]
"""Attributes of a file by name, in the spelling of `normalized_key`."""


def _lazy_cube(shape: tuple[int, int, int], dtype: Any, fetch: Fetch, **attrs: Any) -> Any:
    data = LazyArray(shape, dtype, fetch).as_variable_data()
    return xr.DataArray(data, dims=("band", "y", "x"), attrs=attrs)


def _scene(source: Path, name: str, cube: xr.DataArray, *notes: str) -> Scene:
    return Scene(cube, name=name, source=str(source), notes=notes)


def _number(value: Any) -> float:
    """Convert to a number; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return nan


class _Scale(NamedTuple):
    """How to convert the values of a band to a physical quantity."""

    gain: float
    offset: float
    formula: str


def _by_band(scales: Sequence[_Scale | None]) -> tuple[list[float], list[float]]:
    """Return gains and offsets of all bands; empty unless all are stated."""
    stated = [scale for scale in scales if scale is not None]
    stated = stated if len(stated) == len(scales) else []
    return [scale.gain for scale in stated], [scale.offset for scale in stated]


def _beside(metadata: Path, *names: str) -> Path:
    """Return the first file of these names next to the metadata, whatever their case."""
    for name in names:
        path = find_ignoring_case(metadata.with_name(name))
        if path is not None and path.is_file():
            return path
    raise SceneError(
        f"There is no {names[0]} next to {metadata}; put both into one folder."
    )


def _refuse_variable(product: str, variable: str | None) -> None:
    if variable is not None:
        raise SceneError(f"{product} image has one variable; leave --variable out.")


def _attributes(path: Path) -> Attributes:
    return {normalized_key(name): value for name, value in read_attributes(path).items()}


def _numbers(attributes: Attributes, name: str) -> Floats:
    """Return a list of numbers; empty if it is missing or holds anything else."""
    try:
        values = np.asarray(attributes.get(normalized_key(name), ()), dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0)
    return values.reshape(-1)


_METADATA = "METADATA.XML"
_ENMAP_IMAGES = tuple(
    f"SPECTRAL_IMAGE{kind}.{suffix}"
    for suffix in ("TIF", "TIFF", "BSQ", "BIL", "BIP", "IMG", "DAT", "JP2")
    for kind in ("", "_COG")
)
"""Names of the image in DLR's archive and in its catalogue; their case does not matter."""


def read_enmap(metadata: Path, variable: str | None = None) -> Scene:
    """Open an EnMAP image of level 1C or 2A with wavelengths and widths of its bands.

    Values are those of the file; gains and offsets are in the header, those of the first
    band also in the notes. Bands without data are dropped.

    Raises
    ------
    SceneError
        If a file is missing or damaged, or the metadata describe other bands.
    """
    _refuse_variable("An EnMAP", variable)
    root = parse_xml(metadata)
    bands = root.findall("specific/bandCharacterisation/bandID")
    stem = metadata.name[: -len(_METADATA)]
    scene = raster.read_image(_beside(metadata, *(stem + name for name in _ENMAP_IMAGES)))
    if len(bands) != scene.n_bands:
        raise SceneError(
            f"{metadata} describes {len(bands)} bands, but the image next to it has "
            f"{scene.n_bands}; put the files of one product together."
        )
    names = ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    centres, widths, gains, offsets = (_column(bands, name, metadata) for name in names)
    if len(centres) != len(bands) or (centres <= 0).any():
        raise SceneError(f"{metadata} lacks wavelengths of bands; download it again.")
    cube = BandTable(centres, widths if len(widths) == len(bands) else None).on(scene.cube)
    time = root.findtext("base/temporalCoverage/startTime")
    header = product_header("EnMAP HSI", time, gains, offsets)
    notes = [f"EnMAP: wavelengths of {len(bands)} bands from {metadata.name}."]
    if len(gains):
        first = offsets[0] if len(offsets) else 0.0
        notes.append(f"Physical value of band 1: {gains[0]:g} × number + {first:g}.")
    scene = scene.replace(cube=with_header(cube, header), source=str(metadata))
    return _without_empty(scene.noting(*notes), root)


def _column(bands: list[Element], name: str, metadata: Path) -> Floats:
    """Return the numbers of all bands under one name; empty elements are skipped."""
    texts = [element.text or "" for band in bands for element in band.findall(name)]
    try:
        return np.array([float(text) for text in texts if text.strip()])
    except ValueError as error:
        raise SceneError(
            f"{metadata} holds text where a number for a band should be; download it again."
        ) from error


def _without_empty(scene: Scene, root: Element) -> Scene:
    """Drop the bands without data, such as those of water vapour in level 2A.

    A pixel is masked where one band holds no data: these bands would mask all pixels.
    """
    deviations = root.findall("product/bandStatistics/bandID/stdDeviation")
    if len(deviations) != scene.n_bands:
        return scene
    empty = [at for at, element in enumerate(deviations) if _number(element.text) == 0]
    if len(empty) in (0, scene.n_bands):
        return scene
    used = [at for at in range(scene.n_bands) if at not in empty]
    listed = ", ".join(str(at + 1) for at in empty)
    return scene.take_bands(used).noting(f"Bands without data were dropped: {listed}.")


_EMIT_IMAGES = ("reflectance", "radiance")
_TABLES = ("location/glt_x", "location/glt_y")
_BANDS = "sensor_band_parameters/"
_BLOCK = 128
"""Side of the squares that are read at once: the swath is slanted, so wide strips of the grid
would touch all of it."""


def is_emit(members: NamedArrays) -> bool:
    """Tell whether an HDF5 file is an EMIT image with its geometric lookup table."""
    names = {member.name.lower() for member in members}
    return set(_TABLES) <= names and any(name in names for name in _EMIT_IMAGES)


def read_emit(path: Path, members: NamedArrays) -> Scene:
    """Open an EMIT image on its grid of longitude and latitude.

    Each pixel of the grid takes the value of one pixel of the swath, or holds no data.

    Raises
    ------
    SceneError
        If the lookup table, wavelengths or georeference are missing or do not fit.
    """
    by_name = {member.name.lower(): member for member in members}
    image = next(by_name[name] for name in _EMIT_IMAGES if name in by_name)
    tables = [_table(by_name[name], path) for name in _TABLES]
    rows, cols = tables[0].shape
    high, wide, count = image.shape if len(image.shape) == 3 else (0, 0, 0)
    if tables[1].shape != (rows, cols) or not count:
        raise SceneError(f"The lookup table of {path} is damaged; download it again.")
    if tables[0].max(initial=0) > wide or tables[1].max(initial=0) > high:
        raise SceneError(f"A table of {path} points outside its image; download it again.")
    stated = image.attribute("_FillValue")
    fill = float(stated) if isinstance(stated, float | int) else -9999.0
    raw = image.read()
    fetch = partial(_fetch_ortho, raw, tables, fill)
    cube = _lazy_cube((count, rows, cols), raw.dtype, fetch, nodata=fill)
    lists = [member for name, member in by_name.items() if name.startswith(_BANDS)]
    table = band_table(lists, count)
    attrs = _attributes(path)
    cube = with_header(cube, product_header("EMIT", attrs.get("timecoveragestart")))
    note = f"EMIT: {image.name}, orthorectified by its lookup table; no data outside the swath."
    cube = table.on(with_grid(cube, _emit_grid(attrs, rows, cols, path)))
    return _scene(path, path.stem, cube, note, *table.notes)


def _table(member: NamedArray, path: Path) -> Ints:
    """Read one half of the lookup table (y, x): a column or row from 1, 0 = none."""
    if len(member.shape) != 2 or not member.is_numeric:
        raise SceneError(f"{member.name} of {path} is not a table; download it again.")
    check_memory(24 * int(np.prod(member.shape)), f"The lookup table of {path}")
    return np.asarray(member.values(), dtype=np.int64)


def _emit_grid(attributes: Attributes, rows: int, cols: int, path: Path) -> Grid:
    place = _numbers(attributes, "geotransform")
    wkt = crs_wkt(str(attributes.get("spatialref", "")))
    if len(place) != 6 or not wkt or not np.isfinite(place).all():
        raise SceneError(
            f"{path} lacks geotransform or spatial_ref; download it again, or read the swath "
            "as it is with --variable reflectance."
        )
    return Grid(rows, cols, wkt, Affine.from_gdal(*place.tolist())[:6])


def _fetch_ortho(raw: Any, tables: Sequence[Ints], fill: float, indices: Indices) -> Array:
    bands, rows, cols = indices
    ortho = np.full(tuple(map(len, indices)), fill, np.dtype(raw.dtype))
    variable = xr.Variable(("row", "col", "band"), raw.as_variable_data())
    for top in range(0, len(rows), _BLOCK):
        for left in range(0, len(cols), _BLOCK):
            block = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
            pixels = np.ix_(rows[block[0]], cols[block[1]])
            across, down = (table[pixels] for table in tables)
            inside = (across > 0) & (down > 0)
            if inside.any():
                x, y = across[inside] - 1, down[inside] - 1
                part = bounding_slice(y), bounding_slice(x)
                values = variable[part[0], part[1], bands].values
                picked = values[y - part[0].start, x - part[1].start]
                ortho[:, *block][:, inside] = picked.T
    return ortho


_PARTS = ("Vnir", "Swir")
_PIXEL = 30.0
"""Side of a pixel in m."""


def _cubes(members: NamedArrays) -> list[NamedArray]:
    """Return the VNIR and SWIR cubes of the hyperspectral swath (HCO), or an empty list."""
    images = {member.name.upper(): member for member in members if member.is_image}
    swath = {
        member.basename.upper(): member
        for name, member in images.items()
        if "/PRS_L" in name and "_HCO/" in name
    }
    cubes = [swath[name] for name in ("VNIR_CUBE", "SWIR_CUBE") if name in swath]
    return cubes if len(cubes) == 2 else []


def is_prisma(members: NamedArrays) -> bool:
    """Tell whether an HDF5 file is a hyperspectral PRISMA image."""
    return bool(_cubes(members))


def read_prisma(path: Path, members: NamedArrays) -> Scene:
    """Open a PRISMA image: VNIR and then SWIR, each by wavelength, without empty bands.

    Values are those of the file; the notes tell how to convert them to reflectance. Only
    level 2D gets a georeference.

    Raises
    ------
    SceneError
        If attributes are missing, or do not fit the cubes.
    """
    attributes, cubes = _attributes(path), _cubes(members)
    tables = [
        _prisma_bands(attributes, part, cube, path)
        for part, cube in zip(_PARTS, cubes, strict=True)
    ]
    layers = [(at, int(band)) for at, table in enumerate(tables) for band in table[0]]
    rows, _, cols = cubes[0].shape
    if cubes[1].shape[0] != rows or cubes[1].shape[2] != cols or not layers:
        raise SceneError(f"The two cubes of {path} differ in size; download it again.")
    fetch = partial(_fetch_bands, [cube.read() for cube in cubes], layers)
    # Zero is the smallest reflectance; outside the swath it is in every band.
    image = _lazy_cube((len(layers), rows, cols), np.uint16, fetch, zero_is_nodata=True)
    _, centres, widths = np.hstack(tables)
    scales = [_prisma_scale(attributes, part) for part in _PARTS]
    gains, offsets = _by_band([scales[at] for at, _ in layers])
    time = attributes.get("productstarttime")
    image = with_header(image, product_header("PRISMA", time, gains, offsets))
    image = with_grid(image, _prisma_grid(attributes, rows, cols))
    note = f"PRISMA: {len(layers)} bands, VNIR before SWIR; they overlap."
    formulas = (scale.formula for scale in scales if scale)
    return _scene(path, path.stem, BandTable(centres, widths).on(image), note, *formulas)


def _prisma_bands(
    attributes: Attributes, part: str, cube: NamedArray, path: Path
) -> Floats:
    """Return position, centre and width (3, band) of the bands with data, by wavelength."""
    centres = _numbers(attributes, f"List_Cw_{part}")
    widths = _numbers(attributes, f"List_Fwhm_{part}")
    if not len(centres) == len(widths) == cube.shape[1]:
        raise SceneError(
            f"{path} lacks List_Cw_{part} or List_Fwhm_{part} for the {cube.shape[1]} bands of "
            f"{part.upper()}; download it again."
        )
    flags = _numbers(attributes, f"List_Cw_{part}_Flags")
    used = (centres > 0) & (flags == 1 if len(flags) == len(centres) else True)
    order = np.argsort(centres, kind="stable")
    return np.stack([np.arange(len(order)), centres, widths])[:, order[used[order]]]


def _fetch_bands(
    cubes: Sequence[Any], layers: Sequence[tuple[int, int]], indices: Indices
) -> Array:
    """Read bands from their cubes (row, band, col)."""
    bands, rows, cols = indices
    block = np.empty(tuple(map(len, indices)), np.uint16)
    for at, cube in enumerate(cubes):
        targets = [target for target, band in enumerate(bands) if layers[band][0] == at]
        if targets:
            inside = np.array([layers[bands[target]][1] for target in targets])
            # Blocks are read by ascending indices.
            ascending, back = np.unique(inside, return_inverse=True)
            block[targets] = cube.reordered((1, 0, 2)).block((ascending, rows, cols))[back]
    return block


def _prisma_grid(attributes: Attributes, rows: int, cols: int) -> Grid:
    """Return the grid of level 2D; its corners are pixel centres or edges, as fits 30 m."""
    corners = ("ulcornereasting", "ulcornernorthing", "lrcornereasting", "lrcornernorthing")
    try:
        left, top, right, bottom = (float(attributes[f"product{name}"]) for name in corners)
        wkt = crs_wkt(int(attributes["epsgcode"]))
    except (KeyError, TypeError, ValueError):
        return Grid(rows, cols)
    if wkt is None:
        return Grid(rows, cols)
    width, height = right - left, top - bottom
    centres = all(
        abs(span / max(count - 1, 1) - _PIXEL) < abs(span / count - _PIXEL)
        for span, count in ((width, cols), (height, rows))
    )
    less = 1 if centres else 0
    wide, high = width / (cols - less or 1), height / (rows - less or 1)
    west, north = left - less * wide / 2, top + less * high / 2
    return Grid(rows, cols, wkt, (wide, 0.0, west, 0.0, -high, north))


def _prisma_scale(attributes: Attributes, part: str) -> _Scale | None:
    """Return the scale of a part: reflectance of level 2, radiance of level 1."""
    low, high = (attributes.get(f"l2scale{part.lower()}{end}") for end in ("min", "max"))
    factor, less = (
        attributes.get(f"{name}{part.lower()}") for name in ("scalefactor", "offset")
    )
    if isinstance(low, float | int) and isinstance(high, float | int):
        gain, offset = (high - low) / 65535, float(low)
        formula = f"{low:g} + number / 65535 × ({high:g} − {low:g})"
        return _Scale(gain, offset, f"Reflectance of {part.upper()}: {formula}.")
    if isinstance(factor, float | int) and isinstance(less, float | int) and factor:
        formula = f"Radiance of {part.upper()}: number / {factor:g} − {less:g}."
        return _Scale(1 / factor, -less, formula)
    return None


class _BandFile(NamedTuple):
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
        with raster.open_dataset(file.path) as dataset:
            raster.check_raster(dataset, file.path)
            if dataset.count != 1:
                raise SceneError(
                    f"{file.path} must hold one band, found {dataset.count}; download it again."
                )
            layouts.append((raster.dataset_grid(dataset), np.dtype(dataset.dtypes[0])))
        if layouts[-1] != layouts[0]:
            raise SceneError(
                f"The bands of a product must lie on one grid, but {file.path.name} differs "
                f"from {files[0].path.name}; download the product again."
            )
    grid, dtype = layouts[0]
    paths, names, centres = zip(*files, strict=True)

    def fetch(indices: Indices) -> Array:
        own = np.zeros(1, np.intp), *indices[1:]
        layers = [raster.read_window(paths[band], (1,), own) for band in indices[0]]
        return np.concatenate(layers)

    cube = with_grid(_lazy_cube((len(files), *grid.shape), dtype, fetch, nodata=0.0), grid)
    table = BandTable(np.array(centres))
    return table.on(cube).assign_coords(band_name=("band", np.array(names)))


_MAX_METADATA_BYTES = 2**22
_LINE = re.compile(r'^\s*([A-Z0-9_]+)\s*=\s*"?([^"\r\n]*)"?\s*$', re.MULTILINE)
_OLI = {"1": 443, "2": 482, "3": 561.4, "4": 654.6, "5": 864.7, "6": 1608.9, "7": 2200.7}
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
    _refuse_variable("A Landsat", variable)
    values = _values(metadata)
    satellite = re.sub(r"\D", "", values.get("SPACECRAFT_ID", ""))
    if satellite not in _CENTRES:
        raise SceneError(
            f"{metadata} must be from Landsat 4, 5, 7, 8 or 9, found "
            f"{values.get('SPACECRAFT_ID', 'no satellite')!r}; open the bands one by one."
        )
    files = [
        _BandFile(_band_path(metadata, name), f"B{band}", centre)
        for band, centre in _CENTRES[satellite].items()
        # The second key is that from before 2012.
        if (
            name := values.get(f"FILE_NAME_BAND_{band}")
            or values.get(f"BAND{band}_FILE_NAME")
        )
    ]
    if not files:
        raise SceneError(f"{metadata} names no band of 30 m; download the product again.")
    listed = ", ".join(file.name for file in files)
    stem = re.sub(r"_MTL$", "", metadata.stem, flags=re.IGNORECASE)
    scales = [_landsat_scale(values, file.name.removeprefix("B")) for file in files]
    sensor = f"{values.get('SPACECRAFT_ID', '')} {values.get('SENSOR_ID', '')}"
    day, hour = values.get("DATE_ACQUIRED"), values.get("SCENE_CENTER_TIME")
    time = f"{day}T{hour}" if day and hour else day
    header = product_header(sensor, time, *_by_band(scales))
    notes = [f"Landsat {satellite}: bands {listed}, centres by the table of the USGS."]
    notes += [scales[0].formula] if scales[0] else []
    return _scene(metadata, stem, with_header(_stack_bands(files), header), *notes)


def _landsat_scale(values: dict[str, str], number: str) -> _Scale | None:
    """Return the scale of a band: reflectance at the surface or at the top of atmosphere."""
    try:
        gain, offset = (
            float(values[f"REFLECTANCE_{name}_BAND_{number}"]) for name in ("MULT", "ADD")
        )
    except (KeyError, ValueError):
        return None
    formula = f"number × {gain:g} + {offset:g}"
    # Before the collections the level was the data type, and always the first.
    level = values.get("PROCESSING_LEVEL") or values.get("DATA_TYPE") or "L2"
    if level.startswith("L2"):
        return _Scale(gain, offset, f"Reflectance: {formula}.")
    note = f"Top-of-atmosphere reflectance: ({formula}) / sine of the sun's elevation."
    return _Scale(gain, offset, note)


def _band_path(metadata: Path, name: str) -> Path:
    """Return a file of the product, refusing names that lead elsewhere."""
    if Path(name).name != name or name in {"", ".", ".."}:
        raise SceneError(
            f"{metadata} names the file {name[:60]!r}, which is not next to it and is never "
            "opened; download the product again."
        )
    return _beside(metadata, name)


def _values(metadata: Path) -> dict[str, str]:
    """Return the values of the metadata by name, from XML, JSON or text.

    Several groups repeat a name; the first is that of the product.
    """
    suffix = metadata.suffix.lower()
    if suffix == ".xml":
        root = parse_xml(metadata)
        leaves = [element for element in root.iter() if not len(element)]
        return {leaf.tag: (leaf.text or "").strip() for leaf in reversed(leaves)}
    text = read_bounded(metadata, _MAX_METADATA_BYTES).decode("utf-8", "replace")
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
    cube = with_header(_stack_bands(files), _sentinel2_header(root, names, quantity))
    return _scene(metadata, metadata.parent.stem, cube, *notes)


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
        number = re.fullmatch(r"B(\d[\dA]?)", element.get("physicalBand", ""))
        nm = _number(element.findtext("Wavelength/CENTRAL"))
        if number and 300 < nm < 3000:
            centres[f"B{number[1]:0>2}"] = nm
    return centres


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
