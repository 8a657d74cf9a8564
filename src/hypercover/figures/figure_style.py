"""The common style of figures with axes: axes, titles, legends, series and labels."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from hypercover.figures.canvas import INK, MUTED, shorten

_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#20262e")

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def style_axes(axes: Axes, *, across: str, up: str) -> None:
    """Style axes and label them."""
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(shorten(up, 60), color=INK).set_parse_math(False)
    axes.grid(color="#d9dde2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#9aa3ad")


def write_title(figure: Figure, title: str, *below: str) -> None:
    """Write a title at the upper left of a figure, and smaller lines below it."""
    across, down = (size * figure.dpi for size in figure.get_size_inches())
    head = figure.text(22 / across, 1 - 25 / down, shorten(title, int(across / 11)))
    head.set(va="center", fontsize=14, fontweight="bold", color=INK)
    lines = [
        figure.text(
            22 / across, 1 - (50 + 17 * place) / down, shorten(line, int(across / 6))
        )
        for place, line in enumerate(below)
    ]
    for line in lines:
        line.set(va="center", fontsize=9.5, color=MUTED)
    disable_math([head, *lines])


def disable_math(texts: Iterable[Text]) -> None:
    """Show names from files as they are, never as formulas."""
    for text in texts:
        text.set_parse_math(False)


def add_side_legend(
    axes: Axes,
    names: Sequence[str] | None = None,
    *,
    columns: int = 1,
    size: float = 10,
    top: float = 1.02,
) -> None:
    """Write the names of the lines, by default their labels, right of the axes."""
    lines = () if names is None else (axes.get_lines(), names)
    legend = axes.legend(
        *lines,
        loc="upper left",
        bbox_to_anchor=(1.01, top),
        frameon=False,
        fontsize=size,
        labelcolor=INK,
        ncols=columns,
    )
    disable_math(legend.get_texts())


def outline_cells(axes: Axes, rows: int, columns: int, linewidth: float) -> None:
    """Separate the cells of a matrix by white lines, without ticks and spines."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=linewidth)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def series_style(place: int) -> tuple[str, str]:
    """Return colour and marker of a line, from Okabe and Ito's colour-blind safe palette.

    Examples
    --------
    >>> series_style(0), series_style(7)
    (('#0072b2', 'o'), ('#0072b2', 's'))
    """
    turn, kind = divmod(place, len(_SERIES))
    return _SERIES[kind], _MARKERS[(kind + turn) % len(_MARKERS)]


def draw_series(
    axes: Axes,
    place: int,
    points: Sequence[tuple[float, float]],
    whiskers: Sequence[tuple[float, float]],
    *,
    label: str,
) -> None:
    """Draw one of several lines through points (x, y), with whiskers if there are any.

    Parameters
    ----------
    place : number of the line, for its colour and marker
    whiskers : lengths of the whiskers of each point (down, up)
    """
    color, marker = series_style(place)
    axes.errorbar(
        [x for x, _ in points],
        [y for _, y in points],
        yerr=[*zip(*whiskers, strict=True)] if any(map(any, whiskers)) else None,
        label=label,
        color=color,
        marker=marker,
        markersize=7,
        markeredgecolor="white",
        linewidth=2,
        elinewidth=1.2,
        capsize=3.5,
    )


def spread_labels(
    heights: Sequence[float], room: float, *, low: float, high: float
) -> list[float]:
    """Move labels apart until each has room and, if possible, none leaves the axes.

    Examples
    --------
    >>> spread_labels([50.0, 51.0, 90.0], 4, low=0, high=100)
    [48.5, 52.5, 90.0]
    >>> spread_labels([99.0, 98.0], 4, low=0, high=100)
    [98.0, 94.0]
    """
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    raised, lowered = _raised(heights, order, room), _lowered(heights, order, room)
    middle = [(up + down) / 2 for up, down in zip(raised, lowered, strict=True)]
    inside = _raised(middle, order, room, floor=low + room / 2)
    return _lowered(inside, order, room, ceiling=high - room / 2)


def _raised(
    heights: Sequence[float], order: Sequence[int], room: float, floor: float = -math.inf
) -> list[float]:
    """Raise heights in order, each at least `room` above the one before."""
    moved = list(heights)
    for place in order:
        moved[place] = max(moved[place], floor)
        floor = moved[place] + room
    return moved


def _lowered(
    heights: Sequence[float], order: Sequence[int], room: float, ceiling: float = math.inf
) -> list[float]:
    """Lower heights from the last, each at least `room` below the one after it."""
    below = [-height for height in heights]
    return [-height for height in _raised(below, order[::-1], room, -ceiling)]
