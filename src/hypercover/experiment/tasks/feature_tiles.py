"""Image features of scenes larger than memory: fitted once, computed tile by tile."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.feature_tasks import load_chain, save_chain
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.features.blockwise import (
    blockwise,
    check_blockwise,
    fit_blockwise,
    fits_whole,
    overlap_note,
)
from hypercover.features.chain import Chain
from hypercover.features.feature import Progress
from hypercover.files import modified_ns
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.plan import Task
from hypercover.jobs.record import result_of
from hypercover.memory import peak_bytes
from hypercover.prediction.tile_plan import (
    SceneSource,
    WorkFolder,
    check_tile_range,
    plan_key,
    small_gdal_cache,
    tile_tasks,
)
from hypercover.scene.inputs import known_inputs
from hypercover.scene.io.writing import write_scene
from hypercover.scene.lazy import LazyArray, bounding_slice
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, inputs_path
from hypercover.scene.tiling import Tile, tiles

__all__ = ["compute_tiles", "fit_chain", "write_features"]

Report = Callable[[float, str], None]
_CHAIN, _LAYER, _STACK = "chain", "features", "stack"
_SIDE = 256
"""Side of a tile in pixels."""


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


def write_features(
    source: SceneSource,
    chain: Chain,
    out: Path,
    executor: Executor | None = None,
    *,
    seed: int = 0,
    overlap: int | None = None,
    progress: Progress | None = None,
) -> Scene:
    """Compute image features of a scene of any size, and write them as an image.

    Why it exists: the stack of a mosaic does not fit in memory.  Fitting is then
    a task, every few tiles are one; each tile is a file until the image is
    whole, so that the same call goes on where it was stopped.

    Parameters
    ----------
    source : the image, as every process opens it
    chain : not fitted yet
    out : GeoTIFF or ENVI image to write
    executor : who does the tasks; unless given, small stacks, and attribute profiles
        where they fit, are computed in memory, and others by tasks of this process
    overlap : pixels around a tile from which attribute profiles are computed
        (:func:`~hypercover.features.blockwise.blockwise`)

    Returns
    -------
    the scene of the features, as it was written

    Raises
    ------
    CallError
        If the chain depends on the whole scene and no overlap is given.
    OutputError
        If the image cannot be written.
    """
    scene, tags = source.open(), {"HYPERCOVER_FEATURES": chain.text}
    if executor is None and overlap is None and fits_whole(chain, scene):
        stack = chain.fit_transform(scene, seed=seed, progress=progress)
        write_scene(stack, out, tags=tags)
        return stack
    check_blockwise(chain, overlap)
    place = WorkFolder.of(out)
    with place.left_clean():
        by = executor or InProcessExecutor()
        _compute(place, source, chain, by, seed, overlap, progress)
    stack = _stack(place.home)
    tags |= {} if overlap is None else {"HYPERCOVER_OVERLAP": f"{overlap} pixels"}
    with small_gdal_cache():
        write_scene(stack, out, tags=tags)
    place.remove()
    return stack


def _compute(
    place: WorkFolder,
    source: SceneSource,
    chain: Chain,
    executor: Executor,
    seed: int,
    overlap: int | None,
    progress: Progress | None,
) -> None:
    """Have the chain fitted and all tiles computed and kept."""
    with known_inputs(_inputs(place.home)):
        job = {
            "source": source.to_json(),
            "chain": [step.to_json() for step in chain.steps],
            "seed": seed,
            "overlap": overlap,
        }
        key, shape = plan_key(job), source.open().shape
        _store(place.home, key).begin()
    fit = Task("fit", "fit_chain", weight=2.0, key=key)
    made = tile_tasks("compute_tiles", len(tiles(shape, _SIDE)), key, ("fit",))
    place.run([fit, *made], job | {"key": key}, executor, REGISTRY, progress)


def fit_chain(folder: Path, *, report: Report = _silent) -> dict[str, Any]:
    """Fit the chain of a job and keep it; return what no tile knows of the whole scene."""
    home = folder.resolve()
    job = WorkFolder(home).job()
    chain = Chain.parse(job["chain"])
    with small_gdal_cache():
        levels = fit_blockwise(
            chain,
            _scene(home, job),
            seed=job["seed"],
            overlap=job["overlap"],
            progress=lambda done, total: report(done / total, "fitting the chain"),
        )
    save_chain(RunFolder(home), _CHAIN, chain)
    return {"levels": levels, "peak": peak_bytes()}


def compute_tiles(
    folder: Path, *, first: int, stop: int, report: Report = _silent
) -> dict[str, Any]:
    """Compute and keep some tiles of the features, as the job in a folder says."""
    home = folder.resolve()
    work = _opened(home, modified_ns(home / "job.json"))
    parts, new = tiles(work.features.shape, _SIDE), 0
    check_tile_range(first, stop, len(parts))
    with small_gdal_cache():
        for number in range(first, stop):
            report((number - first) / (stop - first), "computing features")
            if work.held(number, parts[number]) is None:
                work.store.save(number, {_LAYER: work.computed(parts[number])})
                new += 1
    return {"computed": new, "peak": peak_bytes()}


class _Work(NamedTuple):
    """The features of a scene, computed where they are read, and the tiles there are."""

    features: Scene
    store: TileStore

    def computed(self, tile: Tile) -> npt.NDArray[Any]:
        """Compute a tile."""
        return self.features.read(tile.rows, tile.cols)

    def held(self, number: int, tile: Tile) -> npt.NDArray[Any] | None:
        """Return a tile that was kept."""
        like = np.empty((self.features.n_bands, *tile.shape), dtype=np.float32)
        found = self.store.load(number, {_LAYER: like})
        return None if found is None else found[_LAYER]


@lru_cache(maxsize=1)
def _opened(home: Path, _changed: int) -> _Work:
    """Open scene and chain once for all tiles that a process computes."""
    job = WorkFolder(home).job()
    scene = _scene(home, job)
    chain, levels = load_chain(RunFolder(home), _CHAIN), result_of(home, "fit")["levels"]
    features = blockwise(chain, scene, overlap=job["overlap"], levels=levels)
    noted = features.noting(*overlap_note(chain, job["overlap"]))
    return _Work(noted, _store(home, job["key"]))


def _store(home: Path, key: str) -> TileStore:
    return TileStore(home / _STACK, {"key": key})


def _inputs(home: Path) -> Path:
    return inputs_path(home / _STACK)


def _scene(home: Path, job: dict[str, Any]) -> Scene:
    """Open the scene of a job, if its file is still the same."""
    with known_inputs(_inputs(home)):
        return SceneSource.from_json(job["source"]).open()


def _stack(home: Path) -> Scene:
    """Return the scene of the features whose pixels are those of the tiles."""
    work = _opened(home, modified_ns(home / "job.json"))
    _, cols = work.features.shape
    parts, across = tiles(work.features.shape, _SIDE), -(-cols // _SIDE)

    def fetch(wanted: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[np.generic]:
        bands, rows, columns = wanted
        down, right = bounding_slice(rows), bounding_slice(columns)
        shape = (work.features.n_bands, down.stop - down.start, right.stop - right.start)
        whole = np.empty(shape, dtype=np.float32)
        for row in range(down.start // _SIDE, (down.stop - 1) // _SIDE + 1):
            for col in range(right.start // _SIDE, (right.stop - 1) // _SIDE + 1):
                tile = parts[number := row * across + col]
                held = work.held(number, tile)
                values = work.computed(tile) if held is None else held
                _lay(whole, Tile(down, right), values, tile)
        at = np.ix_(bands, rows - down.start, columns - right.start)
        return np.asarray(whole[at])

    shape = (work.features.n_bands, *work.features.shape)
    lazy = LazyArray(shape, np.float32, fetch).as_variable_data()
    cube = work.features.cube
    return work.features.replace(
        cube=xr.DataArray(
            xr.Variable(cube.dims, lazy), coords=cube.coords, attrs=cube.attrs
        )
    )


def _lay(
    whole: npt.NDArray[Any], window: Tile, values: npt.NDArray[Any], tile: Tile
) -> None:
    """Copy what a tile and a window have in common into the window."""
    rows = _shared(window.rows, tile.rows)
    common = Tile(rows, _shared(window.cols, tile.cols))
    whole[:, *common.within(window)] = values[:, *common.within(tile)]


def _shared(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))
