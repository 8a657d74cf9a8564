"""Figures of a scene, its labels and split, and of class maps and confidences."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from hypercover.errors import LabelError
from hypercover.figures.canvas import (
    PALE,
    ColorBar,
    LegendEntry,
    draw_image_sheet,
    shorten,
    thinning_step,
)
from hypercover.figures.composites import quicklook, scene_title
from hypercover.gis.agreement import CHECK_LEGEND, RIGHT, WRONG, SplitParts, class_check
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene, pick_bands
from hypercover.splits.split import PART_COLORS, PARTS
from hypercover.types import Bytes, Codes

_CONFIDENCE = ColorBar("viridis", "confidence")


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")))


def _paint(codes: Codes, legend: Legend) -> Bytes:
    """Return an image of class codes (y, x), thinned out if it is large."""
    step = thinning_step(codes.shape)
    thin = codes[::step, ::step]
    table = np.full((int(codes.max(initial=0)) + 1, 3), _rgb(PALE), dtype=np.uint8)
    for land in legend:
        if land.code < len(table):
            table[land.code] = land.rgb
    return table[thin]


def _entries(codes: Codes, legend: Legend, nothing: str) -> list[LegendEntry]:
    """Return the legend of the classes, by code, with their numbers of pixels."""
    counts = np.bincount(codes.ravel(), minlength=1)
    lines = [
        LegendEntry(land.color, shorten(land.name), f"{counts[land.code]:,}")
        for land in legend
        if land.code < len(counts) and counts[land.code]
    ]
    empty = [LegendEntry(PALE, nothing, f"{counts[0]:,}")] if counts[0] else []
    return lines + empty


def _labels(scene: Scene) -> Codes:
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels to draw; give a label file as well."
        )
    return scene.labels


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
    return draw_image_sheet(
        images, title=scene_title(scene, "the scene"), subtitle=subtitle, entries=entries
    )


def draw_labels(scene: Scene) -> Figure:
    """Draw the labels of a scene with the number of pixels per class.

    Raises
    ------
    LabelError
        If the scene has no labels.
    """
    labels = _labels(scene)
    legend = scene.legend.covering(labels)
    marked = np.count_nonzero(labels)
    return draw_image_sheet(
        [_paint(labels, legend)],
        title=scene_title(scene, "labels"),
        subtitle=f"{marked:,} labelled pixels in {len(legend)} classes",
        entries=_entries(labels, legend, "unlabelled"),
    )


def draw_split(scene: Scene, split: SplitParts) -> Figure:
    """Draw training, validation and test pixels over a grey image of the scene."""
    colors = quicklook(scene)
    grey = 150 + 0.4 * colors.mean(axis=2, keepdims=True)
    image = np.repeat(grey.astype(np.uint8), 3, axis=2)
    step = thinning_step(scene.shape)
    parts = split.parts[::step, ::step]
    entries = []
    for code, name in enumerate(PARTS[1:], 1):
        color = PART_COLORS[name]
        image[parts == code] = _rgb(color)
        count = np.count_nonzero(split.parts == code)
        if count:
            entries.append(LegendEntry(color, name, f"{count:,}"))
    kind = getattr(split, "kind", "given")
    return draw_image_sheet(
        [image],
        title=scene_title(scene, "training and test pixels"),
        subtitle=f"{kind} split; grey pixels are not used",
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
    return draw_image_sheet(
        [_paint(labels, legend)],
        title=title,
        subtitle="class map of the whole scene",
        entries=_entries(labels, legend, "no data"),
    )


def draw_confidence(confidence: npt.NDArray[np.floating], title: str) -> Figure:
    """Draw the confidence of each pixel (y, x); NaN = no data, left pale."""
    step = thinning_step((confidence.shape[0], confidence.shape[1]))
    thin = np.asarray(confidence[::step, ::step], dtype=np.float64)
    known = np.isfinite(thin)
    colors = colormaps[_CONFIDENCE.name](np.where(known, thin, 0.0))[..., :3]
    image = np.where(known[..., None], 255 * colors, _rgb(PALE)).astype(np.uint8)
    mean = f"; {np.nanmean(thin):.2f} on average" if known.any() else ""
    return draw_image_sheet(
        [image],
        title=title,
        subtitle=f"confidence of the classifier{mean}",
        ramp=_CONFIDENCE,
    )


def draw_check(labels: Codes, predicted: Codes, split: SplitParts, title: str) -> Figure:
    """Draw the class check: blue = right or training, red = wrong, grey = unlabelled."""
    check = class_check(labels, predicted, split)
    right, wrong = (np.count_nonzero(check == code) for code in (RIGHT, WRONG))
    judged = right + wrong
    share = f"{100 * right / judged:.1f} % of {judged:,}" if judged else "none of 0"
    return draw_image_sheet(
        [_paint(check, CHECK_LEGEND)],
        title=title,
        subtitle=f"class check: {share} labelled pixels outside the training are right",
        entries=_entries(check, CHECK_LEGEND, "no data"),
    )
