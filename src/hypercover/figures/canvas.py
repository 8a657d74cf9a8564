"""The canvas of figures: sheets of images, and the common style of axes, titles and lines.

Figures are made of matplotlib objects without ``pyplot`` and its global state, so
threads and processes can draw at once.  An image is drawn at a whole multiple of its
size, so each pixel of the scene is a sharp square.  The saved file records where the
image is in it, so that the report can overlay pictures of one scene.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Transform

from hypercover.files import atomic
from hypercover.scene.io.class_tables import printable
from hypercover.types import Bytes

DPI = 100
INK, MUTED, PALE = "#20262e", "#5d6773", "#e9ebee"
"""Colours of text, of secondary text, and of pixels without data."""
COLORMAP = "viridis"
"""Name of the colormap of numbers."""
PLACE_KEY = "hypercover-picture"
"""Key of the position of an image: left, top, width, height as fractions of the figure."""
_IMAGE = "image"
"""Name of the axes whose position is recorded in the file."""
_MAX_SIDE, _USUAL_SIDE = 1200, 720
"""Sides of an image in pixels: thinned out above, enlarged below."""
_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#20262e")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class PlainTextFigure(Figure):
    """A figure that shows names from files as they are, never as formulas."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)


def shorten(text: str, length: int = 34) -> str:
    """Return a name on one line, shortened to a number of characters."""
    line = printable(text)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def thinning_step(shape: tuple[int, ...]) -> int:
    """Return the step at which a large image of (rows, columns) is thinned out."""
    return max(1, math.ceil(max(shape) / _MAX_SIDE))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of this many pixels."""
    # matplotlib truncates inches times dpi to whole pixels: stay slightly above.
    inches = ((width + 1e-6) / DPI, (height + 1e-6) / DPI)
    figure = PlainTextFigure(figsize=inches, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _size(figure: Figure) -> tuple[float, float]:
    """Return width and height of a figure in pixels."""
    width, height = np.rint(figure.get_size_inches() * DPI)
    return float(width), float(height)


def _from_pixels(figure: Figure) -> Transform:
    """Return the transform of pixels right of and below the upper left corner."""
    width, height = _size(figure)
    return Affine2D().scale(1 / width, -1 / height).translate(0, 1) + figure.transFigure


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes, with the upper left corner and the size in pixels."""
    across, down = _size(figure)
    box = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(box)


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> Text:
    """Write a text that begins at pixels from the upper left corner."""
    style = {"color": INK, "va": "center"} | style
    return figure.text(left, top, text, transform=_from_pixels(figure), **style)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG that records the position of its image.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    metadata = {"Software": "hypercover"}
    for axes in figure.axes:
        if axes.get_gid() == _IMAGE:
            box = axes.get_position()
            place = (box.x0, 1 - box.y1, box.width, box.height)
            metadata[PLACE_KEY] = " ".join(f"{share:.6f}" for share in place)
    with warnings.catch_warnings(), atomic(path) as draft:
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(draft, format="png", dpi=DPI, metadata=metadata)


class LegendEntry(NamedTuple):
    """A line of a legend."""

    color: str
    """Colour of the square."""
    text: str
    """Name of the class or part."""
    note: str = ""
    """Count or percentage, in a lighter colour after the text."""


