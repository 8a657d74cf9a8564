"""Figures of the calibration of a confidence: reliability diagram and abstention curve."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hypercover.figures.canvas import INK, MUTED, new_figure
from hypercover.figures.figure_style import disable_math, style_axes, write_title
from hypercover.types import Floats

_RIGHT = "#0072b2"

_OVER, _UNDER = ("#d55e00", "#f6cdb0"), ("#0072b2", "#c4e5f8")
"""Edge and face colours of overconfidence and underconfidence."""


def draw_reliability(calibration: Mapping[str, Any], title: str) -> Figure:
    """Draw a reliability diagram: accuracy against confidence, and a histogram.

    A bar that ends on the diagonal is well calibrated; the gap to the diagonal is
    drawn as overconfidence or underconfidence.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Name of the model, with "simulated" if the scene is.
    """
    rows = [row for row in calibration["bins"] if row["count"]]
    low, high, count, sure, right = (
        np.array([row[name] for row in rows], dtype=np.float64)
        for name in ("low", "high", "count", "confidence", "accuracy")
    )
    ends = low, high
    figure = new_figure(620, 690)
    upper = figure.add_axes((0.12, 0.29, 0.83, 0.53))
    lower = figure.add_axes((0.12, 0.08, 0.83, 0.12))
    _bars(upper, ends, np.zeros_like(right), right, facecolor=_RIGHT, label="accuracy")
    for which, colors, name in (
        (sure > right, _OVER, "overconfident"),
        (sure < right, _UNDER, "underconfident"),
    ):
        if which.any():
            look: dict[str, Any] = dict(
                zip(("edgecolor", "facecolor"), colors, strict=True)
            )
            gap = (np.minimum(sure, right)[which], np.maximum(sure, right)[which])
            of = low[which], high[which]
            _bars(upper, of, *gap, hatch="////", linewidth=0.8, label=name, **look)
    upper.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="perfect calibration")
    _bars(lower, ends, np.zeros_like(right), count / count.sum(), facecolor=MUTED)
    style_axes(upper, across="confidence", up="accuracy")
    style_axes(lower, across="", up="pixels")
    for axes in (upper, lower):
        axes.set_xlim(0, 1)
        _in_percent(axes)
    upper.set_ylim(0, 1)
    _name_bars(upper)
    write_title(figure, f"{title}: reliability", *_caption(calibration))
    return figure


def _bars(
    axes: Axes, ends: tuple[Floats, Floats], bottom: Floats, top: Floats, **look: Any
) -> None:
    """Draw a bar over each bin of confidence (low, high)."""
    low, high = ends
    wide = 0.94 * (high - low)
    axes.bar(low, top - bottom, width=wide, bottom=bottom, align="edge", **look)


def _in_percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))


def _name_bars(axes: Axes) -> None:
    """Write the legend above the axes, where it hides no bar."""
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.5,
    )
    disable_math(legend.get_texts())


_FITTED_ON = {
    None: "validation pixels",
    "validation": "validation pixels",
    "folds": "training pixels held out in turn",
}


def _caption(calibration: Mapping[str, Any]) -> tuple[str, str]:
    """Describe the calibration error and the temperature."""
    error = f"calibration error {100 * calibration['error']:.1f} % on test pixels"
    temperature = calibration["temperature"]
    if temperature is None:
        few = calibration.get("proposed") is not None
        why = f": {calibration['patches']} patches of held-out pixels are too few" * few
        return error, f"the model's own confidence, not scaled{why}"
    before = f"; {100 * calibration['error_before']:.1f} % before scaling"
    return error + before, (
        f"scaled by a temperature of {temperature:.2f}, fitted on "
        f"{calibration['fitted_on']:,} {_FITTED_ON[calibration.get('by')]}"
    )


def draw_abstention(calibration: Mapping[str, Any], title: str) -> Figure:
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
    figure = new_figure(620, 440)
    axes = figure.add_axes((0.12, 0.13, 0.83, 0.66))
    axes.plot(kept, right, color=_RIGHT, lw=2, marker="o", ms=4)
    axes.axhline(right[-1], color=INK, lw=1, ls="--")
    style_axes(
        axes, across="fraction of the pixels kept, the most confident first", up="accuracy"
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(max(0.0, min(right) - 0.1), 1.02)
    _in_percent(axes)
    half = float(np.interp(0.5, kept, right))
    write_title(
        figure,
        f"{title}: abstention",
        f"all pixels: {100 * right[-1]:.1f} % right; the most confident half: {100 * half:.1f} %",
    )
    return figure
