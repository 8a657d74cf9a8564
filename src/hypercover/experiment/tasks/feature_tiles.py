"""Image features of scenes larger than memory: fitted once, computed tile by tile."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
from hypercover.files import modified_ns
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.plan import Task
from hypercover.jobs.record import result_of
from hypercover.memory import peak_bytes
from hypercover.prediction.tile_tasks import (
    SceneSource,
    WorkFolder,
    check_tile_range,
    plan_key,
    small_gdal_cache,
    tile_tasks,
)
from hypercover.scene.inputs import known_inputs
from hypercover.scene.io.writing import write_scene
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, inputs_path
from hypercover.scene.tiling import LazyArray, Tile, bounding_slice, tiles
from hypercover.types import Array, Indices, Progress, Report

_CHAIN, _LAYER, _STACK = "chain", "features", "stack"
_SIDE = 256
"""Side of a tile in pixels."""


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

    For a stack larger than memory, fitting is one task and every few tiles are
    another; each tile is a file until the image is complete, so that the same call
    resumes stopped work.

    Parameters
    ----------
    source : the image, as every process opens it
    chain : not fitted yet
    out : GeoTIFF or ENVI image to write
    executor : what runs the tasks; by default small stacks, and attribute profiles
        that fit, are computed in memory, and others by tasks in this process
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
    work = WorkFolder.of(out)
    with work.removed_on_refusal():
        job = _begin(work, source, chain, seed, overlap)
        fit = Task("fit", "fit_chain", weight=2.0, key=job["key"])
        count = len(tiles(scene.shape, _SIDE))
        compute = tile_tasks("compute_tiles", count, job["key"], ("fit",))
        work.run([fit, *compute], job, executor or InProcessExecutor(), REGISTRY, progress)
    stack = _stack_of_tiles(work.path)
    tags |= {} if overlap is None else {"HYPERCOVER_OVERLAP": f"{overlap} pixels"}
    with small_gdal_cache():
        write_scene(stack, out, tags=tags)
    work.remove()
    return stack


def _begin(
    work: WorkFolder, source: SceneSource, chain: Chain, seed: int, overlap: int | None
) -> dict[str, Any]:
    """Return the job, and save what its tiles depend on with the identity of the image."""
    with known_inputs(inputs_path(work.path / _STACK)):
        job = {
            "source": source.to_json(),
            "chain": [step.to_json() for step in chain.steps],
            "seed": seed,
            "overlap": overlap,
        }
        key = plan_key(job)
        _store(work.path, key).begin()
    return job | {"key": key}


def fit_chain(
    folder: Path, *, report: Report = lambda _share, _what: None
) -> dict[str, Any]:
    """Fit and save the chain of a job; return the levels that every tile needs."""
    path = folder.resolve()
    job = WorkFolder(path).job()
    chain = Chain.parse(job["chain"])
    with small_gdal_cache():
        levels = fit_blockwise(
            chain,
            _open_scene(path, job),
            seed=job["seed"],
            overlap=job["overlap"],
            progress=lambda done, total: report(done / total, "fitting the chain"),
        )
    save_chain(RunFolder(path), _CHAIN, chain)
    return {"levels": levels, "peak": peak_bytes()}


def compute_tiles(
    folder: Path,
    *,
    first: int,
    stop: int,
    report: Report = lambda _share, _what: None,
) -> dict[str, Any]:
    """Compute and save the feature tiles of one task."""
    path = folder.resolve()
    features = _features_of_job(path, modified_ns(path / "job.json"))
    parts, new = tiles(features.scene.shape, _SIDE), 0
    check_tile_range(first, stop, len(parts))
    with small_gdal_cache():
        for number in range(first, stop):
            report((number - first) / (stop - first), "computing features")
            if features.load(number, parts[number]) is None:
                values = features.compute(parts[number])
                features.store.save(number, {_LAYER: values})
                new += 1
    return {"computed": new, "peak": peak_bytes()}


class _TiledFeatures(NamedTuple):
    """The features of a scene, computed when read, and the tiles saved so far."""

    scene: Scene
    store: TileStore

    def compute(self, tile: Tile) -> Array:
        return self.scene.read(tile.rows, tile.cols)

    def load(self, number: int, tile: Tile) -> Array | None:
        like = np.empty((self.scene.n_bands, *tile.shape), dtype=np.float32)
        saved = self.store.load(number, {_LAYER: like})
        return None if saved is None else saved[_LAYER]


@lru_cache(maxsize=1)
def _features_of_job(path: Path, _modified: int) -> _TiledFeatures:
    """Open scene and chain once for all tiles that a process computes."""
    job = WorkFolder(path).job()
    scene = _open_scene(path, job)
    chain, levels = load_chain(RunFolder(path), _CHAIN), result_of(path, "fit")["levels"]
    features = blockwise(chain, scene, overlap=job["overlap"], levels=levels)
    noted = features.noting(*overlap_note(chain, job["overlap"]))
    return _TiledFeatures(noted, _store(path, job["key"]))


def _store(path: Path, key: str) -> TileStore:
    return TileStore(path / _STACK, {"key": key})


def _open_scene(path: Path, job: dict[str, Any]) -> Scene:
    """Open the scene of a job, if its file has not changed."""
    with known_inputs(inputs_path(path / _STACK)):
        return SceneSource.from_json(job["source"]).open()


def _stack_of_tiles(path: Path) -> Scene:
    """Return the scene of the features, read lazily from the saved tiles."""
    features = _features_of_job(path, modified_ns(path / "job.json"))
    scene = features.scene
    parts, across = tiles(scene.shape, _SIDE), -(-scene.shape[1] // _SIDE)

    def fetch(index: tuple[Indices, ...]) -> Array:
        bands, rows, columns = index
        window = Tile(bounding_slice(rows), bounding_slice(columns))
        values = np.empty((scene.n_bands, *window.shape), dtype=np.float32)
        for row in range(window.rows.start // _SIDE, (window.rows.stop - 1) // _SIDE + 1):
            for col in range(
                window.cols.start // _SIDE, (window.cols.stop - 1) // _SIDE + 1
            ):
                tile = parts[number := row * across + col]
                saved = features.load(number, tile)
                part = features.compute(tile) if saved is None else saved
                _copy_overlap(values, window, part, tile)
        at = np.ix_(bands, rows - window.rows.start, columns - window.cols.start)
        return np.asarray(values[at])

    lazy = LazyArray((scene.n_bands, *scene.shape), np.float32, fetch).as_variable_data()
    cube = scene.cube
    variable = xr.Variable(cube.dims, lazy)
    return scene.replace(cube=xr.DataArray(variable, coords=cube.coords, attrs=cube.attrs))


def _copy_overlap(values: Array, window: Tile, part: Array, tile: Tile) -> None:
    """Copy what a tile and a window have in common into the values of the window."""
    common = Tile(
        *(
            slice(max(one.start, other.start), min(one.stop, other.stop))
            for one, other in ((window.rows, tile.rows), (window.cols, tile.cols))
        )
    )
    values[:, *common.within(window)] = part[:, *common.within(tile)]