def draw_image_sheet(
    images: Sequence[Bytes],
    *,
    title: str,
    subtitle: str = "",
    entries: Sequence[LegendEntry] = (),
    color_bar: str = "",
) -> Figure:
    """Draw images of one scene side by side, with a title and a legend or colour bar.

    Parameters
    ----------
    images : arrays (y, x, 3) of one shape
        The file records the position of the first.
    color_bar : label of a colour bar from 0 to 1, which replaces the legend
    """
    rows, cols = images[0].shape[:2]
    scale = max(1, _USUAL_SIDE // max(rows, cols))
    width, height = cols * scale, rows * scale
    # The size of all but the images, relative to a small figure.
    unit = min(max(max(width, height) / _USUAL_SIDE, 0.8), 1.6)
    margin, head, line = round(22 * unit), round(72 * unit), 23 * unit
    across = len(images) if width <= 1.4 * height else 1
    down = math.ceil(len(images) / across)
    right = margin + across * (width + margin)
    bottom = head + down * (height + margin)
    longest = max((len(entry.text + entry.note) for entry in entries), default=0)
    column = 90 * unit if color_bar else (48 + 7.6 * longest) * unit
    columns = math.ceil(len(entries) / max(1, int(down * height / line)))
    columns = 1 if color_bar else columns
    beside = round(columns * column) + margin if columns else 0
    figure = new_figure(max(right + beside, round(420 * unit)), bottom)
    room = (_size(figure)[0] - 2 * margin) / unit
    heading = write(figure, margin, 25 * unit, shorten(title, int(room / 11)))
    heading.set(fontsize=_points(19 * unit), fontweight="bold")
    below = write(figure, margin, 51 * unit, shorten(subtitle, int(room / 7)))
    below.set(fontsize=_points(13 * unit), color=MUTED)
    for index, image in enumerate(images):
        row, col = divmod(index, across)
        left, top = margin + col * (width + margin), head + row * (height + margin)
        axes = add_axes(figure, left, top, width, height)
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set_gid(_IMAGE if index == 0 else None)
        # A frame would cover the outermost pixels.
        axes.set_axis_off()
    if color_bar:
        tall = min(bottom - head - margin, round(420 * unit))
        _draw_color_bar(add_axes(figure, right, head, 18 * unit, tall), color_bar, unit)
    for index, entry in enumerate(entries):
        col, row = divmod(index, math.ceil(len(entries) / columns))
        place = (right + col * column, head + (row + 0.5) * line)
        _draw_entry(figure, place, entry, column, unit)
    return figure


def _points(pixels: float) -> float:
    return pixels * 72 / DPI


def _draw_entry(
    figure: Figure,
    place: tuple[float, float],
    entry: LegendEntry,
    width: float,
    unit: float,
) -> None:
    """Draw a line of a legend with its square, text and note."""
    (left, middle), side = place, 14 * unit
    square = Rectangle(
        (left, middle - side / 2), side, side, transform=_from_pixels(figure)
    )
    square.set(facecolor=entry.color, edgecolor=MUTED, linewidth=0.5)
    figure.add_artist(square)
    text = write(figure, left + 1.6 * side, middle, entry.text)
    text.set_fontsize(_points(12.5 * unit))
    if entry.note:
        note = write(figure, left + width - side, middle, entry.note)
        note.set(ha="right", color=MUTED, fontsize=_points(11.5 * unit))


def _draw_color_bar(axes: Axes, label: str, unit: float) -> None:
    """Draw a colour bar from 0 to 1."""
    colors = colormaps[COLORMAP](np.linspace(1, 0, 256))[:, None, :3]
    axes.imshow(colors, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.tick_params(labelsize=_points(11.5 * unit), colors=INK, length=3)
    axes.set_ylabel(label, fontsize=_points(12.5 * unit), color=INK)


def style_axes(axes: Axes, *, across: str, up: str) -> None:
    """Style axes and label them."""
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(shorten(up, 60), color=INK)
    axes.grid(color="#d9dde2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#9aa3ad")


def write_title(figure: Figure, title: str, *below: str) -> None:
    """Write a title at the upper left of a figure, and smaller lines below it."""
    room, _ = _size(figure)
    write(figure, 22, 25, shorten(title, int(room / 11)), fontsize=14, fontweight="bold")
    for place, line in enumerate(below):
        text = shorten(line, int(room / 6))
        write(figure, 22, 50 + 17 * place, text, fontsize=9.5, color=MUTED)


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
    style = {"frameon": False, "fontsize": size, "labelcolor": INK, "ncols": columns}
    axes.legend(*lines, loc="upper left", bbox_to_anchor=(1.01, top), **style)


def outline_cells(axes: Axes, rows: int, columns: int, linewidth: float) -> None:
    """Separate the cells of a matrix by white lines, without ticks and spines."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=linewidth)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def series_style(index: int) -> tuple[str, str]:
    """Return colour and marker of a line, from Okabe and Ito's colour-blind safe palette.

    Examples
    --------
    >>> series_style(0), series_style(7)
    (('#0072b2', 'o'), ('#0072b2', 's'))
    """
    turn, kind = divmod(index, len(_SERIES))
    return _SERIES[kind], _MARKERS[(kind + turn) % len(_MARKERS)]


def draw_series(
    axes: Axes,
    index: int,
    points: Sequence[tuple[float, float]],
    whiskers: Sequence[tuple[float, float]] = (),
    *,
    label: str,
) -> None:
    """Draw one of several lines through points (x, y), with whiskers if there are any.

    Parameters
    ----------
    index : number of the line, for its colour and marker
    whiskers : lengths of the whiskers of each point (down, up)
    """
    color, marker = series_style(index)
    across, up = zip(*points, strict=True) if points else ((), ())
    reach = [*zip(*whiskers, strict=True)] if any(map(any, whiskers)) else None
    axes.errorbar(
        across,
        up,
        reach,
        label=label,
        color=color,
        linewidth=2,
        elinewidth=1.2,
        capsize=3.5,
        marker=marker,
        markersize=7,
        markeredgecolor="white",
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
    order = np.argsort(heights, kind="stable")
    steps = room * np.arange(len(heights))
    # Less its step, each label may lie as low as the one below it.
    free = np.asarray(heights, dtype=np.float64)[order] - steps
    raised = np.maximum.accumulate(free)
    lowered = np.minimum.accumulate(free[::-1])[::-1]
    middle = np.maximum((raised + lowered) / 2, low + room / 2)
    ceiling = high - room / 2 - room * (len(heights) - 1)
    moved = np.empty_like(free)
    moved[order] = np.minimum(middle, ceiling) + steps
    return list(map(float, moved))
