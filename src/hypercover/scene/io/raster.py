"""Images and label maps in GDAL's raster formats, read piece by piece."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from hypercover.errors import SceneError, counted
from hypercover.memory import check_cube_size, check_memory, check_unpacking
from hypercover.scene.encoding import header_from_attributes
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import class_tables, envi, gdal
from hypercover.scene.io.file_types import FileType, detect_type
from hypercover.scene.io.gdal import is_vrt, open_raster, vrt_allowed, vrt_sources
from hypercover.scene.labels import LabelMap
from hypercover.scene.metadata import GAINS, OFFSETS, clean_header, format_list, with_header
from hypercover.scene.nodata import (
    declared_nodata,
    fits_dtype,
    normalized_key,
    parse_numbers,
)
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Indices, LazyArray, bounding_slice
from hypercover.scene.wavelengths import CENTRES, bands_from_tags, only_wavelengths
from hypercover.types import Array, Mask

_MAX_BLOCKS = 200_000
_MAX_NAME = 200
_INTERNAL = {"", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "COLOR_PROFILE", "RPC", "TIFF"}
"""Namespaces of tags that do not describe bands."""
_NUMBERED = re.compile(r"band[ _]*\d+\b", re.IGNORECASE)
"""Descriptions that only number the bands, such as GDAL makes up."""
_ALWAYS_NODATA = {"SAGA", "GSAG", "GSBG", "GS7BG", "AAIGrid", "DTED", "USGSDEM", "BT"}
"""Formats that always declare a no-data value."""
WARP_NOTE = "The image is placed by"
"""First words of the note on an image that must be warped to a grid first."""


def check_raster(dataset: Any, path: Path) -> None:
    """Refuse a raster that is cut short, absurdly large, without bands or of complex numbers.

    GDAL reports missing pixels only when they are read, perhaps an hour later; sizes and
    offsets reveal them at once.

    Raises
    ------
    SceneError
        If the file is shorter than its header says, or its claims exceed the limits.
    """
    count, height, width = dataset.count, dataset.height, dataset.width
    if not count:
        raise SceneError(f"{path} holds no band; give the image itself.")
    for dtype in dataset.dtypes:
        if str(dtype).startswith("complex"):
            raise SceneError(
                f"The image must hold real numbers, found {dtype} in {path}; save its "
                "magnitude or its parts as separate bands."
            )
    items = [np.dtype(dtype).itemsize for dtype in dataset.dtypes]
    check_cube_size((count, height, width), f"The image {path}")
    high, wide = dataset.block_shapes[0]
    block_bytes = int(high) * int(wide) * items[0] * (count if _by_pixel(dataset) else 1)
    check_memory(block_bytes, f"One block of {path}")
    if dataset.driver != "VRT":
        # The images of a VRT are checked one by one.
        files = [Path(file) for file in dataset.files]
        stored = sum(file.stat().st_size for file in files if file.is_file())
        check_unpacking(width * height * sum(items), stored, f"The image {path}")
    check_length(dataset, path)


def check_length(dataset: Any, path: Path) -> None:
    """Refuse a raster that is cut short.

    Raises
    ------
    SceneError
        If the file is shorter than its header says.
    """
    if dataset.driver == "GTiff":
        needed = max(_block_ends(dataset), default=0)
    elif dataset.driver in {"ENVI", "LAN", "EHdr"}:
        needed = _raw_length(dataset, path)
    else:
        dataset.read(dataset.count, window=Window(0, dataset.height - 1, dataset.width, 1))
        return
    if (found := path.stat().st_size) < needed:
        raise SceneError(
            f"{path} is truncated: its header requires {needed:,} bytes and {found:,} "
            "are there; copy or download it again."
        )


def _by_pixel(dataset: Any) -> bool:
    return str(dataset.profile.get("interleave", "")).lower() == "pixel"


def _block_ends(dataset: Any) -> Iterator[int]:
    """Yield the ends of the blocks of a GeoTIFF, in bytes; empty blocks have none."""
    by_pixel = _by_pixel(dataset)
    high, wide = dataset.block_shapes[0]
    down, across = -(-dataset.height // high), -(-dataset.width // wide)
    bands = [1] if by_pixel else range(1, dataset.count + 1)
    if down * across * len(bands) > _MAX_BLOCKS:
        bands = [1 if by_pixel else dataset.count]
    for band, row, col in product(bands, range(down), range(across)):
        start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
        size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
        if start and size:
            yield int(start) + int(size)


def _raw_length(dataset: Any, path: Path) -> int:
    """Size that a file of uncompressed numbers must have, in bytes."""
    tags = dataset.tags(ns="ENVI")
    if tags.get("file_compression", "0").strip() not in {"", "0"}:
        return 0
    offset = tags.get("header_offset", "0").strip() or "0"
    if not offset.isdecimal():
        raise SceneError(f"The header offset {offset!r} of {path} is not a number; fix it.")
    header = 128 if dataset.driver == "LAN" else int(offset)
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    item = np.dtype(dataset.dtypes[0]).itemsize * 8 if bits is None else int(bits)
    values = int(dataset.width) * int(dataset.height) * int(dataset.count)
    return header + values * item // 8


@contextmanager
def open_dataset(path: Path) -> Iterator[Any]:
    """Open a raster with the allowed drivers, or explain why it cannot be opened.

    Where there is a header, the pixels are raw, whatever they begin with.

    Raises
    ------
    SceneError
    """
    file = path
    drivers: Sequence[str] = gdal.DRIVERS
    try:
        with ExitStack() as stack:
            if vrt_allowed() and is_vrt(path):
                drivers = ("VRT",)
            else:
                is_header = path.suffix.lower() == ".hdr"
                header = envi.read_header(path) if is_header else envi.find_header(path)
                file = envi.data_file(path) if is_header else path
                if file.stat().st_size == 0:
                    raise SceneError(f"{file} is empty; copy or download it again.")
                if header is not None and header.raw:
                    readable = envi.gdal_readable(header, file)
                    file, driver = stack.enter_context(readable)
                    drivers = (driver,)
            yield stack.enter_context(open_raster(file, drivers))
    except (*gdal.GDAL_ERRORS, OSError, UnicodeDecodeError) as error:
        if path.suffix.lower() in envi.RAW and not envi.headers_of(path):
            raise SceneError(
                f"There is no header {path.stem}.hdr next to {path}; put both into one folder."
            ) from error
        raise SceneError(
            f"{path} cannot be read as an image: it is damaged, cut short or of an unknown "
            "format; copy or download it again, or save it as GeoTIFF or ENVI."
        ) from error


def _pixels(path: Path) -> Path:
    """Return the file of the pixels, also where a header was given.

    The images of a VRT are checked first, because GDAL would open them with any driver.
    """
    if detect_type(path) is FileType.ENVI_HEADER:
        return envi.data_file(path)
    for part in vrt_sources(path) if is_vrt(path) else ():
        with open_dataset(part) as dataset:
            check_raster(dataset, part)
    return path


def raster_size(path: Path) -> tuple[int, int, int]:
    """Return bands, rows and columns of a raster."""
    _pixels(path)
    with open_dataset(path) as dataset:
        return int(dataset.count), int(dataset.height), int(dataset.width)


def dataset_grid(dataset: Any) -> Grid:
    """Return the grid of a dataset; a coordinate system without a transform is ignored."""
    rows, cols = dataset.height, dataset.width
    transform = a, b, c, d, e, f = tuple(dataset.transform)[:6]
    corners = {0.0, 0.5, -0.5, float(rows), rows - 0.5}
    if a == abs(e) == 1 and b == d == 0 and c in {0.0, -0.5} and f in corners:
        return Grid(rows, cols)
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return Grid(rows, cols, crs, transform)


def _all_tags(dataset: Any) -> dict[str, str]:
    return {**dataset.tags(), **dataset.tags(ns="ENVI")}


def _nodata_values(dataset: Any, numbers: Sequence[int]) -> list[float | None]:
    """Return the no-data value of each band; rasterio reads those of all bands at once."""
    values = list(dataset.nodatavals)
    if dataset.driver == "ENVI":
        # GDAL takes a blank value in the header for 0, and a list for its first character.
        tags = {key.lower(): str(text) for key, text in dataset.tags(ns="ENVI").items()}
        text = tags.get("data_ignore_value", "")
        listed = parse_numbers(text) if text.startswith("{") else []
        if len(listed) == len(values):
            values = list(listed)
        elif not text or text.startswith("{"):
            values = [None if value == 0 else value for value in values]
    pairs = [*zip(values, dataset.dtypes, strict=True)]
    return [
        float(value) if value is not None and fits_dtype(value, dtype) else None
        for value, dtype in (pairs[number - 1] for number in numbers)
    ]


def read_image(path: Path) -> Scene:
    """Open an image in any raster format; its pixels stay in the file.

    Raises
    ------
    SceneError
        If the file is damaged, cut short, or of a format that is not opened.
    """
    file = _pixels(path)
    with open_dataset(path) as dataset:
        check_raster(dataset, file)
        masks = find_masks(dataset, file)
        all_names = _band_names(dataset)
        names = tuple(all_names[number - 1] for number in masks.measured)
        tags = _all_tags(dataset)
        yes = {
            key.lower().replace(" ", "_")
            for key, value in tags.items()
            if str(value).lower() in {"yes", "1", "true"}
        }
        if path.suffix.lower() == ".hdr" and not envi.read_header(path).raw:
            tags |= envi.read_header(path).entries
        count = len(masks.measured)
        table = bands_from_tags(tags, _band_tags(dataset, masks.measured), count, names)
        cube = _cube(path, dataset, masks)
        if table.wavelengths is None or not only_wavelengths(names):
            cube = _named(cube, names)
        warp_note = _warp_note(file, dataset)
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    note = f"Image: {file.name}, {rows} rows × {cols} columns × {counted(count, 'band')}."
    return Scene(
        table.on(cube),
        name=path.stem,
        source=str(path),
        simulated="hypercover_simulated" in yes,
        stand_in="hypercover_stand_in" in yes,
        notes=(note, *masks.notes, *table.notes, *warp_note),
    )


def _band_tags(dataset: Any, numbers: Sequence[int]) -> list[dict[str, str]]:
    """Return the tags of each band in all namespaces.

    The band tags of an ENVI image are GDAL's copy of its header, with fewer digits, and are
    left out.
    """
    header_keys = map(normalized_key, dataset.tags(ns="ENVI"))
    if dataset.driver == "ENVI" and not set(CENTRES).isdisjoint(header_keys):
        return []
    band_tags = []
    for number in numbers:
        tags: dict[str, str] = {}
        for namespace in sorted(set(dataset.tag_namespaces(number)) - _INTERNAL):
            if not namespace.startswith("xml:"):
                tags |= dataset.tags(number, ns=namespace)
        band_tags.append(tags | dataset.tags(number))
    return band_tags


def _cube(path: Path, dataset: Any, masks: "Masks") -> xr.DataArray:
    numbers, dtypes = masks.measured, dataset.dtypes
    shape = (len(numbers), dataset.height, dataset.width)
    dtype = np.result_type(*{dtypes[number - 1] for number in numbers})
    lazy = LazyArray(shape, dtype, partial(read_window, path, numbers))
    cube = xr.DataArray(lazy.as_variable_data(), dims=("band", "y", "x"))
    units = next((unit for unit in _texts(dataset, "units") if unit), None)
    if units := units or dataset.tags(ns="ENVI").get("data_units"):
        cube.attrs["units"] = str(units)
    if masks:
        valid = LazyArray(shape[1:], np.bool_, partial(_read_masks, path, masks))
        cube = cube.assign_coords(has_data=(("y", "x"), valid.as_variable_data()))
    cube = with_header(cube, _header(dataset, numbers))
    if not masks.joint:
        cube = _with_nodata(cube, dataset, numbers)
    return with_grid(cube, dataset_grid(dataset))


def _warp_note(path: Path, dataset: Any) -> tuple[str, ...]:
    """Tell how to warp an image placed by points or polynomials, which are not used here."""
    points = dataset.gcps[0]
    if dataset_grid(dataset).placed or not (points or dataset.rpcs is not None):
        return ()
    what, options = "rational polynomials (RPC)", ["-rpc"]
    if points:
        what, options = counted(len(points), "ground control point"), ["-order", "1"]
    warped = str(path.with_name(f"{path.stem}-warped.tif"))
    command = shlex.join(["gdalwarp", *options, str(path), warped])
    return (f"{WARP_NOTE} {what}, not by a grid; warp it to one: {command}.",)


def _with_nodata(cube: xr.DataArray, dataset: Any, numbers: Sequence[int]) -> xr.DataArray:
    """Store the no-data value of all bands, or of each."""
    values = _nodata_values(dataset, numbers)
    if len({repr(value) for value in values}) > 1:
        by_band = [np.nan if value is None else value for value in values]
        return cube.assign_coords(nodata=("band", np.array(by_band)))
    if values[0] is None:
        # Some programs write it as a tag of the file only.
        values[0] = declared_nodata(_all_tags(dataset), cube.dtype).get("nodata")
    if values[0] is not None:
        cube.attrs["nodata"] = values[0]
    return cube


def _header(dataset: Any, numbers: Sequence[int]) -> dict[str, str]:
    """Return the image metadata of an ENVI header, or of a GeoTIFF made from such an image.

    Scale and offset are those of the tags of the bands, or else of the file.
    """
    whole = np.result_type(*dataset.dtypes).kind in "ui"
    tags: dict[str, Any] = dataset.tags(numbers[0])
    if header_from_attributes(tags, 1, whole=whole):
        # All bands are read only now: a file may claim very many.
        by_band = [dataset.tags(number) for number in numbers]
        shared = set(tags).intersection(*by_band)
        tags = {key: [own[key] for own in by_band] for key in shared}
    else:
        tags = {key: text for key, text in dataset.tags().items() if "scale" in key.lower()}
    header = header_from_attributes(tags, len(numbers), whole=whole)
    header |= dataset.tags(ns="ENVI")
    all_scales, all_offsets = dataset.scales, dataset.offsets
    scales = [all_scales[number - 1] for number in numbers]
    offsets = [all_offsets[number - 1] for number in numbers]
    if any(scale != 1 for scale in scales) or any(offsets):
        header |= {GAINS: format_list(scales), OFFSETS: format_list(offsets)}
    return clean_header(header)


def _band_names(dataset: Any) -> tuple[str | None, ...]:
    """Return the names of the bands, without the wavelengths that GDAL adds."""
    tags = dataset.tags(ns="ENVI")
    unit = tags.get("wavelength_units", "")
    unit = "" if unit.lower() == "unknown" else unit
    centres = tags.get("wavelength", "").strip("{} \n").split(",")
    names = _texts(dataset, "descriptions")
    if dataset.driver != "ENVI" or len(centres) != len(names):
        return names
    made_up = [f"{centre.strip()} {unit}".rstrip() for centre in centres]
    return tuple(
        "" if name == made else (name or "").removesuffix(f"({made})").rstrip()
        for name, made in zip(names, made_up, strict=True)
    )


def _named(cube: xr.DataArray, descriptions: tuple[str | None, ...]) -> xr.DataArray:
    """Name the bands of a cube, if the names are more than numbers."""
    names = [(name or "").strip()[:_MAX_NAME] for name in descriptions]
    # Attribute profiles are named "band 1", "band 1 area<50", which is more than a number.
    numbered = any(map(_NUMBERED.match, names)) and not any("<" in name for name in names)
    if numbered or not all(names):
        return cube
    return cube.assign_coords(band_name=("band", np.asarray(names, dtype=np.str_)))


def _texts(dataset: Any, attribute: str) -> tuple[str | None, ...]:
    """Return a text for each band; None for all if one is not in UTF-8."""
    try:
        return tuple(getattr(dataset, attribute))
    except UnicodeDecodeError:
        return (None,) * int(dataset.count)


def read_window(path: Path, numbers: Sequence[int], indices: Indices) -> Array:
    """Read a block by indices (bands, rows, cols).

    Band indices count in ``numbers``, bands of the file from 1.
    """
    bands, rows, cols = indices
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    with open_dataset(path) as dataset:
        # The bands of a VRT may differ in type: the result can hold all of them.
        dtypes = dataset.dtypes
        dtype = np.result_type(*(dtypes[number - 1] for number in numbers))
        chosen = [numbers[band] for band in bands]
        if len({dtypes[number - 1] for number in chosen}) == 1:
            block: Array = dataset.read(chosen, window=window)
        else:
            layers = [dataset.read(number, window=window) for number in chosen]
            block = np.stack([layer.astype(dtype) for layer in layers])
    block = block.astype(dtype, copy=False)
    if block.shape[1:] == (len(rows), len(cols)):
        return block
    return block[:, rows - down.start][:, :, cols - across.start]


@dataclass(frozen=True, eq=False)
class RasterBand:
    """One band of a raster file with its metadata."""

    values: Array
    """Values (y, x) in the type of the file."""
    grid: Grid
    """Shape and georeference."""
    nodata: float | None = None
    """No-data value."""
    colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """Red, green and blue by value, from a colour table."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the ENVI namespace, such as the class names of a classification."""


