"""The catalog of benchmark scenes, and recognition of their images and label maps by content."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from pydantic import TypeAdapter

from hypercover.errors import SceneError
from hypercover.scene.data_tables import read_table, read_text
from hypercover.scene.legend import default_color
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Indices

_STAND_IN = (
    "This image was reconstructed from 37 feature images to stand in for Indian Pines, and is "
    "easier: no accuracy on it is a result on Indian Pines."
)


INDIAN_PINES = (145, 145)
"""Rows and columns of Indian Pines."""
_FLIGHT_LINES = ((2678, 614), (614, 1848), (1417, 617))
"""Rows and columns of its flight lines: of both files, and as in papers."""
USUAL_BANDS = [*range(1, 104), *range(109, 150), *range(164, 220)]
"""The 200 bands of Indian Pines without water absorption."""
_ANY = (0, 0)
"""Size of a label map that is recognised by class sizes alone."""


@dataclass(frozen=True)
class KnownImage:
    """A published image, recognised by its values at a few pixels."""

    scene: str
    """Key of the scene it shows."""
    title: str
    """Name shown to people."""
    stand_in: bool
    """Whether it was reconstructed to stand in for the measured image."""
    sha256: str
    """SHA-256 of its values at those pixels."""


@cache
def _known_images() -> tuple[Indices, dict[str, KnownImage]]:
    """Return the pixels (n, row and col) to compare, and the images by their digest."""
    content = json.loads(read_text("images.json"))
    images = TypeAdapter(list[KnownImage]).validate_python(content["images"])
    pixels = np.array(content["pixels"], dtype=np.intp)
    return pixels, {image.sha256: image for image in images}


def recognise_image(scene: Scene) -> KnownImage | None:
    """Recognise a published image by its values; None if it is not known.

    The digital numbers of 32 pixels in the 200 bands without water absorption must
    match, whatever the file name, format and data type.  These pixels are two fixed
    training pixels of each class.

    Raises
    ------
    SceneError
        If the image cannot be read.
    """
    if scene.shape != INDIAN_PINES or scene.n_bands not in (len(USUAL_BANDS), 220):
        return None
    bands = np.array(USUAL_BANDS) - 1 if scene.n_bands == 220 else slice(None)
    pixels, images = _known_images()
    values = scene.read(slice(None), slice(None))[bands][:, pixels[:, 0], pixels[:, 1]]
    numbers = np.asarray(values.T, dtype=np.float64)
    digital = np.isfinite(numbers) & (numbers == np.floor(numbers))
    if not (digital & (numbers >= 0) & (numbers < 2**16)).all():
        return None
    content = np.ascontiguousarray(numbers, "<u2").tobytes()
    return images.get(hashlib.sha256(content).hexdigest())


def with_known_image(scene: Scene) -> Scene:
    """Note which published image a scene is; a stand-in is marked and named as one."""
    known = recognise_image(scene)
    if known is None:
        return scene
    if not known.stand_in:
        sensor = known_scene("indian-pines").sensor
        return scene.noting(f"Image recognised by its values: {known.title}, {sensor}.")
    marked = "stand-in" in scene.name.lower()
    name = scene.name if marked else f"{scene.name} ({known.title})"
    return scene.replace(name=name, stand_in=True).noting(_STAND_IN)


@dataclass(frozen=True)
class KnownFile:
    """A published file of a known scene; None means unknown."""

    name: str
    """File name."""
    role: str
    """Its content."""
    address: str
    """Address at the publisher."""
    git_blob: str | None = None
    """Git blob id: SHA-1 of ``blob <size>``, a zero byte and the bytes."""
    sha256: str | None = None
    """SHA-256 of the bytes."""
    variable: str | None = None
    """Name of the array in the file."""
    shape: tuple[int, ...] | None = None
    """Rows, columns and, for an image, bands."""
    mirrors: tuple[str, ...] = ()
    """Other addresses of the same bytes."""
    archive: str | None = None
    """Address of the archive that contains it, if it is not published alone."""

    @property
    def is_labels(self) -> bool:
        """Whether it contains the labels."""
        return self.role == "labels"

    @property
    def downloads(self) -> tuple[str, ...]:
        """Addresses of the file itself or of the archive that contains it."""
        if self.archive is not None:
            return (self.archive,)
        direct = (self.address, *self.mirrors)
        return tuple(address for address in direct if address.endswith(f"/{self.name}"))


@dataclass(frozen=True)
class KnownClass:
    """A class of a known scene."""

    code: int
    """Code in the publisher's label map."""
    name: str
    """Class name."""
    pixels: int | None
    """Labelled pixels as published; None if unknown."""
    color: str
    """Display colour, ``#rrggbb``; not published."""


@dataclass(frozen=True)
class KnownScene:
    """A benchmark scene with its files, classes and known defects; None means unknown."""

    key: str
    """Short name for the command line."""
    title: str
    """Name shown to people."""
    sensor: str
    """Instrument, date, pixel size and place."""
    rows: int | None
    """Rows of the image."""
    cols: int | None
    """Columns of the image."""
    bands: int
    """Bands of the image as published."""
    classes: int | None
    """Classes of the ground truth."""
    files: tuple[KnownFile, ...]
    """Files and their addresses."""
    citation: str
    """How to cite it."""
    licence: str
    """Terms of use, as far as known."""
    defects: tuple[str, ...]
    """Known defects, one sentence each."""
    wavelengths: str
    """Wavelengths of its bands, as far as known."""
    bad_bands: str
    """Unusable bands, and why."""
    names: tuple[str, ...] = ()
    """Class names, if no label map of the scene is known with its counts."""

    @property
    def known_classes(self) -> tuple[KnownClass, ...]:
        """Its classes in the order of their codes; empty if unknown."""
        known = ground_truth(self.key)
        names = dict(enumerate(self.names, 1)) if known is None else known.names
        counts = {} if known is None else known.counts
        return tuple(
            KnownClass(code, name, counts.get(code), default_color(at))
            for at, (code, name) in enumerate(names.items())
        )


