"""Public names: known benchmark scenes, fetching them, and selecting what to use of them."""

from hypercover.scene.datasets.catalog import known_scene as known_scene
from hypercover.scene.datasets.catalog import known_scenes as known_scenes
from hypercover.scene.datasets.fetch import fetch_scene as fetch_scene
from hypercover.scene.selection import drop_classes as drop_classes
from hypercover.scene.selection import select_bands as select_bands
from hypercover.scene.simulation.simulate import simulate as simulate

__all__ = [name for name in globals() if not name.startswith("_")]
