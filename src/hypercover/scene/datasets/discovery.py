"""Discovery of known scenes in folders, by the content of files and not by their names."""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypercover.errors import HypercoverError, LabelError
from hypercover.scene.datasets import catalog
from hypercover.scene.grid import Grid
from hypercover.scene.io.array_files import ORDERS, ArrayOutline, outline_arrays
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.pansharpen.registration import register
from hypercover.scene.scene import Scene
from hypercover.types import Codes


class LabelFit(NamedTuple):
    """How well a label map suits a scene."""

    rank: int
    """0 is best."""
    title: str
    """Description for people."""


@dataclass(frozen=True)
class SceneSignature:
    """The features by which the image and the labels of a scene are recognised."""

    title: str
    """Name of the scene."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and columns it is published with; empty: any."""
    bands: tuple[int, ...]
    """Numbers of bands it is published with."""
    fit: Callable[[Codes], LabelFit | None]
    """Rates a label map (y, x); None if it is not one of the scene's."""

    def has_shape(self, rows: int, cols: int, bands: int) -> bool:
        """Tell whether the scene is published in this shape."""
        return bands in self.bands and (not self.sizes or (rows, cols) in self.sizes)


def _fit_indian_pines(labels: Codes) -> LabelFit | None:
    """Prefer the corrected ground truth to that of Site 3; both must agree in every pixel."""
    known = catalog.recognise_labels(labels)
    if known is None or known.scene != "indian-pines" or not known.is_exactly(labels):
        return None
    preferred = [10_249, 10_366]
    total = sum(known.counts.values())
    return LabelFit(preferred.index(total), known.title) if total in preferred else None


def _fit_flight_line(labels: Codes) -> LabelFit | None:
    """Accept about as many classes as published; prefer the published number of pixels."""
    counts = _class_sizes(labels)
    if not 40 <= len(counts) <= 64:
        return None
    total = sum(catalog.known_map("Indian Pines flight line").counts.values())
    published = (len(counts), sum(counts)) == (58, total)
    note = "the published number" if published else f"the published map has {total:,}"
    title = f"{len(counts)} classes, {sum(counts):,} labelled pixels ({note})"
    return LabelFit(int(not published), title)


def _fit_rome(labels: Codes) -> LabelFit | None:
    """Accept the nine published class sizes (Cavallaro et al., JSTARS 2015)."""
    known = catalog.recognise_labels(labels)
    return LabelFit(0, known.title) if known and known.scene == "rome" else None


SIGNATURES: Mapping[str, SceneSignature] = {
    "indian-pines": SceneSignature(
        "Indian Pines",
        (catalog.INDIAN_PINES,),
        (len(catalog.USUAL_BANDS), 220),
        _fit_indian_pines,
    ),
    "indian-pines-full": SceneSignature(
        "Full Indian Pines",
        ((1417, 617), (2678, 614)),
        (len(catalog.USUAL_BANDS), 220),
        _fit_flight_line,
    ),
    "rome": SceneSignature("Rome", (), (5,), _fit_rome),
}
"""Scenes of the built-in experiments, by their key in the catalog."""


_DEEPEST = 6
"""Levels of folders below a root that are scanned."""

_MOST_ENTRIES = 50_000
"""Folder entries looked at below one root."""

_MOST_FILES = 2_000
"""Data files listed below one root."""

_SMALLEST = 128
"""Bytes; smaller files hold no label map."""

_MAGIC = re.compile(
    rb"MATLAB |\x89HDF\r\n\x1a\n|CDF[\x01\x02]|\x93NUMPY|PK\x03\x04|II[*+]\0|MM\0[*+]|"
    rb"EHFA_HEADER_TAG|HEAD74|HEADER|ENVI|\x89PNG"
)
"""First bytes of files that hold arrays or rasters."""

_SKIPPED_NAMES = {"__pycache__", "node_modules", "site-packages"}

_SKIPPED_PATHS = {"/proc", "/sys", "/dev"}

_SKIPPED_WITH = {"experiment.yaml", "pyvenv.cfg"}
"""Files that mark a folder of results or programs."""


