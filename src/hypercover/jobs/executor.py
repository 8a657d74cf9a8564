"""The interface of an executor, and the executor in this process."""

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

from hypercover.files import collect_written, open_to_append
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import (
    Failure,
    Reporter,
    TaskFiles,
    TaskRecord,
    file_checksums,
)
from hypercover.types import Report

Notify = Callable[[str, float, str], None]
"""Called with a task's name, the share done and what is being done."""


class TaskState(Enum):
    """State of a task in an executor or batch system."""

    WAITING = "waiting"
    """Accepted, not started."""
    RUNNING = "running"
    """Started."""
    DONE = "done"
    """Its result is written."""
    FAILED = "failed"
    """It raised an error, or its process died too often."""
    CANCELLED = "cancelled"
    """Cancelled or stopped."""


class Executor(Protocol):
    """Does tasks that are ready; their order is up to the caller.

    With it an experiment runs unchanged on a laptop and on a cluster.
    """

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Prepare for the tasks of a plan in a run folder."""

    def submit(self, task: Task) -> None:
        """Accept a task whose needs are done."""

    def state(self, task: Task) -> TaskState:
        """Return the state of a submitted task."""

    def failure(self, task: Task) -> Failure | None:
        """Return the error of a failed task."""

    def cancel(self, task: Task) -> None:
        """Cancel a task that waits or runs."""

    def logs(self, task: Task) -> str:
        """Return the output of a task."""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Work or wait for at most ``seconds``; return the tasks whose state changed."""

    def close(self) -> None:
        """End all running tasks; only finished results remain."""


_log = logging.getLogger(__name__)


def do_task(
    plan: Plan, name: str, folder: str | Path, *, report: Report | None = None
) -> Failure | None:
    """Do one task of a plan unless it is done; return its error if it fails.

    Parameters
    ----------
    report
        Called with (share, message) from inside the task, in addition to the progress file.
    """
    task, files = plan.task(name), TaskFiles(folder, name)
    fingerprint = plan.fingerprints[name]
    if files.read_record(fingerprint) is not None:
        return None
    try:
        # An outdated result must not be mistaken for that of this task.
        with suppress(OSError):
            files.result.unlink(missing_ok=True)
        files.forget()
        function = plan.registry[task.kind].load()
        record = _record(
            function, task, fingerprint, Path(folder), _reporting(files, report)
        )
        files.write_record(record)
    except Exception as error:
        # A copy on a machine that was believed dead may have finished it.
        if files.read_record(fingerprint) is not None:
            return None
        return _failed(files, Failure.of(error))
    return None


def _record(
    function: Callable[..., Any],
    task: Task,
    fingerprint: str,
    folder: Path,
    report: Report,
) -> TaskRecord:
    """Call the function of a task and return the record of its result."""
    extra = {"report": report} if "report" in inspect.signature(function).parameters else {}
    began, spent = time.perf_counter(), _processor_seconds()
    with collect_written() as paths:
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
    """Return the processor time of this process and of its ended children."""
    return sum(os.times()[:4])


def _reporting(files: TaskFiles, listen: Report | None) -> Report:
    """Return the function with which a task reports its progress."""
    write = Reporter(files)

    def report(share: float, what: str) -> None:
        write(share, what)
        if listen is not None:
            listen(share, what)

    return report


def _failed(files: TaskFiles, failure: Failure) -> Failure:
    """Write the error of a task, if the disk allows it."""
    try:
        with open_to_append(files.log) as log:
            log.write(failure.trace.encode())
        files.write_failure(failure)
    except OSError as error:
        _log.warning("%s", error)
    return failure


class InProcessExecutor:
    """Does one task per call of `wait`, the first of the plan that is ready.

    Examples
    --------
    >>> from hypercover import run_experiment
    >>> run_experiment("fields.yaml", "runs/fields", executor=InProcessExecutor())  # doctest: +SKIP
    """

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Prepare for the tasks of a plan in a run folder."""
        self._plan, self._folder, self._notify = plan, folder, notify
        self._queue: deque[Task] = deque()
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}

    def submit(self, task: Task) -> None:
        """Accept a task; a later call of `wait` does it."""
        TaskFiles(self._folder, task.name).log.unlink(missing_ok=True)
        self._queue.append(task)
        self._states[task.name] = TaskState.WAITING

    def state(self, task: Task) -> TaskState:
        """Return the state of a submitted task."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Return the error of a failed task."""
        return self._failures.get(task.name)

    def cancel(self, task: Task) -> None:
        """Cancel a task that still waits."""
        if self._states.get(task.name) is TaskState.WAITING:
            self._queue.remove(task)
            self._states[task.name] = TaskState.CANCELLED

    def logs(self, task: Task) -> str:
        """Return the traceback of a failed task; its output went to the console."""
        failure = TaskFiles(self._folder, task.name).read_failure()
        return failure.trace if failure else ""

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
        """Forget the waiting tasks."""
        self._queue.clear()
