"""Tables and lines on stdout: the accuracies of a run."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from hypercover.cli.terminal import plain, steered, unguarded
from hypercover.evaluation.run_metrics import (
    CalibrationMetrics,
    Intervals,
    RunMetrics,
    SplitResults,
)
from hypercover.figures.formatting import (
    describe_choice,
    describe_seed_choices,
    describe_too_few,
    suggest_wider_grid,
)
from hypercover.report.descriptions import (
    describe_map_training,
    describe_missing_classes,
    describe_spread,
    main_split_name,
)
from hypercover.scene.metadata import origin_label

_PLAIN_WIDTH, _LONGEST_CELL = 110, 300
"""Columns when stdout is no terminal; signs shown in a cell."""


class _PlainConsole(Console):
    """A console whose own colours and movements are the only ones that reach the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(steered(segment.text), segment.style)


def new_console(*, stderr: bool = False, **options: Any) -> Console:
    """Return a console for stdout or stderr; text in it cannot steer the terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return _PlainConsole(file=unguarded(stream), highlight=False, **options)


def table_cell(text: object) -> str:
    """Return text from outside for a table: one plain line, not too long, no markup."""
    return escape(plain(text, _LONGEST_CELL))


def show(*parts: RenderableType) -> None:
    """Print tables and lines to stdout, wide enough when nobody watches."""
    console = new_console()
    if not console.is_terminal:
        console = new_console(width=_PLAIN_WIDTH)
    for part in parts:
        console.print(part)


def _percent(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "–"
    text = f"{100 * value:.1f}"
    return text if spread is None else f"{text} ± {100 * spread:.1f}"


def _interval(intervals: Intervals | None) -> str:
    """Write the interval of the overall accuracy, or why there is none."""
    if intervals is None or intervals.overall_accuracy is None:
        return "too few" if intervals is not None and intervals.too_few else "–"
    low, high = intervals.overall_accuracy
    return f"\\[{_percent(low)}, {_percent(high)}]"


def accuracy_table(metrics: RunMetrics) -> Table:
    """Tabulate every model under every split, next to its leak audit."""
    table = Table(title=_title(f"{metrics.name}: accuracy in %", metrics))
    table.title_justify = "left"
    for column in ("split", "model"):
        table.add_column(column)
    for column in (
        "overall",
        "95 % interval\nof overall",
        "average",
        "kappa",
        "train\npx",
        "test\npx",
        "test px with\ntraining px\nin window",
        "seconds",
    ):
        table.add_column(column, justify="right")
    for label, part in _parts(metrics).items():
        for name, model in part.models.items():
            table.add_row(
                table_cell(label),
                table_cell(name),
                _percent(model.overall_accuracy, model.spread_of("overall_accuracy")),
                _interval(model.interval),
                _percent(model.average_accuracy, model.spread_of("average_accuracy")),
                "–" if model.kappa is None else f"{model.kappa:.3f}",
                str(part.split.train.count),
                str(part.split.test.count),
                f"{_percent(model.leakage.centre_in_window)} %",
                f"{(model.train_seconds or 0) + (model.predict_seconds or 0):.0f}",
            )
    return table


def curve_table(metrics: RunMetrics) -> list[Table]:
    """Tabulate the learning curve, if there is one."""
    if metrics.curve is None or not metrics.curve.rows:
        return []
    points = {(row.model, row.train or 0.0): row for row in metrics.curve.rows}
    shares = sorted({share for _, share in points})
    title = "overall accuracy in % by training share"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("model", *(f"{100 * share:g} %" for share in shares)):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in dict.fromkeys(row.model for row in metrics.curve.rows):
        own = [points[model, share] for share in shares]
        cells = [_percent(point.overall_accuracy, point.spread) for point in own]
        table.add_row(table_cell(model), *cells)
    return [table]


def _title(text: str, metrics: RunMetrics) -> str:
    """Return a title that says so if the scene was not measured."""
    origin = origin_label(metrics.scene.model_dump())
    return table_cell(f"{text} ({origin})" if origin else text)


def _parts(metrics: RunMetrics) -> dict[str, SplitResults]:
    """Return the results under all splits, the main one first."""
    gap = metrics.gap is not None
    name = main_split_name(metrics.split.kind, metrics.beside, gap=gap)
    return {name: metrics, **metrics.beside}


def spread_lines(metrics: RunMetrics) -> list[str]:
    """Explain the ± of the table, if it has any."""
    drawn = {
        label: (len(model.repeats), model.folds)
        for label, part in _parts(metrics).items()
        for model in part.models.values()
    }
    return list(filter(None, [describe_spread(drawn)]))


def gap_tables(metrics: RunMetrics) -> list[Table]:
    """Tabulate how far each model falls from random pixels to splits that leak less."""
    gap = metrics.gap
    if gap is None:
        return []
    title = f"Leak gap in %, windows of {gap.window} × {gap.window} pixels"
    table = Table(title=_title(title, metrics), title_justify="left")
    for column in ("model", "split"):
        table.add_column(column)
    for column in ("overall", "centre in window", "window overlap", "fall in points"):
        table.add_column(column, justify="right")
    for row in gap.rows:
        first = row.split == "random"
        table.add_row(
            table_cell(row.model) if first else "",
            row.split,
            _percent(row.overall_accuracy, row.spread),
            _percent(row.centre_in_window),
            _percent(row.window_overlap),
            "–" if first or row.fall is None else f"{100 * row.fall:.1f}",
        )
    return [table]


def calibration_lines(metrics: RunMetrics) -> list[str]:
    """Give the calibration errors on test pixels, one line per split."""
    lines = []
    for label, part in _parts(metrics).items():
        errors = [
            f"{name} {_calibration_error(model.calibration)}"
            for name, model in part.models.items()
            if model.calibration is not None
        ]
        if errors:
            lines.append(f"Calibration error under {label}: {', '.join(errors)}.")
    return lines


def _calibration_error(calibration: CalibrationMetrics) -> str:
    """Write a calibration error, and the one before the confidence was scaled."""
    error = f"{_percent(calibration.error)} %"
    if calibration.error_before is None:
        return error
    return f"{error} (unscaled {_percent(calibration.error_before)} %)"


def unscored_lines(metrics: RunMetrics) -> list[str]:
    """Name the classes that a split cannot score, one line per split."""
    lines = []
    for label, part in _parts(metrics).items():
        if missing := part.split.unscored:
            listed = ", ".join(f"{row.name} ({row.reason})" for row in missing)
            lines.append(f"Not scored under {label}: {listed}.")
    return lines


def interval_lines(metrics: RunMetrics) -> list[str]:
    """Describe what the intervals are based on, one line per split."""
    lines = []
    for label, part in _parts(metrics).items():
        intervals = [model.interval for model in part.models.values() if model.interval]
        units = {(one.unit, one.units, one.too_few) for one in intervals}
        lines += [
            f"No interval under {label}, {describe_too_few(count, unit)}."
            if too_few
            else f"Intervals under {label}: bootstrap over {count} {unit} with test pixels, as "
            "neighbouring pixels are alike."
            for unit, count, too_few in sorted(units, key=str)
        ]
    return lines


def map_lines(metrics: RunMetrics) -> list[str]:
    """Say which pixels the mapping models were trained on, and which classes they lack."""
    training = metrics.map
    if training is None:
        return []
    lines = [describe_map_training(training), describe_missing_classes(training)]
    return list(filter(None, lines))


def note_lines(metrics: RunMetrics) -> list[str]:
    """List the notes of the run, its scene and its split."""
    scene = metrics.scene
    parts = (metrics.notes, scene.notes, scene.losses, metrics.split.notes)
    return [f"Note: {note}" for notes in parts for note in notes]


def choice_lines(metrics: RunMetrics) -> list[str]:
    """Give the C and gamma chosen for each model, one line per split."""
    lines = []
    for label, part in _parts(metrics).items():
        for name, model in part.models.items():
            if model.search is not None:
                table = model.search.model_dump()
                chosen = f"Chosen for {name} under {label}: {describe_choice(table)}."
                lines.append(
                    " ".join(
                        (chosen, *describe_seed_choices(table), *suggest_wider_grid(table))
                    )
                )
    return lines


def feature_lines(metrics: RunMetrics) -> list[str]:
    """Say what image features carry across a split, one line per split and chain."""
    lines = []
    for label, part in _parts(metrics).items():
        models: dict[str, list[str]] = {}
        for name, model in part.models.items():
            if features := model.leakage.features:
                models.setdefault(features.sentence, []).append(name)
        lines += [
            f"Features of {', '.join(names)} under {label}: {sentence}"
            for sentence, names in models.items()
        ]
    return lines
