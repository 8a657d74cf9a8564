"""A window file: windows in HDF5, with their labels, places and parts, read lazily."""

import hashlib
import os
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError, SplitError
from hypercover.scene.io.limits import check_memory
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.windows.window_metadata import NO_PART, PART_CODES, WindowAbout, entries
from hypercover.windows.windows import LazyStack, Windows

__all__ = ["WindowFile", "WindowHandle", "checksums", "spread"]

_LOOKED_AT = 32
"""Windows that are compared: enough to tell scenes apart, few enough to read at once."""


def spread(count: int) -> npt.NDArray[np.intp]:
    """Return at most 32 positions, evenly spread over so many windows.

    Examples
    --------
    >>> spread(3).tolist(), len(spread(100)), spread(100)[[0, 1, -1]].tolist()
    ([0, 1, 2], 32, [0, 3, 99])
    """
    return np.unique(np.linspace(0, count - 1, _LOOKED_AT).astype(np.intp))


def checksums(
    scene: Scene, samples: Samples, size: int, dtype: np.dtype[Any]
) -> tuple[str, ...]:
    """Return the SHA-256 of the window around each sample, values little-endian.

    Why it exists: two scenes of one grid and type differ in nothing but their
    values.  Only the rows that the windows see are read.
    """
    little = dtype.newbyteorder("<")
    return tuple(
        hashlib.sha256(
            Windows.near(scene, samples.take(np.array([at])), size)
            .cut()
            .astype(little, copy=False)
            .tobytes()
        ).hexdigest()
        for at in range(len(samples))
    )


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
        check_memory(8 * dataset.shape[0], f"The window file {self.path}", "write it again")
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
        check_memory((len(at) + len(wanted)) * one, f"{len(at):,} windows of {self.path}",
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


Ints = npt.NDArray[np.int64]


class WindowFile(LazyStack):
    """A stack (n, band, row, col) of windows in an HDF5 file, read when asked for.

    Why it exists: windows written once go to any trainer on any machine
    without the scene.  It is indexed like an array, holds no window, and may be
    pickled and forked: each process opens the file for itself.

    Parameters
    ----------
    path : path
        What ``hypercover windows`` wrote; where it holds coordinates only,
        :meth:`open` takes the scene as well.

    Attributes
    ----------
    labels, rows, cols : arrays (n,)
        Class code of each centre and where it lies in the scene, from 0.
    part : array (n,)
        Part of the split: 0 unused, 1 train, 2 validation, 3 test, 4 guard, 5 none.
    about : WindowAbout
        Wavelengths, legend, grid and all else that is known.

    Raises
    ------
    SceneError
        If the file is missing, damaged or of another kind.
    LabelError
        If a label stands for no class of the legend.
    """

    def __init__(self, path: str | Path) -> None:
        self._handle = WindowHandle(Path(path))
        self.about = self._handle.about()
        self._count = len(self._handle.column("labels"))
        columns = (self._handle.column(name, self._count) for name in
                   ("labels", "rows", "cols", "part"))  # fmt: skip
        self.labels, self.rows, self.cols, self.part = columns
        self._check_columns()
        self.stored = self.about.contents != "coordinates"
        if self.stored:
            self._check_windows()
        self._looked_at = self.samples.take(spread(self._count))
        self._at = np.arange(self._count)
        self._cuts: Windows | None = None
        self._handle.close()

    @classmethod
    def open(cls, path: str | Path, scene: Scene | None = None) -> Self:
        """Open a window file; with a scene its windows are cut from that."""
        file = cls(path)
        return file if scene is None else file.seen_in(scene)

    def seen_in(self, scene: Scene) -> Self:
        """Return these windows, cut from the scene in the place of the file.

        Raises
        ------
        SceneError
            If it is not the scene they were cut from.
        """
        check_same_scene(self, scene)
        part = self._part(slice(None))
        part._cuts = Windows.of(scene, self.samples, self.window)
        return part

    def _check_columns(self) -> None:
        """Refuse labels, places and parts that cannot be."""
        take = entries(self.path, {})
        take.check_places(self.rows, self.cols, self.about.grid)
        strange = np.setdiff1d(self.labels, self.legend.codes)
        if len(strange):
            raise LabelError(
                f"The window file {self.path} cannot be used: its labels hold the code "
                f"{strange[0]}, which its legend does not name; write it again."
            )
        if not self._count:
            raise take.damaged("it holds no window")
        if not 0 <= self.part.min() <= self.part.max() <= NO_PART:
            raise take.damaged("its parts hold a code of no part")
        told = self.about.checksums
        if told is not None and len(told) != len(spread(self._count)):
            raise take.damaged(f"it has {len(told)} checksums")

    def _check_windows(self) -> None:
        """Refuse windows of another shape or type than the file says, and none at all."""
        if self.about.contents is None and not self._handle.has("windows"):
            raise self._handle.damaged(
                "it has no dataset windows and does not say that it holds coordinates only"
            )
        shape = (self._count, *self.about.window_shape)
        found = self._handle.dataset("windows", "iuf", shape).dtype.newbyteorder("=")
        if found != self.about.dtype:
            raise self._handle.damaged(
                f"its windows are of type {found}, not {self.about.dtype}"
            )

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._handle.path

    @property
    def window(self) -> int:
        """Side of a window in pixels."""
        return self.about.window

    @property
    def legend(self) -> Legend:
        """Names and colours of the classes."""
        return self.about.legend

    @property
    def wavelengths(self) -> npt.NDArray[np.float64] | None:
        """Centre of each band in nm, or None where not known."""
        known = self.about.wavelengths
        return None if known is None else np.array(known)

    @property
    def samples(self) -> Samples:
        """Places and labels of the windows."""
        return Samples(self.rows.astype(np.intp), self.cols.astype(np.intp), self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the stack: (n, band, row, col)."""
        return len(self._at), *self.about.window_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: that of the scene."""
        return self.about.dtype

    def _part(self, which: Any) -> Self:
        part = object.__new__(type(self))
        part.__dict__ |= self.__dict__
        for name in ("labels", "rows", "cols", "part", "_at"):
            setattr(part, name, getattr(self, name)[which])
        part._cuts = None if self._cuts is None else self._cuts[which]
        return part

    def take_part(self, name: str) -> Self:
        """Return the windows of a part: train, validation, test, guard, unused or none.

        Raises
        ------
        SplitError
            If there is no such part or it holds no window.
        """
        if name not in PART_CODES:
            raise SplitError(
                f"A window file has the parts {', '.join(PART_CODES)}, got {name!r}."
            )
        found = np.flatnonzero(self.part == PART_CODES[name])
        if not len(found):
            raise SplitError(
                f"No window of {self.path} is of the part {name!r}; write it with --split "
                "or --train, or take another part."
            )
        return self._part(found)

    def cut(self) -> npt.NDArray[np.generic]:
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
        return self._handle.windows(self._at, (self._count, *self.about.window_shape))

    def checksums_in(self, scene: Scene) -> tuple[str, ...]:
        """Return what the checksums of the file would be if a scene were its own."""
        return checksums(scene, self._looked_at, self.window, self.dtype)

    def close(self) -> None:
        """Let go of the open file; reading opens it again."""
        self._handle.close()


def check_same_scene(windows: WindowFile, scene: Scene) -> None:
    """Refuse a scene that windows were not cut from.

    Raises
    ------
    SceneError
        If its size, place, bands, type or values are others than those of the file;
        of the values those are compared that the file has checksums of.
    """
    about, found = windows.about, WindowAbout.of(scene, windows.window)
    names = {
        "size": (about.grid.shape, found.grid.shape),
        "place": (about.grid.transform, found.grid.transform),
        "bands": (about.bands, found.bands),
        "features": (about.band_names, found.band_names),
        "type": (about.dtype, found.dtype),
    }
    for what, (told, seen) in names.items():
        if told != seen:
            raise SceneError(
                f"The windows of {windows.path} were not cut from {scene.name}: its {what} "
                f"({_short(seen)}) is not that of the file ({_short(told)}); give the scene, "
                "with the bands, that they were cut from."
            )
    told = about.checksums
    if told is not None and told != windows.checksums_in(scene):
        raise SceneError(
            f"The windows of {windows.path} have other values than {scene.name} at the same "
            "places; give the scene that they were cut from, or write the file again."
        )


def _short(value: Any) -> str:
    text = (
        f"{len(value)} bands" if isinstance(value, tuple) and len(value) > 8 else str(value)
    )
    return text[:60]
