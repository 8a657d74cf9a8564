"""Opening the scene or the experiment that a command names."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from hypercover.cli.options import run_folder
from hypercover.cli.terminal import say
from hypercover.errors import CallError

if TYPE_CHECKING:
    from hypercover.experiment.config.schema import Experiment
    from hypercover.scene.scene import Scene
    from hypercover.splits.split import Split


SPLIT = Annotated[
    Path | None, typer.Option(help="A kept split, runs/NAME/split.tif: notes its parts.")
]

TRAIN = Annotated[
    str | None,
    typer.Option(help="Draw training pixels: a share (0.1) or a number of each class."),
]

HALVES = Annotated[
    str,
    typer.Option(help="Half a pixel of --train counts as: even (2.5 are 2) or up (3)."),
]

CHAIN = Annotated[
    str | None, typer.Option(help="Image features in the place of bands: kpca:5,esdap.")
]


def chosen_scene(image: Path, labels: Path | None, **given: Any) -> "Scene":
    """Open a scene with its bands chosen."""
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.selection import select_bands

    keep, drop = given.pop("keep_bands"), given.pop("drop_bands")
    scene = open_scene(image, labels, **given)
    tell_fill(scene)
    return select_bands(scene, keep=keep, drop=drop) if keep or drop else scene


def tell_fill(*scenes: "Scene") -> None:
    """Print what looks like no data that nothing declares, where notes are not shown."""
    from hypercover.scene.nodata import fill_notes

    for scene in scenes:
        say(*(f"Note: {scene.name}: {note}" for note in fill_notes(scene.notes)))


def asked_split(
    scene: "Scene", path: Path | None, train: str | None, seed: int, halves: str = "even"
) -> "Split | None":
    """Open or draw a split, if one is asked for.

    Raises
    ------
    CallError
        If both are asked for, or the split is damaged or of another size.
    """
    if path is not None and train is not None:
        raise CallError(
            "--split and --train both say which pixels train; give one of them."
        )
    if path is not None:
        from hypercover.splits.split import Split

        split = Split.load(path.parent, path.stem)
        split.samples("train", scene.usable_labels)
        return split
    if train is None:
        return None
    from hypercover.splits.random_split import RandomSplit

    if halves not in ("even", "up"):
        raise CallError(f"--halves takes even or up, got {halves!r}.")
    drawn = RandomSplit(train=_share(train), halves=cast(Literal["even", "up"], halves))
    return drawn.split(scene.usable_labels, seed=seed)


def _share(text: str) -> float | int:
    """Read a share of each class, or a number of pixels of each."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError as error:
        raise CallError(
            f"--train takes a share such as 0.1 or a number of pixels of each class, got "
            f"{text!r}."
        ) from error


def experiment_called(
    experiment: str,
    out: Path | None,
    overrides: Sequence[str],
    *,
    data: Sequence[Path] | None,
    choice: str | None,
    becomes: "Callable[[Experiment], Experiment] | None" = None,
) -> "Experiment":
    """Read an experiment; one with a name is given its scene.

    A named experiment on somebody's own scene (``scene.path``) leaves out what that scene
    does not allow, and says so.  ``becomes`` makes of the experiment the one that will be
    run, where it is another.

    Raises
    ------
    CallError
        If ``--data`` or ``--scene`` is given where the scene is named already, or
        the experiment could run on no scene at all.
    """
    from hypercover.experiment.config.experiment_check import (
        check_models,
        drop_unusable_parts,
    )
    from hypercover.experiment.config.experiment_file import load_experiment
    from hypercover.experiment.config.presets import CHOICES, NAMED

    own = any(change.startswith("scene.path=") for change in overrides)
    named = experiment in NAMED and not Path(experiment).is_file()
    if not named or own:
        if data or choice:
            option = "--scene" if choice else "--data"
            raise CallError(
                f"{option} is for the named experiments ({', '.join(NAMED)}) without a "
                f"scene.path of their own; leave it out for {experiment}."
            )
        read = load_experiment(experiment, overrides)
        if named:
            check_models(becomes(read) if becomes else read)
            read = drop_unusable_parts(read)
            for note in read.notes:
                say(f"Note: {note}", err=True)
        return becomes(read) if becomes else read
    if choice not in (None, *CHOICES):
        raise CallError(f"--scene must be one of {', '.join(CHOICES)}, got {choice}.")
    check_without_scene(experiment, overrides, becomes)
    found = _scene_changes(experiment, out, overrides, data or (), choice or "auto")
    read = load_experiment(experiment, [*found, *overrides])
    return becomes(read) if becomes else read


def _scene_changes(
    experiment: str,
    out: Path | None,
    overrides: Sequence[str],
    data: Sequence[Path],
    choice: str,
) -> list[str]:
    """Return the changes that give a named experiment its scene."""
    from hypercover.cli.progress import bar
    from hypercover.experiment.config.presets import Choice, named_scene

    with bar("Simulating a scene") as advance:
        return named_scene(
            experiment,
            run_folder(out, _name(experiment, overrides)),
            data=data,
            choice=cast(Choice, choice),
            say=partial(say, err=True),
            progress=advance,
        )


def check_without_scene(
    experiment: str,
    overrides: Sequence[str],
    becomes: "Callable[[Experiment], Experiment] | None" = None,
) -> None:
    """Raise what a built-in experiment would fail of on any scene, before there is one."""
    from hypercover.experiment.config.experiment_check import check_models
    from hypercover.experiment.config.experiment_file import built_in, load_experiment

    # A file that exists stands for the scene.
    file = built_in()[experiment]
    nowhere = [f"scene.path={file}", f"scene.labels={file}"]
    asked = load_experiment(experiment, [*nowhere, *overrides])
    check_models(becomes(asked) if becomes else asked)


def _name(experiment: str, overrides: Sequence[str]) -> str:
    """Return the name of the run, which somebody may have changed."""
    given = [
        change.removeprefix("name=") for change in overrides if change.startswith("name=")
    ]
    return given[-1] if given else experiment
