"""The table of a grid search: gamma down, C across, what each cell is worth and costs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from hypercover.files import csv_text, write_json
from hypercover.types import Floats, Ints

_MAX_BYTES = 64 * 2**20
"""Bytes of the largest file of cells that is read."""
_NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[int, Field(ge=0, strict=True)]


class Cell(BaseModel, extra="forbid", frozen=True):
    """The result of one C and gamma in some or all folds."""

    C: _NonNegative
    """Cost of a sample on the wrong side."""
    folds: tuple[_Count, ...]
    """Numbers of the folds, from 0."""
    correct: tuple[_Count, ...]
    """Held-out samples that were classified right, for each of these folds."""
    seconds: _NonNegative
    """Seconds that all threads together spent on it."""
    began: _NonNegative
    """When the work on it began, in seconds since 1970."""
    ended: _NonNegative
    """When it was finished."""

    @model_validator(mode="after")
    def _check_counts(self) -> "Cell":
        if len(self.folds) != len(self.correct):
            raise ValueError("a cell needs a count for each of its folds")
        return self


class _Cells(BaseModel):
    cells: tuple[Cell, ...]


class CellFile:
    """The finished cells of one row of the grid, in a file that is written atomically.

    If a search is killed, only the current cells are lost.  The name of the file holds a
    hash of everything the cells depend on, so that a larger grid, or a run with a search,
    finds them again.  A file that is missing or damaged holds no cells.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: tuple[Cell, ...] = ()
        try:
            if path.stat().st_size <= _MAX_BYTES:
                self.cells = _Cells.model_validate_json(path.read_bytes()).cells
        except (OSError, ValidationError):
            pass

    def is_missing(self, C: float, folds: Sequence[int]) -> bool:
        """Tell whether a cell is still to be done in some of these folds."""
        done = {fold for cell in self.cells if cell.C == C for fold in cell.folds}
        return not done.issuperset(folds)

    def add(self, *cells: Cell) -> None:
        """Add finished cells to the file."""
        self.cells = (*self.cells, *cells)
        write_json(self.path, _Cells(cells=self.cells).model_dump(mode="json"))


class GammaValue(NamedTuple):
    """One gamma of a grid."""

    gamma: float
    """Width of the kernel."""
    scale: float | None
    """The multiple of the width ``scale`` that the grid gives; None for a plain number."""


@dataclass(frozen=True, eq=False)
class GridTable:
    """The finished cells of a grid, for the terminal, the files and the report."""

    C: tuple[float, ...]
    """Values of C, one per column."""
    gammas: tuple[GammaValue, ...]
    """Gammas, one per row."""
    counts: tuple[int, ...]
    """Held-out samples of each fold."""
    cells: tuple[tuple[Cell, ...], ...]
    """The finished cells of each row."""

    def _in_grid(self) -> Iterator[tuple[int, int, Cell]]:
        """Yield row, column and content of the finished cells of this grid."""
        for row, cells in enumerate(self.cells):
            for cell in cells:
                if cell.C in self.C:
                    yield row, self.C.index(cell.C), cell

    @cached_property
    def correct(self) -> Ints:
        """Correct held-out samples (gamma, C, fold); -1 if not done."""
        correct = np.full((len(self.gammas), len(self.C), len(self.counts)), -1)
        for row, column, cell in self._in_grid():
            correct[row, column, list(cell.folds)] = cell.correct
        return correct

    @cached_property
    def accuracy(self) -> Floats:
        """Share of correct held-out samples (gamma, C); NaN if not done."""
        shares = self.correct.sum(axis=2) / sum(self.counts)
        return np.where((self.correct >= 0).all(axis=2), shares, np.nan)

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of the accuracies of the folds (gamma, C); NaN if not done."""
        shares = self.correct / np.array(self.counts)
        spread = shares.std(axis=2, ddof=min(1, len(self.counts) - 1))
        return np.where(np.isnan(self.accuracy), np.nan, spread)

    @cached_property
    def seconds(self) -> Floats:
        """Processor seconds of each cell (gamma, C)."""
        seconds = np.zeros((len(self.gammas), len(self.C)))
        for row, column, cell in self._in_grid():
            seconds[row, column] += cell.seconds
        return seconds

    @cached_property
    def best(self) -> tuple[int, int] | None:
        """Row and column of the best cell; the smallest C, then gamma, of equal ones."""
        if np.isnan(self.accuracy).all():
            return None
        column, row = divmod(int(np.nanargmax(self.accuracy.T)), len(self.gammas))
        return row, column

    @property
    def serial(self) -> float:
        """Processor seconds of all cells."""
        return float(self.seconds.sum())

    @cached_property
    def wall(self) -> float:
        """Seconds during which at least one cell was being computed.

        Times when several cells were computed count once; pauses of an interrupted search do
        not count.
        """
        total, reached = 0.0, 0.0
        for began, ended in sorted(
            (cell.began, cell.ended) for *_, cell in self._in_grid()
        ):
            total += max(0.0, ended - max(began, reached))
            reached = max(reached, ended)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values; null if not done."""
        scales = [gamma.scale for gamma in self.gammas]
        return {
            "C": list(self.C),
            "gamma": [gamma.gamma for gamma in self.gammas],
            "scale": None if None in scales else scales,
            "accuracy": _plain(self.accuracy),
            "spread": _plain(self.spread),
            "minutes": _plain(self.seconds / 60),
            "best": self._best_to_json(),
            "serial_seconds": self.serial,
            "wall_seconds": self.wall,
            "speed_up": self.serial / self.wall if self.wall else None,
        }

    def _best_to_json(self) -> dict[str, Any] | None:
        if self.best is None:
            return None
        row, column = self.best
        return {
            "row": row,
            "column": column,
            "C": self.C[column],
            **self.gammas[row]._asdict(),
            "accuracy": float(self.accuracy[row, column]),
            "minutes": float(self.seconds[row, column] / 60),
        }


def _plain(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


_COLUMNS = (
    "model",
    "folds",
    "gamma",
    "gamma_scale",
    "C",
    "accuracy",
    "spread",
    "minutes",
    "best",
)


def tables_csv(tables: Iterable[Mapping[str, Any]]) -> str:
    """Return the tables of ``search.json`` as CSV, one line per cell."""
    return csv_text([_COLUMNS, *(line for table in tables for line in _lines(table))])


def _lines(table: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    best = table["best"] or {}
    for row, gamma in enumerate(table["gamma"]):
        scale = None if table["scale"] is None else table["scale"][row]
        for column, cost in enumerate(table["C"]):
            yield (
                *(table["model"], table["kind"], gamma, scale, cost),
                *(table[name][row][column] for name in ("accuracy", "spread", "minutes")),
                int((row, column) == (best.get("row"), best.get("column"))),
            )
