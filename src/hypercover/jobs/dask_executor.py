"""Doing tasks on the workers of a Dask cluster, wherever they run.

Each task is one call that names a file and a task; what it computes is a file
of its own.  So a worker that is lost costs the task it was on, and Dask does
that again elsewhere.  joblib's own way of using Dask is not used: it keeps data
in the memory of one worker, and a search fails with it.
"""

import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from hypercover.errors import CallError, RunError
from hypercover.files import open_to_append
from hypercover.jobs.dask_cluster import BATCH, DaskConnection, WorkerRequest, connect
from hypercover.jobs.executor import Notify, TaskState, do_task
from hypercover.jobs.local import cores, thread_limits
from hypercover.jobs.plan import FOLDER, Plan, Registry, Task
from hypercover.jobs.record import Failure, TaskFiles
from hypercover.jobs.resources import JobResources

__all__ = ["PLACE", "DaskExecutor", "serve"]

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


_RETRIES = 2

_ANSWER = 30.0
"""Seconds in which an answer that is ready must come in, and its file be seen."""

_POLL = 5.0
"""Seconds between looks at the cluster itself."""

_PATIENCE = 300.0
"""Seconds without any worker after which a run ends; a batch system may take longer."""

_log = logging.getLogger(__name__)


class DaskExecutor:
    """Does tasks on a Dask cluster.

    The package must be installed on the workers in the same version, and they
    must see the run folder and the images under the same names.

    Parameters
    ----------
    where : str or None
        Address of a scheduler such as ``tcp://host:8786``, or the file it
        wrote; ``slurm``, ``pbs-pro`` or ``pbs-torque`` for workers that are jobs
        of that batch system; None for workers on this machine.
    workers : int or None
        How many workers to start, where they are started for the run; None is
        one for every two cores of this machine.
    memory : str or None
        Memory of a worker that is started, such as ``1GiB``; one on this
        machine that takes more is ended by Dask and its task done again.
    threads : int or None
        Threads of a worker that is started; None shares the cores of this
        machine out evenly, so that processes × threads = cores, and gives a
        worker of a batch system the cores that are resources.
    resources : JobResources
        What a job of one worker asks of a batch system.
    settings : mapping
        More settings of dask-jobqueue, such as ``interface``.

    Raises
    ------
    CallError
        By `open`, if no scheduler answers or the batch system is not there.
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
        """Reach the cluster, or start it for as many tasks as the plan has side by side."""
        self._folder, self._notify, self._plan = folder, notify, plan
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}
        self._positions = plan.positions
        self._futures: dict[str, Any] = {}
        self._news: SimpleQueue[tuple[str, float | None, str]] = SimpleQueue()
        self._release = version("hypercover")
        self._topic = f"hypercover-{uuid.uuid4().hex}"
        request = self._request(plan)
        self._cluster = connect(self.where, request)
        self._asked = request.threads if self._cluster.started_here else None
        self._cluster.client.subscribe_topic(self._topic, self._told)
        self._next_look = self._since = time.monotonic()

    def _request(self, plan: Plan) -> WorkerRequest:
        # As the local executor: by the whole plan, so that a run that goes on
        # computes with as many threads, and so the same numbers, as before.
        most = min(self.workers, plan.width)
        share = self._resources.cpus if self.where in BATCH else max(1, cores() // most)
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
            serve,
            str(self._folder),
            task.name,
            registry=self._plan.registry.home,
            topic=self._topic,
            release=self._release,
            threads=self._asked,
            key=f"{task.name}-{uuid.uuid4().hex}",
            retries=_RETRIES,
            pure=False,
            priority=-self._positions[task.name],
        )
        self._states[task.name] = TaskState.WAITING
        self._futures[task.name] = future
        future.add_done_callback(lambda _future: self._news.put((task.name, None, "")))

    def state(self, task: Task) -> TaskState:
        """Say where a task that was submitted stands."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""
        return self._failures.get(task.name)

    def cancel(self, task: Task) -> None:
        """Take a task back; if it runs, it ends with its next word of how far it is."""
        future = self._futures.get(task.name)
        if future is not None and self._states[task.name] in (
            TaskState.WAITING,
            TaskState.RUNNING,
        ):
            self._states[task.name] = TaskState.CANCELLED
            future.cancel(force=True)

    def logs(self, task: Task) -> str:
        """Return what a task printed."""
        return TaskFiles(self._folder, task.name).read_log()

    def wait(self, seconds: float) -> Sequence[Task]:
        """Wait until a task ends, for so long at most."""
        until = time.monotonic() + seconds
        changed: list[Task] = []
        while not changed and (left := until - time.monotonic()) > 0:
            try:
                news = [self._news.get(timeout=left)]
            except Empty:
                news = []
            while not self._news.empty():
                news.append(self._news.get())
            for name, share, what in news:
                if share is not None:
                    self._progress(name, share, what)
                    if self._cluster is not None:
                        self._cluster.worked()
                elif self._settle(name):
                    changed.append(self._plan.task(name))
            self._look()
        return changed

    def close(self) -> None:
        """Take back whatever still runs; only whole results stay."""
        if self._cluster is None:
            return
        client = self._cluster.client
        if client.status == "running" and self._futures:
            client.cancel(list(self._futures.values()), force=True)
        self._futures = {}
        self._cluster.close()
        self._cluster = None

    def _told(self, event: tuple[float, Any]) -> None:
        """Take word from a worker; called in Dask's own thread."""
        name, share, what = event[1]
        self._news.put((str(name), float(share), str(what)))

    def _progress(self, name: str, share: float, what: str) -> None:
        if self._states.get(name) in (TaskState.WAITING, TaskState.RUNNING):
            self._states[name] = TaskState.RUNNING
            self._notify(name, share, what)

    def _settle(self, name: str) -> bool:
        """Note how a task ended; tell whether it did."""
        future = self._futures.pop(name, None)
        if future is None or self._states[name] is TaskState.CANCELLED:
            return future is not None
        if future.cancelled():
            # The scheduler was lost, of which `_look` knows more.
            self._futures[name] = future
            return False
        failure = None if self._is_done(name) else self._failure_of(name, future)
        self._states[name] = TaskState.DONE if failure is None else TaskState.FAILED
        if failure is not None:
            self._failures[name] = failure
        return True

    def _is_done(self, name: str) -> bool:
        record = TaskFiles(self._folder, name).read_record(self._plan.fingerprints[name])
        return record is not None

    def _failure_of(self, name: str, future: Any) -> Failure | None:
        """Ask how a task failed whose result is not there; None if it comes yet."""
        if future.status == "error":
            return self._explained(name, future.exception(timeout=_ANSWER))
        answer = future.result(timeout=_ANSWER)
        if answer is None:
            # Written on another machine, a file may be seen a little later.
            return None if self._comes(name) else _unseen(name, self._folder)
        said = json.loads(answer)
        if said["kind"] == PLACE:
            raise CallError(said["message"])
        return Failure(**said)

    def _comes(self, name: str) -> bool:
        until = time.monotonic() + _ANSWER
        while not (done := self._is_done(name)) and time.monotonic() < until:
            time.sleep(0.2)
        return done

    def _explained(self, name: str, error: BaseException) -> Failure:
        """Say what an error of Dask's own means."""
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
            f"{TaskFiles(self._folder, name).log}, and the memory it may use.",
            str(error),
        )
        TaskFiles(self._folder, name).write_failure(failure)
        return failure

    @property
    def _where(self) -> str:
        return self._cluster.where if self._cluster is not None else str(self.where)

    def _look(self) -> None:
        """Look now and then whether there is a cluster that could still answer."""
        now = time.monotonic()
        if now < self._next_look or self._cluster is None:
            return
        self._next_look = now + _POLL
        client = self._cluster.client
        if client.status != "running":
            raise RunError(
                f"The Dask scheduler at {self._where} was lost; what is done stays done: "
                "start one and run the same command again."
            )
        workers = self._workers()
        self._cluster.look(workers)
        if workers:
            self._since = now
        elif now - self._since > _PATIENCE and self.where not in BATCH:
            raise RunError(
                f"The Dask cluster at {self._where} has had no worker for "
                f"{_PATIENCE / 60:.0f} minutes; start workers and run the same command again."
            )

    def _workers(self) -> int:
        """Count the workers of the cluster; 0 if it does not answer."""
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


def _unseen(name: str, folder: Path) -> Failure:
    return Failure(
        "RunError",
        f"The task {name} is done, but its result is not in {folder}; choose a folder with "
        "-o that all machines see under the same name.",
    )
