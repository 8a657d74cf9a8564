"""Every figure hypercover draws: one ``draw_x`` a figure, and ``save``."""

from hypercover.figures.canvas import save
from hypercover.figures.class_accuracy import draw_classes, draw_confused
from hypercover.figures.curves import (
    draw_abstention,
    draw_confusion,
    draw_curve,
    draw_reliability,
    draw_spectra,
    draw_training,
)
from hypercover.figures.gap import draw_gap
from hypercover.figures.land import (
    draw_check,
    draw_confidence,
    draw_labels,
    draw_map,
    draw_quicklook,
    draw_split,
)

__all__ = [
    "draw_abstention",
    "draw_check",
    "draw_classes",
    "draw_confidence",
    "draw_confused",
    "draw_confusion",
    "draw_curve",
    "draw_gap",
    "draw_labels",
    "draw_map",
    "draw_quicklook",
    "draw_reliability",
    "draw_spectra",
    "draw_split",
    "draw_training",
    "save",
]
