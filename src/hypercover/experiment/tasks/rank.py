"""A rank: one of several processes that train a network together.

``torchrun … -m hypercover.experiment.tasks.rank FOLDER TASK`` trains the network of a
task of the run in FOLDER.  ``hypercover run --processes N`` starts it like this; so may a
batch script, on any number of machines that share the folder.  The next ``hypercover
run`` evaluates the trained network and maps with it.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hypercover.errors import CallError, HypercoverError, OutputError, RunError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import network_tasks
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.experiment.tasks.torchrun import LOCK, check_gpus
from hypercover.jobs.local import EXIT_STOPPED
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import Failure, Reporter, TaskFiles
from hypercover.stopping import Stopped, stop_on_signal

if TYPE_CHECKING:
    from hypercover.experiment.tasks.network_training import NetworkTraining


_LOOK = 0.5
"""Seconds between checks whether the parent processes still run."""


def main(arguments: Sequence[str]) -> int:
    """Train as one of several; return 0, 1 (failed) or 2 (called wrongly).

    An error that would recur after a restart is recorded as the failure of the task; any
    other is raised, and torchrun restarts all ranks.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _end_with_parents()
    stop_on_signal()
    try:
        folder, task = _parse(arguments)
        if _is_done(folder, task):
            return 0
        with _record_final_errors(TaskFiles(folder, task.name)):
            _check_needs(folder, task)
            if not _training(folder, task).needed:
                return 0
            _train(folder, task)
    except Stopped:
        return EXIT_STOPPED
    except HypercoverError as error:
        sys.stderr.write(f"{error.args[-1]}\n")
        return 2 if isinstance(error, CallError | OutputError) else 1
    return 0


def _parse(arguments: Sequence[str]) -> tuple[Path, Task]:
    """Return the run folder and the training task from the arguments."""
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
            f"{arguments[1]} is not a training of a network in {folder}; give one of {', '.join(networks[:8])}"
            f"{' …' if len(networks) > 8 else ''}."
        )
    return folder, plan.task(arguments[1])


def _is_done(folder: Path, task: Task) -> bool:
    """Tell whether the network is trained and evaluated already."""
    print_ = Plan.load(folder, REGISTRY).fingerprints[task.name]
    return TaskFiles(folder, task.name).read_record(print_) is not None


def _check_needs(folder: Path, task: Task) -> None:
    """Refuse to train before the needed tasks are done."""
    prints = Plan.load(folder, REGISTRY).fingerprints
    for need in task.needs:
        if TaskFiles(folder, need).read_record(prints[need]) is None:
            raise CallError(
                f"The task {task.name} needs {need}, which is not done; call hypercover run "
                "with --prepare first."
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


def _training(folder: Path, task: Task) -> "NetworkTraining":
    """Return the training of a task."""
    from hypercover.experiment.tasks.network_training import NetworkTraining
    from hypercover.experiment.tasks.run_context import RunContext

    return NetworkTraining(RunContext.of(folder), **task.arguments)


def _train(folder: Path, task: Task) -> None:
    """Train the network of a task with the other ranks; the first saves it."""
    training = _training(folder, task)
    with _group(training.context.experiment.device) as first:
        # Only the first rank removes what another experiment left.
        if first:
            training.checkpoints.begin()
        if _broadcast(first and training.checkpoints.trained() is not None):
            return
        network, facts = training.train(Reporter(TaskFiles(folder, task.name)))
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
    launcher, lock = os.getppid(), os.environ.get(LOCK)

    def watch() -> None:
        while os.getppid() == launcher and (lock is None or _is_locked(Path(lock))):
            time.sleep(_LOOK)
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
