"""What every task of a run begins with: the run folder, the experiment and its scene."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercover.experiment.config.builders import all_labelled, load_scene
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import ALL, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.files import modified
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split

if TYPE_CHECKING:
    pass

__all__ = ["RunContext"]


@lru_cache(maxsize=1)
def _experiment(path: Path, _changed: int) -> Experiment:
    return load_experiment(path)


@dataclass(frozen=True)
class RunContext:
    """What every task begins with: the folder, the experiment and its scene."""

    folder: RunFolder
    """Where the run lies."""
    experiment: Experiment
    """What it is to do."""
    scene: Scene
    """The image and labels it works on."""

    @classmethod
    def of(cls, folder: str | Path, **names: Any) -> "RunContext":
        """Read the experiment of a run folder and open its scene.

        Parameters
        ----------
        **names
            What a task asks for, as `Experiment.check_names` takes it.

        Raises
        ------
        ExperimentError
            If the experiment has no such model, features or split.
        """
        run = RunFolder(Path(folder))
        experiment = _experiment(run.experiment, modified(run.experiment))
        experiment.check_names(**names)
        return cls(run, experiment, load_scene(experiment.scene))

    def load_split(self, split: str, seed: int) -> Split:
        """Read a split that was made before; under ``all`` every labelled pixel trains."""
        if split == ALL:
            return all_labelled(self.scene, kind=ALL, seed=seed)
        return Split.load(*self.folder.split(split, seed - self.experiment.seed))
