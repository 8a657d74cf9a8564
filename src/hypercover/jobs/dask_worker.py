"""What a Dask worker does for a run: one task at a time, its result in a file.

Only the name of a task crosses the network, and only word of how it went comes
back: plan, data and results are files that all machines see.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from hypercover.files import open_to_append
from hypercover.jobs.local import thread_limits
from hypercover.jobs.plan import FOLDER, Plan
from hypercover.jobs.record import TaskFiles
from hypercover.jobs.registry import Registry
from hypercover.jobs.work import do_task

__all__ = ["PLACE", "serve"]

PLACE = "place"
"""Kind of a failure that is not the task's: this worker cannot do any of the run."""

_LOOK = 0.5
"""Seconds between words of how far a task is."""
_one_at_a_time = Lock()


class _Cancelled(BaseException):
    """The task was taken back while it ran; no task takes it for an error of its own."""


def serve(
    folder: str,
    name: str,
    *,
    registry: str,
    topic: str,
    release: str,
    threads: int | None = None,
) -> str | None:
    """Do a task of the plan in a run folder; return how it failed as JSON, or None.

    Why it exists: this is all that is submitted to Dask.  A worker of several
    threads does one task on all of them, because tasks draw, log and cache.

    Parameters
    ----------
    registry : where the kinds of task are imported from
    topic : where to tell that the task is begun and how far it is
    release : version of this package that plans; another one may compute otherwise
    threads : threads a task may use; unless given, those of the worker
    """
    from distributed import get_worker

    worker = get_worker()
    with _one_at_a_time:
        plan = _plan(folder, registry, topic, release, worker.address)
        if isinstance(plan, str):
            return json.dumps({"kind": PLACE, "message": plan})
        _pin(threads or worker.state.nthreads)
        telling = _telling(worker, topic, name)
        telling(0.0, "")
        try:
            files = TaskFiles(folder, name)
            with _printing_to(files.log):
                failure = do_task(plan, name, folder, report=telling)
            files.drop_empty_log()
        except _Cancelled:
            return None
    return None if failure is None else json.dumps(vars(failure))


@lru_cache(maxsize=4)
def _plan(
    folder: str, registry: str, _topic: str, release: str, address: str
) -> Plan | str:
    """Read the plan once for all tasks of a run that this worker does, or say why not.

    Each run has a topic of its own.
    """
    unfit = _unfit(Path(folder), release, address)
    return unfit or Plan.load(folder, Registry.at(registry))


def _unfit(folder: Path, release: str, address: str) -> str | None:
    """Say why no task of a run can be done here, if none can."""
    own = version("hypercover")
    if own != release:
        return (
            f"The Dask worker {address} has hypercover {own}, and this is {release}; "
            "install the same version on all machines."
        )
    # A listing, because a network's file system may remember that a file was missing.
    home = folder / FOLDER
    there = home.is_dir() and any(file.name == "plan.json" for file in home.iterdir())
    if there and os.access(home, os.W_OK):
        return None
    return (
        f"The Dask worker {address} cannot write to the run folder {folder}; choose a "
        "folder with -o that all machines see under the same name."
    )


def _pin(threads: int) -> None:
    """Hold this process and the libraries it loads from now on to so many threads."""
    limits = thread_limits(threads)
    if all(os.environ.get(name) == value for name, value in limits.items()):
        return
    from threadpoolctl import threadpool_limits

    os.environ.update(limits)
    threadpool_limits(threads)


def _telling(worker: Any, topic: str, name: str) -> Callable[[float, str], None]:
    """Return what tells how far a task is, and ends it once it was taken back."""
    key, said = worker.get_current_task(), 0.0

    def tell(share: float, what: str) -> None:
        nonlocal said
        held = worker.state.tasks.get(key)
        if held is None or held.state == "cancelled":
            raise _Cancelled
        if time.monotonic() - said >= _LOOK:
            said = time.monotonic()
            worker.log_event(topic, [name, float(share), str(what)])

    return tell


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Send everything printed meanwhile to a task's log, C code included."""
    before = [os.dup(1), os.dup(2)]
    try:
        with open_to_append(path) as log:
            _redirect([log.fileno(), log.fileno()])
            yield
    finally:
        _redirect(before)
        for opened in before:
            os.close(opened)


def _redirect(targets: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for number, target in enumerate(targets, 1):
        os.dup2(target, number)
