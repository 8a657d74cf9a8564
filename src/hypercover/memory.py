"""How much memory this machine has left, and sizes as people write them."""

import os
import re
from pathlib import Path

from hypercover.errors import CallError

__all__ = ["available_bytes", "bytes_of", "peak_bytes", "resident_bytes"]

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?)(i?)b", re.IGNORECASE)

_FIRST_VERSION = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
"""Files, and a line of memory.stat, of control groups before version 2."""

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
    """Return the memory that is free for new arrays, in bytes.

    On a cluster or in a container that is what its limit leaves, however much the
    machine has.
    """
    known = _from_meminfo()
    if known is None:
        known = _from_system()
    return min([known, *_left_by_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _from_system() -> int:
    """Return all the memory of a machine that does not say how much of it is free."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


def _left_by_limits(groups: Path, root: Path) -> list[int]:
    """Return what the control groups of this process leave, from its own to the root.

    Why it exists: batch systems and containers limit memory by Linux's control
    groups, of either version, and kill what exceeds it.  What is kept of files can be
    dropped, so it counts as free.
    """
    try:
        lines = groups.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controllers == "":
            found.extend(_up(root, path, ("memory.max", "memory.current", "inactive_file")))
        elif controllers == "memory":
            found.extend(_up(root / "memory", path, _FIRST_VERSION))
    return found


def _up(root: Path, path: str, names: tuple[str, str, str]) -> list[int]:
    """Return what each group from a path up to the root leaves, where it has a limit."""
    group = root / path.lstrip("/")
    folders = (one for one in (group, *group.parents) if one.is_relative_to(root))
    left = (_left_in(folder, *names) for folder in folders)
    return [size for size in left if size is not None]


def _left_in(folder: Path, limit: str, used: str, kept: str) -> int | None:
    """Return what one control group leaves; None where it sets no limit."""
    try:
        most = int((folder / limit).read_text(encoding="ascii"))
        held = int((folder / used).read_text(encoding="ascii"))
        statistics = (folder / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    droppable = dict(line.split(" ", 1) for line in statistics.splitlines()).get(kept, "0")
    return max(0, most - held + int(droppable))


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
