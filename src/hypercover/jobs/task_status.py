"""The status of a run's tasks, from their result files and the batch system."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hypercover.errors import HypercoverError
from hypercover.jobs.batch_system import ElementStates, ElementStatus
from hypercover.jobs.executor import ACTIVE, TaskState
from hypercover.jobs.plan import Plan
from hypercover.jobs.submission import Submission, scripts_folder
from hypercover.jobs.task_files import TaskFiles

StatusName = Literal["done", "running", "waiting", "failed", "held up", "gone", "open"]
"""``held up``: a task it needs failed or is gone; ``gone``: its job ended and left neither
result nor error; ``open``: it was not submitted."""

_LOST = ("failed", "held up", "gone")
_FORGOTTEN = ElementStatus(TaskState.FAILED)
"""Status of an element that the batch system no longer knows."""
_IDLE = re.compile(r" on \S+: [\w.,+-]+$|: done( before)?$|^Told to end")
"""Lines that begin an element or say that a task is done; they do not explain a failure."""
_TAIL_BYTES = 4096
_MAX_LINE = 300
"""Characters of a line that are shown."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskStatus:
    """The status of one task."""

    name: str
    """Name of the task."""
    status: StatusName
    """Its status."""
    message: str = ""
    """What is being done, how it failed, or what holds it up."""
    share: float = 0.0
    """Share of it that is done, 0 to 1."""
    seconds: float | None = None
    """Wall time, once it is done."""
    array: str = ""
    """Job array that does it; empty if it was not submitted."""
    element: int = 0
    """Number of its element in the array, from 1."""
    job: str = ""
    """Number of the job."""

    @property
    def label(self) -> str:
        """Array and element, as in ``2-train[3]``."""
        return f"{self.array}[{self.element}]" if self.array else ""


@dataclass(frozen=True)
class RunStatus:
    """The status of a run at one moment."""

    tasks: Mapping[str, TaskStatus]
    """Status of each task, in the order they can be done."""
    submission: Submission | None
    """What was submitted."""
    active: bool
    """Whether a job waits or runs."""

    @property
    def changing(self) -> bool:
        """Whether the status can still change."""
        names = {task.status for task in self.tasks.values()}
        return self.active or not names.isdisjoint({"running", "waiting"})

    @property
    def lost(self) -> list[TaskStatus]:
        """Tasks that failed or whose job is gone."""
        return [task for task in self.tasks.values() if task.status in ("failed", "gone")]


def read_status(plan: Plan, folder: Path) -> RunStatus:
    """Read the status of every task, and what was submitted."""
    submission = Submission.load(folder)
    elements = None if submission is None else _query_states(submission)
    found = task_statuses(plan, folder, submission, elements)
    if submission is not None:
        found = found if elements is None else _explained(found, folder, submission)
        submission.remove_empty_output(folder)
    active = any(element.state in ACTIVE for element in (elements or {}).values())
    return RunStatus(found, submission, active)


def _query_states(submission: Submission) -> ElementStates | None:
    """Return the state of the elements; None if the batch system cannot be queried here."""
    if not submission.jobs or not submission.system.is_available():
        return None
    try:
        return submission.system.states(submission.jobs)
    except HypercoverError as error:
        _log.warning("The state of the jobs is unknown: %s", error.args[-1])
        return None


def task_statuses(
    plan: Plan, folder: Path, submission: Submission | None, states: ElementStates | None
) -> dict[str, TaskStatus]:
    """Return the status of each task of a plan, by name, in the order they can be done.

    Parameters
    ----------
    states : of the elements of the jobs; None if the batch system cannot be queried
    """
    elements = {
        name: (array.name, number, array.job)
        for array in (submission.arrays if submission else ())
        for number, names in enumerate(array.elements, start=1)
        for name in names
    }
    found: dict[str, TaskStatus] = {}
    for task in plan.ordered:
        array, number, job = elements.get(task.name, ("", 0, ""))
        state = None if states is None else states.get((job, number), _FORGOTTEN)
        status = _status(plan, folder, task.name, state, found, submitted=bool(array))
        found[task.name] = replace(status, array=array, element=number, job=job)
    return found


