"""Where the tasks of a run stand: by their result files and what the batch system says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypercover.jobs.batch import Places
from hypercover.jobs.executor import State
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles
from hypercover.jobs.submission import Submission

__all__ = ["TaskStanding", "Word", "standing_of"]

Word = Literal["done", "running", "waiting", "failed", "held up", "gone", "open"]
"""``held up``: a task it needs failed or is gone; ``gone``: its job ended and left neither
result nor error; ``open``: nobody has been asked to do it."""


@dataclass(frozen=True)
class TaskStanding:
    """Where one task stands."""

    name: str
    """Name of the task."""
    word: Word
    """Where it stands, in a word."""
    message: str = ""
    """What is being done, how it failed, or what holds it up."""
    share: float = 0.0
    """Share of it that is done, 0 to 1."""
    seconds: float | None = None
    """Wall time, where it is done."""
    home: str = ""
    """Array and element that does it, as in ``2-train[3]``."""


def standing_of(
    plan: Plan,
    folder: Path,
    submission: Submission | None,
    places: Places | None,
) -> dict[str, TaskStanding]:
    """Say where each task of a plan stands, by name, in the order they can be done.

    Parameters
    ----------
    places : where the elements of the jobs stand; None where nobody can be asked
    """
    homes = _homes(submission)
    found: dict[str, TaskStanding] = {}
    for task in plan.ordered:
        job, element, home = homes.get(task.name, ("", 0, ""))
        state = None if places is None else places.get((job, element), State.FAILED)
        found[task.name] = _standing(plan, folder, task.name, home, state, found)
    return found


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
    state: State | None,
    before: Mapping[str, TaskStanding],
) -> TaskStanding:
    files = TaskFiles(folder, name)
    record = files.read_record(plan.fingerprints[name])
    if record is not None:
        return TaskStanding(name, "done", "", 1.0, record.seconds, home)
    failure, progress = files.read_failure(), files.read_progress()
    if failure is not None:
        return TaskStanding(
            name, "failed", f"{failure.headline} See {files.log}", home=home
        )
    held = [need for need in plan.task(name).needs if before[need].word in _LOST]
    if state is State.WAITING and not held:
        return TaskStanding(name, "waiting", home=home)
    if state is State.RUNNING or (state is None and progress is not None):
        share, what = progress or (0.0, "")
        word: Word = "running" if progress or not home else "waiting"
        return TaskStanding(name, word, what, share, home=home)
    if held:
        return TaskStanding(name, "held up", f"by {', '.join(held[:3])}", home=home)
    if home and state is not None:
        how = "was cancelled" if state is State.CANCELLED else "ended without a word"
        return TaskStanding(name, "gone", f"its job {how}", home=home)
    return TaskStanding(name, "waiting" if home else "open", home=home)


_LOST = ("failed", "held up", "gone")
