"""Where the tasks of a run stand: by their result files and what the batch system says."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hypercover.jobs.batch_system import ElementStates, ElementStatus, Reasons
from hypercover.jobs.executor import TaskState
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles
from hypercover.jobs.submission import Submission, scripts_folder

__all__ = ["StatusName", "TaskStatus", "tail_lines", "task_statuses", "with_reasons"]

StatusName = Literal["done", "running", "waiting", "failed", "held up", "gone", "open"]
"""``held up``: a task it needs failed or is gone; ``gone``: its job ended and left neither
result nor error; ``open``: nobody has been asked to do it."""


@dataclass(frozen=True)
class TaskStatus:
    """Where one task stands."""

    name: str
    """Name of the task."""
    word: StatusName
    """Where it stands, in a word."""
    message: str = ""
    """What is being done, how it failed, or what holds it up."""
    share: float = 0.0
    """Share of it that is done, 0 to 1."""
    seconds: float | None = None
    """Wall time, where it is done."""
    home: str = ""
    """Array and element that does it, as in ``2-train[3]``."""
    place: tuple[str, int] = ("", 0)
    """Number of the job and of the element that does it."""


def task_statuses(
    plan: Plan,
    folder: Path,
    submission: Submission | None,
    places: ElementStates | None,
) -> dict[str, TaskStatus]:
    """Say where each task of a plan stands, by name, in the order they can be done.

    Parameters
    ----------
    places : where the elements of the jobs stand; None where nobody can be asked
    """
    homes = _homes(submission)
    found: dict[str, TaskStatus] = {}
    for task in plan.ordered:
        job, element, home = homes.get(task.name, ("", 0, ""))
        place = None if places is None else places.get((job, element), _FORGOTTEN)
        one = _standing(plan, folder, task.name, home, place, found)
        found[task.name] = replace(one, place=(job, element))
    return found


_FORGOTTEN = ElementStatus(TaskState.FAILED)
"""Where a job stands that its system no longer knows."""


def with_reasons(
    found: Mapping[str, TaskStatus],
    folder: Path,
    submission: Submission,
    reasons: Reasons,
) -> dict[str, TaskStatus]:
    """Add why tasks wait and how the jobs of lost tasks ended.

    Parameters
    ----------
    reasons : what the batch system says beyond where the elements stand
    """
    told: dict[str, TaskStatus] = {}
    for name, one in found.items():
        job, _ = one.place
        said = reasons.get(one.place) or reasons.get((job, 0), "")
        message = one.message
        if one.word == "waiting" and not message:
            message = said
        elif one.word == "gone":
            told_so = not submission.cancelled or "cancelled" in message
            state, _, more = said.partition(", ")
            # Both squeue and sacct may name the state; an exit code, sacct alone.
            known = state.partition(" ")[0] in message
            parts = ["" if told_so else "it was cancelled", more if known else said]
            words = _last_words(folder, submission, one)
            parts.append(f"its last words: {words}" if words else "")
            message = "; ".join(filter(None, (message, *parts)))
        told[name] = replace(one, message=message)
    return told


def _last_words(folder: Path, submission: Submission, one: TaskStatus) -> str:
    """Return the last line that the job of a task printed, or its batch system for it."""
    array, _, element = one.home.rstrip("]").partition("[")
    place = scripts_folder(folder)
    patterns = submission.system.output_patterns(one.place[0], int(element))
    files = [*(path for each in patterns for path in place.glob(each))]
    for path in (*sorted(files), place / f"{array}-{element}.out"):
        lines = [line for line in tail_lines(path) if not _IDLE.search(line)]
        if lines:
            return lines[-1]
    return ""


_IDLE = re.compile(r" on \S+: [\w.,+-]+$|: done( before)?$|^Told to end")
"""Lines that begin an element or say that a task is done; they explain no end."""
_TAIL = 4096
"""Bytes of a file that are looked at."""
_SHOWN = 300
"""Letters of a line that are shown."""


def tail_lines(path: Path) -> Iterable[str]:
    """Return the last lines of a file, without signs that a terminal would obey."""
    try:
        with path.open("rb") as opened:
            opened.seek(max(0, path.stat().st_size - _TAIL))
            text = opened.read(_TAIL).decode(errors="replace")
    except OSError:
        return []
    return _plain(text.splitlines())


def _plain(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        shown = "".join(letter if letter.isprintable() else " " for letter in line).strip()
        if shown:
            yield shown[:_SHOWN]


def _homes(submission: Submission | None) -> Mapping[str, tuple[str, int, str]]:
    """Return job, number of the element, and what people call it, for each task sent."""
    return {
        name: (array.job, number, f"{array.name}[{number}]")
        for array in (submission.arrays if submission else ())
        for number, element in enumerate(array.elements, start=1)
        for name in element
    }


def _standing(
    plan: Plan,
    folder: Path,
    name: str,
    home: str,
    place: ElementStatus | None,
    before: Mapping[str, TaskStatus],
) -> TaskStatus:
    files = TaskFiles(folder, name)
    record = files.read_record(plan.fingerprints[name])
    if record is not None:
        return TaskStatus(name, "done", "", 1.0, record.seconds, home)
    failure, progress = files.read_failure(), files.read_progress()
    if failure is not None:
        return TaskStatus(name, "failed", f"{failure.headline} See {files.log}", home=home)
    state = None if place is None else place.state
    said = "" if place is None else place.reason
    held = [need for need in plan.task(name).needs if before[need].word in _LOST]
    if state is TaskState.WAITING and not held:
        return TaskStatus(name, "waiting", said, home=home)
    if state is TaskState.RUNNING or (state is None and progress is not None):
        share, what = progress or (0.0, "")
        word: StatusName = "running" if progress or not home else "waiting"
        return TaskStatus(name, word, what, share, home=home)
    if held:
        return TaskStatus(name, "held up", f"by {', '.join(held[:3])}", home=home)
    if home and state is not None:
        how = "was cancelled" if state is TaskState.CANCELLED else "ended without a result"
        how = f"its job {how}" + (f" ({said})" if said else "")
        return TaskStatus(name, "gone", how, home=home)
    return TaskStatus(name, "waiting" if home else "open", home=home)


_LOST = ("failed", "held up", "gone")
