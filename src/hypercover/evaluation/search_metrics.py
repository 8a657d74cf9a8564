"""The results of a grid search, as ``search.json`` and ``metrics.json`` hold them."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from hypercover.evaluation.result_files import (
    Integer,
    NonNegative,
    ResultModel,
    Share,
    read_result_file,
)

__all__ = ["BestCell", "SearchMetrics", "SearchTable", "SeedChoice", "read_search"]

GridAxis = Annotated[list[NonNegative], Field(min_length=1, max_length=1000)]


class BestCell(ResultModel):
    """The best cell of a grid."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None
    """Multiple of scikit-learn's ``gamma="scale"``, where gamma was given as one."""
    accuracy: NonNegative
    minutes: NonNegative | None = None


class SeedChoice(ResultModel):
    """The parameters that one seed chose."""

    seed: Integer
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None


class SearchTable(ResultModel):
    """One grid: one model under one kind of folds, gamma down and C across."""

    model: str = ""
    searched: list[str] = []
    kind: str = "random"
    settings: dict[str, Any] = {}
    samples: Integer = 0
    scored: Integer = 0
    folds: list[dict[str, Integer]] = []
    touching: Share = None
    """Share of the scored samples that touch a training sample."""
    notes: list[str] = []
    C: GridAxis
    gamma: GridAxis
    scale: list[NonNegative] | None = None
    accuracy: list[list[Share]]
    spread: list[list[Share]] = []
    """Standard deviation of the accuracies of the folds."""
    minutes: list[list[float | None]]
    best: BestCell | None = None
    choices: list[SeedChoice] = []
    serial_seconds: NonNegative = 0.0
    wall_seconds: NonNegative = 0.0
    speed_up: NonNegative | None = None

    @model_validator(mode="after")
    def _check_grid(self) -> "SearchTable":
        shape = (len(self.gamma), len(self.C))
        for values in (self.accuracy, self.minutes):
            if {(len(values), len(row)) for row in values} != {shape}:
                raise ValueError(f"the cells do not form a grid of {shape}")
        if self.scale is not None and len(self.scale) != shape[0]:
            raise ValueError("there must be one scale for each gamma")
        if self.best and not (self.best.row < shape[0] and self.best.column < shape[1]):
            raise ValueError("the best cell is outside the grid")
        return self


class SearchMetrics(ResultModel):
    """Everything in ``search.json``."""

    on: str = "train"
    tables: list[SearchTable] = []


def read_search(folder: Path) -> SearchMetrics | None:
    """Read the search of a run folder; None if it has none.

    Raises
    ------
    CallError
        If its file is damaged.
    """
    path = folder / "search.json"
    if not path.is_file():
        return None
    return read_result_file(path, SearchMetrics, remedy="search the experiment again")
