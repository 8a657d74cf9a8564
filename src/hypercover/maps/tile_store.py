"""Where the finished tiles of a map are kept: as those of any image."""

from hypercover.scene.tile_store import TileStore

__all__ = ["TileStore"]
