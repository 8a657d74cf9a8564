"""The paths of a run folder and of a search in it, and care for what lies there."""

import os
from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercover.errors import CallError, RunError
from hypercover.experiment.config.schema import Experiment
from hypercover.files import DRAFT, file_sha256
from hypercover.jobs.plan import FOLDER
from hypercover.jobs.task_files import TaskFiles, is_unchanged, result_of
from hypercover.scene.io.class_tables import sidecar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_FOLDERS = (
    ".",
    "features/*",
    "figures",
    "maps",
    "models/*",
    "models/*/split",
    "predictions",
    "search",
    "splits",
    "view",
)

_SHOWN = (
    *("metrics.json", "log.jsonl", "search.json", "*.csv", "experiment.yaml"),
    *("figures/*.png", "view/*.npz"),
)
"""Files that the report is made from."""


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

    def save_figure(self, figure: "Figure | None", name: str) -> None:
        """Save a figure under its name; None removes that of an earlier run."""
        from hypercover.figures.canvas import save_figure

        if figure is None:
            self.figure(name).unlink(missing_ok=True)
        else:
            save_figure(figure, self.figure(name))

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

    def feature_files(self, name: str) -> tuple[Path, ...]:
        """Return the stack of a chain's features, and metadata and arrays of the chain."""
        folder = self.path / "features" / name
        return tuple(folder / f for f in ("stack.npy", "chain.json", "chain.safetensors"))

    def tensorboard(self, task: str) -> Path:
        """Return the folder of a task's TensorBoard events."""
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


def list_maps(run: RunFolder, experiment: Experiment) -> list[Path]:
    """List the class maps that belong to the experiment, that of the best model first."""
    if experiment.map is False:
        return []
    best = _finished(run, "reduce", "best")
    models = sorted(experiment.models, key=lambda model: model != best)
    maps = (_finished(run, f"map-{model}", "map") for model in models)
    return [run.path / name for name in maps if name]


def _finished(run: RunFolder, task: str, key: str) -> Any:
    """Return an entry in the result of a task; None unless it is done."""
    try:
        return result_of(run.path, task)[key]
    except RunError:
        return None


def check_unchanged(folder: Path, *patterns: str) -> None:
    """Refuse files of a run that changed since its tasks wrote them.

    A damaged file must not be shown as a result.  Files that no task recorded are ignored.

    Parameters
    ----------
    patterns : which files, as `Path.glob` takes them, from the run folder

    Raises
    ------
    CallError
        About the first one.
    """
    recorded = _recorded(folder)
    files = chain.from_iterable(folder.glob(pattern) for pattern in patterns)
    names = {os.path.relpath(file, folder) for file in files}
    for name in sorted(names & recorded.keys()):
        file = folder / name
        if not any(is_unchanged(file, size, digest) for size, digest in recorded[name]):
            again = "search" if name.startswith("search") else "run"
            raise CallError(
                f"{file} was changed or damaged since it was written; {again} the experiment again."
            )


def check_map(path: Path) -> None:
    """Refuse a class map of a run that changed since the run wrote it.

    Raises
    ------
    CallError
    """
    run = path.absolute().parent.parent
    if RunFolder(run).map(path.stem).name == path.name and (run / FOLDER).is_dir():
        name = f"maps/{escape(path.name)}"
        check_unchanged(run, name, f"{name}.aux.xml")


def _recorded(folder: Path) -> dict[str, set[tuple[int, str]]]:
    """Return sizes and checksums of all files written by the tasks of a run and a search."""
    recorded: dict[str, set[tuple[int, str]]] = {}
    for home in (folder, SearchFolder(folder).home):
        for result in (home / FOLDER).glob("*.json"):
            record = TaskFiles(home, result.stem).read()
            for name, fact in (record.files if record else {}).items():
                path = os.path.relpath(home / name, folder)
                recorded.setdefault(path, set()).add(fact)
    return recorded


def renew_report(folder: str | Path) -> Path:
    """Write the report of a run again, if its files are unchanged.

    Raises
    ------
    CallError
        If the folder holds no run, or a file of it was changed or damaged.
    OutputError
        If the page cannot be written.
    """
    from hypercover.report.report import write_report

    run = RunFolder(Path(folder))
    # Without figures, as after an interrupted change, this is the error to report.
    if run.metrics.exists():
        check_unchanged(run.path, *_SHOWN)
    report = write_report(run.path)
    TaskFiles(run.path, "report").update_checksums(report)
    return report


def remove_stale_outputs(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove what belongs to models, maps, splits and features that are no longer used."""
    gone = set(before.models) - set(now.models)
    unmapped = gone if now.map is not False else set(before.models)
    stale = [file for model in unmapped for file in run.map_files(model)]
    stale += [file for model in gone for file in run.model_files(model)]
    if before.refits and not now.refits:
        # What lies where the model that maps belongs was trained on other pixels.
        for model in before.models:
            stale += [*run.bundle_files(model), *run.bundle_files(model, split=True)]
    for split, draw in before.trials:
        models = gone if (split, draw) in now.trials else before.models
        stale += [run.predictions(split, draw, model) for model in models]
    stale += [
        run.figure(f"split-{split}") for split in set(before.splits) - set(now.splits)
    ]
    stale += _stale_splits(run, before, now)
    # Stacks of features are large.
    for name in set(before.used_features) - set(now.used_features):
        stale += run.feature_files(name)
    for file in stale:
        file.unlink(missing_ok=True)
    for model in before.models:
        for folder in (run.split_model(model), run.model(model)):
            # Not if it holds anything else.
            with suppress(OSError):
                folder.rmdir()


def _stale_splits(run: RunFolder, before: Experiment, now: Experiment) -> Iterator[Path]:
    """Yield the files of splits that are no longer made.

    A split that the new experiment names as the file it takes over stays.
    """
    named = {getattr(spec, "path", None) for spec in now.splits.values()}
    for path in set(_split_files(run, before)) - set(_split_files(run, now)):
        raster = path.with_suffix(".tif")
        if not {path, raster} & named:
            yield from (path, raster, sidecar(raster))


def _split_files(run: RunFolder, experiment: Experiment) -> Iterator[Path]:
    """Yield the JSON files of all splits of an experiment."""
    for split, draw in experiment.trials:
        folder, stem = run.split(split, draw - experiment.seed)
        yield folder / f"{stem}.json"


def remove_results(run: RunFolder) -> None:
    """Remove figures and report of another experiment, which a killed run would leave.

    Next to the new experiment file they would look like its results.
    """
    for stale in (run.metrics, run.confusion, run.log, run.stages, run.report):
        stale.unlink(missing_ok=True)


def remove_drafts(run: RunFolder) -> None:
    """Remove the temporary files that a killed process left behind."""
    for folder in _FOLDERS:
        for draft in run.path.glob(f"{folder}/.*.part*"):
            if DRAFT.fullmatch(draft.name):
                draft.unlink(missing_ok=True)
