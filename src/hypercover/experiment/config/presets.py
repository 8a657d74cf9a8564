"""Experiments without a file of one's own: those with a name, and the default for an image."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hypercover.errors import CallError, SceneError, SplitError
from hypercover.experiment.config.builders import load_scene
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.config.schema import Experiment
from hypercover.scene.datasets import discovery
from hypercover.scene.datasets.catalog import known_scene
from hypercover.scene.file_identity import file_record, record_files, recorded_identity
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.pansharpen.fusion import pansharpen, pansharpen_plan
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import (
    PRESETS,
    SimulationSettings,
    write_simulated,
)
from hypercover.scene.tile_store import open_tile_store
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.cross_validation import LeaveOneOutSplit
from hypercover.splits.fields import field_map
from hypercover.types import Progress

Choice = Literal["auto", "real", "stand-in", "simulated"]

CHOICES: tuple[str, ...] = get_args(Choice)

Say = Callable[[str], None]

_OTHERWISE = (
    "the bands as one image and the map of the classes, of one size (the lecture cites "
    "EUDAT B2SHARE, https://b2share.eudat.eu)"
)


WINDOW = 9
TRAIN = 0.25
VALIDATION = 0.2
MODELS: dict[str, dict[str, Any]] = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "network": "default", "window": WINDOW},
    "forest": {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 200},
    },
    "lda": {
        "kind": "sklearn",
        "estimator": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    },
}
"""Models that can be chosen by name."""
_DEFAULT, _FOR_FEW = ("svm", "cnn"), ("svm", "forest")
"""Default models, in general and for few labels."""
_FEW_PIXELS, _FEW_SHAPES = 30, 5
"""Labels are few if the median class has fewer pixels or shapes."""
_RANDOM_PIXELS = 10
"""Pixels of the smallest class that a random split needs."""
_MAX_FOLDS, _MAX_NETWORK_FOLDS = 20, 5
"""Largest number of folds for few labels: for quick models, and for networks."""

_FLATTERED = (
    "No guard-banded blocks can be drawn from these labels, so training and test pixels "
    "were drawn at random, next to each other: the accuracy is flattering and says little "
    "about unseen land; label more fields, in several places, and run again."
)
_LEFT_OUT = (
    "These labels are too few to be divided into training and test areas, so their shapes "
    "were left out one after another in {folds} trainings, more than {guard} pixels from the "
    "training pixels; the accuracy is that of all predictions together."
)
_NO_NETWORK = "No network was trained on so few labels; use --model cnn to train one."
_UNJUDGED = (
    "Too few labels to evaluate a map: no shapes of two classes can be left out without a "
    "class losing all its training pixels. The map is made from all labelled pixels and no "
    "accuracy is given; label at least two shapes of each class, apart from each other."
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


_INDIAN_PINES = Preset("indian-pines", SimulationSettings(rows=145, cols=145, classes=16))
NAMED = {
    "demo": Preset("", PRESETS["demo"]),
    "lecture-small": _INDIAN_PINES,
    "lecture-class": _INDIAN_PINES,
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
    folders = [Path("data"), Path(), Path("~/hypercover").expanduser()]
    return [
        *([Path(variable)] if variable else []),
        *(folder for folder in folders if folder.is_dir()),
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

    Examples
    --------
    >>> overrides = named_scene("indian-pines", "runs/pines")  # doctest: +SKIP
    >>> experiment = load_experiment("indian-pines", overrides)  # doctest: +SKIP
    """
    preset, home = NAMED[name], Path(folder).absolute() / "scene"
    if choice != "simulated" and preset.scene:
        folders = [Path(path) for path in data] or default_folders()
        overrides = _search(preset, folders, choice, home, say, progress)
        if overrides is not None:
            return overrides
    elif choice in ("real", "stand-in"):
        raise SceneError(f"{name} is always simulated; leave --scene out.")
    cube = home / f"simulated-{preset.simulated.seed}.tif"
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    if not (cube.exists() and labels.exists()):
        write_simulated(preset.simulated, cube, progress)
    say(f"Image (simulated): {cube}")
    return _overrides(path=cube, labels=labels)


