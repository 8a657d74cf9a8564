"""The executor on the workers of a Dask cluster.

Each task is one call with a run folder and a name, and its result is a file, so a lost
worker only costs its current task, which Dask does again elsewhere.  joblib's Dask backend
is not used: it keeps data in the memory of one worker, and a search fails with it.
"""

import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from hypercover.errors import CallError, RunError
from hypercover.files import open_to_append
from hypercover.jobs.dask_cluster import (
    BATCH_CLUSTERS,
    DaskConnection,
    WorkerRequest,
    connect,
)
from hypercover.jobs.executor import Notify, TaskState, do_task
from hypercover.jobs.local import cores, thread_limits
from hypercover.jobs.plan import FOLDER, Plan, Registry, Task
from hypercover.jobs.record import Failure, TaskFiles, task_record
from hypercover.jobs.resources import JobResources
from hypercover.types import Report

UNFIT = "unfit"
"""Kind of a failure that concerns the worker: it cannot do any task of the run."""

_REPORT = 0.5
"""Seconds between progress reports of a task."""

_one_at_a_time = Lock()


class _Cancelled(BaseException):
    """The running task was cancelled; not an `Exception`, so that no task catches it."""


def do_remote_task(
    folder: str,
    name: str,
    *,
    registry: str,
    topic: str,
    release: str,
    threads: int | None = None,
) -> str | None:
    """Do a task of the plan in a run folder; return its failure as JSON, or None.

    This is the only function submitted to Dask.  A worker with several threads does one
    task on all of them, because tasks draw, log and cache.

    Parameters
    ----------
    registry : from where the kinds of task are imported
    topic : Dask topic for progress reports
    release : version of this package that made the plan; others may compute differently
    threads : threads a task may use; by default those of the worker
    """
    from distributed import get_worker

    worker = get_worker()
    with _one_at_a_time:
        plan = _plan(folder, registry, topic, release, worker.address)
        if isinstance(plan, str):
            return json.dumps({"kind": UNFIT, "message": plan})
        _pin(threads or worker.state.nthreads)
        report = _reporter(worker, topic, name)
        report(0.0, "")
        try:
            files = TaskFiles(folder, name)
            with _printing_to(files.log):
                failure = do_task(plan, name, folder, report=report)
            files.drop_empty_log()
        except _Cancelled:
            return None
    return None if failure is None else json.dumps(vars(failure))


@lru_cache(maxsize=4)
def _plan(
    folder: str, registry: str, _topic: str, release: str, address: str
) -> Plan | str:
    """Read the plan once for all tasks of this worker, or explain why that is impossible.

    The topic, which is unique to a run, is part of the cache key.
    """
    unfit = _unfit(Path(folder), release, address)
    return unfit or Plan.load(folder, Registry.at(registry))


def _unfit(folder: Path, release: str, address: str) -> str | None:
    """Explain why this worker cannot do any task of a run; None if it can."""
    own = version("hypercover")
    if own != release:
        return (
            f"The Dask worker {address} has hypercover {own}, but the run needs {release}; "
            "install the same version on all machines."
        )
    # Listed, because a network file system may cache that a file was missing.
    home = folder / FOLDER
    there = home.is_dir() and any(file.name == "plan.json" for file in home.iterdir())
    if there and os.access(home, os.W_OK):
        return None
    return (
        f"The Dask worker {address} cannot write to the run folder {folder}; choose a "
        "folder with -o that has the same path on all machines."
    )


def _pin(threads: int) -> None:
    """Limit this process, and libraries that it loads later, to so many threads."""
    limits = thread_limits(threads)
    if all(os.environ.get(name) == value for name, value in limits.items()):
        return
    from threadpoolctl import threadpool_limits

    os.environ.update(limits)
    threadpool_limits(threads)


def _reporter(worker: Any, topic: str, name: str) -> Report:
    """Return a function that reports progress, and ends the task once it is cancelled."""
    key, reported = worker.get_current_task(), 0.0

    def report(share: float, what: str) -> None:
        nonlocal reported
        held = worker.state.tasks.get(key)
        if held is None or held.state == "cancelled":
            raise _Cancelled
        if time.monotonic() - reported >= _REPORT:
            reported = time.monotonic()
            worker.log_event(topic, [name, float(share), str(what)])

    return report


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Redirect all output, that of C code included, to a task's log."""
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


_RETRIES = 2

_ANSWER = 30.0
"""Seconds in which a finished answer must arrive, and its file become visible."""

_POLL = 5.0
"""Seconds between checks of the cluster."""

_NO_WORKER_TIMEOUT = 300.0
"""Seconds without any worker after which a run ends, unless a batch system starts them."""

_log = logging.getLogger(__name__)


