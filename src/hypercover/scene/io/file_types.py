"""The type of a file, told from its first bytes rather than from its name."""

import re
import shlex
from enum import Enum
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import is_address
from hypercover.scene.io.envi import find_header
from hypercover.scene.io.gdal import ALLOW_VRT, is_vrt, vrt_allowed, vrt_sources
from hypercover.scene.io.safe_parsers import unreadable

VECTOR_FORMATS = "GeoPackage, GeoJSON, Shapefile and FlatGeobuf"
"""Formats that shapes are read from."""

_HEAD_BYTES = 1024
_BLANK = b"\xef\xbb\xbf \t\r\n"
"""A byte order mark and white space, which may come before text."""


class FileType(Enum):
    """File types by the reader they need."""

    MATLAB = "MATLAB file"
    MATLAB_HDF5 = "MATLAB 7.3 file"
    HDF5 = "HDF5 file"
    NETCDF_CLASSIC = "NetCDF file"
    NPY = "NumPy file"
    NPZ = "NumPy archive"
    VECTOR = "vector file"
    ENVI_HEADER = "ENVI header"
    RASTER = "raster"


_SQLITE = b"SQLite format 3\0"
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": FileType.HDF5,
    b"CDF\x01": FileType.NETCDF_CLASSIC,
    b"CDF\x02": FileType.NETCDF_CLASSIC,
    b"\x93NUMPY": FileType.NPY,
    b"PK\x03\x04": FileType.NPZ,
    _SQLITE: FileType.VECTOR,
    b"\x00\x00\x27\x0a": FileType.VECTOR,
    b"fgb\x03fgb": FileType.VECTOR,
}
_SUFFIXES = {
    ".hdr": FileType.ENVI_HEADER,
    ".npy": FileType.NPY,
    ".npz": FileType.NPZ,
    ".h5": FileType.HDF5,
    ".hdf5": FileType.HDF5,
}
_JSON = re.compile(rb"[\xef\xbb\xbf \t\r\n]*\{")
_RASTER_TEXT = re.compile(rb"ncols|nrows|DSAA|P[123567]|ENVI")
"""First bytes of rasters that are text, or have a text header."""


def detect_type(path: Path) -> FileType:
    """Tell which reader a file needs.

    Raises
    ------
    SceneError
        If the file is empty or unreadable, points elsewhere (VRT, XML), or is recognised as
        something that is neither an image nor labels; the message says what to do.
    """
    head = _head(path)
    if not head:
        raise SceneError(f"{path} is empty; give a file that holds an image.")
    if find_header(path) is not None:
        return FileType.RASTER
    for find_reason in (_side_file, _other_format, _xml):
        if reason := find_reason(path, head):
            raise SceneError(reason)
    if head.startswith(b"MATLAB ") or path.suffix.lower() == ".mat":
        hdf5 = head.startswith((b"MATLAB 7.3", b"\x89HDF")) or head[512:516] == b"\x89HDF"
        return FileType.MATLAB_HDF5 if hdf5 else FileType.MATLAB
    for magic, file_type in _MAGIC.items():
        if head.startswith(magic):
            return file_type
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if _JSON.match(head):
        return FileType.VECTOR
    is_raster = not _is_text(head) or _RASTER_TEXT.match(head)
    if not is_raster and (reason := _text(path, head)):
        raise SceneError(reason)
    return FileType.RASTER


def is_sqlite(path: Path) -> bool:
    """Tell whether a file is a database of SQLite, as GeoPackages are."""
    return _head(path).startswith(_SQLITE)


def is_json(path: Path) -> bool:
    """Tell whether a file begins like a JSON object, as GeoJSON does."""
    return _JSON.match(_head(path)) is not None


def _is_text(head: bytes) -> bool:
    return bool(head) and not {*range(32)} - {*b"\t\n\f\r"} & {*head}


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error


def local_file(path: str | Path) -> Path:
    """Return the path of a file on this machine, refusing everything else.

    Raises
    ------
    SceneError
        If the path is a network address, inside an archive, a folder or missing.
    """
    text = str(path)
    if is_address(text):
        raise SceneError(f"Only files on this machine are opened, got {text}; download it.")
    file = Path(text)
    try:
        if file.is_dir():
            raise SceneError(
                f"{file} is a folder, not an image; give a file in it{_suggestion(file)}."
            )
        if not file.is_file():
            raise SceneError(f"There is no file {file}; check the path.")
    except OSError as error:
        raise SceneError(
            f"There is no file {text[:40]}…: {error.strerror}; check the path."
        ) from error
    return file


