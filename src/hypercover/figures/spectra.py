"""Figures of spectra: the mean of each class, and of the classes that a model confuses."""

from collections.abc import Iterator, Sequence
from textwrap import fill

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hypercover.errors import LabelError
from hypercover.evaluation.confusion import ConfusedPair
from hypercover.figures.canvas import INK, new_figure, shorten
from hypercover.figures.composites import scene_title
from hypercover.figures.figure_style import disable_math, style_axes, write_title
from hypercover.figures.formatting import format_count
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene

__all__ = ["class_spectra", "draw_confused", "draw_spectra", "insert_gaps", "order_bands"]

Values = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

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
    order, breaks = order_bands(scene)
    waves = scene.wavelengths
    place = scene.bands.astype(np.float64) if waves is None else waves
    across = insert_gaps(place, order, breaks)
    codes = (pair.first, pair.second)
    legend = scene.legend.covering(list(codes))
    names = [shorten(legend[code].name, _CONFUSED_NAME) for code in codes]
    for code, name, color in zip(codes, names, _COLORS, strict=True):
        mean, spread = (insert_gaps(part, order, breaks) for part in spectra[code])
        axes.plot(across, mean, color=color, linewidth=1.6, label=_lines(name))
        axes.fill_between(
            across, mean - spread, mean + spread, color=color, alpha=0.13, lw=0
        )
    for places, (of, to), color in zip(
        (pair.there, pair.back), (names, names[::-1]), _COLORS, strict=True
    ):
        if len(places):
            mean = _mean_spectrum(scene, places)
            count = format_count(len(places))
            label = f"{_lines(f'{count} px of {of}')}\n{_lines(f'taken for {to}', '  ')}"
            axes.plot(
                across,
                insert_gaps(mean, order, breaks),
                "--",
                color=color,
                lw=1.8,
                label=label,
            )
    style_axes(axes, across="band" if waves is None else "wavelength (nm)", up="")
    beside = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.05), frameon=False,
                         fontsize=9, labelcolor=INK)  # fmt: skip
    disable_math(beside.get_texts())


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


_SHADED = 4
"""Up to this many classes get a band of one standard deviation."""


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


def insert_gaps(values: Values, order: Positions, breaks: Positions) -> Values:
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
    order, breaks = order_bands(scene)
    place = (
        scene.bands.astype(np.float64) if scene.wavelengths is None else scene.wavelengths
    )
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
    along = "band" if scene.wavelengths is None else "wavelength (nm)"
    style_axes(
        axes, across=along, up=str(scene.cube.attrs.get("units") or "value in the file")
    )
    _side_legend(axes, legend.names, columns)
    shade = " ± one standard deviation" if len(legend) <= _SHADED else ""
    write_title(figure, scene_title(scene, f"mean spectrum of each class{shade}"))
    return figure


def order_bands(scene: Scene) -> tuple[Positions, Positions]:
    """Return the bands in order of wavelength, and where the line must break.

    A line that runs on across dropped bands would show values nobody measured.
    Breaks are positions in that order: the line breaks before each of them.
    """
    bands = scene.bands.astype(np.float64)
    waves = bands if scene.wavelengths is None else scene.wavelengths
    order = np.argsort(waves, kind="stable")
    steps, jumps = np.diff(waves[order]), np.abs(np.diff(bands[order]))
    usual = np.median(steps) if len(steps) else 1.0
    wide = steps > 3.5 * usual
    missing = (jumps > 1) & (steps > 1.5 * usual)
    return order, np.flatnonzero(wide | missing) + 1


def _side_legend(axes: Axes, names: Sequence[str], columns: int = 1) -> None:
    """Write names beside the axes; what comes from a file is never read as a formula."""
    legend = axes.legend(
        axes.get_lines(),
        [shorten(name, 26) for name in names],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=columns,
    )
    disable_math(legend.get_texts())
