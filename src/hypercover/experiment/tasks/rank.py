"""Ranks: the processes that train one network together, and torchrun, which starts them.

``torchrun … -m hypercover.experiment.tasks.rank FOLDER TASK`` trains the network of a
task of the run in FOLDER.  ``hypercover run --processes N`` starts it like this; so may a
batch script, on any number of machines that share the folder.  The next ``hypercover
run`` evaluates the trained network and maps with it.
"""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hypercover.errors import CallError, HypercoverError, ModelError, OutputError, RunError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import network_tasks
from hypercover.experiment.tasks.network_training import NetworkTraining, Trained
from hypercover.experiment.tasks.run_context import RunContext
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import open_to_append, write_error
from hypercover.jobs.local import EXIT_STOPPED, cores, thread_limits
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.task_files import Failure, TaskFiles, task_record
from hypercover.stopping import Stopped, stop_on_signal, stop_requested
from hypercover.types import Report

_LOCK = "HYPERCOVER_LOCK"
"""Environment variable with the path of a file that the run keeps locked."""
_RESTARTS = 3
_PROGRESS_CHECK, _PARENT_CHECK = 0.2, 0.5
"""Seconds between checks of the progress of the ranks, and whether their parents still run."""
_GRACE = 5.0
"""Seconds in which the ranks can leave a checkpoint and end by themselves."""


def train_network(training: NetworkTraining, report: Report) -> Trained:
    """Return the trained network of a task and the facts of its training.

    It is trained in this process or in as many as the experiment asks for, unless a
    batch job has already trained it.
    """
    experiment, checkpoints = training.context.experiment, training.checkpoints
    network = checkpoints.trained(experiment.device)
    if network is None and experiment.processes == 1:
        return training.train(report)
    if network is None:
        checkpoints.begin()
        run_ranks(training.context.folder.path, training.task, experiment.processes, report)
        network = checkpoints.trained(experiment.device)
    if network is None:
        raise RunError(
            f"The processes of {training.task} ended without a trained network; run again."
        )
    return network


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
            time.sleep(_PROGRESS_CHECK)
            if stop_requested():
                raise Stopped
            _raise_failure(files)
            if progress := files.read_progress():
                report(*progress)
    _raise_failure(files)
    if code := ranks.returncode:
        reason = f", which restarts dead processes up to {_RESTARTS} times, ended"
        if code < 0:
            reason = f" ended by signal {signal.Signals(-code).name}"
        raise RunError(
            f"torchrun{reason}, and with it the {processes} processes that train {task}; see "
            f"{files.log} and the memory they may use, and run the same command again to resume "
            "from the last checkpoint."
        )


def check_gpus(processes: int) -> None:
    """Refuse more processes than GPUs, as each process needs its own.

    Raises
    ------
    ModelError
    """
    from torch import cuda

    count = cuda.device_count()
    if processes > count:
        raise ModelError(
            f"{processes} processes need a GPU each, and {count} are found; use fewer, or "
            "device cpu."
        )


def _raise_failure(files: TaskFiles) -> None:
    """Raise the error that a rank has recorded."""
    if (failure := files.read_failure()) is not None:
        raise failure.error()