_METADATA = ("*_MTL.txt", "MTD_MSIL*.xml", "*METADATA.xml")
_LIKELY_IMAGES = (*_METADATA, "*.hdr", "*.tif", "*.h5", "*.nc", "*.mat")
"""Files to suggest where a folder was given, metadata of products first."""
_MAX_FILES = 10_000


def _suggestion(folder: Path) -> str:
    """Name the most likely image of a folder, if it has one."""
    names = [file.name for file in islice(folder.iterdir(), _MAX_FILES)]
    for pattern in _LIKELY_IMAGES:
        if matches := [name for name in names if fnmatch(name.lower(), pattern.lower())]:
            return f", such as {min(matches)}"
    return ""


_WORLD_FILES = (".tfw", ".tifw", ".wld", ".jgw", ".pgw", ".bpw", ".hdw")
_SIDE_FILES = {
    ".aux.xml": "GDAL's metadata of an image",
    **dict.fromkeys((".ovr", ".rrd", ".enp"), "overviews of an image"),
    ".msk": "the mask of an image",
    **dict.fromkeys((".aux", ".sta"), "statistics of an image"),
    ".clr": "the colours of an image",
    **dict.fromkeys((".prj", ".qpj"), "the coordinate system of a file"),
    **dict.fromkeys(_WORLD_FILES, "the georeference of an image"),
    ".qml": "the style of a layer in QGIS",
    ".qmd": "metadata of a layer in QGIS",
    ".sld": "the style of a layer",
    ".dbf": "the attributes of a shapefile",
    ".shx": "the index of a shapefile",
    ".cpg": "the encoding of a shapefile",
}
"""What files next to images and shapes hold, by suffix."""


def _side_file(path: Path, _head: bytes) -> str | None:
    """Name the image where one of its side files was given."""
    name = path.name.lower()
    suffix = ".aux.xml" if name.endswith(".aux.xml") else path.suffix.lower()
    if suffix not in _SIDE_FILES:
        return None
    stem = name.removesuffix(suffix)
    owners = [
        file.name
        for file in sorted(path.parent.iterdir())
        if stem in (file.name.lower(), file.stem.lower())
        and file.suffix.lower() not in {*_SIDE_FILES, ".xml"}
    ]
    owner = owners[0] if owners else "the file it belongs to"
    return f"{path} holds {_SIDE_FILES[suffix]} and nothing else; give {owner}."


_ARCHIVES = re.compile(rb"\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|.{257}ustar", re.DOTALL)
_OTHER_SHAPES = {b"PAR1": "Parquet", b"!table": "MapInfo"}
_XML_NAMES = {b"kml": "KML", b"gpx": "GPX", b"featurecollection": "GML"}
_XML_SHAPES = re.compile(rb"<(?:\w+:)?(kml|gpx|FeatureCollection)\b", re.IGNORECASE)
_OTHER_RASTERS = re.compile(
    rb"(?P<HDF4>\x0e\x03\x13\x01)|(?P<FITS>SIMPLE  =)|(?P<GRIB>GRIB)|(?P<PCIDSK>PCIDSK)"
)
_NO_IMAGE = "not an image; give the image or label file"
_OTHER_FILES = {
    rb"%PDF": f"a PDF document, {_NO_IMAGE}",
    rb"\xd0\xcf\x11\xe0": f"a Microsoft Office document, {_NO_IMAGE}",
    rb"\x80[\x02-\x05]": f"a Python pickle, which could run any code, {_NO_IMAGE}",
    rb"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch it (git lfs pull)",
    rb"[\xef\xbb\xbf \t\r\n]*<(?i:!doctype html|html)": (
        "a web page, perhaps of a login; download the file again"
    ),
}
"""Patterns of the first bytes, and what such a file is and what to do."""
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_TABLES = (".csv", ".tsv", ".tab")


