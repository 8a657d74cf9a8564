"""Embedded images: the figures of a run folder, encoded for one HTML file."""

import base64
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hypercover.figures.canvas import PLACE_KEY

_log = logging.getLogger(__name__)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIGGEST = 32 * 2**20
"""Bytes of the largest picture taken into a page."""


@dataclass(frozen=True)
class ImageExtent:
    """Where the image of the land lies in its picture, as shares of the picture."""

    left: float
    """From the left edge."""
    top: float
    """From the upper edge."""
    width: float
    """Share of the width."""
    height: float
    """Share of the height."""


@dataclass(frozen=True)
class EmbeddedImage:
    """One picture inside a page."""

    key: str
    """Its name in the run folder, without ``.png``."""
    uri: str
    """The picture itself as a ``data:`` address."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    place: ImageExtent | None = None
    """Where the land lies in it, where the picture says so."""

    @property
    def aspect(self) -> float:
        """Width over height of the land, or of the whole picture."""
        part = self.place or ImageExtent(0, 0, 1, 1)
        return self.width * part.width / (self.height * part.height)


def read_image(figures: Path, key: str) -> EmbeddedImage | None:
    """Read a picture of a run, or None where there is none that can be shown.

    The key may come from a file: it must be a plain name in the folder.
    """
    path = figures / f"{key}.png"
    if path.name != f"{key}.png" or not path.is_file():
        return None
    if path.stat().st_size > _BIGGEST:
        _log.warning("%s is too large for the report and is left out", path)
        return None
    plate = embed_png(key, path.read_bytes())
    if plate is None:
        _log.warning("%s is no whole PNG picture and is left out", path)
    return plate


def embed_png(key: str, content: bytes) -> EmbeddedImage | None:
    """Make a plate of the bytes of a PNG file, or None if they are none."""
    if not content.startswith(_SIGNATURE) or not content.rstrip().endswith(
        b"IEND\xaeB`\x82"
    ):
        return None
    width = height = 0
    place = None
    for kind, body in _chunks(content):
        if kind == b"IHDR" and len(body) >= 8:
            width, height = struct.unpack(">II", body[:8])
        elif kind == b"tEXt" and body.startswith(PLACE_KEY.encode() + b"\0"):
            place = _place(body.partition(b"\0")[2].decode("latin-1"))
    if not width or not height:
        return None
    encoded = base64.b64encode(content).decode("ascii")
    return EmbeddedImage(key, f"data:image/png;base64,{encoded}", width, height, place)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Go through the parts of a PNG file that stand before its pixels."""
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind in (b"IDAT", b"IEND"):
            return
        yield kind, content[at + 8 : at + 8 + size]
        at += 12 + size


def _place(text: str) -> ImageExtent | None:
    try:
        shares = [float(part) for part in text.split()]
        left, top, width, height = shares
    except ValueError:
        return None
    inside = 0 < width <= 1 and 0 < height <= 1 and 0 <= left < 1 and 0 <= top < 1
    return ImageExtent(left, top, width, height) if inside else None
