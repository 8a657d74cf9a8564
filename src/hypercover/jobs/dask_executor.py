"""The executor on the workers of a Dask cluster.

The cluster is a running scheduler, workers on this machine, or jobs of a batch system.
Each task is one call with a run folder and a name, and its result is a file, so a lost
worker only costs its current task, which Dask does again elsewhere.  joblib's Dask backend
is not used: it keeps data in the memory of one worker, and a search fails with it.
"""

import json
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import NamedTemporaryFile, TemporaryDirectory, gettempdir
from threading import Lock
from typing import TYPE_CHECKING, Any

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.files import make_folder
from hypercover.jobs.batch_system import SYSTEMS, job_name
from hypercover.jobs.executor import ACTIVE, Executor, Notify, TaskState, do_task
from hypercover.jobs.local import cores, thread_limits, worker_count
from hypercover.jobs.plan import FOLDER, Plan, Registry, Task
from hypercover.jobs.resources import JobResources, format_time
from hypercover.jobs.submission import current_umask, module_lines
from hypercover.jobs.task_files import Failure, TaskFiles, task_record
from hypercover.jobs.task_status import tail_lines

if TYPE_CHECKING:
    from hypercover.types import Report

UNFIT = "unfit"
"""Kind of a failure that concerns the worker: it cannot do any task of the run."""
_REPORT = 0.5
"""Seconds between progress reports of a task."""
_one_at_a_time = Lock()


class _Cancelled(BaseException):
    """The running task was cancelled; not an `Exception`, so that no task catches it."""


def do_remote_task(
    folder: str, name: str, *, registry: str, topic: str, release: str, threads: int | None
) -> str | None:
    """Do a task of the plan in a run folder; return its failure as JSON, or None.

    This is the only function submitted to Dask.  A worker with several threads does one
    task on all of them, because tasks draw, log and cache.

    Parameters
    ----------
    registry : from where the kinds of task are imported
    topic : Dask topic for progress reports
    release : version of this package that made the plan; others may compute differently
    threads : threads a task may use; None for those of the worker
    """
    from distributed import get_worker

    worker = get_worker()
    with _one_at_a_time:
        plan = _plan(folder, registry, topic, release, worker.address)
        if isinstance(plan, str):
            return json.dumps({"kind": UNFIT, "message": plan})
        _pin(threads or worker.state.nthreads)
        report = _remote_report(worker, topic, name)
        report(0.0, "")
        try:
            with TaskFiles(folder, name).redirected_output():
                failure = do_task(plan, name, folder, report=report)
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
    planned = home.is_dir() and any(file.name == "plan.json" for file in home.iterdir())
    if planned and os.access(home, os.W_OK):
        return None
    return (
        f"The Dask worker {address} cannot write to the run folder {folder}; choose a "
        "folder with -o that has the same path on all machines."
    )


def _pin(threads: int) -> None:
    """Limit this process, and libraries that it loads later, to this many threads."""
    limits = thread_limits(threads)
    if not limits.items() <= os.environ.items():
        from threadpoolctl import threadpool_limits

        os.environ.update(limits)
        threadpool_limits(threads)


def _remote_report(worker: Any, topic: str, name: str) -> "Report":
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


BATCH_CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs-pro": "PBSCluster",
    "pbs-torque": "PBSCluster",
}
"""The class of dask-jobqueue for each batch system."""
_MEMORY = 4 * 2**30
"""Bytes of memory that a job requests by default."""
_KEYS = ("_job_ca_file", "_job_cert", "_job_key")
"""Key files of dask-jobqueue, which it does not remove before this process ends."""
_KEY_FILES = ".dask-jobqueue.worker."
"""Prefix of dask-jobqueue's key files, which only their owner can read."""
_CONNECT = 10.0
"""Seconds in which a scheduler must answer."""
_END = 10.0
"""Seconds that a cluster has to end."""
_ADAPT = 2.0
"""Seconds between Dask's own checks for missing workers."""
_JOBS_POLL = 30.0
"""Seconds between queries of the batch system for the jobs of workers."""
_ROUNDS = 3
"""Times that the jobs of all workers may end before any does a task."""
_SHOWN = 3
"""Lines of a job's log that are shown."""
_RETRIES = 2
_ANSWER = 30.0
"""Seconds in which a finished answer must arrive, and its file become visible."""
_POLL = 5.0
"""Seconds between checks of the cluster."""
_NO_WORKER_MINUTES = 5
"""Minutes without any worker after which a run ends, unless a batch system starts them."""
_log = logging.getLogger(__name__)