@contextmanager
def _ranks(
    folder: Path, task: str, processes: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the ranks, and end them with the block; they watch a lock that it holds."""
    lock = log.with_name(f"{task}.lock")
    try:
        output = open_to_append(log)
    except OSError as error:
        raise write_error(log, error) from error
    with output, open_to_append(lock) as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        launcher = subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", str(processes), "--max-restarts", str(_RESTARTS)),
                *("-m", "hypercover.experiment.tasks.rank", str(folder), task),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(processes, lock),
            # Only this process handles Ctrl-C.
            start_new_session=True,
        )
        try:
            yield launcher
        finally:
            # The launcher ends the ranks; if it fails, they end themselves.
            if launcher.poll() is None:
                launcher.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    launcher.wait(_GRACE)
            launcher.kill()
            launcher.wait()
            lock.unlink(missing_ok=True)


def _environment(processes: int, lock: Path) -> dict[str, str]:
    """Return the environment of the ranks, which share the threads of this process."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(limit) if limit.isdecimal() else cores()
    return {
        **os.environ,
        **thread_limits(max(1, threads // processes)),
        _LOCK: str(lock),
        # Import no module from the working directory.
        "PYTHONSAFEPATH": "1",
        # Without it only one killed rank in four is restarted (pytorch issue 135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


def main(arguments: Sequence[str]) -> int:
    """Train as one of several; return 0, 1 (failed) or 2 (called wrongly).

    An error that would recur after a restart is recorded as the failure of the task; any
    other is raised, and torchrun restarts all ranks.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _end_with_parents()
    stop_on_signal()
    try:
        folder, plan, task = _parse(arguments)
        files = TaskFiles(folder, task.name)
        if task_record(plan, folder, task.name) is not None:
            return 0
        with _record_final_errors(files):
            _check_needs(plan, folder, task)
            training = NetworkTraining(RunContext.of(folder), **task.arguments)
            if training.needed:
                _train(training, files.reporter())
    except Stopped:
        return EXIT_STOPPED
    except HypercoverError as error:
        sys.stderr.write(f"{error.args[-1]}\n")
        return 2 if isinstance(error, CallError | OutputError) else 1
    return 0


def _parse(arguments: Sequence[str]) -> tuple[Path, Plan, Task]:
    """Return the run folder, its plan and the task that trains from the arguments."""
    if len(arguments) != 2 or "LOCAL_RANK" not in os.environ:
        raise CallError(
            "Give a run folder and the name of a training, and start the ranks by torchrun: "
            "torchrun --nproc-per-node 2 -m hypercover.experiment.tasks.rank FOLDER TASK."
        )
    folder = Path(arguments[0]).resolve()
    plan = Plan.load(folder, REGISTRY)
    networks = network_tasks(load_experiment(RunFolder(folder).experiment))
    if arguments[1] not in networks:
        raise CallError(
            f"{arguments[1]} is not a training of a network in {folder}; give one of "
            f"{', '.join(networks[:8])}{' …' if len(networks) > 8 else ''}."
        )
    return folder, plan, plan.task(arguments[1])


def _check_needs(plan: Plan, folder: Path, task: Task) -> None:
    """Refuse to train before the needed tasks are done."""
    for need in task.needs:
        if task_record(plan, folder, need) is None:
            raise CallError(
                f"The task {task.name} needs {need}; call hypercover run --prepare first."
            )


@contextmanager
def _record_final_errors(files: TaskFiles) -> Iterator[None]:
    """Record an error that no restart will mend as the failure of the task."""
    try:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise RunError(
                f"Process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} ran out of memory "
                "while it trained; take a smaller batch_size or fewer processes."
            ) from error
    except HypercoverError as error:
        files.write_failure(Failure.of(error))
        raise


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out; on the CPU, PyTorch has no error type for it."""
    from torch import OutOfMemoryError

    named = isinstance(error, MemoryError | OutOfMemoryError)
    return named or "can't allocate memory" in str(error)


def _train(training: NetworkTraining, report: Report) -> None:
    """Train the network of a task with the other ranks; the first saves it."""
    with _group(training.context.experiment.device) as first:
        # Only the first rank removes what another experiment left.
        if first:
            training.checkpoints.begin()
        if _broadcast(first and training.checkpoints.trained() is not None):
            return
        network, facts = training.train(report)
        if first:
            training.checkpoints.keep(network, facts)


@contextmanager
def _group(device: str) -> Iterator[bool]:
    """Join the other ranks, on a GPU each if possible; yield whether this is the first."""
    import torch
    from torch import distributed

    from hypercover.classifiers.cnn.inference import resolve_device

    on_gpu = resolve_device(device).type == "cuda"
    if on_gpu:
        check_gpus(int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    yield distributed.get_rank() == 0
    distributed.destroy_process_group()


def _broadcast(value: bool) -> bool:
    """Return the value of the first rank in every rank."""
    import torch
    from torch import distributed

    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor([int(value)], device=device)
    distributed.broadcast(tensor, src=0)
    return bool(tensor.item())


def _end_with_parents() -> None:
    """End this process as soon as the launcher, or the run behind it, has ended.

    torchrun puts each rank into a session of its own, so nothing else ends the ranks of a
    launcher or run that was killed.
    """
    launcher, lock = os.getppid(), os.environ.get(_LOCK)

    def watch() -> None:
        while os.getppid() == launcher and (lock is None or _is_locked(Path(lock))):
            time.sleep(_PARENT_CHECK)
        if os.getppid() == launcher:
            with suppress(OSError):
                os.kill(launcher, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _is_locked(path: Path) -> bool:
    """Tell whether a process holds a lock on a file."""
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # Removed: the process that held it has ended.
        return False
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
