"""Tables on stdout: what models are worth."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from hypercover.cli.terminal import plain, say, steered, unguarded
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
from hypercover.report.run_metrics import MapTraining
from hypercover.scene.metadata import mark

__all__ = [
    "accuracy_table",
    "calibration_lines",
    "choice_lines",
    "curve_table",
    "feature_lines",
    "gap_table",
    "interval_lines",
    "map_lines",
    "new_console",
    "note_lines",
    "say",
    "show",
    "spread_lines",
    "table_cell",
    "unscored_lines",
]

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


def _between(interval: Mapping[str, Any] | None) -> str:
    """Write the interval of the overall accuracy, or why there is none."""
    if interval and interval.get("too_few"):
        return "too few"
    ends = (interval or {}).get("overall_accuracy")
    return "–" if ends is None else f"\\[{_percent(ends[0])}, {_percent(ends[1])}]"


def accuracy_table(metrics: Mapping[str, Any]) -> Table:
    """Tabulate every model under every split, with what leaks beside it."""
    title = f"{metrics['name']}: accuracy in %"
    if said := mark(metrics["scene"]):
        title += f" ({said})"
    table = Table(title=table_cell(title), title_justify="left")
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
    for label, part in _parts(metrics):
        for name, model in part["models"].items():
            spread = model.get("spread") or {}
            table.add_row(
                table_cell(label),
                table_cell(name),
                _percent(model["overall_accuracy"], spread.get("overall_accuracy")),
                _between(model.get("interval")),
                _percent(model["average_accuracy"], spread.get("average_accuracy")),
                "–" if model["kappa"] is None else f"{model['kappa']:.3f}",
                str(part["split"]["train"]["count"]),
                str(part["split"]["test"]["count"]),
                f"{_percent(model['leakage']['centre_in_window'])} %",
                f"{model['train_seconds'] + model['predict_seconds']:.0f}",
            )
    return table


def curve_table(metrics: Mapping[str, Any]) -> list[Table]:
    """Tabulate the overall accuracy of each model with each training share, if asked for."""
    rows = metrics.get("curve", {}).get("rows", [])
    if not rows:
        return []
    shares = sorted({row["train"] for row in rows})
    title = "overall accuracy in % by training share"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("model", *(f"{100 * share:g} %" for share in shares)):
        table.add_column(column, justify="left" if column == "model" else "right")
    found = {(row["model"], row["train"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [found[model, share] for share in shares]
        cells = [_percent(row["overall_accuracy"], row["spread"]) for row in own]
        table.add_row(table_cell(model), *cells)
    return [table]


def _parts(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    main = {"split": metrics["split"], "models": metrics["models"]}
    beside = metrics["beside"]
    name = main_split_name(metrics["split"]["kind"], beside, gap="gap" in metrics)
    return [(name, main), *beside.items()]


def spread_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say of what ± is the standard deviation, where it stands in the table."""
    drawn = {
        label: (len(model["repeats"]), model.get("folds", 1))
        for label, part in _parts(metrics)
        for model in part["models"].values()
    }
    return list(filter(None, [describe_spread(drawn)]))


def gap_table(metrics: Mapping[str, Any]) -> Table:
    """Tabulate how far each model falls from random pixels to splits that leak less."""
    window = metrics["gap"]["window"]
    title = f"Leak gap in %, windows of {window} × {window} pixels"
    if said := mark(metrics["scene"]):
        title += f" ({said})"
    table = Table(title=title, title_justify="left")
    for column in ("model", "split"):
        table.add_column(column)
    for column in ("overall", "centre in window", "window overlap", "fall in points"):
        table.add_column(column, justify="right")
    for row in metrics["gap"]["rows"]:
        first = row["split"] == "random"
        table.add_row(
            table_cell(row["model"]) if first else "",
            row["split"],
            _percent(row["overall_accuracy"], row["spread"]),
            _percent(row["centre_in_window"]),
            _percent(row["window_overlap"]),
            "–" if first else f"{100 * row['fall']:.1f}",
        )
    return table


def calibration_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say how far confidences are off on test pixels, one line per split."""
    lines = []
    for label, part in _parts(metrics):
        said = [
            f"{name} {_off(model['calibration'])}"
            for name, model in part["models"].items()
            if model.get("calibration")
        ]
        if said:
            lines.append(f"Confidence off under {label} by: {', '.join(said)}.")
    return lines


def _off(calibration: Mapping[str, Any]) -> str:
    """Write a calibration error, and that before the confidence was scaled."""
    error = f"{_percent(calibration['error'])} %"
    if calibration["error_before"] is None:
        return error
    return f"{error} (unscaled {_percent(calibration['error_before'])} %)"


def unscored_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Name the classes that a split cannot score, one line per split."""
    lines = []
    for label, part in _parts(metrics):
        missing = part["split"]["unscored"]
        if missing:
            named = ", ".join(f"{row['name']} ({row['reason']})" for row in missing)
            lines.append(f"Not scored under {label}: {named}.")
    return lines


def interval_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the intervals are drawn from, one line per split."""
    lines = []
    for label, part in _parts(metrics):
        known = [model.get("interval") for model in part["models"].values()]
        told = {(one["unit"], one["units"], one.get("too_few")) for one in known if one}
        lines += [
            f"No interval under {label}, {describe_too_few(units, unit)}."
            if too_few
            else f"Intervals under {label}: {units} {unit} with test pixels, drawn anew whole, "
            "as pixels of one piece of land are alike."
            for unit, units, too_few in sorted(told, key=str)
        ]
    return lines


def map_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say which pixels the models that map were trained on, and which classes they lack."""
    if "map" not in metrics:
        return []
    facts = MapTraining.model_validate(metrics["map"])
    return list(
        filter(None, [describe_map_training(facts), describe_missing_classes(facts)])
    )


def note_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what was chosen or found on the way, one line each."""
    scene = metrics["scene"]
    lost = scene.get("losses", ())
    parts = (metrics["notes"], scene["notes"], lost, metrics["split"]["notes"])
    return [f"Note: {note}" for notes in parts for note in notes]


def choice_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say which C and gamma were chosen for a model, one line per split."""
    return [
        " ".join(
            (
                f"Chosen for {name} under {label}: {describe_choice(model['search'])}.",
                *describe_seed_choices(model["search"]),
                *suggest_wider_grid(model["search"]),
            )
        )
        for label, part in _parts(metrics)
        for name, model in part["models"].items()
        if model.get("search")
    ]


def feature_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what image features carry across a split, one line per split and chain."""
    lines = []
    for label, part in _parts(metrics):
        named: dict[str, list[str]] = {}
        for name, model in part["models"].items():
            carried = model["leakage"].get("features")
            if carried:
                named.setdefault(carried["sentence"], []).append(name)
        for sentence, names in named.items():
            lines.append(f"Features of {', '.join(names)} under {label}: {sentence}")
    return lines
