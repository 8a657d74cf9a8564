"""GDAL, kept offline: every raster and vector file is opened and created here."""

import logging
import os
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from hypercover.errors import OutputError, SceneError
from hypercover.files import check_local, is_address
from hypercover.scene.io.safe_parsers import parse_xml

ALLOW_VRT = "HYPERCOVER_ALLOW_VRT"
"""Environment variable that allows VRT files if it is 1; no file can set it."""

_ROOT, _HEAD, _BLANK = b"<VRTDataset", 4096, b"\xef\xbb\xbf \t\r\n"

_BEGINNING = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<\?xml\s[^>]*\?>|<!--(?:(?!-->).)*-->)*" + _ROOT, re.DOTALL
)
"""A declaration and comments may precede the root, but nothing that defines entities. Each
comment ends at its first end; otherwise hundreds of them would match in 2^hundreds of ways."""

_SOURCE_TAGS = {"SourceFilename", "SourceDataset"}

_VRT_CLASSES = {None, "VRTWarpedDataset", "VRTPansharpenedDataset"}
"""Classes of VRT that name files only by these tags."""


def vrt_allowed() -> bool:
    """Tell whether the user allows VRT files."""
    return os.environ.get(ALLOW_VRT) == "1"


def is_vrt(path: Path) -> bool:
    """Tell whether a file has the suffix and the beginning of a VRT."""
    if path.suffix.lower() != ".vrt" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _BEGINNING.match(file.read(_HEAD)) is not None


def vrt_sources(path: Path) -> tuple[Path, ...]:
    """Return the images that a VRT is made of, each once.

    A VRT may name anything that GDAL can reach, including networks and devices, and run
    code. Even where VRT files are allowed, they may only combine images on this machine.

    Raises
    ------
    SceneError
        If it names anything else, such as another VRT, or no image at all.
    """
    root = parse_xml(path)
    code = root.find(".//PixelFunctionCode")
    if root.get("subClass") not in _VRT_CLASSES or code is not None:
        raise SceneError(
            f"{path} computes its pixels in ways that can reach other files or run code; "
            "convert it to an image with gdal_translate."
        )
    elements = [element for element in root.iter() if element.tag in _SOURCE_TAGS]
    if not elements:
        raise SceneError(f"{path} names no image; give the image itself.")
    return tuple(dict.fromkeys(_source(path, element) for element in elements))


def _source(path: Path, element: ET.Element) -> Path:
    """Return an image that a VRT names, refusing everything else."""
    text = (element.text or "").strip()
    source = Path(text)
    if element.get("relativeToVRT") == "1":
        source = path.parent / source
    if "://" in text or is_address(text) or not source.is_file():
        raise SceneError(
            f"{path} names {text[:80]!r}, which is not a file on this machine; copy it here."
        )
    with source.open("rb") as file:
        head = file.read(_HEAD)
    # GDAL takes a file for a VRT if the root is anywhere in its first bytes.
    if _ROOT in head or head.lstrip(_BLANK).startswith(b"<"):
        raise SceneError(
            f"{path} names {text[:80]!r}, which is an XML or VRT file itself; name images."
        )
    return source


