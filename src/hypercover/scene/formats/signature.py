"""What kind of file a path is, told from its first bytes rather than its name."""

import re
import shlex
from enum import Enum
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import is_address
from hypercover.scene.formats.vrt import ALLOWING, is_vrt, vrt_allowed, vrt_sources

__all__ = ["SHAPES", "Kind", "is_json", "kind_of", "local_file"]

_HEAD = 1024

SHAPES = "GeoPackage, GeoJSON, Shapefile and FlatGeobuf"
"""Formats that shapes are read from."""
_OTHER_SHAPES = {b"PAR1": "Parquet", b"!table": "MapInfo"}
"""What other formats of shapes, of which none is read, begin with."""
_XML_SHAPES = re.compile(rb"<(?:\w+:)?(kml|gpx|FeatureCollection)\b", re.IGNORECASE)


class Kind(Enum):
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
            raise SceneError(f"{found} is a folder, not an image; give a file in it.")
        if not found.is_file():
            raise SceneError(f"There is no file {found}; check the path.")
    except OSError as error:
        raise SceneError(
            f"There is no file {text[:40]}…: {error.strerror}; check the path."
        ) from error
    return found


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
        f"that you trust with {ALLOWING}=1 in the environment."
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
            f"Shapes are read from {SHAPES}, but {path} is {name or 'KMZ'}; save it as one of "
            f"these ({shlex.join(['ogr2ogr', 'shapes.gpkg', str(path)])})."
        )


def kind_of(path: Path) -> Kind:
    """Tell which reader a file needs.

    Raises
    ------
    SceneError
        If the file is empty, unreadable, or points elsewhere (VRT, XML).
    """
    head = _head(path)
    if not head:
        raise SceneError(f"{path} is empty; give a file that holds an image.")
    _refuse_packed(path, head)
    _refuse_other_shapes(path, head)
    _refuse_pointing(path, head)
    suffix = path.suffix.lower()
    if head.startswith(b"MATLAB 7.3"):
        return Kind.MATLAB_HDF5
    if head.startswith(b"MATLAB ") or suffix == ".mat":
        hdf5 = head.startswith(b"\x89HDF") or head[512:516] == b"\x89HDF"
        return Kind.MATLAB_HDF5 if hdf5 else Kind.MATLAB
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    return _by_text(head, suffix)


_STARTS = {
    b"\x89HDF\r\n\x1a\n": Kind.HDF5,
    b"CDF\x01": Kind.NETCDF_CLASSIC,
    b"CDF\x02": Kind.NETCDF_CLASSIC,
    b"\x93NUMPY": Kind.NPY,
    b"PK\x03\x04": Kind.NPZ,
    b"SQLite format 3\0": Kind.VECTOR,
    b"\x00\x00\x27\x0a": Kind.VECTOR,
    b"fgb\x03fgb": Kind.VECTOR,
}


def _by_text(head: bytes, suffix: str) -> Kind:
    if suffix == ".hdr":
        return Kind.ENVI_HEADER
    named = {".npy": Kind.NPY, ".npz": Kind.NPZ, ".h5": Kind.HDF5, ".hdf5": Kind.HDF5}
    if suffix in named:
        return named[suffix]
    return Kind.VECTOR if _begins_json(head) else Kind.RASTER


def _begins_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def is_json(path: Path) -> bool:
    """Tell whether a file begins like a JSON object, as GeoJSON does."""
    return _begins_json(_head(path))
