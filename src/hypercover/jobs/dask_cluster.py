"""Dask clusters: a running scheduler, workers on this machine, or jobs of a batch system."""

import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from tempfile import NamedTemporaryFile, TemporaryDirectory, gettempdir
from typing import Any

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.files import make_folder
from hypercover.jobs.batch_system import run_command
from hypercover.jobs.executor import TaskState
from hypercover.jobs.job_script import current_umask, module_lines
from hypercover.jobs.local import thread_limits
from hypercover.jobs.pbs import job_name
from hypercover.jobs.resources import JobResources, format_time
from hypercover.jobs.submission import SYSTEMS
from hypercover.jobs.task_status import tail_lines

BATCH_CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs-pro": "PBSCluster",
    "pbs-torque": "PBSCluster",
}
"""The class of dask-jobqueue for each batch system."""
_SATURATION = "distributed.scheduler.worker-saturation"
"""Setting for the tasks that a worker is given ahead, so that it need not wait for the next."""
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
_POLL = 30.0
"""Seconds between queries of the batch system for the jobs of workers."""
_ROUNDS = 3
"""Times that the jobs of all workers may end before any does a task."""
_SHOWN = 3
"""Lines of a job's log that are shown."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerRequest:
    """The workers that a run needs."""

    workers: int
    """Number of workers."""
    threads: int
    """Threads per worker."""
    memory: str | None = None
    """Memory per worker, such as ``1GiB``; one that exceeds it is restarted."""
    resources: JobResources = field(default_factory=JobResources)
    """Resources of the job of one worker."""
    logs: Path | None = None
    """Folder for the logs of jobs."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings of dask-jobqueue, such as ``interface``."""
    run: str = "hypercover"
    """Name of the run, for the names of jobs."""


class WorkerJobs:
    """The jobs of Dask's workers; those that end without a worker are submitted again.

    dask-jobqueue never queries the state of a job, and waits forever for a worker whose job
    ended before it reached the scheduler.
    """

    def __init__(self, where: str, request: WorkerRequest) -> None:
        self._where, self._logs = where, request.logs
        self._max_ended = _ROUNDS * request.workers
        self._active: set[str] = set()
        self._ended: list[str] = []
        self._lost: set[str] = set()
        self._refusals: list[str] = []
        self._next_poll = time.monotonic() + _POLL

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

    def poll(self, own: Any) -> None:
        """Query the jobs now and then, and submit those that ended again.

        Raises
        ------
        RunError
            If jobs repeatedly end or are refused before any does a task.
        """
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + _POLL
        submitted = sorted(self._active.copy())
        try:
            states = SYSTEMS[self._where].states(submitted)
        except HypercoverError as error:
            _log.debug("The state of the jobs of Dask's workers: %s", error)
            return
        waiting = (TaskState.WAITING, TaskState.RUNNING)
        active = {job for (job, _), one in states.items() if one.state in waiting}
        ended = [job for job in submitted if job not in active]
        # Dask itself replaces a lost worker that it knew, a little later.
        own.loop.add_callback(_drop_lost_workers, own, frozenset(self._lost))
        self._active.difference_update(ended)
        self._lost.update(ended)
        self._ended += ended
        if len(self._ended) + len(self._refusals) >= self._max_ended:
            raise RunError(self._reason())

    def _reason(self) -> str:
        """Explain that no worker does a task, and why as far as it is known."""
        if not self._ended:
            return (
                f"{SYSTEMS[self._where].commands[0]} repeatedly refuses the jobs of Dask's "
                f"workers ({self._refusals[-1]}); change the request, or ask the administrators "
                "of the cluster."
            )
        last = self._ended[-1]
        output = self._last_output(last)
        return (
            f"{len(self._ended)} jobs of Dask's workers on {self._where} ended one after "
            f"another before any did a task; the last, {last}, "
            + (f"printed: {output}; its log is" if output else "printed nothing; logs are")
            + f" in {self._logs or 'the home folder'}."
        )

    def _last_output(self, job: str) -> str:
        """Return the last lines that a job printed, of the error stream if there are any."""
        own = re.compile(rf"(?<!\d){re.split(r'[.[]', job)[0]}(?!\d)")
        folder = self._logs or Path.home()
        files = [path for path in folder.glob("[!.]*") if own.search(path.name)]
        files.sort(key=lambda path: re.search(r"\.(ER|err|e\d+)$", path.name) is None)
        for path in files:
            if lines := list(tail_lines(path)):
                return " | ".join(lines[-_SHOWN:])
        return ""


