"""``hypercover plan``: the tasks of an experiment, and what each will take."""

import shlex
from typing import Annotated

import typer

from hypercover.cli.options import (
    DATA,
    EXPERIMENT,
    GRID,
    RUN_FOLDER,
    RUN_SEED,
    SCENE,
    SET,
    changes,
    run_folder,
)
from hypercover.cli.terminal import say

__all__ = ["command"]


def command(
    experiment: EXPERIMENT,
    out: RUN_FOLDER = None,
    search: GRID = False,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    ready: Annotated[
        bool,
        typer.Option(
            "--ready", help="Write the plan into the run folder, for hypercover work."
        ),
    ] = False,
) -> None:
    """Print the tasks of an experiment with an estimate of the time and memory of each.

    Times are measured where tasks of the kind were done in the run folder, and
    otherwise for one core, by rules of thumb.

    Example: hypercover plan fixed.yaml -o runs/fixed
    """
    from hypercover.cli.named import experiment_called
    from hypercover.cli.planning import show_plan
    from hypercover.experiment.prepared import asked_plan, prepare

    overrides = changes(set_, seed=seed)
    read = experiment_called(experiment, out, overrides, data=data, choice=scene)
    asked = asked_plan(read, run_folder(out, read.name), search=search)
    if ready:
        prepare(asked)
    show_plan(asked)
    if ready:
        folder = shlex.quote(str(asked.folder))
        say(f"Ready: hypercover work {folder} --task 1")
