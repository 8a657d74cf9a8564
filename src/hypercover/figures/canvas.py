"""Figures of images, laid out to the pixel: title, images, legend or colour bar.

Figures are made of matplotlib objects without ``pyplot`` and its global state, so
threads and processes can draw at once.  An image is drawn at a whole multiple of its
size, so each pixel of the scene is a sharp square.  The saved file records where the
image is in it, so that the report can overlay pictures of one scene.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from hypercover.files import atomic
from hypercover.scene.io.geotiff import printable
from hypercover.types import Bytes

DPI = 100
INK, MUTED, PALE = "#20262e", "#5d6773", "#e9ebee"
"""Colours of text, of secondary text, and of pixels without data."""
LAND = "land"
"""Name of the axes whose position is recorded in the file."""
PLACE_KEY = "hypercover-picture"
"""Key of the position: left, top, width, height as fractions of the figure."""
_MAX_SIDE, _USUAL_SIDE = 1200, 720
"""Sides of an image in pixels: thinned out above, enlarged below."""
Size = tuple[int, int]


@dataclass(frozen=True)
class LegendEntry:
    """A line of a legend."""

    color: str
    """Colour of the square."""
    text: str
    """Name of the class or part."""
    note: str = ""
    """Count or percentage, in a lighter colour after the text."""


@dataclass(frozen=True)
class ColorBar:
    """A colour bar from 0 to 1."""

    name: str
    """Name of a matplotlib colormap."""
    label: str
    """Name of the values."""


def shorten(text: str, length: int = 34) -> str:
    """Return a name on one line, shortened to a number of characters."""
    line = printable(text)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def thinning_step(shape: Size) -> int:
    """Return the step at which a large image of (rows, columns) is thinned out."""
    return max(1, math.ceil(max(shape) / _MAX_SIDE))


def new_figure(width: int, height: int) -> Figure:
    """Return an empty white figure of this many pixels."""
    # matplotlib truncates inches times dpi to whole pixels: stay slightly above.
    inches = ((width + 1e-6) / DPI, (height + 1e-6) / DPI)
    figure = Figure(figsize=inches, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG that records the position of its image.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with warnings.catch_warnings(), atomic(path) as draft:
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(draft, format="png", dpi=DPI, metadata=_metadata(figure))


def _metadata(figure: Figure) -> dict[str, str]:
    """Return the metadata of the file."""
    metadata = {"Software": "hypercover"}
    for axes in figure.axes:
        if axes.get_gid() == LAND:
            box = axes.get_position()
            place = (box.x0, 1 - box.y1, box.width, box.height)
            return metadata | {PLACE_KEY: " ".join(f"{share:.6f}" for share in place)}
    return metadata


@dataclass(frozen=True)
class _Sheet:
    """Sizes in pixels of the elements of a figure."""

    image: Size
    """Width and height of one image."""
    unit: float
    """Scale of the text relative to a small figure."""
    across: int
    """Images side by side."""
    down: int
    """Rows of images."""
    columns: int
    """Columns of the legend."""
    column: float
    """Width of a legend column."""

    @property
    def margin(self) -> int:
        return round(22 * self.unit)

    @property
    def head(self) -> int:
        return round(72 * self.unit)

    @property
    def line(self) -> float:
        return 23 * self.unit

    @property
    def block(self) -> Size:
        """Width and height of all images with the gaps between them."""
        return (
            self.across * self.image[0] + (self.across - 1) * self.margin,
            self.down * self.image[1] + (self.down - 1) * self.margin,
        )

    @property
    def size(self) -> Size:
        """Width and height of the figure."""
        legend = round(self.columns * self.column) + (self.margin if self.columns else 0)
        width = 2 * self.margin + self.block[0] + legend
        return max(width, round(420 * self.unit)), self.head + self.block[1] + self.margin


def draw_image_sheet(
    images: Sequence[Bytes],
    *,
    title: str,
    subtitle: str = "",
    entries: Sequence[LegendEntry] = (),
    ramp: ColorBar | None = None,
) -> Figure:
    """Draw images of one scene side by side, with a title and a legend or colour bar.

    Parameters
    ----------
    images : arrays (y, x, 3) of one shape
        The file records the position of the first.
    """
    sheet = _sheet(images, entries, ramp)
    figure = new_figure(*sheet.size)
    _write_head(figure, sheet, title, subtitle)
    for index, image in enumerate(images):
        _place_image(figure, sheet, index, image)
    left = 2 * sheet.margin + sheet.block[0]
    if ramp is not None:
        _place_ramp(figure, sheet, left, ramp)
    elif entries:
        _place_legend(figure, sheet, left, entries)
    return figure


def _sheet(
    images: Sequence[Bytes], entries: Sequence[LegendEntry], ramp: ColorBar | None
) -> _Sheet:
    rows, cols = images[0].shape[:2]
    scale = max(1, _USUAL_SIDE // max(rows, cols))
    width, height = cols * scale, rows * scale
    unit = min(max(max(width, height) / _USUAL_SIDE, 0.8), 1.6)
    beside = len(images) if width <= 1.4 * height else 1
    down = math.ceil(len(images) / beside)
    column = max((len(entry.text + entry.note) for entry in entries), default=0)
    fitting = max(1, int(down * height / (23 * unit)))
    columns = 1 if ramp else math.ceil(len(entries) / fitting)
    return _Sheet(
        (width, height),
        unit,
        beside,
        down,
        columns,
        90 * unit if ramp else (48 + 7.6 * column) * unit,
    )


def _box(
    sheet: _Sheet, left: float, top: float, width: float, height: float
) -> tuple[float, float, float, float]:
    """Convert pixels from the upper left corner to figure fractions."""
    across, down = sheet.size
    return left / across, 1 - (top + height) / down, width / across, height / down


def _points(pixels: float) -> float:
    return pixels * 72 / DPI


def _write(figure: Figure, sheet: _Sheet, at: tuple[float, float], text: str) -> Text:
    """Write text without parsing dollar signs as formulas."""
    left, top = at
    x, y, _, _ = _box(sheet, left, top, 0, 0)
    written = figure.text(x, y, text, va="center", color=INK)
    written.set_parse_math(False)
    return written


def _write_head(figure: Figure, sheet: _Sheet, title: str, subtitle: str) -> None:
    room = (sheet.size[0] - 2 * sheet.margin) / sheet.unit
    head = _write(
        figure, sheet, (sheet.margin, 25 * sheet.unit), shorten(title, int(room / 11))
    )
    head.set(fontsize=_points(19 * sheet.unit), fontweight="bold")
    below = _write(
        figure, sheet, (sheet.margin, 51 * sheet.unit), shorten(subtitle, int(room / 7))
    )
    below.set(fontsize=_points(13 * sheet.unit), color=MUTED)


def _place_image(figure: Figure, sheet: _Sheet, index: int, image: Bytes) -> None:
    width, height = sheet.image
    row, col = divmod(index, sheet.across)
    left = sheet.margin + col * (width + sheet.margin)
    top = sheet.head + row * (height + sheet.margin)
    axes = figure.add_axes(_box(sheet, left, top, width, height))
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set_gid(LAND if index == 0 else None)
    # A frame would cover the outermost pixels.
    axes.set_axis_off()


def _place_legend(
    figure: Figure, sheet: _Sheet, left: float, entries: Sequence[LegendEntry]
) -> None:
    """Write the legend to the right of the images, in as many columns as it needs."""
    across, down = sheet.size
    per_column = math.ceil(len(entries) / sheet.columns)
    side = 14 * sheet.unit
    for index, entry in enumerate(entries):
        col, row = divmod(index, per_column)
        x = left + col * sheet.column
        y = sheet.head + (row + 0.5) * sheet.line
        square = Rectangle(
            (x / across, 1 - (y + side / 2) / down), side / across, side / down
        )
        square.set(facecolor=entry.color, edgecolor=MUTED, linewidth=0.5)
        square.set_transform(figure.transFigure)
        figure.add_artist(square)
        text = _write(figure, sheet, (x + 1.6 * side, y), entry.text)
        text.set_fontsize(_points(12.5 * sheet.unit))
        if entry.note:
            note = _write(figure, sheet, (x + sheet.column - side, y), entry.note)
            note.set(ha="right", color=MUTED, fontsize=_points(11.5 * sheet.unit))


def _place_ramp(figure: Figure, sheet: _Sheet, left: float, ramp: ColorBar) -> None:
    """Draw a colour bar from 0 to 1 to the right of the images."""
    height = min(sheet.block[1], round(420 * sheet.unit))
    axes = figure.add_axes(_box(sheet, left, sheet.head, 18 * sheet.unit, height))
    colors = colormaps[ramp.name](np.linspace(1, 0, 256))[:, None, :3]
    axes.imshow(colors, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.tick_params(labelsize=_points(11.5 * sheet.unit), colors=INK, length=3)
    axes.set_ylabel(ramp.label, fontsize=_points(12.5 * sheet.unit), color=INK)
