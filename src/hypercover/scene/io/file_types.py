"""What kind of file a path is, told from its first bytes rather than its name."""

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

__all__ = ["VECTOR_FORMATS", "FileType", "detect_type", "is_json", "local_file"]

_HEAD = 1024

VECTOR_FORMATS = "GeoPackage, GeoJSON, Shapefile and FlatGeobuf"
"""Formats that shapes are read from."""
_OTHER_SHAPES = {b"PAR1": "Parquet", b"!table": "MapInfo"}
"""What other formats of shapes, of which none is read, begin with."""
_XML_SHAPES = re.compile(rb"<(?:\w+:)?(kml|gpx|FeatureCollection)\b", re.IGNORECASE)


class FileType(Enum):
    """The readers a file can be given to."""

    MATLAB = "MATLAB file"
    MATLAB_HDF5 = "MATLAB 7.3 file"
    HDF5 = "HDF5 file"
    NETCDF_CLASSIC = "NetCDF file"
    NPY = "NumPy file"
    NPZ = "NumPy archive"
    VECTOR = "vector file"
    ENVI_HEADER = "ENVI header"
    RASTER = "raster"


def local_file(path: str | Path) -> Path:
    """Return the path of a file on this machine, refusing everything else.

    Raises
    ------
    SceneError
        If the path points to a network, into an archive, to a folder or nowhere.
    """
    text = str(path)
    if is_address(text):
        raise SceneError(
            f"Only files on this machine are opened, got {text}; download it first "
            "and give the path of the file."
        )
    found = Path(text)
    try:
        if found.is_dir():
            raise SceneError(
                f"{found} is a folder, not an image; give a file in it{_meant(found)}."
            )
        if not found.is_file():
            raise SceneError(f"There is no file {found}; check the path.")
    except OSError as error:
        raise SceneError(
            f"There is no file {text[:40]}…: {error.strerror}; check the path."
        ) from error
    return found


_MEANT = (
    "*_MTL.txt",
    "MTD_MSIL*.xml",
    "*METADATA.xml",
    "*.hdr",
    "*.tif",
    "*.h5",
    "*.nc",
    "*.mat",
)
"""Names of files in a folder that may be meant by it, those of metadata first."""
_MOST_FILES = 10_000


def _meant(folder: Path) -> str:
    """Name the file in a folder that is meant, if that can be told."""
    names = [one.name for one in islice(folder.iterdir(), _MOST_FILES)]
    for pattern in _MEANT:
        found = [one for one in names if fnmatch(one.lower(), pattern.lower())]
        if found:
            return f", such as {min(found)}"
    return ""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise SceneError(
            f"{path} cannot be read: {error.strerror}; check its permissions."
        ) from error


def _refuse_pointing(path: Path, head: bytes) -> None:
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    if not text.startswith(b"<"):
        return
    if vrt_allowed() and is_vrt(path):
        vrt_sources(path)
        return
    if vrt_allowed():
        raise SceneError(
            f"{path} is an XML file and no VRT, which alone are allowed: a VRT is called "
            ".vrt and begins with VRTDataset, without DOCTYPE; give the image itself, shapes as "
            "GeoPackage."
        )
    raise SceneError(
        f"{path} is an XML or VRT file, which can point to other files and to networks and "
        "is not opened; give the image itself, shapes as GeoPackage, or allow VRT files "
        f"that you trust with {ALLOW_VRT}=1 in the environment."
    )


def _refuse_packed(path: Path, head: bytes) -> None:
    """Say of an archive, in which most products are delivered, that it is one."""
    if (
        path.suffix.lower() == ".zip"
        or head.startswith(b"\x1f\x8b")
        or head[257:262] == b"ustar"
    ):
        raise SceneError(
            f"{path} is an archive, into which nothing looks; unpack it and give the file that "
            "is meant in it."
        )


def _refuse_other_shapes(path: Path, head: bytes) -> None:
    """Say of shapes in a format that is not read which formats are."""
    known = (name for start, name in _OTHER_SHAPES.items() if head.startswith(start))
    name, tag = next(known, None), _XML_SHAPES.search(head)
    if tag and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        name = {b"kml": "KML", b"gpx": "GPX"}.get(tag[1].lower(), "GML")
    if name or path.suffix.lower() == ".kmz":
        raise SceneError(
            f"Shapes are read from {VECTOR_FORMATS}, but {path} is {name or 'KMZ'}; save it as one of "
            f"these ({shlex.join(['ogr2ogr', 'shapes.gpkg', str(path)])})."
        )


