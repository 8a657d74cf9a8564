"""Where Dask's workers come from: a running scheduler, this machine, or a batch system."""

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
from hypercover.jobs.batch_system import BatchSystem
from hypercover.jobs.batch_system import run_command as asked_of
from hypercover.jobs.executor import TaskState
from hypercover.jobs.job_script import current_umask, module_lines
from hypercover.jobs.local import thread_limits
from hypercover.jobs.pbs import PBSPro, Torque, job_name
from hypercover.jobs.resources import JobResources, format_time
from hypercover.jobs.slurm import Slurm
from hypercover.jobs.task_status import tail_lines

__all__ = ["BATCH", "DaskConnection", "WorkerRequest", "check_scheduler", "connect"]

BATCH = {"slurm": "SLURMCluster", "pbs-pro": "PBSCluster", "pbs-torque": "PBSCluster"}
"""Batch systems by name, and the class of dask-jobqueue that serves each."""
_SYSTEMS: Mapping[str, BatchSystem] = {
    system.name: system for system in (Slurm(), PBSPro(), Torque())
}
_SENDING = {"slurm": "sbatch", "pbs-pro": "qsub", "pbs-torque": "qsub"}
_AHEAD = "distributed.scheduler.worker-saturation"
"""Tasks that a worker is given at once: with one alone it would wait for the next."""
_MEMORY = 4 * 2**30
"""Bytes of memory that a job asks for where nobody says."""

_KEYS = ("_job_ca_file", "_job_cert", "_job_key")
"""Key files of dask-jobqueue, which would lie there until this process ends."""
_KEY_FILES = ".dask-jobqueue.worker."
"""How the names of dask-jobqueue's key files begin; only their owner can read them."""
_CONNECT = 10.0
"""Seconds in which a scheduler must answer."""
_END = 10.0
"""Seconds in which a cluster that we started is given time to end."""
_ADAPT = 2.0
"""Seconds between looks of Dask's own whether a worker is missing."""
_ASK = 30.0
"""Seconds between questions to a batch system how the jobs of workers stand."""
_ROUNDS = 3
"""Times that the jobs of all workers may end without any of them doing a task."""
_SHOWN = 3
"""Lines of the log of a job that are shown."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerRequest:
    """What a run wants of workers that are started for it."""

    workers: int
    """How many."""
    threads: int
    """Threads of each."""
    memory: str | None = None
    """Memory of each, such as ``1GiB``; one that takes more is ended and begun anew."""
    resources: JobResources = field(default_factory=JobResources)
    """What a job of one worker asks of a batch system."""
    logs: Path | None = None
    """Where such a job writes what it prints."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings of dask-jobqueue, such as ``interface``."""
    run: str = "hypercover"
    """What the run is called, for the names of jobs."""


