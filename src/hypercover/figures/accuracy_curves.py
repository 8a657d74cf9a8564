"""Figures of lines: leak gap, learning curve, training, abstention, and speed-up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from matplotlib.typing import LineStyleType

from hypercover.figures import canvas
from hypercover.figures.formatting import format_percent

Row = Mapping[str, Any]

_WIDTH, _HEIGHT = 1080, 620
_LEFT, _TOP, _RIGHT, _BELOW = 84, 84, 250, 112
"""Margins around the axes in pixels; names and accuracies are on the right."""
_STEP = 0.035
"""Offset between models, so that their whiskers do not overlap."""
_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")
_TRAINING = {"loss": ("#0072b2", "#56b4e9"), "accuracy": ("#d55e00", "#e69f00")}
"""Quantities of a training, with colours for training and validation pixels."""


def draw_gap(rows: Sequence[Row], *, window: int, title: str, repeats: int = 1) -> Figure:
    """Draw the overall accuracy under each split, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``gap`` of ``metrics.json``
    window : side of the windows, for the percentages below the splits
    title : name of the scene
    repeats : number of seeds averaged in each point; whiskers are standard deviations
    """
    figure = canvas.new_figure(_WIDTH, _HEIGHT)
    size = (_WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BELOW)
    axes = canvas.add_axes(figure, _LEFT, _TOP, *size)
    canvas.style_axes(axes, across="", up="overall accuracy in %")
    models = _distinct(rows, "model")
    splits = _distinct(rows, "split")
    for index, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        shift = _STEP * (index - (len(models) - 1) / 2)
        points = [(at + shift, 100 * row["overall_accuracy"]) for at, row in enumerate(own)]
        spreads = [(100 * (row["spread"] or 0),) * 2 for row in own]
        canvas.draw_series(axes, index, points, spreads, label=model)
    axes.set_xlim(-0.25, len(splits) - 0.75)
    low, high = axes.get_ylim()
    # An accuracy is at most 100 %, but a whisker may extend beyond.
    axes.set_ylim(max(low, 0), min(high, 101.5))
    _label_splits(axes, {row["split"]: row for row in rows}, window)
    _label_models(axes, {row["model"]: row for row in rows if row["split"] == splits[-1]})
    seeds = f"mean ± standard deviation of {repeats} seeds" if repeats > 1 else "one seed"
    canvas.write_title(
        figure,
        f"Leak gap: {title}",
        "The same models, trained on the same share of the labelled pixels under three splits; "
        f"{seeds}.",
    )
    return figure


def _distinct(rows: Sequence[Row], key: str) -> list[Any]:
    """Return the values of a column in order, each once."""
    return list(dict.fromkeys(row[key] for row in rows))


def _label_splits(axes: Axes, splits: Mapping[str, Row], window: int) -> None:
    """Write below each split how much of the test its windows have seen."""
    axes.set_xticks(
        range(len(splits)), splits, fontsize=11, fontweight="bold", color=canvas.INK
    )
    for index, row in enumerate(splits.values()):
        centres = format_percent(row["centre_in_window"], 0)
        words = (
            f"training pixel in {window} × {window} window: {centres} %"
            f"\nwindow overlap: {format_percent(row['window_overlap'], 0)} %"
            f"\n{row['test_count']:,.0f} test pixels"
        )
        below = axes.text(index, -0.075, words, transform=axes.get_xaxis_transform())
        below.set(ha="center", va="top", fontsize=9, color=canvas.MUTED, linespacing=1.45)


def _label_models(axes: Axes, ends: Mapping[str, Row]) -> None:
    """Write name, last accuracy and loss of accuracy at the end of each model's line."""
    low, high = axes.get_ylim()
    room = (high - low) * 34 / (_HEIGHT - _TOP - _BELOW)
    heights = [100 * row["overall_accuracy"] for row in ends.values()]
    heights = canvas.spread_labels(heights, room, low=low, high=high)
    for index, (height, (model, end)) in enumerate(zip(heights, ends.items(), strict=True)):
        moves = "falls" if end["fall"] >= 0 else "rises"
        text = f"{100 * end['overall_accuracy']:.1f} %, {moves} {100 * abs(end['fall']):.1f} points"
        right = axes.get_yaxis_transform()
        name = axes.text(
            1.015, height, canvas.shorten(model, 24), va="bottom", transform=right
        )
        name.set(color=canvas.series_style(index)[0], fontsize=10.5, fontweight="bold")
        fall = axes.text(1.015, height, text, va="top", transform=right)
        fall.set(color=canvas.MUTED, fontsize=9)


def draw_training(rows: Iterable[Row], title: str = "Training") -> Figure:
    """Draw loss and accuracy on training and validation pixels against the epoch.

    Parameters
    ----------
    rows : rows of ``log.jsonl``
        ``epoch``, ``loss`` and ``accuracy``, and with validation pixels
        ``validation_loss`` and ``validation_accuracy``; a line is drawn per ``model``,
        ``split`` and ``seed``.
    """
    runs: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row["epoch"])):
        key = tuple(str(row.get(name, "")) for name in ("split", "model", "seed"))
        runs.setdefault(key, []).append(row)
    splits = sorted({split for split, *_ in runs}, key=lambda name: (name != "main", name))
    styles = {split: _STYLES[index % len(_STYLES)] for index, split in enumerate(splits)}
    many = len(runs) > len(splits)
    look: dict[str, Any] = {
        "linewidth": 1.0 if many else 1.8,
        "alpha": 0.55 if many else 1.0,
    }
    figure = canvas.new_figure(1080, 400)
    for index, (what, colors) in enumerate(_TRAINING.items()):
        axes = figure.add_axes((0.075 + 0.49 * index, 0.15, 0.415, 0.67))
        canvas.style_axes(axes, across="epoch", up=what)
        for name, color in zip((what, f"validation_{what}"), colors, strict=True):
            for (split, *_), run in runs.items():
                points = [
                    (row["epoch"], row[name]) for row in run if row.get(name) is not None
                ]
                marker = "o" if len(points) < 3 else None
                if points:
                    axes.plot(
                        *zip(*points, strict=True),
                        color=color,
                        marker=marker,
                        linestyle=styles[split],
                        **look,
                    )
        validated = any(f"validation_{what}" in row for run in runs.values() for row in run)
        _explain_lines(axes, styles, colors if validated else ())
    canvas.write_title(figure, title)
    return figure


