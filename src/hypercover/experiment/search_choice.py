"""Choosing C and gamma inside a run: on the training pixels of each split alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypercover.experiment.features import scene_for_model
from hypercover.experiment.schema import Experiment, SVMSpec
from hypercover.experiment.search_case import Case, folds_for, preferred_folds
from hypercover.experiment.search_folder import SearchFolder
from hypercover.experiment.search_plan import gammas_of
from hypercover.experiment.search_table import Rung, Table

if TYPE_CHECKING:
    from hypercover.experiment.setting import Setting

__all__ = ["Choice", "choose", "chosen"]

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Choice:
    """The C and gamma that did best in cross-validation."""

    parameters: dict[str, float]
    """Those that were searched: C, gamma, or both."""
    facts: dict[str, Any] | None
    """What the metrics say of it: the folds, every cell and the best; None for no search."""


def choose(
    setting: "Setting", model: str, *, split: str, seed: int, report: Report
) -> Choice:
    """Search the grid of a model whose C or gamma is ``search``.

    Nothing but the training pixels of the split is looked at.  Cells that
    ``hypercover search`` has done in the same run folder are taken over.

    Parameters
    ----------
    split, seed : name and seed of the split that the model is to be trained on
    report : called with the share done and a few words
    """
    experiment = setting.experiment
    spec = experiment.models[model]
    if not (isinstance(spec, SVMSpec) and spec.searched):
        return Choice({}, None)
    by = preferred_folds(experiment.splits[split].kind, experiment.search.by)
    samples = setting.load_split(split, seed).samples("train", setting.scene.usable_labels)
    folds = folds_for(experiment.search, by, samples, scene=setting.scene, seed=seed)
    home = SearchFolder(setting.folder.path).home
    scene = scene_for_model(setting, spec)
    case = Case.of(experiment, model, scene, folds, home, seed=seed)
    table = _searched(case, experiment, spec, report).to_json()
    wanted = [name for name in ("C", "gamma") if getattr(spec, name) == "search"]
    facts = {"model": model, "searched": wanted, **folds.to_json(), **table}
    return Choice({name: table["best"][name] for name in wanted}, facts)


def chosen(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the C and gamma that the metrics of a model say were chosen; none without a search."""
    search = figures.get("search")
    return {name: search["best"][name] for name in search["searched"]} if search else {}


def _searched(case: Case, experiment: Experiment, spec: SVMSpec, report: Report) -> Table:
    """Do all rows of a grid, one after another."""
    rungs = _rungs(case, experiment, spec)
    costs = experiment.search.C if spec.C == "search" else [float(case.classifier.C)]
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
