"""GeoTIFFs written block by block, and the class names in the ``.aux.xml`` beside them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine

from hypercover.errors import CallError, SceneError
from hypercover.files import atomic
from hypercover.scene.grid import Grid
from hypercover.scene.io import gdal
from hypercover.scene.io.safe_parsers import parse_xml, whole_number
from hypercover.scene.legend import Legend


def sidecar(path: Path) -> Path:
    """Return the path of the ``.aux.xml`` of a raster."""
    return path.with_name(path.name + ".aux.xml")


def read_category_names(path: Path) -> dict[int, str]:
    """Read the class names by value, 0 included, from the ``.aux.xml`` of a raster.

    Both category names and attribute tables are read. Without a readable file there are
    no names.
    """
    if not sidecar(path).is_file():
        return {}
    try:
        band = parse_xml(sidecar(path)).find("PAMRasterBand[@band='1']")
    except SceneError:
        return {}
    if band is None:
        return {}
    names = [(item.text or "").strip() for item in band.findall("CategoryNames/Category")]
    return {code: name for code, name in enumerate(names) if name} or _table_names(band)


_VALUE_COLUMNS = {"value", "classvalue", "code"}
_NAME_COLUMNS = {"class", "classname", "name", "label"}
"""Columns of an attribute table by name, for tables without column usages."""


def _table_names(band: ET.Element) -> dict[int, str]:
    """Read class names by value from the raster attribute table of a band."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    columns = table.findall("FieldDefn")
    usages = [(column.findtext("Usage") or "").strip() for column in columns]
    heads = [(column.findtext("Name") or "").lower() for column in columns]
    heads = [head.replace("_", "").strip() for head in heads]
    value = _column(usages, heads, "5", _VALUE_COLUMNS)
    name = _column(usages, heads, "2", _NAME_COLUMNS)
    names: dict[int, str] = {}
    if value is None or name is None:
        return names
    for row in table.findall("Row"):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        number = whole_number(cells[value]) if len(cells) == len(heads) else None
        if number is not None and 0 <= number < 10**6 and cells[name]:
            names[number] = cells[name]
    return names


def _column(usages: list[str], heads: list[str], usage: str, names: set[str]) -> int | None:
    """Find a column by its usage (5: value, 2: name), or else by its head."""
    if usage in usages:
        return usages.index(usage)
    return next((at for at, head in enumerate(heads) if head in names), None)


_INTEGER, _STRING = ("0", "Integer"), ("2", "String")
_COLUMNS = [
    ("Value", _INTEGER, ("5", "MinMax")),
    ("Class", _STRING, ("2", "Name")),
    ("Red", _INTEGER, ("6", "Red")),
    ("Green", _INTEGER, ("7", "Green")),
    ("Blue", _INTEGER, ("8", "Blue")),
    ("Alpha", _INTEGER, ("9", "Alpha")),
]
_CLEAR = (0, 0, 0, 0)


def category_xml(
    legend: Legend, zero: str = "no data", zero_rgb: tuple[int, int, int] | None = None
) -> str:
    """Return the ``.aux.xml`` of a class raster: category names and an attribute table.

    Both list every code from 0 on, so that readers that go by position and readers that go
    by value agree. Codes without a class get an empty name.

    Parameters
    ----------
    legend : Legend
    zero, zero_rgb : str and tuple
        Name and colour of code 0; transparent without a colour.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, (kind, kind_name), (usage, usage_name)) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(column, "Name").text = name
        ET.SubElement(column, "Type", typeAsString=kind_name).text = kind
        ET.SubElement(column, "Usage", usageAsString=usage_name).text = usage
    classes = {entry.code: (entry.name, (*entry.rgb, 255)) for entry in legend}
    classes[0] = (zero, _CLEAR if zero_rgb is None else (*zero_rgb, 255))
    for code in range(max(classes) + 1):
        name, rgba = classes.get(code, ("", _CLEAR))
        ET.SubElement(names, "Category").text = printable(name)
        row = ET.SubElement(table, "Row", index=str(code))
        for value in (code, printable(name), *rgba):
            ET.SubElement(row, "F").text = str(value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 excludes."""


def printable(name: str) -> str:
    r"""Return a name on one line without the characters that XML cannot hold.

    Examples
    --------
    >>> printable("Corn\nno\x00till <b>")
    'Corn notill <b>'
    """
    return _NOT_IN_XML.sub("", " ".join(name.split()))


MAP_BLOCK = 256
"""Side in pixels of the tiles inside a GeoTIFF."""

_STALE = (".aux.xml", ".ovr", ".msk")


