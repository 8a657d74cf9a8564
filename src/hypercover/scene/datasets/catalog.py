"""Known benchmark scenes, and the recognition of their label maps by content."""

import csv
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.legend import default_color
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import BandTable

__all__ = [
    "INDIAN_PINES",
    "USUAL_BANDS",
    "KnownClass",
    "KnownFile",
    "KnownImage",
    "KnownMap",
    "KnownScene",
    "aviris_bands",
    "ground_truth",
    "known_map",
    "known_scene",
    "known_scenes",
    "recognise",
    "recognise_image",
    "with_known_bands",
    "with_known_image",
]

_STAND_IN = (
    "This image was rebuilt from 37 feature images to stand in for Indian Pines, and is "
    "easier: no figure made with it is a result on Indian Pines."
)


@dataclass(frozen=True)
class KnownImage:
    """An image known by its values at a few pixels."""

    scene: str
    """Key of the scene it shows."""
    title: str
    """Name shown to people."""
    stand_in: bool
    """Whether it was rebuilt to stand in for the measured image."""


@cache
def _known() -> tuple[npt.NDArray[np.intp], dict[str, KnownImage]]:
    """Return the pixels (n, row and col) to look at, and the images by their digest."""
    table = files("hypercover.scene.datasets") / "tables" / "images.json"
    content = json.loads(table.read_text(encoding="utf-8"))
    images = {
        row["sha256"]: KnownImage(row["scene"], row["title"], row["stand_in"])
        for row in content["images"]
    }
    return np.array(content["pixels"], dtype=np.intp), images


def recognise_image(scene: Scene) -> KnownImage | None:
    """Return the published image whose values these are, or None.

    Name, container and type of the numbers play no part: 32 pixels of the 200
    bands without water absorption must hold the very digital numbers.  The
    reference values are those of the fixed training pixels, two of each class,
    whose digital numbers are known exactly.

    Raises
    ------
    SceneError
        If the image cannot be read.
    """
    if scene.shape != INDIAN_PINES or scene.n_bands not in (len(USUAL_BANDS), 220):
        return None
    usual = np.isin(np.arange(1, 221), USUAL_BANDS)
    bands = np.flatnonzero(usual) if scene.n_bands == 220 else slice(None)
    pixels, images = _known()
    everything = slice(None)
    values = scene.read(everything, everything)[bands][:, pixels[:, 0], pixels[:, 1]]
    return images.get(_digest(values.T))


def _digest(values: npt.NDArray[np.generic]) -> str:
    """Hash whole numbers of two bytes; values that are none have no digest."""
    numbers = np.asarray(values, dtype=np.float64)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    if not (whole & (numbers >= 0) & (numbers < 2**16)).all():
        return ""
    return hashlib.sha256(np.ascontiguousarray(numbers, "<u2").tobytes()).hexdigest()


def with_known_image(scene: Scene) -> Scene:
    """Say of a scene which published image it is; a stand-in is marked as one.

    A stand-in bears its mark in its name, whatever name it was given.
    """
    known = recognise_image(scene)
    if known is None:
        return scene
    if not known.stand_in:
        seen = known_scene("indian-pines").sensor
        return scene.noting(f"Image recognised by its values: {known.title}, {seen}.")
    marked = "stand-in" in scene.name.lower()
    name = scene.name if marked else f"{scene.name} ({known.title})"
    return scene.replace(name=name, stand_in=True).noting(_STAND_IN)


@dataclass(frozen=True)
class KnownFile:
    """One file of a known scene, as its publisher offers it."""

    name: str
    """File name."""
    role: str
    """What it holds."""
    address: str
    """Where the publisher offers it."""
    git_blob: str | None = None
    """Content id: SHA-1 of ``blob <size>``, a zero byte and the bytes; None: unknown."""
    sha256: str | None = None
    """SHA-256 of the bytes; None: unknown."""
    variable: str | None = None
    """Name of the array in it, where it has one."""
    shape: tuple[int, ...] | None = None
    """Rows, columns and, of an image, bands; None: unknown."""
    mirrors: tuple[str, ...] = ()
    """Other addresses of the same bytes."""
    archive: str | None = None
    """Address of the archive it lies in, where it is not offered alone."""

    @property
    def is_labels(self) -> bool:
        """Whether it holds the labels."""
        return self.role == "labels"

    @property
    def downloads(self) -> tuple[str, ...]:
        """Addresses that give the file itself or the archive it lies in."""
        if self.archive is not None:
            return (self.archive,)
        direct = (self.address, *self.mirrors)
        return tuple(one for one in direct if one.endswith(f"/{self.name}"))


