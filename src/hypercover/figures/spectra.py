"""Figures of spectra: the mean of each class, and of classes that a model confuses."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hypercover.errors import LabelError
from hypercover.evaluation.evaluate import ConfusedPair
from hypercover.figures import canvas
from hypercover.figures.formatting import format_count
from hypercover.figures.map_figures import scene_title
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.types import Array, Codes, Floats, Indices

_SHADED = 4
"""Up to this many classes are drawn with their standard deviation."""
_COLORS = ("#0072b2", "#d55e00")
"""Colours of the two classes of a pair."""
_NAME, _LINE = 44, 32
"""Characters of a class name, and of a line of the legend."""
_WIDTH, _TOP, _PANEL, _BETWEEN, _BELOW = 1080, 92, 230, 36, 26
"""Sizes in pixels: figure width, above the panels, height of a panel with its gap, the
gap, and below the last panel."""


def class_spectra(scene: Scene) -> dict[int, tuple[Floats, Floats]]:
    """Return the mean spectrum of each class and its standard deviation.

    Pixels without data do not count; the cube is read strip by strip.

    Returns
    -------
    dict from class code to (mean, standard deviation), each of shape (band,)
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels and so no class spectra; give a label file."
        )
    moments: dict[int, Floats] = {}
    for rows in scene.strips():
        if scene.labels[rows].any():
            values, valid = scene.read_valid(rows, slice(None))
            add_moments(moments, values, np.where(valid, scene.labels[rows], 0))
    return {code: mean_and_deviation(moments[code]) for code in sorted(moments)}


def add_moments(moments: dict[int, Floats], values: Array, labels: Codes) -> None:
    """Add count, sum and sum of squares (3, band) of the spectra of each class, by code.

    Parameters
    ----------
    values : array (band, y, x)
    labels : array (y, x); 0 = not counted
    """
    for code in np.unique(labels[labels > 0]).tolist():
        spectra = values[:, labels == code].astype(np.float64)
        count = np.full(len(spectra), float(spectra.shape[1]))
        sums = spectra.sum(axis=1), np.square(spectra).sum(axis=1)
        moments[code] = moments.get(code, 0.0) + np.stack([count, *sums])


