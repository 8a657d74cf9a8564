"""Finding a scene by its content, whatever its files are called and wherever they lie."""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import HypercoverError, LabelError
from hypercover.scene.datasets.catalog import (
    INDIAN_PINES,
    USUAL_BANDS,
    KnownFile,
    KnownImage,
    KnownMap,
    KnownScene,
    ground_truth,
    known_map,
    recognise,
    recognise_image,
)
from hypercover.scene.grid import Grid
from hypercover.scene.io.array_files import (
    ARRAY_READERS,
    ORDERS,
    ArrayOutline,
    open_array_file,
    outline_arrays,
)
from hypercover.scene.io.file_types import FileType, detect_type
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.labels import as_codes
from hypercover.scene.pansharpen.registration import register
from hypercover.scene.scene import Scene

__all__ = [
    "WANTED",
    "Findings",
    "Fit",
    "FoundImage",
    "FoundLabels",
    "FoundPair",
    "Looked",
    "SceneSignature",
    "find_maps",
    "find_pair",
    "find_scene",
    "known_by",
    "labels_of",
    "look_through",
    "same_bytes",
]

Labels = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Fit:
    """How well a label map suits a scene."""

    rank: int
    """0 is best."""
    title: str
    """What it is."""


@dataclass(frozen=True)
class SceneSignature:
    """What an image and its labels must be like to be taken for a scene."""

    title: str
    """Name of the scene."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and columns it is known with; empty: any."""
    bands: tuple[int, ...]
    """Numbers of bands it is known with."""
    fit: Callable[[Labels], Fit | None]
    """Tells whether a label map (y, x) is one of the scene's."""

    def suits(self, rows: int, cols: int, bands: int) -> bool:
        """Tell whether an image of this shape can be the scene."""
        return bands in self.bands and (not self.sizes or (rows, cols) in self.sizes)


def _counts(labels: Labels) -> list[int]:
    """Return the labelled pixels of each class, the largest class first."""
    return sorted(np.unique(labels[labels > 0], return_counts=True)[1].tolist())[::-1]


def _indian_pines(labels: Labels) -> Fit | None:
    """Take the corrected ground truth, or else that of Site 3, both pixel by pixel."""
    known = recognise(labels)
    if known is None or known.scene != "indian-pines" or not known.is_exactly(labels):
        return None
    order = [10_249, 10_366]
    total = sum(known.counts.values())
    return Fit(order.index(total), known.title) if total in order else None


_FULL_CLASSES = (40, 64)


def _full(labels: Labels) -> Fit | None:
    """Take a map of about as many classes; the published total says more."""
    counts = _counts(labels)
    if not _FULL_CLASSES[0] <= len(counts) <= _FULL_CLASSES[1]:
        return None
    whole = sum(known_map("Indian Pines flight line").counts.values())
    published = (len(counts), sum(counts)) == (58, whole)
    what = "the published number" if published else f"the published map has {whole:,}"
    return Fit(
        0 if published else 1,
        f"{len(counts)} classes, {sum(counts):,} labelled pixels ({what})",
    )


def _rome(labels: Labels) -> Fit | None:
    """Take the map whose nine classes have the published numbers of pixels.

    Source: Cavallaro et al., JSTARS 2015, training and test together.
    """
    known = recognise(labels)
    return Fit(0, known.title) if known is not None and known.scene == "rome" else None


WANTED: Mapping[str, SceneSignature] = {
    "indian-pines": SceneSignature(
        "Indian Pines", (INDIAN_PINES,), (len(USUAL_BANDS), 220), _indian_pines
    ),
    "indian-pines-full": SceneSignature(
        "Full Indian Pines", ((1417, 617), (2678, 614)), (len(USUAL_BANDS), 220), _full
    ),
    "rome": SceneSignature("Rome", (), (5,), _rome),
}
"""Scenes of the named experiments, by their key in the catalogue where they have one."""


_CHUNK = 2**20


def same_bytes(path: Path, file: KnownFile) -> bool | None:
    """Tell whether a file has the published checksum; None where none is known.

    Both the SHA-256 and the content id of git are compared, where they are known.
    """
    if file.sha256 is None and file.git_blob is None:
        return None
    plain = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            plain.update(chunk)
            blob.update(chunk)
    wanted = {file.sha256, file.git_blob} - {None}
    return wanted <= {plain.hexdigest(), blob.hexdigest()}


