"""Starting the processes that train one network together, and ending them with us."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypercover.errors import ModelError, RunError
from hypercover.files import explained, open_to_append
from hypercover.jobs.local import cores, thread_limits
from hypercover.jobs.record import TaskFiles
from hypercover.stopping import Stopped, stop_asked

__all__ = ["LOCK", "check_gpus", "run_ranks"]

LOCK = "HYPERCOVER_LOCK"
"""Variable that names the file which whoever started the ranks holds locked."""

_RESTARTS = 3
_LOOK = 0.2
"""Seconds between looks at how far the ranks are."""
_GRACE = 5.0
"""Seconds the ranks are given to end by themselves, and to leave a checkpoint."""

Report = Callable[[float, str], None]


def run_ranks(folder: Path, task: str, processes: int, report: Report) -> None:
    """Train the network of a task in several processes of this machine.

    Why it exists: a killed rank is started again and all go on from the last
    checkpoint; when this process ends, in whatever way, no rank outlives it.

    Raises
    ------
    HypercoverError
        What a rank has raised, in its own type.
    RunError
        If the ranks ended in another way more than three times, or torchrun was killed.
    """
    files = TaskFiles(folder, task)
    files.forget()
    with _ranks(folder, task, processes, files.log) as ranks:
        while ranks.poll() is None:
            time.sleep(_LOOK)
            if stop_asked():
                raise Stopped
            _raise_failure(files)
            if found := files.read_progress():
                report(*found)
    _raise_failure(files)
    if ranks.returncode:
        raise RunError(
            f"{_ending(ranks.returncode)}, and with it the {processes} processes that train "
            f"{task}; see {files.log} and the memory they may use, and run the same command "
            "again to go on from the last checkpoint."
        )


def check_gpus(processes: int) -> None:
    """Refuse more processes than there are GPUs, as each needs one of its own.

    Raises
    ------
    ModelError
    """
    from torch import cuda

    found = cuda.device_count()
    if processes > found:
        raise ModelError(
            f"{processes} processes need a GPU each and PyTorch finds {found} here; ask for "
            f"{found} processes, or for device cpu."
        )


def _ending(code: int) -> str:
    """Say how torchrun ended: killed, or by itself as it does when too many ranks died."""
    if code < 0:
        return f"torchrun ended by signal {signal.Signals(-code).name}"
    return f"torchrun, which starts dead processes again up to {_RESTARTS} times, ended"


def _raise_failure(files: TaskFiles) -> None:
    """Raise what a rank has left as the reason for its end."""
    failure = files.read_failure()
    if failure is not None:
        raise failure.error()


@contextmanager
def _ranks(
    folder: Path, task: str, processes: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the ranks; end them when the block ends."""
    lock = log.with_name(f"{task}.lock")
    try:
        output = open_to_append(log)
    except OSError as error:
        raise explained(log, error) from error
    with output, _locked(lock):
        started = subprocess.Popen(
            _command(folder, task, processes),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(processes, lock),
            # Ctrl-C is for us to handle, and for us alone.
            start_new_session=True,
        )
        try:
            yield started
        finally:
            _end(started)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file locked for as long as we live: that is how the ranks know."""
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
            # No module of the folder somebody stands in.
            "PYTHONSAFEPATH": "1",
            # Else a killed rank comes back in one case out of four (pytorch issue 135712).
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
    )


def _end(started: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends the ranks; they end themselves if it cannot."""
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            started.wait(_GRACE)
    started.kill()
    started.wait()
