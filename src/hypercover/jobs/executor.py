"""What anyone who does tasks offers: this process, local processes, a cluster."""

import inspect
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hypercover.files import open_to_append, written
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import (
    Failure,
    Reporter,
    TaskFiles,
    TaskRecord,
    file_checksums,
)

__all__ = ["Executor", "InProcessExecutor", "Notify", "TaskState", "do_task"]

Notify = Callable[[str, float, str], None]
"""Called with a task's name, the share done and what is being done."""


class TaskState(Enum):
    """Where a task stands with an executor."""

    WAITING = "waiting"
    """Accepted, not begun."""
    RUNNING = "running"
    """Being done."""
    DONE = "done"
    """Its result is there."""
    FAILED = "failed"
    """It raised an error, or its process died more often than is tried."""
    CANCELLED = "cancelled"
    """Taken back."""


class Executor(Protocol):
    """Does tasks one knows to be ready; decides nothing about their order.

    Why it exists: an experiment runs unchanged on a laptop and on a cluster.
    """

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Get ready to do tasks of a plan in a run folder."""

    def submit(self, task: Task) -> None:
        """Accept a task whose needs are done."""

    def state(self, task: Task) -> TaskState:
        """Say where a task that was submitted stands."""

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""

    def cancel(self, task: Task) -> None:
        """Take a task back, whether it waits or runs."""

    def logs(self, task: Task) -> str:
        """Return what a task printed."""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Work or wait for so long at most; return the tasks whose state changed."""

    def close(self) -> None:
        """End whatever still runs; only whole results stay."""


Report = Callable[[float, str], None]

_log = logging.getLogger(__name__)


def do_task(
    plan: Plan, name: str, folder: str | Path, *, report: Report | None = None
) -> Failure | None:
    """Do one task of a plan unless its result is there; say how it failed if it did.

    Parameters
    ----------
    report
        Called with (share, what) from inside the task besides writing the
        progress file, for whoever runs the task in the same process.
    """
    task, files = plan.task(name), TaskFiles(folder, name)
    fingerprint = plan.fingerprints[name]
    if files.read_record(fingerprint) is not None:
        return None
    try:
        # One that no longer holds would be taken for this one's, if its files have their sizes.
        with suppress(OSError):
            files.result.unlink(missing_ok=True)
        files.forget()
        function = plan.registry[task.kind].load()
        record = _done(function, task, fingerprint, Path(folder), _reporting(files, report))
        files.write_record(record)
    except Exception as error:
        # Another copy, left by a machine that was taken for dead, may have done it.
        if files.read_record(fingerprint) is not None:
            return None
        return _failed(files, Failure.of(error))
    return None


def _done(
    function: Callable[..., Any],
    task: Task,
    fingerprint: str,
    folder: Path,
    report: Report,
) -> TaskRecord:
    """Call the function of a task."""
    extra = {"report": report} if "report" in inspect.signature(function).parameters else {}
    began, spent = time.perf_counter(), _processor_seconds()
    with written() as paths:
        result = function(folder, **task.arguments, **extra)
    seconds, spent = time.perf_counter() - began, _processor_seconds() - spent
    return TaskRecord.of(
        fingerprint,
        result,
        seconds,
        file_checksums(folder, paths),
        processor=max(0.0, spent),
    )


def _processor_seconds() -> float:
    """Return what this process and its children that ended have spent so far."""
    return sum(os.times()[:4])


def _reporting(files: TaskFiles, listen: Report | None) -> Report:
    """Return what a task is given to report its progress with."""
    write = Reporter(files)

    def report(share: float, what: str) -> None:
        write(share, what)
        if listen is not None:
            listen(share, what)

    return report


def _failed(files: TaskFiles, failure: Failure) -> Failure:
    """Keep how a task failed, where the disk still takes it."""
    try:
        with open_to_append(files.log) as log:
            log.write(failure.trace.encode())
        files.write_failure(failure)
    except OSError as error:
        _log.warning("%s", error)
    return failure


class InProcessExecutor:
    """Does one task when it is waited for, the first of the plan that is ready."""

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Get ready to do tasks of a plan in a run folder."""
        self._plan, self._folder, self._notify = plan, folder, notify
        self._queue: deque[Task] = deque()
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}

    def submit(self, task: Task) -> None:
        """Accept a task; it is done in a later call of `wait`."""
        TaskFiles(self._folder, task.name).log.unlink(missing_ok=True)
        self._queue.append(task)
        self._states[task.name] = TaskState.WAITING

    def state(self, task: Task) -> TaskState:
        """Say where a task that was submitted stands."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""
        return self._failures.get(task.name)

    def cancel(self, task: Task) -> None:
        """Take a task back if it still waits."""
        if self._states.get(task.name) is TaskState.WAITING:
            self._queue.remove(task)
            self._states[task.name] = TaskState.CANCELLED

    def logs(self, task: Task) -> str:
        """Return the traceback of a failed task; what it printed went to the console."""
        found = TaskFiles(self._folder, task.name).read_failure()
        return found.trace if found else ""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Do the next task, however long it takes."""
        if not self._queue:
            return []
        task = min(self._queue, key=lambda one: self._plan.positions[one.name])
        self._queue.remove(task)
        self._states[task.name] = TaskState.RUNNING
        self._notify(task.name, 0.0, "")
        report = partial(self._notify, task.name)
        failure = do_task(self._plan, task.name, self._folder, report=report)
        if failure is not None:
            self._failures[task.name] = failure
        self._states[task.name] = TaskState.FAILED if failure else TaskState.DONE
        return [task]

    def close(self) -> None:
        """Forget the tasks that still wait."""
        self._queue.clear()
