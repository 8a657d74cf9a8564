"""XML from outside: read only where it is small and points nowhere."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from hypercover.errors import SceneError

__all__ = ["numbers_of", "plain_xml"]

_LARGEST = 16 * 2**20
"""Bytes of a product's metadata; those of EnMAP have about one million."""
_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")


def plain_xml(path: Path) -> ET.Element:
    """Parse an XML file without a document type, and so without entities.

    Why it exists: an entity can name a file or an address, or blow up to
    gigabytes; the metadata of images need none.

    Raises
    ------
    SceneError
        If the file is too large, declares anything, or is no XML.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise SceneError(
                f"{path} is larger than {_LARGEST // 2**20} MiB, no metadata of an image; give "
                "the file that came with the product."
            )
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} cannot be read as XML; copy it again.") from error
    if _DECLARATION.search(text):
        raise SceneError(
            f"{path} declares a document type or entities, which can point to other files "
            "and are never followed; give the file that came with the product."
        )
    try:
        return ET.fromstring(text)  # noqa: S314  (small, and no DTD or entity is in it)
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise SceneError(
            f"{path} is no XML: it is damaged or cut short; copy or download it again."
        ) from error


def numbers_of(elements: list[ET.Element], path: Path) -> list[float]:
    """Return the numbers that elements hold.

    Raises
    ------
    SceneError
        If one is no number.
    """
    try:
        return [float(element.text or "") for element in elements]
    except ValueError as error:
        raise SceneError(
            f"{path} holds text where a number for a band should be; download it again."
        ) from error
