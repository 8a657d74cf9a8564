"""Public names: known benchmark scenes, fetching them, and selecting what to use of them."""

from hypercover.scene.datasets.catalog import known_scene, known_scenes
from hypercover.scene.datasets.fetch import fetch_scene
from hypercover.scene.selection import drop_classes, select_bands
from hypercover.scene.simulation.simulate import simulate

__all__ = [
    "drop_classes",
    "fetch_scene",
    "known_scene",
    "known_scenes",
    "select_bands",
    "simulate",
]
