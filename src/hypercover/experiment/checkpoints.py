"""What is left of a training that was interrupted, and whether it is still wanted."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover.errors import ModelError
from hypercover.experiment.folder import RunFolder
from hypercover.files import make_folder, write_text
from hypercover.jobs.plan import Plan

__all__ = ["Checkpoints", "drop_foreign_checkpoints"]


@dataclass(frozen=True)
class Checkpoints:
    """The folder in which one training keeps what it needs to go on.

    Why it exists: hours of training must survive a killed process, and must not
    be mixed up with those of an experiment that was changed since.
    """

    path: Path
    """``checkpoints/TASK`` in the run folder."""
    fingerprint: str
    """Hash of everything the task depends on."""

    @classmethod
    def of(cls, run: RunFolder, plan: Plan, task: str) -> "Checkpoints":
        """Return the folder of a task, empty where it was that of another experiment."""
        made = cls(run.checkpoints / task, plan.fingerprints[task])
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


def drop_foreign_checkpoints(run: RunFolder, plan: Plan) -> None:
    """Remove what trainings left that are no longer part of the experiment as it is."""
    for path in run.checkpoints.glob("*"):
        known = path.name in plan.fingerprints
        if known and Checkpoints(path, plan.fingerprints[path.name]).ours:
            continue
        shutil.rmtree(path, ignore_errors=True)