def _status(
    plan: Plan,
    folder: Path,
    name: str,
    element: ElementStatus | None,
    before: Mapping[str, TaskStatus],
    *,
    submitted: bool,
) -> TaskStatus:
    files = TaskFiles(folder, name)
    record = files.read_record(plan.fingerprints[name])
    if record is not None:
        return TaskStatus(name, "done", share=1.0, seconds=record.seconds)
    failure, progress = files.read_failure(), files.read_progress()
    if failure is not None:
        return TaskStatus(name, "failed", f"{failure.headline} See {files.log}")
    state = None if element is None else element.state
    reason = "" if element is None else element.reason
    lost = [need for need in plan.task(name).needs if before[need].status in _LOST]
    if state is TaskState.WAITING and not lost:
        return TaskStatus(name, "waiting", reason)
    if state is TaskState.RUNNING or (state is None and progress is not None):
        share, message = progress or (0.0, "")
        running = progress is not None or not submitted
        return TaskStatus(name, "running" if running else "waiting", message, share)
    if lost:
        return TaskStatus(name, "held up", f"by {', '.join(lost[:3])}")
    if submitted and state is not None:
        end = "was cancelled" if state is TaskState.CANCELLED else "ended without a result"
        return TaskStatus(
            name, "gone", f"its job {end}" + (f" ({reason})" if reason else "")
        )
    return TaskStatus(name, "waiting" if submitted else "open")


def _explained(
    statuses: dict[str, TaskStatus], folder: Path, submission: Submission
) -> dict[str, TaskStatus]:
    """Add why tasks wait and how the jobs of lost tasks ended, as the batch system knows."""
    waiting, gone = (
        sorted({task.job for task in statuses.values() if task.status == status} - {""})
        for status in ("waiting", "gone")
    )
    reasons = submission.system.reasons(waiting, gone) if waiting or gone else {}
    explained = dict(statuses)
    for name, task in statuses.items():
        reason = reasons.get((task.job, task.element)) or reasons.get((task.job, 0), "")
        if task.status == "waiting" and not task.message:
            explained[name] = replace(task, message=reason)
        elif task.status == "gone":
            message = _end_of_job(task, folder, submission, reason)
            explained[name] = replace(task, message=message)
    return explained


def _end_of_job(task: TaskStatus, folder: Path, submission: Submission, reason: str) -> str:
    """Explain how the job of a task ended."""
    parts = [task.message]
    if submission.cancelled and "cancelled" not in task.message:
        parts.append("it was cancelled")
    state, _, more = reason.partition(", ")
    # Both squeue and sacct may name the state; only sacct gives an exit code.
    parts.append(more if state.partition(" ")[0] in task.message else reason)
    if last := _last_output(folder, submission, task):
        parts.append(f"its last words: {last}")
    return "; ".join(filter(None, parts))


def _last_output(folder: Path, submission: Submission, task: TaskStatus) -> str:
    """Return the last line that the job of a task, or the batch system for it, printed."""
    for path in output_files(folder, submission, task):
        lines = [line for line in tail_lines(path) if not _IDLE.search(line)]
        if lines:
            return lines[-1]
    return ""


def output_files(folder: Path, submission: Submission, task: TaskStatus) -> list[Path]:
    """Return the files into which the batch system and then the job of a task print."""
    place = scripts_folder(folder)
    patterns = submission.system.output_patterns(task.job, task.element)
    files = sorted(path for pattern in patterns for path in place.glob(pattern))
    return [*files, place / f"{task.array}-{task.element}.out"]


def tail_lines(path: Path) -> list[str]:
    """Return the last lines of a file, without characters that a terminal would obey."""
    try:
        with path.open("rb") as opened:
            opened.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = opened.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    lines = (
        "".join(letter if letter.isprintable() else " " for letter in line).strip()
        for line in text.splitlines()
    )
    return [line[:_MAX_LINE] for line in lines if line]
