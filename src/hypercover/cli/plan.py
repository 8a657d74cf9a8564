"""``hypercover plan`` and ``work``: the tasks of an experiment, listed and done one by one."""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import duration, say
from hypercover.errors import counted

if TYPE_CHECKING:
    from hypercover.experiment.run import PreparedRun


_STOPPED = 75
"""Exit code of work that was stopped and can be resumed."""
_SHOWN_NEEDS = 2
"""Needs of a task that are named; the rest are counted."""


def show_plan(prepared: PreparedRun) -> None:
    """Print the tasks of a plan in the order in which they can be done."""
    from hypercover.cli.tables import new_table, show
    from hypercover.experiment.array_submission import measured_seconds, memory_of_tasks
    from hypercover.jobs.task_files import task_record

    plan = prepared.plan
    measured = measured_seconds(plan, prepared.folder)
    memory = memory_of_tasks(prepared.experiment, plan)
    table = new_table(left=("", "task", "needs"), right=("time", "memory"))
    for column in table.columns:
        column.no_wrap = column.header != "needs"
    for number, task in enumerate(plan.ordered, start=1):
        time = duration(measured[task.name]) if task.name in measured else "–"
        if task_record(plan, prepared.folder, task.name) is not None:
            time = "done"
        more = len(task.needs) - _SHOWN_NEEDS
        needs = ", ".join(task.needs[:_SHOWN_NEEDS]) + (
            f" and {more} more" if more > 0 else ""
        )
        needed = f"{memory[task.name] / 2**30:.1f} GiB"
        table.add_row(str(number), task.name, needs, time, needed)
    show(table)
    say(
        f"{counted(len(plan.tasks), 'task')}. Memory is estimated. A time is the mean of the "
        "tasks of the same kind that were done in the run folder; – where none was."
    )


def plan(
    *,
    experiment: options.EXPERIMENT,
    out: options.RUN_FOLDER = None,
    search: options.GRID = False,
    experiment_options: options.ExperimentOptions,
    ready: Annotated[
        bool,
        Option("--ready", help="Write the plan into the run folder, for hypercover work."),
    ] = False,
) -> None:
    """Print the tasks of an experiment, what each needs, and how much memory it takes.

    A time is shown where a task of the same kind was done in the run folder.

    Example: hypercover plan fixed.yaml -o runs/fixed
    """
    from hypercover.experiment.run import plan_run, prepare

    loaded, folder = experiment_options.load(experiment, out)
    prepared = plan_run(loaded, folder, search=search)
    if ready:
        prepare(prepared)
    show_plan(prepared)
    if ready:
        say(f"Ready: hypercover work {shlex.quote(str(prepared.folder))} --task 1")


def work(
    run: options.PREPARED,
    task: Annotated[
        list[str] | None,
        Option("--task", "--tasks", help="Numbers, ranges or names: 4, 4-9, reduce, 1,3."),
    ] = None,
    threads: Annotated[
        int | None, Option(min=1, help="Threads to use (default: all cores).")
    ] = None,
    grace: Annotated[
        float, Option(min=0.0, help="Seconds a task has to stop after SIGTERM.")
    ] = 30.0,
) -> None:
    """Do some tasks of a run that submit, plan --ready or run has prepared.

    Finished tasks are skipped; what a task prints goes to tasks/NAME.log in the
    run folder. Without --task, all tasks are done one after another. On SIGTERM it
    stops and exits with 75; the same command resumes it.

    Example: hypercover work runs/fixed --tasks 4-9
    """
    from hypercover.experiment.run import load_prepared
    from hypercover.jobs.plan import select_tasks
    from hypercover.jobs.worker import do_tasks
    from hypercover.stopping import Stopped, stop_on_signal

    prepared = load_prepared(run)
    plan = prepared.plan
    names = select_tasks(plan, *(task or [f"1-{len(plan.tasks)}"]))
    stop_on_signal(signal.SIGTERM)
    try:
        do_tasks(
            plan,
            prepared.folder,
            names,
            threads=threads,
            grace=grace,
            say=say,
            check=prepared.check,
        )
    except Stopped:
        say("hypercover: stopped; run the same command again to resume.", err=True)
        raise typer.Exit(_STOPPED) from None
