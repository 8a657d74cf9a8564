"""``hypercover status``: where the tasks of a run stand."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hypercover.cli.options import PREPARED
from hypercover.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.experiment.preparation import PreparedRun
    from hypercover.jobs.batch_system import Reasons
    from hypercover.jobs.submission import Submission
    from hypercover.jobs.task_status import StatusName, TaskStatus

__all__ = ["Look", "command", "look", "show_standing"]

_WORDS: tuple[StatusName, ...] = (
    "done",
    "running",
    "waiting",
    "failed",
    "held up",
    "gone",
    "open",
)

_SHOWN = 10
"""Failed tasks that are named."""


@dataclass(frozen=True)
class Look:
    """Where a run stands at one moment."""

    tasks: Mapping[str, TaskStatus]
    """Where each task stands."""
    submission: Submission | None
    """What was submitted."""
    busy: bool
    """Whether a job waits or runs, if only to say that it cannot do its tasks."""

    @property
    def moves(self) -> bool:
        """Whether there is something to wait for."""
        words = {one.word for one in self.tasks.values()}
        return self.busy or not words.isdisjoint({"running", "waiting"})


def look(prepared: PreparedRun) -> Look:
    """Look where every task stands now, and what was submitted."""
    from hypercover.jobs.executor import TaskState
    from hypercover.jobs.submission import Submission, query_states, remove_empty_output
    from hypercover.jobs.task_status import task_statuses, with_reasons

    submission = Submission.load(prepared.folder)
    places = query_states(submission)
    found = task_statuses(prepared.plan, prepared.folder, submission, places)
    if submission is not None:
        reasons = {} if places is None else _reasons(found, submission)
        found = with_reasons(found, prepared.folder, submission, reasons)
        remove_empty_output(submission, prepared.folder)
    states = {place.state for place in (places or {}).values()}
    return Look(
        found, submission, not states.isdisjoint({TaskState.WAITING, TaskState.RUNNING})
    )


def _reasons(found: Mapping[str, TaskStatus], submission: Submission) -> Reasons:
    """Ask why jobs wait and how those of lost tasks ended."""
    jobs = {
        word: sorted({one.place[0] for one in found.values() if one.word == word} - {""})
        for word in ("waiting", "gone")
    }
    if not any(jobs.values()):
        return {}
    return submission.system.reasons(jobs["waiting"], jobs["gone"])


def show_standing(
    prepared: PreparedRun, *, watch: bool, tasks: bool, interval: float = 30.0
) -> None:
    """Print where a run stands, once or until nothing runs or waits.

    Parameters
    ----------
    watch : look again until nothing runs or waits
    tasks : a line for each task
    interval : seconds between two looks, each of which asks the batch system
    """
    from hypercover.cli.tables import say, show

    if watch and sys.stdout.isatty():
        _watch(prepared, tasks=tasks, interval=interval)
        return
    seen = look(prepared)
    while watch and seen.moves:
        time.sleep(interval)
        seen = look(prepared)
    show(_table(seen, tasks=tasks))
    # Line by line: a path must stay in one piece to be copied.
    say(*_summary(prepared, seen))


def _watch(prepared: PreparedRun, *, tasks: bool, interval: float) -> None:
    """Show where a run stands on a terminal, anew until nothing runs or waits."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from hypercover.cli.tables import new_console

    with Live(console=new_console(), auto_refresh=False) as live:
        while True:
            seen = look(prepared)
            lines = (Text(line) for line in _summary(prepared, seen))
            live.update(Group(_table(seen, tasks=tasks), *lines), refresh=True)
            if not seen.moves:
                return
            time.sleep(interval)


def _table(seen: Look, *, tasks: bool) -> Table:
    return _by_task(seen.tasks) if tasks else _by_array(seen.tasks, seen.submission)


def _by_array(found: Mapping[str, TaskStatus], submission: Submission | None) -> Table:
    """Count the tasks of each array by where they stand."""
    from rich.table import Table

    table = Table("array", "job")
    for word in _WORDS:
        table.add_column(word, justify="right")
    rows = [
        (array.name, array.job, [name for element in array.elements for name in element])
        for array in (submission.arrays if submission else ())
    ]
    sent = {name for _, _, names in rows for name in names}
    rest = [name for name in found if name not in sent]
    if rest:
        rows.insert(0, ("not in a job", "–", rest))
    for name, job, names in rows:
        counts = Counter(found[one].word for one in names if one in found)
        table.add_row(name, job, *(str(counts[word] or "") for word in _WORDS))
    return table


def _by_task(found: Mapping[str, TaskStatus]) -> Table:
    from rich.table import Table

    from hypercover.cli.progress import duration

    table = Table("", "task", "element", "", "time", "")
    for number, one in enumerate(found.values(), start=1):
        word = f"{100 * one.share:.0f} %" if one.word == "running" else one.word
        time_ = "" if one.seconds is None else duration(one.seconds)
        table.add_row(str(number), one.name, one.home, word, time_, one.message)
    return table


def _waiting(found: Mapping[str, TaskStatus]) -> list[str]:
    """Say for each array why it waits, unless it only waits for others."""
    reasons: dict[str, set[str]] = {}
    for one in found.values():
        if one.word == "waiting" and one.message not in ("", "Dependency"):
            reasons.setdefault(one.home.partition("[")[0], set()).add(one.message)
    return [f"{name} waits: {'; '.join(sorted(said))}" for name, said in reasons.items()]


def _summary(prepared: PreparedRun, seen: Look) -> Sequence[str]:
    """Say how much is done, what failed and where its log is, and what to do."""
    found = seen.tasks
    counts = Counter(one.word for one in found.values())
    said = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
    lines = [f"{counted(len(found), 'task')}: {said}."]
    lines += _waiting(found)
    lost = [one for one in found.values() if one.word in ("failed", "gone")]
    lines += [f"{one.name} {one.word}: {one.message}" for one in lost[:_SHOWN]]
    lines += [f"… and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    if lost or (not seen.moves and counts["done"] < len(found)):
        verb = "resume" if any(one.home for one in found.values()) else "work"
        lines.append(f"To do what is missing: hypercover {verb} {prepared.folder}")
    return lines


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
    from hypercover.experiment.preparation import load_prepared

    show_standing(load_prepared(run), watch=watch, tasks=tasks, interval=interval)