for _library in ("rasterio", "pyogrio"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""Errors of rasterio, and those of GDAL that it does not wrap."""

_FORMATS = """
GTiff ENVI LAN HFA EHdr PNG JPEG JP2OpenJPEG BMP GIF WEBP PNM NITF RST SAGA AAIGrid GSAG
GSBG GS7BG RMF ELAS SGI MFF FIT RRASTER BT DTED USGSDEM
"""
DRIVERS = tuple(_FORMATS.split())
"""Formats with their pixels in the file or next to it. PCIDSK, VRT and others that can name
any file or network address are excluded; VRT files must be allowed."""

_OFFLINE = {
    # An invalid proxy: curl gives up before it sends anything.
    "GDAL_HTTP_PROXY": "none://none",
    "GDAL_HTTP_MAX_RETRY": "0",
    # No address ends like this: /vsicurl/, /vsis3/ and the like open nothing.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    # GDAL then only looks for the companions of a format, which are checked here.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "CPL_DEBUG": "OFF",
}
"""Options under which GDAL reaches no network and runs no code."""

_COMPANIONS = (".ovr", ".OVR", ".msk", ".MSK")
"""Overviews and masks, which GDAL opens with an image in any format it knows."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MAX_SIDECAR_BYTES = 2**26
"""Bytes of an ``.aux.xml``, which GDAL reads whole."""


def gdal_env(**options: Any) -> AbstractContextManager[Any]:
    """Return a context in which GDAL reaches no network, with further options of GDAL."""
    env: AbstractContextManager[Any] = rasterio.Env(**_OFFLINE, **options)
    return env


def crs_wkt(crs: int | str) -> str | None:
    """Return a coordinate system, an EPSG code or WKT, as WKT; None if it is invalid."""
    # Inside it GDAL does not print errors of its own.
    with gdal_env(), suppress(CRSError, OverflowError):
        return str((CRS.from_epsg if isinstance(crs, int) else CRS.from_wkt)(crs).to_wkt())
    return None


@contextmanager
def open_raster(path: Path, drivers: Sequence[str] = DRIVERS) -> Iterator[Any]:
    """Open a raster with some of GDAL's drivers, quietly and offline.

    Raises
    ------
    SceneError
        If the file, its ``.aux.xml``, ``.ovr`` or ``.msk`` points to other files.
    RasterioError
        If GDAL cannot open it.
    """
    check_local(path)
    _check_companions(path)
    with gdal_env():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = DatasetReader(str(path.absolute()), driver=list(drivers))
        with dataset:
            _check_overviews(dataset, path)
            yield dataset


def _check_overviews(dataset: Any, path: Path) -> None:
    """Refuse overviews elsewhere: GDAL opens them in any format and on any network."""
    for key, text in dataset.tags(ns="OVERVIEWS").items():
        if key.upper() == "OVERVIEW_FILE":
            raise _followed(path, text)


def _check_companions(path: Path) -> None:
    """Refuse overviews and masks that are not TIFF files: a VRT could name any address."""
    for suffix in (".aux.xml", *_COMPANIONS):
        file = path.with_name(path.name + suffix)
        if file.is_file():
            check = _check_sidecar if suffix == ".aux.xml" else _check_companion
            check(file, file.stat().st_mtime_ns)
        elif file.exists():
            raise SceneError(f"{file} is a pipe, a device or a folder; remove it.")


@lru_cache(maxsize=256)
def _check_sidecar(sidecar: Path, _changed: int) -> None:
    """Refuse an ``.aux.xml`` that names overviews, which some drivers open at once."""
    if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
        raise SceneError(f"{sidecar} is larger than 64 MiB; remove it.")
    # Searched as text, because GDAL reads XML that no other parser accepts.
    text = unescape(sidecar.read_bytes().replace(b"\0", b"").decode("latin-1"))
    if "overview_file" in text.lower():
        raise _followed(sidecar, "OVERVIEW_FILE")


@lru_cache(maxsize=256)
def _check_companion(file: Path, _changed: int) -> None:
    """Check overviews or a mask, once per version: images are opened for each tile."""
    with file.open("rb") as opened:
        head = opened.read(4)
    if not head:
        return
    if head not in _TIFF:
        raise SceneError(
            f"{file}, which GDAL would open with the image, is not a TIFF file and could "
            "point to other files and networks; remove it."
        )
    try:
        # This checks its own tags and companions.
        with open_raster(file, drivers=("GTiff",)):
            pass
    except GDAL_ERRORS as error:
        # Overviews are never read, but a mask must not get lost.
        if file.suffix.lower() == ".msk":
            raise SceneError(
                f"The mask {file} cannot be read: it is damaged or cut short; copy it "
                "again, or remove it to do without a mask."
            ) from error


def _followed(path: Path, target: str) -> SceneError:
    return SceneError(
        f"{path} names overviews in another file ({target[:80]!r}), which are never "
        "followed; remove OVERVIEW_FILE from the tags of the image and its .aux.xml, or save "
        "a new copy of the image (gdal_translate)."
    )


@contextmanager
def create_raster(path: Path, **profile: Any) -> Iterator[Any]:
    """Create a raster and open it for writing; GDAL writes no ``.aux.xml``.

    Raises
    ------
    OutputError
        If the path is an address.
    RasterioError
        If GDAL cannot write it.
    """
    check_local(path)
    with gdal_env(GDAL_PAM_ENABLED="NO"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path, "w", **profile)
        with dataset:
            yield dataset


def copy_raster(source: Path, target: Path, **options: Any) -> None:
    """Copy a raster into another format, without an ``.aux.xml``."""
    from rasterio.shutil import copy

    check_local(target)
    with gdal_env(GDAL_PAM_ENABLED="NO"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        copy(source.absolute(), target.absolute(), **options)


@contextmanager
def explained_write(path: Path) -> Iterator[None]:
    """Turn errors of GDAL on writing a file into one that suggests a full disk.

    Raises
    ------
    OutputError
    """
    try:
        yield
    # rasterio raises SystemError where GDAL fails without a message.
    except (*GDAL_ERRORS, SystemError) as error:
        raise OutputError(
            f"Cannot write {path}: not all of it reached the disk, perhaps because the "
            "disk is full; free some space or choose another folder."
        ) from error


@contextmanager
def offline_pyogrio(path: Path) -> Iterator[Any]:
    """Give pyogrio, offline and quiet, to open or write a local vector file.

    It has a GDAL of its own, which :func:`gdal_env` does not reach.

    Raises
    ------
    OutputError
        If the path is an address.
    """
    import pyogrio

    check_local(path)
    before = {key: pyogrio.get_gdal_config_option(key) for key in _OFFLINE}
    pyogrio.set_gdal_config_options(_OFFLINE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield pyogrio
    finally:
        pyogrio.set_gdal_config_options(before)