@dataclass(frozen=True)
class KnownClass:
    """A class of a known scene."""

    code: int
    """Code in the publisher's label map."""
    name: str
    """Class name."""
    pixels: int | None
    """Labelled pixels as published; None: unknown."""
    color: str
    """Colour it is shown in, ``#rrggbb``; publishers name none."""


@dataclass(frozen=True)
class KnownScene:
    """A benchmark scene: what it is, where it lives and what is wrong with it."""

    key: str
    """Short name for the command line."""
    title: str
    """Name shown to people."""
    sensor: str
    """Instrument, date, pixel size and place."""
    rows: int | None
    """Rows of the image; None: unknown."""
    cols: int | None
    """Columns of the image; None: unknown."""
    bands: int
    """Bands of the image as published."""
    classes: int | None
    """Classes of the ground truth; None: unknown."""
    files: tuple[KnownFile, ...]
    """Files and their addresses."""
    citation: str
    """How to cite it."""
    licence: str
    """What is known about the terms of use."""
    defects: tuple[str, ...]
    """Known defects, one sentence each."""
    wavelengths: str
    """What is known about the wavelengths of its bands."""
    bad_bands: str
    """Bands that are of no use, and why."""
    names: tuple[str, ...] = ()
    """Class names, where no label map of it is known with its counts."""

    @property
    def land(self) -> tuple[KnownClass, ...]:
        """Its classes in the order of their codes; empty where they are unknown."""
        known = ground_truth(self.key)
        rows: list[tuple[int, str, int | None]]
        if known is None:
            rows = [(code, name, None) for code, name in enumerate(self.names, 1)]
        else:
            rows = [(code, known.names[code], known.counts[code]) for code in known.names]
        return tuple(KnownClass(*row, default_color(at)) for at, row in enumerate(rows))


@dataclass(frozen=True)
class KnownMap:
    """A published label map, known by its size and the pixels of each class."""

    scene: str
    """Key of the scene it belongs to."""
    title: str
    """Name shown to people."""
    shape: tuple[int, int]
    """Rows and columns; (0, 0): any, as its numbers of pixels alone tell it."""
    names: dict[int, str]
    """Class name by code."""
    counts: dict[int, int]
    """Labelled pixels by code."""
    sha256: str | None
    """Digest of the codes as bytes, row by row, where the map itself was seen."""
    note: str
    """What to know about its codes; may be empty."""

    def is_exactly(self, labels: npt.ArrayLike) -> bool:
        """Tell whether labels (y, x) of these counts are this map pixel by pixel."""
        return self.sha256 is not None and self.sha256 == _map_digest(np.asarray(labels))


_ANY = (0, 0)
"""Size of a label map that is known by its numbers of pixels alone."""


def _table(name: str) -> str:
    return (files("hypercover.scene.datasets") / "tables" / name).read_text(
        encoding="utf-8"
    )


@cache
def known_scenes() -> tuple[KnownScene, ...]:
    """Return the known benchmark scenes.

    Examples
    --------
    >>> [scene.title for scene in known_scenes()][:3]
    ['Indian Pines', 'Salinas', 'Salinas-A']
    """
    return tuple(
        KnownScene(
            **(
                row
                | {
                    "files": tuple(_known_file(one) for one in row["files"]),
                    "defects": tuple(row["defects"]),
                    "names": tuple(row.get("names", ())),
                }
            )
        )
        for row in json.loads(_table("scenes.json"))
    )


def _known_file(row: dict[str, Any]) -> KnownFile:
    shape = row["shape"] and tuple(row["shape"])
    return KnownFile(**(row | {"shape": shape, "mirrors": tuple(row["mirrors"])}))


def known_scene(key: str) -> KnownScene:
    """Return the known scene of this short name.

    Raises
    ------
    SceneError
        If there is none.
    """
    for scene in known_scenes():
        if scene.key == key:
            return scene
    keys = ", ".join(scene.key for scene in known_scenes())
    raise SceneError(f"No scene named {key!r} is known; the known ones are {keys}.")


@cache
def _known_maps() -> tuple[KnownMap, ...]:
    return tuple(
        KnownMap(
            row["scene"],
            row["title"],
            (row["rows"] or 0, row["cols"] or 0),
            {code: name for code, name, _ in row["classes"]},
            {code: count for code, _, count in row["classes"]},
            row["sha256"],
            row.get("note", ""),
        )
        for row in json.loads(_table("label-maps.json"))
    )


