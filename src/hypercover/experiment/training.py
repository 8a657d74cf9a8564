"""Training the network of one task so that it survives being killed.

The same steps in the task of a run and in each of its processes: what is
trained, on which pixels, where it goes on from, and what is said of it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from hypercover.errors import RunError
from hypercover.experiment.checkpoints import Checkpoints
from hypercover.experiment.curves import Curves
from hypercover.experiment.features import scene_for_model
from hypercover.experiment.plan import decider, name_of
from hypercover.experiment.schema import ALL, CNNSpec
from hypercover.experiment.stages import classifier_for
from hypercover.experiment.torchrun import run_ranks
from hypercover.experiment.trial import fit
from hypercover.jobs.record import result_of

if TYPE_CHECKING:
    from hypercover.experiment.setting import Setting

__all__ = ["Training", "training_facts"]

Report = Callable[[float, str], None]
Trained = tuple[Any, dict[str, Any]]


def training_facts(
    trained: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer]
) -> dict[str, Any]:
    """Count the pixels (y, x) that a model is trained on, and those of each class.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0, 7]])
    >>> training_facts(labels > 0, labels)
    {'pixels': 3, 'per_class': {'1': 2, '7': 1}}
    """
    codes, counts = np.unique(labels[trained], return_counts=True)
    per_class = dict(zip(map(str, codes.tolist()), counts.tolist(), strict=True))
    return {"pixels": int(counts.sum()), "per_class": per_class}


@dataclass(frozen=True)
class Training:
    """One network to be trained on one split with one seed."""

    setting: "Setting"
    """The run it belongs to."""
    model: str
    """Name of the model."""
    split: str
    """Name of the split, or ``all`` for all labelled pixels."""
    seed: int
    """Seed of the split and of the weights."""

    @property
    def task(self) -> str:
        """Name of the task."""
        return name_of(self.split, self.seed, self.model)

    @property
    def wanted(self) -> bool:
        """Whether the model is needed: not on all pixels where another maps."""
        if self.split != ALL or self.setting.experiment.map != "best":
            return True
        decided = decider(self.setting.experiment, self.model)
        best: str | None = result_of(self.setting.folder.path, decided)["best"]
        return best == self.model

    @property
    def spec(self) -> CNNSpec:
        """What the experiment says of the network, as it is trained here.

        On all labelled pixels none is left to stop early by: training then takes the
        passes that did best on the validation pixels of the split.
        """
        experiment = self.setting.experiment
        spec = cast(CNNSpec, experiment.models[self.model])
        if self.split != ALL:
            return spec
        changes: dict[str, Any] = {"windows": None}
        if (spec.recipe or {}).get("patience") is not None:
            trained = name_of("main", experiment.seed, self.model)
            curve = result_of(self.setting.folder.path, trained)["curve"]
            recipe = {**(spec.recipe or {}), "patience": None}
            changes |= {"recipe": recipe, "epochs": curve[-1]["best_epoch"]}
        return spec.model_copy(update=changes)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Where it keeps what it needs to go on."""
        return Checkpoints.of(self.setting.folder, self.setting.experiment, self.task)

    def forget(self) -> None:
        """Remove what it kept: it is done."""
        self.checkpoints.remove()

    def trained(self, report: Report) -> Trained:
        """Return the trained network, and how it was trained.

        It is trained in this process or, where the experiment asks for several,
        in those; one that others have trained already is taken as it is.
        """
        processes = self.setting.experiment.processes
        device = self.setting.experiment.device
        kept = self.checkpoints.trained(device)
        if kept is None and processes == 1:
            return self.train(report)
        if kept is None:
            self.checkpoints.begin()
            run_ranks(self.setting.folder.path, self.task, processes, report)
            kept = self.checkpoints.trained(device)
        if kept is None:
            raise RunError(
                f"The processes of {self.task} ended without a trained network; run again."
            )
        return kept

    def train(self, report: Report) -> Trained:
        """Train in this process, alone or as one of several."""
        setting, spec = self.setting, self.spec
        device = setting.experiment.device
        network = classifier_for(spec, seed=self.seed, device=device)
        live = setting.experiment.tensorboard
        events = setting.folder.tensorboard(self.task) if live else None
        with Curves(self.task, report, events) as network.progress:
            seconds = fit(
                network,
                scene_for_model(setting, spec),
                setting.load_split(self.split, self.seed),
                window=spec.window,
                windows=spec.windows,
                checkpoint=self.checkpoints.begin(),
            )
        network.progress = None
        return network, _facts(network, seconds)


def _facts(network: Any, seconds: float) -> dict[str, Any]:
    """Say how a network was trained, as the metrics have it."""
    history = network.history_
    # A training that went on counts what was done before.
    whole = max(seconds, *(record["seconds"] for record in history[-1:]))
    facts = {
        "device": _device(network),
        "precision": network.precision,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "epochs": len(history),
        "samples": history[-1]["samples"],
    }
    return {"train_seconds": whole, "training": facts}


def _device(network: Any) -> str:
    """Name the device a network was trained on."""
    from torch import cuda

    on_gpu = next(network.network_.parameters()).is_cuda
    return cuda.get_device_name() if on_gpu else "cpu"