@contextmanager
def geotiff_writer(
    path: Path,
    grid: Grid,
    dtype: npt.DTypeLike,
    *,
    nodata: float | None = None,
    band_names: Sequence[str] = ("",),
    palette: Mapping[int, tuple[int, int, int]] | None = None,
    tags: Mapping[str, str] | None = None,
    texts: Mapping[Path, str] | None = None,
    cloud_optimised: bool = False,
) -> Iterator[Any]:
    """Open a tiled, compressed GeoTIFF for writing window by window.

    The file replaces an older one only once every block has been written and read back.

    Parameters
    ----------
    path : Path
    grid : Grid
    dtype : dtype
    nodata : float, optional
    band_names : sequence of str
        Description of each band; its length is the number of bands.
    palette : mapping, optional
        Red, green and blue by value.
    tags : mapping, optional
        Metadata of the file.
    texts : mapping of Path to str, optional
        Text files, such as class names and styles, that appear together with the raster.
    cloud_optimised : bool
        Whether a map of one band becomes a cloud-optimised GeoTIFF, with overviews.

    Yields
    ------
    rasterio dataset

    Raises
    ------
    CallError
        If the coordinate system of the grid is not understood.
    OutputError
        If the file cannot be written; an older file of that name stays.
    """
    profile = _profile(grid, dtype, nodata, len(band_names))
    with ExitStack() as drafts:
        # Drafted first: a map must not appear where its names cannot.
        for text_path, text in (texts or {}).items():
            drafts.enter_context(atomic(text_path)).write_text(text, encoding="utf-8")
        with (
            atomic(path) as draft,
            gdal.explained_write(path),
            _target(draft, profile, cloud_optimised) as target,
        ):
            with gdal.create_raster(target, **profile) as raster:
                if palette is not None:
                    # GDAL ignores a palette that comes after the pixels.
                    raster.write_colormap(1, palette)
                for band, name in enumerate(band_names, start=1):
                    if name:
                        raster.set_band_description(band, printable(name))
                if tags:
                    raster.update_tags(**tags)
                yield raster
            _read_back(target)
        # Names, statistics and overviews of an older file would be taken for those of this.
        for suffix in _STALE:
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _profile(
    grid: Grid, dtype: npt.DTypeLike, nodata: float | None, bands: int
) -> dict[str, Any]:
    floating = np.issubdtype(dtype, np.floating)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": grid.rows,
        "width": grid.cols,
        "count": bands,
        "interleave": "band",
        "dtype": np.dtype(dtype).name,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": MAP_BLOCK,
        "blockysize": MAP_BLOCK,
        "compress": "deflate",
        "predictor": 3 if floating else 1,
        "bigtiff": "if_safer",
    }
    if grid.placed:
        profile["transform"] = Affine(*grid.transform)
    try:
        return profile | ({"crs": CRS.from_user_input(grid.crs)} if grid.crs else {})
    except (CRSError, ValueError) as error:
        raise CallError(
            f"The coordinate system {str(grid.crs)[:60]!r} of the scene is not understood; "
            "give it as WKT or as an EPSG code."
        ) from error


@contextmanager
def _target(draft: Path, profile: Mapping[str, Any], cog: bool) -> Iterator[Path]:
    """Give the file to write tiles to in any order; on request it is copied to a COG.

    A COG has its overviews in front, so it can only be made of a finished map. Classes are
    reduced to the most frequent one, numbers to their mean. Several bands are not copied.
    """
    if not cog or profile["count"] > 1:
        yield draft
        return
    plain = draft.with_name(f"{draft.stem}.plain{draft.suffix}")
    floating = np.issubdtype(np.dtype(profile["dtype"]), np.floating)
    options = {"predictor": "yes", "overview_resampling": "average"}
    if not floating:
        options = {"predictor": "no", "overview_resampling": "mode"}
    options |= {"compress": "deflate", "bigtiff": "if_safer"}
    try:
        yield plain
        gdal.copy_raster(plain, draft, driver="COG", blocksize=MAP_BLOCK, **options)
        _read_back(draft)
    finally:
        plain.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.ovr.tmp").unlink(missing_ok=True)


def _read_back(path: Path) -> None:
    """Read every block once: GDAL may be silent about a disk that fills up on closing."""
    with gdal.open_raster(path, drivers=("GTiff",)) as raster:
        for _, window in raster.block_windows(1):
            raster.read(window=window)


def code_type(codes: npt.ArrayLike) -> type[np.uint8] | type[np.uint16]:
    """Return the smallest pixel type that holds these class codes."""
    return np.uint8 if np.max(codes, initial=0) <= 255 else np.uint16


def class_raster_writer(
    path: Path,
    legend: Legend,
    grid: Grid,
    *,
    zero: str = "no data",
    zero_rgb: tuple[int, int, int] | None = None,
    nodata: int | None = 0,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    texts: Mapping[Path, str] | None = None,
    cloud_optimised: bool = False,
) -> AbstractContextManager[Any]:
    """Open a class raster for writing window by window.

    The pixels are uint8, or uint16 where a code is above 255. The palette is stored in
    the GeoTIFF, the class names in ``<file>.aux.xml``, where GDAL and QGIS read them.

    Parameters
    ----------
    path : Path
    legend : Legend
        Name and colour of every code that will be written.
    grid : Grid
    zero, zero_rgb : str and tuple
        Name and colour of code 0; transparent without a colour.
    nodata : int, optional
        The code declared as no data.
    description : str
        Description of the band.
    tags, texts, cloud_optimised
        As in :func:`~hypercover.scene.io.geotiff.geotiff_writer`.

    Returns
    -------
    context manager of a rasterio dataset
        Codes are written with ``write(codes, 1, window=...)``.
    """
    return geotiff_writer(
        path,
        grid,
        code_type(legend.codes),
        nodata=nodata,
        band_names=(description,),
        palette={0: zero_rgb or (0, 0, 0)} | {entry.code: entry.rgb for entry in legend},
        tags=tags,
        texts={sidecar(path): category_xml(legend, zero, zero_rgb), **(texts or {})},
        cloud_optimised=cloud_optimised,
    )
