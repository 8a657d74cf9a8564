"""The kinds of task that plans of this package may hold.

A new kind of task is a function, the model of its arguments, and one line in
`REGISTRY`.
"""

from typing import Annotated

from pydantic import Field, model_validator

from hypercover.experiment.config.schema import FoldKind, Name, Positive
from hypercover.jobs.plan import Arguments, Registry, TaskKind
from hypercover.prediction.tile_tasks import TileRange

_Seed = Annotated[int, Field(ge=0, lt=2**33)]
"""Seed of a draw: those of an experiment are below 2³², its repeats and folds count on."""


class _OfSplit(Arguments):
    split: Name
    seed: _Seed


class _OfFeatures(Arguments):
    name: Name


class _OfTraining(Arguments):
    model: Name
    split: Name
    seed: _Seed


class _OfMap(Arguments):
    model: Name
    best_of: Name | None = None


class _OfModels(Arguments):
    models: Annotated[list[Name], Field(min_length=1)] | None = None


class _OfReport(Arguments):
    first: bool = False


class _OfFolds(Arguments):
    model: Name
    by: FoldKind


class _OfRow(Arguments):
    model: Name
    by: FoldKind
    costs: Annotated[list[Positive], Field(min_length=1, max_length=100)]
    gamma: Positive | None = None
    scale: Positive | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "_OfRow":
        if (self.gamma is None) == (self.scale is None):
            raise ValueError("must have either gamma or scale")
        return self


def _kind(function: str, arguments: type[Arguments] = Arguments) -> TaskKind:
    return TaskKind(f"hypercover.experiment.{function}", arguments)


REGISTRY = Registry(
    "hypercover.experiment.tasks.task_registry:REGISTRY",
    {
        "draw_scene": _kind("tasks.run_tasks:draw_scene"),
        "make_split": _kind("tasks.run_tasks:make_split", _OfSplit),
        "make_features": _kind("tasks.run_tasks:make_features", _OfFeatures),
        "train": _kind("tasks.run_tasks:train", _OfTraining),
        "refit": _kind("tasks.run_tasks:refit", _OfTraining),
        "draw_map": _kind("tasks.result_tasks:draw_map", _OfMap),
        "reduce_run": _kind("tasks.result_tasks:collect_results", _OfModels),
        "check_classes": _kind("tasks.result_tasks:check_classes"),
        "keep_view": _kind("tasks.run_tasks:keep_view"),
        "report_run": _kind("tasks.result_tasks:write_run_report", _OfReport),
        "fold_samples": _kind("search.search_tasks:fold_samples", _OfFolds),
        "search_gamma": _kind("search.search_tasks:search_gamma", _OfRow),
        "tabulate": _kind("search.search_tasks:tabulate"),
        "fit_chain": _kind("tasks.feature_tiles:fit_chain"),
        "compute_tiles": _kind("tasks.feature_tiles:compute_tiles", TileRange),
    },
)
