"""The context of a task: run folder, experiment and scene."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypercover.experiment.config.builders import all_labelled, load_scene
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import ALL, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.files import modified_ns
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split


@lru_cache(maxsize=1)
def _experiment(path: Path, _changed: int) -> Experiment:
    return load_experiment(path)


@dataclass(frozen=True)
class RunContext:
    """The run folder, the experiment and the scene of a task."""

    folder: RunFolder
    """Paths of the run."""
    experiment: Experiment
    """The experiment."""
    scene: Scene
    """Image and labels."""

    @classmethod
    def of(cls, folder: str | Path, **names: Any) -> "RunContext":
        """Read the experiment of a run folder and open its scene.

        Parameters
        ----------
        **names
            Names that the task uses, as `Experiment.check_names` takes them.

        Raises
        ------
        ExperimentError
            If the experiment has no such model, features or split.
        """
        run = RunFolder(Path(folder))
        experiment = _experiment(run.experiment, modified_ns(run.experiment))
        experiment.check_names(**names)
        return cls(run, experiment, load_scene(experiment.scene))

    def load_split(self, split: str, seed: int) -> Split:
        """Read a split of the run; in ``all`` every labelled pixel is for training."""
        if split == ALL:
            return all_labelled(self.scene, kind=ALL, seed=seed)
        return Split.load(*self.folder.split(split, seed - self.experiment.seed))
