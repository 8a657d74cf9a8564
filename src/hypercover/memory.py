"""How much memory this machine has left; asked by every room."""

import os
from pathlib import Path

__all__ = ["available_bytes", "resident_bytes"]

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


def resident_bytes() -> int:
    """Return the memory that this process holds, in bytes; 0 where nobody says."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
