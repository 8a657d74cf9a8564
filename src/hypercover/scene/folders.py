"""Looking through folders for files that may hold images or label maps."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Looked", "look_through"]

_DEEPEST = 6
"""Folders below the one that was named."""
_MOST_ENTRIES = 50_000
"""Names looked at below one folder that was named."""
_MOST_FILES = 2_000
"""Files of data listed below one folder that was named."""
_SMALLEST = 128
"""Bytes; no label map worth finding is smaller."""
_STARTS = (
    b"MATLAB ", b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02", b"\x93NUMPY", b"PK\x03\x04",
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA_HEADER_TAG", b"HEAD74", b"HEADER",
    b"ENVI", b"\x89PNG",
)  # fmt: skip
"""How files of arrays and rasters begin; what they are called plays no part."""
_NOT_DATA = {"__pycache__", "node_modules", "site-packages"}
_SYSTEM = {Path("/proc"), Path("/sys"), Path("/dev")}
_OTHERS = ("experiment.yaml", "pyvenv.cfg")
"""Files by which a folder is known that holds results or programs and no data."""


@dataclass
class Looked:
    """What lay in the folders."""

    files: list[Path] = field(default_factory=list)
    """Files that begin like images or arrays, nearest first."""
    notes: list[str] = field(default_factory=list)
    """What was passed over, one sentence each."""


def look_through(folders: Iterable[Path]) -> Looked:
    """List the files below some folders that begin like images or arrays.

    Why it exists: whoever has a scene need not say where.  The search is
    bounded in depth and number, follows no link, reads the first bytes of a
    file alone, and passes over hidden folders, run folders and programs.

    Parameters
    ----------
    folders : iterable of path
        Those that are not there are noted.
    """
    looked, seen = Looked(), set[tuple[int, int]]()
    for folder in folders:
        if not folder.is_dir():
            looked.notes.append(f"There is no folder {folder}.")
            continue
        _Walk(folder.resolve(), looked, seen).go()
    return looked


@dataclass
class _Walk:
    """One walk through everything below a folder, the nearest first."""

    root: Path
    looked: Looked
    seen: set[tuple[int, int]]
    """Device and number of the folders that were walked before."""
    entries: int = 0
    files: int = 0
    links: int = 0
    closed: int = 0

    def go(self) -> None:
        """Walk, and note what was passed over."""
        ahead = deque([(self.root, 0)])
        while ahead and not self._full():
            folder, depth = ahead.popleft()
            for inner in self._walk(folder):
                if depth < _DEEPEST:
                    ahead.append((inner, depth + 1))
        self._note()

    def _full(self) -> bool:
        return self.entries >= _MOST_ENTRIES or self.files >= _MOST_FILES

    def _walk(self, folder: Path) -> Iterator[Path]:
        """List the files of one folder; give the folders in it."""
        for entry in self._entries(folder):
            if self._full():
                return
            self.entries += 1
            try:
                if entry.is_symlink():
                    self.links += not entry.name.startswith(".")
                elif entry.is_dir():
                    yield Path(entry.path)
                elif entry.is_file() and entry.stat().st_size >= _SMALLEST:
                    self._list(Path(entry.path))
            except OSError:
                self.closed += 1

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Read a folder, unless it was walked before or holds no data."""
        hidden = folder != self.root and folder.name.startswith(".")
        if hidden or folder.name in _NOT_DATA or folder in _SYSTEM:
            return []
        try:
            facts = folder.stat()
            if (facts.st_dev, facts.st_ino) in self.seen:
                return []
            self.seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as found:
                entries = [
                    entry for entry, _ in zip(found, range(_MOST_ENTRIES), strict=False)
                ]
        except OSError:
            self.closed += 1
            return []
        if any(entry.name in _OTHERS for entry in entries):
            return []
        return sorted(entries, key=lambda entry: entry.name)

    def _list(self, path: Path) -> None:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(_STARTS) or path.suffix.lower() == ".mat":
            self.files += 1
            self.looked.files.append(path)

    def _note(self) -> None:
        notes = self.looked.notes
        if self._full():
            notes.append(
                f"{self.root} holds more files than are looked at; name the folder of the "
                "data itself with --data."
            )
        if self.links:
            notes.append(
                f"Links are not followed ({self.links} in {self.root}); name the folders "
                "they lead to with --data."
            )
        if self.closed:
            notes.append(f"{self.closed} files or folders in {self.root} cannot be read.")
