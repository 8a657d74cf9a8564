"""Images and label maps in GDAL's raster formats, read piece by piece."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.windows import Window

from hypercover.errors import SceneError, counted
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import class_tables, pam
from hypercover.scene.io.band_masks import Masks, find_masks
from hypercover.scene.io.class_tables import raster_style
from hypercover.scene.io.envi import (
    RAW,
    data_file,
    find_header,
    gdal_readable,
    has_header,
    read_header,
)
from hypercover.scene.io.file_types import FileType, detect_type
from hypercover.scene.io.gdal import (
    DRIVERS,
    GDAL_ERRORS,
    is_vrt,
    open_raster,
    vrt_allowed,
    vrt_sources,
)
from hypercover.scene.io.limits import check_cube_size, check_memory, check_unpacking
from hypercover.scene.labels import LabelMap
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.metadata import (
    GAINS,
    OFFSETS,
    Origin,
    clean_header,
    format_list,
    with_header,
)
from hypercover.scene.nodata import (
    declared_nodata,
    fits_dtype,
    normalized_key,
    parse_numbers,
)
from hypercover.scene.scale_offset import header_from_attributes
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import CENTRES, bands_from_tags, only_wavelengths
from hypercover.types import Array

_MOST_BLOCKS = 200_000


def check_raster(dataset: Any, path: Path) -> None:
    """Refuse a raster that is cut short or absurdly large.

    GDAL reports missing pixels only when they are read, perhaps an hour later; sizes and
    offsets reveal them at once.

    Raises
    ------
    SceneError
        If the file is shorter than its header says, or its claims exceed the limits.
    """
    _check_types(dataset, path)
    check_cube_size((dataset.count, dataset.height, dataset.width), f"The image {path}")
    check_memory(_block_bytes(dataset), f"One block of {path}")
    if dataset.driver != "VRT":
        # The images of a VRT are checked one by one.
        items = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
        stored = sum(
            Path(file).stat().st_size for file in dataset.files if Path(file).is_file()
        )
        check_unpacking(dataset.width * dataset.height * items, stored, f"The image {path}")
    if dataset.driver == "GTiff":
        _check_length(path, max(_block_ends(dataset), default=0))
    elif dataset.driver in {"ENVI", "LAN", "EHdr"}:
        _check_length(path, _raw_length(dataset, path))
    else:
        dataset.read(dataset.count, window=Window(0, dataset.height - 1, dataset.width, 1))


def _check_types(dataset: Any, path: Path) -> None:
    """Refuse files without bands and complex numbers."""
    if not dataset.count:
        raise SceneError(f"{path} holds no band; give the image itself.")
    for dtype in dataset.dtypes:
        if str(dtype).startswith("complex"):
            raise SceneError(
                f"The image must hold real numbers, found {dtype} in {path}; save its "
                "magnitude or its parts as separate bands."
            )


def _check_length(path: Path, needed: int) -> None:
    found = path.stat().st_size
    if found < needed:
        raise SceneError(
            f"{path} is cut short: its header asks for {needed:,} bytes and {found:,} "
            "are there; copy or download it again."
        )


def _is_by_pixel(dataset: Any) -> bool:
    return str(dataset.profile.get("interleave", "")).lower() == "pixel"


def _block_bytes(dataset: Any) -> int:
    """Size of what GDAL unpacks to read one pixel."""
    high, wide = dataset.block_shapes[0]
    bands = dataset.count if _is_by_pixel(dataset) else 1
    item: int = np.dtype(dataset.dtypes[0]).itemsize
    return int(high) * int(wide) * int(bands) * item


def _block_ends(dataset: Any) -> Iterator[int]:
    """Yield the ends of the blocks of a GeoTIFF, in bytes; empty blocks have none."""
    pixel = _is_by_pixel(dataset)
    high, wide = dataset.block_shapes[0]
    down, across = -(-dataset.height // high), -(-dataset.width // wide)
    bands = [1] if pixel else range(1, dataset.count + 1)
    if down * across * len(bands) > _MOST_BLOCKS:
        bands = [1 if pixel else dataset.count]
    for band in bands:
        for row in range(down):
            for col in range(across):
                start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
                if start and size:
                    yield int(start) + int(size)


def _raw_length(dataset: Any, path: Path) -> int:
    """Size that a file of uncompressed numbers must have, in bytes."""
    envi = dataset.tags(ns="ENVI")
    if envi.get("file_compression", "0").strip() not in {"", "0"}:
        return 0
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    item = np.dtype(dataset.dtypes[0]).itemsize * 8 if bits is None else int(bits)
    header = 128 if dataset.driver == "LAN" else _offset(envi, path)
    values = int(dataset.width) * int(dataset.height) * int(dataset.count)
    return header + values * item // 8


def _offset(envi: Mapping[str, str], path: Path) -> int:
    """Return the header offset of an ENVI header, in bytes."""
    text = envi.get("header_offset", "0").strip() or "0"
    if not text.isdecimal():
        raise SceneError(
            f"The header offset of {path} must be a number of bytes, found {text!r}; "
            "correct it in the header."
        )
    return int(text)


_LONGEST_NAME = 200

_GDAL_NAMESPACES = {
    "", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "COLOR_PROFILE", "RPC", "TIFF",
}  # fmt: skip
"""Namespaces of tags that do not describe bands."""

_NUMBERED = re.compile(r"band[ _]*\d+\b", re.IGNORECASE)
"""Descriptions that only number the bands, such as GDAL makes up."""

_ALWAYS_NODATA = {"SAGA", "GSAG", "GSBG", "GS7BG", "AAIGrid", "DTED", "USGSDEM", "BT"}
"""Formats that always declare a no-data value."""


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


@contextmanager
def open_dataset(path: Path) -> Iterator[Any]:
    """Open a raster with the allowed drivers, or explain why it cannot be opened.

    Raises
    ------
    SceneError
    """
    try:
        with _readable(path) as (file, drivers), open_raster(file, drivers) as dataset:
            yield dataset
    except (*GDAL_ERRORS, OSError, UnicodeDecodeError) as error:
        raise SceneError(_unreadable(path)) from error


@contextmanager
def _readable(path: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Give the path under which GDAL can read a raster, and the drivers to try.

    Where there is a header, the pixels are raw, whatever they begin with.
    """
    if vrt_allowed() and is_vrt(path):
        yield path, ["VRT"]
        return
    is_header = path.suffix.lower() == ".hdr"
    header = read_header(path) if is_header else find_header(path)
    data = data_file(path) if is_header else path
    if data.stat().st_size == 0:
        raise SceneError(f"{data} is empty; copy or download it again.")
    if header is None or header.foreign:
        yield data, DRIVERS
        return
    with gdal_readable(header, data) as (file, driver):
        yield file, [driver]


