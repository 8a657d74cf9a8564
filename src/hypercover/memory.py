"""Memory: how much is available or in use, and sizes written with units."""

import os
import re
from pathlib import Path

from hypercover.errors import CallError

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?)(i?)b", re.IGNORECASE)

_FIRST_VERSION = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
"""Files, and a line of memory.stat, of control groups before version 2."""

_UNKNOWN = 8 * 2**30
"""Bytes assumed if the system does not report what is available."""


def available_bytes() -> int:
    """Return the memory available for new arrays, in bytes.

    Limits of a batch job or a container are respected.
    """
    free = _field("/proc/meminfo", "MemAvailable:")
    if free is None:
        free = _total()
    return min([free, *_left_by_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _field(path: str, name: str) -> int | None:
    """Return the size in bytes on a line of a file of the kernel; None if it is missing."""
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    sizes = (int(line.split()[1]) for line in lines if line.startswith(name))
    size = next(sizes, None)
    return None if size is None else size * 1024


def _total() -> int:
    """Return the total memory of a machine that does not report how much is free."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


def _left_by_limits(groups: Path, root: Path) -> list[int]:
    """Return the memory left by each control group of this process, up to the root.

    Batch systems and containers limit memory by Linux control groups (version 1 or
    2) and kill what exceeds it.  Cached files can be dropped and count as free.
    """
    try:
        lines = groups.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            found += _up(root, path, names)
        elif controllers == "memory":
            found += _up(root / "memory", path, _FIRST_VERSION)
    return found


def _up(root: Path, path: str, names: tuple[str, str, str]) -> list[int]:
    """Return the memory left by each limited group from a path up to the root."""
    group = root / path.lstrip("/")
    folders = (each for each in (group, *group.parents) if each.is_relative_to(root))
    left = (_left_in(folder, *names) for folder in folders)
    return [size for size in left if size is not None]


def _left_in(folder: Path, limit: str, used: str, cached: str) -> int | None:
    """Return the memory left by one control group; None if it sets no limit."""
    try:
        most = int((folder / limit).read_text(encoding="ascii"))
        held = int((folder / used).read_text(encoding="ascii"))
        statistics = (folder / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    fields = dict(line.split(" ", 1) for line in statistics.splitlines())
    return max(0, most - held + int(fields.get(cached, "0")))


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes; 0 if unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the peak resident memory of this process, in bytes; 0 if unknown."""
    # Not getrusage: for a new process it includes the peak of the parent.
    return _field("/proc/self/status", "VmHWM:") or 0


def parse_size(text: str) -> int:
    """Parse a size with a unit; return bytes.

    Raises
    ------
    CallError
        If it is not a size above 0.

    Examples
    --------
    >>> parse_size("500MB"), parse_size("2GiB"), parse_size("1.5 kB")
    (500000000, 2147483648, 1500)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        number, power, binary = match.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()])
        if size > 0:
            return size
    raise CallError(
        f"A size of memory is a number above 0 and a unit, got {text[:40]!r}; write it like 2GiB."
    )
