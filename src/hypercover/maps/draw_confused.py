"""The spectra of classes that a model takes for each other."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypercover.evaluation.confused import ConfusedPair
from hypercover.maps.canvas import INK, new_figure, short
from hypercover.maps.draw_lines import broken, class_spectra, with_gaps
from hypercover.maps.frame import dress, plain, write_title
from hypercover.maps.numbers import count_words
from hypercover.samples.samples import Samples
from hypercover.samples.spectra import spectra_of
from hypercover.scene.scene import Scene

__all__ = ["draw_confused"]

Values = npt.NDArray[np.float64]
_COLORS = ("#0072b2", "#d55e00")
"""Colours of the two classes of a pair."""
_NAME, _LINE = 44, 32
"""Letters of a class name, and of a line of the legend beside the spectra."""
_WIDTH, _TOP, _PANEL, _BETWEEN, _BELOW = 1080, 92, 230, 36, 26
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
    height = _TOP + max(len(pairs), 1) * _PANEL + _BELOW
    figure = new_figure(_WIDTH, height)
    for place, pair in enumerate(pairs):
        bottom = height - _TOP - (place + 1) * _PANEL + _BETWEEN
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
    names = [short(legend[code].name, _NAME) for code in codes]
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
