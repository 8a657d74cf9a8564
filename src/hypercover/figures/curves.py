"""Figures of how far a confidence can be believed: reliability and abstention."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import PercentFormatter
from matplotlib.typing import LineStyleType

from hypercover.errors import LabelError
from hypercover.figures.canvas import FADED, INK, new_figure, short
from hypercover.figures.composites import titled
from hypercover.figures.figure_style import (
    draw_series,
    dress,
    plain,
    with_gaps,
    write_title,
)
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

__all__ = [
    "broken",
    "class_spectra",
    "draw_abstention",
    "draw_confusion",
    "draw_curve",
    "draw_reliability",
    "draw_spectra",
    "draw_training",
    "with_gaps",
]

Values = npt.NDArray[np.float64]

Positions = npt.NDArray[np.intp]

_SHADED = 4
"""Up to this many classes get a band of one standard deviation."""

_NAME = 24
"""Letters of a class name beside a matrix."""

_PRINTED = 20
"""Up to this many classes get their counts printed."""

_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")

_TRAINING = {"loss": ("#0072b2", "#56b4e9"), "accuracy": ("#d55e00", "#e69f00")}
"""What is drawn of a training, and its colours on training and validation pixels."""


def class_spectra(scene: Scene) -> dict[int, tuple[Values, Values]]:
    """Return the mean spectrum of each class and its standard deviation.

    Pixels without data are left out; the cube is read strip by strip.

    Returns
    -------
    dict from class code to (mean, standard deviation), each of shape (band,)
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels, so no class has a spectrum; "
            "give a label file as well."
        )
    codes = [int(code) for code in np.unique(scene.labels) if code]
    count = dict.fromkeys(codes, 0)
    total = {code: np.zeros((2, scene.n_bands)) for code in codes}
    for code, spectra in _labelled_strips(scene, scene.labels):
        count[code] += len(spectra)
        total[code] += spectra.sum(axis=0), np.square(spectra).sum(axis=0)
    return {code: _moments(total[code] / count[code]) for code in codes if count[code]}


def _moments(averages: Values) -> tuple[Values, Values]:
    mean, square = averages
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _labelled_strips(
    scene: Scene, labels: npt.NDArray[np.integer]
) -> Iterator[tuple[int, Values]]:
    """Go through the labelled spectra (n, band) strip by strip, class by class."""
    for rows in scene.strips():
        codes = labels[rows]
        if not codes.any():
            continue
        values, valid = scene.read_valid(rows, slice(None))
        marked = np.where(valid, codes, 0)
        for code in np.unique(marked[marked > 0]):
            yield int(code), values[:, marked == code].T.astype(np.float64)


def broken(values: Values, order: Positions, breaks: Positions) -> Values:
    """Return values in order of wavelength with NaN at the breaks."""
    return np.insert(values[order], breaks, np.nan)


