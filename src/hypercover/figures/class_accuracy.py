"""Figures of the accuracy of each class: bars with intervals, and the confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypercover.figures.canvas import INK, MUTED, new_figure, shorten
from hypercover.figures.figure_style import (
    disable_math,
    outline_cells,
    style_axes,
    write_title,
)
from hypercover.figures.formatting import format_count, format_percent
from hypercover.scene.legend import Legend
from hypercover.types import Floats

Row = Mapping[str, Any]

_BAR, _WHISKER, _MISSING = "#56b4e9", "#20262e", "#b3470d"

_FEW = 24
"""Up to this many classes have rows of full height."""

_NAME = 30
"""Characters of a class name."""

_WIDTH, _TOP, _BELOW, _COUNTS = 1080, 96, 62, 252
"""Sizes in pixels: figure width, above and below the bars, and for the columns of counts."""


def draw_classes(
    rows: Sequence[Row],
    *,
    title: str,
    overall: float | None = None,
    interval: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the producer's accuracy of each class as a bar, the largest class on top.

    The overall accuracy mostly reflects the large classes; models usually fail in the
    small ones.  A class without test pixels has no accuracy, which is not an accuracy
    of 0.

    Parameters
    ----------
    rows : ``per_class`` of a model in ``metrics.json``
    title : name of the model
    overall : overall accuracy, drawn as a dashed line
    interval : ``interval`` of a model in ``metrics.json``, drawn as whiskers
    """
    ordered = sorted(rows, key=_size, reverse=True)
    figure, axes, size = _sheet([shorten(row["name"], _NAME) for row in ordered])
    _draw_bars(axes, ordered, size)
    _draw_whiskers(axes, ordered, interval)
    _write_counts(axes, ordered, size)
    if overall is not None:
        axes.axvline(100 * overall, color=INK, linewidth=1, linestyle="--")
    write_title(figure, title, _caption(overall, interval))
    return figure


def _sheet(names: Sequence[str]) -> tuple[Figure, Axes, float]:
    """Return a figure, axes with a row per class, and the font size."""
    line, size = (26, 9.5) if len(names) <= _FEW else (19, 8.5)
    left = 40 + round(0.82 * size * max(map(len, names), default=1))
    height = _TOP + line * max(len(names), 3) + _BELOW
    figure = new_figure(_WIDTH, height)
    width = (_WIDTH - left - _COUNTS) / _WIDTH
    box = (left / _WIDTH, _BELOW / height, width, 1 - (_TOP + _BELOW) / height)
    axes = figure.add_axes(box)
    style_axes(axes, across="producer's accuracy in %", up="")
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(axis="y", length=0)
    disable_math(axes.get_yticklabels())
    return figure, axes, size


def _size(row: Row) -> float:
    """Count the pixels of a class that train and test."""
    return float((row["train_count"] or 0) + (row["test_count"] or 0))


def _draw_bars(axes: Axes, rows: Sequence[Row], size: float) -> None:
    """Draw the bars, or the reason why a class has none."""
    for place, row in enumerate(rows):
        share = row["producers_accuracy"]
        axes.barh(place, 100 * (share or 0), height=0.72, color=_BAR)
        reason = _reason(row)
        if reason:
            note = axes.text(1, place, reason, va="center", fontsize=size, color=_MISSING)
            note.set_fontstyle("italic")


def _reason(row: Row) -> str:
    """Return why a class has no accuracy, or one of 0."""
    if row["producers_accuracy"] is None:
        return "no test pixel: no accuracy"
    return "" if row["train_count"] else "no training pixel: never found"


def _draw_whiskers(
    axes: Axes, rows: Sequence[Row], interval: Mapping[str, Any] | None
) -> None:
    """Draw the intervals of the classes."""
    known = {
        row["code"]: row["producers_accuracy"]
        for row in (interval or {}).get("per_class", ())
    }
    for place, row in enumerate(rows):
        whiskers = known.get(row["code"])
        share = row["producers_accuracy"]
        if whiskers is None or share is None:
            continue
        low, high = (100 * end for end in whiskers)
        middle = min(max(100 * share, low), high)
        axes.errorbar(
            middle,
            place,
            xerr=[[middle - low], [high - middle]],
            color=_WHISKER,
            elinewidth=1.1,
            capsize=2.5,
            fmt="none",
        )


