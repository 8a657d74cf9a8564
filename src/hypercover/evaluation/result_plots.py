"""Plots and text of results: confusion matrices, differences, areas and search grids."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


Interval = tuple[float, float] | None


def format_result(headline: str, frame: "pd.DataFrame") -> str:
    """Return a headline and a table below it, as results print themselves."""
    table = frame.to_string(index=False, na_rep="–", float_format=lambda x: f"{x:.4g}")
    return f"{headline}\n{table}"


def _axes(ax: "Axes | None") -> "Axes":
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def plot_grid(
    values: npt.ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw shares (row, column) from 0 to 1 as colours, with a text in each cell."""
    axes = _axes(ax)
    shares = np.asarray(values, np.float64)
    low = 0.0 if np.isnan(shares).all() else float(np.nanmin(shares))
    axes.imshow(shares, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    middle = (low + (1.0 if np.isnan(shares).all() else float(np.nanmax(shares)))) / 2
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            dark = shares[row, column] > middle
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    return axes


def plot_differences(
    labels: Sequence[str],
    differences: Sequence[float | None],
    intervals: Sequence[Interval],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw differences with their intervals, in percentage points, from top to bottom."""
    axes = _axes(ax)
    axes.axvline(0, color="grey", linewidth=1)
    for place, (value, interval) in enumerate(zip(differences, intervals, strict=True)):
        if interval is not None:
            axes.plot([100 * end for end in interval], [place, place], color="C0")
        if value is not None:
            axes.plot(100 * value, place, "o", color="C0")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("difference in percentage points, with 95 % interval")
    return axes


def plot_bars(
    labels: Sequence[str],
    bars: dict[str, tuple[Any, Any]],
    unit: str,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw grouped horizontal bars; each group is values (n,) and intervals (n, 2) or None."""
    axes = _axes(ax)
    height = 0.8 / len(bars)
    for group, (name, (values, intervals)) in enumerate(bars.items()):
        places = np.arange(len(labels)) + (group - (len(bars) - 1) / 2) * height
        reach = None if intervals is None else np.abs(np.transpose(intervals) - values)
        axes.barh(places, values, height, xerr=reach, label=name, capsize=2)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.legend()
    return axes
