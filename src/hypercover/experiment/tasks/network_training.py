"""Training of the network of one task, with checkpoints from which it resumes.

The task of a run and each of its processes take the same steps.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.errors import ExperimentError, ModelError
from hypercover.experiment.config.builders import build_classifier
from hypercover.experiment.config.schema import ALL, CNNSpec, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks import experiment_plan
from hypercover.experiment.tasks.run_context import RunContext
from hypercover.experiment.tasks.trial import fit_classifier
from hypercover.figures.formatting import format_duration, format_percent
from hypercover.files import make_folder, write_text
from hypercover.jobs.task_files import result_of
from hypercover.types import Report

_SCALARS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning rate",
}
"""Names of a record's values and of their charts in TensorBoard."""

_log = logging.getLogger(__name__)

Trained = tuple[Any, dict[str, Any]]
"""A trained network, and the facts of its training for the metrics."""


@contextmanager
def report_epochs(
    task: str, report: Report, events: Path | None = None
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Provide a function that reports each epoch of a training, and writes its curves.

    Parameters
    ----------
    task : str
        Name of the task that trains, for the log.
    report : callable
        Called with the share done and a message.
    events : path, optional
        Folder of TensorBoard's event files; None writes none.
    """
    began, first, writer = time.monotonic(), 0, None

    def report_epoch(record: Mapping[str, Any]) -> None:
        nonlocal first, writer
        epoch, epochs = int(record["epoch"]), int(record["epochs"])
        if not first:
            first = epoch
            writer = None if events is None else _event_writer(events, epoch)
            if epoch > 1:
                text = "%s resumes at epoch %d of %d, from its checkpoint."
                _log.warning(text, task, epoch, epochs)
        left = (time.monotonic() - began) / (epoch - first + 1) * (epochs - epoch)
        text = f"epoch {epoch} of {epochs} ({format_duration(left)} left)"
        text += f", loss {record['loss']:.3f}"
        if (accuracy := record.get("validation_accuracy")) is not None:
            text += f", validation {format_percent(accuracy)} %"
        report(epoch / epochs, text)
        if writer is not None:
            for name, tag in _SCALARS.items():
                if name in record:
                    writer.add_scalar(tag, record[name], epoch)
            writer.flush()

    try:
        yield report_epoch
    finally:
        if writer is not None:
            writer.close()


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
            "tensorboard: true needs the package tensorboard, which is not installed; install "
            "it with pip install 'hypercover[tensorboard]', or set tensorboard: false."
        )


_RUNNERS = {"device": "auto", "processes": 1}
"""Settings that may change when a training resumes."""

_UNRELATED = {"name", "map", "map_from", "tensorboard", "search", "gap", "notes"}
"""Settings that the training of a network does not depend on."""

_SHOWN = 4

_FINGERPRINT = re.compile("[0-9a-f]{16,128}")

_MARK, _TRAINED = "experiment.txt", "trained"

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
        folder = cls.all_of(run, experiment)[task]
        if not folder.ours:
            folder.remove()
        return folder

    @classmethod
    def all_of(
        cls, run: RunFolder, experiment: Experiment
    ) -> dict[str, "CheckpointFolder"]:
        """Return the folder of each task, whether it exists or not, by name."""
        prints = experiment_plan.make_plan(
            experiment.model_copy(update=_RUNNERS)
        ).fingerprints
        return {
            task: cls(run.checkpoints / task, print_) for task, print_ in prints.items()
        }

    def begin(self) -> Path:
        """Create the folder and return it."""
        make_folder(self.path)
        write_text(self.path / _MARK, f"{self.fingerprint}\n")
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
        if not recorded or not (self.under_way or (self.path / _TRAINED).exists()):
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
        save_bundle(self.path / _TRAINED, classifier, facts)

    def trained(self, device: str = "auto") -> Trained | None:
        """Load the trained network and the facts of its training, if there are any.

        ``device`` is the device on which it will compute.
        """
        try:
            bundle = load_bundle(self.path / _TRAINED, device=device)
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
            text = (self.path / _MARK).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return text if _FINGERPRINT.fullmatch(text) else ""

    def _aside(self, fingerprint: str) -> Path:
        return self.path.parent / _ASIDE / f"{self.path.name}-{fingerprint[:16]}"


def set_aside_checkpoints(
    run: RunFolder, before: Experiment | None, now: Experiment
) -> None:
    """Set aside the checkpoints of another experiment, and restore those of this one.

    Hours of training survive a mistyped ``--set``: they resume once the experiment is again
    the one that left them.  ``before`` is the experiment of the last run in the folder.
    """
    folders, aside = CheckpointFolder.all_of(run, now), []
    for path in sorted(run.checkpoints.glob("*")):
        folder = folders.get(path.name, CheckpointFolder(path, ""))
        if path.name != _ASIDE and not folder.ours and folder.set_aside():
            aside.append(path.name)
    for folder in folders.values():
        folder.restore()
    if aside:
        _log.warning(
            "The checkpoints of %s belong to another experiment (%s): training starts "
            "from the beginning, and "
            "they are kept in %s for that experiment; delete them if you do not need them.",
            _listed(aside),
            _listed(list(_differences(before, now))),
            run.checkpoints / _ASIDE,
        )


def log_resuming(run: RunFolder, experiment: Experiment) -> None:
    """Log which trainings resume; those in other processes only write to their own logs."""
    folders = CheckpointFolder.all_of(run, experiment).items()
    tasks = [task for task, folder in folders if folder.ours and folder.under_way]
    if tasks:
        _log.warning("Resuming from the checkpoints of %s.", _listed(tasks))


def _differences(before: Experiment | None, now: Experiment) -> Iterator[str]:
    """Describe the differences of two experiments on which a training may depend."""
    if before is None:
        yield "its experiment.yaml cannot be read"
        return
    left_out = _UNRELATED | set(_RUNNERS)
    old, new = (
        dict(_leaves(each.model_dump(mode="json", exclude=left_out)))
        for each in (before, now)
    )
    if old == new:
        yield "a file that it reads has changed"
    for key in old | new:
        if old.get(key) != new.get(key):
            yield f"{key} was {_shown(old.get(key))}, not {_shown(new.get(key))}"


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the innermost values of nested mappings, each with its dotted path."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _shown(value: Any) -> str:
    return "left to its default" if value is None else f"{value!s:.60}"


def _listed(items: list[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class NetworkTraining:
    """The training of one network on one split with one seed."""

    context: RunContext
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
        return experiment_plan.task_name(self.split, self.seed, self.model)

    @property
    def needed(self) -> bool:
        """Whether to train: on all labelled pixels only the model that maps."""
        if self.split != ALL or self.context.experiment.map != "best":
            return True
        reduced = experiment_plan.best_model_task(self.context.experiment, self.model)
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
            trained = experiment_plan.task_name("main", experiment.seed, self.model)
            curve = result_of(self.context.folder.path, trained)["curve"]
            recipe = {**(spec.recipe or {}), "patience": None}
            changes |= {"recipe": recipe, "epochs": curve[-1]["best_epoch"]}
        return spec.model_copy(update=changes)

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """The folder of its checkpoints."""
        return CheckpointFolder.of(self.context.folder, self.context.experiment, self.task)

    def train(self, report: Report) -> Trained:
        """Train in this process, alone or as one of several."""
        context, spec, experiment = self.context, self.spec, self.context.experiment
        network = build_classifier(spec, seed=self.seed, device=experiment.device)
        events = context.folder.tensorboard(self.task) if experiment.tensorboard else None
        with report_epochs(self.task, report, events) as network.progress:
            seconds = fit_classifier(
                network,
                context.model_scene(spec),
                context.load_split(self.split, self.seed),
                window=spec.window,
                windows=spec.windows,
                checkpoint=self.checkpoints.begin(),
            )
        network.progress = None
        return network, _describe_training(network, seconds)


def _describe_training(network: Any, seconds: float) -> dict[str, Any]:
    """Describe the training of a network for the metrics."""
    from torch import cuda

    history, on_gpu = network.history_, next(network.network_.parameters()).is_cuda
    facts = {
        "device": cuda.get_device_name() if on_gpu else "cpu",
        "precision": network.precision,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "epochs": len(history),
        "samples": history[-1]["samples"],
    }
    # A resumed training counts the time before.
    return {"train_seconds": max(seconds, history[-1]["seconds"]), "training": facts}
