"""Class names in the trailer that ERDAS and MultiSpec put beside a ``.GIS`` label map."""

from pathlib import Path

__all__ = ["read_names"]

_NAMES_AT = 16 * 128
"""Records of 128 bytes before the names: a head, six of colours, a head, eight of counts."""
_NAME = 32
_MOST = 256
_HEADS = (b"TRAIL74", b"TRAILER")


def read_names(path: Path) -> dict[int, str]:
    """Return class names by code from the ``.trl`` beside a raster; empty without one.

    Each name has 32 bytes and ends with ``~``; the first is that of code 0.
    """
    beside = next(
        (
            one
            for one in (path.with_suffix(".trl"), path.with_suffix(".TRL"))
            if one.is_file()
        ),
        None,
    )
    if beside is None:
        return {}
    with beside.open("rb") as file:
        content = file.read(_NAMES_AT + _MOST * _NAME)
    if not content.startswith(_HEADS):
        return {}
    listed = content[_NAMES_AT:]
    names = (_text(listed[at : at + _NAME]) for at in range(0, len(listed), _NAME))
    return {code: name for code, name in enumerate(names) if name}


def _text(raw: bytes) -> str:
    """Read one name: what stands before the first ``~``, if it can be shown."""
    name = raw.split(b"~")[0].split(b"\0")[0].decode("latin-1").strip()
    return name if name.isprintable() else ""
