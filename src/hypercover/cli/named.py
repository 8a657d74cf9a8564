"""Reading the experiment that a command names, and giving a built-in one its scene."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hypercover.cli.options import run_folder
from hypercover.cli.terminal import say
from hypercover.errors import CallError

if TYPE_CHECKING:
    from hypercover.experiment.schema import Experiment

__all__ = ["check_without_scene", "experiment_called"]


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
    from hypercover.experiment.checking import check_machine, without_unfit_parts
    from hypercover.experiment.named import CHOICES, NAMED
    from hypercover.experiment.reading import load_experiment

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
            check_machine(becomes(read) if becomes else read)
            read = without_unfit_parts(read)
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
    from hypercover.experiment.named import Choice, named_scene

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
    from hypercover.experiment.checking import check_machine
    from hypercover.experiment.reading import built_in, load_experiment

    # A file that exists stands for the scene.
    file = built_in()[experiment]
    nowhere = [f"scene.path={file}", f"scene.labels={file}"]
    asked = load_experiment(experiment, [*nowhere, *overrides])
    check_machine(becomes(asked) if becomes else asked)


def _name(experiment: str, overrides: Sequence[str]) -> str:
    """Return the name of the run, which somebody may have changed."""
    given = [
        change.removeprefix("name=") for change in overrides if change.startswith("name=")
    ]
    return given[-1] if given else experiment