def _drop_lost_workers(own: Any, lost: frozenset[str]) -> None:
    """Make an adaptive cluster forget workers whose jobs ended or were refused."""
    for name, job in list(own.workers.items()):
        if job.job_id is None or job.job_id in lost:
            del own.workers[name]


class DaskConnection:
    """A connection to a scheduler, and the cluster if it was started for this run."""

    def __init__(
        self,
        client: Any,
        where: str,
        own: Any = None,
        *,
        scratch: Any = None,
        jobs: WorkerJobs | None = None,
    ) -> None:
        self.client, self.where = client, where
        self._own, self._scratch, self._jobs = own, scratch, jobs

    @property
    def started_here(self) -> bool:
        """Whether the workers were started for this run."""
        return self._own is not None

    def note_progress(self) -> None:
        """Note that a worker does a task."""
        if self._jobs is not None:
            self._jobs.reset()

    def check_workers(self, connected: int) -> None:
        """Replace missing workers of a cluster that was started for this run.

        Raises
        ------
        RunError
            If their jobs repeatedly end before any does a task.
        """
        if self._jobs is not None and connected < len(self._own.worker_spec):
            self._jobs.poll(self._own)

    def close(self) -> None:
        """Disconnect from the scheduler, and end what was started for this run."""
        for part, seconds in ((self.client, _END / 2), (self._own, _END)):
            if part is not None:
                try:
                    part.close(timeout=seconds)
                except Exception as error:
                    _log.debug("Closing the Dask cluster: %s", error)
        for name in _KEYS:
            if (file := getattr(self._own, name, None)) is not None:
                file.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def connect(where: str | None, request: WorkerRequest) -> DaskConnection:
    """Connect to a scheduler, or start one with its workers.

    Parameters
    ----------
    where : address such as ``tcp://host:8786``, a scheduler file, ``slurm``, ``pbs-pro``,
        ``pbs-torque``, or None for workers on this machine

    Raises
    ------
    CallError
        If no scheduler answers, or the batch system is not available.
    """
    if where is None:
        return _local(request)
    if where in BATCH_CLUSTERS:
        return _batch(where, request)
    return _running(where)


def check_scheduler(where: str | None) -> None:
    """Refuse a scheduler that does not answer, before anything is written.

    Raises
    ------
    CallError
        As `connect`.
    """
    if where in BATCH_CLUSTERS:
        _check_command(where)
    elif where is not None:
        _running(where).close()


def _running(where: str) -> DaskConnection:
    """Connect to a running scheduler."""
    file = "://" not in where and (os.sep in where or Path(where).is_file())
    if file and not Path(where).is_file():
        raise CallError(
            f"There is no scheduler file {where}; give the file that dask scheduler "
            "--scheduler-file wrote, or an address such as tcp://host:8786."
        )
    target: dict[str, Any] = {"scheduler_file": where} if file else {"address": where}
    try:
        with _quiet():
            client = _client(**target)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise CallError(
            f"No Dask scheduler answers at {where} within {_CONNECT:.0f} s; start one with "
            "dask scheduler, or leave --dask out to use this machine."
        ) from error
    return DaskConnection(client, where)


def _client(address: Any = None, **how: Any) -> Any:
    """Connect to a scheduler within a time limit."""
    from distributed import Client

    return Client(  # type: ignore[no-untyped-call]
        address, timeout=_CONNECT, set_as_default=False, **how
    )


def _local(request: WorkerRequest) -> DaskConnection:
    """Start workers on this machine: processes that are replaced when they die."""
    from distributed import LocalCluster

    keys = _keys()
    scratch = TemporaryDirectory(prefix="hypercover-dask-", ignore_cleanup_errors=True)
    try:
        with _pinned(request.threads):
            own = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=request.workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=request.memory or 0,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                security=keys,
                local_directory=scratch.name,
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError, ValueError) as error:
        scratch.cleanup()
        raise RunError(
            f"Dask's workers cannot be started on this machine: {error}."
        ) from error
    return DaskConnection(_client(own), "this machine", own, scratch=scratch)


def _keys() -> Any:
    """Make the keys of one cluster, without which nobody can connect to it.

    Dask listens on ports that every user of the machine, and often of the cluster, can
    reach, and runs any code it receives as the user who started it.
    """
    from distributed import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


