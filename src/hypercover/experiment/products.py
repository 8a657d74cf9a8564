"""What a run leaves for people, and whether it is still the run's own."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, product
from pathlib import Path

from hypercover.errors import RunError
from hypercover.experiment.features import kept_files, used_features
from hypercover.experiment.folder import RunFolder
from hypercover.experiment.plan import name_of
from hypercover.experiment.schema import ALL, Experiment
from hypercover.files import DRAFT
from hypercover.jobs.record import TaskFiles, result_of

__all__ = [
    "drop_foreign_features",
    "drop_foreign_maps",
    "drop_foreign_models",
    "drop_foreign_splits",
    "drop_results",
    "forget_lost",
    "maps_made",
    "sweep",
]

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


def maps_made(run: RunFolder, experiment: Experiment) -> list[Path]:
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
    """Remove a folder of the run that holds nothing any more."""
    with suppress(OSError):
        folder.rmdir()


def _map_of(run: RunFolder, model: str) -> tuple[Path, ...]:
    """Return the class map that the task of a model made, if it made one."""
    try:
        made = result_of(run.path, f"map-{model}")["map"]
    except RunError:
        return ()
    return (run.path / made,) if made else ()


def forget_lost(run: RunFolder, experiment: Experiment) -> None:
    """Forget the results of tasks whose files were deleted, so that they are made again."""
    for task, files in _products(run, experiment):
        if not all(file.exists() for file in files):
            TaskFiles(run.path, task).result.unlink(missing_ok=True)


def _products(
    run: RunFolder, experiment: Experiment
) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Go through the tasks and the files that others or people need of them."""
    yield "scene", tuple(run.figure(name) for name in ("scene", "labels", "spectra"))
    for split, seed in experiment.trials:
        folder, stem = run.split(split, seed - experiment.seed)
        files = (folder / f"{stem}.tif", folder / f"{stem}.json")
        yield name_of(split, seed), files
    for name in used_features(experiment):
        yield f"features-{name}", kept_files(run, name)
    for (split, seed), model in product(experiment.trials, experiment.models):
        answers = (run.predictions(split, seed, model),)
        yield name_of(split, seed, model), answers
    for model in experiment.models:
        first, again = (name_of(split, experiment.seed, model) for split in ("main", ALL))
        yield first, run.bundle_files(model, split=experiment.refits)
        if experiment.refits:
            yield again, run.bundle_files(model)
        made = _map_of(run, model)
        yield f"map-{model}", (*made, run.view(model)) if made else ()
    shown = (run.gap, run.figure("gap")) if experiment.gap else ()
    yield "reduce", (run.metrics, run.confusion, run.log, *shown)
    yield "classes", tuple(run.figure(f"classes-{model}") for model in experiment.models)
    yield "view", (run.view(),)
    yield "report", (run.report, run.speedup, run.stages)


def drop_foreign_maps(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the maps of models that were mapped before and no longer are."""
    mapped = set(now.models) if now.map is not False else set()
    for model in set(before.models) - mapped:
        for file in run.map_files(model):
            file.unlink(missing_ok=True)


def drop_foreign_models(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove what is left of models that are no longer part of the experiment."""
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


def drop_foreign_splits(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the splits that were made before and no longer are, and what was tested on them.

    A split that the new experiment names as the file it takes over stays.
    """
    own = set(_split_files(run, now))
    named = {getattr(spec, "path", None) for spec in now.splits.values()}
    for path in set(_split_files(run, before)) - own:
        if not {path, path.with_suffix(".json")} & named:
            path.unlink(missing_ok=True)
    for split, draw in set(before.trials) - set(now.trials):
        for model in before.models:
            run.predictions(split, draw, model).unlink(missing_ok=True)
    for split in set(before.splits) - set(now.splits):
        run.figure(f"split-{split}").unlink(missing_ok=True)


def _split_files(run: RunFolder, experiment: Experiment) -> Iterator[Path]:
    """Go through the files of all splits of an experiment."""
    for split, draw in experiment.trials:
        folder, stem = run.split(split, draw - experiment.seed)
        yield from (folder / f"{stem}.tif", folder / f"{stem}.json")


def drop_results(run: RunFolder) -> None:
    """Remove figures and report of another experiment, which a killed run would leave.

    Beside the new experiment file they would pass for its results.
    """
    for stale in (
        *(run.metrics, run.confusion, run.log, run.speedup, run.stages, run.report),
    ):
        stale.unlink(missing_ok=True)


def drop_foreign_features(run: RunFolder, before: Experiment, now: Experiment) -> None:
    """Remove the features that were used before and no longer are: stacks are large."""
    for name in set(used_features(before)) - set(used_features(now)):
        for file in kept_files(run, name):
            file.unlink(missing_ok=True)


def sweep(run: RunFolder) -> None:
    """Remove the drafts that a killed process left beside the files it was writing."""
    for folder in _FOLDERS:
        for draft in run.path.glob(f"{folder}/.*.part*"):
            if DRAFT.fullmatch(draft.name):
                draft.unlink(missing_ok=True)
