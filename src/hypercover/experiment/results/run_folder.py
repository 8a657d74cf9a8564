"""The paths of a run folder and of a search in it."""

from pathlib import Path

from hypercover.files import file_sha256
from hypercover.jobs.plan import FOLDER


class RunFolder:
    """The paths of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The folder itself."""
        self.experiment = path / "experiment.yaml"
        """The resolved experiment file."""
        self.metrics = path / "metrics.json"
        """Every figure of the run."""
        self.confusion = path / "confusion.csv"
        """Confusion matrices as a table."""
        self.gap = path / "gap.csv"
        """The leak gap as a table."""
        self.stages = path / "stages.csv"
        """Seconds of each task and its share of their sum, as a table."""
        self.log = path / "log.jsonl"
        """Training curves, one JSON object a line."""
        self.report = path / "report.html"
        """The report."""
        self.inputs = path / FOLDER / "inputs.json"
        """Sizes and checksums of the input files."""
        self.checkpoints = path / "checkpoints"
        """Folders of trainings that are under way, one for each task."""

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
        kinds = ("", "confidence", "check", "clean")
        rasters = [self.map(name, kind) for kind in kinds]
        beside = [
            raster.with_name(f"{raster.stem}{suffix}")
            for raster in rasters
            for suffix in (".qml", ".stac.json", ".tif.aux.xml")
        ]
        figures = [self.figure(f"{what}-{name}") for what in ("map", "confidence", "check")]
        return (*rasters, *beside, *figures, self.view(name))

    def model_files(self, name: str) -> tuple[Path, ...]:
        """Return every file except maps that training a model can write."""
        bundle = (*self.bundle_files(name), *self.bundle_files(name, split=True))
        drawn = "abstention", "classes", "confused", "confusion", "reliability", "training"
        return (*bundle, *(self.figure(f"{what}-{name}") for what in drawn))


class SearchFolder:
    """The paths of a search: results next to those of a run, tasks in a subfolder.

    A search and a run of the same experiment share a folder without overwriting each
    other's files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The run folder."""
        self.home = path / "search"
        """Folder of the tasks, the features and the finished cells."""
        self.experiment = RunFolder(self.home).experiment
        """The experiment file as it was searched."""
        self.table = path / "search.json"
        """Every figure of the search."""
        self.csv = path / "search.csv"
        """Every cell as a line."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the figures, in hexadecimal; None where there are none."""
        return file_sha256(self.table) if self.table.is_file() else None

    def figure(self, model: str, by: str) -> Path:
        """Return the path of a heat map."""
        return RunFolder(self.path).figure(f"search-{model}-{by}")