def _overrides(**values: object) -> list[str]:
    """Return values of the scene as overrides, without those that are None."""
    # JSON is YAML, and quotes every special character of a path.
    return [
        f"scene.{key}={json.dumps(str(value))}"
        for key, value in values.items()
        if value is not None
    ]


def _search(
    preset: Preset,
    folders: list[Path],
    choice: Choice,
    folder: Path,
    say: Say,
    progress: Progress | None,
) -> list[str] | None:
    """Look for the measured scene and its stand-in; None where one may be simulated."""
    matches = discovery.find_scene(discovery.SIGNATURES[preset.scene], folders)
    for note in matches.notes:
        say(note)
    for kind, stand_in in (("real", False), ("stand-in", True)):
        if choice not in ("auto", kind):
            continue
        pair = matches.pair(stand_in=stand_in)
        if pair is not None:
            return _matched(preset, *pair, say)
        if preset.paired and not stand_in:
            sharpened = _sharpened(preset.scene, folders, folder, say, progress)
            if sharpened is not None:
                return sharpened
    missing = _missing(preset, matches, folders, choice)
    if choice != "auto" or not preset.automatic:
        raise SceneError(missing)
    say(f"{missing} A simulated scene takes its place.")
    return None


def _matched(
    preset: Preset, image: discovery.ImageMatch, labels: discovery.LabelMatch, say: Say
) -> list[str]:
    """Report the files that were found and return them as overrides."""
    rows, cols, bands = image.shape
    title = discovery.SIGNATURES[preset.scene].title
    sure = image.known is not None or preset.scene != "indian-pines"
    name = image.known.title if image.known else title if sure else f"{title} by size alone"
    by = "its values" if image.known else "its size"
    say(f"Image: {image.path}, {rows} × {cols} pixels × {bands} bands: {name}, by {by}.")
    say(f"Labels: {labels.path}: {labels.fit.title}.")
    return _overrides(
        path=image.path,
        variable=image.variable,
        axes=image.axes,
        labels=labels.path,
        label_variable=labels.variable,
        name=name,
    )


def _missing(
    preset: Preset, matches: discovery.SceneMatches, folders: list[Path], choice: Choice
) -> str:
    """Describe the missing files, and where to put them."""
    title, stand_in = discovery.SIGNATURES[preset.scene].title, choice == "stand-in"
    what = f"{'stand-in for the image' if stand_in else 'image'} of {title} was"
    images = [image for image in matches.images if image.stand_in == stand_in]
    if images:
        what = f"labels for {images[0].path} were"
    remedy = (
        f"put {_needed(preset.scene)} into one of them or name their folder with --data"
    )
    if stand_in:
        remedy = "name its folder with --data, or leave --scene out"
    elif not preset.automatic:
        size = preset.simulated
        mebibytes = 2 * size.rows * size.cols * size.bands / 2**20
        remedy += (
            f", or have a scene of {size.rows} × {size.cols} pixels, {size.bands} bands and "
            f"{size.classes} classes ({mebibytes:,.0f} MiB) simulated with --scene simulated"
        )
    return f"No {what} found in {', '.join(map(str, folders))}: {remedy}."


def _needed(key: str) -> str:
    """Name the files of a scene and the addresses of their publisher."""
    files = known_scene(key).files
    images, labels = (
        [f"{file.name} ({file.address})" for file in files if file.role.startswith(role)]
        for role in ("image", "labels")
    )
    return f"{' or '.join(images)} and {' and '.join(labels)}" if images else _OTHERWISE