class _WorkerJobs:
    """The jobs of Dask's workers; those that end without a worker are submitted again.

    dask-jobqueue never queries the state of a job, and waits forever for a worker whose job
    ended before it reached the scheduler.
    """

    def __init__(self, where: str, workers: int, logs: Path) -> None:
        self._where, self._workers, self._logs = where, workers, logs
        self._active: set[str] = set()
        self._ended: list[str] = []
        self._lost: set[str] = set()
        self._refusals: list[str] = []
        self._next_poll = time.monotonic() + _JOBS_POLL

    def job_class(self, base: Any) -> Any:
        """Return a class of jobs that records what was submitted and refused."""

        async def start(job: Any) -> None:
            try:
                await base.start(job)
            except (OSError, RuntimeError, ValueError) as error:
                message = str(error).rpartition("stderr:")[2]
                self._refusals.append(" ".join(message.split()))
                raise
            self._active.add(job.job_id)

        return type(base.__name__, (base,), {"start": start})

    def reset(self) -> None:
        """Forget ended jobs, because a worker does a task."""
        self._ended, self._refusals = [], []

    def poll(self, cluster: Any) -> None:
        """Query the jobs now and then, and submit those that ended again.

        Raises
        ------
        RunError
            If jobs repeatedly end or are refused before any does a task.
        """
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + _JOBS_POLL
        submitted = sorted(self._active.copy())
        try:
            active = SYSTEMS[self._where].active_jobs(submitted)
        except HypercoverError as error:
            _log.debug("The state of the jobs of Dask's workers: %s", error)
            return
        ended = [job for job in submitted if job not in active]
        # Dask itself replaces a lost worker that it knew, a little later.
        cluster.loop.add_callback(_drop_lost_workers, cluster, frozenset(self._lost))
        self._active.difference_update(ended)
        self._lost.update(ended)
        self._ended += ended
        if len(self._ended) + len(self._refusals) >= _ROUNDS * self._workers:
            raise RunError(self._reason())

    def _reason(self) -> str:
        """Explain that no worker does a task, and why as far as it is known."""
        if not self._ended:
            return (
                f"{SYSTEMS[self._where].commands[0]} repeatedly refuses the jobs of Dask's workers "
                f"({self._refusals[-1]}); change the request."
            )
        last = self._ended[-1]
        output = self._last_output(last)
        printed = (
            f"printed: {output}; its log is" if output else "printed nothing; logs are"
        )
        return (
            f"{len(self._ended)} jobs of Dask's workers on {self._where} ended one after "
            f"another before any did a task; the last, {last}, {printed} in {self._logs}."
        )

    def _last_output(self, job: str) -> str:
        """Return the last lines that a job printed, of the error stream if there are any."""
        own = re.compile(rf"(?<!\d){re.split(r'[.[]', job)[0]}(?!\d)")
        files = [path for path in self._logs.glob("[!.]*") if own.search(path.name)]
        files.sort(key=lambda path: re.search(r"\.(ER|err|e\d+)$", path.name) is None)
        printed = (" | ".join(tail_lines(path)[-_SHOWN:]) for path in files)
        return next(filter(None, printed), "")


def _drop_lost_workers(cluster: Any, lost: frozenset[str]) -> None:
    """Make an adaptive cluster forget workers whose jobs ended or were refused."""
    for name, job in list(cluster.workers.items()):
        if job.job_id is None or job.job_id in lost:
            del cluster.workers[name]


def check_scheduler(where: str | None) -> None:
    """Refuse a scheduler that does not answer, before anything is written.

    Raises
    ------
    CallError
        If no scheduler answers, or the batch system is not available.
    """
    if where in BATCH_CLUSTERS:
        SYSTEMS[where].program(SYSTEMS[where].commands[0])
    elif where is not None:
        _close(_running(where), _END / 2)


def _close(part: Any, seconds: float) -> None:
    """Disconnect a client from its scheduler, or end a cluster."""
    try:
        part.close(timeout=seconds)
    except Exception as error:
        _log.debug("Closing the Dask cluster: %s", error)


