"""Links inside GeoJSON, found before GDAL could follow them."""

import json
from pathlib import Path
from typing import Any

from hypercover.errors import LabelError

__all__ = ["refuse_links"]

_LARGEST = 2**28
"""Bytes of a GeoJSON file, which is read whole."""
_LINKING = ("link", "url")


class _LinkError(ValueError):
    """The coordinate system is given by an address."""


def refuse_links(path: Path) -> None:
    """Refuse a GeoJSON file whose coordinate system is an address on a network.

    GeoJSON of 2008 may name its ``crs`` by a link, and GDAL fetches it on
    opening: a label file would tell a stranger who opens it.

    Raises
    ------
    LabelError
        If there is such a link, or the file is no JSON or too large to tell.
    """
    if path.stat().st_size > _LARGEST:
        raise LabelError(
            f"{path} is larger than {_LARGEST // 2**20} MiB; save the shapes as GeoPackage."
        )
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            # No deviation is forgiven: what is read here must be what GDAL reads.
            json.load(file, object_pairs_hook=_look)
    except _LinkError as error:
        raise LabelError(
            f"{path} gives its coordinate system as a network address, which is never "
            "followed; save it as GeoPackage, or as GeoJSON in WGS 84."
        ) from error
    except (ValueError, RecursionError) as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: it is no GeoJSON; save it as "
            "GeoPackage or GeoJSON."
        ) from error


def _look(pairs: list[tuple[str, Any]]) -> None:
    """Look at one object, and keep nothing of it."""
    keys = {key.lower() for key, _ in pairs}
    kinds = [value for key, value in pairs if key.lower() == "type"]
    links = any(
        isinstance(kind, str) and kind.lower().startswith(_LINKING) for kind in kinds
    )
    if links and "properties" in keys:
        raise _LinkError
