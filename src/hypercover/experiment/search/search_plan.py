"""The plan of a grid search: each row of cells, one gamma with every C, is a task."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypercover.errors import ExperimentError
from hypercover.experiment.config.builders import fingerprint
from hypercover.experiment.config.schema import Experiment, FoldKind, SearchSpec, SVMSpec
from hypercover.experiment.results.run_folder import SearchFolder
from hypercover.experiment.search.search_problem import (
    SearchProblem,
    folds_for,
    preferred_folds,
)
from hypercover.experiment.search.search_table import GammaValue, GridTable
from hypercover.experiment.tasks.experiment_plan import feature_needs, make_plan
from hypercover.experiment.tasks.feature_tasks import model_scene
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.plan import Plan, Task
from hypercover.scene.inputs import known_inputs
from hypercover.types import Report

if TYPE_CHECKING:
    from hypercover.experiment.tasks.run_context import RunContext


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
        kinds = ", ".join(
            f"{name} ({spec.kind})" for name, spec in experiment.models.items()
        )
        raise ExperimentError(
            f"Only models of kind svm have a C and a gamma to search, and this experiment "
            f"has {kinds}; add a model of kind svm."
        )
    return [(model, by) for model in models for by in experiment.search.by]


def grid_gammas(spec: SearchSpec) -> list[dict[str, float]]:
    """List the gammas of a grid, as numbers or as multiples of ``scale``."""
    if spec.gamma is not None:
        return [{"gamma": gamma} for gamma in spec.gamma]
    return [{"scale": scale} for scale in spec.gamma_scale]


def folds_task(model: str, by: str) -> str:
    """Name the task that folds the samples of a model."""
    return f"search-{model}-{by}"


def row_task(model: str, by: str, gamma: dict[str, float]) -> str:
    """Name the task that computes all C of one gamma."""
    ((kind, value),) = gamma.items()
    return f"{folds_task(model, by)}-{kind}-{value!r}"


def make_search_plan(experiment: Experiment) -> Plan:
    """Expand an experiment into the tasks of its search.

    Order: image features; fold the samples for each model and kind of folds;
    one task a gamma; the table.
    """
    with known_inputs():
        return _planned(experiment, searched_grids(experiment))


def _planned(experiment: Experiment, grids: list[tuple[str, FoldKind]]) -> Plan:
    folding = [_folding(experiment, model, by) for model, by in grids]
    rows = [task for model, by in grids for task in _rows(experiment, model, by)]
    tabulate = Task(
        "search",
        "tabulate",
        needs=tuple(task.name for task in (*folding, *rows)),
        weight=0.1,
        key=fingerprint(
            experiment, experiment.search, [list(problem) for problem in grids]
        ),
    )
    return Plan((*_features(experiment, grids), *folding, *rows, tabulate), REGISTRY)


def _features(experiment: Experiment, grids: list[tuple[str, FoldKind]]) -> Iterator[Task]:
    """Take the tasks of the image features from the plan of a run."""
    models = [experiment.models[model] for model, _ in grids]
    needed = {name for spec in models for name in feature_needs(spec)}
    return (task for task in make_plan(experiment).tasks if task.name in needed)


def _folding(experiment: Experiment, model: str, by: FoldKind) -> Task:
    return Task(
        folds_task(model, by),
        "fold_samples",
        {"model": model, "by": by},
        needs=feature_needs(experiment.models[model]),
        weight=0.2
        if getattr(experiment.models[model], "nwfe", None) is None
        else _LEARNING,
        key=_key(experiment, model),
    )


def _rows(experiment: Experiment, model: str, by: FoldKind) -> Iterator[Task]:
    spec = experiment.search
    for gamma in grid_gammas(spec):
        arguments: dict[str, Any] = {"model": model, "by": by, "costs": spec.C}
        yield Task(
            row_task(model, by, gamma),
            "search_gamma",
            arguments | gamma,
            needs=(folds_task(model, by), *feature_needs(experiment.models[model])),
            weight=float(len(spec.C)),
            key=_key(experiment, model),
        )


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


@dataclass(frozen=True)
class BestParameters:
    """The C and gamma with the best accuracy in cross-validation."""

    parameters: dict[str, float]
    """Values of the searched parameters: C, gamma, or both."""
    facts: dict[str, Any] | None
    """Entry in the metrics: folds, all cells and the best; None without a search."""


def search_best(
    context: "RunContext", model: str, *, split: str, seed: int, report: Report
) -> BestParameters:
    """Search the grid of a model whose C or gamma is ``search``.

    Only the training pixels of the split are used.  Cells that ``hypercover search`` has
    computed in the same run folder are taken over.

    Parameters
    ----------
    split, seed : name and seed of the split on which the model will be trained
    report : called with the share done and a message
    """
    experiment = context.experiment
    spec = experiment.models[model]
    if not (isinstance(spec, SVMSpec) and spec.searched):
        return BestParameters({}, None)
    by = preferred_folds(experiment.splits[split].kind, experiment.search.by)
    samples = context.load_split(split, seed).samples("train", context.scene.usable_labels)
    folds = folds_for(experiment.search, by, samples, scene=context.scene, seed=seed)
    home = SearchFolder(context.folder.path).home
    scene = model_scene(context, spec)
    problem = SearchProblem.of(experiment, model, scene, folds, home, seed=seed)
    table = _searched(problem, experiment, spec, report).to_json()
    searched = [name for name in ("C", "gamma") if getattr(spec, name) == "search"]
    facts = {"model": model, "searched": searched, **folds.to_json(), **table}
    return BestParameters({name: table["best"][name] for name in searched}, facts)


def best_parameters(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the chosen C and gamma from the metrics of a model; empty without a search."""
    search = figures.get("search")
    return {name: search["best"][name] for name in search["searched"]} if search else {}


def _searched(
    problem: SearchProblem, experiment: Experiment, spec: SVMSpec, report: Report
) -> GridTable:
    """Compute all rows of a grid, one after another."""
    gammas = _gamma_values(problem, experiment, spec)
    costs = experiment.search.C if spec.C == "search" else [float(problem.classifier.C)]
    rows = []
    for done, gamma in enumerate(gammas):

        def progress(share: float, what: str, done: int = done) -> None:
            report((done + share) / len(gammas), f"searching the grid: {what}")

        rows.append(problem.solve(gamma.gamma, costs, progress))
    counts = tuple(len(fold.test) for fold in problem.folds.parts)
    return GridTable(tuple(costs), gammas, counts, tuple(rows))


def _gamma_values(
    problem: SearchProblem, experiment: Experiment, spec: SVMSpec
) -> tuple[GammaValue, ...]:
    if spec.gamma == "search":
        return tuple(
            problem.gamma_value(**gamma) for gamma in grid_gammas(experiment.search)
        )
    if spec.gamma == "auto":
        return (problem.gamma_value(gamma=1.0 / problem.features),)
    return (
        problem.gamma_value(gamma=spec.gamma if isinstance(spec.gamma, float) else None),
    )
