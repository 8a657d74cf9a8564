"""Running a plan to its end: what is done stays done, what fails stops only its own."""

import fcntl
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from hypercover.errors import CallError, HypercoverError, OutputError, RunError
from hypercover.files import explained, make_folder, open_to_append
from hypercover.jobs.executor import Executor, TaskState
from hypercover.jobs.plan import FOLDER, Plan, Task
from hypercover.jobs.record import Failure, TaskFiles, TaskRecord

__all__ = ["Event", "check_links", "folder_lock", "prepare_plan", "run_plan"]

_DEEPER = ("checkpoints", "features", "jobs", "models", "tensorboard")
"""Folders of a run that hold folders, or files that others write."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened while a plan runs, for whoever watches."""

    task: str
    """Name of the task."""
    what: Literal["kept", "started", "progress", "done", "failed", "skipped"]
    """``kept``: its result was there before; ``skipped``: what it needs failed."""
    share: float
    """Share of the task that is done, 0 to 1."""
    message: str
    """What is being done, or how it failed."""
    done: float
    """Share of the whole plan that is done, 0 to 1, by weight."""
    seconds_left: float | None
    """Estimate of the time left, from the rate so far; None while not known."""


def run_plan(
    plan: Plan,
    folder: str | Path,
    executor: Executor,
    *,
    prepare: Callable[[], None] | None = None,
    progress: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Do all tasks of a plan that are not done yet; return all results by name.

    Interrupt it in any way and call it again: it goes on where it was.

    Parameters
    ----------
    prepare
        Called before the first task, once no other run can be at work in the
        folder: the place to write what the tasks read.

    Raises
    ------
    CallError
        If another run is at work in this folder.
    HypercoverError
        The error of a task, in its own type, if that is all that failed.
    RunError
        If tasks failed in other ways; each is named with its first line.
    """
    place = Path(folder)
    with folder_lock(place):
        course = _Course(plan, place, executor, progress or _unwatched)
        try:
            # A cluster that does not answer must not cost the results there are.
            executor.open(plan, place, course.notified)
            _sweep(place)
            if prepare is not None:
                prepare()
            plan.save(place)
            course.run()
        finally:
            executor.close()
    _raise(course.failures, place)
    return {task.name: course.records[task.name].result for task in plan.tasks}


def prepare_plan(plan: Plan, folder: str | Path, prepare: Callable[[], None]) -> None:
    """Make a run folder ready for others to do the tasks of a plan in it.

    Why it exists: hands and batch systems find plan and experiment there.

    Raises
    ------
    CallError
        If another run is at work in this folder.
    """
    place = Path(folder)
    with folder_lock(place):
        _sweep(place)
        prepare()
        plan.save(place)


def _unwatched(_event: Event) -> None:
    """Watch nothing."""


class _Course:
    """One run through a plan: what is done, what waits, what failed."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        executor: Executor,
        watch: Callable[[Event], None],
    ) -> None:
        self.plan, self.folder = plan, folder
        self.executor, self.watch = executor, watch
        self.records: dict[str, TaskRecord] = {}
        self.failures: dict[str, Failure] = {}
        self.skipped: set[str] = set()
        self._shares: dict[str, float] = {}
        self._total = sum(task.weight for task in plan.tasks)
        self._finished = self._kept = 0.0
        self._began = time.monotonic()

    def run(self) -> None:
        """Submit tasks as they get ready until none is left."""
        order = TopologicalSorter({task.name: task.needs for task in self.plan.tasks})
        order.prepare()
        at_work: set[str] = set()
        while (ready := order.get_ready()) or at_work:
            for name in ready:
                if self._keep(self.plan.task(name)):
                    order.done(name)
                else:
                    at_work.add(name)
                    self.executor.submit(self.plan.task(name))
            for task in self.executor.wait(0.5) if at_work else ():
                at_work.discard(task.name)
                if self._settled(task):
                    order.done(task.name)

    def notified(self, name: str, share: float, what: str) -> None:
        """Take word from the executor that a task is begun or how far it is."""
        begun = name in self._shares
        self._shares[name] = min(max(share, 0.0), 1.0)
        self._say(name, "progress" if begun else "started", what)

    def _keep(self, task: Task) -> bool:
        """Take the result of an earlier run if it is there and all of it is whole."""
        files = TaskFiles(self.folder, task.name)
        record = files.read_record(self.plan.fingerprints[task.name])
        lost = [] if record is None else list(files.damaged(record))
        if lost:
            _log.warning(
                "%s was changed or damaged since it was made: %s is done again.",
                lost[0],
                task.name,
            )
            files.result.unlink(missing_ok=True)
        if not self._take(task):
            return False
        self._kept += task.weight
        self._say(task.name, "kept")
        return True

    def _take(self, task: Task) -> bool:
        """Take the result of a task if it is there."""
        files = TaskFiles(self.folder, task.name)
        record = files.read_record(self.plan.fingerprints[task.name])
        if record is not None:
            self.records[task.name] = record
            self._finished += task.weight
            self._shares.pop(task.name, None)
        return record is not None

    def _settled(self, task: Task) -> bool:
        """Note how a task ended, and give up those that need it if it failed."""
        state = self.executor.state(task)
        if state is TaskState.DONE and self._take(task):
            self._say(task.name, "done")
            return True
        failure = self.executor.failure(task) or Failure(
            "RunError", f"It left no result; its state is {state.value}."
        )
        self._shares.pop(task.name, None)
        self.failures[task.name] = failure
        self._say(task.name, "failed", failure.headline)
        for name in sorted(self.plan.dependents([task.name]) - self.skipped):
            self.skipped.add(name)
            self._say(name, "skipped", f"it needs {task.name}, which failed")
        return False

    @property
    def _done(self) -> float:
        """Share of the plan that is done, by weight."""
        shares = self._shares.items()
        running = sum(self.plan.task(name).weight * share for name, share in shares)
        return (self._finished + running) / self._total

    def _say(self, name: str, what: Any, message: str = "") -> None:
        """Tell whoever watches."""
        if self.watch is _unwatched:
            return
        done = self._done
        share = 1.0 if name in self.records else self._shares.get(name, 0.0)
        new = done - self._kept / self._total
        left = (time.monotonic() - self._began) / new * (1.0 - done) if new > 0 else None
        self.watch(Event(name, what, share, message, done, left))


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the lock goes when this process does."""
    check_links(folder)
    path = make_folder(folder / FOLDER) / "lock"
    try:
        lock = open_to_append(path)
    except OSError as error:
        raise explained(path, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            who = lock.read(200).decode(errors="replace").strip()
            raise CallError(
                f"Another run is at work in {folder} ({who}); wait until it ends or choose "
                "another folder."
            ) from error
        except OSError as error:
            raise OutputError(
                error.errno, f"Cannot lock {path}: {error.strerror}; choose another folder."
            ) from error
        # Only for people: a full disk must not forbid what needs no room.
        with suppress(OSError):
            lock.truncate(0)
            os.write(lock.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
        yield


def check_links(folder: Path) -> None:
    """Refuse a run folder of which a part lies elsewhere by a link.

    Why it exists: a folder of a stranger must not have files written, or removed,
    where its maker liked.  Results replace a link of their name; folders, and what
    batch systems print into, would be followed.

    Raises
    ------
    CallError
    """
    for place in (folder, *(folder / name for name in _DEEPER)):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink() and (place.name == "jobs" or entry.is_dir()):
                raise CallError(
                    f"{entry.path} is a link, and what a run writes must lie in its own "
                    "folder; move what it leads to here, or run into another folder."
                )


def _sweep(folder: Path) -> None:
    """Remove the drafts that killed processes left among the results."""
    for draft in (folder / FOLDER).glob(".*.part*"):
        draft.unlink(missing_ok=True)


def _raise(failures: dict[str, Failure], folder: Path) -> None:
    """Raise what the failures of a run amount to, if there are any."""
    if not failures:
        return
    lines = [f"{name}: {failure.headline}" for name, failure in failures.items()]
    if all(failure.deliberate for failure in failures.values()):
        error: HypercoverError = next(iter(failures.values())).error()
        for line in lines:
            error.add_note(line)
        raise error
    count = "1 task" if len(lines) == 1 else f"{len(lines)} tasks"
    logs = ", ".join(str(TaskFiles(folder, name).log) for name in failures)
    raise RunError(
        f"{count} failed, {'; '.join(lines)}; the rest is done: mend this by what stands in "
        f"{logs} and run again."
    )
