"""VRT files: opened only where the user allows it, and only over images on this machine."""

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import is_address
from hypercover.scene.formats.plainxml import plain_xml

__all__ = ["ALLOWING", "is_vrt", "vrt_allowed", "vrt_sources"]

ALLOWING = "HYPERCOVER_ALLOW_VRT"
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
    return os.environ.get(ALLOWING) == "1"


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
    root = plain_xml(path)
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