def _sharpened(
    key: str, folders: list[Path], folder: Path, say: Say, progress: Progress | None
) -> list[str] | None:
    """Pansharpen the images of a scene into the run folder; None if they are missing.

    The grey band is kept as the first band, as in the published features.  The same pair is
    sharpened once.
    """
    title = discovery.SIGNATURES[key].title
    pair = discovery.find_pair(discovery.SIGNATURES[key], folders)
    if pair is None:
        return None
    say(f"Images: {pair.pan} (grey) and {pair.bands} (bands), which make {title}.")
    say(f"Labels: {pair.labels.path}: {pair.labels.fit.title}.")
    with file_record(folder / "inputs.json"):
        facts = [recorded_identity(path.absolute()) for path in (pair.pan, pair.bands)]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        image = folder / f"pansharpened-{digest}.tif"
        if not image.exists():
            record_files()
            _sharpen(pair, image, progress)
    say(f"Image (pansharpened): {image}")
    labels, variable = pair.labels.path, pair.labels.variable
    return _overrides(path=image, labels=labels, label_variable=variable, name=title)


def _sharpen(pair: discovery.PanPair, image: Path, progress: Progress | None) -> None:
    """Pansharpen a pair into an image, or resume that."""
    pan, bands = (open_scene(path, False) for path in (pair.pan, pair.bands))
    with open_tile_store(
        image, lambda: pansharpen_plan(pan, bands, keep_pan=True)
    ) as store:
        sharp = pansharpen(pan, bands, keep_pan=True, store=store)
        write_scene(sharp, image, store=store, progress=progress)


def default_experiment(
    scene: Mapping[str, Any],
    *,
    model: str | Sequence[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    processes: int = 1,
    window: int | None = None,
) -> Experiment:
    """Make an experiment with sensible defaults for a scene.

    The main split has guard-banded blocks whose size suits the labels; a random split with
    the same training share shows the gap.  Validation pixels are withheld if a model is
    chosen by them.

    Few labels, such as points or a handful of shapes, are evaluated by leaving shapes out
    one after another, or not at all if a class would then lose its training pixels; the map
    is made from all of them.  If only a random split can be drawn, it is used alone.  A note
    reports each of these cases.

    Parameters
    ----------
    scene : the ``scene`` part of an experiment file
    model : names of :data:`MODELS`; None for those that suit the labels
    window : side of a network's windows in pixels, odd; None for 9, or less in a small
        image

    Raises
    ------
    CallError
        If a model is unknown, or the windows are even or larger than the image.
    """
    names = [model] if isinstance(model, str) else list(dict.fromkeys(model or ()))
    for name in names:
        if name not in MODELS:
            *others, last = MODELS
            raise CallError(
                f"The model must be {', '.join(others)} or {last}, got {name!r}; leave it out "
                "for those that suit the labels."
            )
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(scene["path"]).stem).strip("-._")
    document = {
        "name": (stem or "scene")[:60],
        "seed": seed,
        "scene": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in scene.items()
        },
        "split": {"kind": "none"},
        "models": {"svm": MODELS["svm"]},
        "device": device,
        "processes": processes,
    }
    opened = load_scene(parse(document, Path.cwd(), title="the call").scene)
    side = min(WINDOW, *(size - 1 + size % 2 for size in opened.shape))
    if window is not None and not (window % 2 and 1 <= window <= min(opened.shape)):
        rows, cols = opened.shape
        raise CallError(
            f"Windows have an odd side that fits into the image of {rows} × {cols} pixels, "
            f"got {window}; give --window {side} or another odd number."
        )
    suited = _split_and_models(opened, tuple(names), seed, window or side)
    return parse(document | suited, Path.cwd(), title="the call")


def _split_and_models(
    scene: Scene, chosen: tuple[str, ...], seed: int, window: int
) -> dict[str, Any]:
    """Choose split and models for the labels: blocks, shapes left out, random, or none."""
    names = chosen or _DEFAULT
    models = _models(names, window)
    validation = VALIDATION if len(names) > 1 else 0.0
    best = "best" if validation else True
    share = {"train": TRAIN, "validation": validation}
    blocks = _best_blocks(scene, seed, validation=validation, window=window)
    if blocks is not None and not _few(scene, blocks, seed):
        beside = {"random": {"kind": "random", "train": TRAIN}}
        return {"split": blocks, "beside": beside, "models": models, "map": best}
    notes = [] if chosen else [_NO_NETWORK]
    few = {"models": _models(chosen or _FOR_FEW, window), "map": True}
    most = _MAX_NETWORK_FOLDS if "cnn" in chosen else _MAX_FOLDS
    shapes = _leave_one_out(scene, seed, most=most, window=window)
    if shapes is not None:
        return few | {"split": shapes, "notes": [_LEFT_OUT.format(**shapes), *notes]}
    counts = _per_class(scene)
    if min(counts) >= _RANDOM_PIXELS and len(counts) > 1:
        drawn = {"split": {"kind": "random", **share}, "models": models, "map": best}
        return drawn | {"notes": [_FLATTERED]}
    return few | {"split": {"kind": "none"}, "notes": [_UNJUDGED, *notes]}


