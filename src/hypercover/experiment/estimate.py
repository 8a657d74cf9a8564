"""What each task of a plan will take: time and memory, and what that rests on.

A task is estimated by the mean of its kind that was measured in the same run
folder.  Otherwise a network is trained on a batch of noise here and now, by one core, for
about a second; everything else follows rules of thumb: counts of operations, and rates of
one core that were measured with hypercover's own code and rounded.  They are for asking a
batch system for enough, not for promises: a factor of three is nothing unusual.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np

from hypercover.experiment.config.factory import HELD, classifier_for, scene_for
from hypercover.experiment.config.schema import (
    ALL,
    CNNSpec,
    Experiment,
    ModelSpec,
    SVMSpec,
)
from hypercover.experiment.tasks.feature_tasks import chain_of
from hypercover.features.tree_of_shapes import PEAK_BYTES
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import TaskFiles

__all__ = ["Estimate", "estimates", "kind_of"]

_SOLVER_RATE = 2e9
"""Products of two features that one core adds up in a second while an SVM is solved."""
_SEARCH_RATE = 6e10
"""The same in a grid search, counted for each cell and fold, whose kernels are shared."""
_PASSES = 3
"""Passes forward that a step of training costs."""
_MOST_MEASURED = 64
"""Windows that are trained on to measure what one costs."""
_PYTHON, _TORCH = 350 * 2**20, 300 * 2**20
"""Bytes of a process with the packages it imports, and of PyTorch besides."""
_WINDOWS = 2**30
"""Bytes of windows that a training holds at most."""
_CACHE = 500 * 10**6
"""Bytes of kernel that an SVM keeps while it is fitted."""
_KERNELS = 2 * 2**30
"""Bytes of kernels that a search is given where two classes need less."""
_DENSE = 0.05
"""Share of a window's cost that a pixel of a dense pass over a scene has."""
_FLOAT = 4
_SMALL = 3.0
"""Seconds of a task that reads, draws and writes little."""


@dataclass(frozen=True)
class Estimate:
    """What a task is expected to take."""

    seconds: float
    """Wall time: on one core by the rules, as it was where it was measured."""
    memory: int
    """Bytes at the peak, by a rule of thumb."""
    measured: bool
    """Whether the time was measured, on tasks of the same kind in the same folder."""
    shared: bool
    """Whether several cores share the work."""

    def on(self, cores: int) -> float:
        """Return the seconds on so many cores; what was measured is left as it was.

        No number of cores makes starting, reading and writing quicker.

        Examples
        --------
        >>> Estimate(83.0, 0, measured=False, shared=True).on(8)
        13.0
        >>> Estimate(80.0, 0, measured=True, shared=True).on(8)
        80.0
        """
        if self.measured or not self.shared:
            return self.seconds
        return _SMALL + (self.seconds - _SMALL) / cores


@dataclass(frozen=True)
class _Sizes:
    """What the rules count with."""

    pixels: int
    bands: int
    labelled: int
    classes: int


def estimates(
    experiment: Experiment, plan: Plan, folder: str | Path
) -> Mapping[str, Estimate]:
    """Estimate every task of a plan, by name.

    Parameters
    ----------
    folder : where results of the same plan may lie
    """
    scene = scene_for(experiment.scene)
    sizes = _Sizes(
        scene.shape[0] * scene.shape[1],
        scene.n_bands,
        int((scene.usable_labels > 0).sum()),
        len(scene.legend),
    )
    measured = _measured(plan, folder)
    rules = _Rules(experiment, sizes)
    return {
        task.name: Estimate(
            measured.get(kind_of(task), rules.seconds(task)),
            rules.memory(task),
            kind_of(task) in measured,
            rules.shared(task),
        )
        for task in plan.tasks
    }


def kind_of(task: Task) -> tuple[str, str]:
    """Return what tasks that take about as long have in common: kind and model."""
    named = task.arguments.get("model", task.arguments.get("name", ""))
    return task.kind, str(named)


def _measured(plan: Plan, folder: str | Path) -> dict[tuple[str, str], float]:
    """Return the mean time of each kind of task that was done in a folder."""
    found = defaultdict(list)
    for task in plan.tasks:
        record = TaskFiles(folder, task.name).read_record(plan.fingerprints[task.name])
        if record is not None:
            found[kind_of(task)].append(record.seconds)
    return {kind: mean(seconds) for kind, seconds in found.items()}


