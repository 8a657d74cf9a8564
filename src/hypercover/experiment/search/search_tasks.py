"""The plan of a grid search and its tasks: fold the samples, compute rows of cells, tabulate.

A row of cells, one gamma with every C, is a task.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hypercover import files
from hypercover.errors import ExperimentError
from hypercover.evaluation.accuracy import none_for_nan
from hypercover.experiment.config.builders import fingerprint
from hypercover.experiment.config.schema import Experiment, FoldKind, SearchSpec, SVMSpec
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder, renew_report
from hypercover.experiment.search import search_problem
from hypercover.experiment.search.search_problem import Cell, GammaValue, SearchProblem
from hypercover.experiment.tasks.experiment_plan import feature_needs, make_plan
from hypercover.experiment.tasks.run_context import RunContext, versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.task_files import result_of
from hypercover.scene.file_identity import file_record
from hypercover.types import Report

_LEARNING = 10.0
"""Weight of fitting a reduction in every fold; a cell has 1."""


def searched_grids(experiment: Experiment) -> list[tuple[str, FoldKind]]:
    """List the models and kinds of folds for which a grid is searched.

    Raises
    ------
    ExperimentError
        If no model of the experiment is an SVM.
    """
    models = [name for name, spec in experiment.models.items() if isinstance(spec, SVMSpec)]
    if not models:
        kinds = (f"{name} ({spec.kind})" for name, spec in experiment.models.items())
        raise ExperimentError(
            f"Only models of kind svm have a C and a gamma to search, and this experiment "
            f"has {', '.join(kinds)}; add a model of kind svm."
        )
    return [(model, by) for model in models for by in experiment.search.by]


def _grid_gammas(spec: SearchSpec) -> list[dict[str, float]]:
    """List the gammas of a grid, as numbers or as multiples of ``scale``."""
    if spec.gamma is not None:
        return [{"gamma": gamma} for gamma in spec.gamma]
    return [{"scale": scale} for scale in spec.gamma_scale]


def _folds_task(model: str, by: str) -> str:
    """Name the task that folds the samples of a model."""
    return f"search-{model}-{by}"


def _row_task(model: str, by: str, gamma: dict[str, float]) -> str:
    """Name the task that computes all C of one gamma."""
    ((kind, value),) = gamma.items()
    return f"{_folds_task(model, by)}-{kind}-{value!r}"


def make_search_plan(experiment: Experiment) -> Plan:
    """Expand an experiment into the tasks of its search.

    Order: image features; fold the samples for each model and kind of folds;
    one task a gamma; the table.
    """
    grids, search = searched_grids(experiment), experiment.search
    folding, rows = [], []
    with file_record():
        for model, by in grids:
            spec, key = experiment.models[model], _key(experiment, model)
            needs, name = feature_needs(spec), _folds_task(model, by)
            arguments: dict[str, Any] = {"model": model, "by": by}
            weight = 0.2 if getattr(spec, "nwfe", None) is None else _LEARNING
            folding.append(
                Task(name, "fold_samples", arguments, needs=needs, weight=weight, key=key)
            )
            rows += [
                Task(
                    _row_task(model, by, gamma),
                    "search_gamma",
                    {**arguments, "costs": search.C, **gamma},
                    needs=(name, *needs),
                    weight=float(len(search.C)),
                    key=key,
                )
                for gamma in _grid_gammas(search)
            ]
        features = {need for task in folding for need in task.needs}
        tabulate = Task(
            "search",
            "tabulate",
            needs=tuple(task.name for task in (*folding, *rows)),
            weight=0.1,
            key=fingerprint(experiment, search, [list(grid) for grid in grids]),
        )
        # The tasks of the image features are those of a run.
        first = (task for task in make_plan(experiment).tasks if task.name in features)
        return Plan((*first, *folding, *rows, tabulate), REGISTRY)


def _key(experiment: Experiment, model: str) -> str:
    """Hash what the cells of a model depend on besides C, gamma and the kind of folds."""
    spec, search = experiment.models[model], experiment.search
    return fingerprint(
        experiment,
        spec.model_dump(mode="json", exclude={"C", "gamma", "probability"}),
        experiment.features.get(spec.features or ""),
        search.model_dump(mode="json", include={"folds", "size", "guard", "on"}),
        experiment.split if search.on == "train" else None,
        experiment.window if search.on == "train" else None,
        experiment.seed,
    )


@lru_cache(maxsize=1)
def _problem_of(folder: Path, model: str, by: FoldKind, _changed: int) -> SearchProblem:
    """Make a problem once for all rows that one process computes."""
    context = RunContext.of(folder, models=[model])
    experiment, scene, seed = context.experiment, context.scene, context.experiment.seed
    samples = search_problem.samples_for(experiment, scene)
    folds = search_problem.folds_for(experiment.search, by, samples, scene=scene, seed=seed)
    inputs = context.model_scene(experiment.models[model])
    return SearchProblem.of(
        experiment, model, inputs, folds, context.folder.path, seed=seed
    )


def _problem(folder: Path, model: str, by: FoldKind) -> SearchProblem:
    changed = files.modified_ns(SearchFolder(folder.parent).experiment)
    return _problem_of(folder, model, by, changed)


def forget_problem() -> None:
    """Release the samples of the last problem and their distances."""
    _problem_of.cache_clear()


def fold_samples(
    folder: Path, *, model: str, by: FoldKind, report: Report
) -> dict[str, Any]:
    """Fold the samples of a model; return the folds and the gamma of ``scale``.

    A reduction is fitted here, so that the rows find it in whichever process they run.
    """
    problem = _problem(folder, model, by)
    if problem.classifier.reduction is not None:
        problem.preprocessors(report)
    return {"folds": problem.folds.to_json(), "width": problem.scale_gamma}


def search_gamma(
    folder: Path,
    *,
    model: str,
    by: FoldKind,
    costs: list[float],
    gamma: float | None = None,
    scale: float | None = None,
    report: Report,
) -> dict[str, Any]:
    """Compute the cells of one gamma; finished ones are taken over."""
    problem = _problem(folder, model, by)
    value = problem.gamma_value(gamma=gamma, scale=scale)
    cells = problem.solve(value.gamma, costs, report)
    return value._asdict() | {"cells": [cell.model_dump(mode="json") for cell in cells]}


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
        if done(_folds_task(model, by))
    ]


def _table(
    experiment: Experiment,
    folder: Path,
    model: str,
    by: FoldKind,
    done: Callable[[str], bool],
) -> dict[str, Any]:
    facts = result_of(folder, _folds_task(model, by))
    gammas, rows, tasks = [], [], []
    for value in _grid_gammas(experiment.search):
        tasks.append(task := _row_task(model, by, value))
        scale = value.get("scale")
        gamma = facts["width"] * scale if scale is not None else value["gamma"]
        gammas.append(GammaValue(gamma, scale))
        cells = result_of(folder, task)["cells"] if done(task) else []
        rows.append([Cell.model_validate(cell) for cell in cells])
    counts = [fold["test"] for fold in facts["folds"]["folds"]]
    table = grid_table(experiment.search.C, gammas, counts, rows)
    return {"model": model, "tasks": tasks, **facts["folds"], **table}


def tabulate(folder: Path) -> dict[str, Any]:
    """Write the tables of a search, draw them, and update the report of the run."""
    from hypercover.figures.accuracy_figures import draw_search

    context, place = RunContext.of(folder), SearchFolder(folder.parent)
    run = RunFolder(place.path)
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
        name = f"search-{table['model']}-{table['kind']}"
        run.save_figure(draw_search(table, **scene.origin), name)
    files.write_text(place.csv, tables_csv(tables))
    files.write_checksummed(place.table, document)
    if run.metrics.exists():
        # The report belongs to the run, whose own task makes it again if it is lost.
        files.discard_written(renew_report(place.path))
    return {"table": place.digest}


def search_best(
    context: RunContext, model: str, *, split: str, seed: int, report: Report
) -> dict[str, Any] | None:
    """Search the grid of a model whose C or gamma is ``search``.

    Only the training pixels of the split are used.  Cells that ``hypercover search`` has
    computed in the same run folder are taken over.

    Parameters
    ----------
    split, seed : name and seed of the split on which the model will be trained
    report : called with the share done and a message

    Returns
    -------
    the entry in the metrics: folds, all cells and the best; None without a search
    """
    experiment, scene = context.experiment, context.scene
    spec = experiment.models[model]
    if not (isinstance(spec, SVMSpec) and spec.searched):
        return None
    by = search_problem.preferred_folds(experiment.splits[split].kind, experiment.search.by)
    samples = context.load_split(split, seed).samples("train", scene.usable_labels)
    folds = search_problem.folds_for(experiment.search, by, samples, scene=scene, seed=seed)
    home = SearchFolder(context.folder.path).home
    inputs = context.model_scene(spec)
    problem = SearchProblem.of(experiment, model, inputs, folds, home, seed=seed)
    gammas = _gamma_values(problem, experiment, spec)
    costs = experiment.search.C if spec.C == "search" else [float(problem.classifier.C)]
    rows = []
    for done, gamma in enumerate(gammas):

        def progress(share: float, what: str, done: int = done) -> None:
            report((done + share) / len(gammas), f"searching the grid: {what}")

        rows.append(problem.solve(gamma.gamma, costs, progress))
    table = grid_table(costs, gammas, [len(fold.test) for fold in folds.parts], rows)
    searched = [name for name in ("C", "gamma") if getattr(spec, name) == "search"]
    return {"model": model, "searched": searched, **folds.to_json(), **table}


def _gamma_values(
    problem: SearchProblem, experiment: Experiment, spec: SVMSpec
) -> list[GammaValue]:
    if spec.gamma == "search":
        return [problem.gamma_value(**gamma) for gamma in _grid_gammas(experiment.search)]
    gamma = 1.0 / problem.features if spec.gamma == "auto" else spec.gamma
    return [problem.gamma_value(gamma=gamma if isinstance(gamma, float) else None)]


def best_parameters(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the chosen C and gamma from the metrics of a model; empty without a search."""
    search = figures.get("search")
    return {name: search["best"][name] for name in search["searched"]} if search else {}


