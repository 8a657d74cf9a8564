"""The tiles of a map, predicted by whoever has time and kept until the map is whole."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover.errors import counted
from hypercover.maps.layers import Answers
from hypercover.maps.predictor import Predictor
from hypercover.maps.tiles import Tile
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore

__all__ = ["KeptTiles"]

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class KeptTiles:
    """All tiles of one map, each a file that appears whole.

    Why it exists: several processes predict a scene larger than the memory of
    one, and whatever was done before one of them ended stays done.
    """

    predictor: Predictor
    """What predicts a tile."""
    store: TileStore
    """Where they are kept."""

    @classmethod
    def of(
        cls,
        classifier: Any,
        scene: Scene,
        target: Path,
        layers: Sequence[str],
        *,
        identity: Mapping[str, Any],
        memory: int | None = None,
        temperature: float | None = None,
    ) -> "KeptTiles":
        """Find the tiles of a map to be written; parameters as of `predict_to_files`.

        Tiles of anything else than what is asked for are removed.
        """
        predictor = Predictor.of(classifier, scene, layers, memory, temperature)
        return cls(predictor, TileStore(target, predictor.plan(identity)))

    def predict(
        self, numbers: Iterable[int] | None = None, progress: Progress | None = None
    ) -> int:
        """Predict and keep the tiles that are not kept yet; return how many those were.

        Parameters
        ----------
        numbers : which tiles; all of them unless given
        progress : called with the pixels done and all pixels of the missing tiles
        """
        tiles = self.predictor.tiles()
        asked = range(len(tiles)) if numbers is None else list(numbers)
        missing = [number for number in asked if self._held(number, tiles[number]) is None]
        kept = len(asked) - len(missing)
        if kept and numbers is None and missing:
            _log.warning(
                "Going on: %s of %s were there.", kept, counted(len(asked), "tile")
            )
        done, total = 0, sum(tiles[number].pixels for number in missing)
        with self.predictor.reading():
            for number in missing:
                self.store.save(number, self.predictor.predicted(tiles[number]))
                done += tiles[number].pixels
                if progress is not None:
                    progress(done, total)
        return len(missing)

    def answers(self, number: int, tile: Tile) -> Answers:
        """Return a tile that was kept, or predict it if somebody took it away."""
        held = self._held(number, tile)
        return self.predictor.predicted(tile) if held is None else held

    def _held(self, number: int, tile: Tile) -> Answers | None:
        return self.store.load(number, self.predictor.blank(tile.shape))