def draw_spectra(scene: Scene) -> Figure:
    """Draw the mean spectrum of each class, with gaps where bands were dropped.

    With few classes, a shade of one standard deviation as well.

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    spectra = class_spectra(scene)
    legend = scene.legend.covering(list(spectra))
    order, breaks = with_gaps(scene)
    place = (
        scene.bands.astype(np.float64) if scene.wavelengths is None else scene.wavelengths
    )
    across = broken(place, order, breaks)
    figure = new_figure(1080, 540)
    columns = 1 + (len(legend) - 1) // 20
    axes = figure.add_axes((0.075, 0.11, 0.7 if columns == 1 else 0.62, 0.76))
    for land in legend:
        mean, spread = (broken(part, order, breaks) for part in spectra[land.code])
        edge = [Stroke(linewidth=2.6, foreground="#00000055"), Normal()]
        axes.plot(across, mean, color=land.color, lw=1.6, path_effects=edge)
        if len(legend) <= _SHADED:
            axes.fill_between(
                across, mean - spread, mean + spread, color=land.color, alpha=0.2, lw=0
            )
    along = "band" if scene.wavelengths is None else "wavelength (nm)"
    dress(axes, across=along, up=str(scene.cube.attrs.get("units") or "value in the file"))
    _side_legend(axes, legend.names, columns)
    shade = " ± one standard deviation" if len(legend) <= _SHADED else ""
    write_title(figure, titled(scene, f"mean spectrum of each class{shade}"))
    return figure


def _side_legend(axes: Axes, names: Sequence[str], columns: int = 1) -> None:
    """Write names beside the axes; what comes from a file is never read as a formula."""
    legend = axes.legend(
        axes.get_lines(),
        [short(name, 26) for name in names],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=columns,
    )
    plain(legend.get_texts())


def draw_confusion(
    matrix: npt.ArrayLike,
    legend: Legend,
    title: str = "Confusion matrix",
    codes: Sequence[int] | None = None,
) -> Figure:
    """Draw a confusion matrix: rows are the reference, columns what was predicted.

    The colour is the share of the reference class; counts are printed for up
    to 20 classes.

    Parameters
    ----------
    matrix : counts (class, class)
    legend : Legend
    title : str
    codes : class code of each row, those of the legend if not given
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
    """Return a figure whose margins hold the names of the classes."""
    cell, letter = (40, 7.4) if rows <= _PRINTED else (15, 5.4)
    side = max(cell * rows, 240)
    letters = letter * min(longest, _NAME)
    left, below = 50 + letters, 50 + 0.85 * letters
    width, height = left + side + 30, 60 + side + below
    figure = new_figure(round(width), round(height))
    box = (left / width, below / height, side / width, side / height)
    return figure, figure.add_axes(box)


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    shown = [short(name, _NAME) for name in names]
    size = 9 if len(names) <= _PRINTED else 6.5
    axes.set_xticks(
        range(len(shown)), shown, rotation=55, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(shown)), shown)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set(fontsize=size, color=INK)
        text.set_parse_math(False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("reference", color=INK)
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _print_counts(axes: Axes, counts: Values, share: Values) -> None:
    for (row, col), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, col] > 0.55 else INK
            axes.text(
                col, row, f"{count:.0f}", ha="center", va="center", color=color, fontsize=8
            )


def draw_training(rows: Iterable[Mapping[str, Any]], title: str = "Training") -> Figure:
    """Draw loss and accuracy on training and validation pixels against the epoch.

    Parameters
    ----------
    rows : rows of ``log.jsonl``
        ``epoch``, ``loss`` and ``accuracy``, and where there were validation
        pixels ``validation_loss`` and ``validation_accuracy``; one line of each
        is drawn per ``model``, ``split`` and ``seed``.
    """
    runs: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(str(row.get(name, "")) for name in ("split", "model", "seed"))
        runs.setdefault(key, []).append(row)
    splits = sorted({split for split, *_ in runs}, key=lambda name: (name != "main", name))
    figure = new_figure(1080, 400)
    for position, (what, colors) in enumerate(_TRAINING.items()):
        axes = figure.add_axes((0.075 + 0.49 * position, 0.15, 0.415, 0.67))
        for name, color in zip((what, f"validation_{what}"), colors, strict=True):
            for (split, *_), run in runs.items():
                style = _STYLES[splits.index(split) % len(_STYLES)]
                many = len(runs) > len(splits)
                _draw_run(axes, run, name, color=color, style=style, many=many)
        dress(axes, across="epoch", up=what)
        validated = any(f"validation_{what}" in row for run in runs.values() for row in run)
        _name_lines(axes, splits, colors if validated else colors[:1])
    write_title(figure, title)
    return figure


def _draw_run(
    axes: Axes,
    run: list[Mapping[str, Any]],
    what: str,
    *,
    color: str,
    style: LineStyleType,
    many: bool,
) -> None:
    ordered = sorted(run, key=lambda row: float(row["epoch"]))
    points = [(row["epoch"], row[what]) for row in ordered if row.get(what) is not None]
    if points:
        across, up = zip(*points, strict=True)
        axes.plot(
            across,
            up,
            color=color,
            linestyle=style,
            linewidth=1.0 if many else 1.8,
            alpha=0.55 if many else 1.0,
            marker="o" if len(points) < 3 else None,
        )


def _name_lines(axes: Axes, splits: Sequence[str], colors: Sequence[str]) -> None:
    """Say which colour belongs to which pixels, and which kind of line to which split."""
    names: dict[str, Line2D] = {}
    if len(colors) > 1:
        for pixels, color in zip(("training", "validation"), colors, strict=True):
            names[pixels] = Line2D([], [], color=color)
    if len(splits) > 1:
        for index, split in enumerate(splits):
            style = _STYLES[index % len(_STYLES)]
            names[f"{short(split, 24)} split"] = Line2D([], [], color=INK, linestyle=style)
    if not names:
        return
    legend = axes.legend(names.values(), names, frameon=False, fontsize=9)
    plain(legend.get_texts())


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


