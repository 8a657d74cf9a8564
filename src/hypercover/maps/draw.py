"""Every figure hypercover draws: one ``draw_x`` a figure, and ``save``."""

from hypercover.maps.canvas import save
from hypercover.maps.draw_calibration import draw_abstention, draw_reliability
from hypercover.maps.draw_classes import draw_classes
from hypercover.maps.draw_confused import draw_confused
from hypercover.maps.draw_curve import draw_curve
from hypercover.maps.draw_gap import draw_gap
from hypercover.maps.draw_land import (
    draw_check,
    draw_confidence,
    draw_labels,
    draw_map,
    draw_quicklook,
    draw_split,
)
from hypercover.maps.draw_lines import draw_confusion, draw_spectra, draw_training

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
