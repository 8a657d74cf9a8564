"""How much memory a file may ask for before it is refused."""

import os
from pathlib import Path

from hypercover.errors import SceneError

__all__ = ["PER_PIXEL", "available_bytes", "check_fits"]

PER_PIXEL = 16
"""Bytes per pixel that labels, masks and maps of a scene take in memory."""

_SHARE = 0.8
"""Share of the available memory one array may take."""
_UNKNOWN = 8 * 2**30
"""Bytes assumed where the system does not say what is available."""


def _from_meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def available_bytes() -> int:
    """Return the memory that is free for new arrays, in bytes."""
    known = _from_meminfo()
    if known is not None:
        return known
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


_PIECES = "store it as GeoTIFF or ENVI, which are read piece by piece, or cut it smaller"


def check_fits(n_bytes: int, what: str, remedy: str = _PIECES) -> None:
    """Refuse an array that cannot fit, before anything is allocated for it.

    A few bytes of a file can declare terabytes, so the declared size is
    believed only below 80 % of the memory that is available.

    Raises
    ------
    SceneError
        If the declared size is larger than that limit.
    """
    limit = int(_SHARE * available_bytes())
    if n_bytes > limit:
        raise SceneError(
            f"{what} declares {n_bytes / 2**30:,.1f} GiB, more than the "
            f"{limit / 2**30:,.1f} GiB that may be read into memory here; {remedy}."
        )
