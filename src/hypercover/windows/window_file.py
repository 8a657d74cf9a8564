"""Window files: windows in HDF5 with labels, positions and split parts, read lazily."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError, SplitError
from hypercover.scene.io.limits import check_memory
from hypercover.scene.io.sample_metadata import check_pixels
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.types import Array, Floats, Indices, Ints
from hypercover.windows.window_metadata import (
    NO_PART,
    PART_CODES,
    WindowMetadata,
    damaged_file,
)
from hypercover.windows.windows import LazyStack, Windows

_COMPARED = 32
"""Windows compared with a scene: enough to tell scenes apart, few enough to read at once."""
_LARGEST_CHUNK = 2**28
"""Bytes HDF5 may have to unpack to read one value."""
_RUN = 64
"""Windows read together from a file without chunks."""


def evenly_spaced(count: int) -> Indices:
    """Return at most 32 positions, evenly spaced over a number of windows.

    Examples
    --------
    >>> evenly_spaced(3).tolist(), evenly_spaced(100)[[0, 1, -1]].tolist()
    ([0, 1, 2], [0, 3, 99])
    """
    return np.unique(np.linspace(0, count - 1, _COMPARED).astype(np.intp))


def checksums(
    scene: Scene, samples: Samples, size: int, dtype: npt.DTypeLike
) -> tuple[str, ...]:
    """Return the SHA-256 of the little-endian values of the window around each sample.

    Only the rows of the scene that the windows cover are read.
    """
    little = np.dtype(dtype).newbyteorder("<")
    return tuple(
        hashlib.sha256(
            Windows.near(scene, samples.take(np.array([at])), size)
            .cut()
            .astype(little, copy=False)
            .tobytes()
        ).hexdigest()
        for at in range(len(samples))
    )


class WindowHandle:
    """An HDF5 file that each process opens for itself.

    Two processes that share a handle read the wrong bytes, so the file is
    opened again after a fork and after unpickling.

    Raises
    ------
    SceneError
        If the file is missing, damaged, not HDF5, or changed since it was first
        opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._identity = self._stat()
        self._open: tuple[int, h5py.File] | None = None

    def _stat(self) -> tuple[int, int]:
        """Return size and modification time of the file."""
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
        if self._stat() != self._identity:
            raise SceneError(
                f"The window file {self.path} has changed since it was opened; open it again."
            )
        with self.reading("it is not an HDF5 file, or cut short"):
            self._open = os.getpid(), h5py.File(self.path, "r")
        return self._open[1]

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._open is not None:
            # After a fork this closes the parent's handle here only, not in the parent.
            self._open[1].close()
            self._open = None

    @contextmanager
    def reading(self, why: str) -> Iterator[None]:
        """Turn whatever h5py raises in the block into the error of a damaged file."""
        try:
            yield
        except SceneError:
            raise
        except (
            OSError,
            RuntimeError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise damaged_file(self.path, why) from error

    def metadata(self) -> WindowMetadata:
        """Read and validate the attributes."""
        with self.reading("its attributes cannot be read"):
            return WindowMetadata.read(self.path, self.file.attrs)

    def dataset(self, name: str, kinds: str, shape: tuple[int, ...] | None) -> Any:
        """Return a dataset after checking kind, shape and storage; nothing is allocated.

        Links and data in other files are never followed.
        """
        with self.reading(f"its dataset {name} cannot be read"):
            link = self.file.get(name, getlink=True)
            dataset = self.file[name] if isinstance(link, h5py.HardLink) else None
            fault = _fault(dataset, kinds, shape)
            if link is not None and dataset is None:
                fault = "is a link, which is never followed"
            if fault:
                raise damaged_file(self.path, f"its dataset {name} {fault}")
            self._check_filters(dataset)
            return dataset

    def _check_filters(self, dataset: Any) -> None:
        """Refuse compression filters that are not installed."""
        stored = dataset.id.get_create_plist()
        for place in range(stored.get_nfilters()):
            number, _, _, title = stored.get_filter(place)
            if not h5py.h5z.filter_avail(number):
                raise SceneError(
                    f"The window file {self.path} is packed with the filter {number} "
                    f"({title.decode('utf-8', 'replace')[:40]}), which is not installed; "
                    "pack it again with h5repack -f GZIP=1."
                )

    def column(self, name: str, count: int | None = None) -> Ints:
        """Read integers (n,), one for each window."""
        dataset = self.dataset(name, "iu", None if count is None else (count,))
        check_memory(8 * dataset.shape[0], f"The window file {self.path}", "write it again")
        with self.reading(f"its dataset {name} cannot be unpacked"):
            return np.asarray(dataset[()]).astype(np.int64)

    def windows(self, at: Indices, shape: tuple[int, ...]) -> Array:
        """Read windows (n, band, row, col) at positions in any order, repeated or not.

        Each chunk is unpacked once: the positions are sorted and the windows put
        back in the order given.
        """
        dataset = self.dataset("windows", "iuf", shape)
        one = int(np.prod(shape[1:])) * dataset.dtype.itemsize
        rising, back = np.unique(at, return_inverse=True)
        check_memory((len(at) + len(rising)) * one, f"{len(at):,} windows of {self.path}",
                   "take fewer at once")  # fmt: skip
        step = dataset.chunks[0] if dataset.chunks else _RUN
        cut = np.empty((len(rising), *shape[1:]), dataset.dtype)
        ends = np.flatnonzero(np.diff(rising // step, append=-1)) + 1
        first = 0
        with self.reading("its windows cannot be unpacked"):
            for end in ends.tolist():
                self._fill(dataset, rising[first:end], cut[first:end])
                first = end
        return cut if np.array_equal(rising, at) else cut[back]

    @staticmethod
    def _fill(dataset: Any, rising: Indices, out: Array) -> None:
        """Read rising positions that are close to each other."""
        low, high = int(rising[0]), int(rising[-1]) + 1
        if high - low == len(rising):
            dataset.read_direct(out, np.s_[low:high])
        else:
            out[:] = dataset[low:high][rising - low]


def _fault(dataset: Any, kinds: str, shape: tuple[int, ...] | None) -> str:
    """Return what is wrong with a dataset, or nothing."""
    if not isinstance(dataset, h5py.Dataset):
        return "is missing"
    if dataset.is_virtual or dataset.external:
        return "takes its data from another file"
    if dataset.dtype.kind not in kinds or dataset.dtype.itemsize > 8:
        return f"is of type {dataset.dtype}"
    actual = dataset.shape or ()
    if (len(actual) != 1) if shape is None else (actual != shape):
        expected = "one number for each window" if shape is None else _times(shape)
        return f"is {_times(actual)}, not {expected}"
    chunk = int(np.prod(dataset.chunks or (1,), dtype=object)) * dataset.dtype.itemsize
    return f"has chunks of {chunk:,} bytes" if chunk > _LARGEST_CHUNK else ""


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single value"


class WindowFile(LazyStack):
    """A stack (n, band, row, col) of windows in an HDF5 file, read on demand.

    It is indexed like an array and holds no window in memory.  It may be pickled
    and used after a fork: each process opens the file for itself.

    Parameters
    ----------
    path : path
        File written by ``hypercover windows``.  If it holds coordinates only, use
        :meth:`open` with the scene.

    Attributes
    ----------
    labels, rows, cols : arrays (n,)
        Class code, row and column (from 0) of each centre pixel.
    part : array (n,)
        Part of the split: 0 unused, 1 train, 2 validation, 3 test, 4 guard, 5 none.
    metadata : WindowMetadata
        Wavelengths, legend, grid and everything else known about the scene.

    Raises
    ------
    SceneError
        If the file is missing, damaged or not a window file.
    LabelError
        If a label is not in the legend.
    """

    def __init__(self, path: str | Path) -> None:
        self._handle = WindowHandle(Path(path))
        self.metadata = self._handle.metadata()
        self._count = len(self._handle.column("labels"))
        self.labels, self.rows, self.cols, self.part = (
            self._handle.column(name, self._count)
            for name in ("labels", "rows", "cols", "part")
        )
        self._check_columns()
        self.stored = self.metadata.contents != "coordinates"
        if self.stored:
            self._check_windows()
        self._compared = self.samples.take(evenly_spaced(self._count))
        self._at = np.arange(self._count)
        self._cuts: Windows | None = None
        self._handle.close()

    @classmethod
    def open(cls, path: str | Path, scene: Scene | None = None) -> Self:
        """Open a window file; with a scene its windows are cut from that."""
        file = cls(path)
        return file if scene is None else file.seen_in(scene)

    def seen_in(self, scene: Scene) -> Self:
        """Return the same windows, cut from the scene instead of read from the file.

        Raises
        ------
        SceneError
            If the windows were cut from another scene.
        """
        check_same_scene(self, scene)
        part = self._part(slice(None))
        part._cuts = Windows.of(scene, self.samples, self.window)
        return part

    def _check_columns(self) -> None:
        """Check labels, positions and parts."""
        try:
            check_pixels(self.rows, self.cols, self.metadata.grid)
            if not self._count:
                raise ValueError("it holds no windows")
            if not 0 <= self.part.min() <= self.part.max() <= NO_PART:
                raise ValueError(f"its parts must be codes from 0 to {NO_PART}")
            sums = self.metadata.checksums
            if sums is not None and len(sums) != len(evenly_spaced(self._count)):
                raise ValueError(f"it has {len(sums)} checksums")
        except ValueError as error:
            raise damaged_file(self.path, str(error)) from error
        unknown = np.setdiff1d(self.labels, self.legend.codes)
        if len(unknown):
            raise LabelError(
                f"The window file {self.path} cannot be used: its labels contain the code "
                f"{unknown[0]}, which is not in its legend; write it again."
            )

    def _check_windows(self) -> None:
        """Check shape and type of the windows."""
        if self.metadata.contents is None and "windows" not in self._handle.file:
            raise damaged_file(
                self.path,
                "its dataset windows is missing and it does not say that it holds "
                "coordinates only",
            )
        dataset = self._handle.dataset("windows", "iuf", self._stored_shape)
        dtype = dataset.dtype.newbyteorder("=")
        if dtype != self.dtype:
            raise damaged_file(
                self.path, f"its windows are of type {dtype}, not {self.dtype}"
            )

    @property
    def _stored_shape(self) -> tuple[int, int, int, int]:
        return self._count, *self.metadata.window_shape

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._handle.path

    @property
    def window(self) -> int:
        """Side of a window in pixels."""
        return self.metadata.window

    @property
    def legend(self) -> Legend:
        """Names and colours of the classes."""
        return self.metadata.legend

    @property
    def wavelengths(self) -> Floats | None:
        """Centre of each band in nm, or None if not known."""
        wavelengths = self.metadata.wavelengths
        return None if wavelengths is None else np.array(wavelengths)

    @property
    def samples(self) -> Samples:
        """Positions and labels of the windows."""
        return Samples(self.rows.astype(np.intp), self.cols.astype(np.intp), self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the stack: (n, band, row, col)."""
        return len(self._at), *self.metadata.window_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: that of the scene."""
        return np.dtype(self.metadata.dtype)

    def _part(self, which: Any) -> Self:
        part = object.__new__(type(self))
        part.__dict__ |= self.__dict__
        for name in ("labels", "rows", "cols", "part", "_at"):
            setattr(part, name, getattr(self, name)[which])
        part._cuts = None if self._cuts is None else self._cuts[which]
        return part

    def take_part(self, name: str) -> Self:
        """Return the windows of one part: train, validation, test, guard, unused or none.

        Raises
        ------
        SplitError
            If there is no such part or it holds no windows.
        """
        if name not in PART_CODES:
            raise SplitError(
                f"A window file has the parts {', '.join(PART_CODES)}, got {name!r}."
            )
        at = np.flatnonzero(self.part == PART_CODES[name])
        if not len(at):
            raise SplitError(
                f"No window of {self.path} belongs to the part {name!r}; write it with "
                "--split or --train, or take another part."
            )
        return self._part(at)

    def cut(self) -> Array:
        """Read all windows now: an array (n, band, row, col).

        Raises
        ------
        SceneError
            If the file is damaged, holds coordinates only, or the windows do not
            fit in memory.
        """
        if self._cuts is not None:
            return self._cuts.cut()
        if not self.stored:
            raise SceneError(
                f"{self.path} holds coordinates only; open it with its scene: "
                "WindowFile.open(path, scene)."
            )
        return self._handle.windows(self._at, self._stored_shape)

    def checksums_in(self, scene: Scene) -> tuple[str, ...]:
        """Return the checksums of the same windows cut from a scene."""
        return checksums(scene, self._compared, self.window, self.dtype)

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()


def check_same_scene(windows: WindowFile, scene: Scene) -> None:
    """Refuse a scene that windows were not cut from.

    Raises
    ------
    SceneError
        If size, position, bands, type or values differ from those of the file.
        Values are compared where the file has checksums.
    """
    ours, theirs = windows.metadata, WindowMetadata.of(scene, windows.window)
    properties = {
        "size": (ours.grid.shape, theirs.grid.shape),
        "position": (ours.transform, theirs.transform),
        "bands": (ours.bands, theirs.bands),
        "features": (ours.band_names, theirs.band_names),
        "type": (ours.dtype, theirs.dtype),
    }
    for name, (our, their) in properties.items():
        if our != their:
            raise SceneError(
                f"The windows of {windows.path} were not cut from {scene.name}: its {name} "
                f"({_short(their)}) differs from that of the file ({_short(our)}); give the "
                "scene and bands they were cut from."
            )
    if ours.checksums is not None and ours.checksums != windows.checksums_in(scene):
        raise SceneError(
            f"The windows of {windows.path} have other values than {scene.name} at the same "
            "positions; give the scene they were cut from, or write the file again."
        )


def _short(value: Any) -> str:
    many = isinstance(value, tuple) and len(value) > 8
    return f"{len(value)} bands" if many else str(value)[:60]
