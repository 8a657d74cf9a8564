"""Memory: how much is available or in use, sizes with units, and limits on what files claim."""

import os
import re
from pathlib import Path

from hypercover.errors import CallError, SceneError

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
        f"A size of memory is a number above 0 and a unit, got {text[:40]!r}; write it like "
        "500MB or 2GiB."
    )


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