def _unreadable(path: Path) -> str:
    """Explain why an image cannot be opened."""
    if path.suffix.lower() in RAW and not has_header(path):
        return (
            f"{path} may be an ENVI image, but there is no header {path.stem}.hdr next to "
            "it; put both into one folder."
        )
    return (
        f"{path} cannot be read as an image: it is damaged, cut short or of an unknown "
        "format; copy or download it again, or save it as GeoTIFF or ENVI."
    )


def _pixels(path: Path) -> Path:
    """Return the file of the pixels, also where a header was given.

    The images of a VRT are checked first, because GDAL would open them with any driver.
    """
    if detect_type(path) is FileType.ENVI_HEADER:
        return data_file(path)
    for part in vrt_sources(path) if is_vrt(path) else ():
        with open_dataset(part) as dataset:
            check_raster(dataset, part)
    return path


def raster_shape(path: Path) -> tuple[int, int]:
    """Return rows and columns of a raster."""
    return raster_size(path)[1:]


def raster_size(path: Path) -> tuple[int, int, int]:
    """Return bands, rows and columns of a raster."""
    _pixels(path)
    with open_dataset(path) as dataset:
        return int(dataset.count), int(dataset.height), int(dataset.width)


def dataset_grid(dataset: Any) -> Grid:
    """Return the grid of a dataset; a coordinate system without a transform is ignored."""
    transform = tuple(float(part) for part in tuple(dataset.transform)[:6])
    if _counts_pixels(transform, dataset.height):
        return Grid(dataset.height, dataset.width)
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return Grid(dataset.height, dataset.width, crs, transform)  # type: ignore[arg-type]


