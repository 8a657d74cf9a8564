"""Showing where a run stands: a table of its arrays or tasks, and what went wrong."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hypercover.cli.progress import duration
from hypercover.cli.tables import say, show
from hypercover.errors import counted
from hypercover.experiment.prepared import Prepared
from hypercover.jobs.standing import TaskStanding, Word, standing_of
from hypercover.jobs.submission import Submission, places_of

__all__ = ["current_standing", "show_standing"]

_PAUSE = 3.0
"""Seconds between two looks."""
_WORDS: tuple[Word, ...] = (
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


def current_standing(
    prepared: Prepared,
) -> tuple[dict[str, TaskStanding], Submission | None]:
    """Look where every task stands now, and what was submitted."""
    submission = Submission.load(prepared.folder)
    places = places_of(submission)
    return standing_of(prepared.plan, prepared.folder, submission, places), submission


def show_standing(prepared: Prepared, *, watch: bool, tasks: bool) -> None:
    """Print where a run stands, once or until nothing runs or waits."""
    if watch and sys.stdout.isatty():
        _watch(prepared, tasks=tasks)
        return
    found, submission = current_standing(prepared)
    while watch and _moves(found):
        time.sleep(_PAUSE)
        found, submission = current_standing(prepared)
    show(_table(found, submission, tasks=tasks))
    # Line by line: a path must stay in one piece to be copied.
    say(*_summary(prepared, found))


def _watch(prepared: Prepared, *, tasks: bool) -> None:
    """Show where a run stands on a terminal, anew until nothing runs or waits."""
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            found, submission = current_standing(prepared)
            lines = (Text(line) for line in _summary(prepared, found))
            table = _table(found, submission, tasks=tasks)
            live.update(Group(table, *lines), refresh=True)
            if not _moves(found):
                return
            time.sleep(_PAUSE)


def _moves(found: Mapping[str, TaskStanding]) -> bool:
    """Tell whether there is something to wait for."""
    return any(one.word in ("running", "waiting") for one in found.values())


def _table(
    found: Mapping[str, TaskStanding], submission: Submission | None, *, tasks: bool
) -> Table:
    return _by_task(found) if tasks else _by_array(found, submission)


def _by_array(found: Mapping[str, TaskStanding], submission: Submission | None) -> Table:
    """Count the tasks of each array by where they stand."""
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


def _by_task(found: Mapping[str, TaskStanding]) -> Table:
    table = Table("", "task", "element", "", "time", "")
    for number, one in enumerate(found.values(), start=1):
        word = f"{100 * one.share:.0f} %" if one.word == "running" else one.word
        time_ = "" if one.seconds is None else duration(one.seconds)
        table.add_row(str(number), one.name, one.home, word, time_, one.message)
    return table


def _summary(prepared: Prepared, found: Mapping[str, TaskStanding]) -> Sequence[str]:
    """Say how much is done, what failed and where its log is, and what to do."""
    counts = Counter(one.word for one in found.values())
    said = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
    lines = [f"{counted(len(found), 'task')}: {said}."]
    lost = [one for one in found.values() if one.word in ("failed", "gone")]
    lines += [f"{one.name} {one.word}: {one.message}" for one in lost[:_SHOWN]]
    lines += [f"… and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    if lost or (not _moves(found) and counts["done"] < len(found)):
        verb = "resume" if any(one.home for one in found.values()) else "work"
        lines.append(f"To do what is missing: hypercover {verb} {prepared.folder}")
    return lines
