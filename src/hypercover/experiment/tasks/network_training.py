"""Training the network of one task so that it survives being killed.

The same steps in the task of a run and in each of its processes: what is
trained, on which pixels, where it goes on from, and what is said of it.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

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

if TYPE_CHECKING:
    from hypercover.experiment.tasks.run_context import RunContext

__all__ = [
    "CheckpointFolder",
    "Curves",
    "NetworkTraining",
    "check_tensorboard",
    "log_resuming",
    "set_aside_checkpoints",
    "training_facts",
]

Report = Callable[[float, str], None]

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
    """Takes the record of each epoch; says how far the training is and keeps its curves.

    Parameters
    ----------
    task : str
        Name of the task that trains, for the log.
    report : callable
        Is told the share done and a few words.
    events : path, optional
        Folder for TensorBoard's event files; None: none are written.
    """

    def __init__(self, task: str, report: Report, events: Path | None = None) -> None:
        self._task, self._report, self._folder = task, report, events
        self._writer: Any = None
        self._began, self._first = time.monotonic(), 0

    def __enter__(self) -> Self:
        """Begin: the time left is reckoned from here."""
        return self

    def __exit__(self, *_: object) -> None:
        """Bring the events to the disk."""
        if self._writer is not None:
            self._writer.close()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Take the record of an epoch that has ended."""
        epoch, epochs = int(record["epoch"]), int(record["epochs"])
        if not self._first:
            self._begin(epoch, epochs)
        done = epoch - self._first + 1
        left = (time.monotonic() - self._began) / done * (epochs - epoch)
        words = [f"epoch {epoch} of {epochs} ({format_duration(left)} left)"]
        words.append(f"loss {record['loss']:.3f}")
        if "validation_accuracy" in record:
            words.append(f"validation {format_percent(record['validation_accuracy'])} %")
        self._report(epoch / epochs, ", ".join(words))
        if self._writer is not None:
            self._write(record)

    def _begin(self, epoch: int, epochs: int) -> None:
        """Note where the training begins, or where it goes on."""
        self._first = epoch
        if epoch > 1:
            _log.warning(
                "%s goes on at epoch %d of %d, from its checkpoint.",
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
    """Open TensorBoard's event files; later points of an interrupted training go."""
    from torch.utils.tensorboard import SummaryWriter

    if epoch == 1:
        shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder), purge_step=epoch)