class WorkerJobs:
    """The jobs of Dask's workers; those that ended without a worker are sent again.

    dask-jobqueue never asks a batch system how a job stands, and waits for ever for a
    worker whose job ended before the worker reached the scheduler.
    """

    def __init__(self, where: str, request: WorkerRequest) -> None:
        self._where, self._logs = where, request.logs
        self._most = _ROUNDS * request.workers
        self._alive: set[str] = set()
        self._ended: list[str] = []
        self._lost: set[str] = set()
        self._refusals: list[str] = []
        self._next = time.monotonic() + _ASK

    def job_class(self, base: Any) -> Any:
        """Return a class of jobs that tells what was sent and what was refused."""

        async def start(job: Any) -> None:
            try:
                await base.start(job)
            except (OSError, RuntimeError, ValueError) as error:
                said = str(error).rpartition("stderr:")[2]
                self._refusals.append(" ".join(said.split()))
                raise
            self._alive.add(job.job_id)

        return type(base.__name__, (base,), {"start": start})

    def worked(self) -> None:
        """Note that a worker does a task: what ended before is forgiven."""
        self._ended, self._refusals = [], []

    def look(self, own: Any) -> None:
        """Ask now and then how the jobs stand, and have those sent again that ended.

        Raises
        ------
        RunError
            If jobs end, or are refused, again and again and no task is done.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _ASK
        sent = sorted(self._alive.copy())
        try:
            places = _SYSTEMS[self._where].states(sent)
        except HypercoverError as error:
            _log.debug("How the jobs of Dask's workers stand: %s", error)
            return
        waiting = (TaskState.WAITING, TaskState.RUNNING)
        alive = {job for (job, _), place in places.items() if place.state in waiting}
        ended = [job for job in sent if job not in alive]
        # Dask itself replaces a worker that it knew, a little later than it is lost.
        own.loop.add_callback(_send_again, own, frozenset(self._lost))
        self._alive.difference_update(ended)
        self._lost.update(ended)
        self._ended += ended
        if len(self._ended) + len(self._refusals) >= self._most:
            raise RunError(self._sentence())

    def _sentence(self) -> str:
        """Say that no worker comes to anything, and why as far as it is known."""
        if not self._ended:
            return (
                f"{_SENDING[self._where]} refuses the jobs of Dask's workers again and again "
                f"({self._refusals[-1]}); change what is asked for, or ask whoever runs the "
                "cluster."
            )
        last = self._ended[-1]
        words = self._last_words(last)
        return (
            f"{len(self._ended)} jobs of Dask's workers on {self._where} ended one after "
            f"another before any did a task; the last, {last}, "
            + (f"printed: {words}; its log is" if words else "printed nothing; logs are")
            + f" in {self._logs or 'the home folder'}."
        )

    def _last_words(self, job: str) -> str:
        """Return the last lines that a job printed, errors before anything else."""
        own = re.compile(rf"(?<!\d){re.split(r'[.[]', job)[0]}(?!\d)")
        folder = self._logs or Path.home()
        files = [path for path in folder.glob("[!.]*") if own.search(path.name)]
        files.sort(key=lambda path: re.search(r"\.(ER|err|e\d+)$", path.name) is None)
        for path in files:
            if lines := list(tail_lines(path)):
                return " | ".join(lines[-_SHOWN:])
        return ""


def _send_again(own: Any, lost: frozenset[str]) -> None:
    """Have an adaptive cluster miss the workers whose jobs ended or were refused."""
    for name, job in list(own.workers.items()):
        if job.job_id is None or job.job_id in lost:
            del own.workers[name]


class DaskConnection:
    """A connection to a scheduler, and the cluster behind it if it was started here."""

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
        """Whether the workers are nobody else's."""
        return self._own is not None

    def worked(self) -> None:
        """Note that a worker does a task."""
        if self._jobs is not None:
            self._jobs.worked()

    def look(self, workers: int) -> None:
        """See to workers that are missing of those that were started here.

        Parameters
        ----------
        workers : how many are connected

        Raises
        ------
        RunError
            If their jobs end again and again and no task is done.
        """
        if self._jobs is not None and workers < len(self._own.worker_spec):
            self._jobs.look(self._own)

    def close(self) -> None:
        """Let go of the scheduler, and end what was started for this run."""
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
    """Reach a scheduler, or start one with its workers.

    Parameters
    ----------
    where : address such as ``tcp://host:8786``, a scheduler file, ``slurm``, ``pbs-pro``,
        ``pbs-torque``, or None for workers on this machine

    Raises
    ------
    CallError
        If no scheduler answers there, or the batch system or Dask is not installed.
    """
    if where is None:
        return _local(request)
    if where in BATCH:
        return _batch(where, request)
    return _running(where)


def check_scheduler(where: str | None) -> None:
    """Refuse a scheduler that does not answer, before anything is begun or written.

    Raises
    ------
    CallError
        As `connect`.
    """
    if where in BATCH:
        _check_command(where)
    elif where is not None:
        _running(where).close()


def _running(where: str) -> DaskConnection:
    """Connect to a scheduler that runs already."""
    file = "://" not in where and (os.sep in where or Path(where).is_file())
    if file and not Path(where).is_file():
        raise CallError(
            f"There is no scheduler file {where}; give the file that dask scheduler "
            "--scheduler-file wrote, or an address such as tcp://host:8786."
        )
    how: dict[str, Any] = {"scheduler_file": where} if file else {"address": where}
    try:
        with _quiet():
            client = _client(**how)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise CallError(
            f"No Dask scheduler answers at {where} within {_CONNECT:.0f} s; start one with "
            "dask scheduler, or leave --dask out to use this machine."
        ) from error
    return DaskConnection(client, where)


