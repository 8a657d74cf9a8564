"""The spectra of classes that a model takes for each other."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypercover.evaluation.confusion import ConfusedPair
from hypercover.figures.canvas import FADED, INK, new_figure, short
from hypercover.figures.curves import broken, class_spectra, with_gaps
from hypercover.figures.figure_style import dress, plain, write_title
from hypercover.figures.formatting import count_words, percent
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene

__all__ = ["draw_classes", "draw_confused"]

Row = Mapping[str, Any]

_BAR, _WHISKER, _MISSING = "#56b4e9", "#20262e", "#b3470d"

_FEW = 24
"""Up to this many classes get rows of a comfortable height."""

_NAME = 30
"""Letters of a class name."""

_WIDTH, _TOP, _BELOW, _COUNTS = 1080, 96, 62, 252
"""Pixels of the figure, above and below the bars, and beside them for three columns."""


def draw_classes(
    rows: Sequence[Row],
    *,
    title: str,
    overall: float | None = None,
    interval: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the producer's accuracy of each class as a bar, the largest class on top.

    Why it exists: an overall accuracy is mostly that of the large classes; the
    small ones, with few training pixels, are where a model fails.  A class
    without a test pixel has no accuracy, which is not an accuracy of 0.

    Parameters
    ----------
    rows : ``per_class`` of a model in ``metrics.json``
    title : what the model is called
    overall : overall accuracy, drawn as a line across
    interval : ``interval`` of a model in ``metrics.json``, drawn as whiskers
    """
    ordered = sorted(rows, key=_size, reverse=True)
    figure, axes, size = _sheet([short(row["name"], _NAME) for row in ordered])
    _draw_bars(axes, ordered, size)
    _draw_whiskers(axes, ordered, interval)
    _write_counts(axes, ordered, size)
    if overall is not None:
        axes.axvline(100 * overall, color=INK, linewidth=1, linestyle="--")
    write_title(figure, title, _words(overall, interval))
    return figure


def _sheet(names: Sequence[str]) -> tuple[Figure, Axes, float]:
    """Return a figure, axes with a row for each class, and the size of their letters."""
    line, size = (26, 9.5) if len(names) <= _FEW else (19, 8.5)
    left = 40 + round(0.82 * size * max(map(len, names), default=1))
    height = _TOP + line * max(len(names), 3) + _BELOW
    figure = new_figure(_WIDTH, height)
    width = (_WIDTH - left - _COUNTS) / _WIDTH
    box = (left / _WIDTH, _BELOW / height, width, 1 - (_TOP + _BELOW) / height)
    axes = figure.add_axes(box)
    dress(axes, across="producer's accuracy in %", up="")
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(axis="y", length=0)
    plain(axes.get_yticklabels())
    return figure, axes, size


def _size(row: Row) -> float:
    """Count the pixels of a class that train and test."""
    return float((row["train_count"] or 0) + (row["test_count"] or 0))


def _draw_bars(axes: Axes, rows: Sequence[Row], size: float) -> None:
    """Draw the bars, and say where a class has none and why."""
    for place, row in enumerate(rows):
        share = row["producers_accuracy"]
        axes.barh(place, 100 * (share or 0), height=0.72, color=_BAR)
        reason = _reason(row)
        if reason:
            said = axes.text(1, place, reason, va="center", fontsize=size, color=_MISSING)
            said.set_fontstyle("italic")


def _reason(row: Row) -> str:
    """Say why a class has no accuracy, or one of 0."""
    if row["producers_accuracy"] is None:
        return "no test pixel: no accuracy"
    return "" if row["train_count"] else "no training pixel: never found"


def _draw_whiskers(
    axes: Axes, rows: Sequence[Row], interval: Mapping[str, Any] | None
) -> None:
    """Draw the interval of each class that has one."""
    known = {
        row["code"]: row["producers_accuracy"]
        for row in (interval or {}).get("per_class", ())
    }
    for place, row in enumerate(rows):
        reach = known.get(row["code"])
        share = row["producers_accuracy"]
        if reach is None or share is None:
            continue
        low, high = (100 * end for end in reach)
        middle = min(max(100 * share, low), high)
        axes.errorbar(
            middle,
            place,
            xerr=[[middle - low], [high - middle]],
            color=_WHISKER,
            elinewidth=1.1,
            capsize=2.5,
            fmt="none",
        )


def _write_counts(axes: Axes, rows: Sequence[Row], size: float) -> None:
    """Write accuracy, training pixels and test pixels of each class beside its bar."""
    width = _WIDTH * axes.get_position().width
    ends = [1 + right / width for right in (70, 150, 230)]
    heads = ("accuracy", "training px", "test px")
    for end, head in zip(ends, heads, strict=True):
        said = axes.annotate(head, (end, 1), xytext=(0, 5), xycoords="axes fraction",
                             textcoords="offset points", ha="right", va="bottom")  # fmt: skip
        said.set(fontsize=9, color=FADED)
    for place, row in enumerate(rows):
        values = (
            percent(row["producers_accuracy"]),
            count_words(row["train_count"]),
            count_words(row["test_count"]),
        )
        for end, value in zip(ends, values, strict=True):
            text = axes.text(end, place, value, transform=axes.get_yaxis_transform())
            text.set(ha="right", va="center", fontsize=size, color=INK)


