"""The interface of an executor, and the executor in this process."""

from __future__ import annotations

import inspect
import logging
import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

from hypercover.files import collect_written, open_to_append, write_error
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.task_files import Failure, TaskFiles, TaskRecord, file_checksums

if TYPE_CHECKING:
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


ACTIVE = (TaskState.WAITING, TaskState.RUNNING)


class Executor(ABC):
    """Does tasks that are ready; of several, the first of the plan starts first.

    With it an experiment runs unchanged on a laptop and on a cluster.
    """

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Prepare for the tasks of a plan in a run folder."""
        self._plan, self._folder, self._notify = plan, folder, notify
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}
        self._queue: list[tuple[int, str]] = []
        self._changed: list[Task] = []

    def submit(self, task: Task) -> None:
        """Accept a task whose needs are done.

        Raises
        ------
        OutputError
            If nothing can be written into the folder.
        """
        log = TaskFiles(self._folder, task.name).log
        try:
            log.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(log, error) from error
        self._enqueue(task)

    def _enqueue(self, task: Task) -> None:
        self._states[task.name] = TaskState.WAITING
        heappush(self._queue, (self._plan.positions[task.name], task.name))

    def _next_task(self) -> Task | None:
        """Take the waiting task that comes first in the plan."""
        while self._queue:
            name = heappop(self._queue)[1]
            if self._states[name] is TaskState.WAITING:
                return self._plan.task(name)
        return None

    def _end(
        self, task: Task, failure: Failure | None = None, *, cancelled: bool = False
    ) -> None:
        """Note that a task is done, failed or was cancelled."""
        self._states[task.name] = TaskState.CANCELLED if cancelled else TaskState.DONE
        if failure is not None:
            self._states[task.name] = TaskState.FAILED
            self._failures[task.name] = failure
        self._changed.append(task)

    def _deadly(self, task: Task, message: str, trace: str) -> Failure:
        """Write and return the failure of a task whose processes died."""
        files = TaskFiles(self._folder, task.name)
        advice = f"see {files.log}, and check the memory it may use."
        failure = Failure("RunError", f"{message}; {advice}", trace)
        files.write_failure(failure)
        return failure

    def state(self, task: Task) -> TaskState:
        """Return the state of a submitted task."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Return the error of a failed task."""
        return self._failures.get(task.name)

    def logs(self, task: Task) -> str:
        """Return the output of a task."""
        return TaskFiles(self._folder, task.name).read_log()

    @abstractmethod
    def cancel(self, task: Task) -> None:
        """Cancel a task that waits or runs."""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Work or wait until tasks end, for at most ``seconds``; return them."""
        until = time.monotonic() + seconds
        while not self._changed and (left := until - time.monotonic()) > 0:
            self._work(left)
        changed, self._changed = self._changed, []
        return changed

    @abstractmethod
    def _work(self, seconds: float) -> None:
        """Work or wait until something happens, for about this many seconds at most."""

    @abstractmethod
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
    files, fingerprint = TaskFiles(folder, name), plan.fingerprints[name]
    if files.read_record(fingerprint) is not None:
        return None
    try:
        # An outdated result must not be mistaken for that of this task.
        with suppress(OSError):
            files.result.unlink(missing_ok=True)
        files.forget()
        files.write_record(_record(plan, files, name, files.reporter(report)))
    except Exception as error:
        # A copy on a machine that was believed dead may have finished it.
        if files.read_record(fingerprint) is None:
            return _failed(files, Failure.of(error))
    return None


def _record(plan: Plan, files: TaskFiles, name: str, report: Report) -> TaskRecord:
    """Call the function of a task and return the record of its result."""
    task = plan.task(name)
    function = plan.registry[task.kind].load()
    extra = {"report": report} if "report" in inspect.signature(function).parameters else {}
    began, spent = time.perf_counter(), _processor_seconds()
    with collect_written() as paths:
        result = function(files.folder, **task.arguments, **extra)
    seconds, spent = time.perf_counter() - began, _processor_seconds() - spent
    return TaskRecord(
        plan.fingerprints[name],
        result,
        seconds=round(seconds, 6),
        host=platform.node(),
        pid=os.getpid(),
        began=round(time.time() - seconds, 6),
        processor=round(max(0.0, spent), 6),
        cores=_cores(),
        files=file_checksums(files.folder, paths),
    )


def _cores() -> int:
    """Count the cores that the libraries of this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, int(limit)) if limit.isdigit() and int(limit) else own


def _processor_seconds() -> float:
    """Return the processor time of this process and of its ended children."""
    return sum(os.times()[:4])


def _failed(files: TaskFiles, failure: Failure) -> Failure:
    """Write the error of a task, if the disk allows it."""
    try:
        with open_to_append(files.log) as log:
            log.write(failure.trace.encode())
        files.write_failure(failure)
    except OSError as error:
        _log.warning("%s", error)
    return failure


class InProcessExecutor(Executor):
    """Does one task per call of `wait`, the first of the plan that is ready.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from hypercover.jobs.plan import Registry, TaskKind
    >>> from hypercover.jobs.runner import run_plan
    >>> kinds = Registry("shop:KINDS", {"list": TaskKind("os:listdir")})
    >>> with TemporaryDirectory() as folder:
    ...     run_plan(Plan((Task("look", "list"),), kinds), folder, InProcessExecutor())
    {'look': ['tasks']}
    """

    def cancel(self, task: Task) -> None:
        """Cancel a task that still waits."""
        if self._states.get(task.name) is TaskState.WAITING:
            self._states[task.name] = TaskState.CANCELLED

    def _work(self, seconds: float) -> None:
        """Do the next task, however long it takes."""
        task = self._next_task()
        if task is None:
            time.sleep(seconds)
            return
        self._states[task.name] = TaskState.RUNNING
        self._notify(task.name, 0.0, "")
        report = partial(self._notify, task.name)
        self._end(task, do_task(self._plan, task.name, self._folder, report=report))

    def close(self) -> None:
        """Forget the waiting tasks."""
        self._queue.clear()
