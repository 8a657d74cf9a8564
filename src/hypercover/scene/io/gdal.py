"""GDAL: the one place where raster and vector files are opened and created, offline."""

import logging
import os
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from hypercover.errors import SceneError
from hypercover.files import check_local, is_address
from hypercover.scene.io.safe_parsers import parse_xml

__all__ = [
    "ALLOW_VRT",
    "DRIVERS",
    "GDAL_ERRORS",
    "copy_raster",
    "create_raster",
    "gdal_env",
    "is_vrt",
    "open_raster",
    "read_table",
    "read_vector",
    "vector_info",
    "vector_layers",
    "vrt_allowed",
    "vrt_sources",
    "write_vector",
]

ALLOW_VRT = "HYPERCOVER_ALLOW_VRT"
"""Variable of the environment that allows VRT files with 1: no file can set it."""

_ROOT, _HEAD, _BLANK = b"<VRTDataset", 4096, b"\xef\xbb\xbf \t\r\n"

_BEGINNING = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<\?xml\s[^>]*\?>|<!--(?:(?!-->).)*-->)*" + _ROOT, re.DOTALL
)
"""A declaration and comments may stand before the root; nothing that defines entities.
A comment ends at its first end, or hundreds of them could be read in 2^hundreds of ways."""

_POINTING = {"SourceFilename", "SourceDataset"}

_PLAIN = {None, "VRTWarpedDataset", "VRTPansharpenedDataset"}
"""Kinds of VRT that name files in no other way."""


def vrt_allowed() -> bool:
    """Tell whether the user allows VRT files."""
    return os.environ.get(ALLOW_VRT) == "1"


def is_vrt(path: Path) -> bool:
    """Tell whether a file is called and begins as a VRT does."""
    if path.suffix.lower() != ".vrt" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _BEGINNING.match(file.read(_HEAD)) is not None


def vrt_sources(path: Path) -> tuple[Path, ...]:
    """Return the images that a VRT is made of, each once.

    Why it exists: a VRT may name anything GDAL can reach, networks and devices
    among it, and run code.  One that is allowed may still only put images
    together that lie on this machine.

    Raises
    ------
    SceneError
        If it names anything else, another VRT among them, or no image at all.
    """
    root = parse_xml(path)
    code = root.find(".//PixelFunctionCode")
    if root.get("subClass") not in _PLAIN or code is not None:
        raise SceneError(
            f"{path} computes its pixels in ways that can reach other files or run code; "
            "make an image of it with gdal_translate."
        )
    named = [element for element in root.iter() if element.tag in _POINTING]
    found = tuple(dict.fromkeys(_source(path, element) for element in named))
    if not found:
        raise SceneError(f"{path} names no image; give the image itself.")
    return found


def _source(path: Path, element: ET.Element) -> Path:
    """Return an image that a VRT names, refusing what is none of this machine."""
    text = (element.text or "").strip()
    source = Path(text)
    if element.get("relativeToVRT") == "1":
        source = path.parent / source
    if "://" in text or is_address(text) or not source.is_file():
        raise SceneError(
            f"{path} names {text[:80]!r}, which is no file on this machine; a VRT may only "
            "put together images that are."
        )
    with source.open("rb") as file:
        head = file.read(_HEAD)
    # GDAL takes a file for a VRT wherever in its head the root stands.
    if _ROOT in head or head.lstrip(_BLANK).startswith(b"<"):
        raise SceneError(
            f"{path} names {text[:80]!r}, an XML or VRT file itself; put the images "
            "together in one VRT."
        )
    return source


