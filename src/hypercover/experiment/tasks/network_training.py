"""Training of the network of one task, with checkpoints from which it resumes.

The task of a run and each of its processes take the same steps.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from hypercover.errors import ExperimentError, ModelError, RunError
from hypercover.experiment.config.builders import build_classifier
from hypercover.experiment.config.schema import ALL, CNNSpec, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import (
    best_model_task,
    make_plan,
    task_name,
)
from hypercover.experiment.tasks.feature_tasks import model_scene
from hypercover.experiment.tasks.torchrun import run_ranks
from hypercover.experiment.tasks.trial import fit_classifier
from hypercover.figures.formatting import format_duration, format_percent
from hypercover.files import make_folder, write_text
from hypercover.jobs.record import result_of
from hypercover.types import Codes, Mask, Report

if TYPE_CHECKING:
    from hypercover.experiment.tasks.run_context import RunContext


_SCALARS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning rate",
}
"""Names of a record's values and of their charts in TensorBoard."""

_log = logging.getLogger(__name__)


class Curves:
    """Reports the progress of a training by epoch, and writes its curves for TensorBoard.

    Parameters
    ----------
    task : str
        Name of the task that trains, for the log.
    report : callable
        Called with the share done and a message.
    events : path, optional
        Folder of TensorBoard's event files; None writes none.
    """

    def __init__(self, task: str, report: Report, events: Path | None = None) -> None:
        self._task, self._report, self._folder = task, report, events
        self._writer: Any = None
        self._began, self._first = time.monotonic(), 0

    def __enter__(self) -> Self:
        """Begin; the time left is estimated from here."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write the remaining events."""
        if self._writer is not None:
            self._writer.close()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Report the record of an epoch."""
        epoch, epochs = int(record["epoch"]), int(record["epochs"])
        if not self._first:
            self._begin(epoch, epochs)
        done = epoch - self._first + 1
        left = (time.monotonic() - self._began) / done * (epochs - epoch)
        parts = [f"epoch {epoch} of {epochs} ({format_duration(left)} left)"]
        parts.append(f"loss {record['loss']:.3f}")
        if "validation_accuracy" in record:
            parts.append(f"validation {format_percent(record['validation_accuracy'])} %")
        self._report(epoch / epochs, ", ".join(parts))
        if self._writer is not None:
            self._write(record)

    def _begin(self, epoch: int, epochs: int) -> None:
        """Note the epoch at which the training begins or resumes."""
        self._first = epoch
        if epoch > 1:
            _log.warning(
                "%s resumes at epoch %d of %d, from its checkpoint.",
                self._task,
                epoch,
                epochs,
            )
        if self._folder is not None:
            self._writer = _event_writer(self._folder, epoch)

    def _write(self, record: Mapping[str, Any]) -> None:
        for name, chart in _SCALARS.items():
            if name in record:
                self._writer.add_scalar(chart, record[name], int(record["epoch"]))
        self._writer.flush()


def _event_writer(folder: Path, epoch: int) -> Any:
    """Open TensorBoard's event files, without later points of an interrupted training."""
    from torch.utils.tensorboard import SummaryWriter

    if epoch == 1:
        shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder), purge_step=epoch)


def check_tensorboard() -> None:
    """Refuse ``tensorboard: true`` if TensorBoard is not installed.

    Raises
    ------
    ExperimentError
    """
    if find_spec("tensorboard") is None:
        raise ExperimentError(
            "tensorboard: true needs the package tensorboard, which is not installed; "
            "install it with pip install 'hypercover[tensorboard]', or set "
            "tensorboard: false."
        )


_RUNNERS = {"device": "auto", "processes": 1}
"""Settings that may change when a training resumes."""

_UNRELATED = {"name", "map", "map_from", "tensorboard", "search", "gap", "notes"}
"""Settings that the training of a network does not depend on."""

_SHOWN = 4

_FINGERPRINT = re.compile("[0-9a-f]{16,128}")

