"""One of several processes that train a network together: a rank.

``torchrun … -m hypercover.experiment.tasks.rank FOLDER TASK`` trains the network of a
task of the run in FOLDER.  `hypercover run --processes N` starts it so; a batch
script may, on any number of machines that see the folder.  The trained network
is left for the next ``hypercover run``, which judges and maps with it.
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
from hypercover.stopping import Stopped, stop_at_signal

if TYPE_CHECKING:
    from hypercover.experiment.tasks.network_training import NetworkTraining

__all__ = ["main"]

_LOOK = 0.5
"""Seconds between looks whether those who started us still live."""


def main(arguments: Sequence[str]) -> int:
    """Train as one of several; return 0, 1 (failed) or 2 (called wrongly).

    An error that would come back at each restart is left in the task's file of
    errors; any other goes through, and torchrun starts all ranks again.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _end_with_starter()
    stop_at_signal()
    try:
        folder, task = _called(arguments)
        if _is_done(folder, task):
            return 0
        with _final_errors_kept(TaskFiles(folder, task.name)):
            _check_needs(folder, task)
            if not _training(folder, task).wanted:
                return 0
            _train(folder, task)
    except Stopped:
        return EXIT_STOPPED
    except HypercoverError as error:
        sys.stderr.write(f"{error.args[-1]}\n")
        return 2 if isinstance(error, CallError | OutputError) else 1
    return 0


def _called(arguments: Sequence[str]) -> tuple[Path, Task]:
    """Return the run folder and the training that were named."""
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
            f"{arguments[1]} trains no network of {folder}; give one of {', '.join(networks[:8])}"
            f"{' …' if len(networks) > 8 else ''}."
        )
    return folder, plan.task(arguments[1])


def _is_done(folder: Path, task: Task) -> bool:
    """Tell whether the network was trained and judged before."""
    print_ = Plan.load(folder, REGISTRY).fingerprints[task.name]
    return TaskFiles(folder, task.name).read_record(print_) is not None


def _check_needs(folder: Path, task: Task) -> None:
    """Refuse to train on what is not there yet."""
    prints = Plan.load(folder, REGISTRY).fingerprints
    for need in task.needs:
        if TaskFiles(folder, need).read_record(prints[need]) is None:
            raise CallError(
                f"The task {task.name} needs {need}, which is not done; call hypercover run "
                "with --prepare first."
            )


@contextmanager
def _final_errors_kept(files: TaskFiles) -> Iterator[None]:
    """Leave an error that no restart will mend where those who started us find it."""
    try:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _lacks_memory(error):
                raise
            raise RunError(
                f"Process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} ran out of memory "
                "while it trained; take a smaller batch_size or fewer processes."
            ) from error
    except HypercoverError as error:
        files.write_failure(Failure.of(error))
        raise


def _lacks_memory(error: Exception) -> bool:
    """Tell whether an error is a lack of memory; on the CPU, PyTorch has no type for it."""
    from torch import OutOfMemoryError

    named = isinstance(error, MemoryError | OutOfMemoryError)
    return named or "can't allocate memory" in str(error)


def _training(folder: Path, task: Task) -> "NetworkTraining":
    """Return what a task trains."""
    from hypercover.experiment.tasks.network_training import NetworkTraining
    from hypercover.experiment.tasks.run_context import RunContext

    return NetworkTraining(RunContext.of(folder), **task.arguments)


def _train(folder: Path, task: Task) -> None:
    """Train the network of a task with the other ranks; the first keeps it."""
    training = _training(folder, task)
    with _group(training.setting.experiment.device) as first:
        # The first rank alone looks, and removes what is left of another experiment.
        if first:
            training.checkpoints.begin()
        if _agreed(first and training.checkpoints.trained() is not None):
            return
        network, facts = training.train(Reporter(TaskFiles(folder, task.name)))
        if first:
            training.checkpoints.keep(network, facts)


@contextmanager
def _group(device: str) -> Iterator[bool]:
    """Join the other ranks, each with a GPU of its own where there are; tell the first."""
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


def _agreed(first_says: bool) -> bool:
    """Return what the first rank says, in every rank."""
    import torch
    from torch import distributed

    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    said = torch.tensor([int(first_says)], device=device)
    distributed.broadcast(said, src=0)
    return bool(said.item())


def _end_with_starter() -> None:
    """Watch in a thread that those who started us live, and end when they do not.

    torchrun puts each rank into a session of its own, so nothing else would end
    the ranks of a launcher, or of a run, that was killed.
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
    """Tell whether somebody holds a file locked."""
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # Gone: so is whoever held it.
        return False
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
