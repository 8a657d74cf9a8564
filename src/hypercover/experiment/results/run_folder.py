"""The paths of a run folder and of a search in it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hypercover.jobs.plan import FOLDER


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path
    """The folder itself."""

    @property
    def experiment(self) -> Path:
        """The resolved experiment file."""
        return self.path / "experiment.yaml"

    @property
    def metrics(self) -> Path:
        """Every figure of the run."""
        return self.path / "metrics.json"

    @property
    def confusion(self) -> Path:
        """Confusion matrices as a table."""
        return self.path / "confusion.csv"

    @property
    def gap(self) -> Path:
        """The leak gap as a table."""
        return self.path / "gap.csv"

    @property
    def stages(self) -> Path:
        """Seconds of each task and its share of their sum, as a table."""
        return self.path / "stages.csv"

    @property
    def log(self) -> Path:
        """Training curves, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def inputs(self) -> Path:
        """Sizes and checksums of the input files."""
        return self.path / FOLDER / "inputs.json"

    def figure(self, name: str) -> Path:
        """Return the path of a figure."""
        return self.path / "figures" / f"{name}.png"

    def split(self, split: str, repeat: int) -> tuple[Path, str]:
        """Return folder and stem of a split; the main one of the first seed lies on top."""
        if split == "main" and repeat == 0:
            return self.path, "split"
        return self.path / "splits", f"{split}-{repeat}"

    def model(self, name: str) -> Path:
        """Return the bundle of the mapping model."""
        return self.path / "models" / name

    def split_model(self, name: str) -> Path:
        """Return the bundle of a model as the main split of the first seed trained it.

        It lies there where the model that maps was trained on all labelled pixels.
        """
        return self.model(name) / "split"

    def bundle_files(self, name: str, *, split: bool = False) -> tuple[Path, ...]:
        """Return the files of the bundle that maps, or of that of the split."""
        folder = self.split_model(name) if split else self.model(name)
        return folder / "model.json", folder / "weights.safetensors"

    def predictions(self, split: str, seed: int, model: str) -> Path:
        """Return the answers of a model for the test pixels of one split and seed."""
        return self.path / "predictions" / f"{split}-{seed}-{model}.npz"

    def features(self, name: str) -> Path:
        """Return the folder of a stack of features and the chain that made it."""
        return self.path / "features" / name

    @property
    def checkpoints(self) -> Path:
        """Folders of trainings that are under way, one for each task."""
        return self.path / "checkpoints"

    def tensorboard(self, task: str) -> Path:
        """Return the folder of the events that TensorBoard reads of a task."""
        return self.path / "tensorboard" / task

    def map(self, name: str, what: str = "") -> Path:
        """Return the path of a map: classes, or ``confidence``, ``check`` or ``clean``."""
        return self.path / "maps" / (f"{name}-{what}.tif" if what else f"{name}.tif")

    def view(self, model: str = "") -> Path:
        """Return what the page draws from: of the scene, or of the map of a model."""
        return self.path / "view" / (f"map-{model}.npz" if model else "scene.npz")

    def map_files(self, name: str) -> tuple[Path, ...]:
        """Return every file that mapping with a model can write."""
        rasters = [self.map(name, what) for what in ("", "confidence", "check", "clean")]
        beside = [
            path
            for raster in rasters
            for path in (
                *(raster.with_suffix(suffix) for suffix in (".qml", ".stac.json")),
                Path(f"{raster}.aux.xml"),
            )
        ]
        figures = [self.figure(f"{what}-{name}") for what in ("map", "confidence", "check")]
        return (*rasters, *beside, *figures, self.view(name))

    def model_files(self, name: str) -> tuple[Path, ...]:
        """Return every file except maps that training a model can write."""
        bundle = (*self.bundle_files(name), *self.bundle_files(name, split=True))
        drawn = (
            "abstention",
            "classes",
            "confused",
            "confusion",
            "reliability",
            "training",
        )
        return (*bundle, *(self.figure(f"{what}-{name}") for what in drawn))


@dataclass(frozen=True)
class SearchFolder:
    """The paths of a search: results next to those of a run, tasks in a subfolder.

    A search and a run of the same experiment share a folder without overwriting each
    other's files.
    """

    path: Path
    """The run folder."""

    @property
    def home(self) -> Path:
        """Folder of the tasks, the features and the finished cells."""
        return self.path / "search"

    @property
    def experiment(self) -> Path:
        """The experiment file as it was searched."""
        return RunFolder(self.home).experiment

    @property
    def table(self) -> Path:
        """Every figure of the search."""
        return self.path / "search.json"

    @property
    def digest(self) -> str | None:
        """SHA-256 of the figures, in hexadecimal; None where there are none."""
        if not self.table.is_file():
            return None
        return hashlib.sha256(self.table.read_bytes()).hexdigest()

    @property
    def csv(self) -> Path:
        """Every cell as a line."""
        return self.path / "search.csv"

    def figure(self, model: str, by: str) -> Path:
        """Return the path of a heat map."""
        return RunFolder(self.path).figure(f"search-{model}-{by}")