@dataclass(frozen=True)
class KnownMap:
    """A published label map, recognised by its size and the pixels of each class."""

    scene: str
    """Key of the scene it belongs to."""
    title: str
    """Name shown to people."""
    shape: tuple[int, int]
    """Rows and columns; (0, 0): any, because the class sizes suffice."""
    names: dict[int, str]
    """Class name by code."""
    counts: dict[int, int]
    """Labelled pixels by code."""
    sha256: str | None
    """SHA-256 of the codes as bytes, row by row, if known."""
    note: str
    """Remarks on its codes; may be empty."""

    def is_exactly(self, labels: ArrayLike) -> bool:
        """Tell whether labels (y, x) equal this map in every pixel."""
        codes = np.ascontiguousarray(labels, np.uint8)
        return self.sha256 == hashlib.sha256(codes.tobytes()).hexdigest()


@cache
def known_scenes() -> tuple[KnownScene, ...]:
    """Return the known benchmark scenes.

    Examples
    --------
    >>> [scene.title for scene in known_scenes()][:3]
    ['Indian Pines', 'Salinas', 'Salinas-A']
    """
    return TypeAdapter(tuple[KnownScene, ...]).validate_json(read_text("scenes.json"))


def known_scene(key: str) -> KnownScene:
    """Return the known scene with a short name.

    Parameters
    ----------
    key : str
        Short name, such as ``indian-pines``; see :func:`known_scenes`.

    Raises
    ------
    SceneError
        If the name is unknown.

    Examples
    --------
    >>> known_scene("indian-pines").bands, len(known_scene("indian-pines").known_classes)
    (220, 16)
    """
    by_key = {scene.key: scene for scene in known_scenes()}
    if key not in by_key:
        raise SceneError(
            f"No known scene is named {key!r}; choose one of {', '.join(by_key)}."
        )
    return by_key[key]


@cache
def _known_maps() -> tuple[KnownMap, ...]:
    return TypeAdapter(tuple[KnownMap, ...]).validate_json(read_text("label-maps.json"))


def known_map(title: str) -> KnownMap:
    """Return the published label map whose title begins with a text."""
    return next(known for known in _known_maps() if known.title.startswith(title))


def ground_truth(scene: str) -> KnownMap | None:
    """Return the ground truth of a known scene, or None."""
    return next((known for known in _known_maps() if known.scene == scene), None)


def recognise_labels(labels: ArrayLike) -> KnownMap | None:
    """Recognise a published label map by its content; None if it is not known.

    Size and the number of pixels of every class must match.  If two published maps
    agree in these, the digest of the codes decides.  The flight line and Rome are
    recognised by class sizes alone, whatever the size and the codes, because no two of
    their classes have equal sizes.

    Parameters
    ----------
    labels : array of shape (y, x)
    """
    label_map = np.asarray(labels)
    candidates = [each for each in _known_maps() if each.shape in (_ANY, label_map.shape)]
    codes, pixels = np.unique(label_map[label_map > 0], return_counts=True)
    counts = dict(zip(codes.tolist(), pixels.tolist(), strict=True))
    equal = [known for known in candidates if known.counts == counts]
    sizes = sorted(counts.values())
    for known in candidates:
        if known.shape == _ANY and sorted(known.counts.values()) == sizes:
            names = {pixels: known.names[code] for code, pixels in known.counts.items()}
            renamed = {code: names[pixels] for code, pixels in counts.items()}
            equal.append(replace(known, names=renamed, counts=counts))
    exact = [known for known in equal if known.is_exactly(label_map)]
    return next(iter(exact or equal), None)


@cache
def aviris_bands() -> BandTable:
    """Return centre wavelength and width of the 220 bands of AVIRIS in 1992.

    Source: the calibration file ``92AV3C.spc`` that Purdue University distributes with
    its Indian Pines images.
    """
    rows = read_table("aviris-1992.csv")
    return BandTable(
        np.array([float(row["wavelength_nm"]) for row in rows]),
        np.array([float(row["fwhm_nm"]) for row in rows]),
        numbers=np.array([int(row["band"]) for row in rows]),
    )


def with_known_bands(scene: Scene) -> Scene:
    """Fill in the wavelengths of an Indian Pines cube without any.

    The cube is recognised by its size: that of the small scene or of a flight line, with
    220 bands or the 200 without water absorption.
    """
    known_size = scene.shape in (INDIAN_PINES, *_FLIGHT_LINES)
    if scene.wavelengths is not None or not known_size or scene.n_bands not in (200, 220):
        return scene
    numbers = scene.bands
    if scene.n_bands == 200 and np.array_equal(numbers, np.arange(1, 201)):
        numbers = np.array(USUAL_BANDS)
    if numbers.max() > 220:
        return scene
    aviris = aviris_bands()
    centres, widths = np.asarray(aviris.wavelengths), np.asarray(aviris.fwhm)
    table = BandTable(centres[numbers - 1], widths[numbers - 1], numbers=numbers)
    return scene.replace(cube=table.on(scene.cube)).noting(
        f"Wavelengths filled in from the AVIRIS calibration of 1992, because {scene.shape[0]} × "
        f"{scene.shape[1]} pixels and {scene.n_bands} bands are those of Indian Pines "
        f"({known_scene('indian-pines').sensor})."
    )
