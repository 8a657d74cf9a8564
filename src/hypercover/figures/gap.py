"""The leak gap: how far each model falls from random pixels to land it has not seen."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypercover.figures.canvas import FADED, INK, new_figure, short
from hypercover.figures.figure_style import (
    apart,
    draw_series,
    dress,
    plain,
    series_style,
    write_title,
)
from hypercover.figures.formatting import percent

__all__ = ["draw_gap"]

_WIDTH, _HEIGHT = 1080, 620
_LEFT, _TOP, _RIGHT, _BELOW = 84, 84, 250, 112
"""Pixels around the axes: names and accuracies stand at the right."""
_STEP = 0.035
"""How far apart models are drawn, so that their whiskers do not hide each other."""


def draw_gap(
    rows: Sequence[Mapping[str, Any]], *, window: int, title: str, repeats: int = 1
) -> Figure:
    """Draw overall accuracy under each split, one line a model, from random pixels down.

    Parameters
    ----------
    rows : the rows of the key ``gap`` of ``metrics.json``
    window : side of the windows that the shares below the splits are for
    title : what the scene is called
    repeats : seeds that each point is the mean of; whiskers are standard deviations
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    size = ((_WIDTH - _LEFT - _RIGHT) / _WIDTH, (_HEIGHT - _TOP - _BELOW) / _HEIGHT)
    axes = figure.add_axes((_LEFT / _WIDTH, _BELOW / _HEIGHT, *size))
    dress(axes, across="", up="overall accuracy in %")
    models = list(dict.fromkeys(row["model"] for row in rows))
    splits = list(dict.fromkeys(row["split"] for row in rows))
    for place, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        _draw_line(axes, own, place, shift=_STEP * (place - (len(models) - 1) / 2))
    axes.set_xlim(-0.25, len(splits) - 0.75)
    low, high = axes.get_ylim()
    # No accuracy lies beyond 100 %, though a whisker may.
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
    """Draw one model: a point a split, joined, with its spread."""
    points = [(at + shift, 100 * row["overall_accuracy"]) for at, row in enumerate(rows)]
    reach = [(100 * (row["spread"] or 0),) * 2 for row in rows]
    draw_series(axes, place, points, reach, label=rows[0]["model"])


def _name_splits(
    axes: Axes, rows: Sequence[Mapping[str, Any]], splits: Sequence[str], window: int
) -> None:
    """Write below each split what a window lets through."""
    said = {row["split"]: row for row in rows}
    axes.set_xticks(range(len(splits)), splits)
    for label in axes.get_xticklabels():
        label.set(fontsize=11, fontweight="bold", color=INK)
    for place, split in enumerate(splits):
        row = said[split]
        words = (
            f"training pixel in {window} × {window} window: {percent(row['centre_in_window'], 0)} %"
            f"\nwindow overlap: {percent(row['window_overlap'], 0)} %"
            f"\n{row['test_count']:,.0f} test pixels"
        )
        below = axes.text(place, -0.075, words, transform=axes.get_xaxis_transform())
        below.set(ha="center", va="top", fontsize=9, color=FADED, linespacing=1.45)


def _name_models(
    axes: Axes, rows: Sequence[Mapping[str, Any]], models: Sequence[str], last: str
) -> None:
    """Write each model's name, its last accuracy and its fall beside the end of its line."""
    ends = {row["model"]: row for row in rows if row["split"] == last}
    heights = [100 * ends[model]["overall_accuracy"] for model in models]
    low, high = axes.get_ylim()
    room = (high - low) * 34 / (_HEIGHT - _TOP - _BELOW)
    for place, (model, height) in enumerate(
        zip(models, apart(heights, room, low=low, high=high), strict=True)
    ):
        end = ends[model]
        name = axes.text(1.015, height, short(model, 24), va="bottom")
        name.set(color=series_style(place)[0], fontsize=10.5, fontweight="bold")
        moves = "falls" if end["fall"] >= 0 else "rises"
        words = f"{100 * end['overall_accuracy']:.1f} %, {moves} {100 * abs(end['fall']):.1f} points"
        fall = axes.text(1.015, height, words, va="top", color=FADED, fontsize=9)
        for text in (name, fall):
            text.set_transform(axes.get_yaxis_transform())
        plain([name, fall])
