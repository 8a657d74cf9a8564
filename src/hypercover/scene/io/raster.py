"""Images and label maps in the raster formats of GDAL, read piece by piece."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from hypercover.scene.metadata import GAINS, OFFSETS, Origin, kept, numbered, with_header
from hypercover.scene.nodata import declared, holdable, numbers_of, plain_key
from hypercover.scene.scale_offset import stated_by_attributes
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import CENTRES, bare_names, from_tags

__all__ = [
    "GDAL_ERRORS",
    "RasterBand",
    "check_raster",
    "dataset_grid",
    "open_dataset",
    "raster_shape",
    "raster_size",
    "read_image",
    "read_layer",
    "read_raster_labels",
    "read_window",
]

_MOST_BLOCKS = 200_000


def check_raster(dataset: Any, path: Path) -> None:
    """Refuse a raster that is shorter than its header says or absurdly large.

    GDAL reports such damage only when the missing pixels are read, perhaps an
    hour later; sizes and offsets tell it at once.

    Raises
    ------
    SceneError
        If the file is cut short.
    """
    _check_types(dataset, path)
    check_cube_size((dataset.count, dataset.height, dataset.width), f"The image {path}")
    check_memory(_block_bytes(dataset), f"One block of {path}")
    if dataset.driver != "VRT":
        # Of a VRT the images it names are looked at, each for itself.
        check_unpacking(_bytes(dataset), _stored(dataset), f"The image {path}")
    if dataset.driver == "GTiff":
        _check_length(path, max(_block_ends(dataset), default=0))
    elif dataset.driver in {"ENVI", "LAN", "EHdr"}:
        _check_length(path, _raw_length(dataset, path))
    else:
        dataset.read(dataset.count, window=Window(0, dataset.height - 1, dataset.width, 1))


def _check_types(dataset: Any, path: Path) -> None:
    """Refuse files without bands, and pairs of numbers, for some of which NumPy has no name."""
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


def _bytes(dataset: Any) -> int:
    """Bytes of all pixels."""
    items: int = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    return int(dataset.width) * int(dataset.height) * items


def _stored(dataset: Any) -> int:
    """Bytes of the files that the pixels lie in."""
    return sum(Path(file).stat().st_size for file in dataset.files if Path(file).is_file())


def _is_by_pixel(dataset: Any) -> bool:
    return str(dataset.profile.get("interleave", "")).lower() == "pixel"


def _block_bytes(dataset: Any) -> int:
    """Bytes GDAL unpacks to read one pixel."""
    high, wide = dataset.block_shapes[0]
    bands = dataset.count if _is_by_pixel(dataset) else 1
    item: int = np.dtype(dataset.dtypes[0]).itemsize
    return int(high) * int(wide) * int(bands) * item


def _block_ends(dataset: Any) -> Iterator[int]:
    """Last byte of the blocks of a GeoTIFF; blocks never written have none."""
    pixel = _is_by_pixel(dataset)
    high, wide = dataset.block_shapes[0]
    down, across = -(-dataset.height // high), -(-dataset.width // wide)
    bands = [1] if pixel else range(1, dataset.count + 1)
    if down * across * len(bands) > _MOST_BLOCKS:
        bands = [dataset.count if not pixel else 1]
    for band in bands:
        for row in range(down):
            for col in range(across):
                start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
                if start and size:
                    yield int(start) + int(size)


def _raw_length(dataset: Any, path: Path) -> int:
    """Bytes a file of uncompressed numbers must have."""
    envi = dataset.tags(ns="ENVI")
    if envi.get("file_compression", "0").strip() not in {"", "0"}:
        return 0
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    item = np.dtype(dataset.dtypes[0]).itemsize * 8 if bits is None else int(bits)
    header = 128 if dataset.driver == "LAN" else _offset(envi, path)
    values = int(dataset.width) * int(dataset.height) * int(dataset.count)
    return header + values * item // 8


def _offset(envi: Mapping[str, str], path: Path) -> int:
    """Return the bytes in front of the pixels, as an ENVI header gives them."""
    text = envi.get("header_offset", "0").strip() or "0"
    if not text.isdecimal():
        raise SceneError(
            f"The header offset of {path} must be a number of bytes, found {text!r}; "
            "correct it in the header."
        )
    return int(text)


_LONGEST_NAME = 200

_OF_GDAL = {"", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "COLOR_PROFILE", "RPC", "TIFF"}
"""Namespaces of tags that say nothing about the bands of an image."""

_NUMBERED = re.compile(r"band[ _]*\d+\b", re.IGNORECASE)
"""Descriptions that only count the bands, such as GDAL makes up."""

_ALWAYS_NODATA = {"SAGA", "GSAG", "GSBG", "GS7BG", "AAIGrid", "DTED", "USGSDEM", "BT"}
"""Formats that name a value for no data whether or not anybody asked for one."""


@dataclass(frozen=True, eq=False)
class RasterBand:
    """One band of a raster file and what the file says about its values."""

    values: npt.NDArray[np.generic]
    """Values (row, col) in the type of the file."""
    grid: Grid
    """Shape and georeference."""
    nodata: float | None = None
    """Value that stands for no data."""
    colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """Red, green and blue by value, from a colour table."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the namespace ENVI: class names and colours of a classification."""


