"""Limits on what a file may claim, in memory and in unpacking, before it is refused."""

import os

from hypercover.errors import SceneError
from hypercover.memory import available_bytes

_BYTES_PER_PIXEL = 16
"""Memory that labels, masks and maps of a scene take."""

_MEMORY_SHARE = 0.8
"""Share of the available memory that one array may take."""

_HARMLESS = 2**30
_RATIO = 1000
"""Any file may unpack to 1 GiB, and to 1000 times its size. Zeros in the tiles of a GeoTIFF
shrink 650 times at most, so maps that are nearly empty pass."""

_ALLOWING = "HYPERCOVER_ALLOW_UNPACKING"


def _most_bytes() -> int:
    return int(_MEMORY_SHARE * available_bytes())


def fits_in_memory(n_bytes: int) -> bool:
    """Tell whether an array of this many bytes may be held in memory."""
    return n_bytes <= _most_bytes()


def check_memory(
    n_bytes: int,
    what: str,
    remedy: str = "store it as GeoTIFF or ENVI, which are read piece by piece, or cut it smaller",
) -> None:
    """Refuse an array that cannot fit in memory, before anything is allocated for it.

    A few bytes of a file can declare terabytes.

    Raises
    ------
    SceneError
        If the array takes more than 80 % of the available memory.
    """
    if not fits_in_memory(n_bytes):
        raise SceneError(
            f"{what} declares {n_bytes / 2**30:,.1f} GiB, more than the "
            f"{_most_bytes() / 2**30:,.1f} GiB that may be read into memory here; {remedy}."
        )


def check_unpacking(n_bytes: int, stored: int, what: str) -> None:
    """Refuse an array that a small file would unpack to out of all proportion.

    Even where it is read piece by piece, the work does the harm. Users who trust a file
    set ``HYPERCOVER_ALLOW_UNPACKING=1`` in the environment.

    Raises
    ------
    SceneError
        If it takes more than 1 GiB and more than 1,000 times the bytes stored.
    """
    if n_bytes <= max(_HARMLESS, _RATIO * stored) or os.environ.get(_ALLOWING) == "1":
        return
    raise SceneError(
        f"{what} would unpack {stored:,} bytes to {n_bytes / 2**30:,.1f} GiB, more than "
        f"{_RATIO:,} times as much, as malicious files do; give the data as they were "
        f"measured, or allow it with {_ALLOWING}=1 in the environment."
    )


def check_cube_size(shape: tuple[int, int, int], what: str) -> None:
    """Refuse a cube (band, row, col) whose labels, masks and maps cannot fit in memory.

    Its own values may stay in the file.

    Raises
    ------
    SceneError
        As :func:`check_memory`.
    """
    bands, rows, cols = shape
    check_memory(
        _BYTES_PER_PIXEL * rows * cols + 64 * bands,
        f"{what} of {rows:,} × {cols:,} pixels, with its labels, masks and maps,",
        "cut it smaller",
    )
