"""The results of a grid search, as ``search.json`` and ``metrics.json`` hold them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from hypercover.evaluation.result_files import (
    Integer,
    NonNegative,
    ResultModel,
    Share,
    read_result_file,
)
from hypercover.evaluation.result_plots import format_result, plot_grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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


class SearchResult(dict[str, Any]):
    """The content of ``search.json``, as `run_search` returns it.

    A dictionary that prints itself, turns into a table, and plots its grids.
    """

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row for each cell of each grid."""
        import pandas as pd

        return pd.DataFrame([
            {
                "model": table["model"],
                "folds": table["kind"],
                "C": cost,
                "gamma": gamma,
                "accuracy": table["accuracy"][row][column],
                "minutes": table["minutes"][row][column],
            }
            for table in self["tables"]
            for row, gamma in enumerate(table["gamma"])
            for column, cost in enumerate(table["C"])
        ])  # fmt: skip

    def plot(self, table: int = 0, ax: "Axes | None" = None) -> "Axes":
        """Draw the accuracies of one grid with matplotlib and return the axes."""
        grid = self["tables"][table]
        shares = np.array(grid["accuracy"], dtype=np.float64)
        texts = [["" if np.isnan(x) else f"{100 * x:.1f}" for x in row] for row in shares]
        gammas, costs = ([f"{value:g}" for value in grid[name]] for name in ("gamma", "C"))
        axes = plot_grid(shares, gammas, costs, texts, ax)
        axes.set(xlabel="C", ylabel="gamma")
        axes.set_title(f"{grid['model']}: accuracy in %, {grid['kind']} folds")
        return axes

    def __repr__(self) -> str:
        """Return the best cell of each grid as a table."""
        import pandas as pd

        best = [
            {"model": table["model"], "folds": table["kind"]}
            | {name: (table["best"] or {}).get(name) for name in ("C", "gamma", "accuracy")}
            for table in self["tables"]
        ]
        return format_result("Best C and gamma of each grid", pd.DataFrame(best))


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