class FolderScan(NamedTuple):
    """The data files below some folders, nearest first, and notes on what was skipped."""

    files: list[Path]
    notes: list[str]


def scan_folders(folders: Iterable[Path]) -> FolderScan:
    """List the files below some folders that begin like images or arrays.

    The scan is breadth first and bounded in depth and number.  It reads only the
    first bytes of a file, follows no links, and skips hidden folders, run
    folders and programs.  Missing folders are noted.
    """
    scan, seen = FolderScan([], []), set[tuple[int, int]]()
    for folder in folders:
        if folder.is_dir():
            _scan_root(folder.resolve(), scan, seen)
        else:
            scan.notes.append(f"There is no folder {folder}.")
    return scan


def _scan_root(root: Path, scan: FolderScan, seen: set[tuple[int, int]]) -> None:
    """Add the data files below a root, and notes on what was skipped."""
    entries = links = unreadable = 0
    full = False
    queue = deque([(root, 0)])
    first = len(scan.files)
    while queue and not full:
        folder, depth = queue.popleft()
        try:
            listed = _listed(folder, seen)
        except OSError:
            unreadable += 1
            continue
        for entry in listed:
            entries += 1
            try:
                if entry.is_symlink():
                    links += not entry.name.startswith(".")
                elif entry.is_dir():
                    if depth < _DEEPEST and not entry.name.startswith("."):
                        queue.append((Path(entry.path), depth + 1))
                elif entry.is_file() and _is_data(entry):
                    scan.files.append(Path(entry.path))
            except OSError:
                unreadable += 1
            full = entries >= _MOST_ENTRIES or len(scan.files) - first >= _MOST_FILES
            if full:
                break
    if full:
        scan.notes.append(
            f"{root} holds more files than are scanned; name the folder of the data itself "
            "with --data."
        )
    if links:
        scan.notes.append(
            f"Links are not followed ({links} in {root}); name the folders they lead to with "
            "--data."
        )
    if unreadable:
        scan.notes.append(f"{unreadable} files or folders in {root} cannot be read.")


