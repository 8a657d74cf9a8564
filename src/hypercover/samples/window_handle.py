"""The handle of a window file: opened in each process for itself, every dataset checked."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.samples.window_about import WindowAbout, entries
from hypercover.scene.memory import check_fits

__all__ = ["WindowHandle"]

BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
_LARGEST_CHUNK = 2**28
"""Bytes HDF5 unpacks to read one value of a chunk."""
_RUN = 64
"""Windows looked at together where a file has no chunks."""


class WindowHandle:
    """An HDF5 file that is opened where it is used, and never shared between processes.

    Why it exists: a handle that two processes share reads the wrong bytes, so
    after a fork and after unpickling a new one is opened.

    Raises
    ------
    SceneError
        If the file is missing, no HDF5 file, damaged, or changed since it was
        opened first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._identity = self._found()
        self._open: tuple[int, h5py.File] | None = None

    def _found(self) -> tuple[int, int]:
        """Return size and time of the file."""
        try:
            facts = self.path.stat()
            with self.path.open("rb"):
                return facts.st_size, facts.st_mtime_ns
        except OSError as error:
            raise SceneError(
                f"The window file {self.path} cannot be read ({error.strerror}); give a "
                "file written by hypercover windows."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind."""
        return self.__dict__ | {"_open": None}

    @property
    def file(self) -> h5py.File:
        """The file, open in this process."""
        if self._open is not None and self._open[0] == os.getpid():
            return self._open[1]
        self.close()
        if self._found() != self._identity:
            raise SceneError(
                f"The window file {self.path} has changed since it was opened; open it again."
            )
        try:
            self._open = os.getpid(), h5py.File(self.path, "r")
        except BROKEN as error:
            raise self.damaged("it is no HDF5 file, or cut short") from error
        return self._open[1]

    def close(self) -> None:
        """Let go of the open file; it is opened again when it is needed."""
        if self._open is not None:
            # Of a fork's parent too: closing here closes nothing there.
            self._open[1].close()
            self._open = None

    def damaged(self, why: str) -> SceneError:
        """Return the error of a file that cannot be used."""
        return SceneError(str(entries(self.path, {}).damaged(why)))

    def about(self) -> WindowAbout:
        """Read what the file says of its windows."""
        try:
            return WindowAbout.read(self.path, self.file.attrs)
        except BROKEN as error:
            if isinstance(error, SceneError):
                raise
            raise self.damaged("its attributes cannot be read") from error

    def has(self, name: str) -> bool:
        """Tell whether there is anything of that name."""
        return self._link(name) is not None

    def _link(self, name: str) -> Any:
        """Return how a name is linked, without following it."""
        return self.file.get(name, getlink=True)

    def dataset(self, name: str, kinds: str, shape: tuple[int, ...] | None) -> Any:
        """Return a dataset after checking that it is plain, of a kind and a shape.

        Nothing is followed out of the file, and nothing allocated yet.
        """
        try:
            return self._checked(name, kinds, shape)
        except BROKEN as error:
            if isinstance(error, SceneError):
                raise
            raise self.damaged(f"its dataset {name} cannot be read") from error

    def _checked(self, name: str, kinds: str, shape: tuple[int, ...] | None) -> Any:
        link = self._link(name)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise self.damaged(f"its dataset {name} is a link, which is never followed")
        found = None if link is None else self.file[name]
        if not isinstance(found, h5py.Dataset):
            raise self.damaged(f"it has no dataset {name}")
        if found.is_virtual or found.external:
            raise self.damaged(f"its dataset {name} takes its data from another file")
        if found.dtype.kind not in kinds or found.dtype.itemsize > 8:
            raise self.damaged(f"its dataset {name} is of type {found.dtype}")
        if found.shape is None or (
            len(found.shape) != 1 if shape is None else found.shape != shape
        ):
            wanted = "one number for each window" if shape is None else _times(shape)
            raise self.damaged(
                f"its dataset {name} is {_times(found.shape or ())}, not {wanted}"
            )
        self._check_storage(name, found)
        return found

    def _check_storage(self, name: str, dataset: Any) -> None:
        """Refuse chunks of any size and filters that are not here."""
        chunk = int(np.prod(dataset.chunks or (1,), dtype=object)) * dataset.dtype.itemsize
        if chunk > _LARGEST_CHUNK:
            raise self.damaged(f"its dataset {name} has chunks of {chunk:,} bytes")
        stored = dataset.id.get_create_plist()
        for place in range(stored.get_nfilters()):
            number, _, _, title = stored.get_filter(place)
            if not h5py.h5z.filter_avail(number):
                raise SceneError(
                    f"The window file {self.path} is packed with the filter {number} "
                    f"({title.decode('utf-8', 'replace')[:40]}), which is not installed; "
                    "pack it again with h5repack -f GZIP=1."
                )

    def column(self, name: str, count: int | None = None) -> npt.NDArray[np.int64]:
        """Read whole numbers (n,), one for each window."""
        dataset = self.dataset(name, "iu", None if count is None else (count,))
        check_fits(8 * dataset.shape[0], f"The window file {self.path}", "write it again")
        try:
            return np.asarray(dataset[()]).astype(np.int64)
        except BROKEN as error:
            raise self.damaged(f"its dataset {name} cannot be unpacked") from error

    def windows(self, at: npt.NDArray[np.intp], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Read windows (n, band, row, col) at positions in any order, some perhaps twice.

        Each chunk is unpacked once: positions are sorted, read and put back.
        """
        dataset = self.dataset("windows", "iuf", shape)
        one = int(np.prod(shape[1:])) * dataset.dtype.itemsize
        wanted, back = np.unique(at, return_inverse=True)
        check_fits((len(at) + len(wanted)) * one, f"{len(at):,} windows of {self.path}",
                   "take fewer at once")  # fmt: skip
        step = dataset.chunks[0] if dataset.chunks else _RUN
        cut = np.empty((len(wanted), *shape[1:]), dataset.dtype)
        ends = np.flatnonzero(np.diff(wanted // step, append=-1)) + 1
        first = 0
        try:
            for end in ends.tolist():
                self._fill(dataset, wanted[first:end], cut[first:end])
                first = end
        except BROKEN as error:
            raise self.damaged("its windows cannot be unpacked") from error
        return cut if np.array_equal(wanted, at) else cut[back]

    @staticmethod
    def _fill(dataset: Any, wanted: npt.NDArray[np.intp], out: npt.NDArray[Any]) -> None:
        """Read rising positions that lie near each other."""
        low, high = int(wanted[0]), int(wanted[-1]) + 1
        if high - low == len(wanted):
            dataset.read_direct(out, np.s_[low:high])
        else:
            out[:] = dataset[low:high][wanted - low]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single value"
