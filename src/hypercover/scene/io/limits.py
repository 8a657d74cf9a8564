"""How much a file may ask for, in memory and in unpacking, before it is refused."""

import os

from hypercover.errors import SceneError
from hypercover.memory import available_bytes

__all__ = [
    "PER_PIXEL",
    "available_bytes",
    "check_cube_size",
    "check_memory",
    "check_unpacking",
    "fits_in_memory",
]

PER_PIXEL = 16
"""Bytes per pixel that labels, masks and maps of a scene take in memory."""

_SHARE = 0.8
"""Share of the available memory one array may take."""

_PIECES = "store it as GeoTIFF or ENVI, which are read piece by piece, or cut it smaller"

_TIMES, _HARMLESS = 1000, 2**30
"""Times its bytes that a file may unpack to, and what any file may unpack to.  Zeros in
the tiles of a GeoTIFF are packed 650 times smaller at most, so maps that are nearly
empty pass."""
_ALLOWING = "HYPERCOVER_ALLOW_UNPACKING"


def fits_in_memory(n_bytes: int) -> bool:
    """Tell whether an array of so many bytes may be held in memory here."""
    return n_bytes <= int(_SHARE * available_bytes())


def check_memory(n_bytes: int, what: str, remedy: str = _PIECES) -> None:
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


def check_unpacking(n_bytes: int, stored: int, what: str) -> None:
    """Refuse an array that a small file would unpack to out of all proportion.

    Memory may hold it or it may be read piece by piece; the work is the harm.  Who
    trusts the file sets ``HYPERCOVER_ALLOW_UNPACKING=1`` in the environment.

    Raises
    ------
    SceneError
        If it takes more than 1 GiB and more than 1,000 times the bytes stored.
    """
    small = n_bytes <= _HARMLESS or n_bytes <= _TIMES * stored
    if small or os.environ.get(_ALLOWING) == "1":
        return
    raise SceneError(
        f"{what} would unpack {stored:,} bytes to {n_bytes / 2**30:,.1f} GiB, more than "
        f"{_TIMES:,} times as much, as files made to harm do; give the data as they were "
        f"measured, or allow it with {_ALLOWING}=1 in the environment."
    )


def check_cube_size(shape: tuple[int, int, int], what: str) -> None:
    """Refuse a cube (band, row, col) whose labels, masks and maps cannot fit.

    Its own values may stay in the file, so a file of any format is too large here.

    Raises
    ------
    SceneError
        If they would take more than :func:`check_memory` allows.
    """
    bands, rows, cols = shape
    check_memory(
        PER_PIXEL * rows * cols + 64 * bands,
        f"{what} of {rows:,} × {cols:,} pixels, with its labels, masks and maps,",
        "cut it smaller",
    )