def _listed(folder: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """List a folder by name, unless it was scanned before or holds results or programs."""
    status = folder.stat()
    skipped = folder.name in _SKIPPED_NAMES or str(folder) in _SKIPPED_PATHS
    if skipped or (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as listing:
        entries = [entry for entry, _ in zip(listing, range(_MOST_ENTRIES), strict=False)]
    if not _SKIPPED_WITH.isdisjoint(entry.name for entry in entries):
        return []
    return sorted(entries, key=lambda entry: entry.name)


def _is_data(entry: os.DirEntry[str]) -> bool:
    if entry.stat().st_size < _SMALLEST:
        return False
    with Path(entry.path).open("rb") as file:
        start = file.read(16)
    return _MAGIC.match(start) is not None or entry.name.lower().endswith(".mat")


def _arrays_in(files: Iterable[Path]) -> list[ArrayOutline]:
    """List the arrays that may be images or label maps."""
    return [array for path in files for array in outline_arrays(path)]


@dataclass(frozen=True)
class ImageMatch:
    """An image in the shape of a scene."""

    path: Path
    """The file."""
    variable: str | None
    """Name of the array in the file, if it has several."""
    axes: str | None
    """Order of the axes, if the file does not tell."""
    shape: tuple[int, int, int]
    """Rows, columns and bands."""
    known: catalog.KnownImage | None
    """The published image with the same values."""

    @property
    def stand_in(self) -> bool:
        """Whether it only stands in for the measured image."""
        return self.known is not None and self.known.stand_in


@dataclass(frozen=True)
class LabelMatch:
    """A label map of a scene."""

    path: Path
    """The file."""
    variable: str | None
    """Name of the array in the file, if it has several."""
    shape: tuple[int, ...]
    """Rows and columns."""
    fit: LabelFit
    """How well it suits."""


@dataclass(frozen=True)
class SceneMatches:
    """The images and label maps of a scene in some folders."""

    images: tuple[ImageMatch, ...]
    """Those recognised by their values first, stand-ins last."""
    labels: tuple[LabelMatch, ...]
    """The best first."""
    notes: tuple[str, ...]
    """What was skipped, one sentence each."""

    def pair(self, *, stand_in: bool) -> tuple[ImageMatch, LabelMatch] | None:
        """Return the best measured or stand-in image that has labels of its size."""
        pairs = (
            (image, labels)
            for image in self.images
            for labels in self.labels
            if image.stand_in == stand_in and labels.shape == image.shape[:2]
        )
        return next(pairs, None)


def find_scene(signature: SceneSignature, folders: Iterable[Path]) -> SceneMatches:
    """Find the images and label maps of a scene in folders.

    Damaged and unreadable files are skipped, as are simulated images and image
    features.
    """
    scan = scan_folders(folders)
    arrays = _arrays_in(scan.files)
    images = [match for each in arrays if (match := _match_image(each, signature))]
    images.sort(key=lambda image: 2 if image.stand_in else int(image.known is None))
    sizes = {*signature.sizes, *(image.shape[:2] for image in images)}
    labels = sorted(_match_labels(arrays, signature, sizes), key=lambda each: each.fit.rank)
    return SceneMatches(tuple(images), tuple(labels), tuple(scan.notes))


def _match_image(array: ArrayOutline, signature: SceneSignature) -> ImageMatch | None:
    """Match an array in every order of its axes that gives the shape of the scene.

    Rows and columns of a square image are told apart by its values, if these are known.
    """
    best = None
    for axes in array.orders or (None,):
        if len(array.shape) != 3:
            return None
        names = (axes or ORDERS[0]).split(",")
        rows, cols, bands = (
            array.shape[names.index(role)] for role in ("row", "col", "band")
        )
        if not signature.has_shape(rows, cols, bands):
            continue
        opened = _open_measured(array, axes)
        if opened is None:
            continue
        shape, known = (rows, cols, bands), opened[1]
        match = ImageMatch(array.path, array.variable, axes, shape, known)
        if known is not None:
            return match
        best = best or match
    return best


_FEATURE = re.compile(r"(k?pca|mnf)\d+\b|.+ \w+<")
"""Band names of image features."""


def _open_measured(
    array: ArrayOutline, axes: str | None = None
) -> tuple[Scene, catalog.KnownImage | None] | None:
    """Open an image and recognise its values; None if it is unreadable or was computed."""
    try:
        scene = open_scene(array.path, False, variable=array.variable, axes=axes)
        known = catalog.recognise_image(scene)
    except HypercoverError:
        return None
    features = any(_FEATURE.match(name) for name in scene.band_names or ())
    computed = scene.simulated or scene.stand_in or features
    return None if computed and known is None else (scene, known)


def _read_codes(array: ArrayOutline) -> Codes | None:
    """Read a label map; None if it is none."""
    try:
        rows, cols = array.shape
        return open_labels(array.path, Grid(rows, cols), variable=array.variable)[0]
    except HypercoverError:
        return None


def _class_sizes(labels: Codes) -> list[int]:
    """Count the labelled pixels of each class, whatever its code."""
    return sorted(np.unique(labels[labels > 0], return_counts=True)[1].tolist())


def _match_labels(
    arrays: Iterable[ArrayOutline], signature: SceneSignature, sizes: set[tuple[int, int]]
) -> Iterator[LabelMatch]:
    """Match the arrays of certain sizes with the label maps of a scene."""
    for array in arrays:
        codes = _read_codes(array) if array.shape in sizes else None
        fit = None if codes is None else signature.fit(codes)
        if fit is not None:
            yield LabelMatch(array.path, array.variable, array.shape, fit)


@dataclass(frozen=True)
class PanPair:
    """Two images to be pansharpened, and labels on the grid of the finer one."""

    pan: Path
    """The panchromatic image."""
    bands: Path
    """The multispectral image."""
    labels: LabelMatch
    """Labels on the grid of the panchromatic image."""


def find_pair(signature: SceneSignature, folders: Iterable[Path]) -> PanPair | None:
    """Find a panchromatic and a multispectral raster that make a scene, and its labels.

    The panchromatic image has the size of the labels.  The multispectral one lacks
    one band of the scene, and its georeference must match.
    """
    arrays = _arrays_in(scan_folders(folders).files)
    rasters = [array for array in arrays if array.variable is None]
    pans = [array for array in rasters if len(array.shape) == 2]
    counts = [(bands - 1,) for bands in signature.bands]
    coarse = [array for array in rasters if array.shape[2:] in counts]
    sizes = {(array.shape[0], array.shape[1]) for array in pans} if coarse else set()
    for labels in _match_labels(arrays, signature, sizes):
        for pan, bands in product(pans, coarse):
            fits = pan.shape == labels.shape and pan.path != labels.path
            if fits and _is_registered(pan, bands):
                return PanPair(pan.path, bands.path, labels)
    return None


def _is_registered(pan: ArrayOutline, bands: ArrayOutline) -> bool:
    """Tell whether the grid of one image can be sharpened by another."""
    fine, coarse = _open_measured(pan), _open_measured(bands)
    if fine is None or coarse is None:
        return False
    try:
        register(fine[0].grid, coarse[0].grid)
    except HypercoverError:
        return False
    return True


def find_label_maps(path: str | Path, maps: Iterable[catalog.KnownMap]) -> dict[str, Codes]:
    """Find published label maps in a folder or a file by the SHA-256 of their codes.

    Parameters
    ----------
    path : path
        A folder, which is scanned with the folders in it, or a file.
    maps : iterable of KnownMap
        Maps of the catalog.

    Returns
    -------
    dict
        The codes (y, x) of each map by its title.

    Raises
    ------
    LabelError
        If a map is missing, or a file has its class counts but other pixels.
    """
    missing = {known.title: known for known in maps}
    titles, found, similar = tuple(missing), dict[str, Codes](), list[str]()
    place = Path(path)
    if not place.exists():
        raise LabelError(f"There is no file or folder {path}; check the path.")
    for array in _arrays_in(scan_folders([place]).files if place.is_dir() else [place]):
        fitting = [known for known in missing.values() if known.shape == array.shape]
        codes = _read_codes(array) if fitting else None
        if codes is None:
            continue
        for known in fitting:
            if known.is_exactly(codes):
                found[known.title] = codes
                del missing[known.title]
            elif _class_sizes(codes) == sorted(known.counts.values()):
                similar.append(array.path.name)
        if not missing:
            return {title: found[title] for title in titles}
    note = f" ({similar[0]} has its class counts, but other pixels)" if similar else ""
    raise LabelError(
        f"No file in {path} holds the {next(iter(missing))}{note}; give the folder of its "
        "files, in any format, unchanged."
    )


def has_published_checksum(path: Path, file: catalog.KnownFile) -> bool | None:
    """Tell whether a file has the published checksum; None if none is known.

    Both the SHA-256 and the Git blob id are compared, as far as they are known.
    """
    published = {file.sha256, file.git_blob} - {None}
    if not published:
        return None
    plain = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(2**20):
            plain.update(chunk)
            blob.update(chunk)
    return published <= {plain.hexdigest(), blob.hexdigest()}


def identify_file(
    path: Path, file: catalog.KnownFile, scene: catalog.KnownScene
) -> str | None:
    """Return what identifies a file on disk as a file of a scene, or None.

    The best evidence is the checksum.  Other copies are identified by content:
    labels by the class sizes, an image by its values if these are known, and
    anything else by name and shape of the array.
    """
    arrays = [array for array in outline_arrays(path) if array.shape == file.shape]
    if arrays and has_published_checksum(path, file):
        return "its checksum"
    truth = catalog.ground_truth(scene.key) if file.is_labels else None
    for array in arrays:
        if truth is not None:
            codes = _read_codes(array)
            if codes is not None and _class_sizes(codes) == sorted(truth.counts.values()):
                return "the pixels of its classes"
            continue
        if not file.is_labels:
            opened = _open_measured(array)
            if opened is None or (opened[1] is not None and opened[1].stand_in):
                continue
            if opened[1] is not None:
                return "its values"
        if file.variable is None:
            return "its size"
        if file.variable == array.variable:
            return f"its array {file.variable} and size"
    return None
