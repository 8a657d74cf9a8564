"""Known benchmark scenes, and the recognition of their label maps by content."""

import csv
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from hypercover.scene.scene import Scene
from hypercover.scene.spectral import BandTable

__all__ = [
    "INDIAN_PINES",
    "USUAL_BANDS",
    "KnownFile",
    "KnownMap",
    "KnownScene",
    "aviris_bands",
    "known_map",
    "known_scenes",
    "recognise",
    "with_known_bands",
]


@dataclass(frozen=True)
class KnownFile:
    """One file of a known scene, as its publisher offers it."""

    name: str
    """File name."""
    role: str
    """What it holds."""
    address: str
    """Where the publisher offers it."""
    git_blob: str | None
    """Content id: SHA-1 of ``blob <size>``, a zero byte and the bytes."""


@dataclass(frozen=True)
class KnownScene:
    """A benchmark scene: what it is, where it lives and what is wrong with it."""

    key: str
    """Short name for the command line."""
    title: str
    """Name shown to people."""
    sensor: str
    """Instrument, date, pixel size and place."""
    rows: int
    """Rows of the image."""
    cols: int
    """Columns of the image."""
    bands: int
    """Bands of the image as published."""
    classes: int
    """Classes of the ground truth."""
    files: tuple[KnownFile, ...]
    """Files and their addresses."""
    citation: str
    """How to cite it."""
    licence: str
    """What is known about the terms of use."""
    defects: tuple[str, ...]
    """Known defects, one sentence each."""


@dataclass(frozen=True)
class KnownMap:
    """A published label map, known by its size and the pixels of each class."""

    scene: str
    """Key of the scene it belongs to."""
    title: str
    """Name shown to people."""
    shape: tuple[int, int]
    """Rows and columns."""
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
        return self.sha256 is not None and self.sha256 == _digest(np.asarray(labels))


def _table(name: str) -> str:
    return (files("hypercover.scene") / "tables" / name).read_text(encoding="utf-8")


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
                    "files": tuple(KnownFile(**one) for one in row["files"]),
                    "defects": tuple(row["defects"]),
                }
            )
        )
        for row in json.loads(_table("scenes.json"))
    )


@cache
def _known_maps() -> tuple[KnownMap, ...]:
    return tuple(
        KnownMap(
            row["scene"],
            row["title"],
            (row["rows"], row["cols"]),
            {code: name for code, name, _ in row["classes"]},
            {code: count for code, _, count in row["classes"]},
            row["sha256"],
            row.get("note", ""),
        )
        for row in json.loads(_table("label-maps.json"))
    )


def _digest(labels: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels, np.uint8).tobytes()).hexdigest()


def known_map(title: str) -> KnownMap:
    """Return the published label map whose title begins so."""
    return next(known for known in _known_maps() if known.title.startswith(title))


def recognise(labels: npt.ArrayLike) -> KnownMap | None:
    """Return the published label map that this one is, or None.

    It is known by its size and by the number of pixels of every class, which
    no other map shares; names and type of the file play no part.  Where two
    published maps should agree in that, the digest of the codes decides.

    Parameters
    ----------
    labels : array of shape (y, x)
    """
    label_map = np.asarray(labels)
    fitting = [known for known in _known_maps() if known.shape == label_map.shape]
    if not fitting:
        return None
    codes, counts = np.unique(label_map[label_map > 0], return_counts=True)
    found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    equal = [known for known in fitting if known.counts == found]
    exact = [known for known in equal if known.is_exactly(label_map)]
    return next(iter(exact or equal), None)


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

    The cube is known by its size: 145 × 145 pixels and 220 bands, or the 200
    that are left without water absorption.
    """
    if scene.wavelengths is not None or scene.shape != INDIAN_PINES:
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
        f"{scene.shape[1]} pixels and {scene.n_bands} bands are those of Indian Pines."
    )
