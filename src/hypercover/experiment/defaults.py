"""The experiment somebody gets who only gave an image and labels."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypercover.errors import CallError, SplitError
from hypercover.experiment.reading import parse
from hypercover.experiment.schema import Experiment
from hypercover.experiment.stages import scene_for
from hypercover.samples.blocks import BlockSplit
from hypercover.scene.scene import Scene

__all__ = ["default_experiment"]

WINDOW = 9
TRAIN = 0.25
VALIDATION = 0.2
_MODELS: dict[str, dict[str, Any]] = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "network": "default", "window": WINDOW},
}

_FLATTERED = (
    "No guard-banded blocks can be drawn from these labels, so training and test pixels "
    "were drawn at random and stand side by side: the accuracy is flattering and says "
    "little of unseen land; label more fields, in several places, and run again."
)


def default_experiment(
    scene: Mapping[str, Any],
    *,
    model: str | None = None,
    seed: int = 0,
    device: str = "auto",
    processes: int = 1,
) -> Experiment:
    """Make an experiment with sensible defaults for a scene.

    The main split is of guard-banded blocks whose size suits the labels; beside
    it stands a random split of the same training share, to show the gap.  Where
    no blocks can be drawn, the random split stands alone and a note says so.

    Parameters
    ----------
    scene : the ``scene`` part of an experiment file
    model : "cnn" or "svm" alone, or None for both
    """
    if model is not None and model not in _MODELS:
        raise CallError(
            f"The model must be cnn or svm, got {model!r}; leave it out for both."
        )
    name = (
        re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(scene["path"]).stem).strip("-._") or "scene"
    )
    document = {
        "name": name[:60],
        "seed": seed,
        "scene": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in scene.items()
        },
        "split": {"kind": "random", "train": TRAIN, "validation": VALIDATION},
        "models": _MODELS if model is None else {model: _MODELS[model]},
        "map": "best",
        "device": device,
        "processes": processes,
    }
    draft = parse(document, Path.cwd(), title="the call")
    blocks = _suiting_blocks(scene_for(draft.scene), seed)
    if blocks is None:
        return draft.model_copy(update={"notes": [_FLATTERED]})
    beside = {"random": {"kind": "random", "train": TRAIN}}
    return parse(
        document | {"split": blocks, "beside": beside}, Path.cwd(), title="the call"
    )


def _suiting_blocks(scene: Scene, seed: int) -> dict[str, Any] | None:
    """Choose block size and guard so that most classes can be scored.

    A wide guard is tried first: with window − 1 pixels no two windows share a
    pixel; a narrow one only where it costs classes.  Only labels and positions
    are looked at, no pixel value and no accuracy.  None if no block split
    exists for these labels.
    """
    labels = scene.usable_labels
    side = min(scene.shape)
    sizes = sorted({max(8, side // part) for part in (16, 10, 6)})
    best: tuple[tuple[int, int, int], dict[str, Any]] | None = None
    for guard in (WINDOW - 1, WINDOW // 2):
        for size in sizes:
            splitter = BlockSplit(
                size=size, train=TRAIN, guard=guard, validation=VALIDATION
            )
            try:
                split = splitter.split(labels, seed=seed, window=WINDOW)
            except SplitError:
                continue
            scored = len(scene.legend) - len(split.unscored(labels, scene.legend))
            rank = (scored, guard, split.count("test"))
            if best is None or rank > best[0]:
                spec = {"kind": "blocks", "size": size, "train": TRAIN, "guard": guard}
                best = rank, spec | {"validation": VALIDATION}
        if best is not None and best[0][0] == len(scene.legend):
            break
    return None if best is None else best[1]
