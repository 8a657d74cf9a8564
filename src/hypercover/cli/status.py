"""``hypercover status``: where the tasks of a run stand."""

from typing import Annotated

import typer

from hypercover.cli.options import PREPARED

__all__ = ["command"]


def command(
    run: PREPARED,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew until nothing is left to do.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            min=0.1, help="Seconds between two looks; each asks the batch system."
        ),
    ] = 30.0,
    tasks: Annotated[
        bool, typer.Option("--tasks", help="A line for each task, not for each array.")
    ] = False,
) -> None:
    """Show what is done, runs, waits and failed of a run.

    By the result files in the run folder, and by what squeue or qstat says where
    it is there; nothing needs to have kept running since the run was submitted.

    Example: hypercover status runs/fixed --watch
    """
    from hypercover.cli.standing import show_standing
    from hypercover.experiment.prepared import find_prepared

    show_standing(find_prepared(run), watch=watch, tasks=tasks, interval=interval)
