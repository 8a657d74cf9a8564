"""A window file: windows in HDF5, with their labels, places and parts, read lazily."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError, SplitError
from hypercover.samples.lazy_stack import LazyStack
from hypercover.samples.samples import Samples
from hypercover.samples.window_about import (
    NO_PART,
    PART_CODES,
    WindowAbout,
    entries,
)
from hypercover.samples.window_checksums import checksums, spread
from hypercover.samples.window_handle import WindowHandle
from hypercover.samples.windows import Windows
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

__all__ = ["WindowFile"]

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