def read_band(path: Path, what: str = "label map") -> RasterBand:
    """Read a raster of one band with its colours and class names.

    Raises
    ------
    SceneError
        If it cannot be read or has more than one band.
    """
    file = _pixels(path)
    with open_dataset(path) as dataset:
        check_raster(dataset, file)
        masks = find_masks(dataset, file)
        if len(masks.measured) != 1:
            raise SceneError(
                f"The {what} must have one band, found {len(masks.measured)} in {path}; "
                "extract the right band."
            )
        number = masks.measured[0]
        values, (nodata,) = dataset.read(number), _nodata_values(dataset, (number,))
        if dataset.driver in _ALWAYS_NODATA and not (values == nodata).any():
            nodata = None
        try:
            palette = dataset.colormap(1)
        except ValueError:
            palette = {}
        colors = {int(code): tuple(color[:3]) for code, color in palette.items()}
        tags = dict(dataset.tags(ns="ENVI"))
        layer = RasterBand(values, dataset_grid(dataset), nodata, colors, tags)
    if not masks:
        return layer
    valid = _read_masks(file, masks, tuple(np.arange(size) for size in values.shape))
    blank = np.asarray(nodata or 0).astype(values.dtype)
    return replace(layer, values=np.where(valid, values, blank))


def read_raster_labels(path: Path) -> LabelMap:
    """Read a label map with class names and colours.

    Names come from ENVI, ERDAS, an ``.aux.xml`` or a style; colours from a style (``.qml``,
    ``.clr``) or the colour table, unless all are grey or some are repeated.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are not class codes.
    """
    band = read_band(path)
    data = envi.data_file(path) if detect_type(path) is FileType.ENVI_HEADER else path
    present = [int(code) for code in np.unique(band.values) if code in band.colors]
    palette = {code: band.colors[code] for code in present}
    grey = all(len(set(color)) == 1 for color in palette.values())
    if grey or len(set(palette.values())) < len(palette):
        palette = {}
    colors = {code: "#{:02x}{:02x}{:02x}".format(*rgb) for code, rgb in palette.items()}
    style_names, style_colors = class_tables.raster_style(data).by_code()
    listed = band.tags.get("class_names", "").strip().strip("{}").split(",")
    names = (
        style_names
        | class_tables.read_trailer_names(path)
        | {code: name.strip() for code, name in enumerate(listed) if name.strip()}
        | class_tables.read_category_names(data)
    )
    return LabelMap.of(
        band.values,
        path.name,
        nodata=band.nodata,
        names=names,
        colors=colors | style_colors,
        grid=band.grid,
        notes=(f"Labels: {path.name}.",),
    )


