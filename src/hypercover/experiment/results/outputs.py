"""Outputs of a run: which are unchanged, and removing those of earlier experiments."""

import os
from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from itertools import chain
from pathlib import Path

from hypercover.errors import CallError, RunError
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.tasks.feature_tasks import feature_files, used_features
from hypercover.files import DRAFT
from hypercover.jobs.plan import FOLDER
from hypercover.jobs.record import TaskFiles, is_unchanged, result_of
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
    try:
        best = result_of(run.path, "reduce")["best"]
    except RunError:
        best = None
    models = sorted(experiment.models, key=lambda model: model != best)
    return [made for model in models for made in _map_of(run, model)]


def _emptied(folder: Path) -> None:
    """Remove a folder of the run if it is empty."""
    with suppress(OSError):
        folder.rmdir()


def _map_of(run: RunFolder, model: str) -> tuple[Path, ...]:
    """Return the class map that the task of a model made, if it made one."""
    try:
        made = result_of(run.path, f"map-{model}")["map"]
    except RunError:
        return ()
    return (run.path / made,) if made else ()


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
    known = _recorded(folder)
    wanted = {
        os.path.relpath(one, folder) for each in patterns for one in folder.glob(each)
    }
    for name in sorted(wanted & known.keys()):
        file = folder / name
        if not any(is_unchanged(file, size, digest) for size, digest in known[name]):
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
        check_unchanged(
            run, f"maps/{escape(path.name)}", f"maps/{escape(path.name)}.aux.xml"
        )


def _recorded(folder: Path) -> dict[str, set[tuple[int, str]]]:
    """Return sizes and checksums of all files written by the tasks of a run and a search."""
    known: dict[str, set[tuple[int, str]]] = {}
    for home in (folder, SearchFolder(folder).home):
        for result in (home / FOLDER).glob("*.json"):
            record = TaskFiles(home, result.stem).read()
            for name, fact in (record.files if record else {}).items():
                path = os.path.relpath(home / name, folder)
                known.setdefault(path, set()).add(fact)
    return known


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
    # Without figures, as after a change that was cut short, that is what is to be said.
    if run.metrics.exists():
        check_unchanged(run.path, *_SHOWN)
    report = write_report(run.path)
    TaskFiles(run.path, "report").update_checksums(report)
    return report


def remove_stale_maps(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the maps of models that are no longer mapped."""
    mapped = set(now.models) if now.map is not False else set()
    for model in set(before.models) - mapped:
        for file in run.map_files(model):
            file.unlink(missing_ok=True)


def remove_stale_models(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the files of models that are no longer part of the experiment."""
    for model in set(before.models) - set(now.models):
        for file in run.model_files(model):
            file.unlink(missing_ok=True)
        for folder in (run.split_model(model), run.model(model)):
            _emptied(folder)
        for split, seed in before.trials:
            run.predictions(split, seed, model).unlink(missing_ok=True)
    if before.refits and not now.refits:
        # What lies where the model that maps belongs was trained on other pixels.
        for model in before.models:
            bundles = run.bundle_files(model), run.bundle_files(model, split=True)
            for file in chain.from_iterable(bundles):
                file.unlink(missing_ok=True)
            _emptied(run.split_model(model))


def remove_stale_splits(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the splits that were made before and no longer are, and what was tested on them.

    A split that the new experiment names as the file it takes over stays.
    """
    own = set(_split_files(run, now))
    named = {getattr(spec, "path", None) for spec in now.splits.values()}
    for path in set(_split_files(run, before)) - own:
        raster = path.with_suffix(".tif")
        if not {path, raster} & named:
            for file in (path, raster, sidecar(raster)):
                file.unlink(missing_ok=True)
    for split, draw in set(before.trials) - set(now.trials):
        for model in before.models:
            run.predictions(split, draw, model).unlink(missing_ok=True)
    for split in set(before.splits) - set(now.splits):
        run.figure(f"split-{split}").unlink(missing_ok=True)


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


def remove_stale_features(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove features that are no longer used, as stacks are large."""
    for name in set(used_features(before)) - set(used_features(now)):
        for file in feature_files(run, name):
            file.unlink(missing_ok=True)


def remove_drafts(run: RunFolder) -> None:
    """Remove the temporary files that a killed process left behind."""
    for folder in _FOLDERS:
        for draft in run.path.glob(f"{folder}/.*.part*"):
            if DRAFT.fullmatch(draft.name):
                draft.unlink(missing_ok=True)
