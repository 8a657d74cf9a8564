"""Figures of a scene, its labels and split, and of class maps and confidences."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from hypercover.errors import LabelError
from hypercover.figures import canvas
from hypercover.gis.map_writing import CHECK_LEGEND, RIGHT, WRONG
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import labelled_name
from hypercover.scene.nodata import valid_pixels
from hypercover.scene.scene import Scene, pick_bands, stretched
from hypercover.scene.tiling import strips
from hypercover.splits.split import PART_COLORS, PARTS, Split
from hypercover.types import Bytes, Codes, Floats

_STRIP = 512
"""Rows of a thinned-out scene that are read at once."""
_MAX_DISTANCE = 60.0
"""Largest distance in nm of a band from the wavelength of a composite."""
_FALSE_COLOURS = {"infrared": (860.0, 650.0, 550.0), "shortwave": (2200.0, 1650.0, 660.0)}
"""Wavelengths in nm shown as red, green and blue: for vegetation, and for bare soil."""


def choose_composites(
    wavelengths: Floats | None, n_bands: int
) -> dict[str, tuple[int, ...]]:
    """Choose the colour composites of a scene, the most natural one first.

    Returns
    -------
    dict from the key in :data:`~hypercover.report.descriptions.COMPOSITES` to the positions
    of the bands shown as red, green and blue, from 0

    Examples
    --------
    >>> choose_composites(np.array([450.0, 560.0, 655.0, 860.0]), 4)
    {'true': (2, 1, 0), 'infrared': (3, 2, 1)}
    >>> choose_composites(None, 2)
    {'grey': (0, 0, 0)}
    """
    bands = pick_bands(wavelengths, n_bands)
    keys = {"true colour": "true", "false colour": "spread", "grey": "grey"}
    composites: dict[str, tuple[int, ...]] = {keys[bands.kind]: bands.positions}
    if wavelengths is None:
        return composites
    for key, colours in _FALSE_COLOURS.items():
        distances = np.abs(wavelengths[None, :] - np.array(colours)[:, None])
        if (distances.min(axis=1) <= _MAX_DISTANCE).all():
            composites[key] = tuple(distances.argmin(axis=1).tolist())
    return composites


def quicklook(scene: Scene) -> Bytes:
    """Return a colour image (y, x, 3) of a scene, thinned out if it is large.

    Each colour is stretched between the 2nd and 98th percentile of the valid pixels;
    pixels without data are pale grey.
    """
    positions = pick_bands(scene.wavelengths, scene.n_bands).positions
    step = canvas.thinning_step(scene.shape)
    cube = scene.cube.isel(band=list(positions), x=slice(None, None, step))
    values, valid = [], []
    for rows in strips(scene.shape[0], _STRIP * step):
        strip = cube.isel(y=slice(rows.start, rows.stop, step))
        values.append(strip.values)
        valid.append(valid_pixels(strip, values[-1]))
    return stretched(np.concatenate(values, axis=1), np.concatenate(valid))


def scene_title(scene: Scene, what: str) -> str:
    """Return a title with the scene's name and whether it was measured."""
    return labelled_name(f"{scene.name}: {what}", scene.origin)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")))


def _paint(codes: Codes, legend: Legend) -> Bytes:
    """Return an image of class codes (y, x), thinned out if it is large."""
    step = canvas.thinning_step(codes.shape)
    table = np.full((int(codes.max(initial=0)) + 1, 3), _rgb(canvas.PALE), dtype=np.uint8)
    for entry in legend:
        if entry.code < len(table):
            table[entry.code] = entry.rgb
    return table[codes[::step, ::step]]


def _entries(codes: Codes, legend: Legend, nothing: str) -> list[canvas.LegendEntry]:
    """Return the legend of the classes, by code, with their numbers of pixels."""
    counts = np.bincount(codes.ravel(), minlength=1)
    lines = [
        canvas.LegendEntry(
            entry.color, canvas.shorten(entry.name), f"{counts[entry.code]:,}"
        )
        for entry in legend
        if entry.code < len(counts) and counts[entry.code]
    ]
    return lines + (
        [canvas.LegendEntry(canvas.PALE, nothing, f"{counts[0]:,}")] if counts[0] else []
    )


