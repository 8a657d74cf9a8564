"""Figures of spectra: the mean of each class, and of classes that a model confuses."""

from collections.abc import Iterator, Sequence
from textwrap import fill

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hypercover.errors import LabelError
from hypercover.evaluation.confusion import ConfusedPair
from hypercover.figures.canvas import new_figure, shorten
from hypercover.figures.composites import scene_title
from hypercover.figures.figure_style import add_side_legend, style_axes, write_title
from hypercover.figures.formatting import format_count
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.types import Codes, Floats, Indices

_SHADED = 4
"""Up to this many classes are drawn with their standard deviation."""


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
    order, breaks = order_bands(scene)
    place, along = _axis_of(scene)
    across = insert_gaps(place, order, breaks)
    figure = new_figure(1080, 540)
    columns = 1 + (len(legend) - 1) // 20
    axes = figure.add_axes((0.075, 0.11, 0.7 if columns == 1 else 0.62, 0.76))
    for land in legend:
        mean, spread = (insert_gaps(part, order, breaks) for part in spectra[land.code])
        edge = [Stroke(linewidth=2.6, foreground="#00000055"), Normal()]
        axes.plot(across, mean, color=land.color, lw=1.6, path_effects=edge)
        if len(legend) <= _SHADED:
            axes.fill_between(
                across, mean - spread, mean + spread, color=land.color, alpha=0.2, lw=0
            )
    style_axes(
        axes, across=along, up=str(scene.cube.attrs.get("units") or "value in the file")
    )
    names = [shorten(name, 26) for name in legend.names]
    add_side_legend(axes, names, columns=columns, size=9)
    shade = " ± one standard deviation" if len(legend) <= _SHADED else ""
    write_title(figure, scene_title(scene, f"mean spectrum of each class{shade}"))
    return figure


def class_spectra(scene: Scene) -> dict[int, tuple[Floats, Floats]]:
    """Return the mean spectrum of each class and its standard deviation.

    Pixels without data do not count; the cube is read strip by strip.

    Returns
    -------
    dict from class code to (mean, standard deviation), each of shape (band,)
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels, so its classes have no spectra; give a "
            "label file as well."
        )
    codes = [int(code) for code in np.unique(scene.labels) if code]
    count = dict.fromkeys(codes, 0)
    total = {code: np.zeros((2, scene.n_bands)) for code in codes}
    for code, spectra in _labelled_strips(scene, scene.labels):
        count[code] += len(spectra)
        total[code] += spectra.sum(axis=0), np.square(spectra).sum(axis=0)
    return {code: _moments(total[code] / count[code]) for code in codes if count[code]}


def _moments(averages: Floats) -> tuple[Floats, Floats]:
    mean, square = averages
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _labelled_strips(scene: Scene, labels: Codes) -> Iterator[tuple[int, Floats]]:
    """Yield the labelled spectra (n, band) strip by strip and class by class."""
    for rows in scene.strips():
        codes = labels[rows]
        if not codes.any():
            continue
        values, valid = scene.read_valid(rows, slice(None))
        marked = np.where(valid, codes, 0)
        for code in np.unique(marked[marked > 0]):
            yield int(code), values[:, marked == code].T.astype(np.float64)


def _axis_of(scene: Scene) -> tuple[Floats, str]:
    """Return the position of each band on the horizontal axis, and its label."""
    if scene.wavelengths is None:
        return scene.bands.astype(np.float64), "band"
    return scene.wavelengths, "wavelength (nm)"


def order_bands(scene: Scene) -> tuple[Indices, Indices]:
    """Return the bands in order of wavelength, and the positions of breaks in a line.

    A line across dropped bands would show values that were not measured.  It breaks
    before each of the positions, which count in that order.
    """
    waves, _ = _axis_of(scene)
    order = np.argsort(waves, kind="stable")
    steps = np.diff(waves[order])
    jumps = np.abs(np.diff(scene.bands.astype(np.float64)[order]))
    usual = np.median(steps) if len(steps) else 1.0
    wide = steps > 3.5 * usual
    missing = (jumps > 1) & (steps > 1.5 * usual)
    return order, np.flatnonzero(wide | missing) + 1


def insert_gaps(values: Floats, order: Indices, breaks: Indices) -> Floats:
    """Return values in order of wavelength, with NaN at the breaks."""
    return np.insert(values[order], breaks, np.nan)


_COLORS = ("#0072b2", "#d55e00")
"""Colours of the two classes of a pair."""

_CONFUSED_NAME, _LINE = 44, 32
"""Characters of a class name, and of a line of the legend."""

_CONFUSED_WIDTH, _CONFUSED_TOP, _PANEL, _BETWEEN, _CONFUSED_BELOW = 1080, 92, 230, 36, 26
"""Sizes in pixels: figure width, above the panels, height of a panel with its gap, the
gap, and below the last panel."""


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
        "Dashed: mean of the test pixels of a class mistaken for the other, all seeds.",
    )
    return figure


def _draw_pair(
    axes: Axes,
    scene: Scene,
    pair: ConfusedPair,
    spectra: dict[int, tuple[Floats, Floats]],
) -> None:
    """Draw one pair: both classes, and the pixels mistaken in both directions."""
    order, breaks = order_bands(scene)
    place, along = _axis_of(scene)
    across = insert_gaps(place, order, breaks)
    codes = (pair.first, pair.second)
    legend = scene.legend.covering(list(codes))
    names = [shorten(legend[code].name, _CONFUSED_NAME) for code in codes]
    for code, name, color in zip(codes, names, _COLORS, strict=True):
        mean, spread = (insert_gaps(part, order, breaks) for part in spectra[code])
        axes.plot(across, mean, color=color, linewidth=1.6, label=_wrap(name))
        axes.fill_between(
            across, mean - spread, mean + spread, color=color, alpha=0.13, lw=0
        )
    for places, (of, to), color in zip(
        (pair.there, pair.back), (names, names[::-1]), _COLORS, strict=True
    ):
        if len(places):
            mean = _mean_spectrum(scene, places)
            count = format_count(len(places))
            label = f"{_wrap(f'{count} px of {of}')}\n{_wrap(f'mistaken for {to}', '  ')}"
            axes.plot(
                across,
                insert_gaps(mean, order, breaks),
                "--",
                color=color,
                lw=1.8,
                label=label,
            )
    style_axes(axes, across=along, up="")
    add_side_legend(axes, size=9, top=1.05)


def _wrap(text: str, indent: str = "") -> str:
    """Break text into lines that fit next to the spectra."""
    return fill(text, _LINE, initial_indent=indent, subsequent_indent=indent or "  ")


def _mean_spectrum(scene: Scene, places: npt.NDArray[np.int32]) -> Floats:
    """Return the mean spectrum (band,) at some rows and columns (n, 2).

    A pixel that occurs several times, for several seeds, counts as often.
    """
    spots, times = np.unique(places, axis=0, return_counts=True)
    at = spots.astype(np.intp)
    spectra = spectra_of(scene, Samples(at[:, 0], at[:, 1], np.ones(len(at), np.int64)))
    return np.asarray(np.average(spectra, axis=0, weights=times))