def _counts_pixels(transform: tuple[float, ...], rows: int) -> bool:
    """Tell whether a transform only counts rows and columns, as without a georeference."""
    a, b, c, d, e, f = transform
    corners = {0.0, 0.5, -0.5, float(rows), rows - 0.5}
    return a == abs(e) == 1 and b == d == 0 and c in {0.0, -0.5} and f in corners


def _nodata_values(dataset: Any, numbers: Sequence[int]) -> list[float | None]:
    """Return the no-data value of each band; rasterio reads those of all bands at once."""
    values, dtypes = list(dataset.nodatavals), dataset.dtypes
    if dataset.driver == "ENVI":
        # GDAL takes a blank value in the header for 0, and a list for its first character.
        envi = {key.lower(): str(text) for key, text in dataset.tags(ns="ENVI").items()}
        declared_text = envi.get("data_ignore_value", "")
        listed = parse_numbers(declared_text) if declared_text.startswith("{") else []
        if len(listed) == len(values):
            values = list(listed)
        elif not declared_text or declared_text.startswith("{"):
            values = [None if value == 0 else value for value in values]

    def of_band(value: float | None, dtype: str) -> float | None:
        return float(value) if value is not None and fits_dtype(value, dtype) else None

    return [of_band(values[number - 1], dtypes[number - 1]) for number in numbers]


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
        numbers = masks.measured
        count = len(numbers)
        all_names = _band_names(dataset)
        names = tuple(all_names[at - 1] for at in numbers) if all_names else ()
        tags = {**dataset.tags(), **dataset.tags(ns="ENVI")}
        if path.suffix.lower() == ".hdr" and read_header(path).foreign:
            tags |= read_header(path).entries
        table = bands_from_tags(tags, _band_tags(dataset, numbers), count, names)
        names = () if table.wavelengths is not None and only_wavelengths(names) else names
        cube = _named(_cube(path, dataset, masks), names)
        origin = _origin(dataset)
        warp_note = _warp_note(file, dataset)
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    note = f"Image: {file.name}, {rows} rows × {cols} columns × {counted(count, 'band')}."
    return Scene(
        table.on(cube),
        name=path.stem,
        source=str(path),
        **origin,
        notes=(note, *masks.notes, *table.notes, *warp_note),
    )


def _band_tags(dataset: Any, numbers: Sequence[int]) -> list[dict[str, str]]:
    """Return the tags of each band in all namespaces.

    The band tags of an ENVI image are GDAL's copy of its header, with fewer digits, and are
    left out.
    """
    if dataset.driver == "ENVI" and any(
        normalized_key(key) in CENTRES for key in dataset.tags(ns="ENVI")
    ):
        return []
    band_tags = []
    for number in numbers:
        namespaces = set(dataset.tag_namespaces(number)) - _GDAL_NAMESPACES
        tags: dict[str, str] = {}
        for namespace in sorted(one for one in namespaces if not one.startswith("xml:")):
            tags |= dataset.tags(number, ns=namespace)
        band_tags.append(tags | dataset.tags(number))
    return band_tags


def _origin(dataset: Any) -> Origin:
    """Read whether the file says that its values were not measured."""
    tags = dataset.tags() | dataset.tags(ns="ENVI")
    true = {
        key.upper().replace(" ", "_")
        for key, value in tags.items()
        if str(value).lower() in {"yes", "1", "true"}
    }
    return {
        "simulated": "HYPERCOVER_SIMULATED" in true,
        "stand_in": "HYPERCOVER_STAND_IN" in true,
    }


