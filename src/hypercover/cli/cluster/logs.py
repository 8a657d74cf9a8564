"""``hypercover logs``: what the tasks of a run printed."""

from typing import Annotated

import typer

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say

__all__ = ["command"]

_TAIL = 20
"""Lines of a log that are shown if no task is named."""


def command(
    run: PREPARED,
    task: Annotated[
        str | None, typer.Argument(help="Number or name of a task; default: what failed.")
    ] = None,
) -> None:
    """Print the log of a task, or the end of the log of everything that failed.

    Example: hypercover logs runs/fixed train-main-0-cnn
    """
    from hypercover.cli.cluster.status import read_status
    from hypercover.experiment.preparation import load_prepared
    from hypercover.jobs.plan import select_tasks
    from hypercover.jobs.record import TaskFiles
    from hypercover.jobs.submission import scripts_folder

    prepared = load_prepared(run)
    status = read_status(prepared)
    names = select_tasks(prepared.plan, task) if task else [t.name for t in status.lost]
    if not names:
        say("Nothing failed; name a task to read its log.")
    scripts = scripts_folder(prepared.folder)
    for name in names:
        one, files = status.tasks[name], TaskFiles(prepared.folder, name)
        say(f"{name} ({one.status}), {files.log}:")
        lines = files.read_log().splitlines()
        say(*(lines if task else lines[-_TAIL:]))
        if status.submission is None or not one.array:
            continue
        patterns = status.submission.system.output_patterns(one.job, one.element)
        printed = [path for pattern in patterns for path in scripts.glob(pattern)]
        for path in (scripts / f"{one.array}-{one.element}.out", *printed):
            if path.exists() and path.stat().st_size:
                say(f"Its job printed into {path}")