class _Rules:
    """The rules of thumb for one experiment."""

    def __init__(self, experiment: Experiment, sizes: _Sizes) -> None:
        self.experiment, self.sizes = experiment, sizes
        self.cube = sizes.pixels * sizes.bands * _FLOAT
        self.held = min(self.cube, HELD)

    def seconds(self, task: Task) -> float:
        """Return the seconds of a task on one core."""
        rules: dict[str, Callable[[Mapping[str, Any]], float]] = {
            "draw_scene": lambda _: self.sizes.pixels * self.sizes.bands / 2e7,
            "make_split": lambda _: self.sizes.pixels / 1e5,
            "make_features": lambda _: self.sizes.pixels / 3e3,
            "train": self._training,
            "refit": self._training,
            "draw_map": self._mapping,
            "search_gamma": self._row,
        }
        rule = rules.get(task.kind)
        return _SMALL if rule is None else _SMALL + rule(task.arguments)

    def memory(self, task: Task) -> int:
        """Return the bytes of a task at its peak."""
        if task.kind == "make_features":
            return _PYTHON + 3 * self.held + self._chain(str(task.arguments["name"]))
        spec = self.experiment.models.get(task.arguments.get("model", ""))
        if spec is None:
            return _PYTHON + 3 * self.held
        width, train = self._width(spec), self._train(task.arguments.get("split", "main"))
        scene = 3 * (self.cube if isinstance(spec, CNNSpec) else self.held)
        if spec.features is not None:
            scene += self.sizes.pixels * width * _FLOAT
        if isinstance(spec, CNNSpec):
            windows = train * width * spec.window**2 * _FLOAT
            return _PYTHON + _TORCH + scene + min(windows, _WINDOWS)
        searched = isinstance(spec, SVMSpec) and spec.searched
        if (searched and task.kind != "refit") or task.kind == "search_gamma":
            return _PYTHON + scene + self._kernels(task, train)
        return _PYTHON + scene + 6 * train * width * _FLOAT + _CACHE

    def shared(self, task: Task) -> bool:
        """Tell whether more cores make a task quicker: most are read, fitted or drawn by one."""
        spec = self.experiment.models.get(task.arguments.get("model", ""))
        if task.kind == "refit":
            return isinstance(spec, CNNSpec)
        if task.kind == "train":
            return isinstance(spec, CNNSpec) or (
                isinstance(spec, SVMSpec) and spec.searched
            )
        return task.kind in ("search_gamma", "draw_map")

    def _chain(self, name: str) -> int:
        """Return the bytes that the features of a chain take while they are computed."""
        chain = chain_of(self.experiment, name)
        shapes = PEAK_BYTES if chain.reach is None else 0
        return self.sizes.pixels * (shapes + 2 * chain.outputs(self.sizes.bands) * _FLOAT)

    def _kernels(self, task: Task, train: int) -> int:
        """Return the bytes of the distances and kernels that a search would like to hold.

        It makes do with those of two classes at a time.
        """
        whole = task.kind == "search_gamma" and self.experiment.search.on == "all"
        samples = self.sizes.labelled if whole else train
        pair = min(samples, 4 * samples // max(1, self.sizes.classes))
        return min(3 * samples**2 * _FLOAT, max(3 * pair**2 * _FLOAT, _KERNELS))

    def _train(self, split: str) -> int:
        """Count the pixels that a split trains on: what it says, or half of all."""
        if split == ALL:
            return self.sizes.labelled
        share = getattr(self.experiment.splits.get(split), "train", None)
        if isinstance(share, float):
            return max(2, round(share * self.sizes.labelled))
        if isinstance(share, int):
            return min(share * self.sizes.classes, self.sizes.labelled)
        return self.sizes.labelled // 2

    def _width(self, spec: ModelSpec) -> int:
        """Count what a model sees of a pixel."""
        if spec.features is None:
            return self.sizes.bands
        return chain_of(self.experiment, spec.features).outputs(self.sizes.bands)

    def _training(self, given: Mapping[str, Any]) -> float:
        spec = self.experiment.models[given["model"]]
        train, width = self._train(given["split"]), self._width(spec)
        test = self.sizes.labelled - train
        if isinstance(spec, CNNSpec):
            passed = _epochs(spec, train) * train + _DENSE * test / _PASSES
            return passed * self._window(spec)
        if isinstance(spec, SVMSpec):
            tries = 0 if given["split"] == ALL else self._tries(spec)
            searched = train**2 * width * tries / _SEARCH_RATE
            return searched + train * (train + test / 2) * width / _SOLVER_RATE
        return self.sizes.labelled / 1e3

    def _mapping(self, given: Mapping[str, Any]) -> float:
        spec, pixels = self.experiment.models[given["model"]], self.sizes.pixels
        if isinstance(spec, CNNSpec):
            return _DENSE * pixels * self._window(spec) / _PASSES
        train = self._train(ALL if self.experiment.refits else "main")
        return pixels * train / 2 * self._width(spec) / _SOLVER_RATE

    def _row(self, given: Mapping[str, Any]) -> float:
        spec, search = self.experiment.models[given["model"]], self.experiment.search
        samples = self.sizes.labelled if search.on == "all" else self._train("main")
        width = getattr(spec, "nwfe", None) or self._width(spec)
        cells = len(given["costs"]) * search.folds
        return cells * samples**2 * width / _SEARCH_RATE

    def _window(self, spec: CNNSpec) -> float:
        """Return the seconds in which one core learns from a window."""
        return _seconds_a_window(
            spec.model_dump_json(), self._width(spec), max(2, self.sizes.classes)
        )

    def _tries(self, spec: SVMSpec) -> int:
        """Count the cells and folds that a training searches."""
        search = self.experiment.search
        gammas = search.gamma or search.gamma_scale
        return len(search.C) * len(gammas) * search.folds if spec.searched else 0


@cache
def _seconds_a_window(spec: str, bands: int, classes: int) -> float:
    """Train a network on a batch of noise by one core, and time its last passes.

    The first pass also pays for what is set up once.  Processor time is what counts, as
    others may be using the machine.
    """
    import torch

    read = CNNSpec.model_validate_json(spec)
    recipe = {key: value for key, value in (read.recipe or {}).items() if key != "patience"}
    plain = read.model_copy(
        update={"compile": False, "recipe": recipe or None, "epochs": 3}
    )
    network = classifier_for(plain, seed=0, device="cpu")
    count = max(classes, min(int(network.training_recipe().batch_size), _MOST_MEASURED))
    noise = np.random.default_rng(0).normal(size=(count, bands, read.window, read.window))
    ends: list[float] = []
    network.progress = lambda _: ends.append(process_time())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network.fit(noise.astype(np.float32), np.arange(count) % classes)
    finally:
        torch.set_num_threads(threads)
    return min(after - before for before, after in pairwise(ends)) / count


def _epochs(spec: CNNSpec, windows: int) -> int:
    """Count the passes of a training over its windows."""
    return int(classifier_for(spec, seed=0).training_recipe().epochs(windows))
