"""Doing one task: free when its result is there, harmless when done twice."""

import inspect
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypercover.files import open_to_append, written
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import Failure, Record, Reporter, TaskFiles, facts_of

__all__ = ["do_task"]

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
) -> Record:
    """Call the function of a task."""
    extra = {"report": report} if "report" in inspect.signature(function).parameters else {}
    began, spent = time.perf_counter(), _processor_seconds()
    with written() as paths:
        result = function(folder, **task.arguments, **extra)
    seconds, spent = time.perf_counter() - began, _processor_seconds() - spent
    return Record.of(
        fingerprint, result, seconds, facts_of(folder, paths), processor=max(0.0, spent)
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
