"""Submission of an experiment: the tasks of its plan as job arrays of a batch system."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import CallError, HypercoverError
from hypercover.experiment.config.schema import CNNSpec
from hypercover.experiment.config.site import Scheduler
from hypercover.experiment.estimate import measured_seconds, memory_of_tasks
from hypercover.experiment.preparation import PreparedRun, prepare
from hypercover.experiment.tasks.experiment_plan import network_tasks
from hypercover.jobs.batch_system import check_commands, is_available
from hypercover.jobs.job_arrays import ArrayKind, JobArray, make_job_arrays
from hypercover.jobs.record import task_record
from hypercover.jobs.resources import JobResources, format_time
from hypercover.jobs.submission import (
    SYSTEMS,
    Submission,
    scripts_folder,
    submit_arrays,
    write_scripts,
)

_DEFAULT_TIME = 3600
"""Seconds of the shortest time limit that is chosen without ``--time``."""
_TIME_MARGIN = 3
"""The chosen time limit over the expected time of the longest element."""
_MINUTE = 60.0
"""Seconds per unit of weight, for a task whose kind was never measured."""
_DEFAULT_MEMORY = 2 * 2**30
"""Bytes of the smallest memory that is chosen without ``--mem``."""
_GIB = 2**30


@dataclass(frozen=True)
class ArrayBatch:
    """Job arrays that are ready to be submitted."""

    prepared: PreparedRun
    """Plan and folder."""
    scheduler: Scheduler
    """Name of the batch system."""
    resources: JobResources
    """What each element is given, with a time limit and memory."""
    arrays: tuple[JobArray, ...]
    """The arrays."""

    @property
    def processes(self) -> int:
        """Processes of a machine that train a network together."""
        return self.prepared.experiment.processes


def missing_tasks(prepared: PreparedRun) -> list[str]:
    """Name the tasks of a plan that have no result yet."""
    plan, folder = prepared.plan, prepared.folder
    return [t.name for t in plan.ordered if task_record(plan, folder, t.name) is None]


def make_arrays(
    prepared: PreparedRun, scheduler: Scheduler, resources: JobResources
) -> ArrayBatch:
    """Sort the missing tasks of a plan into job arrays; nothing is written.

    Raises
    ------
    CallError
        If the time limit is shorter than the measured time of a task that cannot resume,
        or the batch system cannot provide the resources.
    """
    plan, names = prepared.plan, missing_tasks(prepared)
    measured = measured_seconds(plan, prepared.folder)
    _check_time(prepared, names, measured, resources.time)
    # Tasks that were never measured are only grouped by their weight.
    seconds = {task.name: _MINUTE * task.weight for task in plan.tasks} | measured
    kinds = _kinds(prepared, resources)
    arrays = make_job_arrays(
        plan,
        names,
        kinds=kinds,
        seconds=seconds,
        chunk=resources.array_chunk,
        limit=resources.time or math.inf,
        most=_most_elements(scheduler, resources),
    )
    memory = dict(memory_of_tasks(prepared.experiment, plan))
    for name, kind in kinds.items():
        # Each of the processes that train a network holds the scene and its windows.
        memory[name] *= prepared.experiment.processes if kind == "ranks" else 1
    full = resources.model_copy(update=_defaults(resources, arrays, seconds, memory))
    for array in arrays:
        # Raises what the batch system cannot provide before anything is written.
        SYSTEMS[scheduler].header(
            array,
            full.share(gpus=array.kind != "plain"),
            prepared.title,
            scripts_folder(prepared.folder),
            umask="0022",
        )
    return ArrayBatch(prepared, scheduler, full, arrays)


def _check_time(
    prepared: PreparedRun,
    names: Iterable[str],
    measured: Mapping[str, float],
    limit: int | None,
) -> None:
    """Refuse a time limit below the measured time of a task; trainings of networks resume."""
    resumed = set() if prepared.search else set(network_tasks(prepared.experiment))
    for name in names:
        seconds = measured.get(name, 0.0)
        if limit is not None and seconds > limit and name not in resumed:
            raise CallError(
                f"The task {name} is expected to take {format_time(math.ceil(seconds))}, more than "
                f"the time limit of {format_time(limit)}; give a longer --time."
            )


def send(batch: ArrayBatch) -> Submission:
    """Write plan, experiment and scripts into the run folder, and submit the scripts.

    Raises
    ------
    CallError
        If jobs or another run are at work there, or the batch system refuses.
    OutputError
        If the folder cannot be written.
    """
    check_commands(SYSTEMS[batch.scheduler])
    prepare(batch.prepared)
    return submit_arrays(
        batch.arrays,
        batch.scheduler,
        batch.resources,
        plan=batch.prepared.plan,
        folder=batch.prepared.folder,
        processes=batch.processes,
        title=batch.prepared.title,
    )


def write_only(batch: ArrayBatch) -> list[Path]:
    """Write what `send` writes without submitting it; return the scripts."""
    prepare(batch.prepared)
    return write_scripts(
        batch.arrays,
        SYSTEMS[batch.scheduler],
        batch.resources,
        folder=batch.prepared.folder,
        processes=batch.processes,
        title=batch.prepared.title,
    )


def _most_elements(scheduler: Scheduler, resources: JobResources) -> int | None:
    """Return how many elements an array may have, if the batch system can tell."""
    system = SYSTEMS[scheduler]
    if not is_available(system):
        return None
    partitions = {resources.share(gpus=gpus).partition for gpus in (True, False)}
    try:
        sizes = [system.max_array_size(partition) for partition in partitions]
    except HypercoverError:
        return None  # submitting raises the error
    return min((size for size in sizes if size), default=None)


def _kinds(prepared: PreparedRun, resources: JobResources) -> dict[str, ArrayKind]:
    """Return the tasks that run on GPUs or in several processes, by name."""
    if prepared.search:
        return {}
    experiment = prepared.experiment
    networks = [n for n, spec in experiment.models.items() if isinstance(spec, CNNSpec)]
    kinds: dict[str, ArrayKind] = {}
    if resources.gpus:
        kinds |= {f"map-{name}": "gpu" for name in networks}
    several = resources.nodes * experiment.processes > 1
    if several or resources.gpus:
        trained = network_tasks(experiment)
        kinds |= dict.fromkeys(trained, "ranks" if several else "gpu")
    names = {task.name for task in prepared.plan.tasks}
    return {name: kind for name, kind in kinds.items() if name in names}


def _defaults(
    resources: JobResources,
    arrays: Iterable[JobArray],
    seconds: Mapping[str, float],
    memory: Mapping[str, int],
) -> dict[str, int]:
    """Choose the time limit and memory that were not given."""
    chosen: dict[str, int] = {}
    elements = [element for array in arrays for element in array.elements]
    if resources.time is None:
        longest = max((sum(seconds[n] for n in one) for one in elements), default=0.0)
        chosen["time"] = max(_DEFAULT_TIME, 60 * math.ceil(_TIME_MARGIN * longest / 60))
    if resources.memory is None and resources.memory_per_cpu is None:
        plain = [array for array in arrays if array.kind == "plain" or not resources.gpus]
        chosen["memory"] = _largest(plain, memory)
        if resources.gpus and resources.gpu_memory is None:
            chosen["gpu_memory"] = _largest([a for a in arrays if a not in plain], memory)
    return chosen


def _largest(arrays: Iterable[JobArray], memory: Mapping[str, int]) -> int:
    """Return the bytes of the largest task with a margin of one half, in whole GiB."""
    names = (name for array in arrays for element in array.elements for name in element)
    most = max((memory[name] for name in names), default=0)
    return max(_DEFAULT_MEMORY, _GIB * math.ceil(1.5 * most / _GIB))
