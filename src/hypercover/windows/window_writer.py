"""Writing window files: streamed, resumable after an interruption, renamed once complete."""

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ValidationError

from hypercover.errors import LabelError, OutputError, SceneError
from hypercover.files import make_folder, missing_folders, write_error, write_text
from hypercover.scene.file_identity import FileRecord
from hypercover.scene.samples import Samples
from hypercover.types import Array, Bytes, Progress
from hypercover.windows.window_file import WindowFile, WindowMetadata

_CHUNK = 2**16
"""Bytes of a chunk, about.  Larger chunks pack little better and make random access, as in
a training, slower in proportion."""

_CHECKPOINT = 2**27
"""Bytes of windows between two states that can be resumed from."""

_OVERHEAD = 2**20

_PER_WINDOW = 64
"""Bytes of tables that HDF5 keeps for each window, at most."""

# Of 2008, read by everything; the format before it has no room for a long legend.
_VERSION = ("v108", "v108")


@dataclass(frozen=True, eq=False)
class WindowWriter:
    """Everything a window file is made of, and where it is written."""

    path: Path
    """The file to write."""
    metadata: WindowMetadata
    """What is known of the windows."""
    samples: Samples
    """Positions and labels of the windows, row by row."""
    part: Bytes
    """Part of the split of each window (n,)."""
    identity: Any = None
    """Plain values that change when the scene does."""
    inputs: FileRecord = field(default_factory=FileRecord)
    """The files of the scene, recognised again if only their times changed."""

    def __post_init__(self) -> None:
        """Refuse to write an empty file."""
        if not len(self.samples):
            raise LabelError(
                f"No labelled pixel of {self.metadata.scene} has data; give labels of this image."
            )

    @property
    def coordinates_only(self) -> bool:
        """Whether the windows themselves are left out."""
        return self.metadata.contents == "coordinates"

    @property
    def bytes(self) -> int:
        """Bytes of the windows before compression."""
        return len(self.samples) * self.metadata.window_bytes

    @property
    def chunk(self) -> int:
        """Windows in a chunk."""
        return min(max(1, round(_CHUNK / self.metadata.window_bytes)), len(self.samples))

    @property
    def draft(self) -> Path:
        """The incomplete file, next to the target."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def note(self) -> Path:
        """File that says how many windows of the draft can be relied on."""
        return self.path.with_name(f".{self.path.name}.part.json")

    @staticmethod
    def inputs_of(path: Path) -> Path:
        """Return the file that remembers the scene's files while a window file is written."""
        return path.with_name(f".{path.name}.inputs.json")

    @property
    def key(self) -> str:
        """SHA-256 of everything in the file except the values of the windows."""
        metadata = {name: str(value) for name, value in self.metadata.attributes().items()}
        facts = [metadata, self.identity, str(self.path.name)]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        samples = self.samples
        for values in (samples.rows, samples.cols, samples.labels, self.part):
            digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()

    def check_space(self, done: int = 0) -> None:
        """Refuse to write windows that may not fit on the disk.

        Parameters
        ----------
        done : windows that the draft already holds

        Raises
        ------
        OutputError
            If fewer bytes are free than the remaining windows take before compression.
        """
        count = len(self.samples)
        left = 0 if self.coordinates_only else count - done
        needed = left * self.metadata.window_bytes + count * _PER_WINDOW + _OVERHEAD
        folder = next(path for path in self.path.absolute().parents if path.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"Cannot write {self.path}: with {free / 2**20:,.1f} MiB free and windows of "
                f"{needed / 2**20:,.1f} MiB, the disk is full before they are written; choose "
                "smaller windows, another folder or --coordinates-only."
            )

    @contextmanager
    def begun(self) -> Iterator["Draft"]:
        """Open the draft: a new one, or an earlier one of the same file to resume.

        Raises
        ------
        OutputError
            If the folder cannot be written or another process writes the file.
        """
        made = missing_folders(self.path)
        try:
            make_folder(self.path.parent)
            with _DraftFile(self.draft, "r+" if self.draft.exists() else "x+") as file:
                self._lock(file)
                try:
                    self.inputs.remember()
                    yield Draft(self, file)
                except BaseException:
                    if not self.note.exists():
                        self.draft.unlink(missing_ok=True)
                    raise
        except BaseException as error:
            if not self.note.exists():
                self.inputs.forget()
            for folder in made:
                # Only empty folders are removed: a draft that can be resumed stays.
                with suppress(OSError):
                    folder.rmdir()
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                raise write_error(self.path, error) from error
            raise

    def _lock(self, file: "_DraftFile") -> None:
        """Lock the draft against other processes."""
        try:
            # Not flock, which HDF5 takes itself to read the file.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            why = "another process is writing it; wait until it has finished"
            raise OutputError(error.errno, f"Cannot write {self.path}: {why}.") from error


