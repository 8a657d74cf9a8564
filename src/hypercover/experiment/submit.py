"""Sending an experiment to a batch system: its plan as job arrays in a run folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import CallError, HypercoverError
from hypercover.experiment.config.schema import CNNSpec
from hypercover.experiment.config.site import Scheduler
from hypercover.experiment.estimate import estimates
from hypercover.experiment.preparation import Prepared, prepare
from hypercover.experiment.tasks.experiment_plan import training_tasks
from hypercover.jobs.batch_system import check_there, is_there
from hypercover.jobs.job_arrays import Array, Kind, arrays_of
from hypercover.jobs.record import TaskFiles
from hypercover.jobs.resources import JobResources, clock
from hypercover.jobs.submission import (
    SYSTEMS,
    Submission,
    scripts_folder,
    submit_arrays,
    write_scripts,
)

__all__ = ["Sending", "missing_tasks", "send", "sending", "write_only"]

_USUAL = 3600
"""Seconds an element is given at least where nobody says a limit."""
_ROOM = 3
"""Times an estimate that an element is given."""
_LEAST = 2 * 2**30
"""Bytes an element is given at least where nobody says how many."""
_GIB = 2**30


@dataclass(frozen=True)
class Sending:
    """Job arrays that are ready to be sent, and what they were made of."""

    prepared: Prepared
    """Plan and folder."""
    scheduler: Scheduler
    """Name of the batch system."""
    wanted: JobResources
    """What each element is given, with a time limit and memory."""
    arrays: tuple[Array, ...]
    """The arrays."""
    seconds: Mapping[str, float]
    """What each task is expected to take with the cores of an element."""

    @property
    def processes(self) -> int:
        """Processes of a machine that train a network together."""
        return self.prepared.experiment.processes

    @property
    def beyond(self) -> list[str]:
        """Name the tasks that the time limit is expected to stop, and that then go on."""
        limit = self.wanted.time or math.inf
        elements = [element for array in self.arrays for element in array.elements]
        return [name for one in elements for name in one if self.seconds[name] > limit]


def missing_tasks(prepared: Prepared) -> list[str]:
    """Name the tasks of a plan that have no result yet."""
    plan, folder = prepared.plan, prepared.folder
    return [
        task.name
        for task in plan.ordered
        if TaskFiles(folder, task.name).read_record(plan.fingerprints[task.name]) is None
    ]


def sending(prepared: Prepared, scheduler: Scheduler, wanted: JobResources) -> Sending:
    """Sort what is missing of a plan into job arrays; nothing is written.

    Raises
    ------
    CallError
        If the time limit is shorter than the estimate of a task that cannot go on
        where it was stopped, or the batch system cannot be asked for what is wanted.
    """
    names = missing_tasks(prepared)
    guessed = estimates(prepared.experiment, prepared.plan, prepared.folder)
    kinds = _kinds(prepared, wanted)
    cores = {gpus: wanted.share(gpus=gpus).cpus for gpus in (True, False)}
    seconds = {
        name: guess.on(cores[kinds.get(name, "plain") != "plain"])
        for name, guess in guessed.items()
    }
    # Each of the processes that train a network holds the scene and its windows.
    each = prepared.experiment.processes
    memory = {
        name: guess.memory * (each if kinds.get(name) == "ranks" else 1)
        for name, guess in guessed.items()
    }
    trained = set() if prepared.search else set(training_tasks(prepared.experiment))
    for name in names:
        if wanted.time is not None and seconds[name] > wanted.time and name not in trained:
            raise CallError(
                f"The task {name} is expected to take {clock(math.ceil(seconds[name]))}, more "
                f"than the time limit of {clock(wanted.time)}; give a longer --time or more "
                "--cpus."
            )
    arrays = arrays_of(
        prepared.plan,
        names,
        kinds=kinds,
        seconds=seconds,
        chunk=wanted.array_chunk,
        limit=wanted.time or math.inf,
        most=_most_elements(scheduler, wanted),
    )
    full = wanted.model_copy(update=_defaults(wanted, arrays, seconds, memory))
    for array in arrays:
        # What cannot be asked of the system is refused before anything is written.
        given = full.share(gpus=array.kind != "plain")
        SYSTEMS[scheduler].head(
            array, given, prepared.title, scripts_folder(prepared.folder), umask="0022"
        )
    return Sending(prepared, scheduler, full, arrays, seconds)


def send(asked: Sending) -> Submission:
    """Write plan, experiment and scripts into the run folder, and send the scripts.

    Raises
    ------
    CallError
        If other jobs or a run are at work there, or the batch system refuses.
    OutputError
        If the folder cannot be written.
    """
    folder = asked.prepared.folder
    check_there(SYSTEMS[asked.scheduler])
    prepare(asked.prepared)
    return submit_arrays(
        asked.arrays,
        asked.scheduler,
        asked.wanted,
        plan=asked.prepared.plan,
        folder=folder,
        processes=asked.processes,
        title=asked.prepared.title,
    )


def write_only(asked: Sending) -> list[Path]:
    """Write what `send` would, and send nothing; return the scripts."""
    prepare(asked.prepared)
    return write_scripts(
        asked.arrays,
        SYSTEMS[asked.scheduler],
        asked.wanted,
        folder=asked.prepared.folder,
        processes=asked.processes,
        title=asked.prepared.title,
    )


def _most_elements(scheduler: Scheduler, wanted: JobResources) -> int | None:
    """Return how many elements an array may have, where the batch system can be asked."""
    system = SYSTEMS[scheduler]
    if not is_there(system):
        return None
    partitions = {wanted.share(gpus=gpus).partition for gpus in (True, False)}
    try:
        sizes = [system.most_elements(partition) for partition in partitions]
    except HypercoverError:
        return None  # what is wrong is said when something is sent
    return min((size for size in sizes if size), default=None)


def _kinds(prepared: Prepared, wanted: JobResources) -> dict[str, Kind]:
    """Say which tasks run on GPUs, and which are trained by several processes."""
    if prepared.search:
        return {}
    experiment = prepared.experiment
    networks = [n for n, spec in experiment.models.items() if isinstance(spec, CNNSpec)]
    kinds: dict[str, Kind] = {}
    if wanted.gpus:
        kinds |= {f"map-{name}": "gpu" for name in networks}
    several = wanted.nodes * experiment.processes > 1
    for name in training_tasks(experiment):  # on all labelled pixels as well
        if several or wanted.gpus:
            kinds[name] = "ranks" if several else "gpu"
    return kinds


def _defaults(
    wanted: JobResources,
    arrays: Sequence[Array],
    seconds: Mapping[str, float],
    memory: Mapping[str, int],
) -> dict[str, int]:
    """Return time limit and memory where nobody said any."""
    found: dict[str, int] = {}
    elements = [element for array in arrays for element in array.elements]
    if wanted.time is None:
        longest = max((sum(seconds[n] for n in one) for one in elements), default=0.0)
        found["time"] = max(_USUAL, 60 * math.ceil(_ROOM * longest / 60))
    if wanted.memory is None and wanted.memory_per_cpu is None:
        plain = [array for array in arrays if array.kind == "plain" or not wanted.gpus]
        found["memory"] = _room(plain, memory)
        if wanted.gpus and wanted.gpu_memory is None:
            found["gpu_memory"] = _room([a for a in arrays if a not in plain], memory)
    return found


def _room(arrays: Sequence[Array], memory: Mapping[str, int]) -> int:
    """Return the bytes that the largest task needs, with room."""
    names = (name for array in arrays for element in array.elements for name in element)
    most = max((memory[name] for name in names), default=0)
    return max(_LEAST, _GIB * math.ceil(1.5 * most / _GIB))
