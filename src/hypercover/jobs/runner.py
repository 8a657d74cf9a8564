"""Run a plan: finished tasks are kept, and a failure only stops the tasks that need it."""

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

from hypercover.errors import CallError, HypercoverError, RunError, counted
from hypercover.files import make_folder, open_to_append, write_error
from hypercover.jobs.executor import Executor, TaskState
from hypercover.jobs.plan import FOLDER, Plan, Task
from hypercover.jobs.task_files import Failure, TaskFiles, TaskRecord, task_record

_SUBFOLDERS = ("checkpoints", "features", "jobs", "models", "tensorboard")
"""Folders of a run that hold folders, or files written by other programs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened while a plan runs."""

    task: str
    """Name of the task."""
    what: Literal["kept", "started", "progress", "done", "failed", "skipped"]
    """``kept``: it was done before; ``skipped``: a task that it needs failed."""
    share: float
    """Share of the task that is done, 0 to 1."""
    message: str
    """What is being done, or the error."""
    done: float
    """Share of the whole plan that is done, 0 to 1, by weight."""
    seconds_left: float | None
    """Estimated time left, from the rate so far; None while unknown."""


def run_plan(
    plan: Plan,
    folder: str | Path,
    executor: Executor,
    *,
    prepare: Callable[[], None] | None = None,
    progress: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Do all tasks of a plan that are not done; return all results by name.

    Interrupted in any way and called again, it resumes.

    Parameters
    ----------
    prepare
        Called before the first task, when the folder is locked, to write what the
        tasks read.

    Raises
    ------
    CallError
        If another run is active in this folder.
    HypercoverError
        The error of a task, in its own type, if hypercover raised all errors.
    RunError
        If tasks failed unexpectedly; each is named with the first line of its error.
    """
    place = Path(folder)
    with folder_lock(place):
        run = _Run(plan, place, executor, progress)
        try:
            # First of all: a cluster that does not answer must not cost finished results.
            executor.open(plan, place, run.notify)
            _prepare(plan, place, prepare)
            run.run()
        finally:
            executor.close()
    _raise(run.failures, place)
    return {task.name: run.records[task.name].result for task in plan.tasks}


def prepare_plan(plan: Plan, folder: str | Path, prepare: Callable[[], None]) -> None:
    """Save a plan in a run folder, so that other processes can do its tasks.

    Raises
    ------
    CallError
        If another run is active in this folder.
    """
    with folder_lock(Path(folder)):
        _prepare(plan, Path(folder), prepare)


def _prepare(plan: Plan, folder: Path, prepare: Callable[[], None] | None) -> None:
    """Write what the tasks read, and remove the drafts that killed processes left."""
    for draft in (folder / FOLDER).glob(".*.part*"):
        draft.unlink(missing_ok=True)
    if prepare is not None:
        prepare()
    plan.save(folder)


class _Run:
    """One run of a plan: the finished, waiting and failed tasks."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        executor: Executor,
        progress: Callable[[Event], None] | None,
    ) -> None:
        self.plan, self.folder = plan, folder
        self.executor, self.progress = executor, progress
        self.records: dict[str, TaskRecord] = {}
        self.failures: dict[str, Failure] = {}
        self.skipped: set[str] = set()
        self._shares: dict[str, float] = {}
        self._total = sum(task.weight for task in plan.tasks)
        self._finished = self._kept = 0.0
        self._began = time.monotonic()

    def run(self) -> None:
        """Submit tasks as they become ready until none is left."""
        order = TopologicalSorter({task.name: task.needs for task in self.plan.tasks})
        order.prepare()
        active: set[str] = set()
        while (ready := order.get_ready()) or active:
            for name in ready:
                if self._keep(self.plan.task(name)):
                    order.done(name)
                else:
                    active.add(name)
                    self.executor.submit(self.plan.task(name))
            for task in self.executor.wait(0.5) if active else ():
                active.discard(task.name)
                if self._finish(task):
                    order.done(task.name)

    def notify(self, name: str, share: float, what: str) -> None:
        """Note that a task has started, or its progress."""
        started = name in self._shares
        self._shares[name] = min(max(share, 0.0), 1.0)
        self._report(name, "progress" if started else "started", what)

    def _keep(self, task: Task) -> bool:
        """Take the result of an earlier run if it and all its files are intact."""
        files = TaskFiles(self.folder, task.name)
        record = task_record(self.plan, self.folder, task.name)
        if record is None:
            return False
        if damaged := next(files.damaged(record), None):
            _log.warning(
                "%s was changed or damaged since it was written: %s is done again.",
                damaged,
                task.name,
            )
            files.result.unlink(missing_ok=True)
            return False
        self._take(task, record)
        self._kept += task.weight
        self._report(task.name, "kept")
        return True

    def _take(self, task: Task, record: TaskRecord) -> None:
        """Take the result of a task that is done."""
        self.records[task.name] = record
        self._finished += task.weight
        self._shares.pop(task.name, None)

    def _finish(self, task: Task) -> bool:
        """Note how a task ended; skip those that need it if it failed."""
        state = self.executor.state(task)
        record = task_record(self.plan, self.folder, task.name)
        if state is TaskState.DONE and record is not None:
            self._take(task, record)
            self._report(task.name, "done")
            return True
        failure = self.executor.failure(task) or Failure(
            "RunError", f"It left no result; its state is {state.value}."
        )
        self._shares.pop(task.name, None)
        self.failures[task.name] = failure
        self._report(task.name, "failed", failure.headline)
        for name in sorted(self.plan.dependents([task.name]) - self.skipped):
            self.skipped.add(name)
            self._report(name, "skipped", f"it needs {task.name}, which failed")
        return False

    def _report(self, name: str, what: Any, message: str = "") -> None:
        """Report an event."""
        if self.progress is None:
            return
        shares = self._shares.items()
        running = sum(self.plan.task(name).weight * share for name, share in shares)
        done = (self._finished + running) / self._total
        share = 1.0 if name in self.records else self._shares.get(name, 0.0)
        new = done - self._kept / self._total
        left = (time.monotonic() - self._began) / new * (1.0 - done) if new > 0 else None
        self.progress(Event(name, what, share, message, done, left))


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a run folder against a second run; the lock ends with this process."""
    check_links(folder)
    path = make_folder(folder / FOLDER) / "lock"
    try:
        lock = open_to_append(path)
    except OSError as error:
        raise write_error(path, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read(200).decode(errors="replace").strip()
            raise CallError(
                f"Another run is active in {folder} ({owner}); wait, or choose another folder."
            ) from error
        except OSError as error:
            raise write_error(path, error) from error
        # Only informative, so a full disk does not stop the run.
        with suppress(OSError):
            lock.truncate(0)
            os.write(lock.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
        yield


def check_links(folder: Path) -> None:
    """Refuse a run folder with links that lead out of it.

    A folder from a stranger must not decide where files are written or removed.  Results
    replace a link of their name, but links to folders, and those of files into which batch
    systems print, would be followed.

    Raises
    ------
    CallError
    """
    for place in (folder, *(folder / name for name in _SUBFOLDERS)):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink() and (place.name == "jobs" or entry.is_dir()):
                raise CallError(
                    f"{entry.path} is a link, but a run only writes into its own folder; replace "
                    "the link by its target, or choose another run folder."
                )


def _raise(failures: dict[str, Failure], folder: Path) -> None:
    """Raise the failures of a run as one error, if there are any."""
    if not failures:
        return
    lines = [f"{name}: {failure.headline}" for name, failure in failures.items()]
    if all(failure.deliberate for failure in failures.values()):
        error: HypercoverError = next(iter(failures.values())).error()
        for line in lines:
            error.add_note(line)
        raise error
    logs = ", ".join(str(TaskFiles(folder, name).log) for name in failures)
    raise RunError(
        f"{counted(len(lines), 'task')} failed, {'; '.join(lines)}; the rest is done. The logs "
        f"({logs}) hold the details: correct the cause and run again."
    )
