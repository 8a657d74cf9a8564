"""What all figures with axes have in common: their look, their title, their names."""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from hypercover.maps.canvas import FADED, INK, short

__all__ = ["dress", "plain", "write_title"]


def dress(axes: Axes, *, across: str, up: str) -> None:
    """Give axes the look of the house and name what they show."""
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(short(up, 60), color=INK).set_parse_math(False)
    axes.grid(color="#d9dde2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#9aa3ad")


def write_title(figure: Figure, title: str, *below: str) -> None:
    """Write a title at the upper left of a figure, and lines of words below it."""
    across, down = (size * figure.dpi for size in figure.get_size_inches())
    head = figure.text(22 / across, 1 - 25 / down, short(title, int(across / 11)))
    head.set(va="center", fontsize=14, fontweight="bold", color=INK)
    lines = [
        figure.text(22 / across, 1 - (50 + 17 * place) / down, short(line, int(across / 6)))
        for place, line in enumerate(below)
    ]
    for line in lines:
        line.set(va="center", fontsize=9.5, color=FADED)
    plain([head, *lines])


def plain(texts: Iterable[Text]) -> None:
    """Have names that come from a file read as they are, never as a formula."""
    for text in texts:
        text.set_parse_math(False)
