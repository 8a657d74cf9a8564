"""What is left of a training that was interrupted, and whether it is still wanted."""

import logging
import os
import re
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

__all__ = ["Checkpoints", "sort_checkpoints", "tell_going_on"]

_RUNNERS = {"device": "auto", "processes": 1}
"""What trains, and not what is trained: a training goes on with others."""
_BESIDE = {"name", "map", "map_from", "tensorboard", "search", "gap", "notes"}
"""What the training of a network does not depend on."""
_SHOWN = 4
_FINGERPRINT = re.compile("[0-9a-f]{16,128}")
_ASIDE = "aside"
"""Folder of the checkpoints of other experiments, beside those of the tasks."""

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


def sort_checkpoints(run: RunFolder, before: Experiment | None, now: Experiment) -> None:
    """Put aside what trainings of another experiment left, say why, and fetch one's own.

    Why it exists: hours of training must survive a mistyped ``--set``.  What was put
    aside goes on once the experiment is again the one that left it.
    ``before`` is the experiment that the folder was last run with, if it is known.
    """
    prints, aside = _fingerprints(now), []
    for path in sorted(run.checkpoints.glob("*")):
        found = Checkpoints(path, prints.get(path.name, ""))
        if path.name != _ASIDE and not found.ours and found.put_aside():
            aside.append(path.name)
    for task, fingerprint in prints.items():
        Checkpoints(run.checkpoints / task, fingerprint).take_back()
    if aside:
        _log.warning(
            "The checkpoints of %s are of another experiment (%s): training begins anew, and "
            "they wait in %s for that experiment; delete them if it is not to go on.",
            _listed(aside),
            _listed(list(_differences(before, now))),
            run.checkpoints / _ASIDE,
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
