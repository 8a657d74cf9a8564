"""Submission of an experiment: what its tasks take, and job arrays of a batch system.

The time of a task is the mean over tasks of the same kind that were done in the same run
folder.  Memory is estimated from the size of the arrays that a task holds.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from hypercover.errors import CallError, HypercoverError
from hypercover.experiment.config.builders import MAX_CUBE_BYTES, load_scene
from hypercover.experiment.config.schema import ALL, CNNSpec, Experiment, ModelSpec, SVMSpec
from hypercover.experiment.config.site import Scheduler
from hypercover.experiment.run import PreparedRun, prepare
from hypercover.experiment.tasks.experiment_plan import network_tasks
from hypercover.experiment.tasks.run_context import parse_chain
from hypercover.features.tree_of_shapes import PEAK_BYTES
from hypercover.jobs.batch_system import SYSTEMS, ArrayKind, JobArray
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.resources import JobResources, format_time
from hypercover.jobs.submission import (
    ArrayBatch,
    Submission,
    array_script,
    make_job_arrays,
    submit_arrays,
    write_scripts,
)
from hypercover.jobs.task_files import task_record

_DEFAULT_TIME = 3600
"""Seconds of the shortest time limit that is chosen without ``--time``."""
_TIME_MARGIN = 3
"""The chosen time limit over the expected time of the longest element."""
_MINUTE = 60.0
"""Seconds per unit of weight, for a task whose kind was never measured."""
_DEFAULT_MEMORY = 2 * 2**30
"""Bytes of the smallest memory that is chosen without ``--mem``."""
_GIB = 2**30
_PYTHON, _TORCH = 350 * 2**20, 300 * 2**20
"""Bytes of a process with the packages it imports, and of PyTorch in addition."""
_WINDOWS = 2**30
"""Bytes of windows that a training holds at most."""
_CACHE = 500 * 10**6
"""Bytes of kernel that an SVM keeps while it is fitted."""
_KERNELS = 2 * 2**30
"""Bytes of kernels that a search is given where two classes need less."""
_FLOAT = 4


def measured_seconds(plan: Plan, folder: str | Path) -> dict[str, float]:
    """Return the seconds each task takes, by name, as far as its kind was measured.

    A kind is a function and a model: the mean over those that are done in the folder
    stands for all of them.
    """
    measured = defaultdict(list)
    for task in plan.tasks:
        record = task_record(plan, folder, task.name)
        if record is not None:
            measured[_kind(task)].append(record.seconds)
    return {
        task.name: mean(measured[_kind(task)])
        for task in plan.tasks
        if _kind(task) in measured
    }


def _kind(task: Task) -> tuple[str, str]:
    model = task.arguments.get("model", task.arguments.get("name", ""))
    return task.kind, str(model)


def memory_of_tasks(experiment: Experiment, plan: Plan) -> Mapping[str, int]:
    """Estimate the bytes that each task of a plan holds at its peak, by name."""
    scene = load_scene(experiment.scene)
    memory = TaskMemory(
        experiment,
        pixels=scene.shape[0] * scene.shape[1],
        bands=scene.n_bands,
        labelled=int((scene.usable_labels > 0).sum()),
        classes=len(scene.legend),
    )
    return {task.name: memory.of(task) for task in plan.tasks}


@dataclass(frozen=True, kw_only=True)
class TaskMemory:
    """The memory of the tasks of an experiment by rules of thumb, from the size of its scene."""

    experiment: Experiment = field(kw_only=False)
    """The experiment."""
    pixels: int
    """Pixels of the scene."""
    bands: int
    """Its bands."""
    labelled: int
    """Its labelled pixels."""
    classes: int
    """Its classes."""

    def of(self, task: Task) -> int:
        """Return the bytes of a task at its peak."""
        cube = self.pixels * self.bands * _FLOAT
        held = min(cube, MAX_CUBE_BYTES)
        if task.kind == "make_features":
            return _PYTHON + 3 * held + self._chain(str(task.arguments["name"]))
        spec = self.experiment.models.get(task.arguments.get("model", ""))
        if spec is None:
            return _PYTHON + 3 * held
        width = self._width(spec)
        train = self._n_train(task.arguments.get("split", "main"))
        scene = 3 * (cube if isinstance(spec, CNNSpec) else held)
        if spec.features is not None:
            scene += self.pixels * width * _FLOAT
        if isinstance(spec, CNNSpec):
            windows = train * width * spec.window**2 * _FLOAT
            return _PYTHON + _TORCH + scene + min(windows, _WINDOWS)
        searched = isinstance(spec, SVMSpec) and spec.searched
        if (searched and task.kind != "refit") or task.kind == "search_gamma":
            return _PYTHON + scene + self._kernels(task, train)
        return _PYTHON + scene + 6 * train * width * _FLOAT + _CACHE

    def _chain(self, name: str) -> int:
        """Return the bytes that the features of a chain take while they are computed."""
        chain = parse_chain(self.experiment, name)
        shapes = PEAK_BYTES if chain.reach is None else 0
        return self.pixels * (shapes + 2 * chain.outputs(self.bands) * _FLOAT)

    def _kernels(self, task: Task, train: int) -> int:
        """Return the bytes of the distances and kernels that a search would like to hold.

        It makes do with those of two classes at a time.
        """
        whole = task.kind == "search_gamma" and self.experiment.search.on == "all"
        samples = self.labelled if whole else train
        pair = min(samples, 4 * samples // max(1, self.classes))
        return min(3 * samples**2 * _FLOAT, max(3 * pair**2 * _FLOAT, _KERNELS))

    def _n_train(self, split: str) -> int:
        """Count the training pixels of a split: by its share, or else half of all labels."""
        if split == ALL:
            return self.labelled
        share = getattr(self.experiment.splits.get(split), "train", None)
        if isinstance(share, float):
            return max(2, round(share * self.labelled))
        if isinstance(share, int):
            return min(share * self.classes, self.labelled)
        return self.labelled // 2

    def _width(self, spec: ModelSpec) -> int:
        """Count the values of a pixel that a model sees."""
        if spec.features is None:
            return self.bands
        return parse_chain(self.experiment, spec.features).outputs(self.bands)


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
    plan, folder = prepared.plan, prepared.folder
    names = [t.name for t in plan.ordered if task_record(plan, folder, t.name) is None]
    measured = measured_seconds(plan, folder)
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
    batch = ArrayBatch(
        plan,
        prepared.folder,
        prepared.title,
        scheduler,
        full,
        arrays,
        prepared.experiment.processes,
    )
    for array in arrays:
        # Raises what the batch system cannot provide before anything is written.
        array_script(batch, array, [])
    return batch


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


def send(prepared: PreparedRun, batch: ArrayBatch) -> Submission:
    """Write plan, experiment and scripts into the run folder, and submit the scripts.

    Raises
    ------
    CallError
        If jobs or another run are at work there, or the batch system refuses.
    OutputError
        If the folder cannot be written.
    """
    batch.system.check_commands()
    prepare(prepared)
    return submit_arrays(batch)


def write_only(prepared: PreparedRun, batch: ArrayBatch) -> list[Path]:
    """Write what `send` writes without submitting it; return the scripts."""
    prepare(prepared)
    return write_scripts(batch)


def _most_elements(scheduler: Scheduler, resources: JobResources) -> int | None:
    """Return how many elements an array may have, if the batch system can tell."""
    system = SYSTEMS[scheduler]
    if not system.is_available():
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
        longest = max((sum(seconds[n] for n in names) for names in elements), default=0.0)
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