def _key_folder(request: WorkerRequest) -> Path:
    """Return the folder with the keys for workers on a batch system.

    Raises
    ------
    CallError
        If a job script cannot name the folder.
    """
    place = make_folder((request.logs or Path.cwd()).absolute())
    if not re.fullmatch(r"[\w./+=@~-]+", str(place)):
        raise CallError(
            f"Dask's jobs cannot name a folder with spaces or signs such as : and %, got "
            f"{str(place)!r}; choose another run folder with -o."
        )
    for left in place.glob(f"{_KEY_FILES}*"):
        # Left by a run that was killed: an active one would hold the lock of the folder.
        left.unlink(missing_ok=True)
    return place


def _batch(where: str, request: WorkerRequest) -> DaskConnection:
    """Start workers as jobs of a batch system; lost ones are replaced."""
    import dask_jobqueue

    _check_command(where)
    secret = {"security": _keys(), "shared_temp_directory": str(_key_folder(request))}
    settings = _job_settings(where, request) | secret | dict(request.settings)
    kind, jobs = getattr(dask_jobqueue, BATCH_CLUSTERS[where]), WorkerJobs(where, request)
    try:
        own = kind(**settings, job_cls=jobs.job_class(kind.job_cls))
    except (ValueError, TypeError) as error:
        raise CallError(
            f"The settings for Dask's workers on {where} are not valid: {error}; correct them "
            "in the site file or in ~/.config/dask/jobqueue.yaml."
        ) from error
    try:
        _check_accepted(where, own.job_script())
    except HypercoverError:
        own.close(timeout=_END)
        raise
    # Only an adaptive cluster replaces a lost worker.
    own.adapt(
        minimum=request.workers, maximum=request.workers, interval=_ADAPT, wait_count=1
    )
    return DaskConnection(_client(own), f"{where} (through dask-jobqueue)", own, jobs=jobs)


def _check_accepted(where: str, script: str) -> None:
    """Check that Slurm would accept the job of a worker; PBS offers no check.

    Dask would submit a refused job again, forever.
    """
    if where == "slurm":
        with NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(script)
            file.flush()
            run_command(SYSTEMS[where], ["sbatch", "--test-only", file.name])


def _job_settings(where: str, request: WorkerRequest) -> dict[str, Any]:
    """Return the settings of dask-jobqueue for the job of one worker."""
    resources = request.resources
    share = (resources.memory_per_cpu or 0) * request.threads
    memory = request.memory or f"{resources.memory or share or _MEMORY}B"
    unlimited = resources.memory == 0 and not request.memory
    of_memory = "" if unlimited else f"mem={memory}"
    directives = list(resources.directives)
    name = job_name(request.run, "dask") if where != "slurm" else f"{request.run}-dask"
    settings: dict[str, Any] = {
        # One thread for tasks: libraries use the cores of the job within one task.
        "cores": 1,
        "processes": 1,
        "memory": memory,
        "queue": resources.partition,
        "account": resources.account,
        "walltime": None if resources.time is None else format_time(resources.time),
        "job_name": name,
        "job_script_prologue": [
            f"umask {current_umask()}",
            *module_lines(resources.modules),
        ],
        "job_extra_directives": directives,
        "local_directory": gettempdir(),
        "log_directory": None if request.logs is None else str(request.logs),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
    }
    if where == "slurm":
        settings["job_cpu"] = request.threads
        if share or unlimited:
            settings["job_directives_skip"] = ["--mem="]
        if share:
            size = math.ceil((resources.memory_per_cpu or 0) / 2**20)
            directives.insert(0, f"--mem-per-cpu={size}M")
    elif where == "pbs-pro":
        parts = ["select=1", f"ncpus={request.threads}", of_memory]
        settings["resource_spec"] = ":".join(filter(None, parts))
    else:
        parts = [f"nodes=1:ppn={request.threads}", of_memory]
        settings["resource_spec"] = ",".join(filter(None, parts))
    if where != "slurm":
        directives.insert(0, f"-W umask={current_umask()}")
    # Anything else comes from dask-jobqueue's own configuration.
    return {name: value for name, value in settings.items() if value not in (None, [])}


def _check_command(where: str) -> None:
    command = SYSTEMS[where].commands[0]
    if which(command) is None:
        raise CallError(
            f"There is no {command} on the PATH, so Dask workers cannot be started on {where}; "
            "call this on a machine of the cluster, or give a scheduler's address."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's messages about a scheduler that does not answer."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Make Dask start processes with so many threads, without changing this process."""
    import dask

    key = "distributed.nanny.pre-spawn-environ"
    limits = dask.config.get(key, {}) | thread_limits(threads)
    # Dask sets the variables in this process, for its children to inherit.
    before = {name: os.environ.get(name) for name in (*limits, "PYTHONHASHSEED")}
    try:
        with dask.config.set({key: limits, _SATURATION: 4.0}):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
