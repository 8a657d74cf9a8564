"""Figures of a grid search: the accuracy of each C and gamma, and the speed-up."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hypercover.figures.canvas import INK, MUTED, new_figure, shorten
from hypercover.figures.figure_style import (
    add_side_legend,
    draw_series,
    outline_cells,
    style_axes,
    write_title,
)
from hypercover.figures.formatting import (
    describe_folds,
    describe_speed,
    format_gamma,
    format_minutes,
)
from hypercover.scene.metadata import Origin, origin_label
from hypercover.types import Floats

_WIDE, _HIGH = 108, 50
"""Size of a cell in pixels."""
_LEFT, _TOP, _RIGHT, _BELOW = 210, 100, 26, 74
"""Margins around the cells in pixels."""
_MIN_WIDTH = 620
_COLORS = "viridis"
_BEST = "#d55e00"


def draw_search(table: Mapping[str, Any], **origin: Unpack[Origin]) -> Figure:
    """Draw a table of ``search.json``: accuracy as colour and number, the best cell framed.

    Parameters
    ----------
    table : a table written by `hypercover search`
    **origin : whether the image was measured, as ``scene.origin`` gives it, for the title
    """
    shares = _filled(table["accuracy"])
    rows, columns = shares.shape
    width = max(_MIN_WIDTH, _LEFT + _WIDE * columns + _RIGHT)
    height = _TOP + _HIGH * rows + _BELOW
    figure = new_figure(width, height)
    box = (
        _LEFT / width,
        _BELOW / height,
        (width - _LEFT - _RIGHT) / width,
        _HIGH * rows / height,
    )
    axes = figure.add_axes(box)
    scale = _range_of(shares)
    axes.imshow(shares, cmap=_COLORS, norm=scale, aspect="auto")
    _name_ticks(axes, table)
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            _print_cell(
                axes, (row, column), share, table["minutes"][row][column], scale(share)
            )
    if table["best"]:
        _frame(axes, table["best"]["row"], table["best"]["column"])
    _head(figure, table, origin_label(origin))
    return figure


def draw_scaling(rows: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Draw the speed-up of a search against the number of workers.

    Parameters
    ----------
    rows : a row for each model, part (``cells``: best or all) and number of ``workers``,
        with its ``speed_up``
    title : name of the experiment
    """
    figure = new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.66, 0.69))
    style_axes(axes, across="workers", up="speed-up")
    counts = sorted({row["workers"] for row in rows})
    axes.plot(counts, counts, color=MUTED, linestyle="--", linewidth=1.2, label="ideal")
    for place, key in enumerate(
        dict.fromkeys((row["model"], row["cells"]) for row in rows)
    ):
        own = [row for row in rows if (row["model"], row["cells"]) == key]
        points = [(row["workers"], row["speed_up"]) for row in own]
        label = f"{shorten(key[0], 18)}, {'best cell' if key[1] == 'best' else 'all cells'}"
        draw_series(axes, place, points, [(0.0, 0.0)] * len(points), label=label)
    axes.set_xticks(counts)
    add_side_legend(axes)
    write_title(
        figure,
        f"Speed-up of the grid search: {title}",
        "Processor seconds of one worker divided by the wall seconds of several.",
    )
    return figure


def _filled(accuracy: list[list[float | None]]) -> Floats:
    """Return accuracies (gamma, C), NaN for unfinished cells."""
    rows = [[np.nan if share is None else share for share in row] for row in accuracy]
    return np.array(rows, dtype=np.float64)


def _range_of(shares: Floats) -> Normalize:
    """Spread the colours over the accuracies, at least over five points."""
    known = shares[np.isfinite(shares)]
    high = float(known.max()) if len(known) else 1.0
    low = float(known.min()) if len(known) else 0.0
    return Normalize(min(low, high - 0.05), high)


def _name_ticks(axes: Axes, table: Mapping[str, Any]) -> None:
    scales = table["scale"] or [None] * len(table["gamma"])
    names = [
        format_gamma(*pair).replace(" (", "\n(")
        for pair in zip(table["gamma"], scales, strict=True)
    ]
    axes.set_xticks(range(len(table["C"])), [f"{cost:g}" for cost in table["C"]])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=10, colors=INK)
    axes.set_xlabel("C", color=INK, fontsize=11)
    axes.set_ylabel("gamma", color=INK, fontsize=11)
    outline_cells(axes, len(names), len(table["C"]), linewidth=1.5)


def _print_cell(
    axes: Axes, place: tuple[int, int], share: float, minutes: float, shade: float
) -> None:
    red, green, blue, _ = colormaps[_COLORS](shade)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    row, column = place
    lines = (
        (row - 0.13, f"{100 * share:.2f}", 11, "bold"),
        (row + 0.25, f"({format_minutes(minutes)})", 8, "normal"),
    )
    for height, text, size, weight in lines:
        label = axes.text(column, height, text, ha="center", va="center", fontsize=size)
        label.set(color="white" if dark else INK, fontweight=weight)


def _frame(axes: Axes, row: int, column: int) -> None:
    frame = Rectangle(
        (column - 0.47, row - 0.47), 0.94, 0.94, fill=False, edgecolor=_BEST, linewidth=3
    )
    axes.add_patch(frame)


def _head(figure: Figure, table: Mapping[str, Any], origin: str) -> None:
    across, down = (size * figure.dpi for size in figure.get_size_inches())
    title = f"{table['model']}: accuracy in % (serial minutes)"
    if origin:
        title += f", {origin}"
    lines = (
        (title, 28, 14, "bold"),
        (f"{describe_folds(table)}; {table['scored']} held-out samples", 54, 10, "normal"),
        (describe_speed(table), 74, 10, "normal"),
    )
    for text, below, size, weight in lines:
        label = figure.text(
            22 / across, 1 - below / down, shorten(text, int(across / (0.62 * size + 1.2)))
        )
        label.set(va="center", fontsize=size, fontweight=weight, color=INK)
        label.set_parse_math(False)
