"""The scenes of the experiments that come with the package."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hypercover.errors import SceneError
from hypercover.scene.datasets.catalog import known_scene
from hypercover.scene.datasets.discovery import (
    SIGNATURES,
    ImageMatch,
    LabelMatch,
    PanPair,
    SceneMatches,
    find_pair,
    find_scene,
)
from hypercover.scene.inputs import input_identity, known_inputs, record_inputs
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.pansharpen.fusion import pansharpen, pansharpen_plan
from hypercover.scene.simulation.simulate import (
    PRESETS,
    SimulationSettings,
    write_simulated,
)
from hypercover.scene.tile_store import open_tile_store
from hypercover.types import Progress

Choice = Literal["auto", "real", "stand-in", "simulated"]

CHOICES: tuple[str, ...] = get_args(Choice)

Say = Callable[[str], None]

_OTHERWISE = (
    "the bands as one image and the map of the classes, of one size (the lecture cites "
    "EUDAT B2SHARE, https://b2share.eudat.eu)"
)


@dataclass(frozen=True)
class Preset:
    """The scene of a named experiment."""

    scene: str
    """Key of the scene to search for; empty if it is always simulated."""
    simulated: SimulationSettings
    """Settings of the simulated scene that replaces it."""
    automatic: bool = True
    """Whether it is simulated without a request."""
    paired: bool = False
    """Whether it can be made from a grey image and coarser bands."""


NAMED = {
    "demo": Preset("", PRESETS["demo"]),
    "lecture-small": Preset(
        "indian-pines", SimulationSettings(rows=145, cols=145, classes=16)
    ),
    "lecture-class": Preset(
        "indian-pines", SimulationSettings(rows=145, cols=145, classes=16)
    ),
    "lecture-full": Preset(
        "indian-pines-full", PRESETS["indian-pines-full"], automatic=False
    ),
    "rome": Preset("rome", PRESETS["rome"], paired=True),
}
"""The experiments that come with the package and do not name files."""


def default_folders() -> list[Path]:
    """Return the folders that are searched for scenes by default.

    They are the environment variable HYPERCOVER_DATA, ``data``, the working directory, and
    ``~/hypercover``.
    """
    variable = os.environ.get("HYPERCOVER_DATA")
    places = [Path("data"), Path(), Path("~/hypercover").expanduser()]
    return [
        *([Path(variable)] if variable else []),
        *(place for place in places if place.is_dir()),
    ]


def named_scene(
    name: str,
    folder: str | Path,
    *,
    data: Sequence[str | Path] = (),
    choice: Choice = "auto",
    say: Say = print,
    progress: Progress | None = None,
) -> list[str]:
    """Return the overrides that give a named experiment its scene.

    The scene is found by content, under any name.  If it is missing, a stand-in or simulated
    scene takes its place.

    Parameters
    ----------
    name : a key of :data:`NAMED`
    folder : run folder, in which a simulated scene is kept
    data : folders to search; by default :func:`default_folders`
    choice : {"auto", "real", "stand-in", "simulated"}
        The measured scene, its stand-in or a simulated one; ``auto`` takes the first of
        these that is available.
    say : called with each sentence about the files that are used
    progress : called with the number of simulated rows and of all rows

    Returns
    -------
    list of ``key.inner=value``, as :func:`~hypercover.experiment.load_experiment` takes them

    Raises
    ------
    SceneError
        If the scene is missing; the message says which files to put where.
    """
    named = NAMED[name]
    if choice != "simulated" and named.scene:
        folders = [Path(place) for place in data] or default_folders()
        found = _found(named, folders, choice, say, Path(folder), progress)
        if found is not None:
            return found
    elif choice in ("real", "stand-in"):
        raise SceneError(f"{name} is always simulated; leave --scene out.")
    return _simulated(named, Path(folder), say, progress)


def _found(
    named: Preset,
    folders: list[Path],
    choice: Choice,
    say: Say,
    folder: Path,
    progress: Progress | None,
) -> list[str] | None:
    """Look for the measured scene and its stand-in; None where one may be simulated."""
    findings = find_scene(SIGNATURES[named.scene], folders)
    for note in findings.notes:
        say(note)
    for kind, stand_in in (("real", False), ("stand-in", True)):
        pair = findings.pair(stand_in=stand_in) if choice in ("auto", kind) else None
        if pair is not None:
            return _overrides(named, *pair, say)
        if named.paired and choice in ("auto", kind) and not stand_in:
            made = sharpened_pair(named.scene, folders, folder, say=say, progress=progress)
            if made is not None:
                return made
    missing = _missing(named, findings, folders, choice)
    if choice != "auto" or not named.automatic:
        raise SceneError(missing)
    say(f"{missing} A simulated scene takes its place.")
    return None


def _overrides(named: Preset, image: ImageMatch, labels: LabelMatch, say: Say) -> list[str]:
    """Report the files that were found and return them as overrides."""
    rows, cols, bands = image.shape
    title = SIGNATURES[named.scene].title
    sure = image.known is not None or named.scene != "indian-pines"
    name = image.known.title if image.known else title if sure else f"{title} by size alone"
    by = "its values" if image.known else "its size"
    say(f"Image: {image.path}, {rows} × {cols} pixels × {bands} bands: {name}, by {by}.")
    say(f"Labels: {labels.path}: {labels.fit.title}.")
    values = {
        "path": str(image.path),
        "variable": image.variable,
        "axes": image.axes,
        "labels": str(labels.path),
        "label_variable": labels.variable,
        "name": name,
    }
    # JSON is YAML, and quotes every special character of a path.
    given = {key: json.dumps(value) for key, value in values.items() if value is not None}
    return [f"scene.{key}={value}" for key, value in given.items()]


def _missing(
    named: Preset, findings: SceneMatches, folders: list[Path], choice: Choice
) -> str:
    """Describe the missing files, and where to put them."""
    title = SIGNATURES[named.scene].title
    what = "stand-in for the image" if choice == "stand-in" else "image"
    fitting = [
        image for image in findings.images if image.stand_in == (choice == "stand-in")
    ]
    what_is_missing = (
        f"labels for {fitting[0].path} were" if fitting else f"{what} of {title} was"
    )
    where = ", ".join(map(str, folders))
    remedy = f"put {_needed(named.scene)} into one of them or name their folder with --data"
    if choice == "stand-in":
        remedy = "name its folder with --data, or leave --scene out"
    elif not named.automatic:
        remedy += f", or have {_size(named.simulated)} simulated with --scene simulated"
    return f"No {what_is_missing} found in {where}: {remedy}."


def _needed(key: str) -> str:
    """Name the files of a scene and the addresses of their publisher."""
    listed = known_scene(key).files
    images, labels = (
        [f"{file.name} ({file.address})" for file in listed if file.role.startswith(role)]
        for role in ("image", "labels")
    )
    return f"{' or '.join(images)} and {' and '.join(labels)}" if images else _OTHERWISE


def _size(settings: SimulationSettings) -> str:
    mebibytes = 2 * settings.rows * settings.cols * settings.bands / 2**20
    return (
        f"a scene of {settings.rows} × {settings.cols} pixels, {settings.bands} bands and "
        f"{settings.classes} classes ({mebibytes:,.0f} MiB)"
    )


def _simulated(
    named: Preset, folder: Path, say: Say, progress: Progress | None
) -> list[str]:
    """Simulate a scene into the run folder, unless it exists."""
    cube = folder.absolute() / "scene" / f"simulated-{named.simulated.seed}.tif"
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    if not (cube.exists() and labels.exists()):
        write_simulated(named.simulated, cube, progress)
    say(f"Image (simulated): {cube}")
    files = {"path": cube, "labels": labels}
    return [f"scene.{key}={json.dumps(str(path))}" for key, path in files.items()]


def sharpened_pair(
    key: str,
    folders: list[Path],
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> list[str] | None:
    """Pansharpen the images of a scene into the run folder; None if they are missing.

    The grey band is kept as the first band, as in the published features.  The same pair is
    sharpened once.
    """
    pair = find_pair(SIGNATURES[key], folders)
    if pair is None:
        return None
    say(
        f"Images: {pair.pan} (grey) and {pair.bands} (bands), which make {SIGNATURES[key].title}."
    )
    say(f"Labels: {pair.labels.path}: {pair.labels.fit.title}.")
    place = folder.absolute() / "scene"
    with known_inputs(place / "inputs.json"):
        image = place / f"pansharpened-{_digest(pair)}.tif"
        if not image.exists():
            record_inputs()
            _sharpen(pair, image, progress)
    say(f"Image (pansharpened): {image}")
    values = {
        "path": str(image),
        "labels": str(pair.labels.path),
        "label_variable": pair.labels.variable,
        "name": SIGNATURES[key].title,
    }
    given = {name: json.dumps(value) for name, value in values.items() if value is not None}
    return [f"scene.{name}={value}" for name, value in given.items()]


def _sharpen(pair: PanPair, image: Path, progress: Progress | None) -> None:
    """Pansharpen a pair into an image, or resume that."""
    pan, bands = (open_scene(path, False) for path in (pair.pan, pair.bands))
    with open_tile_store(
        image, lambda: pansharpen_plan(pan, bands, keep_pan=True)
    ) as store:
        sharp = pansharpen(pan, bands, keep_pan=True, store=store)
        write_scene(sharp, image, store=store, progress=progress)


def _digest(pair: PanPair) -> str:
    """Return what changes when one of the two images does."""
    facts = [input_identity(pair.pan.absolute()), input_identity(pair.bands.absolute())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