def _other_format(path: Path, head: bytes) -> str | None:
    """Say what a file is that is not read, and what to do; most products are archives."""
    suffix = path.suffix.lower()
    if suffix == ".zip" or _ARCHIVES.match(head):
        return f"{path} is an archive; unpack it and give the image or label file from it."
    shapes = [name for magic, name in _OTHER_SHAPES.items() if head.startswith(magic)]
    if head.lstrip(_BLANK).startswith(b"<") and (tag := _XML_SHAPES.search(head)):
        shapes.append(_XML_NAMES[tag[1].lower()])
    if shapes or suffix == ".kmz":
        convert = shlex.join(["ogr2ogr", "shapes.gpkg", str(path)])
        return (
            f"Shapes are read from {VECTOR_FORMATS}, but {path} is {[*shapes, 'KMZ'][0]}; "
            f"save it as one of these ({convert})."
        )
    if raster := _OTHER_RASTERS.match(head):
        convert = shlex.join(["gdal_translate", str(path), "image.tif"])
        return (
            f"{path} is in the format {raster.lastgroup}; save it as GeoTIFF ({convert})."
        )
    for pattern, what in _OTHER_FILES.items():
        if re.match(pattern, head):
            return f"{path} is {what}."
    if suffix in _SPREADSHEETS or (suffix in _TABLES and _is_text(head)):
        return _table(path, head)
    return None


def _xml(path: Path, head: bytes) -> str | None:
    """Refuse XML, which GDAL may follow anywhere, unless it is a VRT that is allowed."""
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    if not text.startswith(b"<"):
        return None
    if not vrt_allowed():
        return (
            f"{path} is an XML or VRT file, which can point to other files and networks and "
            "is not opened; give the image itself, shapes as GeoPackage, or allow VRT files "
            f"that you trust with {ALLOW_VRT}=1 in the environment."
        )
    if not is_vrt(path):
        return (
            f"{path} is an XML file but not a VRT; a VRT has the suffix .vrt and begins with "
            "VRTDataset, without DOCTYPE. Give the image itself, shapes as GeoPackage."
        )
    vrt_sources(path)
    return None


def _text(path: Path, head: bytes) -> str | None:
    """Say what to do with a text file; rasters have their magic bytes or a header."""
    if head.startswith(b"; ENVI") and b"ROI" in head[:40]:
        return (
            f"{path} lists ENVI regions of interest as text; export them from ENVI as a "
            "classification image or a shapefile, and give that with --labels."
        )
    lines = head.splitlines()
    delimiter = max((b",", b";", b"\t"), key=lines[0].count)
    if len(lines) > 2 and 0 < lines[0].count(delimiter) == lines[1].count(delimiter):
        return _table(path, head)
    if b"GROUP" in head and b"=" in head and b"METADATA_FILE" in head:
        return f"{path} is Landsat metadata; name it {path.stem}_MTL.txt beside the images."
    if path.suffix.lower() in {".txt", ".csv", ".md", ".log", ".py", ".r", ".yaml", ".yml"}:
        return f"{path} is a text file, not an image; give the image or label file."
    return None


_TO_POINTS = (
    "ogr2ogr -oo 'X_POSSIBLE_NAMES=x,lon*,east*' -oo 'Y_POSSIBLE_NAMES=y,lat*,north*' "
    "-oo AUTODETECT_TYPE=YES -a_srs EPSG:4326 points.gpkg"
)


def _table(path: Path, head: bytes) -> str:
    """Explain how a table of points or pixels becomes labels."""
    suffix, source, first_step = path.suffix.lower(), str(path), ""
    if suffix in _SPREADSHEETS:
        source, first_step = str(path.with_suffix(".csv")), " save it as CSV first, and"
    elif _names_rows_and_columns(head):
        return (
            f"{path} lists rows and columns of pixels; give such labels as an array of the "
            "size of the image (in Python: labels = numpy.zeros((rows, columns), "
            "'uint16'); labels[row, column] = code; numpy.save('labels.npy', labels))."
        )
    elif suffix not in _TABLES:
        source = f"CSV:{path}"
    return (
        f"{path} is a table, not an image; points with coordinates are read as labels from a "
        f"GeoPackage:{first_step} convert it with the names of its columns and its coordinate "
        f"system ({_TO_POINTS} {shlex.quote(source)})."
    )


def _names_rows_and_columns(head: bytes) -> bool:
    """Tell whether a table names rows and columns of pixels, not coordinates."""
    first = head.removeprefix(b"\xef\xbb\xbf").splitlines()[0].lower()
    names = {part.strip(b" \"'") for part in re.split(rb"[,;\t]", first)}
    return bool(names & {b"row", b"line"}) and bool(names & {b"col", b"column", b"sample"})
