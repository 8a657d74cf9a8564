"""What is left of a training that was interrupted, and whether it is still wanted."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover.errors import ModelError
from hypercover.experiment.folder import RunFolder
from hypercover.experiment.plan import make_plan
from hypercover.experiment.schema import Experiment
from hypercover.files import make_folder, write_text

__all__ = ["Checkpoints", "drop_foreign_checkpoints", "tell_going_on"]

_RUNNERS = {"device": "auto", "processes": 1}
"""What trains, and not what is trained: a training goes on with others."""
_BESIDE = {"name", "map", "tensorboard", "search", "gap", "notes"}
"""What the training of a network does not depend on."""
_SHOWN = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
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
    def of(cls, run: RunFolder, experiment: Experiment, task: str) -> "Checkpoints":
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
        try:
            return self._mark.read_text(encoding="utf-8").strip() == self.fingerprint
        except (OSError, UnicodeDecodeError):
            return False

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

    @property
    def _mark(self) -> Path:
        return self.path / "experiment.txt"

    @property
    def _trained(self) -> Path:
        return self.path / "trained"


def drop_foreign_checkpoints(
    run: RunFolder, before: Experiment | None, now: Experiment
) -> None:
    """Remove what trainings left that are no longer part of the experiment, and say why.

    ``before`` is the experiment that the folder was last run with, if it is known.
    """
    prints, lost = _fingerprints(now), []
    for path in sorted(run.checkpoints.glob("*")):
        found = Checkpoints(path, prints.get(path.name, ""))
        if found.ours:
            continue
        if found.under_way or (path / "trained").exists():
            lost.append(path.name)
        found.remove()
    if lost:
        _log.warning(
            "Dropped the checkpoints of %s, which another experiment left here (%s); "
            "training begins anew.",
            _listed(lost),
            _listed(list(_differences(before, now))),
        )


def tell_going_on(run: RunFolder, experiment: Experiment) -> None:
    """Say which trainings go on; those in other processes say so in their logs alone."""
    found = [
        task
        for task, fingerprint in _fingerprints(experiment).items()
        if (kept := Checkpoints(run.checkpoints / task, fingerprint)).ours
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