def _models(names: Sequence[str], window: int) -> dict[str, dict[str, Any]]:
    """Return the named models, networks with windows of this side."""
    return {
        name: MODELS[name] | ({"window": window} if name == "cnn" else {}) for name in names
    }


def _per_class(scene: Scene) -> list[int]:
    """Count the labelled pixels of each class."""
    labels = scene.usable_labels
    _, counts = np.unique(labels[labels > 0], return_counts=True)
    return [int(count) for count in counts] or [0]


def _few(scene: Scene, blocks: Mapping[str, Any], seed: int) -> bool:
    """Tell whether labels are too few for blocks.

    That is if the median class has few pixels, or has few shapes and the blocks leave a
    class without training or test pixels.
    """
    labels = scene.usable_labels
    if np.median(_per_class(scene)) < _FEW_PIXELS:
        return True
    fields = field_map(labels)
    _, first = np.unique(fields[fields > 0], return_index=True)
    _, shapes = np.unique(labels[fields > 0][first], return_counts=True)
    settings = {key: value for key, value in blocks.items() if key != "kind"}
    split = BlockSplit(**settings).split(labels, seed=seed, window=1)
    return bool(np.median(shapes) < _FEW_SHAPES and split.unscored(labels))


def _leave_one_out(
    scene: Scene, seed: int, *, most: int, window: int
) -> dict[str, Any] | None:
    """Choose the guard of a leave-one-out split with at most ``most`` folds.

    The largest guard under which 80 % of the shapes can be held out that can be with any
    guard.  None if fewer than two classes have a shape to hold out.
    """
    labels, options = scene.usable_labels, []
    for guard in sorted({window - 1, window // 2, 2, 1, 0}, reverse=True):
        outlook = LeaveOneOutSplit(n_splits=most, guard=guard).outlook(labels, seed=seed)
        spec = {"kind": "leave-one-out", "folds": outlook.folds, "guard": guard}
        options.append((len(outlook.shapes), sum(outlook.shapes.values()), spec))
    classes = max(count for count, _, _ in options)
    if classes < 2:
        return None
    options = [option for option in options if option[0] == classes]
    shapes = max(count for _, count, _ in options)
    return next(spec for _, count, spec in options if count >= 0.8 * shapes)


def _best_blocks(
    scene: Scene, seed: int, *, validation: float, window: int
) -> dict[str, Any] | None:
    """Choose block size and guard so that most classes can be scored.

    A wide guard is tried first: with window − 1 pixels no two windows share a pixel; a narrow
    one only if the wide one costs classes.  The choice depends on labels and positions, not
    on pixel values or accuracy.  None if no block split exists for these labels.
    """
    labels = scene.usable_labels
    sizes = sorted({max(8, min(scene.shape) // part) for part in (16, 10, 6)})
    options: list[tuple[tuple[int, int, int], dict[str, Any]]] = []
    for guard, size in product((window - 1, window // 2), sizes):
        if guard < window - 1 and any(rank[0] == len(scene.legend) for rank, _ in options):
            break
        settings: dict[str, Any] = {"size": size, "train": TRAIN, "guard": guard}
        settings["validation"] = validation
        try:
            split = BlockSplit(**settings).split(labels, seed=seed)
        except SplitError:
            continue
        scored = len(scene.legend) - len(split.unscored(labels, scene.legend))
        rank = (scored, guard, split.count("test"))
        options.append((rank, {"kind": "blocks", **settings}))
    return max(options, key=itemgetter(0), default=(None, None))[1]
