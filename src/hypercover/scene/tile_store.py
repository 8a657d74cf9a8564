"""Finished tiles beside the image they are for, so that work that was stopped goes on."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import HypercoverError, OutputError, counted
from hypercover.files import atomic, missing_folders, write_text
from hypercover.scene.inputs import identity_of, known_inputs, remember_inputs
from hypercover.scene.scene import Scene

__all__ = ["Layers", "StoredTiles", "TileStore", "facts_of", "inputs_of", "keeping"]

Layers = dict[str, npt.NDArray[Any]]
"""The arrays of a tile by name."""

_PLAN, _INPUTS = "plan.json", "inputs.json"

_SUFFIX = ".tile"

_DIGEST = hashlib.sha256().digest_size


def inputs_of(target: Path) -> Path:
    """Return where it is remembered which files the tiles of an image are made of."""
    return _folder_of(target) / _INPUTS


def _folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.tiles")


class TileStore:
    """A hidden folder of tiles that were made from the same files in the same way.

    Why it exists: a scene takes hours and a job its end at any moment.  Each
    tile is one file that appears whole, after its checksum; a file that is cut
    short or changed is as good as none.  Tiles of anything else than what is
    asked for now are removed.

    Parameters
    ----------
    target : path
        The image; the folder lies beside it.
    plan : mapping
        Everything the tiles depend on, as JSON.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = TileStore(Path(folder) / "map.tif", {"model": "a"})
    ...     store.save(0, {"labels": np.array([[1, 2]])})
    ...     again = TileStore(Path(folder) / "map.tif", {"model": "a"})
    ...     held = again.load(0, {"labels": np.zeros((1, 2), int)})
    ...     other = TileStore(Path(folder) / "map.tif", {"model": "b"})
    ...     held["labels"].tolist(), other.load(0, {"labels": np.zeros((1, 2), int)})
    ([[1, 2]], None)
    """

    def __init__(self, target: Path, plan: Mapping[str, Any]) -> None:
        self.folder = _folder_of(target)
        self._plan = json.dumps(plan, indent=2, sort_keys=True, allow_nan=False) + "\n"
        if not self._is_ours():
            self.remove()

    def begin(self) -> None:
        """Write down what the tiles are made of, so that others keep theirs here too.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not (self.folder / _PLAN).exists():
            remember_inputs()
            write_text(self.folder / _PLAN, self._plan)

    def load(self, number: int | str, like: Layers) -> Layers | None:
        """Return a finished tile, or None where there is none that is whole.

        ``like`` has the layers, types and shapes that it must have; the number may be a
        name.
        """
        size = sum(array.nbytes for array in like.values())
        try:
            with self._file(number).open("rb") as opened:
                digest, values = opened.read(_DIGEST), opened.read(size + 1)
        except OSError:
            return None
        if len(values) != size or hashlib.sha256(values).digest() != digest:
            return None
        answers: Layers = {}
        place = 0
        for layer, array in like.items():
            part = np.frombuffer(values, array.dtype, array.size, place)
            answers[layer], place = part.reshape(array.shape), place + array.nbytes
        return answers

    def save(self, number: int | str, answers: Layers) -> None:
        """Keep a finished tile.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self.begin()
        values = b"".join(array.tobytes() for array in answers.values())
        with atomic(self._file(number)) as draft, draft.open("wb") as opened:
            opened.write(hashlib.sha256(values).digest())
            opened.write(values)

    def remove(self) -> None:
        """Remove the tiles, their plan, drafts, and the folder if nothing else is in it."""
        if not self.folder.is_dir():
            return
        # The plan goes last: until then what is left is still known.
        for pattern in (f"*{_SUFFIX}", ".*.part*", _INPUTS, _PLAN):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _file(self, number: int | str) -> Path:
        return self.folder / f"{number}{_SUFFIX}"

    def _is_ours(self) -> bool:
        """Tell whether the tiles that are there were made by the same plan."""
        try:
            with (self.folder / _PLAN).open("rb") as opened:
                known = opened.read(len(self._plan.encode()) + 1)
        except OSError:
            return False
        return known == self._plan.encode()


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


class StoredTiles:
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
