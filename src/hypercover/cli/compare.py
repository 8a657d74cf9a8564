"""``hypercover compare``: which model is better, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercover.cli.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.evaluation.comparison import Difference
    from hypercover.experiment.results.run_comparison import RunComparison


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Compare this model; may be given several times."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="main, or another split of the runs: one beside it, or train-SHARE of a curve."
        ),
    ] = "main",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for tables and agreement maps."),
    ] = None,
) -> None:
    """Compare all pairs of models on the same test pixels: differences, intervals, tests.

    Runs whose test pixels differ are refused.

    Example: hypercover compare runs/fields --model svm --model cnn -o comparison
    """
    from hypercover.cli.tables import show
    from hypercover.evaluation.intervals import MIN_UNITS
    from hypercover.experiment.results.run_comparison import compare_runs
    from hypercover.figures.formatting import describe_too_few

    found = compare_runs(runs, models=model or (), split=split)
    files = [] if out is None else found.write(out)
    show(_table(found))
    first = found.pairs[0].comparison
    drawn = f"Interval and p: bootstrap over {first.units} {first.unit}."
    if first.units < MIN_UNITS:
        drawn = f"Neither interval nor p, {describe_too_few(first.units, first.unit)}."
    say(
        f"{drawn} McNemar's test treats neighbouring pixels as independent, so its p-values "
        "are far too small."
    )
    say(*(f"Note: {note}" for note in found.notes))
    say(*(f"File: {file}" for file in files))


def _table(found: "RunComparison") -> "Table":
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    title = f"overall accuracy in %, {found.split} split" + (
        f" ({found.mark})" if found.mark else ""
    )
    table = Table(title=table_cell(title), title_justify="left")
    for column in ("first", "second", "seed"):
        table.add_column(column)
    heads = ("first", "second", "first −\nsecond", "95 % interval", "p", "only one\nright",
             "McNemar p:\nexact, χ²")  # fmt: skip
    for column in heads:
        table.add_column(column, justify="right")
    for pair in found.pairs:
        names = (table_cell(pair.first.label), table_cell(pair.second.label))
        if len(found.seeds) > 1:
            mean = _cells(pair.comparison.overall)
            table.add_row(*names, f"mean of {len(found.seeds)}", *mean, "", "")
        for seed, (one, test) in zip(found.seeds, pair.comparison.per_seed, strict=True):
            alone = f"{test.only_first} : {test.only_second}"
            chances = f"{_chance(test.exact_p)}, {_chance(test.chi2_p)}"
            table.add_row(*names, str(seed), *_cells(one), alone, chances)
    return table


def _cells(one: "Difference") -> list[str]:
    """Write a difference: both accuracies, first − second, its interval, p."""
    known = [one.first, one.second]
    cells = ["–" if share is None else f"{100 * share:.1f}" for share in known]
    cells.append("–" if one.difference is None else f"{100 * one.difference:+.1f}")
    shown = "–"
    if one.interval is not None:
        low, high = one.interval
        shown = f"\\[{100 * low:+.1f}, {100 * high:+.1f}]"
    return [*cells, shown, "–" if one.p_value is None else _chance(one.p_value)]


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