def mean_and_deviation(moments: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation (...) from count, sum and sum of squares (3, ...)."""
    count, total, squares = moments
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def _wavelengths(scene: Scene) -> tuple[Floats, str]:
    """Return the position of each band on the horizontal axis, and its label."""
    if scene.wavelengths is None:
        return scene.bands.astype(np.float64), "band"
    return scene.wavelengths, "wavelength (nm)"


def order_bands(scene: Scene) -> tuple[Indices, Indices]:
    """Return the bands in order of wavelength, and the positions of breaks in a line.

    A line across dropped bands would show values that were not measured.  It breaks
    before each of the positions, which count in that order.
    """
    waves, _ = _wavelengths(scene)
    order = np.argsort(waves, kind="stable")
    steps = np.diff(waves[order])
    jumps = np.abs(np.diff(scene.bands.astype(np.float64)[order]))
    usual = np.median(steps) if len(steps) else 1.0
    missing = (jumps > 1) & (steps > 1.5 * usual)
    return order, np.flatnonzero((steps > 3.5 * usual) | missing) + 1


def _draw_spectrum(
    axes: Axes,
    scene: Scene,
    mean: Floats,
    spread: Floats | None,
    *,
    alpha: float = 0.0,
    **style: Any,
) -> None:
    """Draw a spectrum (band,) with gaps at dropped bands, and its shade if it has any."""
    order, breaks = order_bands(scene)
    across, middle = (
        np.insert(values[order], breaks, np.nan)
        for values in (_wavelengths(scene)[0], mean)
    )
    axes.plot(across, middle, **style)
    if spread is not None:
        reach = np.insert(spread[order], breaks, np.nan)
        axes.fill_between(
            across, middle - reach, middle + reach, color=style["color"], alpha=alpha, lw=0
        )


def draw_spectra(scene: Scene) -> Figure:
    """Draw the mean spectrum of each class, with gaps where bands were dropped.

    With few classes, a shade shows one standard deviation.

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    spectra = class_spectra(scene)
    legend = scene.legend.covering(list(spectra))
    figure = canvas.new_figure(_WIDTH, 540)
    columns = 1 + (len(legend) - 1) // 20
    axes = figure.add_axes((0.075, 0.11, 0.7 if columns == 1 else 0.62, 0.76))
    edge = [Stroke(linewidth=2.6, foreground="#00000055"), Normal()]
    shaded = len(legend) <= _SHADED
    for entry in legend:
        mean, spread = spectra[entry.code]
        _draw_spectrum(
            axes,
            scene,
            mean,
            spread if shaded else None,
            alpha=0.2,
            color=entry.color,
            lw=1.6,
            path_effects=edge,
        )
    units = str(scene.cube.attrs.get("units") or "value in the file")
    canvas.style_axes(axes, across=_wavelengths(scene)[1], up=units)
    canvas.add_side_legend(
        axes, [canvas.shorten(name, 26) for name in legend.names], columns=columns, size=9
    )
    shade = " ± one standard deviation" if shaded else ""
    canvas.write_title(figure, scene_title(scene, f"mean spectrum of each class{shade}"))
    return figure


def draw_confused(scene: Scene, pairs: Sequence[ConfusedPair], *, title: str) -> Figure:
    """Draw the mean spectra of the classes of each pair, and of the confused pixels.

    Solid lines are the mean of all labelled pixels of a class in any part of the split,
    with a shade of one standard deviation: they explain errors and train nothing.
    Dashed lines are the mean of the test pixels of one class that were mistaken for
    the other.

    Parameters
    ----------
    scene : the image and its labels
    pairs : result of `most_confused`
    title : name of the model

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    spectra = class_spectra(scene)
    figure = canvas.new_figure(_WIDTH, _TOP + max(len(pairs), 1) * _PANEL + _BELOW)
    for index, pair in enumerate(pairs):
        top, width = _TOP + index * _PANEL, 0.6 * _WIDTH
        axes = canvas.add_axes(figure, 0.075 * _WIDTH, top, width, _PANEL - _BETWEEN)
        _draw_pair(axes, scene, pair, spectra)
        last = index == len(pairs) - 1
        canvas.style_axes(axes, across=_wavelengths(scene)[1] if last else "", up="")
        canvas.add_side_legend(axes, size=9, top=1.05)
    units = str(scene.cube.attrs.get("units") or "values in the file")
    canvas.write_title(
        figure,
        title,
        f"Solid: mean of all labelled pixels of a class ± one standard deviation; {units}.",
        "Dashed: mean of the test pixels of a class mistaken for the other, all seeds.",
    )
    return figure


def _draw_pair(
    axes: Axes, scene: Scene, pair: ConfusedPair, spectra: dict[int, tuple[Floats, Floats]]
) -> None:
    """Draw one pair: both classes, and the pixels mistaken in both directions."""
    codes = (pair.first, pair.second)
    legend = scene.legend.covering(list(codes))
    names = [canvas.shorten(legend[code].name, _NAME) for code in codes]
    for code, name, color in zip(codes, names, _COLORS, strict=True):
        mean, spread = spectra[code]
        _draw_spectrum(
            axes, scene, mean, spread, alpha=0.13, color=color, lw=1.6, label=_wrap(name)
        )
    for places, (true, predicted), color in zip(
        (pair.first_as_second, pair.second_as_first),
        (names, names[::-1]),
        _COLORS,
        strict=True,
    ):
        if len(places):
            first = _wrap(f"{format_count(len(places))} px of {true}")
            label = f"{first}\n{_wrap(f'mistaken for {predicted}', '  ')}"
            mean = _mean_spectrum(scene, places)
            _draw_spectrum(
                axes, scene, mean, None, color=color, lw=1.8, ls="--", label=label
            )


def _wrap(text: str, indent: str = "") -> str:
    """Break text into lines that fit next to the spectra."""
    return fill(text, _LINE, initial_indent=indent, subsequent_indent=indent or "  ")


def _mean_spectrum(scene: Scene, places: npt.NDArray[np.int32]) -> Floats:
    """Return the mean spectrum (band,) at some rows and columns (n, 2).

    A pixel that occurs several times, for several seeds, counts as often.
    """
    spots, times = np.unique(places, axis=0, return_counts=True)
    rows, cols = spots.astype(np.intp).T
    spectra = spectra_of(scene, Samples(rows, cols, np.ones(len(spots), np.int64)))
    return np.asarray(np.average(spectra, axis=0, weights=times))
