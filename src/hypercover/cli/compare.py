"""``hypercover compare``: which model is better, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hypercover.cli.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.evaluation.comparison import Difference
    from hypercover.experiment.results.run_comparison import RunComparison


def compare(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="Folders of runs.")],
    model: Annotated[
        list[str] | None, Option(help="Compare this model (repeatable).")
    ] = None,
    split: Annotated[
        str,
        Option(
            help="main, or another split of the runs: an additional one, or train-SHARE of a curve."
        ),
    ] = "main",
    out: Annotated[
        Path | None, Option("--out", "-o", help="Folder for tables and agreement maps.")
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

    compared = compare_runs(runs, models=model or (), split=split)
    files = [] if out is None else compared.write(out)
    show(_table(compared))
    first = compared.pairs[0].comparison
    basis = f"Interval and p: bootstrap over {first.units} {first.unit}."
    if first.units < MIN_UNITS:
        basis = f"Neither interval nor p, {describe_too_few(first.units, first.unit)}."
    say(
        f"{basis} McNemar's test treats neighbouring pixels as independent, so its p-values "
        "are far too small."
    )
    say(*(f"Note: {note}" for note in compared.notes))
    say(*(f"File: {file}" for file in files))


def _table(compared: "RunComparison") -> "Table":
    from hypercover.cli.tables import new_table, table_cell

    mark = f" ({compared.mark})" if compared.mark else ""
    title = f"overall accuracy in %, {compared.split} split{mark}"
    numbers = (
        "first",
        "second",
        "first −\nsecond",
        "95 % interval",
        "p",
        "only one\nright",
        "McNemar p:\nexact, χ²",
    )
    table = new_table(title, left=("first", "second", "seed"), right=numbers)
    for pair in compared.pairs:
        names = (table_cell(pair.first.label), table_cell(pair.second.label))
        if len(compared.seeds) > 1:
            mean = _cells(pair.comparison.overall)
            table.add_row(*names, f"mean of {len(compared.seeds)}", *mean, "", "")
        for seed, (difference, test) in zip(
            compared.seeds, pair.comparison.per_seed, strict=True
        ):
            alone = f"{test.only_first} : {test.only_second}"
            p_values = f"{_p_value(test.exact_p)}, {_p_value(test.chi2_p)}"
            table.add_row(*names, str(seed), *_cells(difference), alone, p_values)
    return table


def _cells(difference: "Difference") -> list[str]:
    """Write a difference: both accuracies, first − second, its interval, p."""
    shares = (difference.first, difference.second)
    interval = "–"
    if difference.interval is not None:
        low, high = difference.interval
        interval = f"\\[{100 * low:+.1f}, {100 * high:+.1f}]"
    return [
        *("–" if share is None else f"{100 * share:.1f}" for share in shares),
        "–" if difference.difference is None else f"{100 * difference.difference:+.1f}",
        interval,
        "–" if difference.p_value is None else _p_value(difference.p_value),
    ]


def _p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