_ASIDE = "aside"
"""Folder of the checkpoints of other experiments, next to those of the tasks."""


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder with the checkpoints of one training.

    It is marked with the fingerprint of the experiment, so that a training never resumes
    from another experiment.  It may resume on another device and with another number of
    processes.
    """

    path: Path
    """``checkpoints/TASK`` in the run folder."""
    fingerprint: str
    """Hash of everything the task depends on, except device and processes."""

    @classmethod
    def of(cls, run: RunFolder, experiment: Experiment, task: str) -> "CheckpointFolder":
        """Return the folder of a task; what another experiment left in it is removed."""
        made = cls(run.checkpoints / task, _fingerprints(experiment)[task])
        if not made.ours:
            made.remove()
        return made

    def begin(self) -> Path:
        """Create the folder and return it."""
        make_folder(self.path)
        write_text(self._mark, f"{self.fingerprint}\n")
        return self.path

    @property
    def ours(self) -> bool:
        """Whether its content belongs to this experiment."""
        return self._recorded() == self.fingerprint

    def set_aside(self) -> bool:
        """Move the folder of another experiment to where that experiment finds it again.

        Returns
        -------
        whether it held a checkpoint or trained network; otherwise it is removed
        """
        recorded = self._recorded()
        if not recorded or not (self.under_way or self._trained.exists()):
            self.remove()
            return False
        place = self._aside(recorded)
        shutil.rmtree(place, ignore_errors=True)
        make_folder(place.parent)
        os.replace(self.path, place)
        return True

    def restore(self) -> None:
        """Move back what was set aside while another experiment ran."""
        place = self._aside(self.fingerprint)
        if place.is_dir() and not self.path.exists():
            os.replace(place, self.path)
            with suppress(OSError):
                place.parent.rmdir()

    @property
    def under_way(self) -> bool:
        """Whether there is a checkpoint from which the training can resume."""
        return any(self.path.glob("step-*.json"))

    def keep(self, classifier: Any, facts: dict[str, Any]) -> None:
        """Save a trained network for the task that evaluates it."""
        from hypercover.classifiers.bundle import save_bundle

        save_bundle(self._trained, classifier, facts)

    def trained(self, device: str = "auto") -> tuple[Any, dict[str, Any]] | None:
        """Load the trained network and the facts of its training, if there are any.

        ``device`` is the device on which it will compute.
        """
        from hypercover.classifiers.bundle import load_bundle

        try:
            bundle = load_bundle(self._trained, device=device)
            facts = {name: bundle.card[name] for name in ("train_seconds", "training")}
        except (ModelError, KeyError):
            return None
        return bundle.classifier, facts

    def remove(self) -> None:
        """Remove the folder: the training is done, or no longer needed."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def _recorded(self) -> str:
        """Return the fingerprint of the training that left the folder, if there is one."""
        try:
            text = self._mark.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return text if _FINGERPRINT.fullmatch(text) else ""

    def _aside(self, fingerprint: str) -> Path:
        return self.path.parent / _ASIDE / f"{self.path.name}-{fingerprint[:16]}"

    @property
    def _mark(self) -> Path:
        return self.path / "experiment.txt"

    @property
    def _trained(self) -> Path:
        return self.path / "trained"


def set_aside_checkpoints(
    run: RunFolder, before: Experiment | None, now: Experiment
) -> None:
    """Set aside the checkpoints of another experiment, and restore those of this one.

    Hours of training survive a mistyped ``--set``: they resume once the experiment is again
    the one that left them.  ``before`` is the experiment of the last run in the folder.
    """
    prints, aside = _fingerprints(now), []
    for path in sorted(run.checkpoints.glob("*")):
        found = CheckpointFolder(path, prints.get(path.name, ""))
        if path.name != _ASIDE and not found.ours and found.set_aside():
            aside.append(path.name)
    for task, fingerprint in prints.items():
        CheckpointFolder(run.checkpoints / task, fingerprint).restore()
    if aside:
        _log.warning(
            "The checkpoints of %s belong to another experiment (%s): training starts anew, and "
            "they are kept in %s for that experiment; delete them if you do not need them.",
            _listed(aside),
            _listed(list(_differences(before, now))),
            run.checkpoints / _ASIDE,
        )


def log_resuming(run: RunFolder, experiment: Experiment) -> None:
    """Log which trainings resume; those in other processes only write to their own logs."""
    found = [
        task
        for task, fingerprint in _fingerprints(experiment).items()
        if (kept := CheckpointFolder(run.checkpoints / task, fingerprint)).ours
        and kept.under_way
    ]
    if found:
        _log.warning("Resuming from the checkpoints of %s.", _listed(found))