_SIDE_FILES = {
    ".ovr": "overviews, smaller copies, of an image",
    ".msk": "the mask of an image",
    ".aux": "statistics of an image",
    ".rrd": "overviews of an image",
    ".prj": "the coordinate system of a file",
    ".qpj": "the coordinate system of a file",
    ".tfw": "the place of an image",
    ".tifw": "the place of an image",
    ".wld": "the place of an image",
    ".jgw": "the place of an image",
    ".pgw": "the place of an image",
    ".bpw": "the place of an image",
    ".hdw": "the place of an image",
    ".qml": "the style of a layer in QGIS",
    ".qmd": "metadata of a layer in QGIS",
    ".sld": "the style of a layer",
    ".clr": "the colours of an image",
    ".sta": "statistics of an image",
    ".enp": "overviews of an image",
    ".dbf": "the attributes of a shapefile",
    ".shx": "the index of a shapefile",
    ".cpg": "the encoding of a shapefile",
}
"""Files that lie beside an image or shapes and hold neither, by suffix."""
_UNREAD = {
    b"\x0e\x03\x13\x01": "HDF4",
    b"SIMPLE  =": "FITS",
    b"GRIB": "GRIB",
    b"PCIDSK": "PCIDSK",
}
"""Formats of images that are not read, by what they begin with."""
_DOCUMENTS = {
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "a document of Microsoft Office",
    b"Rar!": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"BZh": "an archive",
    b"\xfd7zXZ": "an archive",
    b"\x80\x02": "a pickle of Python, which could run anything,",
    b"\x80\x03": "a pickle of Python, which could run anything,",
    b"\x80\x04": "a pickle of Python, which could run anything,",
    b"\x80\x05": "a pickle of Python, which could run anything,",
}
_SHEETS = (".xlsx", ".xls", ".ods")
_TABLES = (".csv", ".tsv", ".tab")
_RASTER_TEXT = (b"ncols", b"nrows", b"DSAA", b"P1", b"P2", b"P3", b"P5", b"P6", b"P7")
"""How rasters begin that are text, or whose head is."""


def _refuse_side_files(path: Path) -> None:
    """Name the file that is meant where one of its side files was given."""
    name = path.name.lower()
    what = _SIDE_FILES.get(path.suffix.lower())
    if name.endswith(".aux.xml"):
        what = "what GDAL notes on an image"
    if what is None:
        return
    stem = name.removesuffix(".aux.xml") if name.endswith(".aux.xml") else path.stem.lower()
    owners = [
        one.name
        for one in sorted(path.parent.iterdir())
        if one.name.lower() == stem or one.stem.lower() == stem
        if one.suffix.lower() not in _SIDE_FILES and not one.name.lower().endswith(".xml")
    ]
    meant = owners[0] if owners else "the file it belongs to"
    raise SceneError(f"{path} holds {what} and nothing else; give {meant}.")


def _refuse_named(path: Path, head: bytes) -> None:
    """Say what a file is that is no image and no labels, rather than that it is damaged."""
    suffix = path.suffix.lower()
    for start, name in _UNREAD.items():
        if head.startswith(start):
            convert = shlex.join(["gdal_translate", str(path), "image.tif"])
            raise SceneError(
                f"{path} is of the format {name}, which is not read; save it as GeoTIFF "
                f"({convert})."
            )
    for start, name in _DOCUMENTS.items():
        if head.startswith(start):
            raise SceneError(
                f"{path} is {name} and no image; give the file of the image or of the labels "
                "itself."
            )
    if head.startswith(b"version https://git-lfs"):
        raise SceneError(
            f"{path} is a pointer of Git LFS, not the file itself; fetch it (git lfs pull)."
        )
    if head.lstrip(_BLANK).lower().startswith((b"<!doctype html", b"<html")):
        raise SceneError(
            f"{path} is a web page, such as a login or an error in the place of a download; "
            "download the file again."
        )
    if suffix in _SHEETS or (suffix in _TABLES and _is_text(head)):
        raise _is_table(path)


_BLANK = b"\xef\xbb\xbf \t\r\n"


def _is_text(head: bytes) -> bool:
    """Tell whether a file begins with text rather than with numbers of a program."""
    controls = set(range(32)) - {9, 10, 12, 13}
    return bool(head) and not controls.intersection(head)


def _has_rows_and_columns(path: Path) -> bool:
    """Tell whether the head of a table names rows and columns of pixels, not coordinates."""
    first = _head(path).removeprefix(b"\xef\xbb\xbf").splitlines()[0].lower()
    heads = {part.strip(b" \"'") for part in re.split(rb"[,;\t]", first)}
    return bool(heads & {b"row", b"line"}) and bool(heads & {b"col", b"column", b"sample"})


