"""EnMAP, EMIT and PRISMA: products of imaging spectrometers."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.gdal import crs_wkt
from hypercover.scene.io.hdf5 import read_attributes
from hypercover.scene.io.limits import check_memory
from hypercover.scene.io.named_arrays import NamedArray, NamedArrays, band_table
from hypercover.scene.io.raster import read_image
from hypercover.scene.io.safe_parsers import element_numbers, parse_xml
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.nodata import normalized_key
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Indices, LazyArray, bounding_slice
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Array, Floats, Ints

Attributes = Mapping[str, Any]
"""Attributes of a file by name, in the spelling of `normalized_key`."""


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


def _image_of(metadata: Path) -> Path:
    stem = metadata.name[: -len(_METADATA)]
    for name in _ENMAP_IMAGES:
        image = find_ignoring_case(metadata.with_name(stem + name))
        if image is not None and image.is_file():
            return image
    raise SceneError(
        f"There is no {stem}{_ENMAP_IMAGES[0]} next to {metadata}; put both into one folder."
    )


def read_enmap(metadata: Path, variable: str | None = None) -> Scene:
    """Open an EnMAP image of level 1C or 2A with wavelengths and widths of its bands.

    Values are those of the file; gains and offsets are in the header, those of the first
    band also in the notes. Bands without data are dropped.

    Raises
    ------
    SceneError
        If a file is missing or damaged, or the metadata describe other bands.
    """
    if variable is not None:
        raise SceneError("An EnMAP image has one variable; leave --variable out.")
    root = parse_xml(metadata)
    bands = root.findall("specific/bandCharacterisation/bandID")
    scene = read_image(_image_of(metadata))
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
    elements = [element for band in bands for element in band.findall(name)]
    filled = [element for element in elements if (element.text or "").strip()]
    return np.array(element_numbers(filled, metadata))


def _without_empty(scene: Scene, root: Element) -> Scene:
    """Drop the bands without data, such as those of water vapour in level 2A.

    A pixel is masked where one band holds no data: these bands would mask all pixels.
    """
    deviations = root.findall("product/bandStatistics/bandID/stdDeviation")
    if len(deviations) != scene.n_bands:
        return scene
    empty = [at for at, element in enumerate(deviations) if _is_zero(element.text)]
    if len(empty) in (0, scene.n_bands):
        return scene
    used = [at for at in range(scene.n_bands) if at not in empty]
    listed = ", ".join(str(at + 1) for at in empty)
    return scene.take_bands(used).noting(f"Bands without data were dropped: {listed}.")


def _is_zero(text: str | None) -> bool:
    try:
        return float(text or "nan") == 0
    except ValueError:
        return False


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
    data = LazyArray((count, rows, cols), raw.dtype, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"), attrs={"nodata": fill})
    lists = [member for name, member in by_name.items() if name.startswith(_BANDS)]
    table = band_table(lists, count)
    attrs = _attributes(path)
    cube = with_header(cube, product_header("EMIT", attrs.get("timecoveragestart")))
    note = f"EMIT: {image.name}, orthorectified by its lookup table; no data outside the swath."
    return Scene(
        table.on(with_grid(cube, _emit_grid(attrs, rows, cols, path))),
        name=path.stem,
        source=str(path),
        notes=(note, *table.notes),
    )


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
    c, a, b, f, d, e = map(float, place)
    return Grid(rows, cols, wkt, (a, b, c, d, e, f))


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
    bands = [
        (at, *band)
        for at, (part, cube) in enumerate(zip(_PARTS, cubes, strict=True))
        for band in _bands(attributes, part, cube, path)
    ]
    layers = [(at, band) for at, band, _, _ in bands]
    rows, _, cols = cubes[0].shape
    if cubes[1].shape[0] != rows or cubes[1].shape[2] != cols or not layers:
        raise SceneError(f"The two cubes of {path} differ in size; download it again.")
    fetch = partial(_fetch_bands, [cube.read() for cube in cubes], layers)
    data = LazyArray((len(layers), rows, cols), np.uint16, fetch).as_variable_data()
    # Zero is the smallest reflectance; outside the swath it is in every band.
    image = xr.DataArray(data, dims=("band", "y", "x"), attrs={"zero_is_nodata": True})
    table = BandTable(np.array([b[2] for b in bands]), np.array([b[3] for b in bands]))
    scales = [_scale(attributes, part) for part in _PARTS]
    stated = [scale for at, _ in layers if (scale := scales[at]) is not None]
    both = stated if len(stated) == len(layers) else []
    gains, offsets = [scale.gain for scale in both], [scale.offset for scale in both]
    time = attributes.get("productstarttime")
    image = with_header(image, product_header("PRISMA", time, gains, offsets))
    return Scene(
        table.on(with_grid(image, _prisma_grid(attributes, rows, cols))),
        name=path.stem,
        source=str(path),
        notes=(
            f"PRISMA: {len(layers)} bands, VNIR before SWIR; they overlap.",
            *(f"{scale.formula}." for scale in scales if scale),
        ),
    )


def _bands(
    attributes: Attributes, part: str, cube: NamedArray, path: Path
) -> list[tuple[int, float, float]]:
    """Return position, centre and width of the bands with data, by wavelength."""
    centres = _numbers(attributes, f"List_Cw_{part}")
    widths = _numbers(attributes, f"List_Fwhm_{part}")
    if not len(centres) == len(widths) == cube.shape[1]:
        raise SceneError(
            f"{path} lacks List_Cw_{part} or List_Fwhm_{part} for the {cube.shape[1]} bands of "
            f"{part.upper()}; download it again."
        )
    flags = _numbers(attributes, f"List_Cw_{part}_Flags")
    used = (centres > 0) & (flags == 1 if len(flags) == len(centres) else True)
    order = [at for at in np.argsort(centres, kind="stable").tolist() if used[at]]
    return [(at, float(centres[at]), float(widths[at])) for at in order]


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


class _Scale(NamedTuple):
    """How to convert the values of a cube to a physical quantity."""

    gain: float
    offset: float
    formula: str


def _scale(attributes: Attributes, part: str) -> _Scale | None:
    """Return the scale of a part: reflectance of level 2, radiance of level 1."""
    low, high = (attributes.get(f"l2scale{part.lower()}{end}") for end in ("min", "max"))
    factor, less = (
        attributes.get(f"{name}{part.lower()}") for name in ("scalefactor", "offset")
    )
    if isinstance(low, float | int) and isinstance(high, float | int):
        gain, offset = (high - low) / 65535, float(low)
        formula = f"Reflectance of {part.upper()}: {low:g} + number / 65535 × ({high:g} − {low:g})"
        return _Scale(gain, offset, formula)
    if isinstance(factor, float | int) and isinstance(less, float | int) and factor:
        formula = f"Radiance of {part.upper()}: number / {factor:g} − {less:g}"
        return _Scale(1 / factor, -less, formula)
    return None
