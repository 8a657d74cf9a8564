"""What each task of a plan takes: memory by rules of thumb, time where it was measured.

The time of a task is the mean over tasks of the same kind that were done in the same run
folder.  Memory is estimated from the size of the arrays that a task holds.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from hypercover.experiment.config.builders import MAX_CUBE_BYTES, load_scene
from hypercover.experiment.config.schema import (
    ALL,
    CNNSpec,
    Experiment,
    ModelSpec,
    SVMSpec,
)
from hypercover.experiment.tasks.run_context import parse_chain
from hypercover.features.tree_of_shapes import PEAK_BYTES
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import task_record

_PYTHON, _TORCH = 350 * 2**20, 300 * 2**20
"""Bytes of a process with the packages it imports, and of PyTorch in addition."""
_WINDOWS = 2**30
"""Bytes of windows that a training holds at most."""
_CACHE = 500 * 10**6
"""Bytes of kernel that an SVM keeps while it is fitted."""
_KERNELS = 2 * 2**30
"""Bytes of kernels that a search is given where two classes need less."""
_FLOAT = 4


@dataclass(frozen=True)
class SceneSize:
    """The counts that memory depends on."""

    pixels: int
    bands: int
    labelled: int
    classes: int


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
    size = SceneSize(
        scene.shape[0] * scene.shape[1],
        scene.n_bands,
        int((scene.usable_labels > 0).sum()),
        len(scene.legend),
    )
    memory = TaskMemory(experiment, size)
    return {task.name: memory.of(task) for task in plan.tasks}


class TaskMemory:
    """The memory of the tasks of one experiment, by rules of thumb."""

    def __init__(self, experiment: Experiment, size: SceneSize) -> None:
        self.experiment, self.size = experiment, size
        self.cube = size.pixels * size.bands * _FLOAT
        self.held = min(self.cube, MAX_CUBE_BYTES)

    def of(self, task: Task) -> int:
        """Return the bytes of a task at its peak."""
        if task.kind == "make_features":
            return _PYTHON + 3 * self.held + self._chain(str(task.arguments["name"]))
        spec = self.experiment.models.get(task.arguments.get("model", ""))
        if spec is None:
            return _PYTHON + 3 * self.held
        width = self._width(spec)
        train = self._n_train(task.arguments.get("split", "main"))
        scene = 3 * (self.cube if isinstance(spec, CNNSpec) else self.held)
        if spec.features is not None:
            scene += self.size.pixels * width * _FLOAT
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
        return self.size.pixels * (shapes + 2 * chain.outputs(self.size.bands) * _FLOAT)

    def _kernels(self, task: Task, train: int) -> int:
        """Return the bytes of the distances and kernels that a search would like to hold.

        It makes do with those of two classes at a time.
        """
        whole = task.kind == "search_gamma" and self.experiment.search.on == "all"
        samples = self.size.labelled if whole else train
        pair = min(samples, 4 * samples // max(1, self.size.classes))
        return min(3 * samples**2 * _FLOAT, max(3 * pair**2 * _FLOAT, _KERNELS))

    def _n_train(self, split: str) -> int:
        """Count the training pixels of a split: by its share, or else half of all labels."""
        if split == ALL:
            return self.size.labelled
        share = getattr(self.experiment.splits.get(split), "train", None)
        if isinstance(share, float):
            return max(2, round(share * self.size.labelled))
        if isinstance(share, int):
            return min(share * self.size.classes, self.size.labelled)
        return self.size.labelled // 2

    def _width(self, spec: ModelSpec) -> int:
        """Count the values of a pixel that a model sees."""
        if spec.features is None:
            return self.size.bands
        return parse_chain(self.experiment, spec.features).outputs(self.size.bands)
