"""A file that goes back to its last checkpoint, whatever stopped the writing."""

import fcntl
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from hypercover.errors import OutputError
from hypercover.files import write_text

__all__ = ["RollbackFile"]

_RECORD = struct.Struct("<QII")
"""Offset, length and CRC-32 of bytes that were overwritten; the bytes follow."""
_MOST_HEADER = 2**16


class RollbackFile:
    """A file for a library that overwrites in place, killed at any moment without loss.

    Why it exists: HDF5 changes its tables where they stand, so a file whose
    writer is killed may be unreadable from its first byte.  Before bytes older
    than the last checkpoint are overwritten they are kept in a journal beside
    the file; going back puts them in place and cuts off what came after.  This is
    the rollback journal of SQLite (sqlite.org/atomiccommit.html), in small.

    Parameters
    ----------
    path : path
        The file; it is locked, so that two writers never share it.
    note : dict
        What a checkpoint must say, besides its own, to be gone on from.

    Raises
    ------
    OutputError
        If the file cannot be written or somebody else writes it.

    Notes
    -----
    It has what HDF5 asks of a file object: read, write, seek, tell, truncate, flush.
    """

    def __init__(self, path: Path, note: dict[str, Any]) -> None:
        self.path, self.journal = path, path.with_name(f"{path.name}.journal")
        self._note = note
        self._file = io.FileIO(path, "r+" if path.exists() else "x+")
        self._lock()
        self._log: io.FileIO | None = None
        self._end = 0
        self.abandoned = False
        """Whether writes are dropped, so that a library can let go of a broken file."""
        self.failure: BaseException | None = None
        """What stopped a write.  It is not raised there, where a library could be in the
        middle of letting go of something, but by :meth:`check`."""
        self.done: int | None = self._restored()
        """Number given with the checkpoint it went back to; None = it begins anew."""
        self.kept = self.done or 0
        """Number given with the last checkpoint: worth keeping the file for, if not 0."""

    def _lock(self) -> None:
        try:
            # Not flock, which HDF5 itself takes when it reads the file.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._file.close()
            raise OutputError(
                error.errno,
                f"Cannot write {self.path}: another process writes it; wait until it has "
                "ended.",
            ) from error

    def check(self) -> None:
        """Raise what stopped a write, if anything did."""
        if self.failure is not None:
            raise self.failure

    def checkpoint(self, done: int) -> None:
        """Make what is written so far the state to go back to."""
        self.check()
        os.fsync(self._file.fileno())
        self._end = os.fstat(self._file.fileno()).st_size
        header = json.dumps(self._note | {"done": done, "end": self._end})
        if self._log is not None:
            self._log.close()
        write_text(self.journal, header + "\n")
        self._log, self.kept = io.FileIO(self.journal, "a"), done

    def discard(self) -> None:
        """Remove the file and its journal."""
        self.path.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def _restored(self) -> int | None:
        """Go back to the last checkpoint of the same note, or empty the file."""
        header, records = _read_journal(self.journal)
        same = {key: header.get(key) for key in self._note} == self._note
        end, done = header.get("end"), header.get("done")
        for offset, old in reversed(records if same else []):
            self._file.seek(offset)
            self._file.write(old)
        size = os.fstat(self._file.fileno()).st_size
        if not (same and type(end) is int and type(done) is int and 0 < end <= size):
            self._file.truncate(0)
            return None
        self._file.truncate(end)
        self._end, self._log = end, io.FileIO(self.journal, "a")
        return done

    def _keep(self, first: int, last: int) -> None:
        """Journal the bytes from first to last that a checkpoint holds."""
        length = min(last, self._end) - first
        if length <= 0 or self._log is None:
            return
        here = self._file.tell()
        self._file.seek(first)
        old = self._file.read(length)
        self._file.seek(here)
        _write_all(self._log, _RECORD.pack(first, len(old), zlib.crc32(old)) + old)

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes at the position."""
        if self.abandoned:
            return len(data)
        try:
            here = self._file.tell()
            self._keep(here, here + len(data))
            _write_all(self._file, data)
        except BaseException as error:
            self.failure, self.abandoned = error, True
        return len(data)

    def truncate(self, size: int) -> int:
        """Cut or lengthen the file."""
        if self.abandoned:
            return size
        try:
            self._keep(size, self._end)
            self._file.truncate(size)
        except BaseException as error:
            self.failure, self.abandoned = error, True
        return size

    def read(self, size: int = -1) -> bytes:
        """Read bytes at the position."""
        return self._file.read(size)

    def readinto(self, buffer: memoryview) -> int:
        """Read bytes at the position into a buffer."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Let go of the file."""
        if self._log is not None:
            self._log.close()
        self._file.close()


def _write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write all bytes; the system may take fewer at once."""
    left = memoryview(data).cast("B")
    while len(left):
        left = left[file.write(left) :]


def _read_journal(path: Path) -> tuple[dict[str, Any], list[tuple[int, bytes]]]:
    """Read a journal: what its checkpoint said, and the records that are whole."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(_MOST_HEADER))
            return dict(header), _records(file.read())
    except (OSError, ValueError, TypeError):
        return {}, []


def _records(text: bytes) -> list[tuple[int, bytes]]:
    """Take records until one is cut off: its bytes were never overwritten."""
    records, at = [], 0
    while len(text) - at >= _RECORD.size:
        offset, length, crc = _RECORD.unpack_from(text, at)
        old = text[at + _RECORD.size : at + _RECORD.size + length]
        if len(old) < length or zlib.crc32(old) != crc:
            break
        records.append((offset, old))
        at += _RECORD.size + length
    return records