def grid_table(
    C: Sequence[float],
    gammas: Sequence[GammaValue],
    counts: Sequence[int],
    cells: Sequence[Iterable[Cell]],
) -> dict[str, Any]:
    """Return the table of a grid as plain values, for the terminal, the files and the report.

    What is not done is null.  Of equally accurate cells the best is that of the smallest C,
    then of the smallest gamma.

    Parameters
    ----------
    C : one per column
    gammas : one per row
    counts : held-out samples of each fold
    cells : the finished cells of each row; those of another C do not count
    """
    correct = np.full((len(gammas), len(C), len(counts)), -1)
    seconds = np.zeros(correct.shape[:2])
    finished = []
    for row, cell in ((row, cell) for row, part in enumerate(cells) for cell in part):
        if cell.C in C:
            at = row, list(C).index(cell.C)
            correct[*at, list(cell.folds)] = cell.correct
            seconds[at] += cell.seconds
            finished.append(cell)
    done = (correct >= 0).all(axis=2)
    accuracy = np.where(done, correct.sum(axis=2) / sum(counts), np.nan)
    spread = (correct / np.array(counts)).std(axis=2, ddof=min(1, len(counts) - 1))
    best = None
    if done.any():
        column, row = divmod(int(np.nanargmax(accuracy.T)), len(gammas))
        best = {
            "row": row,
            "column": column,
            "C": C[column],
            **gammas[row]._asdict(),
            "accuracy": float(accuracy[row, column]),
            "minutes": float(seconds[row, column] / 60),
        }
    scales = [gamma.scale for gamma in gammas]
    serial, wall = float(seconds.sum()), wall_seconds(finished)
    return {
        "C": list(C),
        "gamma": [gamma.gamma for gamma in gammas],
        "scale": None if None in scales else scales,
        "accuracy": [none_for_nan(row) for row in accuracy],
        "spread": [none_for_nan(row) for row in np.where(done, spread, np.nan)],
        "minutes": (seconds / 60).tolist(),
        "best": best,
        "serial_seconds": serial,
        "wall_seconds": wall,
        "speed_up": serial / wall if wall else None,
    }


def wall_seconds(cells: Iterable[Cell]) -> float:
    """Return the seconds during which at least one cell was being computed.

    Times when several cells were computed count once; pauses of an interrupted search do
    not count.
    """
    total, reached = 0.0, 0.0
    for began, ended in sorted((cell.began, cell.ended) for cell in cells):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def tables_csv(tables: Iterable[Mapping[str, Any]]) -> str:
    """Return the tables of ``search.json`` as CSV, one line per cell."""
    rows = [row for table in tables for row in _rows(table)]
    return files.csv_text([rows[0], *(row.values() for row in rows)])


def _rows(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    best = table["best"] or {}
    for row, gamma in enumerate(table["gamma"]):
        for column, cost in enumerate(table["C"]):
            yield {
                "model": table["model"],
                "folds": table["kind"],
                "gamma": gamma,
                "gamma_scale": table["scale"] and table["scale"][row],
                "C": cost,
                **{x: table[x][row][column] for x in ("accuracy", "spread", "minutes")},
                "best": int((row, column) == (best.get("row"), best.get("column"))),
            }
