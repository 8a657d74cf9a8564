"""``hypercover logs``: what the tasks of a run printed."""

from typing import Annotated

import typer

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say

__all__ = ["command"]

_TAIL = 20
"""Lines of a log that are shown where no task is named."""


def command(
    run: PREPARED,
    task: Annotated[
        str | None, typer.Argument(help="Number or name of a task; default: what failed.")
    ] = None,
) -> None:
    """Print the log of a task, or the end of the log of everything that failed.

    Example: hypercover logs runs/fixed train-main-0-cnn
    """
    from hypercover.cli.cluster.status import look
    from hypercover.experiment.preparation import load_prepared
    from hypercover.jobs.plan import select_tasks
    from hypercover.jobs.record import TaskFiles
    from hypercover.jobs.submission import scripts_folder

    prepared = load_prepared(run)
    seen = look(prepared)
    found, found_jobs = seen.tasks, seen.submission
    lost = [one.name for one in found.values() if one.word in ("failed", "gone")]
    names = select_tasks(prepared.plan, task) if task else lost
    if not names:
        say("Nothing failed; name a task to read its log.")
    for name in names:
        one, files = found[name], TaskFiles(prepared.folder, name)
        say(f"{name} ({one.word}), {files.log}:")
        lines = files.read_log().splitlines()
        say(*(lines if task else lines[-_TAIL:]))
        if one.home:
            array, _, element = one.home.rstrip("]").partition("[")
            place = scripts_folder(prepared.folder)
            printed = [place / f"{array}-{element}.out"]
            if found_jobs is not None:
                patterns = found_jobs.system.output_patterns(one.place[0], one.place[1])
                printed += [path for each in patterns for path in place.glob(each)]
            for path in printed:
                if path.exists() and path.stat().st_size:
                    say(f"Its job printed into {path}")