def check_tensorboard() -> None:
    """Refuse to promise curves that cannot be written.

    Raises
    ------
    ExperimentError
        If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ExperimentError(
            "tensorboard: true needs the package tensorboard, which is not installed; "
            "install it with pip install 'hypercover[tensorboard]', or set "
            "tensorboard: false."
        )


_RUNNERS = {"device": "auto", "processes": 1}
"""What trains, and not what is trained: a training goes on with others."""

_BESIDE = {"name", "map", "map_from", "tensorboard", "search", "gap", "notes"}
"""What the training of a network does not depend on."""

_SHOWN = 4

_FINGERPRINT = re.compile("[0-9a-f]{16,128}")

_ASIDE = "aside"
"""Folder of the checkpoints of other experiments, beside those of the tasks."""


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder in which one training keeps what it needs to go on.

    Why it exists: hours of training must survive a killed process, and must not
    be mixed up with those of an experiment that was changed since.  Device and
    number of processes may be others: the training goes on with them.
    """

    path: Path
    """``checkpoints/TASK`` in the run folder."""
    fingerprint: str
    """Hash of everything the task depends on, but device and processes."""

    @classmethod
    def of(cls, run: RunFolder, experiment: Experiment, task: str) -> "CheckpointFolder":
        """Return the folder of a task, empty where it was that of another experiment."""
        made = cls(run.checkpoints / task, _fingerprints(experiment)[task])
        if not made.ours:
            made.remove()
        return made

    def begin(self) -> Path:
        """Make the folder and return it."""
        make_folder(self.path)
        write_text(self._mark, f"{self.fingerprint}\n")
        return self.path

    @property
    def ours(self) -> bool:
        """Whether what lies there is of this very experiment."""
        return self._told() == self.fingerprint

    def put_aside(self) -> bool:
        """Move the folder of another experiment to where that finds it again.

        Returns
        -------
        whether it held what took time; else it is removed
        """
        told = self._told()
        if not told or not (self.under_way or self._trained.exists()):
            self.remove()
            return False
        place = self._aside(told)
        shutil.rmtree(place, ignore_errors=True)
        make_folder(place.parent)
        os.replace(self.path, place)
        return True

    def take_back(self) -> None:
        """Move to its place what was put aside while another experiment ran."""
        place = self._aside(self.fingerprint)
        if place.is_dir() and not self.path.exists():
            os.replace(place, self.path)
            with suppress(OSError):
                place.parent.rmdir()

    @property
    def under_way(self) -> bool:
        """Whether there is a moment from which the training can go on."""
        return any(self.path.glob("step-*.json"))

    def keep(self, classifier: Any, facts: dict[str, Any]) -> None:
        """Keep a trained network, for the task that will judge it."""
        from hypercover.classifiers.bundle import save_bundle

        save_bundle(self._trained, classifier, facts)

    def trained(self, device: str = "auto") -> tuple[Any, dict[str, Any]] | None:
        """Return the trained network and the facts of its training, if they are there.

        ``device`` is where it is to compute.
        """
        from hypercover.classifiers.bundle import load_bundle

        try:
            bundle = load_bundle(self._trained, device=device)
            facts = {name: bundle.card[name] for name in ("train_seconds", "training")}
        except (ModelError, KeyError):
            return None
        return bundle.classifier, facts

    def remove(self) -> None:
        """Remove the folder: the training is done, or no longer wanted."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def _told(self) -> str:
        """Return the fingerprint of the training that left the folder, if it says one."""
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
    """Put aside what trainings of another experiment left, say why, and fetch one's own.

    Why it exists: hours of training must survive a mistyped ``--set``.  What was put
    aside goes on once the experiment is again the one that left it.
    ``before`` is the experiment that the folder was last run with, if it is known.
    """
    prints, aside = _fingerprints(now), []
    for path in sorted(run.checkpoints.glob("*")):
        found = CheckpointFolder(path, prints.get(path.name, ""))
        if path.name != _ASIDE and not found.ours and found.put_aside():
            aside.append(path.name)
    for task, fingerprint in prints.items():
        CheckpointFolder(run.checkpoints / task, fingerprint).take_back()
    if aside:
        _log.warning(
            "The checkpoints of %s are of another experiment (%s): training begins anew, and "
            "they wait in %s for that experiment; delete them if it is not to go on.",
            _listed(aside),
            _listed(list(_differences(before, now))),
            run.checkpoints / _ASIDE,
        )


def log_resuming(run: RunFolder, experiment: Experiment) -> None:
    """Say which trainings go on; those in other processes say so in their logs alone."""
    found = [
        task
        for task, fingerprint in _fingerprints(experiment).items()
        if (kept := CheckpointFolder(run.checkpoints / task, fingerprint)).ours
        and kept.under_way
    ]
    if found:
        _log.warning("Going on from the checkpoints of %s.", _listed(found))


def _fingerprints(experiment: Experiment) -> Mapping[str, str]:
    """Return what each training depends on, whoever does it."""
    return make_plan(experiment.model_copy(update=_RUNNERS)).fingerprints


def _differences(before: Experiment | None, now: Experiment) -> Iterator[str]:
    """Say in what two experiments differ that a training may depend on."""
    if before is None:
        yield "its experiment.yaml cannot be read"
        return
    left_out = _BESIDE | set(_RUNNERS)
    old, new = (dict(_leaves(each, left_out)) for each in (before, now))
    if old == new:
        yield "a file that it reads has changed"
    for key in old | new:
        if old.get(key) != new.get(key):
            yield f"{key} was {_said(old.get(key))}, not {_said(new.get(key))}"


def _leaves(experiment: Experiment, left_out: set[str]) -> Iterator[tuple[str, Any]]:
    """Go through the values of an experiment, each with the path that names it."""
    waiting = list(experiment.model_dump(mode="json", exclude=left_out).items())
    while waiting:
        key, value = waiting.pop(0)
        if isinstance(value, dict):
            waiting[:0] = [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            yield key, value


def _said(value: Any) -> str:
    return "left to its default" if value is None else f"{value!s:.60}"


def _listed(said: list[str]) -> str:
    rest = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


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
class NetworkTraining:
    """One network to be trained on one split with one seed."""

    setting: "RunContext"
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
    def wanted(self) -> bool:
        """Whether the model is needed: not on all pixels where another maps."""
        if self.split != ALL or self.setting.experiment.map != "best":
            return True
        decided = best_model_task(self.setting.experiment, self.model)
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
            trained = task_name("main", experiment.seed, self.model)
            curve = result_of(self.setting.folder.path, trained)["curve"]
            recipe = {**(spec.recipe or {}), "patience": None}
            changes |= {"recipe": recipe, "epochs": curve[-1]["best_epoch"]}
        return spec.model_copy(update=changes)

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """Where it keeps what it needs to go on."""
        return CheckpointFolder.of(self.setting.folder, self.setting.experiment, self.task)

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
        network = build_classifier(spec, seed=self.seed, device=device)
        live = setting.experiment.tensorboard
        events = setting.folder.tensorboard(self.task) if live else None
        with Curves(self.task, report, events) as network.progress:
            seconds = fit_classifier(
                network,
                model_scene(setting, spec),
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