_SMALL, _WINDOW, _WINDOWS_ALONG = 2**18, 64, 5
"""Pixels of an image that is sampled whole; side and number of the windows of a larger one."""
_OPAQUE = 0.5
"""Share of the non-transparent pixels of an alpha band that are opaque, at least."""


@dataclass(frozen=True)
class Masks:
    """The measured bands of a raster, and the masks that tell where they hold no data."""

    measured: tuple[int, ...]
    """Numbers of the bands, from 1, without alpha bands."""
    alpha: tuple[int, ...] = ()
    """Numbers of the alpha bands: 0 is no data."""
    masked: tuple[int, ...] = ()
    """Numbers of the bands whose masks inside the file apply."""
    mask_file: Path | None = None
    """File of masks next to the image."""
    joint: bool = False
    """Whether a mask tells where all bands together hold their no-data values."""
    notes: tuple[str, ...] = ()
    """The masks that apply, one sentence each."""

    def __bool__(self) -> bool:
        """Tell whether there is any mask."""
        return bool(self.alpha or self.masked or self.mask_file)


def _read_masks(path: Path, masks: Masks, indices: Indices) -> Mask:
    """Read which pixels (row, col) are valid by masks and alpha bands."""
    rows, cols = indices
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    valid = np.ones((down.stop - down.start, across.stop - across.start), dtype=np.bool_)
    with open_dataset(path) as dataset:
        for number in masks.alpha:
            valid &= dataset.read(number, window=window) != 0
        for number in masks.masked:
            valid &= dataset.read_masks(number, window=window) != 0
    if masks.mask_file is not None:
        with open_dataset(masks.mask_file) as dataset:
            valid &= (dataset.read(window=window) != 0).all(axis=0)
    return np.asarray(valid[rows - down.start][:, cols - across.start])


