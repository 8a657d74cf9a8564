"""Tables on stdout, and the accuracies of a run."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from hypercover.cli.terminal import new_console, plain, say
from hypercover.evaluation.run_metrics import ModelMetrics, RunMetrics
from hypercover.figures import formatting
from hypercover.report import descriptions
from hypercover.scene.metadata import origin_label

_PLAIN_WIDTH, _LONGEST_CELL = 110, 300
"""Columns when stdout is not a terminal; characters shown in a cell."""


def table_cell(text: object) -> str:
    """Return text from outside for a table: one plain line, not too long, no markup."""
    return escape(plain(text, _LONGEST_CELL))


def new_table(
    title: str | None = None,
    *,
    left: Sequence[str] = (),
    right: Sequence[str] = (),
    **options: Any,
) -> Table:
    """Return a table with columns of text, and columns of numbers after them."""
    shown = None if title is None else table_cell(title)
    table = Table(title=shown, title_justify="left", **options)
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def facts_table(
    facts: Iterable[tuple[str, object]],
    *,
    indent: int = 0,
    overflow: Literal["ellipsis", "fold"] = "ellipsis",
) -> Table:
    """Tabulate facts by their names, without lines."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, indent))
    table.add_column()
    table.add_column(overflow=overflow)
    for name, fact in facts:
        table.add_row(table_cell(name), table_cell(fact))
    return table


def show(*parts: RenderableType, width: int = _PLAIN_WIDTH) -> None:
    """Print tables and lines to stdout; ``width`` applies if that is not a terminal."""
    console = new_console()
    if not console.is_terminal:
        console = new_console(width=width)
    for part in parts:
        console.print(part)


def print_results(metrics: RunMetrics) -> None:
    """Print the tables of a run, and what must be known to read them."""
    show(accuracy_table(metrics), *_curve_tables(metrics))
    say(*spread_lines(metrics), *interval_lines(metrics))
    show(*_gap_tables(metrics))
    say(*_calibration_lines(metrics), *_choice_lines(metrics), *_unscored_lines(metrics))
    scene = metrics.scene
    notes = (*metrics.notes, *scene.notes, *scene.losses, *metrics.split.notes)
    say(*_feature_lines(metrics), *(f"Note: {note}" for note in notes))