@contextmanager
def open_dataset(path: Path) -> Iterator[Any]:
    """Open a raster with the formats allowed, quietly, or say why it cannot be."""
    try:
        with _for_gdal(path) as (file, drivers), open_raster(file, drivers) as dataset:
            yield dataset
    except (*GDAL_ERRORS, OSError, UnicodeDecodeError) as error:
        raise SceneError(_unreadable(path)) from error


@contextmanager
def _for_gdal(path: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Lend the path under which GDAL opens a raster, and the formats it may take it for.

    Where there is a header, pixels are bare, whatever they begin with.
    """
    if vrt_allowed() and is_vrt(path):
        yield path, ["VRT"]
        return
    given = path.suffix.lower() == ".hdr"
    header = read_header(path) if given else find_header(path)
    data = data_file(path) if given else path
    if data.stat().st_size == 0:
        raise SceneError(f"{data} is empty; copy or download it again.")
    if header is None or header.foreign:
        yield data, DRIVERS
        return
    with gdal_readable(header, data) as (file, driver):
        yield file, [driver]


def _unreadable(path: Path) -> str:
    """Say why an image cannot be opened."""
    if path.suffix.lower() in RAW and not has_header(path):
        return (
            f"{path} may be an ENVI image, but there is no header {path.stem}.hdr beside "
            "it; put both into one folder."
        )
    return (
        f"{path} cannot be read as an image: it is damaged, cut short or of an unknown "
        "format; copy or download it again, or save it as GeoTIFF or ENVI."
    )


def _pixels(path: Path) -> Path:
    """Return the file of the pixels where a header was given.

    Of a VRT, GDAL would open the images it names in any format; here they are
    opened first, in those that are allowed.
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
    """Georeference of a dataset; a system without a place is not believed."""
    transform = tuple(float(part) for part in tuple(dataset.transform)[:6])
    if _counts_pixels(transform, dataset.height):
        return Grid(dataset.height, dataset.width)
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return Grid(dataset.height, dataset.width, crs, transform)  # type: ignore[arg-type]


def _counts_pixels(transform: tuple[float, ...], rows: int) -> bool:
    """Tell whether a transform only counts rows and columns, as unplaced files do."""
    a, b, c, d, e, f = transform
    corners = {0.0, 0.5, -0.5, float(rows), rows - 0.5}
    return a == abs(e) == 1 and b == d == 0 and c in {0.0, -0.5} and f in corners


def _nodata(dataset: Any, number: int = 1) -> float | None:
    """Return the no-data value of a band, unless the type of its pixels cannot hold it."""
    return _nodata_values(dataset, (number,))[0]


def _nodata_values(dataset: Any, numbers: Sequence[int]) -> list[float | None]:
    """Return the no-data value of each band; asked once for all, as each asks all bands."""
    values, dtypes = list(dataset.nodatavals), dataset.dtypes
    # GDAL takes a blank value in the header for 0, and a list for its first sign.
    said = _envi(dataset).get("data_ignore_value", "") if dataset.driver == "ENVI" else "0"
    listed = numbers_of(said) if said.startswith("{") else []
    if len(listed) == len(values):
        values = list(listed)
    elif not said or said.startswith("{"):
        values = [None if value == 0 else value for value in values]

    def of_band(value: float | None, dtype: str) -> float | None:
        return float(value) if value is not None and holdable(value, dtype) else None

    return [of_band(values[number - 1], dtypes[number - 1]) for number in numbers]


def _envi(dataset: Any) -> dict[str, str]:
    return {key.lower(): str(text) for key, text in dataset.tags(ns="ENVI").items()}


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
        every = _band_names(dataset)
        names = tuple(every[at - 1] for at in numbers) if every else ()
        whole = _whole_tags(dataset)
        if path.suffix.lower() == ".hdr" and read_header(path).foreign:
            whole |= read_header(path).entries
        table = from_tags(whole, _band_tags(dataset, numbers), count, names)
        names = () if table.wavelengths is not None and bare_names(names) else names
        cube = _named(_cube(path, dataset, masks), names)
        origin = _origin(dataset)
        unplaced = _unplaced(file, dataset)
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    note = f"Image: {file.name}, {rows} rows × {cols} columns × {counted(count, 'band')}."
    return Scene(
        table.on(cube),
        name=path.stem,
        source=str(path),
        **origin,
        notes=(note, *masks.notes, *table.notes, *([unplaced] if unplaced else [])),
    )


def _whole_tags(dataset: Any) -> dict[str, str]:
    """Return the tags of a dataset in which lists of all bands may stand."""
    return dict(dataset.tags()) | dict(dataset.tags(ns="ENVI"))


def _band_tags(dataset: Any, numbers: Sequence[int]) -> list[dict[str, str]]:
    """Return the tags of each band in all namespaces that programs make for them.

    Of an ENVI image there are none but what GDAL makes, less exactly, of its header.
    """
    if dataset.driver == "ENVI" and any(
        plain_key(key) in CENTRES for key in dataset.tags(ns="ENVI")
    ):
        return []
    found = []
    for number in numbers:
        spaces = set(dataset.tag_namespaces(number)) - _OF_GDAL
        tags: dict[str, str] = {}
        for space in sorted(one for one in spaces if not one.startswith("xml:")):
            tags |= dataset.tags(number, ns=space)
        found.append(tags | dataset.tags(number))
    return found


def _origin(dataset: Any) -> Origin:
    """Read whether the file says that its values were not measured."""
    tags = dataset.tags() | dataset.tags(ns="ENVI")
    found = {key.upper().replace(" ", "_"): str(value) for key, value in tags.items()}

    def said(what: str) -> bool:
        return found.get(f"HYPERCOVER_{what}", "").lower() in {"yes", "1", "true"}

    return {"simulated": said("SIMULATED"), "stand_in": said("STAND_IN")}


def _cube(path: Path, dataset: Any, masks: Masks) -> xr.DataArray:
    numbers = masks.measured
    shape = (len(numbers), dataset.height, dataset.width)
    dtypes = dataset.dtypes
    dtype = np.result_type(*{dtypes[number - 1] for number in numbers})
    lazy = LazyArray(shape, dtype, partial(read_window, path, numbers=numbers))
    cube = xr.DataArray(lazy.as_variable_data(), dims=("band", "y", "x"))
    units = _units(dataset)
    if units:
        cube.attrs["units"] = str(units)
    if masks:
        held = LazyArray(shape[1:], np.bool_, partial(_read_masks, path, masks))
        cube = cube.assign_coords(has_data=(("y", "x"), held.as_variable_data()))
    cube = with_header(cube, _header(dataset, numbers))
    if not masks.joint:
        cube = _with_values(cube, dataset, numbers)
    return with_grid(cube, dataset_grid(dataset))


def _unplaced(path: Path, dataset: Any) -> str | None:
    """Say of points or polynomials that place an image, which are not used, what to do."""
    if dataset_grid(dataset).placed:
        return None
    points, coefficients = dataset.gcps[0], dataset.rpcs
    warped = str(path.with_name(f"{path.stem}-warped.tif"))
    if points:
        what, how = counted(len(points), "ground control point"), ["-order", "1"]
    elif coefficients is not None:
        what, how = "rational polynomials (RPC)", ["-rpc"]
    else:
        return None
    command = shlex.join(["gdalwarp", *how, str(path), warped])
    return f"The image is placed by {what} and lies on no grid; lay it on one: {command}."


def _with_values(cube: xr.DataArray, dataset: Any, numbers: Sequence[int]) -> xr.DataArray:
    """Note the values that stand for no data: one for all bands, or each band's own."""
    values = _nodata_values(dataset, numbers)
    if len({repr(value) for value in values}) > 1:
        own = [np.nan if value is None else value for value in values]
        return cube.assign_coords(nodata=("band", np.array(own)))
    if values[0] is None:
        # Programs that know no value of GDAL's leave it among the tags of the file.
        said = declared(dataset.tags() | dataset.tags(ns="ENVI"), cube.dtype)
        values[0] = said.get("nodata")
    if values[0] is not None:
        cube.attrs["nodata"] = values[0]
    return cube


def _read_masks(path: Path, masks: Masks, wanted: Indices) -> npt.NDArray[np.generic]:
    """Read where masks and alpha bands say that the wanted pixels hold data."""
    rows, cols = wanted
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    with open_dataset(path) as dataset:
        held = masks.read(dataset, window)
    if masks.beside is not None:
        with open_dataset(masks.beside) as dataset:
            held &= (dataset.read(window=window) != 0).all(axis=0)
    return np.asarray(held[rows - down.start][:, cols - across.start])


def _header(dataset: Any, numbers: Sequence[int]) -> dict[str, str]:
    """Return what an ENVI header, or a GeoTIFF made of such an image, says of the whole."""
    said = _tagged_scaling(dataset, numbers) | dataset.tags(ns="ENVI")
    all_scales, all_offsets = dataset.scales, dataset.offsets
    scales = [all_scales[number - 1] for number in numbers]
    offsets = [all_offsets[number - 1] for number in numbers]
    if any(one != 1 for one in scales) or any(offsets):
        said |= {GAINS: numbered(scales), OFFSETS: numbered(offsets)}
    return kept(said)


def _tagged_scaling(dataset: Any, numbers: Sequence[int]) -> dict[str, str]:
    """Return scale and offset as tags of the bands, or else of the file, name them."""
    whole = np.result_type(*dataset.dtypes).kind in "ui"
    found = dataset.tags(numbers[0])
    if stated_by_attributes(found, 1, whole=whole):
        # Only then all are asked: a file may claim very many bands.
        bands = [dataset.tags(number) for number in numbers]
        shared = set(found).intersection(*bands)
        found = {key: [tags[key] for tags in bands] for key in shared}
    else:
        found = {
            key: text for key, text in dataset.tags().items() if "scale" in key.lower()
        }
    return stated_by_attributes(found, len(numbers), whole=whole)


def _band_names(dataset: Any) -> tuple[str | None, ...]:
    """Return names of bands without the wavelengths that GDAL appends, or names them by."""
    envi = dataset.tags(ns="ENVI")
    unit = envi.get("wavelength_units", "")
    unit = "" if unit.lower() == "unknown" else unit
    centres = envi.get("wavelength", "").strip("{} \n").split(",")
    names: tuple[str | None, ...] = _legible(dataset, "descriptions")
    if dataset.driver != "ENVI" or len(centres) != len(names):
        return names
    made_up = [f"{centre.strip()} {unit}".rstrip() for centre in centres]
    return tuple(
        "" if name == made else (name or "").removesuffix(f"({made})").rstrip()
        for name, made in zip(names, made_up, strict=True)
    )


def _named(cube: xr.DataArray, descriptions: tuple[str | None, ...]) -> xr.DataArray:
    """Return the cube with the names of its bands, where they say more than a number."""
    names = [(name or "").strip()[:_LONGEST_NAME] for name in descriptions]
    # Profiles of bare bands are named "band 1", "band 1 area<50": these do say more.
    counted = any(_NUMBERED.match(name) for name in names)
    if not names or not all(names) or (counted and not any("<" in name for name in names)):
        return cube
    return cube.assign_coords(band_name=("band", np.asarray(names, dtype=np.str_)))


def _legible(dataset: Any, what: str) -> tuple[str | None, ...]:
    """Return a text of each band; none where one is of another encoding than UTF-8."""
    try:
        return tuple(getattr(dataset, what))
    except UnicodeDecodeError:
        return (None,) * int(dataset.count)


def _units(dataset: Any) -> str | None:
    """Return the unit of the values as the bands or an ENVI header name it."""
    named = next((unit for unit in _legible(dataset, "units") if unit), None)
    unit = named or dataset.tags(ns="ENVI").get("data_units")
    return str(unit) if unit else None


def read_window(
    path: Path, wanted: Indices, numbers: Sequence[int] | None = None
) -> npt.NDArray[np.generic]:
    """Read the wanted bands of the rectangle around the wanted pixels.

    ``numbers`` are the bands of the file, from 1, that the wanted ones are counted in.
    """
    bands, rows, cols = wanted
    down, across = bounding_slice(rows), bounding_slice(cols)
    window = Window.from_slices(down, across)
    with open_dataset(path) as dataset:
        inside = numbers or range(1, dataset.count + 1)
        # Of a VRT the bands may differ in type: all become what can hold each of them.
        dtypes = dataset.dtypes
        dtype = np.result_type(*(dtypes[number - 1] for number in inside))
        asked = [inside[band] for band in bands]
        if len({dtypes[number - 1] for number in asked}) == 1:
            block: npt.NDArray[np.generic] = dataset.read(asked, window=window)
        else:
            each = [dataset.read(number, window=window).astype(dtype) for number in asked]
            block = np.stack(each)
    block = block.astype(dtype, copy=False)
    if block.shape[1:] == (len(rows), len(cols)):
        return block
    return block[:, rows - down.start][:, :, cols - across.start]


def read_layer(path: Path, what: str = "label map") -> RasterBand:
    """Read a raster of one band whole, with its colours and class names.

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
                "extract the band that is meant."
            )
        number = masks.measured[0]
        values, nodata = dataset.read(number), _nodata(dataset, number)
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
    held = _read_masks(file, masks, tuple(np.arange(size) for size in values.shape))
    blank = np.asarray(nodata or 0).astype(values.dtype)
    return replace(layer, values=np.where(held, values, blank))


def _colors(dataset: Any) -> dict[int, tuple[int, int, int]]:
    """Colour table of the first band; empty where there is none."""
    try:
        table = dataset.colormap(1)
    except ValueError:
        return {}
    return {int(code): tuple(color[:3]) for code, color in table.items()}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.strip().strip("{}").split(",")]


def _envi_names(tags: Mapping[str, str]) -> dict[int, str]:
    """Names of an ENVI classification by value, 0 included."""
    names = _listed(tags.get("class_names", ""))
    return {code: name for code, name in enumerate(names) if name}


def _hex(red: int, green: int, blue: int) -> str:
    return f"#{red:02x}{green:02x}{blue:02x}"


def _label_colors(layer: RasterBand, codes: list[int]) -> dict[int, str]:
    """Colours of the codes that occur, unless they cannot tell them apart."""
    found = {code: _hex(*layer.colors[code]) for code in codes if code in layer.colors}
    grey = all(len(set(layer.colors[code])) == 1 for code in found)
    return {} if grey or len(set(found.values())) < len(found) else found


def read_raster_labels(path: Path) -> LabelMap:
    """Read a label map with names from ENVI, ERDAS or a PAM sidecar, and its colours.

    Those of a style beside it (``.qml``, ``.clr``) come before its colour table.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are no class codes.
    """
    layer = read_layer(path)
    data = data_file(path) if detect_type(path) is FileType.ENVI_HEADER else path
    present = [int(code) for code in np.unique(layer.values) if code in layer.colors]
    labels, shades = raster_style(data).by_code()
    names = (
        labels
        | class_tables.read_trailer_names(path)
        | _envi_names(layer.tags)
        | pam.read_category_names(data)
    )
    return LabelMap.of(
        layer.values,
        path.name,
        nodata=layer.nodata,
        names=names,
        colors=_label_colors(layer, present) | shades,
        grid=layer.grid,
        notes=(f"Labels: {path.name}.",),
    )