def _explain_lines(
    axes: Axes, styles: Mapping[str, LineStyleType], colors: Sequence[str]
) -> None:
    """Explain the colours of the pixels and the line styles of the splits."""
    names = {
        pixels: Line2D([], [], color=color)
        for pixels, color in zip(("training", "validation"), colors, strict=False)
    }
    for split, style in styles.items() if len(styles) > 1 else ():
        names[f"{canvas.shorten(split, 24)} split"] = Line2D(
            [], [], color=canvas.INK, linestyle=style
        )
    if names:
        axes.legend(names.values(), names, frameon=False, fontsize=9)


def draw_curve(rows: Sequence[Row], *, title: str) -> Figure:
    """Draw the overall accuracy against the training fraction, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``curve`` of ``metrics.json``
        ``model``, ``train`` (a fraction below 1, or pixels per class),
        ``overall_accuracy``, and for the whiskers ``interval`` [low, high] or
        ``spread`` (standard deviation over the seeds).
    title : name of the scene
    """
    figure = canvas.new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.7, 0.69))
    shares = all(row["train"] < 1 for row in rows)
    across = "training share of the labelled pixels in %" if shares else "training pixels"
    canvas.style_axes(axes, across=across, up="overall accuracy in %")
    unit = 100 if shares else 1
    drawn = [row for row in rows if row["overall_accuracy"] is not None]
    drawn.sort(key=lambda row: float(row["train"]))
    for index, model in enumerate(_distinct(rows, "model")):
        own = [row for row in drawn if row["model"] == model]
        points = [(unit * row["train"], 100 * row["overall_accuracy"]) for row in own]
        canvas.draw_series(
            axes, index, points, [*map(_reach, own)], label=canvas.shorten(model, 24)
        )
    if rows:
        axes.set_xticks(sorted({unit * row["train"] for row in rows}))
        canvas.add_side_legend(axes)
    whiskers = "One seed per point."
    if any(row.get("interval") for row in rows):
        whiskers = "Whiskers: 95 % intervals."
    elif any(row.get("spread") for row in rows):
        whiskers = "Whiskers: standard deviation over the seeds."
    canvas.write_title(figure, f"Learning curve: {title}", whiskers)
    return figure


def _reach(row: Row) -> tuple[float, float]:
    """Return the lengths of the whiskers of a point, down and up, in points."""
    middle = row["overall_accuracy"]
    if row.get("interval"):
        low, high = row["interval"]
        return max(100 * (middle - low), 0.0), max(100 * (high - middle), 0.0)
    spread = 100 * (row.get("spread") or 0.0)
    return spread, spread


def draw_abstention(calibration: Row, title: str) -> Figure:
    """Draw the accuracy of the most confident pixels against the fraction of pixels kept.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Name of the model, with "simulated" if the scene is.
    """
    kept, right = (
        np.array([row[name] for row in calibration["abstention"]], dtype=np.float64)
        for name in ("kept", "accuracy")
    )
    figure = canvas.new_figure(620, 440)
    axes = figure.add_axes((0.12, 0.13, 0.83, 0.66))
    axes.plot(kept, right, color="#0072b2", lw=2, marker="o", ms=4)
    axes.axhline(right[-1], color=canvas.INK, lw=1, ls="--")
    across = "fraction of the pixels kept, the most confident first"
    canvas.style_axes(axes, across=across, up="accuracy")
    axes.set(xlim=(0, 1.02), ylim=(max(0.0, min(right) - 0.1), 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    half = 100 * float(np.interp(0.5, kept, right))
    caption = (
        f"all pixels: {100 * right[-1]:.1f} % right; the most confident half: {half:.1f} %"
    )
    canvas.write_title(figure, f"{title}: abstention", caption)
    return figure


def draw_scaling(rows: Sequence[Row], *, title: str) -> Figure:
    """Draw the speed-up of a search against the number of workers.

    Parameters
    ----------
    rows : a row for each model, part (``cells``: best or all) and number of ``workers``,
        with its ``speed_up``
    title : name of the experiment
    """
    figure = canvas.new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.66, 0.69))
    canvas.style_axes(axes, across="workers", up="speed-up")
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        points = lines.setdefault((row["model"], row["cells"]), [])
        points.append((row["workers"], row["speed_up"]))
    counts = sorted({row["workers"] for row in rows})
    axes.plot(
        counts, counts, color=canvas.MUTED, linestyle="--", linewidth=1.2, label="ideal"
    )
    for index, ((model, cells), points) in enumerate(lines.items()):
        label = f"{canvas.shorten(model, 18)}, {'best cell' if cells == 'best' else 'all cells'}"
        canvas.draw_series(axes, index, points, label=label)
    axes.set_xticks(counts)
    canvas.add_side_legend(axes)
    canvas.write_title(
        figure,
        f"Speed-up of the grid search: {title}",
        "Processor seconds of one worker divided by the wall seconds of several.",
    )
    return figure