def _client(address: Any = None, **how: Any) -> Any:
    """Connect to a scheduler, in so many seconds or not at all."""
    from distributed import Client

    return Client(  # type: ignore[no-untyped-call]
        address, timeout=_CONNECT, set_as_default=False, **how
    )


def _local(request: WorkerRequest) -> DaskConnection:
    """Start workers on this machine, each a process that is replaced when it dies."""
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
    """Make keys for one cluster, without which nobody can connect to it and run code.

    Dask listens on ports that every user of the machine, and often of the cluster,
    can reach, and runs what it is sent as the user who started it.
    """
    from distributed import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


def _shared_place(request: WorkerRequest) -> Path:
    """Return the folder in which the workers of a batch system find their keys.

    Raises
    ------
    CallError
        If its name would fall into several words where a job names it.
    """
    place = make_folder((request.logs or Path.cwd()).absolute())
    if not re.fullmatch(r"[\w./+=@~-]+", str(place)):
        raise CallError(
            f"Dask's jobs can name no folder with spaces or signs such as : and %, got "
            f"{str(place)!r}; choose another run folder with -o."
        )
    for left in place.glob(f"{_KEY_FILES}*"):
        # By a run that was killed; one that is at work holds the lock of the folder.
        left.unlink(missing_ok=True)
    return place


def _batch(where: str, request: WorkerRequest) -> DaskConnection:
    """Start workers as jobs of a batch system; one that is lost is asked for again."""
    import dask_jobqueue

    _check_command(where)
    secret = {"security": _keys(), "shared_temp_directory": str(_shared_place(request))}
    asked = _job_settings(where, request) | secret | dict(request.settings)
    kind, jobs = getattr(dask_jobqueue, BATCH[where]), WorkerJobs(where, request)
    try:
        own = kind(**asked, job_cls=jobs.job_class(kind.job_cls))
    except (ValueError, TypeError) as error:
        raise CallError(
            f"The settings for Dask's workers on {where} do not fit: {error}; mend them in "
            "the site file or in ~/.config/dask/jobqueue.yaml."
        ) from error
    try:
        _check_taken(where, own.job_script())
    except HypercoverError:
        own.close(timeout=_END)
        raise
    # Only an adaptive cluster asks for a worker again that was lost.
    own.adapt(
        minimum=request.workers, maximum=request.workers, interval=_ADAPT, wait_count=1
    )
    return DaskConnection(_client(own), f"{where} (through dask-jobqueue)", own, jobs=jobs)


def _check_taken(where: str, script: str) -> None:
    """Have Slurm say whether it would take the job of a worker; PBS cannot be asked.

    Dask would send a job that is refused again and again, for ever.
    """
    if where == "slurm":
        with NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(script)
            file.flush()
            asked_of(Slurm(), ["sbatch", "--test-only", file.name])


def _job_settings(where: str, request: WorkerRequest) -> dict[str, Any]:
    """Return what every job of one worker is asked for with."""
    resources = request.resources
    share = (resources.memory_per_cpu or 0) * request.threads
    memory = request.memory or f"{resources.memory or share or _MEMORY}B"
    unsaid = resources.memory == 0 and not request.memory
    of_memory = "" if unsaid else f"mem={memory}"
    directives = list(resources.directives)
    name = job_name(request.run, "dask") if where != "slurm" else f"{request.run}-dask"
    settings: dict[str, Any] = {
        # One thread for tasks: the cores of a job are for the libraries of one task.
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
        if share or unsaid:
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
    # What is not asked for is left to dask-jobqueue's own file.
    return {name: value for name, value in settings.items() if value not in (None, [])}


def _check_command(where: str) -> None:
    command = _SENDING[where]
    if which(command) is None:
        raise CallError(
            f"There is no {command} on the PATH, so no Dask workers can be asked of {where}; "
            "run this on a machine of the cluster, or give a scheduler's address."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own words about a scheduler that does not answer to itself."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Have Dask start processes with so many threads, and leave our own as they are."""
    import dask

    key = "distributed.nanny.pre-spawn-environ"
    limits = dask.config.get(key, {}) | thread_limits(threads)
    # Dask sets them in our own process, for those it starts to inherit.
    before = {name: os.environ.get(name) for name in (*limits, "PYTHONHASHSEED")}
    try:
        with dask.config.set({key: limits, _AHEAD: 4.0}):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