def _fingerprints(experiment: Experiment) -> Mapping[str, str]:
    """Return the fingerprint of each task, whatever the device and processes."""
    return make_plan(experiment.model_copy(update=_RUNNERS)).fingerprints


def _differences(before: Experiment | None, now: Experiment) -> Iterator[str]:
    """Describe the differences of two experiments on which a training may depend."""
    if before is None:
        yield "its experiment.yaml cannot be read"
        return
    left_out = _UNRELATED | set(_RUNNERS)
    old, new = (dict(_leaves(each, left_out)) for each in (before, now))
    if old == new:
        yield "a file that it reads has changed"
    for key in old | new:
        if old.get(key) != new.get(key):
            yield f"{key} was {_shown(old.get(key))}, not {_shown(new.get(key))}"


def _leaves(experiment: Experiment, left_out: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the values of an experiment, each with its dotted path."""
    waiting = list(experiment.model_dump(mode="json", exclude=left_out).items())
    while waiting:
        key, value = waiting.pop(0)
        if isinstance(value, dict):
            waiting[:0] = [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            yield key, value


def _shown(value: Any) -> str:
    return "left to its default" if value is None else f"{value!s:.60}"


def _listed(items: list[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


Trained = tuple[Any, dict[str, Any]]


def training_facts(trained: Mask, labels: Codes) -> dict[str, Any]:
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
class NetworkTraining:
    """The training of one network on one split with one seed."""

    context: "RunContext"
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
        return task_name(self.split, self.seed, self.model)

    @property
    def needed(self) -> bool:
        """Whether to train: on all labelled pixels only the model that maps."""
        if self.split != ALL or self.context.experiment.map != "best":
            return True
        reduced = best_model_task(self.context.experiment, self.model)
        best: str | None = result_of(self.context.folder.path, reduced)["best"]
        return best == self.model

    @property
    def spec(self) -> CNNSpec:
        """The network of the experiment, with the changes for training on all pixels.

        Training on all labelled pixels leaves none for early stopping: it takes as many
        epochs as did best on the validation pixels of the split.
        """
        experiment = self.context.experiment
        spec = cast(CNNSpec, experiment.models[self.model])
        if self.split != ALL:
            return spec
        changes: dict[str, Any] = {"windows": None}
        if (spec.recipe or {}).get("patience") is not None:
            trained = task_name("main", experiment.seed, self.model)
            curve = result_of(self.context.folder.path, trained)["curve"]
            recipe = {**(spec.recipe or {}), "patience": None}
            changes |= {"recipe": recipe, "epochs": curve[-1]["best_epoch"]}
        return spec.model_copy(update=changes)

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """The folder of its checkpoints."""
        return CheckpointFolder.of(self.context.folder, self.context.experiment, self.task)

    def result(self, report: Report) -> Trained:
        """Return the trained network and the facts of its training.

        It is trained in this process or in as many as the experiment asks for, unless a
        batch job has already trained it.
        """
        processes = self.context.experiment.processes
        device = self.context.experiment.device
        network = self.checkpoints.trained(device)
        if network is None and processes == 1:
            return self.train(report)
        if network is None:
            self.checkpoints.begin()
            run_ranks(self.context.folder.path, self.task, processes, report)
            network = self.checkpoints.trained(device)
        if network is None:
            raise RunError(
                f"The processes of {self.task} ended without a trained network; run again."
            )
        return network

    def train(self, report: Report) -> Trained:
        """Train in this process, alone or as one of several."""
        context, spec = self.context, self.spec
        device = context.experiment.device
        network = build_classifier(spec, seed=self.seed, device=device)
        wants_events = context.experiment.tensorboard
        events = context.folder.tensorboard(self.task) if wants_events else None
        with Curves(self.task, report, events) as network.progress:
            seconds = fit_classifier(
                network,
                model_scene(context, spec),
                context.load_split(self.split, self.seed),
                window=spec.window,
                windows=spec.windows,
                checkpoint=self.checkpoints.begin(),
            )
        network.progress = None
        return network, _facts(network, seconds)


def _facts(network: Any, seconds: float) -> dict[str, Any]:
    """Describe the training of a network for the metrics."""
    history = network.history_
    # A resumed training counts the time before.
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