class _DraftFile(io.FileIO):
    """A file that keeps the error of a failed write for later.

    HDF5 crashes if it cannot write its tables, as on a full disk.
    """

    failure: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or nothing after a failure."""
        left = memoryview(data).cast("B")
        try:
            while len(left) and self.failure is None:
                left = left[super().write(left) :]
        except BaseException as error:
            self.failure = error
        return len(data)

    def check(self) -> None:
        """Raise the error of a failed write."""
        if self.failure is not None:
            raise self.failure


class Draft:
    """A window file while it is being written.

    HDF5 changes its tables in place, so they are kept in memory between
    checkpoints, when windows are only appended to the file.  A note next to the
    draft records the windows it holds; it is removed while the tables are
    written.  A killed process therefore leaves either a draft with a valid note,
    which is resumed, or one without, which is started again.
    """

    def __init__(self, writer: WindowWriter, file: _DraftFile) -> None:
        self.writer, self._file = writer, file
        note = _read_note(writer.note)
        fits = 0 < note.done <= len(writer.samples) and note.size <= self._size
        usable = note.key == writer.key and fits
        self.done = note.done if usable else 0
        """Windows that are already in the draft."""
        self.discarded = writer.note.exists() and not usable
        """Whether a draft of something else, or a damaged one, was thrown away."""

    def write(
        self, pieces: Callable[[int], Iterator[Array]], progress: Progress | None = None
    ) -> None:
        """Write the missing windows, check the file and give it its name.

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
            if not self.done:
                self._lay_out(hdf5)
            if not writer.coordinates_only:
                self._fill(hdf5, pieces(self.done), progress)
        self._check(pieces)
        os.replace(writer.draft, writer.path)
        writer.note.unlink(missing_ok=True)
        writer.inputs.forget()

    @property
    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    @contextmanager
    def _hdf5(self) -> Iterator[h5py.File]:
        """Open the draft as HDF5 and leave a state that can be resumed."""
        if not self.done:
            self.writer.note.unlink(missing_ok=True)
            self._file.truncate(0)
        hdf5 = h5py.File(self._file, "r+" if self.done else "w", libver=_VERSION)
        _hold_tables(hdf5)
        self._take_note()
        try:
            yield hdf5
        finally:
            self.writer.note.unlink(missing_ok=True)
            hdf5.close()
            self._take_note()

    def _take_note(self) -> None:
        """Record the windows that are safely in the draft, if there are any."""
        self._file.check()
        self.writer.note.unlink(missing_ok=True)
        if self.done:
            os.fsync(self._file.fileno())
            note = _Note(key=self.writer.key, done=self.done, size=self._size)
            write_text(self.writer.note, note.model_dump_json() + "\n")

    def _lay_out(self, hdf5: h5py.File) -> None:
        """Write everything but the windows, and create their dataset."""
        writer, samples = self.writer, self.writer.samples
        for name, value in writer.metadata.attributes().items():
            hdf5.attrs[name] = value
        hdf5["labels"] = samples.labels.astype(np.uint16)
        hdf5["rows"] = samples.rows.astype(np.int32)
        hdf5["cols"] = samples.cols.astype(np.int32)
        hdf5["part"] = writer.part.astype(np.uint8)
        if not writer.coordinates_only:
            shape, dtype = writer.metadata.window_shape, writer.metadata.dtype
            # The filter that every HDF5 has; its fastest level packs as well as its slow ones.
            packed = {"shuffle": True, "compression": "gzip", "compression_opts": 1}
            chunks = (writer.chunk, *shape)
            hdf5.create_dataset(
                "windows", (len(samples), *shape), dtype, chunks=chunks, **packed
            )

    def _fill(
        self, hdf5: h5py.File, pieces: Iterator[Array], progress: Progress | None
    ) -> None:
        """Write windows in whole chunks, with a checkpoint now and then."""
        dataset, total = hdf5["windows"], len(self.writer.samples)
        step, saved = self.writer.metadata.window_bytes, self.done
        for block in _whole_chunks(pieces, self.writer.chunk):
            dataset[self.done : self.done + len(block)] = block
            self._file.check()
            self.done += len(block)
            if (self.done - saved) * step >= _CHECKPOINT:
                self.writer.note.unlink(missing_ok=True)
                hdf5.flush()
                self._take_note()
                saved = self.done
            if progress is not None:
                progress(self.done, total)

    def _check(self, pieces: Callable[[int], Iterator[Array]]) -> None:
        """Read the complete file and compare some windows with the scene's."""
        writer, samples = self.writer, self.writer.samples
        try:
            file = WindowFile(writer.draft)
            same = all(
                np.array_equal(getattr(file, name), getattr(samples, name))
                for name in ("rows", "cols", "labels")
            )
            if not writer.coordinates_only:
                some = sorted({0, len(file) // 2, len(file) - 1})
                same &= np.array_equal(
                    file[some].cut(), [next(pieces(at))[0] for at in some]
                )
            file.close()
        except SceneError:
            same = False
        if not same:
            writer.note.unlink(missing_ok=True)
            raise OutputError(
                f"Cannot write {writer.path}: what was written reads differently, perhaps "
                "because the scene was changed meanwhile or the disk is full; write it again."
            )


class _Note(BaseModel, frozen=True, strict=True):
    """What is known of a draft."""

    key: str = ""
    """Key of its writer."""
    done: int = 0
    """Windows that it holds."""
    size: int = 0
    """Bytes of the file with them."""


def _read_note(path: Path) -> _Note:
    """Read a note, which may be missing or damaged."""
    try:
        return _Note.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return _Note()


def _hold_tables(hdf5: h5py.File) -> None:
    """Let HDF5 write its tables on flush and close only, never in between."""
    config = hdf5.id.get_mdc_config()
    config.incr_mode = config.decr_mode = config.flash_incr_mode = 0
    config.evictions_enabled = False
    hdf5.id.set_mdc_config(config)


def _whole_chunks(pieces: Iterator[Array], chunk: int) -> Iterator[Array]:
    """Regroup windows so that no chunk is written twice."""
    rest: list[Array] = []
    for piece in pieces:
        block = np.concatenate([*rest, piece])
        end = len(block) // chunk * chunk
        rest = [block[end:]]
        if end:
            yield block[:end]
    if rest and len(rest[0]):
        yield rest[0]
