"""Outputs of a run: which are unchanged, and removing those of earlier experiments."""

import os
from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from itertools import chain
from pathlib import Path
from typing import Any

from hypercover.errors import CallError, RunError
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.tasks.run_context import feature_files, used_features
from hypercover.files import DRAFT
from hypercover.jobs.plan import FOLDER
from hypercover.jobs.task_files import TaskFiles, is_unchanged, result_of
from hypercover.scene.io.geotiff import sidecar

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
                f"{file} was changed or damaged since the run made it; {again} the "
                "experiment again to restore it."
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
    for name in set(used_features(before)) - set(used_features(now)):
        stale += feature_files(run, name)
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
