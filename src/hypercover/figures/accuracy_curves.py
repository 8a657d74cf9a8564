"""Figures of accuracy by split, training share or epoch: leak gap, learning curve, training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from hypercover.figures.canvas import INK, MUTED, new_figure, shorten
from hypercover.figures.figure_style import (
    add_side_legend,
    disable_math,
    draw_series,
    series_style,
    spread_labels,
    style_axes,
    write_title,
)
from hypercover.figures.formatting import format_percent

_WIDTH, _HEIGHT = 1080, 620

_LEFT, _TOP, _RIGHT, _BELOW = 84, 84, 250, 112
"""Margins around the axes in pixels; names and accuracies are on the right."""

_STEP = 0.035
"""Offset between models, so that their whiskers do not overlap."""


def draw_gap(
    rows: Sequence[Mapping[str, Any]], *, window: int, title: str, repeats: int = 1
) -> Figure:
    """Draw the overall accuracy under each split, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``gap`` of ``metrics.json``
    window : side of the windows, for the percentages below the splits
    title : name of the scene
    repeats : number of seeds averaged in each point; whiskers are standard deviations
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    size = ((_WIDTH - _LEFT - _RIGHT) / _WIDTH, (_HEIGHT - _TOP - _BELOW) / _HEIGHT)
    axes = figure.add_axes((_LEFT / _WIDTH, _BELOW / _HEIGHT, *size))
    style_axes(axes, across="", up="overall accuracy in %")
    models = list(dict.fromkeys(row["model"] for row in rows))
    splits = list(dict.fromkeys(row["split"] for row in rows))
    for place, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        _draw_line(axes, own, place, shift=_STEP * (place - (len(models) - 1) / 2))
    axes.set_xlim(-0.25, len(splits) - 0.75)
    low, high = axes.get_ylim()
    # An accuracy is at most 100 %, but a whisker may extend beyond.
    axes.set_ylim(max(low, 0), min(high, 101.5))
    _name_splits(axes, rows, splits, window)
    _name_models(axes, rows, models, splits[-1])
    seeds = f"mean ± standard deviation of {repeats} seeds" if repeats > 1 else "one seed"
    write_title(
        figure,
        f"Leak gap: {title}",
        "The same models, trained on the same share of the labelled pixels under three splits; "
        f"{seeds}.",
    )
    return figure


def _draw_line(
    axes: Axes, rows: Sequence[Mapping[str, Any]], place: int, *, shift: float
) -> None:
    """Draw one model: a point per split, with its spread."""
    points = [(at + shift, 100 * row["overall_accuracy"]) for at, row in enumerate(rows)]
    whiskers = [(100 * (row["spread"] or 0),) * 2 for row in rows]
    draw_series(axes, place, points, whiskers, label=rows[0]["model"])


def _name_splits(
    axes: Axes, rows: Sequence[Mapping[str, Any]], splits: Sequence[str], window: int
) -> None:
    """Write below each split how much of the test its windows have seen."""
    of_split = {row["split"]: row for row in rows}
    axes.set_xticks(range(len(splits)), splits)
    for label in axes.get_xticklabels():
        label.set(fontsize=11, fontweight="bold", color=INK)
    for place, split in enumerate(splits):
        row = of_split[split]
        words = (
            f"training pixel in {window} × {window} window: {format_percent(row['centre_in_window'], 0)} %"
            f"\nwindow overlap: {format_percent(row['window_overlap'], 0)} %"
            f"\n{row['test_count']:,.0f} test pixels"
        )
        below = axes.text(place, -0.075, words, transform=axes.get_xaxis_transform())
        below.set(ha="center", va="top", fontsize=9, color=MUTED, linespacing=1.45)


def _name_models(
    axes: Axes, rows: Sequence[Mapping[str, Any]], models: Sequence[str], last: str
) -> None:
    """Write name, last accuracy and loss of accuracy at the end of each model's line."""
    ends = {row["model"]: row for row in rows if row["split"] == last}
    heights = [100 * ends[model]["overall_accuracy"] for model in models]
    low, high = axes.get_ylim()
    room = (high - low) * 34 / (_HEIGHT - _TOP - _BELOW)
    for place, (model, height) in enumerate(
        zip(models, spread_labels(heights, room, low=low, high=high), strict=True)
    ):
        end = ends[model]
        name = axes.text(1.015, height, shorten(model, 24), va="bottom")
        name.set(color=series_style(place)[0], fontsize=10.5, fontweight="bold")
        moves = "falls" if end["fall"] >= 0 else "rises"
        text = f"{100 * end['overall_accuracy']:.1f} %, {moves} {100 * abs(end['fall']):.1f} points"
        fall = axes.text(1.015, height, text, va="top", color=MUTED, fontsize=9)
        for label in (name, fall):
            label.set_transform(axes.get_yaxis_transform())
        disable_math([name, fall])


