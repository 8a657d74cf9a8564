"""``hypercover plan``: the tasks of an experiment."""

from __future__ import annotations

import shlex
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
    from hypercover.experiment.preparation import PreparedRun


_SHOWN_NEEDS = 2
"""Needs of a task that are named; the rest are counted."""


def show_plan(prepared: PreparedRun) -> None:
    """Print the tasks of a plan in the order in which they can be done."""
    from rich.table import Table

    from hypercover.cli.progress import duration
    from hypercover.cli.tables import show
    from hypercover.experiment.estimate import measured_seconds, memory_of_tasks
    from hypercover.jobs.record import task_record

    plan = prepared.plan
    measured = measured_seconds(plan, prepared.folder)
    memory = memory_of_tasks(prepared.experiment, plan)
    table = Table("", "task", "needs")
    for heading in ("time", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column in table.columns[:2]:
        column.no_wrap = True
    for number, task in enumerate(plan.ordered, start=1):
        done = task_record(plan, prepared.folder, task.name) is not None
        expected = duration(measured[task.name]) if task.name in measured else "–"
        table.add_row(
            str(number),
            task.name,
            _needs(task.needs),
            "done" if done else expected,
            f"{memory[task.name] / 2**30:.1f} GiB",
        )
    show(table)
    say(
        f"{counted(len(plan.tasks), 'task')}. Memory is estimated. A time is the mean of the "
        "tasks of the same kind that were done in the run folder; – where none was."
    )


def _needs(names: tuple[str, ...]) -> str:
    rest = len(names) - _SHOWN_NEEDS
    return ", ".join(names[:_SHOWN_NEEDS]) + (f" and {rest} more" if rest > 0 else "")


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
    """Print the tasks of an experiment, what each needs, and how much memory it takes.

    A time is shown where a task of the same kind was done in the run folder.

    Example: hypercover plan fixed.yaml -o runs/fixed
    """
    from hypercover.cli.opening import experiment_called
    from hypercover.experiment.preparation import plan_run, prepare

    overrides = changes(set_, seed=seed)
    read = experiment_called(experiment, out, overrides, data=data, choice=scene)
    prepared = plan_run(read, run_folder(out, read.name), search=search)
    if ready:
        prepare(prepared)
    show_plan(prepared)
    if ready:
        folder = shlex.quote(str(prepared.folder))
        say(f"Ready: hypercover work {folder} --task 1")