_RIGHT = "#0072b2"

_BOAST, _MODEST = ("#d55e00", "#f6cdb0"), ("#0072b2", "#c4e5f8")
"""Edge and face of what a confidence promises too much, and too little."""


def draw_reliability(calibration: Mapping[str, Any], title: str) -> Figure:
    """Draw how often a model is right against how sure it is, and how often it is how sure.

    A bar on the diagonal keeps its word.  The gap to it is drawn: what a
    confidence promises too much, or too little.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Names the model, and says "simulated" where the scene is.
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
    _bars(upper, ends, np.zeros_like(right), right, facecolor=_RIGHT, label="right")
    for which, colors, name in (
        (sure > right, _BOAST, "too sure"),
        (sure < right, _MODEST, "too modest"),
    ):
        if which.any():
            look: dict[str, Any] = dict(
                zip(("edgecolor", "facecolor"), colors, strict=True)
            )
            gap = (np.minimum(sure, right)[which], np.maximum(sure, right)[which])
            of = low[which], high[which]
            _bars(upper, of, *gap, hatch="////", linewidth=0.8, label=name, **look)
    upper.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="as right as sure")
    _bars(lower, ends, np.zeros_like(right), count / count.sum(), facecolor=FADED)
    dress(upper, across="confidence", up="share that is right")
    dress(lower, across="", up="pixels")
    for axes in (upper, lower):
        axes.set_xlim(0, 1)
        _in_percent(axes)
    upper.set_ylim(0, 1)
    _name_bars(upper)
    write_title(figure, f"{title}: reliability", *_words(calibration))
    return figure


def _bars(
    axes: Axes, ends: tuple[Values, Values], bottom: Values, top: Values, **look: Any
) -> None:
    """Draw a bar over each interval of confidence (low, high)."""
    low, high = ends
    wide = 0.94 * (high - low)
    axes.bar(low, top - bottom, width=wide, bottom=bottom, align="edge", **look)


def _in_percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))


def _name_bars(axes: Axes) -> None:
    """Name what is drawn above the axes, where it hides no bar."""
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.5,
    )
    plain(legend.get_texts())


_HELD = {
    None: "validation pixels",
    "validation": "validation pixels",
    "folds": "training pixels held out in turn",
}


def _words(calibration: Mapping[str, Any]) -> tuple[str, str]:
    """Say how large the error is, and of which confidence."""
    error = f"calibration error {100 * calibration['error']:.1f} % on test pixels"
    temperature = calibration["temperature"]
    if temperature is None:
        few = calibration.get("proposed") is not None
        why = f": {calibration['patches']} patches of held-out pixels are too few" * few
        return error, f"the model's own confidence, not scaled{why}"
    before = f"; {100 * calibration['error_before']:.1f} % before scaling"
    return error + before, (
        f"scaled by a temperature of {temperature:.2f}, fitted on "
        f"{calibration['fitted_on']:,} {_HELD[calibration.get('by')]}"
    )


def draw_abstention(calibration: Mapping[str, Any], title: str) -> Figure:
    """Draw the accuracy on the surest pixels against the share of pixels that is kept.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Names the model, and says "simulated" where the scene is.
    """
    kept, right = (
        np.array([row[name] for row in calibration["abstention"]], dtype=np.float64)
        for name in ("kept", "accuracy")
    )
    figure = new_figure(620, 440)
    axes = figure.add_axes((0.12, 0.13, 0.83, 0.66))
    axes.plot(kept, right, color=_RIGHT, lw=2, marker="o", ms=4)
    axes.axhline(right[-1], color=INK, lw=1, ls="--")
    dress(
        axes, across="share of the pixels kept, the surest first", up="share that is right"
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(max(0.0, min(right) - 0.1), 1.02)
    _in_percent(axes)
    half = float(np.interp(0.5, kept, right))
    write_title(
        figure,
        f"{title}: abstention",
        f"all pixels: {100 * right[-1]:.1f} % right; the surest half: {100 * half:.1f} %",
    )
    return figure
