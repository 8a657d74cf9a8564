"""Writing a window file: streamed, gone on with after any interruption, there only when whole."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, OutputError, SceneError
from hypercover.files import make_folder, missing_folders, write_error, write_text
from hypercover.scene.inputs import Inputs
from hypercover.scene.samples import Samples
from hypercover.windows.window_file import WindowFile
from hypercover.windows.window_metadata import WindowAbout

__all__ = ["RollbackFile", "WindowWriter"]

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


_CHUNK = 2**16
"""Bytes of a chunk, about: larger ones pack little better and make reading windows in
random order, as a training does, slower in proportion."""

_CHECKPOINT = 2**27
"""Bytes of windows between two states that can be gone on from."""

_OVERHEAD = 2**20

_PER_WINDOW = 64
"""Bytes of tables that HDF5 keeps for each window, at most."""

# Of 2008, read by everything; the format before it has no room for a long legend.
_VERSION = ("v108", "v108")

Windows = npt.NDArray[np.generic]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class WindowWriter:
    """A window file that is to be written, and its draft where one was begun.

    Why it exists: a file 81 times its pixels takes minutes and may not fit the
    disk; both must be known before, and no minute be lost when it is stopped.
    """

    path: Path
    """The file to write."""
    about: WindowAbout
    """What is known of the windows."""
    samples: Samples
    """Where the windows lie, row by row, and their labels."""
    part: npt.NDArray[np.uint8]
    """Part of the split of each window (n,)."""
    identity: Any = None
    """Plain values that change when the scene does."""
    inputs: Inputs = field(default_factory=Inputs)
    """The files of the scene, known again when they were merely touched."""

    def __post_init__(self) -> None:
        """Refuse to write nothing."""
        if not len(self.samples):
            raise LabelError(
                f"No labelled pixel of {self.about.scene} lies on a pixel with data; give "
                "labels made for this image."
            )

    @property
    def coordinates_only(self) -> bool:
        """Whether the windows themselves are left out."""
        return self.about.contents == "coordinates"

    @property
    def bytes(self) -> int:
        """Bytes of the windows before compression."""
        return len(self.samples) * self.about.window_bytes

    @property
    def draft(self) -> Path:
        """The file while it is written, beside the target."""
        return self.path.with_name(f".{self.path.name}.part")

    @staticmethod
    def inputs_of(path: Path) -> Path:
        """Return where the files of the scene are remembered while a file is written."""
        return path.with_name(f".{path.name}.inputs.json")

    @property
    def key(self) -> str:
        """SHA-256 of all that the file is made of, but the values of the windows."""
        digest = hashlib.sha256()
        about = {name: str(value) for name, value in self.about.attributes().items()}
        grounds = [about, self.identity, str(self.path.name)]
        digest.update(json.dumps(grounds, sort_keys=True, default=str).encode())
        for values in (
            self.samples.rows,
            self.samples.cols,
            self.samples.labels,
            self.part,
        ):
            digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()

    def check_space(self, done: int = 0) -> None:
        """Refuse windows that the disk may not hold, after so many that it holds already.

        Raises
        ------
        OutputError
            If fewer bytes are free than the windows take before compression.
        """
        left = 0 if self.coordinates_only else len(self.samples) - done
        needed = (
            left * self.about.window_bytes + len(self.samples) * _PER_WINDOW + _OVERHEAD
        )
        folder = next(one for one in self.path.absolute().parents if one.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"Cannot write {self.path}: the disk is full before the windows are whole, "
                f"which need up to {needed / 2**20:,.1f} MiB where {free / 2**20:,.1f} MiB "
                "are free; choose smaller windows, another folder or --coordinates-only."
            )

    @contextmanager
    def begun(self) -> Iterator["Draft"]:
        """Open the draft, begun anew or gone back to what is surely in it.

        Raises
        ------
        OutputError
            If the folder cannot be written or another process writes the file.
        """
        made = missing_folders(self.path)
        try:
            with self._opened() as file:
                discarded = file.done is None and file.journal.exists()
                yield Draft(self, file, file.done or 0, discarded)
        except BaseException as error:
            for folder in made:
                # One that holds something, such as a draft worth keeping, stays.
                with suppress(OSError):
                    folder.rmdir()
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                raise write_error(self.path, error) from error
            raise

    @contextmanager
    def _opened(self) -> Iterator[RollbackFile]:
        """Open the file of the draft, and remove it if nothing in it is worth keeping."""
        make_folder(self.path.parent)
        file = RollbackFile(self.draft, {"key": self.key})
        try:
            self.inputs.remember()
            yield file
        except BaseException:
            if not file.kept:
                file.discard()
                self.inputs.forget()
            raise
        finally:
            file.close()


@dataclass(frozen=True, eq=False)
class Draft:
    """A window file that is being written."""

    writer: WindowWriter
    """What is to be written."""
    file: RollbackFile
    """Where it is written to."""
    done: int
    """Windows that are surely in it already."""
    discarded: bool
    """Whether a draft of something else, or a damaged one, was thrown away."""

    def write(
        self,
        pieces: Callable[[int], Iterator[Windows]],
        progress: Progress | None = None,
    ) -> None:
        """Write what is missing, and give the file its name when it is whole.

        Parameters
        ----------
        pieces : callable
            Given a number of windows, it yields those after them in order, as arrays
            (n, band, row, col).
        progress : callable, optional
            Called with the windows written and the windows in all.
        """
        writer = self.writer
        with self._hdf5() as hdf5:
            if self.file.done is None:
                self._lay_out(hdf5)
                hdf5.flush()
                self.file.checkpoint(0)
            if not writer.coordinates_only:
                self._fill(hdf5, pieces(self.done), progress)
        self.file.checkpoint(len(writer.samples))
        self._check(pieces)
        os.replace(writer.draft, writer.path)
        self.file.journal.unlink(missing_ok=True)
        writer.inputs.forget()

    @contextmanager
    def _hdf5(self) -> Iterator[h5py.File]:
        """Open the draft as HDF5; a failed write leaves the state of the last checkpoint."""
        hdf5 = h5py.File(
            self.file, "w" if self.file.done is None else "r+", libver=_VERSION
        )
        try:
            yield hdf5
            hdf5.flush()
        except BaseException:
            self.file.abandoned = True
            self.file.check()
            raise
        finally:
            hdf5.close()

    def _lay_out(self, hdf5: h5py.File) -> None:
        """Write all but the windows, and make room for those."""
        writer, samples = self.writer, self.writer.samples
        for name, value in writer.about.attributes().items():
            hdf5.attrs[name] = value
        hdf5["labels"] = samples.labels.astype(np.uint16)
        hdf5["rows"] = samples.rows.astype(np.int32)
        hdf5["cols"] = samples.cols.astype(np.int32)
        hdf5["part"] = writer.part.astype(np.uint8)
        if writer.coordinates_only:
            return
        chunk = max(1, round(_CHUNK / writer.about.window_bytes))
        shape = writer.about.window_shape
        hdf5.create_dataset(
            "windows",
            (len(samples), *shape),
            writer.about.dtype,
            chunks=(min(chunk, len(samples)), *shape),
            shuffle=True,
            # the filter that every HDF5 has; its fastest level packs as well as its slow ones
            compression="gzip",
            compression_opts=1,
        )

    def _fill(
        self, hdf5: h5py.File, pieces: Iterator[Windows], progress: Progress | None
    ) -> None:
        """Write windows piece by piece, with a checkpoint now and then."""
        dataset, done, total = hdf5["windows"], self.done, len(self.writer.samples)
        kept = done
        for piece in pieces:
            dataset[done : done + len(piece)] = piece
            self.file.check()
            done += len(piece)
            if (done - kept) * self.writer.about.window_bytes >= _CHECKPOINT:
                hdf5.flush()
                self.file.checkpoint(done)
                kept = done
            if progress is not None:
                progress(done, total)

    def _check(self, pieces: Callable[[int], Iterator[Windows]]) -> None:
        """Open the whole file again and compare its last windows with the scene's."""
        writer = self.writer
        try:
            found = WindowFile(writer.draft)
            same = np.array_equal(found.samples.rows, writer.samples.rows)
            same &= np.array_equal(found.samples.cols, writer.samples.cols)
            same &= np.array_equal(found.labels, writer.samples.labels)
            if not writer.coordinates_only:
                for first in {0, len(found) // 2, len(found) - 1}:
                    piece = next(pieces(first))[:1]
                    same &= np.array_equal(found[first : first + 1].cut(), piece)
            found.close()
        except SceneError:
            same = False
        if not same:
            self.file.discard()
            raise OutputError(
                f"Cannot write {writer.path}: what was written reads differently, perhaps "
                "because the scene was changed meanwhile or the disk is full; write it again."
            )