_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")

_TRAINING = {"loss": ("#0072b2", "#56b4e9"), "accuracy": ("#d55e00", "#e69f00")}
"""Quantities of a training, with colours for training and validation pixels."""


def draw_training(rows: Iterable[Mapping[str, Any]], title: str = "Training") -> Figure:
    """Draw loss and accuracy on training and validation pixels against the epoch.

    Parameters
    ----------
    rows : rows of ``log.jsonl``
        ``epoch``, ``loss`` and ``accuracy``, and with validation pixels
        ``validation_loss`` and ``validation_accuracy``; a line is drawn per ``model``,
        ``split`` and ``seed``.
    """
    runs: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(str(row.get(name, "")) for name in ("split", "model", "seed"))
        runs.setdefault(key, []).append(row)
    splits = sorted({split for split, *_ in runs}, key=lambda name: (name != "main", name))
    figure = new_figure(1080, 400)
    for position, (what, colors) in enumerate(_TRAINING.items()):
        axes = figure.add_axes((0.075 + 0.49 * position, 0.15, 0.415, 0.67))
        for name, color in zip((what, f"validation_{what}"), colors, strict=True):
            for (split, *_), run in runs.items():
                style = _STYLES[splits.index(split) % len(_STYLES)]
                many = len(runs) > len(splits)
                _draw_run(axes, run, name, color=color, style=style, many=many)
        style_axes(axes, across="epoch", up=what)
        validated = any(f"validation_{what}" in row for run in runs.values() for row in run)
        _name_lines(axes, splits, colors if validated else colors[:1])
    write_title(figure, title)
    return figure


def _draw_run(
    axes: Axes,
    run: list[Mapping[str, Any]],
    what: str,
    *,
    color: str,
    style: LineStyleType,
    many: bool,
) -> None:
    ordered = sorted(run, key=lambda row: float(row["epoch"]))
    points = [(row["epoch"], row[what]) for row in ordered if row.get(what) is not None]
    if points:
        across, up = zip(*points, strict=True)
        axes.plot(
            across,
            up,
            color=color,
            linestyle=style,
            linewidth=1.0 if many else 1.8,
            alpha=0.55 if many else 1.0,
            marker="o" if len(points) < 3 else None,
        )


def _name_lines(axes: Axes, splits: Sequence[str], colors: Sequence[str]) -> None:
    """Explain the colours of the pixels and the line styles of the splits."""
    names: dict[str, Line2D] = {}
    if len(colors) > 1:
        for pixels, color in zip(("training", "validation"), colors, strict=True):
            names[pixels] = Line2D([], [], color=color)
    if len(splits) > 1:
        for index, split in enumerate(splits):
            style = _STYLES[index % len(_STYLES)]
            names[f"{shorten(split, 24)} split"] = Line2D(
                [], [], color=INK, linestyle=style
            )
    if not names:
        return
    legend = axes.legend(names.values(), names, frameon=False, fontsize=9)
    disable_math(legend.get_texts())


def draw_curve(rows: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Draw the overall accuracy against the training fraction, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``curve`` of ``metrics.json``
        ``model``, ``train`` (a fraction below 1, or pixels per class),
        ``overall_accuracy``, and for the whiskers ``interval`` [low, high] or
        ``spread`` (standard deviation over the seeds).
    title : name of the scene
    """
    figure = new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.7, 0.69))
    shares = all(row["train"] < 1 for row in rows)
    across = "training share of the labelled pixels in %" if shares else "training pixels"
    style_axes(axes, across=across, up="overall accuracy in %")
    unit = 100 if shares else 1
    known = sorted(
        (row for row in rows if row["overall_accuracy"] is not None),
        key=lambda row: float(row["train"]),
    )
    for place, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        own = [row for row in known if row["model"] == model]
        points = [(unit * row["train"], 100 * row["overall_accuracy"]) for row in own]
        draw_series(axes, place, points, [*map(_reach, own)], label=shorten(model, 24))
    if rows:
        axes.set_xticks(sorted({unit * row["train"] for row in rows}))
        add_side_legend(axes)
    write_title(figure, f"Learning curve: {title}", _describe_whiskers(rows))
    return figure


def _reach(row: Mapping[str, Any]) -> tuple[float, float]:
    """Return the lengths of the whiskers of a point, down and up, in points."""
    middle = row["overall_accuracy"]
    if row.get("interval"):
        low, high = row["interval"]
        return max(100 * (middle - low), 0.0), max(100 * (high - middle), 0.0)
    spread = 100 * (row.get("spread") or 0.0)
    return spread, spread


def _describe_whiskers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the whiskers show."""
    if any(row.get("interval") for row in rows):
        return "Whiskers: 95 % intervals."
    if any(row.get("spread") for row in rows):
        return "Whiskers: standard deviation over the seeds."
    return "One seed per point."
