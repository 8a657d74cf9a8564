"""Window files: windows in HDF5 with labels, positions and split parts, read lazily."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hypercover.errors import CallError, LabelError, SceneError, SplitError
from hypercover.memory import check_memory
from hypercover.scene.grid import Grid
from hypercover.scene.io import sample_metadata as entries
from hypercover.scene.legend import Legend
from hypercover.scene.samples import MOST_WINDOW, Samples
from hypercover.scene.scene import Scene
from hypercover.splits.split import PARTS, Split
from hypercover.types import Array, Floats, Indices, Ints
from hypercover.windows.windows import LazyStack, Windows

FORMAT, VERSION = "hypercover windows", 1
NO_PART = len(PARTS)
"""Code of a window that was written without a split."""
PART_CODES = {name: code for code, name in enumerate((*PARTS, "none"))}
"""Code of each part in the dataset ``part``."""
Contents = Literal["windows", "coordinates"]

_JSON_KEYS = ("band_names", "legend", "checksums", "split_settings")
_MOST_ATTRIBUTES, _MOST_BYTES = 1000, 2**24
_MOST_SETTINGS, _MOST_NUMBER, _MOST_LETTERS = 64, 2**53, 1000
_COMPARED = 32
"""Windows compared with a scene: enough to tell scenes apart, few enough to read at once."""
_LARGEST_CHUNK = 2**28
"""Bytes HDF5 may have to unpack to read one value."""
_FAULTS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What h5py raises for damaged files."""
_RUN = 64
"""Windows read together from a file without chunks."""


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"the window size must be odd, got {size}")
    return size


_Bounded = Field(gt=-_MOST_NUMBER, lt=_MOST_NUMBER, allow_inf_nan=False)
_Letters = Annotated[str, Field(max_length=_MOST_LETTERS)]
_Setting = None | bool | Annotated[int, _Bounded] | Annotated[float, _Bounded] | _Letters
_Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class WindowMetadata(BaseModel):
    """What is known of windows apart from their values, labels and positions.

    The entries are the attributes of a window file, which any HDF5 reader shows.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["hypercover windows"] = "hypercover windows"
    """Name of the format."""
    version: Literal[1] = 1
    """Version of the format."""
    axes: entries.Text = "window,band,row,col"
    """Order of the axes."""
    window: Annotated[int, Field(ge=1, le=MOST_WINDOW), AfterValidator(_odd)]
    """Side of a window in pixels."""
    dtype: entries.ValueType
    """Type of the values: that of the scene."""
    padding: entries.Text = (
        "edge: windows that reach over the edge of the scene repeat its edge pixels"
    )
    """How windows at the edge of the scene are filled."""
    nodata: entries.Text = "pixels without data are zero in every band"
    """How pixels without data are filled."""
    bands: entries.BandNumbers
    """Band numbers in the source of the scene, from 1."""
    wavelengths: entries.Numbers | None = None
    """Centre of each band in nm, where known for every band."""
    fwhm: entries.Numbers | None = None
    """Full width at half maximum of each band in nm, where known for every band."""
    bbl: entries.Numbers | None = None
    """1 for good bands and 0 for bad ones, where any is marked as bad."""
    band_names: entries.Texts | None = None
    """Name of each band, where they have names."""
    legend: entries.LegendEntry
    """Names and colours of the classes."""
    scene: entries.Text = "scene"
    """Name of the scene."""
    source: entries.Text = ""
    """Path the scene was read from."""
    simulated: bool = False
    """Whether the scene was computed rather than measured."""
    split: entries.Text = "none"
    """Kind of the split whose parts are recorded: random, blocks, …, or none."""
    split_settings: Annotated[
        dict[_Letters, _Setting], Field(max_length=_MOST_SETTINGS)
    ] = Field(default_factory=dict)
    """Settings of that split, such as the size of its blocks."""
    contents: Contents | None = None
    """What the file holds; None in older files, which hold windows."""
    checksums: Annotated[tuple[_Checksum, ...], Field(max_length=2**10)] | None = None
    """SHA-256 of windows spread over the file, or None in older files."""
    parts: entries.Text = ", ".join(f"{code} {name}" for name, code in PART_CODES.items())
    """Meaning of the codes in the dataset ``part``."""
    grid_rows: entries.Side
    """Rows of the scene."""
    grid_cols: entries.Side
    """Columns of the scene."""
    crs: entries.Crs | None = None
    """Coordinate reference system as WKT, where known."""
    transform: entries.Transform
    """Affine a, b, c, d, e, f: x = a·col + b·row + c, y = d·col + e·row + f."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        names = ("wavelengths", "fwhm", "bbl", "band_names")
        columns = ((name, getattr(self, name)) for name in names)
        entries.check_lengths(len(self.bands), "bands", columns)
        return self

    @classmethod
    def of(
        cls,
        scene: Scene,
        window: int,
        split: Split | None = None,
        contents: Contents | None = None,
    ) -> Self:
        """Collect the metadata of windows around pixels of a scene.

        Raises
        ------
        SceneError
            If the type of the scene's values cannot be stored.
        """
        dtype = np.dtype("u1" if scene.cube.dtype.kind == "b" else scene.cube.dtype)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise SceneError(
                "Windows hold integers or floats of at most 64 bits, but the values of "
                f"{scene.name} are {dtype}; convert the image first."
            )
        grid, bad = scene.grid, scene.bad
        settings = {} if split is None else split.settings
        values = {
            "window": window,
            "dtype": dtype.name,
            "bands": scene.bands.tolist(),
            "legend": scene.legend,
            "grid_rows": grid.rows,
            "grid_cols": grid.cols,
            "crs": grid.crs,
            "transform": grid.transform,
            "wavelengths": entries.known_values(scene.wavelengths),
            "fwhm": entries.known_values(scene.fwhm),
            "bbl": (~bad).astype(float).tolist() if bad.any() else None,
            "band_names": scene.band_names,
            "scene": scene.name,
            "source": scene.source,
            "simulated": scene.simulated,
            "split": "none" if split is None else split.kind,
            "split_settings": {key: x for key, x in settings.items() if _is_setting(x)},
            "contents": contents,
        }
        try:
            return entries.validated(cls, values)
        except ValueError as error:
            raise SceneError(
                f"The metadata of {scene.name} cannot be stored: {error}; correct the image."
            ) from error

    @property
    def grid(self) -> Grid:
        """Shape and georeference of the scene."""
        return Grid(self.grid_rows, self.grid_cols, self.crs, self.transform)

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """Shape of one window: (band, row, col)."""
        return len(self.bands), self.window, self.window

    @property
    def window_bytes(self) -> int:
        """Bytes of one window before compression."""
        return int(np.prod(self.window_shape)) * np.dtype(self.dtype).itemsize

    def attributes(self) -> dict[str, Any]:
        """Return HDF5 attributes: numbers, arrays of numbers, and text."""
        values = self.model_dump(exclude_none=True)
        for key in values.keys() & set(_JSON_KEYS):
            values[key] = json.dumps(values[key], ensure_ascii=False)
        return {key: _attribute(value) for key, value in values.items()}

    @classmethod
    def read(cls, attributes: Any) -> Self:
        """Read and validate the attributes of an HDF5 file.

        Raises
        ------
        ValueError
            If they are damaged, contradictory, or not those of a window file.
        """
        values = _plain(attributes)
        version = values.get("version")
        if values.get("format") != FORMAT:
            raise ValueError(f"it is not a file of the format {FORMAT!r}")
        if version != VERSION:
            raise ValueError(f"it is of version {version}, and only {VERSION} can be read")
        return entries.validated(cls, values)


