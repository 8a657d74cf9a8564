"""The default experiment for an image and labels."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.errors import CallError, SplitError
from hypercover.experiment.config.builders import load_scene
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.config.schema import Experiment
from hypercover.scene.scene import Scene
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.fields import field_map
from hypercover.splits.leave_one_out import LeaveOneOutSplit

WINDOW = 9
TRAIN = 0.25
VALIDATION = 0.2
_SKLEARN = {"kind": "sklearn"}
MODELS: dict[str, dict[str, Any]] = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "network": "default", "window": WINDOW},
    "forest": {
        **_SKLEARN,
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 200},
    },
    "lda": {
        **_SKLEARN,
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
    document = {
        "name": _run_name(scene),
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


def _run_name(scene: Mapping[str, Any]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(scene["path"]).stem).strip("-._")
    return (stem or "scene")[:60]


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
    labels = scene.usable_labels
    options = []
    for guard in sorted({window - 1, window // 2, 2, 1, 0}, reverse=True):
        outlook = LeaveOneOutSplit(folds=most, guard=guard).outlook(labels, seed=seed)
        options.append((len(outlook.shapes), sum(outlook.shapes.values()), guard, outlook))
    classes = max(entry[0] for entry in options)
    shapes = max(entry[1] for entry in options if entry[0] == classes)
    if classes < 2:
        return None
    _, _, guard, outlook = next(
        entry for entry in options if entry[0] == classes and entry[1] >= 0.8 * shapes
    )
    return {"kind": "leave-one-out", "folds": outlook.folds, "guard": guard}


def _best_blocks(
    scene: Scene, seed: int, *, validation: float, window: int
) -> dict[str, Any] | None:
    """Choose block size and guard so that most classes can be scored.

    A wide guard is tried first: with window − 1 pixels no two windows share a pixel; a narrow
    one only if the wide one costs classes.  The choice depends on labels and positions, not
    on pixel values or accuracy.  None if no block split exists for these labels.
    """
    labels = scene.usable_labels
    side = min(scene.shape)
    sizes = sorted({max(8, side // part) for part in (16, 10, 6)})
    best: tuple[tuple[int, int, int], dict[str, Any]] | None = None
    for guard in (window - 1, window // 2):
        for size in sizes:
            splitter = BlockSplit(
                size=size, train=TRAIN, guard=guard, validation=validation
            )
            try:
                split = splitter.split(labels, seed=seed)
            except SplitError:
                continue
            scored = len(scene.legend) - len(split.unscored(labels, scene.legend))
            rank = (scored, guard, split.count("test"))
            if best is None or rank > best[0]:
                spec = {"kind": "blocks", "size": size, "train": TRAIN, "guard": guard}
                best = rank, spec | {"validation": validation}
        if best is not None and best[0][0] == len(scene.legend):
            break
    return None if best is None else best[1]