def draw_quicklook(scene: Scene) -> Figure:
    """Draw a colour composite of a scene, next to its labels if it has any.

    Colours come from the bands nearest to red, green and blue, or are false colours if
    the sensor has no visible bands; the subtitle names the bands.  Large scenes are
    thinned out when read.
    """
    bands = pick_bands(scene.wavelengths, scene.n_bands)
    rows, cols = scene.shape
    size = f"{rows:,} × {cols:,} pixels, {scene.n_bands} bands"
    images, entries = [quicklook(scene)], []
    if scene.labels is not None:
        legend = scene.legend.covering(scene.labels)
        images.append(_paint(scene.labels, legend))
        entries = _entries(scene.labels, legend, "unlabelled")
    subtitle = f"{bands.kind}: {bands.describe(scene.bands, scene.wavelengths)} · {size}"
    return canvas.draw_image_sheet(
        images, title=scene_title(scene, "the scene"), subtitle=subtitle, entries=entries
    )


def _draw_codes(
    codes: Codes, legend: Legend, title: str, subtitle: str, nothing: str = "no data"
) -> Figure:
    """Draw class codes in their colours, with the number of pixels per class."""
    entries = _entries(codes, legend, nothing)
    image = _paint(codes, legend)
    return canvas.draw_image_sheet([image], title=title, subtitle=subtitle, entries=entries)


def draw_labels(scene: Scene) -> Figure:
    """Draw the labels of a scene with the number of pixels per class.

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    labels = scene.labels
    if labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels to draw; give a label file as well."
        )
    legend = scene.legend.covering(labels)
    subtitle = f"{np.count_nonzero(labels):,} labelled pixels in {len(legend)} classes"
    return _draw_codes(labels, legend, scene_title(scene, "labels"), subtitle, "unlabelled")


def draw_split(scene: Scene, split: Split) -> Figure:
    """Draw training, validation and test pixels over a grey image of the scene."""
    grey = 150 + 0.4 * quicklook(scene).mean(axis=2, keepdims=True)
    image = np.repeat(grey.astype(np.uint8), 3, axis=2)
    step = canvas.thinning_step(scene.shape)
    parts = split.parts[::step, ::step]
    entries = []
    for code, name in enumerate(PARTS[1:], 1):
        image[parts == code] = _rgb(PART_COLORS[name])
        if count := np.count_nonzero(split.parts == code):
            entries.append(canvas.LegendEntry(PART_COLORS[name], name, f"{count:,}"))
    return canvas.draw_image_sheet(
        [image],
        title=scene_title(scene, "training and test pixels"),
        subtitle=f"{split.kind} split; grey pixels are not used",
        entries=entries,
    )


def draw_map(labels: Codes, legend: Legend, title: str) -> Figure:
    """Draw a class map with the number of pixels per class.

    Parameters
    ----------
    labels : array of shape (y, x); 0 = no data
    legend : Legend
    title : str
        Name of the model, with "simulated" if the scene is.
    """
    return _draw_codes(labels, legend, title, "class map of the whole scene")


def draw_confidence(confidence: npt.NDArray[np.floating], title: str) -> Figure:
    """Draw the confidence of each pixel (y, x); NaN = no data, left pale."""
    step = canvas.thinning_step(confidence.shape)
    thin = np.asarray(confidence[::step, ::step], dtype=np.float64)
    finite = np.isfinite(thin)
    colors = 255 * colormaps[canvas.COLORMAP](np.where(finite, thin, 0.0))[..., :3]
    image = np.where(finite[..., None], colors, _rgb(canvas.PALE)).astype(np.uint8)
    mean = f"; {np.nanmean(thin):.2f} on average" if finite.any() else ""
    subtitle = f"confidence of the classifier{mean}"
    return canvas.draw_image_sheet(
        [image], title=title, subtitle=subtitle, color_bar="confidence"
    )


def draw_check(check: Bytes, title: str) -> Figure:
    """Draw a class check: blue = right or training, red = wrong, grey = unlabelled."""
    right, wrong = (np.count_nonzero(check == code) for code in (RIGHT, WRONG))
    judged = right + wrong
    share = f"{100 * right / judged:.1f} % of {judged:,}" if judged else "none of 0"
    subtitle = f"class check: {share} labelled pixels outside the training are right"
    return _draw_codes(check, CHECK_LEGEND, title, subtitle)
