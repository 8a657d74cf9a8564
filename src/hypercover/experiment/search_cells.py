"""The cells of a grid, kept one by one as they are finished."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hypercover.files import write_json

__all__ = ["Cell", "CellFile"]

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
