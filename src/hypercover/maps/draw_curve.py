"""The learning curve: accuracy against how much is trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from hypercover.maps.canvas import INK, new_figure, short
from hypercover.maps.frame import draw_series, dress, plain, write_title

__all__ = ["draw_curve"]


def draw_curve(rows: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Draw overall accuracy against the training share, one line a model.

    Parameters
    ----------
    rows : the rows of the key ``curve`` of ``metrics.json``
        ``model``, ``train`` (a share below 1, or pixels of each class),
        ``overall_accuracy``, and where known ``interval`` [low, high] or else
        ``spread`` (standard deviation over the seeds): the whiskers.
    title : what the scene is called
    """
    figure = new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.7, 0.69))
    shares = all(row["train"] < 1 for row in rows)
    across = "training share of the labelled pixels in %" if shares else "training pixels"
    dress(axes, across=across, up="overall accuracy in %")
    unit = 100 if shares else 1
    known = sorted(
        (row for row in rows if row["overall_accuracy"] is not None),
        key=lambda row: float(row["train"]),
    )
    for place, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        own = [row for row in known if row["model"] == model]
        points = [(unit * row["train"], 100 * row["overall_accuracy"]) for row in own]
        draw_series(axes, place, points, [*map(_reach, own)], label=short(model, 24))
    if rows:
        axes.set_xticks(sorted({unit * row["train"] for row in rows}))
        names = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False,
                            fontsize=10, labelcolor=INK)  # fmt: skip
        plain(names.get_texts())
    write_title(figure, f"Learning curve: {title}", _whiskers(rows))
    return figure


def _reach(row: Mapping[str, Any]) -> tuple[float, float]:
    """Return how far the whiskers of a point reach down and up, in points."""
    middle = row["overall_accuracy"]
    if row.get("interval"):
        low, high = row["interval"]
        return max(100 * (middle - low), 0.0), max(100 * (high - middle), 0.0)
    spread = 100 * (row.get("spread") or 0.0)
    return spread, spread


def _whiskers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say what the whiskers are."""
    if any(row.get("interval") for row in rows):
        return "Whiskers: 95 % intervals."
    if any(row.get("spread") for row in rows):
        return "Whiskers: standard deviation over the seeds."
    return "One seed a point."
