"""``hypercover work``: does some tasks of a run, by hand or in a batch job."""

import signal
from typing import Annotated

import typer

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say

_STOPPED = 75
"""Exit code of work that was stopped and can be resumed."""


def command(
    run: PREPARED,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", "--tasks", help="Numbers, ranges or names: 4, 4-9, reduce, 1,3."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to use (default: all cores).")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds a task has to stop when SIGTERM asks for it."),
    ] = 30.0,
) -> None:
    """Do some tasks of a run that submit, plan --ready or run has prepared.

    Finished tasks are skipped; what a task prints goes to tasks/NAME.log in the
    run folder. Without --task, all tasks are done one after another. On SIGTERM it
    stops and exits with 75; the same command resumes it.

    Example: hypercover work runs/fixed --tasks 4-9
    """
    from hypercover.experiment.preparation import load_prepared
    from hypercover.jobs.plan import select_tasks
    from hypercover.jobs.worker import do_tasks
    from hypercover.stopping import Stopped, stop_on_signal

    found = load_prepared(run)
    names = select_tasks(found.plan, *(task or [f"1-{len(found.plan.tasks)}"]))
    stop_on_signal(signal.SIGTERM)
    try:
        do_tasks(
            found.plan,
            found.folder,
            names,
            threads=threads,
            grace=grace,
            say=say,
            check=found.check,
        )
    except Stopped:
        say("hypercover: stopped; run the same command again to resume.", err=True)
        raise typer.Exit(_STOPPED) from None
