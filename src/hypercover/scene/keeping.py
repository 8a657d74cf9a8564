"""Pieces of an image that takes long to compute, kept until its file is whole."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hypercover.errors import HypercoverError, OutputError, counted
from hypercover.files import missing_folders
from hypercover.scene.inputs import identity_of, known_inputs
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import Layers, TileStore, inputs_of

__all__ = ["Kept", "facts_of", "keeping"]

_log = logging.getLogger(__name__)


def facts_of(scene: Scene) -> dict[str, Any]:
    """Return what tells the file of a scene, and how it was read, from others.

    Why it exists: a world file or the statistics of a viewer beside the image
    are none of its parts, but may move it or name its no data.
    """
    parts = identity_of(Path(scene.source).absolute()) if scene.source else ()
    grid, nodata = scene.grid, scene.nodata
    return {
        "file": [list(facts) for facts in parts],
        "read as": [scene.n_bands, str(scene.cube.dtype), str(nodata), *scene.notes],
        # As text: a damaged file may hold NaN, which is no JSON, and is refused later.
        "grid": [grid.rows, grid.cols, grid.crs, *map(str, grid.transform)],
    }


@contextmanager
def keeping(target: Path, plan: Callable[[], Mapping[str, Any]]) -> Iterator[TileStore]:
    """Keep finished pieces of a file in a hidden folder beside it until it is whole.

    Stopped or killed, they stay, and the same call goes on; those of another plan
    or of another version of this package are removed.  What cannot be made at all
    leaves nothing.

    Parameters
    ----------
    target : path
        The file to be written.
    plan : callable
        Returns everything the pieces depend on, as JSON.  Files that were merely touched
        since the pieces were begun are the same (:class:`~hypercover.scene.inputs.Inputs`).
    """
    made = missing_folders(target)
    with known_inputs(inputs_of(target)):
        store = TileStore(target, {"version": version("hypercover"), **plan()})
        with _left_clean(store, made):
            yield store
        store.remove()


@contextmanager
def _left_clean(store: TileStore, made: Sequence[Path]) -> Iterator[None]:
    """Leave neither pieces nor new folders of what cannot be made at all."""
    try:
        yield
    except HypercoverError as error:
        if not isinstance(error, OutputError):
            store.remove()
        for folder in made:
            # One that holds pieces worth keeping stays.
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


class Kept:
    """The pieces of one kind, taken from a store or computed and put there.

    Parameters
    ----------
    store : TileStore, optional
        Without one everything is computed and nothing kept.
    kind : str
        What the pieces are called, such as ``strip``.
    count : int
        How many there are.
    """

    def __init__(self, store: TileStore | None, kind: str, count: int) -> None:
        self._store, self._kind, self._count = store, kind, count
        self._held = 0

    def piece(self, number: int, like: Layers, compute: Callable[[], Layers]) -> Layers:
        """Return a piece; ``like`` has the layers, types and shapes that it has."""
        if self._store is None:
            return compute()
        name = f"{self._kind}-{number}"
        held = self._store.load(name, like)
        if held is not None:
            self._held += 1
            return held
        if self._held:
            _log.warning(
                "Going on: %s of %s were there.",
                self._held,
                counted(self._count, self._kind),
            )
            self._held = 0
        made = compute()
        self._store.save(name, made)
        return made
