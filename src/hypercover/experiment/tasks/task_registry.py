"""The kinds of task that plans of this package may hold.

A new kind of task is a function, and one line in `REGISTRY` that lists its arguments.
"""

from typing import Annotated, Any

from pydantic import Field, create_model, model_validator

from hypercover.experiment.config.schema import FoldKind, Name, Positive
from hypercover.jobs.plan import Arguments, Registry, TaskKind
from hypercover.prediction.tile_tasks import TileRange

_Seed = Annotated[int, Field(ge=0, lt=2**33)]
"""Seed of a draw: those of an experiment are below 2³², its repeats and folds count on."""


_Names = Annotated[list[Name], Field(min_length=1)]


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


def _kind(function: str, base: type[Arguments] = Arguments, **arguments: Any) -> TaskKind:
    """Return the kind of task of a function; an argument is a type, or a type and a default."""
    fields: dict[str, Any] = {
        name: kind if isinstance(kind, tuple) else (kind, ...)
        for name, kind in arguments.items()
    }
    model = create_model("_Arguments", __base__=base, **fields)
    return TaskKind(f"hypercover.experiment.{function}", model)


_TRAINING = {"model": Name, "split": Name, "seed": _Seed}

REGISTRY = Registry(
    "hypercover.experiment.tasks.task_registry:REGISTRY",
    {
        "draw_scene": _kind("tasks.run_tasks:draw_scene"),
        "make_split": _kind("tasks.run_tasks:make_split", split=Name, seed=_Seed),
        "make_features": _kind("tasks.run_tasks:make_features", name=Name),
        "train": _kind("tasks.run_tasks:train", **_TRAINING),
        "refit": _kind("tasks.run_tasks:refit", **_TRAINING),
        "draw_map": _kind(
            "tasks.result_tasks:draw_map", model=Name, best_of=(Name | None, None)
        ),
        "reduce_run": _kind(
            "tasks.result_tasks:collect_results", models=(_Names | None, None)
        ),
        "check_classes": _kind("tasks.result_tasks:check_classes"),
        "keep_view": _kind("tasks.run_tasks:keep_view"),
        "report_run": _kind("tasks.result_tasks:write_run_report", first=(bool, False)),
        "fold_samples": _kind("search.search_tasks:fold_samples", model=Name, by=FoldKind),
        "search_gamma": _kind("search.search_tasks:search_gamma", _OfRow),
        "tabulate": _kind("search.search_tasks:tabulate"),
        "fit_chain": _kind("tasks.feature_tiles:fit_chain"),
        "compute_tiles": _kind("tasks.feature_tiles:compute_tiles", TileRange),
    },
)
