"""``hypercover plan``: the tasks of an experiment, and what each will take."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

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
from hypercover.errors import counted

if TYPE_CHECKING:
    from hypercover.experiment.estimate import Estimate
    from hypercover.experiment.preparation import Prepared
    from hypercover.jobs.plan import Plan

__all__ = ["command", "show_plan"]

_NEEDS = 2
"""Needs of a task that are named; of more there is a count."""


def show_plan(asked: Prepared) -> None:
    """Print the tasks of a plan in the order in which they can be done."""
    from rich.table import Table

    from hypercover.cli.progress import duration
    from hypercover.cli.tables import say, show
    from hypercover.experiment.estimate import estimates
    from hypercover.jobs.record import TaskFiles

    guessed = estimates(asked.experiment, asked.plan, asked.folder)
    table = Table()
    for heading in ("", "task", "needs"):
        table.add_column(heading, no_wrap=heading != "needs")
    for heading in ("time", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, task in enumerate(asked.plan.ordered, start=1):
        row = guessed[task.name]
        done = TaskFiles(asked.folder, task.name).read_record(
            asked.plan.fingerprints[task.name]
        )
        time = "done" if done else f"{duration(row.seconds)}{'' if row.measured else ' ~'}"
        memory = f"{row.memory / 2**30:.1f} GiB"
        table.add_row(str(number), task.name, _needs(task.needs), time, memory)
    show(table)
    say(*_whole(asked.plan, guessed))


def _needs(names: tuple[str, ...]) -> str:
    rest = len(names) - _NEEDS
    return ", ".join(names[:_NEEDS]) + (f" and {rest} more" if rest > 0 else "")


def _whole(plan: Plan, guessed: Mapping[str, Estimate]) -> list[str]:
    """Say what all tasks take, what the estimates rest on, and how wrong they may be."""
    from hypercover.cli.progress import duration

    total = sum(row.seconds for row in guessed.values())
    path: dict[str, float] = {}
    for task in plan.ordered:
        before = max((path[need] for need in task.needs), default=0.0)
        path[task.name] = before + guessed[task.name].seconds
    longest = max(path.values())
    measured = sum(row.measured for row in guessed.values())
    return [
        f"{counted(len(plan.tasks), 'task')}: {duration(total)} one after another, at least "
        f"{duration(longest)} however many at once.",
        f"{measured} times were measured on tasks of the same kind in the run folder; "
        f"{len(guessed) - measured} (~) are of one core and, as all memory, by rules of thumb, "
        "counts of operations at rounded rates, which may be wrong by a factor of three; a GPU "
        "is faster.",
    ]


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
    from hypercover.cli.opening import experiment_called
    from hypercover.experiment.preparation import asked_plan, prepare

    overrides = changes(set_, seed=seed)
    read = experiment_called(experiment, out, overrides, data=data, choice=scene)
    asked = asked_plan(read, run_folder(out, read.name), search=search)
    if ready:
        prepare(asked)
    show_plan(asked)
    if ready:
        folder = shlex.quote(str(asked.folder))
        say(f"Ready: hypercover work {folder} --task 1")
