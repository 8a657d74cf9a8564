"""A folder of finished tiles next to an unfinished image, so that stopped work can resume."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.errors import HypercoverError, OutputError, counted
from hypercover.files import atomic, missing_folders, write_text
from hypercover.scene.file_identity import file_record, record_files, recorded_identity
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import IMAGE_BLOCK, Tile, tiles
from hypercover.types import Array, Arrays

_VALUES_AT_ONCE = 2**24

_PLAN, _INPUTS = "plan.json", "inputs.json"

_SUFFIX = ".tile"

_DIGEST = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


def record_path(target: Path) -> Path:
    """Return the file that records which input files the tiles of an image are made from."""
    return tile_folder(target) / _INPUTS


def tile_folder(target: Path) -> Path:
    """Return the hidden folder next to an image that holds its finished tiles."""
    return target.with_name(f".{target.name}.tiles")


class TileStore:
    """A hidden folder of tiles that were all made from the same files in the same way.

    Each tile is one file that starts with a checksum and is renamed into place.
    A truncated or changed file counts as missing.  Tiles made by another plan
    are removed when the store is opened.

    Parameters
    ----------
    target : path
        The image; the folder is created next to it.
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
        self.folder = tile_folder(target)
        self._plan = json.dumps(plan, indent=2, sort_keys=True, allow_nan=False) + "\n"
        if not self._has_same_plan():
            self.remove()

    def begin(self) -> None:
        """Write the plan, so that other processes keep their tiles here too.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not (self.folder / _PLAN).exists():
            record_files()
            write_text(self.folder / _PLAN, self._plan)

    def load(self, number: int | str, like: Arrays) -> Arrays | None:
        """Return a finished tile, or None if it is missing or damaged.

        Parameters
        ----------
        number : int or str
            Number or name of the tile.
        like : dict of arrays
            Names, types and shapes that the layers must have.
        """
        size = sum(array.nbytes for array in like.values())
        try:
            with self._file(number).open("rb") as opened:
                digest, values = opened.read(_DIGEST), opened.read(size + 1)
        except OSError:
            return None
        if len(values) != size or hashlib.sha256(values).digest() != digest:
            return None
        layers: Arrays = {}
        start = 0
        for layer, array in like.items():
            part = np.frombuffer(values, array.dtype, array.size, start)
            layers[layer], start = part.reshape(array.shape), start + array.nbytes
        return layers

    def save(self, number: int | str, layers: Arrays) -> None:
        """Save a finished tile.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self.begin()
        values = b"".join(array.tobytes() for array in layers.values())
        with atomic(self._file(number)) as draft, draft.open("wb") as opened:
            opened.write(hashlib.sha256(values).digest())
            opened.write(values)

    def remove(self) -> None:
        """Remove the tiles, their plan and drafts, and the folder if it is then empty."""
        if not self.folder.is_dir():
            return
        # The plan goes last: until then the remaining tiles are still recognised.
        for pattern in (f"*{_SUFFIX}", ".*.part*", _INPUTS, _PLAN):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _file(self, number: int | str) -> Path:
        return self.folder / f"{number}{_SUFFIX}"

    def _has_same_plan(self) -> bool:
        """Tell whether the tiles in the folder were made by the same plan."""
        plan = self._plan.encode()
        try:
            with (self.folder / _PLAN).open("rb") as opened:
                return opened.read(len(plan) + 1) == plan
        except OSError:
            return False


def scene_identity(scene: Scene) -> dict[str, Any]:
    """Return what identifies the file of a scene and how it was read, as JSON.

    The grid and the no-data value are listed on their own, because a world file
    or a viewer's statistics can change them without changing the image file.
    """
    parts = recorded_identity(Path(scene.source).absolute()) if scene.source else ()
    grid, nodata = scene.grid, scene.nodata
    return {
        "file": [list(part) for part in parts],
        "read as": [scene.n_bands, str(scene.cube.dtype), str(nodata), *scene.notes],
        # As text: a damaged file may hold NaN, which JSON cannot, and is refused later.
        "grid": [grid.rows, grid.cols, grid.crs, *map(str, grid.transform)],
    }


@contextmanager
def open_tile_store(
    target: Path, plan: Callable[[], Mapping[str, Any]]
) -> Iterator[TileStore]:
    """Open the tile store of a file to be written, and remove it when the block succeeds.

    If the work is stopped or killed, the tiles stay and the same call resumes.
    Tiles of another plan or another version of this package are removed.  Work
    that fails for good leaves neither tiles nor new folders.

    Parameters
    ----------
    target : path
        The file to be written.
    plan : callable
        Returns everything the tiles depend on, as JSON.  Files that were merely touched
        meanwhile count as unchanged (:class:`~hypercover.scene.file_identity.FileRecord`).
    """
    made = missing_folders(target)
    with file_record(record_path(target)):
        store = TileStore(target, {"version": version("hypercover"), **plan()})
        try:
            yield store
        except HypercoverError as error:
            # Work that cannot succeed when repeated.
            if not isinstance(error, OutputError):
                store.remove()
            for folder in made:
                # A folder that still holds tiles stays.
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        store.remove()


def load_or_compute(
    store: TileStore | None,
    kind: str,
    count: int,
    like: Callable[[int], Arrays],
    compute: Callable[[int], Arrays],
) -> Iterator[Arrays]:
    """Yield numbered tiles, each loaded from the store or else computed and saved there.

    Parameters
    ----------
    store : TileStore, optional
        Without one, everything is computed and nothing saved.
    kind : str
        What a tile is called in file names and messages, such as ``strip``.
    count : int
        Number of tiles.
    like : callable
        Names, types and shapes of the layers of a tile, given its number.
    compute : callable
        Computes a tile, given its number.
    """
    loaded = 0
    for number in range(count):
        name = f"{kind}-{number}"
        layers = None if store is None else store.load(name, like(number))
        if layers is not None:
            loaded += 1
        else:
            if loaded:
                done = counted(count, kind)
                _log.warning("Resuming: %s of %s already done.", loaded, done)
                loaded = 0
            layers = compute(number)
            if store is not None:
                store.save(name, layers)
        yield layers


def read_tiles(
    scene: Scene, store: TileStore | None = None
) -> Iterator[tuple[Tile, Array]]:
    """Yield the image tile by tile, with values (band, row, col), within bounded memory.

    Tiles are whole blocks of a GeoTIFF.  They are loaded from the store, if there is
    one, where they were computed before.
    """
    pixels = _VALUES_AT_ONCE // (IMAGE_BLOCK * IMAGE_BLOCK * scene.n_bands)
    width = max(1, pixels) * IMAGE_BLOCK
    parts, dtype = tiles(scene.shape, IMAGE_BLOCK, width), scene.cube.dtype

    def like(number: int) -> Arrays:
        return {"values": np.empty((scene.n_bands, *parts[number].shape), dtype)}

    def read(number: int) -> Arrays:
        values = scene.read(parts[number].rows, parts[number].cols)
        return {"values": values.astype(dtype, copy=False)}

    layers = load_or_compute(store, "strip", len(parts), like, read)
    for tile, each in zip(parts, layers, strict=True):
        yield tile, each["values"]