def _percent(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def accuracy_table(metrics: RunMetrics) -> Table:
    """Tabulate every model under every split, next to its leak audit."""
    numbers = (
        "overall",
        "95 % interval\nof overall",
        "average",
        "kappa",
        "train\npx",
        "test\npx",
        "test px with\ntraining px\nin window",
        "seconds",
    )
    title = _title(f"{metrics.name}: accuracy in %", metrics)
    table = new_table(title, left=("split", "model"), right=numbers)
    for label, part in metrics.splits.items():
        for name, model in part.models.items():
            table.add_row(
                table_cell(label),
                table_cell(name),
                _percent(model.overall_accuracy, model.spread_of("overall_accuracy")),
                _interval(model),
                _percent(model.average_accuracy, model.spread_of("average_accuracy")),
                "–" if model.kappa is None else f"{model.kappa:.3f}",
                str(part.split.train.count),
                str(part.split.test.count),
                f"{_percent(model.leakage.centre_in_window)} %",
                f"{(model.train_seconds or 0) + (model.predict_seconds or 0):.0f}",
            )
    return table


def _interval(model: ModelMetrics) -> str:
    """Write the interval of the overall accuracy, or why there is none."""
    intervals = model.interval
    if intervals is None or intervals.overall_accuracy is None:
        return "too few" if intervals is not None and intervals.too_few else "–"
    return formatting.format_interval(intervals.overall_accuracy)


def _curve_tables(metrics: RunMetrics) -> Iterator[Table]:
    """Tabulate the learning curve, if there is one."""
    if metrics.curve is None or not metrics.curve.rows:
        return
    points = {(row.model, row.train or 0.0): row for row in metrics.curve.rows}
    shares = sorted({share for _, share in points})
    title = "overall accuracy in % by training share"
    heads = [f"{100 * share:g} %" for share in shares]
    table = new_table(title, left=["model"], right=heads, min_width=len(title))
    for model in dict.fromkeys(row.model for row in metrics.curve.rows):
        own = [points[model, share] for share in shares]
        cells = [_percent(point.overall_accuracy, point.spread) for point in own]
        table.add_row(table_cell(model), *cells)
    yield table


def _title(text: str, metrics: RunMetrics) -> str:
    """Return a title that says so if the scene was not measured."""
    origin = origin_label(metrics.scene.model_dump())
    return f"{text} ({origin})" if origin else text


def spread_lines(metrics: RunMetrics) -> Iterator[str]:
    """Explain the ± of the table, if it has any."""
    return filter(None, [descriptions.describe_spread(metrics.splits)])


def _gap_tables(metrics: RunMetrics) -> Iterator[Table]:
    """Tabulate how far each model falls from random pixels to splits that leak less."""
    gap = metrics.gap
    if gap is None:
        return
    table = new_table(
        _title(f"Leak gap in %, windows of {gap.window} × {gap.window} pixels", metrics),
        left=("model", "split"),
        right=("overall", "centre in window", "window overlap", "fall in points"),
    )
    for row in gap.rows:
        first = row.split == "random"
        table.add_row(
            table_cell(row.model) if first else "",
            row.split,
            _percent(row.overall_accuracy, row.spread),
            _percent(row.centre_in_window),
            _percent(row.window_overlap),
            _percent(None if first else row.fall),
        )
    yield table


def _calibration_lines(metrics: RunMetrics) -> Iterator[str]:
    """Give the calibration errors on test pixels, one line per split."""
    for label, part in metrics.splits.items():
        errors = []
        for name, model in part.models.items():
            if (calibration := model.calibration) is not None:
                before = f" (unscaled {_percent(calibration.error_before)} %)"
                unscaled = "" if calibration.error_before is None else before
                errors.append(f"{name} {_percent(calibration.error)} %{unscaled}")
        if errors:
            yield f"Calibration error under {label}: {', '.join(errors)}."


def _unscored_lines(metrics: RunMetrics) -> Iterator[str]:
    """Name the classes that a split cannot score, one line per split."""
    for label, part in metrics.splits.items():
        if missing := part.split.unscored:
            listed = ", ".join(f"{row.name} ({row.reason})" for row in missing)
            yield f"Not scored under {label}: {listed}."


def interval_lines(metrics: RunMetrics) -> Iterator[str]:
    """Describe what the intervals are based on, one line per split."""
    for label, part in metrics.splits.items():
        intervals = [model.interval for model in part.models.values() if model.interval]
        units = {(each.unit, each.units, each.too_few) for each in intervals}
        for unit, count, too_few in sorted(units, key=str):
            yield (
                f"No interval under {label}, {formatting.describe_too_few(count, unit)}."
                if too_few
                else f"Intervals under {label}: bootstrap over {count} {unit} with test pixels, "
                "as neighbouring pixels are alike."
            )


def _choice_lines(metrics: RunMetrics) -> Iterator[str]:
    """Give the C and gamma chosen for each model, one line per split."""
    for label, part in metrics.splits.items():
        for name, model in part.models.items():
            if model.search is not None:
                table = model.search.model_dump()
                first = (
                    f"Chosen for {name} under {label}: {formatting.describe_choice(table)}."
                )
                more = formatting.describe_seed_choices(table)
                yield " ".join((first, *more, *formatting.suggest_wider_grid(table)))


def _feature_lines(metrics: RunMetrics) -> Iterator[str]:
    """Say what image features carry across a split, one line per split and chain."""
    for label, part in metrics.splits.items():
        models: dict[str, list[str]] = {}
        for name, model in part.models.items():
            if features := model.leakage.features:
                models.setdefault(features.sentence, []).append(name)
        for sentence, names in models.items():
            yield f"Features of {', '.join(names)} under {label}: {sentence}"