def _write_counts(axes: Axes, rows: Sequence[Row], size: float) -> None:
    """Write accuracy and counts of training and test pixels next to each bar."""
    width = _WIDTH * axes.get_position().width
    ends = [1 + right / width for right in (70, 150, 230)]
    heads = ("accuracy", "training px", "test px")
    for end, head in zip(ends, heads, strict=True):
        title = axes.annotate(head, (end, 1), xytext=(0, 5), xycoords="axes fraction",
                             textcoords="offset points", ha="right", va="bottom")  # fmt: skip
        title.set(fontsize=9, color=MUTED)
    for place, row in enumerate(rows):
        values = (
            format_percent(row["producers_accuracy"]),
            format_count(row["train_count"]),
            format_count(row["test_count"]),
        )
        for end, value in zip(ends, values, strict=True):
            text = axes.text(end, place, value, transform=axes.get_yaxis_transform())
            text.set(ha="right", va="center", fontsize=size, color=INK)


def _caption(overall: float | None, interval: Mapping[str, Any] | None) -> str:
    """Describe the figure."""
    parts = ["Classes by size, training and test pixels together"]
    if overall is not None:
        parts.append(f"dashed: overall accuracy, {format_percent(overall)} %")
    if interval and any(row["producers_accuracy"] for row in interval["per_class"]):
        parts.append(
            f"whiskers: {100 * interval['level']:g} % intervals over {interval['unit']}"
        )
    return "; ".join(parts) + "."


_TICK_NAME = 24
"""Characters of a class name next to a matrix."""

_PRINTED = 20
"""Up to this many classes have their counts printed."""


def draw_confusion(
    matrix: npt.ArrayLike,
    legend: Legend,
    title: str = "Confusion matrix",
    codes: Sequence[int] | None = None,
) -> Figure:
    """Draw a confusion matrix: rows are the reference, columns the prediction.

    The colour is the fraction of the reference class; counts are printed for up to 20
    classes.

    Parameters
    ----------
    matrix : counts (class, class)
    legend : Legend
    title : str
    codes : class code of each row; by default those of the legend
    """
    counts = np.asarray(matrix, dtype=np.float64)
    rows = list(legend.codes if codes is None else codes)
    names = [legend[code].name if code in legend else f"Class {code}" for code in rows]
    figure, axes = _matrix_sheet(len(rows), max((len(name) for name in names), default=1))
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _name_ticks(axes, names)
    if len(rows) <= _PRINTED:
        _print_counts(axes, counts, share)
    write_title(figure, title)
    return figure


def _matrix_sheet(rows: int, longest: int) -> tuple[Figure, Axes]:
    """Return a figure with margins for the class names."""
    cell, letter = (40, 7.4) if rows <= _PRINTED else (15, 5.4)
    side = max(cell * rows, 240)
    letters = letter * min(longest, _TICK_NAME)
    left, below = 50 + letters, 50 + 0.85 * letters
    width, height = left + side + 30, 60 + side + below
    figure = new_figure(round(width), round(height))
    box = (left / width, below / height, side / width, side / height)
    return figure, figure.add_axes(box)


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    shown = [shorten(name, _TICK_NAME) for name in names]
    size = 9 if len(names) <= _PRINTED else 6.5
    axes.set_xticks(
        range(len(shown)), shown, rotation=55, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(shown)), shown)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set(fontsize=size, color=INK)
        text.set_parse_math(False)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("reference", color=INK)
    outline_cells(axes, len(shown), len(shown), linewidth=0.8)


def _print_counts(axes: Axes, counts: Floats, share: Floats) -> None:
    for (row, col), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, col] > 0.55 else INK
            axes.text(
                col, row, f"{count:.0f}", ha="center", va="center", color=color, fontsize=8
            )