class DaskExecutor:
    """Does tasks on a Dask cluster.

    The workers need the same version of the package, and the run folder and the images
    under the same paths.

    Parameters
    ----------
    where : str or None
        Address of a scheduler such as ``tcp://host:8786``, or its scheduler file;
        ``slurm``, ``pbs-pro`` or ``pbs-torque`` for workers that are jobs of that batch
        system; None for workers on this machine.
    workers : int or None
        Number of workers to start; None for one per two cores of this machine.
    memory : str or None
        Memory of a worker, such as ``1GiB``; Dask restarts a worker on this machine that
        exceeds it, and does its task again.
    threads : int or None
        Threads of a worker that is started; None shares the cores of this
        machine out evenly, so that processes × threads = cores, and gives a
        worker of a batch system the cores that are resources.
    resources : JobResources
        Resources of the job of one worker.
    settings : mapping
        More settings of dask-jobqueue, such as ``interface``.

    Raises
    ------
    CallError
        By `open`, if no scheduler answers or the batch system is not available.

    Examples
    --------
    >>> from hypercover import run_experiment
    >>> executor = DaskExecutor("slurm", workers=8)
    >>> run_experiment("fields.yaml", "runs/fields", executor=executor)  # doctest: +SKIP
    """

    def __init__(
        self,
        where: str | None = None,
        *,
        workers: int | None = None,
        memory: str | None = None,
        threads: int | None = None,
        resources: JobResources | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise CallError(f"The number of workers must be at least 1, got {workers}.")
        self.where, self.workers = where, workers or max(1, cores() // 2)
        self._memory, self._threads = memory, threads
        self._resources, self._settings = resources or JobResources(), dict(settings or {})
        self._cluster: DaskConnection | None = None

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Connect to the cluster, or start it with as many workers as the plan can use."""
        self._folder, self._notify, self._plan = folder, notify, plan
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}
        self._positions = plan.positions
        self._futures: dict[str, Any] = {}
        self._events: SimpleQueue[tuple[str, float | None, str]] = SimpleQueue()
        self._release = version("hypercover")
        self._topic = f"hypercover-{uuid.uuid4().hex}"
        request = self._request(plan)
        self._cluster = connect(self.where, request)
        self._task_threads = request.threads if self._cluster.started_here else None
        self._cluster.client.subscribe_topic(self._topic, self._on_event)
        self._next_check = self._since = time.monotonic()

    def _request(self, plan: Plan) -> WorkerRequest:
        # From the whole plan, as the local executor does: a resumed run computes with the
        # same threads, and so the same numbers, as before.
        most = min(self.workers, plan.width)
        share = (
            self._resources.cpus
            if self.where in BATCH_CLUSTERS
            else max(1, cores() // most)
        )
        return WorkerRequest(
            most,
            self._threads or share,
            self._memory,
            self._resources,
            self._folder / FOLDER / "dask",
            self._settings,
            run=re.sub(r"[^\w.+-]", "-", self._folder.name),
        )

    def submit(self, task: Task) -> None:
        """Accept a task; Dask gives it to a worker."""
        assert self._cluster is not None  # noqa: S101
        TaskFiles(self._folder, task.name).log.unlink(missing_ok=True)
        future = self._cluster.client.submit(
            do_remote_task,
            str(self._folder),
            task.name,
            registry=self._plan.registry.home,
            topic=self._topic,
            release=self._release,
            threads=self._task_threads,
            key=f"{task.name}-{uuid.uuid4().hex}",
            retries=_RETRIES,
            pure=False,
            priority=-self._positions[task.name],
        )
        self._states[task.name] = TaskState.WAITING
        self._futures[task.name] = future
        future.add_done_callback(lambda _future: self._events.put((task.name, None, "")))

    def state(self, task: Task) -> TaskState:
        """Return the state of a submitted task."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Return the error of a failed task."""
        return self._failures.get(task.name)

    def cancel(self, task: Task) -> None:
        """Cancel a task; a running one ends with its next progress report."""
        future = self._futures.get(task.name)
        if future is not None and self._states[task.name] in (
            TaskState.WAITING,
            TaskState.RUNNING,
        ):
            self._states[task.name] = TaskState.CANCELLED
            future.cancel(force=True)

    def logs(self, task: Task) -> str:
        """Return the output of a task."""
        return TaskFiles(self._folder, task.name).read_log()

    def wait(self, seconds: float) -> Sequence[Task]:
        """Wait until a task ends, for at most ``seconds``."""
        until = time.monotonic() + seconds
        changed: list[Task] = []
        while not changed and (left := until - time.monotonic()) > 0:
            try:
                events = [self._events.get(timeout=left)]
            except Empty:
                events = []
            while not self._events.empty():
                events.append(self._events.get())
            for name, share, what in events:
                if share is not None:
                    self._progress(name, share, what)
                    if self._cluster is not None:
                        self._cluster.note_progress()
                elif self._finish(name):
                    changed.append(self._plan.task(name))
            self._check_cluster()
        return changed

    def close(self) -> None:
        """Cancel all tasks; only finished results remain."""
        if self._cluster is None:
            return
        client = self._cluster.client
        if client.status == "running" and self._futures:
            client.cancel(list(self._futures.values()), force=True)
        self._futures = {}
        self._cluster.close()
        self._cluster = None

    def _on_event(self, event: tuple[float, Any]) -> None:
        """Receive a progress report; called in Dask's own thread."""
        name, share, what = event[1]
        self._events.put((str(name), float(share), str(what)))

    def _progress(self, name: str, share: float, what: str) -> None:
        if self._states.get(name) in (TaskState.WAITING, TaskState.RUNNING):
            self._states[name] = TaskState.RUNNING
            self._notify(name, share, what)

    def _finish(self, name: str) -> bool:
        """Note how a task ended; return whether it has ended."""
        future = self._futures.pop(name, None)
        if future is None or self._states[name] is TaskState.CANCELLED:
            return future is not None
        if future.cancelled():
            # The scheduler was lost, which `_check_cluster` reports.
            self._futures[name] = future
            return False
        failure = None if self._is_done(name) else self._failure_of(name, future)
        self._states[name] = TaskState.DONE if failure is None else TaskState.FAILED
        if failure is not None:
            self._failures[name] = failure
        return True

    def _is_done(self, name: str) -> bool:
        return task_record(self._plan, self._folder, name) is not None

    def _failure_of(self, name: str, future: Any) -> Failure | None:
        """Return the failure of a task without a result; None if its result arrives."""
        if future.status == "error":
            return self._explained(name, future.exception(timeout=_ANSWER))
        answer = future.result(timeout=_ANSWER)
        if answer is None:
            # A file written on another machine may become visible a little later.
            return None if self._arrives(name) else _invisible(name, self._folder)
        failure = json.loads(answer)
        if failure["kind"] == UNFIT:
            raise CallError(failure["message"])
        return Failure(**failure)

    def _arrives(self, name: str) -> bool:
        until = time.monotonic() + _ANSWER
        while not (done := self._is_done(name)) and time.monotonic() < until:
            time.sleep(0.2)
        return done

    def _explained(self, name: str, error: BaseException) -> Failure:
        """Explain an error of Dask itself."""
        if isinstance(error, ImportError) and "hypercover" in str(error):
            raise CallError(
                f"The Dask workers at {self._where} cannot import hypercover ({error}); "
                "install it there in the same version."
            )
        if type(error).__name__ != "KilledWorker":
            return Failure.of(error)
        failure = Failure(
            "RunError",
            f"The workers it was on ended {_deaths()} times; see "
            f"{TaskFiles(self._folder, name).log}, and check the memory it may use.",
            str(error),
        )
        TaskFiles(self._folder, name).write_failure(failure)
        return failure

    @property
    def _where(self) -> str:
        return self._cluster.where if self._cluster is not None else str(self.where)

    def _check_cluster(self) -> None:
        """Check now and then that the cluster can still answer."""
        now = time.monotonic()
        if now < self._next_check or self._cluster is None:
            return
        self._next_check = now + _POLL
        client = self._cluster.client
        if client.status != "running":
            raise RunError(
                f"The Dask scheduler at {self._where} was lost; finished tasks are kept: "
                "start one and run the same command again."
            )
        workers = self._workers()
        self._cluster.check_workers(workers)
        if workers:
            self._since = now
        elif now - self._since > _NO_WORKER_TIMEOUT and self.where not in BATCH_CLUSTERS:
            raise RunError(
                f"The Dask cluster at {self._where} has had no worker for "
                f"{_NO_WORKER_TIMEOUT / 60:.0f} minutes; start workers and run the same command again."
            )

    def _workers(self) -> int:
        """Return the number of workers of the cluster; 0 if it does not answer."""
        assert self._cluster is not None  # noqa: S101
        client = self._cluster.client
        try:
            known = client.sync(
                client.scheduler.identity, n_workers=0, callback_timeout=_POLL
            )
        except (OSError, TimeoutError):
            return 0
        return int(known["n_workers"])


def _deaths() -> int:
    import dask

    return int(dask.config.get("distributed.scheduler.allowed-failures", 3)) + 1


def _invisible(name: str, folder: Path) -> Failure:
    return Failure(
        "RunError",
        f"The task {name} is done, but its result is not in {folder}; choose a folder with "
        "-o that has the same path on all machines.",
    )