def _running(where: str) -> Any:
    """Connect to a running scheduler."""
    file = "://" not in where and (os.sep in where or Path(where).is_file())
    if file and not Path(where).is_file():
        raise CallError(
            f"There is no scheduler file {where}; give the file that dask scheduler "
            "--scheduler-file wrote, or an address such as tcp://host:8786."
        )
    log = logging.getLogger("distributed")
    before = log.level
    # Without Dask's own messages about a scheduler that does not answer.
    log.setLevel(logging.CRITICAL)
    try:
        return _client(scheduler_file=where) if file else _client(where)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise CallError(
            f"No Dask scheduler answers at {where} within {_CONNECT:.0f} s; start one with "
            "dask scheduler, or leave --dask out to use this machine."
        ) from error
    finally:
        log.setLevel(before)


def _client(address: Any = None, **how: Any) -> Any:
    """Connect to a scheduler within a time limit."""
    from distributed import Client

    return Client(  # type: ignore[no-untyped-call]
        address, timeout=_CONNECT, set_as_default=False, **how
    )


def _keys() -> Any:
    """Make the keys of one cluster, which every connection needs.

    Dask listens on ports that every user of the machine, and often of the cluster, can
    reach, and runs any code it receives as the user who started it.
    """
    from distributed import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


def _key_folder(logs: Path) -> Path:
    """Return the folder with the keys for workers on a batch system.

    Raises
    ------
    CallError
        If a job script cannot name the folder.
    """
    place = make_folder(logs.absolute())
    if not re.fullmatch(r"[\w./+=@~-]+", str(place)):
        raise CallError(
            f"Dask's jobs cannot name a folder with spaces or signs such as : and %, got "
            f"{str(place)!r}; choose another run folder with -o."
        )
    for left in place.glob(f"{_KEY_FILES}*"):
        # Left by a run that was killed: an active one would hold the lock of the folder.
        left.unlink(missing_ok=True)
    return place


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Make Dask start processes with this many threads, without changing this process."""
    import dask

    key = "distributed.nanny.pre-spawn-environ"
    limits = dask.config.get(key, {}) | thread_limits(threads)
    # A worker is given tasks ahead, so that it need not wait for the next.
    settings = {key: limits, "distributed.scheduler.worker-saturation": 4.0}
    # Dask sets the variables in this process, for its children to inherit.
    before = {name: os.environ.get(name) for name in (*limits, "PYTHONHASHSEED")}
    try:
        with dask.config.set(settings):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class DaskExecutor(Executor):
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
        worker of a batch system the cores that are requested for its job.
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
    >>> dask = DaskExecutor("slurm", workers=20, resources=JobResources(cpus=4, time="2h"))
    >>> run_experiment("fixed.yaml", "runs/fixed", executor=dask)  # doctest: +SKIP
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
        self.where, self.workers = where, worker_count(workers)
        self._memory, self._threads = memory, threads
        self._resources, self._settings = resources or JobResources(), dict(settings or {})
        self._client: Any = None
        self._parts = ExitStack()

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Connect to the cluster, or start it with as many workers as the plan can use."""
        super().open(plan, folder, notify)
        self._futures: dict[str, Any] = {}
        self._events: SimpleQueue[tuple[str, float | None, str]] = SimpleQueue()
        self._release, self._topic = version("hypercover"), f"hypercover-{uuid.uuid4().hex}"
        # From the whole plan, as the local executor does: a resumed run computes with the
        # same threads, and so the same numbers, as before.
        most = min(self.workers, plan.width)
        batch = self.where in BATCH_CLUSTERS
        share = self._resources.cpus if batch else max(1, cores() // most)
        threads = self._threads or share
        self._task_threads: int | None = threads
        self._cluster: Any = None
        self._jobs: _WorkerJobs | None = None
        if self.where is None:
            self._address = "this machine"
            self._start_here(most, threads)
        elif batch:
            self._address = f"{self.where} (through dask-jobqueue)"
            self._start_jobs(self.where, most, threads)
        else:
            self._address, self._task_threads = self.where, None
            self._client = _running(self.where)
        self._parts.callback(_close, self._client, _END / 2)
        self._client.subscribe_topic(self._topic, self._on_event)
        self._next_check = self._since = time.monotonic()

    def _start_here(self, workers: int, threads: int) -> None:
        """Start workers on this machine: processes that are replaced when they die."""
        from distributed import LocalCluster

        scratch = TemporaryDirectory(prefix="hypercover-dask-", ignore_cleanup_errors=True)
        self._parts.callback(scratch.cleanup)
        try:
            with _pinned(threads):
                self._cluster = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=self._memory or 0,
                    dashboard_address="127.0.0.1:0",
                    host="127.0.0.1",
                    security=_keys(),
                    local_directory=scratch.name,
                    silence_logs=logging.CRITICAL,
                )
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(
                f"Dask's workers cannot be started on this machine: {error}."
            ) from error
        self._parts.callback(_close, self._cluster, _END)
        self._client = _client(self._cluster)

    def _job_settings(self, where: str, threads: int, logs: Path) -> dict[str, Any]:
        """Return the settings of dask-jobqueue for the job of one worker."""
        resources, memory = self._resources, self._memory
        per_cpu = resources.memory_per_cpu or 0
        unlimited = resources.memory == 0 and not memory
        memory = memory or f"{resources.memory or per_cpu * threads or _MEMORY}B"
        of_memory = [] if unlimited else [f"mem={memory}"]
        directives, umask = list(resources.directives), current_umask()
        run = re.sub(r"[^\w.+-]", "-", self._folder.name)
        settings: dict[str, Any] = {
            # One thread for tasks: libraries use the cores of the job within one task.
            "cores": 1,
            "processes": 1,
            "memory": memory,
            "queue": resources.partition,
            "account": resources.account,
            "walltime": None if resources.time is None else format_time(resources.time),
            "job_name": f"{run}-dask" if where == "slurm" else job_name(run, "dask"),
            "job_script_prologue": [f"umask {umask}", *module_lines(resources.modules)],
            "job_extra_directives": directives,
            "local_directory": gettempdir(),
            "log_directory": str(logs),
            "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        }
        if where == "slurm":
            settings["job_cpu"] = threads
            if per_cpu or unlimited:
                settings["job_directives_skip"] = ["--mem="]
            if per_cpu:
                directives.insert(0, f"--mem-per-cpu={math.ceil(per_cpu / 2**20)}M")
        else:
            pro = where == "pbs-pro"
            parts = ["select=1", f"ncpus={threads}"] if pro else [f"nodes=1:ppn={threads}"]
            settings["resource_spec"] = (":" if pro else ",").join([*parts, *of_memory])
            directives.insert(0, f"-W umask={umask}")
        # Anything else comes from dask-jobqueue's own configuration.
        return {name: value for name, value in settings.items() if value not in (None, [])}

    def _start_jobs(self, where: str, workers: int, threads: int) -> None:
        """Start workers as jobs of a batch system; lost ones are replaced."""
        import dask_jobqueue

        SYSTEMS[where].program(SYSTEMS[where].commands[0])
        logs = self._folder / FOLDER / "dask"
        settings = {
            **self._job_settings(where, threads, logs),
            "security": _keys(),
            "shared_temp_directory": str(_key_folder(logs)),
            **self._settings,
        }
        kind = getattr(dask_jobqueue, BATCH_CLUSTERS[where])
        self._jobs = _WorkerJobs(where, workers, logs)
        try:
            own = kind(**settings, job_cls=self._jobs.job_class(kind.job_cls))
        except (ValueError, TypeError) as error:
            raise CallError(
                f"The settings for Dask's workers on {where} are not valid: {error}; correct them "
                "in the site file or in ~/.config/dask/jobqueue.yaml."
            ) from error
        self._cluster = own
        for key in _KEYS:
            if (file := getattr(own, key, None)) is not None:
                self._parts.callback(file.close)
        self._parts.callback(_close, own, _END)
        if where == "slurm":
            # Dask would submit a refused job again, forever.  PBS offers no check.
            with NamedTemporaryFile("w", suffix=".sh") as script:
                script.write(own.job_script())
                script.flush()
                SYSTEMS[where].run("sbatch", "--test-only", script.name)
        # Only an adaptive cluster replaces a lost worker.
        own.adapt(minimum=workers, maximum=workers, interval=_ADAPT, wait_count=1)
        self._client = _client(own)

    def submit(self, task: Task) -> None:
        """Accept a task; Dask gives it to a worker."""
        super().submit(task)
        future = self._client.submit(
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
            priority=-self._plan.positions[task.name],
        )
        self._futures[task.name] = future
        future.add_done_callback(lambda _future: self._events.put((task.name, None, "")))

    def cancel(self, task: Task) -> None:
        """Cancel a task; a running one ends with its next progress report."""
        if (future := self._futures.pop(task.name, None)) is not None:
            self._end(task, cancelled=True)
            future.cancel(force=True)

    def _work(self, seconds: float) -> None:
        """Take the next event."""
        with suppress(Empty):
            name, share, what = self._events.get(timeout=seconds)
            if share is None:
                self._finish(self._plan.task(name))
            else:
                self._progress(name, share, what)
        self._check_cluster()

    def close(self) -> None:
        """Cancel all tasks; only finished results remain."""
        client, self._client = self._client, None
        if client is not None and client.status == "running" and self._futures:
            client.cancel(list(self._futures.values()), force=True)
        self._futures = {}
        self._parts.close()

    def _on_event(self, event: tuple[float, Any]) -> None:
        """Receive a progress report; called in Dask's own thread."""
        name, share, what = event[1]
        self._events.put((str(name), float(share), str(what)))

    def _progress(self, name: str, share: float, what: str) -> None:
        if self._jobs is not None:
            self._jobs.reset()
        if self._states.get(name) in ACTIVE:
            self._states[name] = TaskState.RUNNING
            self._notify(name, share, what)

    def _finish(self, task: Task) -> None:
        """Note how a task ended."""
        future = self._futures.get(task.name)
        # Otherwise it was cancelled, or the scheduler was lost, as `_check_cluster` reports.
        if future is not None and not future.cancelled():
            del self._futures[task.name]
            done = self._is_done(task)
            self._end(task, None if done else self._failure_of(task, future))

    def _is_done(self, task: Task) -> bool:
        return task_record(self._plan, self._folder, task.name) is not None

    def _failure_of(self, task: Task, future: Any) -> Failure | None:
        """Return the failure of a task without a result; None if its result arrives."""
        if future.status == "error":
            return self._explained(task, future.exception(timeout=_ANSWER))
        answer = future.result(timeout=_ANSWER)
        if answer is None:
            # A file written on another machine may become visible a little later.
            until = time.monotonic() + _ANSWER
            while not self._is_done(task):
                if time.monotonic() > until:
                    return Failure(
                        "RunError",
                        f"The task {task.name} is done, but its result is not in {self._folder}; choose "
                        "a folder with -o that has the same path on all machines.",
                    )
                time.sleep(0.2)
            return None
        failure = json.loads(answer)
        if failure["kind"] == UNFIT:
            raise CallError(failure["message"])
        return Failure(**failure)

    def _explained(self, task: Task, error: BaseException) -> Failure:
        """Explain an error of Dask itself."""
        if isinstance(error, ImportError) and "hypercover" in str(error):
            raise CallError(
                f"The Dask workers at {self._address} lack hypercover ({error}); install it there."
            )
        if type(error).__name__ != "KilledWorker":
            return Failure.of(error)
        import dask

        deaths = 1 + int(dask.config.get("distributed.scheduler.allowed-failures", 3))
        return self._deadly(task, f"The workers it was on ended {deaths} times", str(error))

    def _check_cluster(self) -> None:
        """Check now and then that the cluster can still answer, and replace missing workers."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _POLL
        if self._client.status != "running":
            raise RunError(
                f"The Dask scheduler at {self._address} was lost; finished tasks are kept: "
                "start one and run the same command again."
            )
        workers = self._workers()
        if self._jobs is not None:
            if workers < len(self._cluster.worker_spec):
                self._jobs.poll(self._cluster)
        elif workers:
            self._since = now
        elif now - self._since > 60 * _NO_WORKER_MINUTES:
            raise RunError(
                f"The Dask cluster at {self._address} has had no worker for "
                f"{_NO_WORKER_MINUTES} minutes; start workers and run the same command again."
            )

    def _workers(self) -> int:
        """Return the number of workers of the cluster; 0 if it does not answer."""
        client, limit = self._client, {"callback_timeout": _POLL}
        with suppress(OSError, TimeoutError):
            return int(
                client.sync(client.scheduler.identity, n_workers=0, **limit)["n_workers"]
            )
        return 0