def _is_setting(value: Any) -> bool:
    """Tell whether a setting of a split is plain and small enough to be stored."""
    if isinstance(value, str):
        return len(value) <= _MOST_LETTERS
    return value is None or (isinstance(value, int | float) and abs(value) < _MOST_NUMBER)


def _attribute(value: Any) -> Any:
    """Return a value as HDF5 stores it: text inline rather than by reference."""
    if isinstance(value, str):
        data = value.encode()
        return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
    return np.uint8(value) if isinstance(value, bool) else np.array(value)


def _plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values of bounded size."""
    if len(attributes) > _MOST_ATTRIBUTES:
        raise ValueError("it has far too many attributes")
    plain: dict[str, Any] = {}
    for key in list(attributes):
        attribute = attributes.get_id(key)
        size = int(np.prod(attribute.shape, dtype=object)) * attribute.dtype.itemsize
        if size > _MOST_BYTES or attribute.dtype.kind not in "iufSO":
            raise ValueError(f"its attribute {key[:40]!r} is not a number, list or text")
        value = attributes[key]
        value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        plain[key] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    for key in plain.keys() & set(_JSON_KEYS):
        try:
            plain[key] = json.loads(plain[key])
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"its attribute {key!r} is not JSON") from error
    return plain


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
    each = (samples.take(np.array([at])) for at in range(len(samples)))
    cuts = (Windows.near(scene, sample, size).cut() for sample in each)
    values = (cut.astype(little, copy=False).tobytes() for cut in cuts)
    return tuple(hashlib.sha256(window).hexdigest() for window in values)


class _Handle:
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
            raise self.damaged(f"it cannot be read ({error.strerror})") from error

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
        except _FAULTS as error:
            raise self.damaged(why) from error

    def damaged(self, why: str, kind: type[CallError] = SceneError) -> CallError:
        """Return the error of a window file that cannot be used."""
        return entries.unusable(self.path, "window file", why, "write it again", kind)

    def metadata(self) -> WindowMetadata:
        """Read and validate the attributes."""
        with self.reading("its attributes cannot be read"):
            attributes = self.file.attrs
            try:
                return WindowMetadata.read(attributes)
            except ValueError as error:
                raise self.damaged(str(error)) from error

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
                raise self.damaged(f"its dataset {name} {fault}")
            return dataset

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
        n_bytes = int(np.prod(shape[1:])) * dataset.dtype.itemsize
        rising, back = np.unique(at, return_inverse=True)
        what = f"{len(at):,} windows of {self.path}"
        check_memory((len(at) + len(rising)) * n_bytes, what, "take fewer at once")
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
    if chunk > _LARGEST_CHUNK:
        return f"has chunks of {chunk:,} bytes"
    stored = dataset.id.get_create_plist()
    for number, _, _, name in map(stored.get_filter, range(stored.get_nfilters())):
        if not h5py.h5z.filter_avail(number):
            return (
                f"is packed with the filter {number} ({name.decode('utf-8', 'replace')[:40]}), "
                "which is not installed: pack it again with h5repack -f GZIP=1"
            )
    return ""


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

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from hypercover.experiment import write_windows
    >>> cube, labels = np.ones((3, 5, 4), "f4"), np.eye(5, 4, dtype="u1")
    >>> scene = Scene.from_array(cube, labels, {1: "Corn"})
    >>> with TemporaryDirectory() as folder:
    ...     windows = write_windows(scene, Path(folder) / "W.h5", size=3)
    ...     print(windows.shape, windows.labels, windows[0].mean())
    (4, 3, 3, 3) [1 1 1 1] 1.0
    """

    def __init__(self, path: str | Path) -> None:
        self._handle = _Handle(Path(path))
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
            entries.check_pixels(self.rows, self.cols, self.metadata.grid)
            if not self._count:
                raise ValueError("it holds no windows")
            if not 0 <= self.part.min() <= self.part.max() <= NO_PART:
                raise ValueError(f"its parts must be codes from 0 to {NO_PART}")
            sums = self.metadata.checksums
            if sums is not None and len(sums) != len(evenly_spaced(self._count)):
                raise ValueError(f"it has {len(sums)} checksums")
        except ValueError as error:
            raise self._handle.damaged(str(error)) from error
        unknown = np.setdiff1d(self.labels, self.legend.codes)
        if len(unknown):
            why = f"its labels contain the code {unknown[0]}, which is not in its legend"
            raise self._handle.damaged(why, LabelError)

    def _check_windows(self) -> None:
        """Check shape and type of the windows."""
        if self.metadata.contents is None and "windows" not in self._handle.file:
            raise self._handle.damaged(
                "its dataset windows is missing and it does not say that it holds coordinates only"
            )
        dataset = self._handle.dataset("windows", "iuf", self._stored_shape)
        dtype = dataset.dtype.newbyteorder("=")
        if dtype != self.dtype:
            raise self._handle.damaged(f"its windows are of type {dtype}, not {self.dtype}")

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
                f"No window of {self.path} is in the part {name!r}; write it with --split "
                "or --train."
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
                f"{self.path} holds coordinates only; open it with its scene: WindowFile.open."
            )
        return self._handle.windows(self._at, self._stored_shape)

    def __repr__(self) -> str:
        """Name the file, and the number, shape and type of its windows."""
        return f"{super().__repr__()[:-1]}, {self.path}>"

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
    values = attrgetter("grid.shape", "transform", "bands", "band_names", "dtype")
    names = ("size", "position", "bands", "features", "type")
    for name, our, their in zip(names, values(ours), values(theirs), strict=True):
        if our != their:
            raise SceneError(
                f"The windows of {windows.path} were not cut from {scene.name}: its {name} "
                f"({_short(their)}) differs from that of the file ({_short(our)}); give the "
                "scene and bands they were cut from."
            )
    if ours.checksums is not None and ours.checksums != checksums(
        scene, windows._compared, windows.window, windows.dtype
    ):
        raise SceneError(
            f"The windows of {windows.path} have other values than {scene.name} at the same "
            "positions; give the scene they were cut from, or write the file again."
        )


def _short(value: Any) -> str:
    many = isinstance(value, tuple) and len(value) > 8
    return f"{len(value)} bands" if many else str(value)[:60]
