"""``hypercover status`` and ``logs``: the tasks of a run that are done, run, wait or failed."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_args

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import duration, new_console, say
from hypercover.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.experiment.run import PreparedRun
    from hypercover.jobs.task_status import RunStatus, TaskStatus


_SHOWN, _TAIL = 10, 20
"""Failed tasks that are named, and lines of their logs that are shown."""


def _watch(prepared: PreparedRun, *, tasks: bool, interval: float) -> None:
    """Show the status on a terminal, and update it until nothing runs or waits."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from hypercover.jobs.task_status import read_status

    with Live(console=new_console(), auto_refresh=False) as live:
        while True:
            status = read_status(prepared.plan, prepared.folder)
            lines = (Text(line) for line in _summary(prepared, status))
            live.update(Group(_table(status, tasks=tasks), *lines), refresh=True)
            if not status.changing:
                return
            time.sleep(interval)


def _table(status: RunStatus, *, tasks: bool) -> Table:
    """Tabulate each task, or count the tasks of each array by their status."""
    if tasks:
        return _task_table(status)
    from hypercover.cli.tables import new_table
    from hypercover.jobs.task_status import StatusName

    names = get_args(StatusName)
    table = new_table(left=("array", "job"), right=names)
    arrays = status.submission.arrays if status.submission else ()
    rows = [(array.name, array.job) for array in arrays]
    if any(not task.array for task in status.tasks.values()):
        rows.insert(0, ("not in a job", "–"))
    for array, job in rows:
        own = array if job != "–" else ""
        counts = Counter(t.status for t in status.tasks.values() if t.array == own)
        table.add_row(array, job, *(str(counts[name] or "") for name in names))
    return table


def _task_table(status: RunStatus) -> Table:
    from hypercover.cli.tables import new_table

    table = new_table(left=("", "task", "element", "", "time", ""))
    for number, task in enumerate(status.tasks.values(), start=1):
        state = f"{100 * task.share:.0f} %" if task.status == "running" else task.status
        time = "" if task.seconds is None else duration(task.seconds)
        table.add_row(str(number), task.name, task.label, state, time, task.message)
    return table


def _waiting(tasks: Mapping[str, TaskStatus]) -> list[str]:
    """Say for each array why it waits, unless it only waits for other arrays."""
    reasons: dict[str, set[str]] = {}
    for task in tasks.values():
        if task.status == "waiting" and task.message not in ("", "Dependency"):
            reasons.setdefault(task.array, set()).add(task.message)
    return [f"{name} waits: {'; '.join(sorted(why))}" for name, why in reasons.items()]


def _summary(prepared: PreparedRun, status: RunStatus) -> list[str]:
    """Say how much is done, what failed, and which command does what is missing."""
    from hypercover.jobs.task_status import StatusName

    tasks, lost = status.tasks, status.lost
    counts = Counter(task.status for task in tasks.values())
    names = get_args(StatusName)
    listed = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
    lines = [f"{counted(len(tasks), 'task')}: {listed}.", *_waiting(tasks)]
    lines += [f"{task.name} {task.status}: {task.message}" for task in lost[:_SHOWN]]
    lines += [f"… and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    if lost or (not status.changing and counts["done"] < len(tasks)):
        verb = "resume" if any(task.array for task in tasks.values()) else "work"
        folder = shlex.quote(str(prepared.folder))
        lines.append(f"To do what is missing: hypercover {verb} {folder}")
    return lines


def status(
    run: options.PREPARED,
    watch: Annotated[
        bool, Option("--watch", help="Update it until nothing is left to do.")
    ] = False,
    interval: Annotated[
        float, Option(min=0.1, help="Seconds between two queries of the batch system.")
    ] = 30.0,
    tasks: Annotated[
        bool, Option("--tasks", help="A line for each task, not for each array.")
    ] = False,
) -> None:
    """Show which tasks of a run are done, run, wait or failed.

    It reads the result files in the run folder and, where they exist, asks squeue or
    qstat; nothing needs to have kept running since the run was submitted.

    Example: hypercover status runs/fixed --watch
    """
    from hypercover.cli.tables import show
    from hypercover.experiment.run import load_prepared
    from hypercover.jobs.task_status import read_status

    prepared = load_prepared(run)
    if watch and sys.stdout.isatty():
        _watch(prepared, tasks=tasks, interval=interval)
        return
    while (status := read_status(prepared.plan, prepared.folder)).changing and watch:
        time.sleep(interval)
    show(_table(status, tasks=tasks))
    # Line by line, so that paths stay in one piece and can be copied.
    say(*_summary(prepared, status))


def logs(
    run: options.PREPARED,
    task: Annotated[
        str | None, Argument(help="Number or name of a task; default: what failed.")
    ] = None,
) -> None:
    """Print the log of a task, or the end of the log of everything that failed.

    Example: hypercover logs runs/fixed train-main-0-cnn
    """
    from hypercover.experiment.run import load_prepared
    from hypercover.jobs.plan import select_tasks
    from hypercover.jobs.task_files import TaskFiles
    from hypercover.jobs.task_status import output_files, read_status

    prepared = load_prepared(run)
    status = read_status(prepared.plan, prepared.folder)
    names = select_tasks(prepared.plan, task) if task else [t.name for t in status.lost]
    if not names:
        say("Nothing failed; name a task to read its log.")
    for name in names:
        found, files = status.tasks[name], TaskFiles(prepared.folder, name)
        say(f"{name} ({found.status}), {files.log}:")
        lines = files.read_log().splitlines()
        say(*(lines if task else lines[-_TAIL:]))
        if status.submission is None or not found.array:
            continue
        for path in reversed(output_files(prepared.folder, status.submission, found)):
            if path.exists() and path.stat().st_size:
                say(f"Its job printed into {path}")
