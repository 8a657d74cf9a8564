"""What a grid search left, in ``search.json`` or inside a run's metrics, read back and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from hypercover.maps.run_files import LENIENT, Share, Whole, read_part
from hypercover.maps.search_words import (
    best_words,
    choices_words,
    edge_words,
    fall_words,
    folds_words,
    gamma_words,
    minute_words,
    speed_words,
)

__all__ = ["SearchRecord", "SearchTable", "read_search"]


class _Part(BaseModel):
    """One object of the file: unknown keys are left alone, missing ones have defaults."""

    model_config = LENIENT


Amount = Annotated[float, Field(ge=0)]
Rungs = Annotated[list[Amount], Field(min_length=1, max_length=1000)]


class Best(_Part):
    """The best cell of a grid."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
    C: Amount
    gamma: Amount
    scale: Amount | None = None
    accuracy: Amount


class Choice(_Part):
    """What one seed chose."""

    seed: Whole
    C: Amount
    gamma: Amount
    scale: Amount | None = None


@dataclass(frozen=True)
class Shown:
    """One cell as the page shows it."""

    accuracy: str
    """Accuracy in percent; empty where it is not done."""
    minutes: str
    """Minutes, in brackets on the page."""
    shade: float
    """Place between the worst and the best cell, 0 to 1."""
    best: bool
    """Whether it is the best cell."""


class SearchTable(_Part):
    """One grid: one model under one kind of folds."""

    model: str = ""
    searched: list[str] = []
    kind: str = "random"
    settings: dict[str, Any] = {}
    samples: Whole = 0
    scored: Whole = 0
    folds: list[dict[str, Whole]] = []
    touching: Share = None
    notes: list[str] = []
    C: Rungs
    gamma: Rungs
    scale: list[Amount] | None = None
    accuracy: list[list[Share]]
    minutes: list[list[float | None]]
    best: Best | None = None
    choices: list[Choice] = []
    serial_seconds: Amount = 0.0
    wall_seconds: Amount = 0.0
    speed_up: Amount | None = None

    @model_validator(mode="after")
    def _is_a_grid(self) -> "SearchTable":
        shape = (len(self.gamma), len(self.C))
        for values in (self.accuracy, self.minutes):
            if {(len(values), len(row)) for row in values} != {shape}:
                raise ValueError(f"the cells do not make up a grid of {shape}")
        if self.scale is not None and len(self.scale) != shape[0]:
            raise ValueError("there is not one scale for each gamma")
        if self.best and not (self.best.row < shape[0] and self.best.column < shape[1]):
            raise ValueError("the best cell lies outside the grid")
        return self

    @property
    def folds_text(self) -> str:
        """How the samples were folded."""
        return folds_words(self.model_dump())

    @property
    def best_text(self) -> str:
        """The best cell."""
        return best_words(self.model_dump())

    @property
    def edge_text(self) -> str:
        """Which way to widen the grid; empty where the best cell lies inside."""
        return "".join(edge_words(self.model_dump()))

    @property
    def choices_text(self) -> str:
        """What each seed chose; empty for one seed."""
        return "".join(choices_words(self.model_dump()))

    @property
    def speed_text(self) -> str:
        """What the cells cost one after another, and what they took."""
        return speed_words(self.model_dump())

    @property
    def rows(self) -> Iterator[tuple[str, list[Shown]]]:
        """The rows of the grid: a gamma and its cells."""
        known = [share for row in self.accuracy for share in row if share is not None]
        low, high = min(known, default=0.0), max(known, default=1.0)
        low = min(low, high - 0.05)
        for row, gamma in enumerate(self.gamma):
            name = gamma_words(gamma, None if self.scale is None else self.scale[row])
            yield (
                name,
                [self._shown(row, column, low, high) for column in range(len(self.C))],
            )

    def _shown(self, row: int, column: int, low: float, high: float) -> Shown:
        share, minutes = self.accuracy[row][column], self.minutes[row][column]
        best = self.best is not None and (self.best.row, self.best.column) == (row, column)
        if share is None:
            return Shown("", "", 0.0, best)
        text = "" if minutes is None else minute_words(minutes)
        return Shown(f"{100 * share:.2f}", text, (share - low) / (high - low), best)


class SearchRecord(_Part):
    """Everything ``search.json`` says."""

    on: str = "train"
    tables: list[SearchTable] = []

    @property
    def falls(self) -> list[str]:
        """How far the accuracy falls from random to guarded folds."""
        return fall_words([table.model_dump() for table in self.tables])


def read_search(folder: Path) -> SearchRecord | None:
    """Read the search of a run folder; None where there was none.

    Raises
    ------
    CallError
        If its file is not what a search leaves.
    """
    path = folder / "search.json"
    if not path.is_file():
        return None
    return read_part(path, SearchRecord, again="search the experiment again")
