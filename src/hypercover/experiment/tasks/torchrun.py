"""torchrun: starts the processes that train one network together, and ends them."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypercover.errors import ModelError, RunError
from hypercover.files import open_to_append, write_error
from hypercover.jobs.local import cores, thread_limits
from hypercover.jobs.record import TaskFiles
from hypercover.stopping import Stopped, stop_requested
from hypercover.types import Report

LOCK = "HYPERCOVER_LOCK"
"""Environment variable with the path of a file that the run keeps locked."""

_RESTARTS = 3
_LOOK = 0.2
"""Seconds between checks of the progress of the ranks."""
_GRACE = 5.0
"""Seconds in which the ranks can leave a checkpoint and end by themselves."""


def run_ranks(folder: Path, task: str, processes: int, report: Report) -> None:
    """Train the network of a task in several processes of this machine.

    If a rank is killed, all restart from the last checkpoint.  No rank outlives this process,
    however that ends.

    Raises
    ------
    HypercoverError
        The error of a rank, in its own type.
    RunError
        If ranks died more than three times, or torchrun was killed.
    """
    files = TaskFiles(folder, task)
    files.forget()
    with _ranks(folder, task, processes, files.log) as ranks:
        while ranks.poll() is None:
            time.sleep(_LOOK)
            if stop_requested():
                raise Stopped
            _raise_failure(files)
            if found := files.read_progress():
                report(*found)
    _raise_failure(files)
    if ranks.returncode:
        raise RunError(
            f"{_exit_reason(ranks.returncode)}, and with it the {processes} processes that train "
            f"{task}; see {files.log} and the memory they may use, and run the same command "
            "again to resume from the last checkpoint."
        )


def check_gpus(processes: int) -> None:
    """Refuse more processes than GPUs, as each process needs its own.

    Raises
    ------
    ModelError
    """
    from torch import cuda

    found = cuda.device_count()
    if processes > found:
        raise ModelError(
            f"{processes} processes need a GPU each, but PyTorch finds {found}; use {found} "
            "processes, or device cpu."
        )


def _exit_reason(code: int) -> str:
    """Describe how torchrun ended: killed, or because too many ranks died."""
    if code < 0:
        return f"torchrun ended by signal {signal.Signals(-code).name}"
    return f"torchrun, which restarts dead processes up to {_RESTARTS} times, ended"


def _raise_failure(files: TaskFiles) -> None:
    """Raise the error that a rank has recorded."""
    failure = files.read_failure()
    if failure is not None:
        raise failure.error()


@contextmanager
def _ranks(
    folder: Path, task: str, processes: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the ranks, and end them with the block."""
    lock = log.with_name(f"{task}.lock")
    try:
        output = open_to_append(log)
    except OSError as error:
        raise write_error(log, error) from error
    with output, _locked(lock):
        started = subprocess.Popen(
            _command(folder, task, processes),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(processes, lock),
            # Only this process handles Ctrl-C.
            start_new_session=True,
        )
        try:
            yield started
        finally:
            _end(started)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a file locked while this process runs: the ranks watch the lock."""
    with open_to_append(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _command(folder: Path, task: str, processes: int) -> list[str]:
    """Return the command that starts the ranks on this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    count = ["--nproc-per-node", str(processes), "--max-restarts", str(_RESTARTS)]
    return [*launcher, *count, "-m", "hypercover.experiment.tasks.rank", str(folder), task]


def _environment(processes: int, lock: Path) -> dict[str, str]:
    """Return the environment of the ranks, which share the threads of this process."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(given) if given.isdecimal() else cores()
    return (
        os.environ
        | thread_limits(max(1, threads // processes))
        | {
            LOCK: str(lock),
            # Import no module from the working directory.
            "PYTHONSAFEPATH": "1",
            # Without it only one killed rank in four is restarted (pytorch issue 135712).
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
    )


def _end(started: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends the ranks; if it fails they end themselves."""
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            started.wait(_GRACE)
    started.kill()
    started.wait()
