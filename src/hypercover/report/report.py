"""The report: one offline page that says what was mapped and how far to believe it."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hypercover.evaluation.run_metrics import SearchTable, read_run_metrics
from hypercover.figures import formatting
from hypercover.files import write_text
from hypercover.report import descriptions
from hypercover.report.finished_run import FinishedRun, ModelResult

_PAGE = Path(__file__).parent / "page"
_STYLES = ("report", "tables", "viewer", "print")
_SCRIPTS = (
    "arrays",
    "dom",
    "theme",
    "tables",
    "pictures",
    "layers",
    "stage",
    "spectrum",
    "view",
    "legend",
    "inspector",
    "swipe",
    "pointer",
    "viewer",
    "confusion",
    "stills",
    "start",
)
"""Files of the page in the order in which they are joined."""


def _row_shares(matrix: list[list[float]]) -> list[list[float]]:
    """Return each row of a confusion matrix as shares of its sum."""
    return [[count / (sum(row) or 1) for count in row] for row in matrix]


def _gap(outcomes: list[ModelResult]) -> dict[str, Any] | None:
    """Compare a model under the main split with the split that differs most.

    That is the one that flatters it most, or where the main one does, the one that
    is hardest on it.
    """
    scored = [each for each in outcomes if each.model.overall_accuracy is not None]
    main = next((each for each in scored if each.main), None)
    others = [each for each in scored if not each.main]
    if main is None or not others:
        return None
    other = max(others, key=_accuracy)
    if _accuracy(other) < _accuracy(main):
        other = min(others, key=_accuracy)
    points = 100 * (_accuracy(other) - _accuracy(main))
    return {"main": main, "other": other, "points": points}


def _accuracy(outcome: ModelResult) -> float:
    return outcome.model.overall_accuracy or 0.0


@dataclass(frozen=True)
class GridCell:
    """A cell of a search as the page shows it; that of a cell that is not done is empty."""

    best: bool
    accuracy: str = ""
    """Percent."""
    minutes: str = ""
    shade: float = 0.0
    """Position between the worst and the best cell, 0 to 1."""


def grid_rows(table: SearchTable) -> Iterator[tuple[str, list[GridCell]]]:
    """Yield each gamma of a search and its cells."""
    shares = [share for row in table.accuracy for share in row if share is not None]
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    low = min(low, high - 0.05)
    best = (table.best.row, table.best.column) if table.best else None

    def cell(row: int, column: int) -> GridCell:
        share, minutes = table.accuracy[row][column], table.minutes[row][column]
        if share is None:
            return GridCell(best == (row, column))
        took = "" if minutes is None else formatting.format_minutes(minutes)
        shade = (share - low) / (high - low)
        return GridCell(best == (row, column), f"{100 * share:.2f}", took, shade)

    for row, gamma in enumerate(table.gamma):
        scale = None if table.scale is None else table.scale[row]
        cells = [cell(row, column) for column in range(len(table.C))]
        yield formatting.format_gamma(gamma, scale), cells


@cache
def _environment() -> Environment:
    """Return templates that escape every value and stop at an unknown name.

    Functions that format or describe something are their filters.
    """
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for module in (formatting, descriptions):
        environment.filters |= dict(getmembers(module, isfunction))
    environment.filters |= {"grid_rows": grid_rows, "row_shares": _row_shares}
    return environment


def _parts() -> Mapping[str, Any]:
    """Return style and script, and the digest that alone lets the script run."""
    script = _joined(_SCRIPTS, "js")
    digest = hashlib.sha256(script.encode()).digest()
    return {
        # Files of this package, not of the run: the only text that is not escaped.
        "style": Markup(_joined(_STYLES, "css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_digest": base64.b64encode(digest).decode("ascii"),
    }


def _joined(names: tuple[str, ...], suffix: str) -> str:
    return "\n".join((_PAGE / f"{name}.{suffix}").read_text("utf-8") for name in names)


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` from what a run left in its folder.

    The page stands alone: maps, pictures, style and script are inside, nothing is
    loaded from anywhere, and a content policy in the page forbids it to try.
    Parts the run did not make (maps, other splits, repeats) are left out.

    Parameters
    ----------
    folder : path of a run with at least ``metrics.json``

    Returns
    -------
    path of the report

    Raises
    ------
    CallError
        If the folder holds no metrics, or not what a run leaves.
    OutputError
        If the page cannot be written.
    """
    run = FinishedRun(Path(folder), read_run_metrics(Path(folder)))
    gaps = {name: _gap(run.of_model(name)) for name in run.record.models}
    page = _environment().get_template("report.html")
    text = page.render(
        run=run,
        record=run.record,
        gaps={name: gap for name, gap in gaps.items() if gap},
        **_parts(),
    )
    path = Path(folder) / "report.html"
    write_text(path, text)
    return path
