"""Choosing C and gamma inside a run: on the training pixels of each split alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover.experiment.schema import Experiment, FoldKind, SVMSpec
from hypercover.experiment.search_case import Case, folds_for
from hypercover.experiment.search_plan import gammas_of
from hypercover.experiment.search_table import Rung, Table
from hypercover.samples.samples import Samples
from hypercover.scene.scene import Scene

__all__ = ["Choice", "choose", "preferred_folds"]

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Choice:
    """The C and gamma that did best in cross-validation."""

    parameters: dict[str, float]
    """Those that were searched: C, gamma, or both."""
    facts: dict[str, Any]
    """What the metrics say of it: the cell, its accuracy, folds and grid."""


def preferred_folds(split: str, by: list[FoldKind]) -> FoldKind:
    """Return the kind of folds that choose for a split.

    Under a split by blocks the first kind with a guard, under any other the
    first of all.

    Examples
    --------
    >>> preferred_folds("blocks", ["random", "clusters", "blocks"])
    'clusters'
    >>> preferred_folds("random", ["random", "blocks"])
    'random'
    """
    guarded = [kind for kind in by if kind != "random"]
    return guarded[0] if split == "blocks" and guarded else by[0]


def choose(
    experiment: Experiment,
    model: str,
    scene: Scene,
    samples: Samples,
    *,
    seed: int,
    split: str,
    home: Path,
    report: Report,
) -> Choice:
    """Search the grid of a model whose C or gamma is ``search``.

    Parameters
    ----------
    scene : what the model sees
    samples : its training pixels; no other is looked at
    seed : seed of the folds
    split : kind of the split the samples come from
    home : folder in which finished cells are kept
    report : called with the share done and a few words
    """
    spec = experiment.models[model]
    by = preferred_folds(split, experiment.search.by)
    folds = folds_for(experiment.search, by, samples, scene=scene, seed=seed)
    case = Case.of(experiment, model, scene, folds, home)
    table = _searched(case, experiment, spec, report)
    best = table.best_to_json()
    wanted = [name for name in ("C", "gamma") if getattr(spec, name) == "search"]
    facts = {
        **(best or {}),
        "searched": wanted,
        "folds": folds.to_json(),
        "table": table.to_json(),
    }
    return Choice({name: facts[name] for name in wanted}, facts)


def _searched(case: Case, experiment: Experiment, spec: Any, report: Report) -> Table:
    """Do all rows of a grid, one after another."""
    rungs = _rungs(case, experiment, spec)
    default = float(case.classifier.C) if spec.C is None else spec.C
    costs = experiment.search.C if spec.C == "search" else [default]
    rows = []
    for done, rung in enumerate(rungs):

        def said(share: float, what: str, done: int = done) -> None:
            report((done + share) / len(rungs), f"searching the grid: {what}")

        rows.append(case.solve(rung.gamma, costs, said))
    counts = tuple(len(fold.test) for fold in case.folds.parts)
    return Table(tuple(costs), rungs, counts, tuple(rows))


def _rungs(case: Case, experiment: Experiment, spec: SVMSpec) -> tuple[Rung, ...]:
    if spec.gamma == "search":
        return tuple(case.rung(**asked) for asked in gammas_of(experiment.search))
    if spec.gamma == "auto":
        return (case.rung(gamma=1.0 / case.features),)
    return (case.rung(gamma=spec.gamma if isinstance(spec.gamma, float) else None),)