def _cube(path: Path, dataset: Any, masks: Masks) -> xr.DataArray:
    numbers = masks.measured
    shape = (len(numbers), dataset.height, dataset.width)
    dtypes = dataset.dtypes
    dtype = np.result_type(*{dtypes[number - 1] for number in numbers})
    lazy = LazyArray(shape, dtype, partial(read_window, path, numbers=numbers))
    cube = xr.DataArray(lazy.as_variable_data(), dims=("band", "y", "x"))
    units = next((unit for unit in _texts(dataset, "units") if unit), None)
    units = units or dataset.tags(ns="ENVI").get("data_units")
    if units:
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
    if dataset_grid(dataset).placed:
        return ()
    points = dataset.gcps[0]
    if points:
        what, options = counted(len(points), "ground control point"), ["-order", "1"]
    elif dataset.rpcs is not None:
        what, options = "rational polynomials (RPC)", ["-rpc"]
    else:
        return ()
    warped = str(path.with_name(f"{path.stem}-warped.tif"))
    command = shlex.join(["gdalwarp", *options, str(path), warped])
    return (f"The image is placed by {what}, not by a grid; warp it to one: {command}.",)


def _with_nodata(cube: xr.DataArray, dataset: Any, numbers: Sequence[int]) -> xr.DataArray:
    """Store the no-data value of all bands, or of each."""
    values = _nodata_values(dataset, numbers)
    if len({repr(value) for value in values}) > 1:
        by_band = [np.nan if value is None else value for value in values]
        return cube.assign_coords(nodata=("band", np.array(by_band)))
    if values[0] is None:
        # Some programs write it as a tag of the file only.
        tags = dataset.tags() | dataset.tags(ns="ENVI")
        values[0] = declared_nodata(tags, cube.dtype).get("nodata")
    if values[0] is not None:
        cube.attrs["nodata"] = values[0]
    return cube


def _read_masks(path: Path, masks: Masks, indices: Indices) -> Array:
    """Read which pixels are valid by masks and alpha bands."""
    rows, cols = indices
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    with open_dataset(path) as dataset:
        valid = masks.read(dataset, window)
    if masks.mask_file is not None:
        with open_dataset(masks.mask_file) as dataset:
            valid &= (dataset.read(window=window) != 0).all(axis=0)
    return np.asarray(valid[rows - down.start][:, cols - across.start])


def _header(dataset: Any, numbers: Sequence[int]) -> dict[str, str]:
    """Return the image metadata of an ENVI header, or of a GeoTIFF made from such an image."""
    header = _scaling_tags(dataset, numbers) | dataset.tags(ns="ENVI")
    all_scales, all_offsets = dataset.scales, dataset.offsets
    scales = [all_scales[number - 1] for number in numbers]
    offsets = [all_offsets[number - 1] for number in numbers]
    if any(one != 1 for one in scales) or any(offsets):
        header |= {GAINS: format_list(scales), OFFSETS: format_list(offsets)}
    return clean_header(header)


def _scaling_tags(dataset: Any, numbers: Sequence[int]) -> dict[str, str]:
    """Return scale and offset from the tags of the bands, or else of the file."""
    whole = np.result_type(*dataset.dtypes).kind in "ui"
    tags = dataset.tags(numbers[0])
    if header_from_attributes(tags, 1, whole=whole):
        # All bands are read only now: a file may claim very many.
        by_band = [dataset.tags(number) for number in numbers]
        shared = set(tags).intersection(*by_band)
        tags = {key: [own[key] for own in by_band] for key in shared}
    else:
        tags = {key: text for key, text in dataset.tags().items() if "scale" in key.lower()}
    return header_from_attributes(tags, len(numbers), whole=whole)


def _band_names(dataset: Any) -> tuple[str | None, ...]:
    """Return the names of the bands, without the wavelengths that GDAL adds."""
    envi = dataset.tags(ns="ENVI")
    unit = envi.get("wavelength_units", "")
    unit = "" if unit.lower() == "unknown" else unit
    centres = envi.get("wavelength", "").strip("{} \n").split(",")
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
    names = [(name or "").strip()[:_LONGEST_NAME] for name in descriptions]
    # Attribute profiles are named "band 1", "band 1 area<50", which is more than a number.
    numbered_bands = any(_NUMBERED.match(name) for name in names)
    if (
        not names
        or not all(names)
        or (numbered_bands and not any("<" in name for name in names))
    ):
        return cube
    return cube.assign_coords(band_name=("band", np.asarray(names, dtype=np.str_)))


