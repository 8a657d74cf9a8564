"""How much memory this machine has left, and sizes as people write them."""

import os
import re
from pathlib import Path

from hypercover.errors import CallError

__all__ = ["available_bytes", "bytes_of", "peak_bytes", "resident_bytes"]

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?)(i?)b", re.IGNORECASE)

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


def peak_bytes() -> int:
    """Return the most memory this process has held so far, in bytes; 0 where nobody says."""
    # Not getrusage: what that says of a new process includes its parent's.
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    found = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(next(found, "0")) * 1024


def bytes_of(text: str) -> int:
    """Return the number of bytes that a size names.

    Raises
    ------
    CallError
        If it is no size above 0.

    Examples
    --------
    >>> bytes_of("500MB"), bytes_of("2GiB"), bytes_of("1.5 kB")
    (500000000, 2147483648, 1500)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is not None:
        number, power, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()])
        if size > 0:
            return size
    raise CallError(
        f"A size of memory is a number above 0 and a unit, got {text[:40]!r}; write it like "
        "500MB or 2GiB."
    )