for _library in ("rasterio", "pyogrio"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises; GDAL's own errors come through where it does not wrap them."""

DRIVERS = (
    "GTiff", "ENVI", "LAN", "HFA", "EHdr", "PNG", "JPEG", "JP2OpenJPEG", "BMP", "GIF",
    "WEBP", "PNM", "NITF", "RST", "SAGA", "AAIGrid", "GSAG", "GSBG", "GS7BG",
    "RMF", "ELAS", "SGI", "MFF", "FIT", "RRASTER", "BT", "DTED", "USGSDEM",
)  # fmt: skip
"""Formats whose pixels lie in the file or beside it.  PCIDSK, VRT and others that name
any file or network address are left out; a VRT must be allowed."""

_OFFLINE = {
    # No such kind of proxy exists: curl gives up before it sends anything anywhere.
    "GDAL_HTTP_PROXY": "none://none",
    "GDAL_HTTP_MAX_RETRY": "0",
    # No address ends so: /vsicurl/, /vsis3/ and their kin open nothing.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    # Only the companions that a format names are looked for, as they are checked here.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "CPL_DEBUG": "OFF",
}
"""Options of GDAL under which it reaches no network and runs no code."""

_COMPANIONS = (".ovr", ".OVR", ".msk", ".MSK")
"""Overviews and masks, which GDAL opens beside an image in any format it knows."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_LARGEST_SIDECAR = 2**26
"""Bytes of an ``.aux.xml``, which GDAL reads whole."""


def gdal_env(**options: Any) -> AbstractContextManager[Any]:
    """Return a context in which GDAL reaches no network, with more options of GDAL."""
    context: AbstractContextManager[Any] = rasterio.Env(**_OFFLINE, **options)
    return context


@contextmanager
def open_raster(path: Path, drivers: Sequence[str] = DRIVERS) -> Iterator[Any]:
    """Open a raster by some drivers of GDAL, quietly and offline.

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


def _check_companions(path: Path) -> None:
    """Refuse overviews and masks that are no TIFF files: a VRT could name any address."""
    sidecar = path.with_name(f"{path.name}.aux.xml")
    for beside in (sidecar, *(path.with_name(path.name + one) for one in _COMPANIONS)):
        if beside.exists() and not beside.is_file():
            raise SceneError(
                f"{beside}, which GDAL would open with the image, is a pipe, a device or a "
                "folder; remove it."
            )
    if sidecar.is_file():
        _check_sidecar(sidecar, sidecar.stat().st_mtime_ns)
    for suffix in _COMPANIONS:
        beside = path.with_name(path.name + suffix)
        if beside.is_file() and beside.stat().st_size:
            _check_companion(beside, beside.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _check_sidecar(sidecar: Path, _changed: int) -> None:
    """Refuse an ``.aux.xml`` that names overviews: some formats follow it on opening."""
    if sidecar.stat().st_size > _LARGEST_SIDECAR:
        raise SceneError(
            f"{sidecar} is larger than {_LARGEST_SIDECAR // 2**20} MiB, no notes on an "
            "image; remove it."
        )
    # As text, for GDAL reads XML that no other parser does.
    text = unescape(sidecar.read_bytes().replace(b"\0", b"").decode("latin-1"))
    if "overview_file" in text.lower():
        raise _followed(sidecar, "OVERVIEW_FILE")


@lru_cache(maxsize=256)
def _check_companion(beside: Path, _changed: int) -> None:
    """Look at a file once while it stays the same: an image is opened for each tile."""
    with beside.open("rb") as file:
        head = file.read(4)
    if head not in _TIFF:
        raise SceneError(
            f"{beside}, which GDAL would open with the image, is no TIFF file and could "
            "point to other files and networks; remove it."
        )
    try:
        # Its own tags and companions are looked at.
        with open_raster(beside, drivers=("GTiff",)):
            pass
    except GDAL_ERRORS as error:
        # Overviews are never read, but what a mask says must not get lost.
        if beside.suffix.lower() == ".msk":
            raise SceneError(
                f"The mask {beside} cannot be read: it is damaged or cut short; copy it "
                "again, or remove it to do without."
            ) from error


def _check_overviews(dataset: Any, path: Path) -> None:
    """Refuse an image whose tags or ``.aux.xml`` name overviews elsewhere.

    GDAL opens what they name, in any format and on any network, as soon as it
    is asked for overviews or for the mask.
    """
    named = {key.upper(): text for key, text in dataset.tags(ns="OVERVIEWS").items()}
    target = named.get("OVERVIEW_FILE")
    if target is not None:
        raise _followed(path, target)


def _followed(path: Path, target: str) -> SceneError:
    return SceneError(
        f"{path} names overviews in another file ({target[:80]!r}), which are never "
        "followed; remove OVERVIEW_FILE from the tags of the image and its .aux.xml, or save "
        "the image anew (gdal_translate)."
    )


@contextmanager
def create_raster(path: Path, **profile: Any) -> Iterator[Any]:
    """Create a raster and give it to be written to; no ``.aux.xml`` comes beside it.

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
def _pyogrio() -> Iterator[Any]:
    """Give pyogrio, whose GDAL is another than rasterio's, offline and quiet."""
    import pyogrio

    before = {key: pyogrio.get_gdal_config_option(key) for key in _OFFLINE}
    pyogrio.set_gdal_config_options(_OFFLINE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield pyogrio
    finally:
        pyogrio.set_gdal_config_options(before)


def vector_layers(path: Path) -> npt.NDArray[np.object_]:
    """List the layers of a vector file: name and kind of geometry (n, 2)."""
    check_local(path)
    with _pyogrio() as pyogrio:
        return np.asarray(pyogrio.list_layers(path.absolute()), dtype=object)


def vector_info(
    path: Path, layer: str | None, encoding: str | None = None
) -> dict[str, Any]:
    """Say what a layer holds, as :func:`pyogrio.read_info`."""
    check_local(path)
    with _pyogrio() as pyogrio:
        return dict(pyogrio.read_info(path.absolute(), layer=layer, encoding=encoding))


def read_vector(
    path: Path, layer: str | None, columns: Sequence[str], encoding: str | None = None
) -> tuple[Any, ...]:
    """Read shapes as WKB and some columns of a layer, as :func:`pyogrio.raw.read`."""
    return _read(path, layer, columns, force_2d=True, encoding=encoding)


def read_table(
    path: Path, layer: str, columns: Sequence[str], rows: int
) -> dict[str, npt.NDArray[Any]]:
    """Read the first rows of a layer without its shapes, by column."""
    meta, _, _, found = _read(path, layer, columns, read_geometry=False, max_features=rows)
    return dict(zip(map(str, meta["fields"]), found, strict=True))


def _read(
    path: Path, layer: str | None, columns: Sequence[str], **how: Any
) -> tuple[Any, ...]:
    check_local(path)
    with _pyogrio() as pyogrio:
        return tuple(
            pyogrio.raw.read(path.absolute(), layer=layer, columns=list(columns), **how)
        )


def write_vector(path: Path, **what: Any) -> None:
    """Write or append shapes and columns, as :func:`pyogrio.raw.write`."""
    check_local(path)
    with _pyogrio() as pyogrio:
        pyogrio.raw.write(str(path.absolute()), **what)