def _texts(dataset: Any, attribute: str) -> tuple[str | None, ...]:
    """Return a text for each band; None for all if one is not in UTF-8."""
    try:
        return tuple(getattr(dataset, attribute))
    except UnicodeDecodeError:
        return (None,) * int(dataset.count)


def read_window(
    path: Path, indices: Indices, numbers: Sequence[int] | None = None
) -> Array:
    """Read a block by indices (bands, rows, cols).

    Band indices count in ``numbers``, bands of the file from 1; by default in all bands.
    """
    bands, rows, cols = indices
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    with open_dataset(path) as dataset:
        numbers = numbers or range(1, dataset.count + 1)
        # The bands of a VRT may differ in type: the result can hold all of them.
        dtypes = dataset.dtypes
        dtype = np.result_type(*(dtypes[number - 1] for number in numbers))
        chosen = [numbers[band] for band in bands]
        if len({dtypes[number - 1] for number in chosen}) == 1:
            block: Array = dataset.read(chosen, window=window)
        else:
            block = np.stack(
                [dataset.read(number, window=window).astype(dtype) for number in chosen]
            )
    block = block.astype(dtype, copy=False)
    if block.shape[1:] == (len(rows), len(cols)):
        return block
    return block[:, rows - down.start][:, :, cols - across.start]


def read_layer(path: Path, what: str = "label map") -> RasterBand:
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
        layer = RasterBand(
            values,
            dataset_grid(dataset),
            nodata,
            _colors(dataset),
            dict(dataset.tags(ns="ENVI")),
        )
    if not masks:
        return layer
    valid = _read_masks(file, masks, tuple(np.arange(size) for size in values.shape))
    blank = np.asarray(nodata or 0).astype(values.dtype)
    return replace(layer, values=np.where(valid, values, blank))


def _colors(dataset: Any) -> dict[int, tuple[int, int, int]]:
    """Return the colour table of the first band, or an empty one."""
    try:
        table = dataset.colormap(1)
    except ValueError:
        return {}
    return {int(code): tuple(color[:3]) for code, color in table.items()}


def _envi_names(tags: Mapping[str, str]) -> dict[int, str]:
    """Return the names of an ENVI classification by value, 0 included."""
    names = tags.get("class_names", "").strip().strip("{}").split(",")
    return {code: name.strip() for code, name in enumerate(names) if name.strip()}


def _label_colors(layer: RasterBand, codes: list[int]) -> dict[int, str]:
    """Return the colours of the codes that occur, unless they are grey or repeated."""
    colors = {code: layer.colors[code] for code in codes if code in layer.colors}
    grey = all(len(set(color)) == 1 for color in colors.values())
    if grey or len(set(colors.values())) < len(colors):
        return {}
    return {code: "#{:02x}{:02x}{:02x}".format(*color) for code, color in colors.items()}


def read_raster_labels(path: Path) -> LabelMap:
    """Read a label map with class names and colours.

    Names come from ENVI, ERDAS, an ``.aux.xml`` or a style; colours from a style (``.qml``,
    ``.clr``) or the colour table.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are not class codes.
    """
    layer = read_layer(path)
    data = data_file(path) if detect_type(path) is FileType.ENVI_HEADER else path
    present = [int(code) for code in np.unique(layer.values) if code in layer.colors]
    style_names, style_colors = raster_style(data).by_code()
    names = (
        style_names
        | class_tables.read_trailer_names(path)
        | _envi_names(layer.tags)
        | pam.read_category_names(data)
    )
    return LabelMap.of(
        layer.values,
        path.name,
        nodata=layer.nodata,
        names=names,
        colors=_label_colors(layer, present) | style_colors,
        grid=layer.grid,
        notes=(f"Labels: {path.name}.",),
    )