def _is_table(path: Path) -> SceneError:
    suffix, source = path.suffix.lower(), str(path)
    if suffix not in _SHEETS and _has_rows_and_columns(path):
        return SceneError(
            f"{path} lists rows and columns of pixels; labels by these are read from an array "
            "of the size of the image (in Python: labels = numpy.zeros((rows, columns), "
            "'uint16'); labels[row, column] = code; numpy.save('labels.npy', labels))."
        )
    if suffix in _SHEETS:
        source = str(path.with_suffix(".csv"))
    elif suffix not in _TABLES:
        source = f"CSV:{path}"
    convert = shlex.join([
        "ogr2ogr", "-oo", "X_POSSIBLE_NAMES=x,lon*,east*", "-oo",
        "Y_POSSIBLE_NAMES=y,lat*,north*", "-oo", "AUTODETECT_TYPE=YES", "-a_srs", "EPSG:4326",
        "points.gpkg", source,
    ])  # fmt: skip
    sheet = " save it as CSV first, and" if suffix in _SHEETS else ""
    return SceneError(
        f"{path} is a table and no image; points with coordinates are read as labels from a "
        f"GeoPackage:{sheet} convert it with the names of its columns and its coordinate "
        f"system ({convert})."
    )


def detect_type(path: Path) -> FileType:
    """Tell which reader a file needs.

    Raises
    ------
    SceneError
        If the file is empty, unreadable, or points elsewhere (VRT, XML).
    """
    head = _head(path)
    if not head:
        raise SceneError(f"{path} is empty; give a file that holds an image.")
    if find_header(path) is not None:
        return FileType.RASTER
    _refuse_side_files(path)
    _refuse_packed(path, head)
    _refuse_other_shapes(path, head)
    _refuse_named(path, head)
    _refuse_pointing(path, head)
    suffix = path.suffix.lower()
    if head.startswith(b"MATLAB 7.3"):
        return FileType.MATLAB_HDF5
    if head.startswith(b"MATLAB ") or suffix == ".mat":
        hdf5 = head.startswith(b"\x89HDF") or head[512:516] == b"\x89HDF"
        return FileType.MATLAB_HDF5 if hdf5 else FileType.MATLAB
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    return _by_text(path, head)


_STARTS = {
    b"\x89HDF\r\n\x1a\n": FileType.HDF5,
    b"CDF\x01": FileType.NETCDF_CLASSIC,
    b"CDF\x02": FileType.NETCDF_CLASSIC,
    b"\x93NUMPY": FileType.NPY,
    b"PK\x03\x04": FileType.NPZ,
    b"SQLite format 3\0": FileType.VECTOR,
    b"\x00\x00\x27\x0a": FileType.VECTOR,
    b"fgb\x03fgb": FileType.VECTOR,
}


def _by_text(path: Path, head: bytes) -> FileType:
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        return FileType.ENVI_HEADER
    named = {
        ".npy": FileType.NPY,
        ".npz": FileType.NPZ,
        ".h5": FileType.HDF5,
        ".hdf5": FileType.HDF5,
    }
    if suffix in named:
        return named[suffix]
    if _begins_json(head):
        return FileType.VECTOR
    if _is_text(head) and not head.startswith((*_RASTER_TEXT, b"ENVI")):
        _refuse_text(path, head)
    return FileType.RASTER


def _refuse_text(path: Path, head: bytes) -> None:
    """Say of a text file that it is one; rasters have their signs in front or a header."""
    if head.startswith(b"; ENVI") and b"ROI" in head[:40]:
        raise SceneError(
            f"{path} lists regions of interest of ENVI as text; export them from ENVI as a "
            "classification image or a shapefile, and give that with --labels."
        )
    lines = head.splitlines()
    signs = max((b",", b";", b"\t"), key=lines[0].count)
    if len(lines) > 2 and 0 < lines[0].count(signs) == lines[1].count(signs):
        raise _is_table(path)
    if b"GROUP" in head and b"=" in head and b"METADATA_FILE" in head:
        raise SceneError(
            f"{path} is a list of bands of Landsat under another name; call it "
            f"{path.stem}_MTL.txt, beside the images it names."
        )
    if path.suffix.lower() in {".txt", ".csv", ".md", ".log", ".py", ".r", ".yaml", ".yml"}:
        raise SceneError(
            f"{path} is a text file and no image; give the file of the image or of the labels."
        )


def _begins_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def is_json(path: Path) -> bool:
    """Tell whether a file begins like a JSON object, as GeoJSON does."""
    return _begins_json(_head(path))