def find_masks(dataset: Any, path: Path) -> Masks:
    """Find the alpha bands and masks of an open raster: in the file, or in a ``.msk`` file.

    GDAL takes the fourth of four bands of bytes for alpha even where it is near infrared, so
    a band that is called alpha must also look like it.
    """
    names = [(name or "").strip().lower() for name in _texts(dataset, "descriptions")]
    kinds, all_flags = dataset.colorinterp, dataset.mask_flag_enums
    called, alpha = [], []
    for number, (name, kind) in enumerate(zip(names, kinds, strict=True), 1):
        if kind == ColorInterp.alpha or name == "alpha":
            called.append(number)
            if name and kind == ColorInterp.alpha:
                is_alpha = name in {"alpha", "mask", "transparency"}
            else:
                is_alpha = _looks_like_alpha(dataset, number)
            alpha += [number] if is_alpha else []
    if len(alpha) == dataset.count:
        alpha = []
    measured = [number for number in range(1, dataset.count + 1) if number not in alpha]
    flags = {number: set(all_flags[number - 1]) for number in measured}
    shared = [
        number
        for number, own in flags.items()
        if MaskFlags.per_dataset in own and MaskFlags.alpha not in own
    ]
    # Only one of the bands that share a mask.
    masked = shared[:1] + [number for number, own in flags.items() if not own]
    kept = "is called alpha but varies like a measured band; it is kept as one."
    notes = [f"Band {number} {kept}" for number in called if number in measured]
    none = "is an alpha band: where it is 0 there is no data."
    notes += [f"Band {number} {none}" for number in alpha]
    candidates = [path.with_name(path.name + suffix) for suffix in (".msk", ".MSK")]
    mask_file = None if masked else next((f for f in candidates if f.is_file()), None)
    if masked:
        notes.append("The file holds a mask: where it is 0 there is no data.")
    elif mask_file is not None:
        notes.append(f"Mask: {mask_file.name}; where it is 0 there is no data.")
    joint = {MaskFlags.per_dataset, MaskFlags.nodata} <= flags[measured[0]]
    lists = tuple(measured), tuple(alpha), tuple(masked)
    return Masks(*lists, mask_file, joint, tuple(notes))


def _looks_like_alpha(dataset: Any, number: int) -> bool:
    """Tell whether a band holds mostly transparent and opaque."""
    rows, cols = dataset.shape
    high, wide = min(rows, _WINDOW), min(cols, _WINDOW)
    windows = [Window(0, 0, cols, rows)]
    if rows * cols > _SMALL:
        tops = np.linspace(0, rows - high, _WINDOWS_ALONG).astype(int).tolist()
        lefts = np.linspace(0, cols - wide, _WINDOWS_ALONG).astype(int).tolist()
        windows = [Window(left, top, wide, high) for top, left in product(tops, lefts)]
    samples = [dataset.read(number, window=window) for window in windows]
    values = np.concatenate([sample.ravel() for sample in samples])
    visible = values[values != 0]
    return not len(visible) or bool((visible == visible.max()).mean() >= _OPAQUE)
