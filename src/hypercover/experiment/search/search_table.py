"""The table of a grid search: gamma down, C across, what each cell is worth and costs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.files import csv_text, write_json

__all__ = ["Cell", "CellFile", "GammaValue", "GridTable", "tables_csv"]

_BIGGEST = 64 * 2**20
"""Bytes of the largest file of cells that is read."""


@dataclass(frozen=True)
class Cell:
    """What came of one C with one gamma, in some or all of the folds."""

    C: float
    """Cost of a sample on the wrong side."""
    folds: tuple[int, ...]
    """Numbers of the folds, from 0."""
    correct: tuple[int, ...]
    """Held-out samples that were classified right, for each of these folds."""
    seconds: float
    """Seconds that all threads together spent on it."""
    began: float
    """When the work on it began, in seconds since 1970."""
    ended: float
    """When it was finished."""

    @classmethod
    def of(cls, entry: Any) -> "Cell":
        """Make a cell of its JSON object.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is not what :meth:`to_json` gives.
        """
        cell = cls(
            **entry | {name: tuple(map(int, entry[name])) for name in ("folds", "correct")}
        )
        numbers = (cell.C, cell.seconds, cell.began, cell.ended, *cell.correct)
        if not all(isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("a number is below 0 or not finite")
        if len(cell.folds) != len(cell.correct) or min(cell.folds, default=-1) < 0:
            raise ValueError("the folds of a cell are not those of its counts")
        return cell

    def to_json(self) -> dict[str, Any]:
        """Return the cell as a JSON object."""
        return asdict(self)


class CellFile:
    """The finished cells of one row of the grid, in a file that is always whole.

    Why it exists: killed at any moment, a search repeats at most the cells it
    was at.  The name of the file holds a hash of everything the cells depend
    on, so that a larger grid, or a run that searches, finds them again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = _read(path)

    def lacks(self, C: float, folds: Sequence[int]) -> bool:
        """Tell whether a cell is still to be done in some of these folds."""
        known = {fold for cell in self.cells if cell.C == C for fold in cell.folds}
        return not known.issuperset(folds)

    def keep(self, *cells: Cell) -> None:
        """Add finished cells to the file."""
        self.cells = (*self.cells, *cells)
        write_json(self.path, {"cells": [cell.to_json() for cell in self.cells]})


def _read(path: Path) -> tuple[Cell, ...]:
    """Read the cells of a file; one that is missing or damaged holds none."""
    try:
        if path.stat().st_size > _BIGGEST:
            return ()
        entries = json.loads(path.read_bytes())["cells"]
        return tuple(Cell.of(entry) for entry in entries)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return ()


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GammaValue:
    """One gamma of a grid."""

    gamma: float
    """Width of the kernel."""
    scale: float | None
    """The multiple of the width ``scale`` that was asked for; None for a plain number."""


@dataclass(frozen=True, eq=False)
class GridTable:
    """Every cell of a grid as far as it is done.

    Why it exists: the same figures go to the terminal while the search runs,
    into the files it leaves and into the report.
    """

    C: tuple[float, ...]
    """Costs, one a column."""
    rungs: tuple[GammaValue, ...]
    """Gammas, one a row."""
    counts: tuple[int, ...]
    """Held-out samples of each fold."""
    cells: tuple[tuple[Cell, ...], ...]
    """The finished cells of each row."""

    @cached_property
    def correct(self) -> npt.NDArray[np.int64]:
        """Right held-out samples (gamma, C, fold); -1 where not done."""
        found = np.full((len(self.rungs), len(self.C), len(self.counts)), -1)
        for row, cells in enumerate(self.cells):
            for cell in cells:
                if cell.C in self.C:
                    found[row, self.C.index(cell.C), list(cell.folds)] = cell.correct
        return found

    @cached_property
    def accuracy(self) -> Floats:
        """Share of all held-out samples that are right (gamma, C); NaN where not done."""
        shares = self.correct.sum(axis=2) / sum(self.counts)
        return np.where((self.correct >= 0).all(axis=2), shares, np.nan)

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of the folds' accuracies (gamma, C); NaN where not done."""
        shares = self.correct / np.array(self.counts)
        spread = shares.std(axis=2, ddof=min(1, len(self.counts) - 1))
        return np.where(np.isnan(self.accuracy), np.nan, spread)

    @cached_property
    def seconds(self) -> Floats:
        """Seconds that all threads together spent on each cell (gamma, C)."""
        spent = np.zeros((len(self.rungs), len(self.C)))
        for row, cells in enumerate(self.cells):
            for cell in cells:
                if cell.C in self.C:
                    spent[row, self.C.index(cell.C)] += cell.seconds
        return spent

    @cached_property
    def best(self) -> tuple[int, int] | None:
        """Row and column of the best cell: of equals the smallest C, then gamma."""
        if np.isnan(self.accuracy).all():
            return None
        column, row = divmod(int(np.nanargmax(self.accuracy.T)), len(self.rungs))
        return row, column

    @property
    def serial(self) -> float:
        """Seconds of one thread that all cells would have taken."""
        return float(self.seconds.sum())

    @cached_property
    def wall(self) -> float:
        """Seconds during which a cell of the grid was really at work.

        Where several were at work at once the time counts once; the time
        between two calls of an interrupted search does not count.
        """
        spans = sorted(
            (cell.began, cell.ended)
            for cells in self.cells
            for cell in cells
            if cell.C in self.C
        )
        total, reached = 0.0, 0.0
        for began, ended in spans:
            total += max(0.0, ended - max(began, reached))
            reached = max(reached, ended)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values; what is not done is null."""
        scales = [rung.scale for rung in self.rungs]
        return {
            "C": list(self.C),
            "gamma": [rung.gamma for rung in self.rungs],
            "scale": None if None in scales else scales,
            "accuracy": _plain(self.accuracy),
            "spread": _plain(self.spread),
            "minutes": _plain(self.seconds / 60),
            "best": self.best_to_json(),
            "serial_seconds": self.serial,
            "wall_seconds": self.wall,
            "speed_up": self.serial / self.wall if self.wall else None,
        }

    def best_to_json(self) -> dict[str, Any] | None:
        """Return the best cell as plain values."""
        if self.best is None:
            return None
        row, column = self.best
        return {
            "row": row,
            "column": column,
            "C": self.C[column],
            "gamma": self.rungs[row].gamma,
            "scale": self.rungs[row].scale,
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
    """Return the tables of ``search.json`` as CSV, one line a cell."""
    return csv_text([_COLUMNS, *(line for table in tables for line in _lines(table))])


def _lines(table: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    best = (table["best"]["row"], table["best"]["column"]) if table["best"] else None
    for row, gamma in enumerate(table["gamma"]):
        for column, cost in enumerate(table["C"]):
            yield (
                table["model"],
                table["kind"],
                gamma,
                "" if table["scale"] is None else table["scale"][row],
                cost,
                *(table[name][row][column] for name in ("accuracy", "spread", "minutes")),
                int((row, column) == best),
            )
