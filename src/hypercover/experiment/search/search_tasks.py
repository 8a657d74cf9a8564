"""The tasks of a grid search: fold the samples, compute a row of cells, tabulate."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Unpack

from hypercover.experiment.config.schema import Experiment, FoldKind
from hypercover.experiment.results.outputs import renew_report
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.search.search_plan import (
    folds_task,
    grid_gammas,
    row_task,
    searched_grids,
)
from hypercover.experiment.search.search_problem import (
    SearchProblem,
    folds_for,
    samples_for,
)
from hypercover.experiment.search.search_table import (
    Cell,
    GammaValue,
    GridTable,
    tables_csv,
)
from hypercover.experiment.tasks.feature_tasks import model_scene
from hypercover.experiment.tasks.reduce import versions
from hypercover.experiment.tasks.run_context import RunContext
from hypercover.files import discard_written, modified_ns, write_checksummed, write_text
from hypercover.jobs.record import result_of
from hypercover.scene.metadata import Origin
from hypercover.types import Report


def _silent(_share: float, _what: str) -> None:
    """Ignore progress."""


@lru_cache(maxsize=1)
def _problem_of(folder: Path, model: str, by: FoldKind, _changed: int) -> SearchProblem:
    """Make a problem once for all rows that one process computes."""
    context = RunContext.of(folder, models=[model])
    experiment = context.experiment
    folds = folds_for(
        experiment.search,
        by,
        samples_for(experiment, context.scene),
        scene=context.scene,
        seed=experiment.seed,
    )
    scene = model_scene(context, experiment.models[model])
    seed, home = experiment.seed, context.folder.path
    return SearchProblem.of(experiment, model, scene, folds, home, seed=seed)


def _problem(folder: Path, model: str, by: FoldKind) -> SearchProblem:
    changed = modified_ns(SearchFolder(folder.parent).experiment)
    return _problem_of(folder, model, by, changed)


def forget_problem() -> None:
    """Release the samples of the last problem and their distances."""
    _problem_of.cache_clear()


def fold_samples(
    folder: Path, *, model: str, by: FoldKind, report: Report = _silent
) -> dict[str, Any]:
    """Fold the samples of a model; return the folds and the gamma of ``scale``.

    A reduction is fitted here, so that the rows find it in whichever process they run.
    """
    problem = _problem(folder, model, by)
    if problem.classifier.reduction is not None:
        problem.preprocessors(report)
    return {"folds": problem.folds.to_json(), "width": problem.width}


def search_gamma(
    folder: Path,
    *,
    model: str,
    by: FoldKind,
    costs: list[float],
    gamma: float | None = None,
    scale: float | None = None,
    report: Report = _silent,
) -> dict[str, Any]:
    """Compute the cells of one gamma; finished ones are taken over."""
    problem = _problem(folder, model, by)
    value = problem.gamma_value(gamma=gamma, scale=scale)
    cells = problem.solve(value.gamma, costs, report)
    return {
        "gamma": value.gamma,
        "scale": value.scale,
        "cells": [cell.to_json() for cell in cells],
    }


def tables_of(
    experiment: Experiment, folder: Path, done: Callable[[str], bool]
) -> list[dict[str, Any]]:
    """Return the tables of a search, with the cells that are done.

    Parameters
    ----------
    folder : folder of the search
    done : tells whether a task is done
    """
    return [
        _table(experiment, folder, model, by, done)
        for model, by in searched_grids(experiment)
        if done(folds_task(model, by))
    ]


def _table(
    experiment: Experiment,
    folder: Path,
    model: str,
    by: FoldKind,
    done: Callable[[str], bool],
) -> dict[str, Any]:
    facts = result_of(folder, folds_task(model, by))
    gammas, rows, tasks = [], [], []
    for value in grid_gammas(experiment.search):
        tasks.append(task := row_task(model, by, value))
        scale = value.get("scale")
        gamma = facts["width"] * scale if scale is not None else value["gamma"]
        gammas.append(GammaValue(gamma, scale))
        entries = result_of(folder, task)["cells"] if done(task) else []
        rows.append(tuple(Cell.of(entry) for entry in entries))
    counts = tuple(fold["test"] for fold in facts["folds"]["folds"])
    table = GridTable(tuple(experiment.search.C), tuple(gammas), counts, tuple(rows))
    return {"model": model, "tasks": tasks, **facts["folds"], **table.to_json()}


def tabulate(folder: Path) -> dict[str, Any]:
    """Write the tables of a search, draw them, and update the report of the run."""
    context, place = RunContext.of(folder), SearchFolder(folder.parent)
    experiment, scene = context.experiment, context.scene
    tables = tables_of(experiment, folder, lambda _task: True)
    document = {
        "name": experiment.name,
        "seed": experiment.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "scene": {"name": scene.name, **scene.origin},
        "on": experiment.search.on,
        "split": experiment.split.kind,
        "tables": tables,
    }
    for table in tables:
        _draw(place, table, **scene.origin)
    write_text(place.csv, tables_csv(tables))
    write_checksummed(place.table, document)
    _renew_report(place)
    return {"table": place.digest}


def _draw(place: SearchFolder, table: dict[str, Any], **origin: Unpack[Origin]) -> None:
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.search_heatmap import draw_search

    save_figure(draw_search(table, **origin), place.figure(table["model"], table["kind"]))


def _renew_report(place: SearchFolder) -> None:
    """Write the report again if the folder holds a run."""
    if RunFolder(place.path).metrics.exists():
        # It belongs to the run, whose own task makes it again if it is lost.
        discard_written(renew_report(place.path))