def _map_digest(labels: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels, np.uint8).tobytes()).hexdigest()


def known_map(title: str) -> KnownMap:
    """Return the published label map whose title begins so."""
    return next(known for known in _known_maps() if known.title.startswith(title))


def ground_truth(scene: str) -> KnownMap | None:
    """Return the label map of a known scene that its class counts are those of."""
    return next((known for known in _known_maps() if known.scene == scene), None)


def recognise(labels: npt.ArrayLike) -> KnownMap | None:
    """Return the published label map that this one is, or None.

    It is known by its size and by the number of pixels of every class, which
    no other map shares; names and type of the file play no part.  Where two
    published maps should agree in that, the digest of the codes decides.  The
    flight line and Rome are known by these numbers alone, whatever the size and
    the codes, because no two of their classes have as many pixels.

    Parameters
    ----------
    labels : array of shape (y, x)
    """
    label_map = np.asarray(labels)
    fitting = [known for known in _known_maps() if known.shape in (_ANY, label_map.shape)]
    codes, counts = np.unique(label_map[label_map > 0], return_counts=True)
    found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    equal = [known for known in fitting if known.counts == found]
    equal += [_recoded(known, found) for known in fitting if _by_counts(known, found)]
    exact = [known for known in equal if known.is_exactly(label_map)]
    return next(iter(exact or equal), None)


def _by_counts(known: KnownMap, found: dict[int, int]) -> bool:
    """Tell whether a map known by its numbers of pixels has these, under any codes."""
    return known.shape == _ANY and sorted(known.counts.values()) == sorted(found.values())


def _recoded(known: KnownMap, found: dict[int, int]) -> KnownMap:
    """Give a known map the codes under which its classes were found."""
    names = {pixels: known.names[code] for code, pixels in known.counts.items()}
    return replace(
        known, names={code: names[pixels] for code, pixels in found.items()}, counts=found
    )


@cache
def aviris_bands() -> BandTable:
    """Return centre wavelength and width of the 220 AVIRIS bands of 1992.

    Source: the calibration file ``92AV3C.spc`` that Purdue University
    distributes with its Indian Pines images.
    """
    rows = list(csv.DictReader(_table("aviris-1992.csv").splitlines()))
    return BandTable(
        np.array([float(row["wavelength_nm"]) for row in rows]),
        np.array([float(row["fwhm_nm"]) for row in rows]),
        numbers=np.array([int(row["band"]) for row in rows]),
    )


INDIAN_PINES = (145, 145)
"""Rows and columns of Indian Pines."""

_FLIGHT_LINES = ((2678, 614), (614, 1848), (1417, 617))
"""Rows and columns of the flight lines it lies in: of both files, and as papers give it."""

USUAL_BANDS = [*range(1, 104), *range(109, 150), *range(164, 220)]
"""The 200 bands of Indian Pines that are left without water absorption."""


def _source_numbers(scene: Scene) -> npt.NDArray[np.int64] | None:
    """AVIRIS numbers of the bands of an Indian Pines cube, or None."""
    plain = np.arange(1, scene.n_bands + 1)
    if scene.n_bands not in (200, 220):
        return None
    if not np.array_equal(scene.bands, plain):
        return scene.bands if scene.bands.max() <= 220 else None
    return plain if scene.n_bands == 220 else np.array(USUAL_BANDS)


def with_known_bands(scene: Scene) -> Scene:
    """Fill in the wavelengths of an Indian Pines cube that carries none.

    The cube is known by its size: that of the small scene or of a flight line, and
    220 bands, or the 200 that are left without water absorption.
    """
    known_size = scene.shape in (INDIAN_PINES, *_FLIGHT_LINES)
    if scene.wavelengths is not None or not known_size:
        return scene
    numbers = _source_numbers(scene)
    if numbers is None:
        return scene
    known = aviris_bands()
    at = numbers - 1
    if known.wavelengths is None or known.fwhm is None:
        return scene
    table = BandTable(known.wavelengths[at], known.fwhm[at], numbers=numbers)
    return scene.replace(cube=table.on(scene.cube)).noting(
        f"Wavelengths filled in from the AVIRIS calibration of 1992, because {scene.shape[0]} × "
        f"{scene.shape[1]} pixels and {scene.n_bands} bands are those of Indian Pines "
        f"({known_scene('indian-pines').sensor})."
    )
