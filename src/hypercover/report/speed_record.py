"""What a run cost and how busy its workers were, read back from its table and checked."""

import csv
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

__all__ = ["Speed", "SpeedRow", "Stage", "read_speed"]

_MOST_BYTES = 2**20
_MOST_SHOWN = 200
"""Workers that a page lists."""


@dataclass(frozen=True)
class SpeedRow:
    """One worker, or all of them together."""

    worker: str
    """Machine and process."""
    tasks: int
    """Tasks it did."""
    seconds: float
    """How long it was on tasks."""
    share: float
    """Share of the wall time of that, over all workers where it is all of them."""


@dataclass(frozen=True)
class Stage:
    """One task of a run."""

    task: str
    """Its name."""
    seconds: float
    """How long it took."""
    share: float
    """Share of the seconds of all tasks."""


@dataclass(frozen=True)
class Speed:
    """The table of a run."""

    workers: int
    """Tasks that ran at the same time, at most."""
    wall: float
    """Seconds the run took."""
    factor: float
    """How many times shorter that is than the sum."""
    total: SpeedRow
    """All workers together."""
    rows: list[SpeedRow]
    """Each worker."""
    stages: list[Stage]
    """Each task, the longest first; empty where no table says."""


def read_speed(path: Path, stages: Path | None = None) -> Speed | None:
    """Read a table that a run left; None where there is none that can be read.

    ``stages`` is the table of the tasks' shares, if there is one.
    """
    try:
        lines = _lines(path)
        total, *rows = (_row(line) for line in lines)
        workers = int(total.worker.removeprefix("all "))
        wall, factor = _number(lines[0]["wall_seconds"]), _number(lines[0]["speed_up"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    shares = [] if stages is None else _read_stages(stages)
    return Speed(workers, wall, factor, total, rows[:_MOST_SHOWN], shares)


def _lines(path: Path) -> list[dict[str, str]]:
    """Read the lines of a table that is not too large to be one."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("too large")
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def _read_stages(path: Path) -> list[Stage]:
    """Read the tasks of a run, the longest first; none where the table cannot be read."""
    try:
        found = [
            Stage(line["task"][:200], _number(line["seconds"]), _number(line["share"]))
            for line in _lines(path)
        ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return sorted(found, key=lambda one: -one.seconds)[:_MOST_SHOWN]


def _row(line: dict[str, str]) -> SpeedRow:
    seconds, share = _number(line["serial_seconds"]), _number(line["efficiency"])
    return SpeedRow(line["worker"][:200], int(line["tasks"]), seconds, share)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("no number")
    return value