def known_by(path: Path, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what a file on the disk is known to be one of a scene, or return None.

    Its name plays no part.  Best is the checksum.  A copy in other bytes is known
    by what it holds: labels by the pixels of each class, an image by its values
    where some are known, and what is left by the name and shape of its array.
    """
    alike = [one for one in outline_arrays(path) if one.shape == file.shape]
    if not alike:
        return None
    if same_bytes(path, file):
        return "its checksum"
    told = _labels_by if file.is_labels else _image_by
    return next(filter(None, (told(one, file, scene) for one in alike)), None)


def _labels_by(found: ArrayOutline, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what an array of the right size is known as the labels of a scene."""
    truth = ground_truth(scene.key)
    if truth is None:
        return _by_variable(found, file)
    grid = Grid(found.shape[0], found.shape[1])
    try:
        codes, _ = open_labels(found.path, grid, variable=found.variable)
    except HypercoverError:
        return None
    pixels = np.unique(codes[codes > 0], return_counts=True)[1]
    same = sorted(pixels.tolist()) == sorted(truth.counts.values())
    return "the pixels of its classes" if same else None


def _image_by(found: ArrayOutline, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what an array of the right shape is known as the image of a scene."""
    try:
        image = open_scene(found.path, False, variable=found.variable)
        known = recognise_image(image)
    except HypercoverError:
        return None
    if known is not None:
        return None if known.stand_in else "its values"
    if image.simulated or image.stand_in:
        return None
    return _by_variable(found, file)


def _by_variable(found: ArrayOutline, file: KnownFile) -> str | None:
    """Say that name and shape of an array are those published; weak, but all there is."""
    if file.variable is None:
        return "its size"
    same = found.variable == file.variable
    return f"its array {file.variable} and size" if same else None


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


Codes = npt.NDArray[np.unsignedinteger]


def find_maps(path: str | Path, wanted: Iterable[KnownMap]) -> dict[str, Codes]:
    """Find published label maps in a folder, or in one file, by their content.

    Why it exists: the same map is passed on as MATLAB, TIFF or NumPy file under
    many names, and a name proves nothing.  A map is the one wanted when the
    SHA-256 of its codes is.

    Parameters
    ----------
    path : path
        A folder, which is searched with all folders in it, or a file.
    wanted : iterable of KnownMap
        Maps of the catalogue.

    Returns
    -------
    codes (y, x) of each map, by its title

    Raises
    ------
    LabelError
        If a map is not there, or only one with its class counts and other pixels.
    """
    missing = {known.title: known for known in wanted}
    asked, found, alike = tuple(missing), {}, []
    for file in _files(Path(path)):
        for codes in _maps_in(file, {known.shape for known in missing.values()}):
            for title, known in tuple(missing.items()):
                if codes.shape == known.shape and known.is_exactly(codes):
                    found[title] = codes
                    del missing[title]
                elif _map_counts(codes) == sorted(known.counts.values()):
                    alike.append(file.name)
        if not missing:
            return {title: found[title] for title in asked}
    same = f" ({alike[0]} has its class counts, but other pixels)" if alike else ""
    raise LabelError(
        f"No file in {path} holds the {next(iter(missing))}{same}; give the folder of its files, "
        "in any format, unchanged."
    )


def _files(path: Path) -> list[Path]:
    """List the files that may hold a map."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise LabelError(f"There is no file or folder {path}; check the path.")
    return look_through([path]).files


def _maps_in(file: Path, shapes: set[tuple[int, int]]) -> Iterator[Codes]:
    """Go through the label maps of some sizes in a file; other files hold none."""
    try:
        kind = detect_type(file)
        if kind in ARRAY_READERS:
            members = open_array_file(file, kind).members
            fitting = [one for one in members if one.is_numeric and one.shape in shapes]
            yield from (as_codes(one.values(), file) for one in fitting)
        elif kind is FileType.RASTER:
            from hypercover.scene.io.raster import raster_shape, read_raster_labels

            if raster_shape(file) in shapes:
                yield read_raster_labels(file).codes
    except HypercoverError:
        return


def _map_counts(codes: Codes) -> list[int]:
    """Count the pixels of each class, without their codes."""
    return sorted(np.unique(codes[codes > 0], return_counts=True)[1].tolist())


_FEATURE = re.compile(r"(k?pca|mnf)\d+\b|.+ \w+<")
"""Names of bands that are image features."""


@dataclass(frozen=True)
class FoundImage:
    """An image that has the size of a scene."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    axes: str | None
    """Order of the axes, where the file does not say."""
    shape: tuple[int, int, int]
    """Rows, columns and bands."""
    known: KnownImage | None
    """The published image it is by its values, if it is one."""

    @property
    def stand_in(self) -> bool:
        """Whether it only stands in for the measured image."""
        return self.known is not None and self.known.stand_in


@dataclass(frozen=True)
class FoundLabels:
    """A label map that is one of the scene's."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    shape: tuple[int, int]
    """Rows and columns."""
    fit: Fit
    """How well it suits."""


@dataclass(frozen=True)
class Findings:
    """What was found of a scene."""

    images: tuple[FoundImage, ...]
    """Those recognised by their values first, stand-ins last."""
    labels: tuple[FoundLabels, ...]
    """The best first."""
    notes: tuple[str, ...]
    """What was passed over, one sentence each."""

    def pair(self, *, stand_in: bool) -> tuple[FoundImage, FoundLabels] | None:
        """Return the best image that is or is not a stand-in, with labels of its size."""
        for image in self.images:
            for labels in self.labels:
                if image.stand_in == stand_in and labels.shape == image.shape[:2]:
                    return image, labels
        return None


def find_scene(wanted: SceneSignature, folders: Iterable[Path]) -> Findings:
    """Look through folders for the image and the labels of a scene.

    A file that is damaged, unreadable or of something else is passed over.
    Simulated images are none of a measured scene and are passed over as well.
    """
    looked = look_through(folders)
    arrays = [array for path in looked.files for array in outline_arrays(path)]
    images = [image for each in arrays for image in _as_image(each, wanted)]
    sizes = {*wanted.sizes, *(image.shape[:2] for image in images)}
    labels = [found for each in arrays for found in labels_of(each, wanted, sizes)]
    return Findings(
        tuple(sorted(images, key=_image_rank)),
        tuple(sorted(labels, key=lambda found: found.fit.rank)),
        tuple(looked.notes),
    )


def _image_rank(image: FoundImage) -> int:
    return 2 if image.stand_in else int(image.known is None)


def _as_image(outline: ArrayOutline, wanted: SceneSignature) -> Iterator[FoundImage]:
    """Give the image that an array is, if it has the size of the scene."""
    found = [image for image in _readings(outline, wanted) if image is not None]
    # Rows and columns of a square image are told apart by its values, where it is known.
    yield from sorted(found, key=lambda image: image.known is None)[:1]


def _readings(outline: ArrayOutline, wanted: SceneSignature) -> Iterator[FoundImage | None]:
    """Read an array in each order of its axes that gives the size of the scene."""
    if len(outline.shape) != 3:
        return
    for axes in outline.orders or (None,):
        names = (axes or ORDERS[0]).split(",")
        rows, cols, bands = (
            outline.shape[names.index(role)] for role in ("row", "col", "band")
        )
        if wanted.suits(rows, cols, bands):
            yield _opened(outline, axes, (rows, cols, bands))


def _opened(
    outline: ArrayOutline, axes: str | None, shape: tuple[int, int, int]
) -> FoundImage | None:
    """Open an image to see whether it is whole, measured and known."""
    try:
        scene = open_scene(outline.path, False, variable=outline.variable, axes=axes)
        known = recognise_image(scene)
    except HypercoverError:
        return None
    if known is None and (scene.simulated or scene.stand_in or _is_stack(scene)):
        return None
    return FoundImage(outline.path, outline.variable, axes, shape, known)


def _is_stack(scene: Scene) -> bool:
    """Tell whether the bands are named as hypercover names image features."""
    return any(_FEATURE.match(name) for name in scene.band_names or ())


def labels_of(
    outline: ArrayOutline, wanted: SceneSignature, sizes: set[tuple[int, int]]
) -> Iterator[FoundLabels]:
    """Give the label map that an array is, if it is one of the scene's."""
    if outline.shape not in sizes:
        return
    rows, cols = outline.shape
    try:
        codes, _ = open_labels(outline.path, Grid(rows, cols), variable=outline.variable)
    except HypercoverError:
        return
    fit = wanted.fit(codes)
    if fit is not None:
        yield FoundLabels(outline.path, outline.variable, (rows, cols), fit)


@dataclass(frozen=True)
class FoundPair:
    """Two images that can be pansharpened, and the labels of the finer one."""

    pan: Path
    """The grey image."""
    bands: Path
    """The coarser bands."""
    labels: FoundLabels
    """Labels on the grid of the grey image."""


def find_pair(wanted: SceneSignature, folders: Iterable[Path]) -> FoundPair | None:
    """Look for rasters that make the bands of a scene together, and its labels.

    A grey image of the size of the labels, and bands (one fewer than the scene has) whose
    georeference lays them under it.  Simulated images are passed over.
    """
    arrays = [one for path in look_through(folders).files for one in outline_arrays(path)]
    grey = [one for one in arrays if len(one.shape) == 2 and one.variable is None]
    counts = {count - 1 for count in wanted.bands}
    coarse = [one for one in arrays if one.variable is None and one.shape[2:] in
              {(count,) for count in counts}]  # fmt: skip
    if not coarse:
        return None
    sizes = {(one.shape[0], one.shape[1]) for one in grey}
    for labels in (found for each in arrays for found in labels_of(each, wanted, sizes)):
        for pan in grey:
            if pan.shape == labels.shape and pan.path != labels.path:
                for bands in _under(pan, coarse):
                    return FoundPair(pan.path, bands, labels)
    return None


def _under(pan: ArrayOutline, coarse: Iterable[ArrayOutline]) -> Iterator[Path]:
    """Go through the images whose grid can be sharpened by a grey image."""
    fine = _measured(pan.path)
    for one in coarse:
        bands = _measured(one.path)
        if fine is None or bands is None:
            continue
        try:
            register(fine.grid, bands.grid)
        except HypercoverError:
            continue
        yield one.path


def _measured(path: Path) -> Scene | None:
    try:
        scene = open_scene(path, False)
    except HypercoverError:
        return None
    return None if scene.simulated or scene.stand_in else scene