def _words(overall: float | None, interval: Mapping[str, Any] | None) -> str:
    """Say what is drawn."""
    parts = ["Classes by size, training and test pixels together"]
    if overall is not None:
        parts.append(f"dashed: overall accuracy, {percent(overall)} %")
    if interval and any(row["producers_accuracy"] for row in interval["per_class"]):
        parts.append(
            f"whiskers: {100 * interval['level']:g} % intervals over {interval['unit']}"
        )
    return "; ".join(parts) + "."


Values = npt.NDArray[np.float64]

_COLORS = ("#0072b2", "#d55e00")
"""Colours of the two classes of a pair."""

_CONFUSED_NAME, _LINE = 44, 32
"""Letters of a class name, and of a line of the legend beside the spectra."""

_CONFUSED_WIDTH, _CONFUSED_TOP, _PANEL, _BETWEEN, _CONFUSED_BELOW = 1080, 92, 230, 36, 26
"""Pixels of the figure, above the panels, of a panel with what is between it and the
next, of that, and below the last."""


def draw_confused(scene: Scene, pairs: Sequence[ConfusedPair], *, title: str) -> Figure:
    """Draw the mean spectra of the classes of each pair, and of the pixels confused.

    The spectrum of a class is the mean of all its labelled pixels in the image,
    whatever part they belong to, with a shade of one standard deviation: it
    explains errors, and nothing is learnt from it.  Dashed are the means of the
    test pixels of one class that were taken for the other.

    Parameters
    ----------
    scene : the image and its labels
    pairs : what `most_confused` returned
    title : what the model is called

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    spectra = class_spectra(scene)
    height = _CONFUSED_TOP + max(len(pairs), 1) * _PANEL + _CONFUSED_BELOW
    figure = new_figure(_CONFUSED_WIDTH, height)
    for place, pair in enumerate(pairs):
        bottom = height - _CONFUSED_TOP - (place + 1) * _PANEL + _BETWEEN
        box = (0.075, bottom / height, 0.6, (_PANEL - _BETWEEN) / height)
        axes = figure.add_axes(box)
        _draw_pair(axes, scene, pair, spectra)
        if place < len(pairs) - 1:
            axes.set_xlabel("")
    units = str(scene.cube.attrs.get("units") or "values in the file")
    write_title(
        figure,
        title,
        f"Solid: mean of all labelled pixels of a class ± one standard deviation; {units}.",
        "Dashed: mean of the test pixels of a class that were taken for the other, all seeds.",
    )
    return figure


def _draw_pair(
    axes: Axes,
    scene: Scene,
    pair: ConfusedPair,
    spectra: dict[int, tuple[Values, Values]],
) -> None:
    """Draw one pair: both classes, and the pixels taken for the other both ways."""
    order, breaks = with_gaps(scene)
    waves = scene.wavelengths
    place = scene.bands.astype(np.float64) if waves is None else waves
    across = broken(place, order, breaks)
    codes = (pair.first, pair.second)
    legend = scene.legend.covering(list(codes))
    names = [short(legend[code].name, _CONFUSED_NAME) for code in codes]
    for code, name, color in zip(codes, names, _COLORS, strict=True):
        mean, spread = (broken(part, order, breaks) for part in spectra[code])
        axes.plot(across, mean, color=color, linewidth=1.6, label=_lines(name))
        axes.fill_between(
            across, mean - spread, mean + spread, color=color, alpha=0.13, lw=0
        )
    for places, (of, to), color in zip(
        (pair.there, pair.back), (names, names[::-1]), _COLORS, strict=True
    ):
        if len(places):
            mean = _mean_spectrum(scene, places)
            count = count_words(len(places))
            label = f"{_lines(f'{count} px of {of}')}\n{_lines(f'taken for {to}', '  ')}"
            axes.plot(
                across, broken(mean, order, breaks), "--", color=color, lw=1.8, label=label
            )
    dress(axes, across="band" if waves is None else "wavelength (nm)", up="")
    beside = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.05), frameon=False,
                         fontsize=9, labelcolor=INK)  # fmt: skip
    plain(beside.get_texts())


def _lines(words: str, indent: str = "") -> str:
    """Break words into lines that fit beside the spectra."""
    return fill(words, _LINE, initial_indent=indent, subsequent_indent=indent or "  ")


def _mean_spectrum(scene: Scene, places: npt.NDArray[np.int32]) -> Values:
    """Return the mean of the spectra (band,) at some rows and columns (n, 2).

    A pixel that stands there several times, for several seeds, counts so often.
    """
    spots, times = np.unique(places, axis=0, return_counts=True)
    at = spots.astype(np.intp)
    spectra = spectra_of(scene, Samples(at[:, 0], at[:, 1], np.ones(len(at), np.int64)))
    return np.asarray(np.average(spectra, axis=0, weights=times))
