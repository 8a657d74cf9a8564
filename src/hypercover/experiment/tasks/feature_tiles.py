"""Image features of scenes larger than memory: fitted once, computed tile by tile."""

from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.run_context import load_chain, save_chain
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.features.chain import Chain
from hypercover.files import modified_ns
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.plan import Task
from hypercover.jobs.task_files import result_of
from hypercover.memory import peak_bytes
from hypercover.prediction import tile_tasks
from hypercover.prediction.scene_prediction import GDAL_CACHE
from hypercover.prediction.tile_tasks import SceneSource, WorkFolder
from hypercover.scene.file_identity import file_record
from hypercover.scene.io.gdal import gdal_env
from hypercover.scene.io.writing import write_scene
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, record_path
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
        (:meth:`~hypercover.features.chain.Chain.transform_blockwise`)

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
    if executor is None and overlap is None and chain.fits_whole(scene):
        stack = chain.fit_transform(scene, seed=seed, progress=progress)
        write_scene(stack, out, tags=tags)
        return stack
    chain.check_blockwise(overlap)
    work = WorkFolder.of(out)
    with work.removed_on_refusal():
        # The tiles are saved with the identity of the image.
        with file_record(record_path(work.path / _STACK)):
            job: dict[str, Any] = {
                "source": source.to_json(),
                "chain": [step.to_json() for step in chain.steps],
                "seed": seed,
                "overlap": overlap,
            }
            job["key"] = tile_tasks.plan_key(job)
            _store(work.path, job).begin()
        fit = Task("fit", "fit_chain", weight=2.0, key=job["key"])
        count = len(tiles(scene.shape, _SIDE))
        compute = tile_tasks.make_tasks("compute_tiles", count, job["key"], ("fit",))
        work.run([fit, *compute], job, executor or InProcessExecutor(), REGISTRY, progress)
    stack = _stack_of_tiles(work.path)
    if overlap is not None:
        tags["HYPERCOVER_OVERLAP"] = f"{overlap} pixels"
    with gdal_env(GDAL_CACHEMAX=GDAL_CACHE):
        write_scene(stack, out, tags=tags)
    work.remove()
    return stack


def fit_chain(folder: Path, *, report: Report) -> dict[str, Any]:
    """Fit and save the chain of a job; return the levels that every tile needs."""
    path = folder.resolve()
    job, scene = _open_job(path)
    chain = Chain.parse(job["chain"])
    with gdal_env(GDAL_CACHEMAX=GDAL_CACHE):
        levels = chain.fit_blockwise(
            scene,
            seed=job["seed"],
            overlap=job["overlap"],
            progress=lambda done, total: report(done / total, "fitting the chain"),
        )
    save_chain(RunFolder(path), _CHAIN, chain)
    return {"levels": levels, "peak": peak_bytes()}


def compute_tiles(folder: Path, *, first: int, stop: int, report: Report) -> dict[str, Any]:
    """Compute and save the feature tiles of one task."""
    path = folder.resolve()
    features = _features_of_job(path, modified_ns(path / "job.json"))
    parts, new = tiles(features.scene.shape, _SIDE), 0
    tile_tasks.check_tile_range(first, stop, len(parts))
    with gdal_env(GDAL_CACHEMAX=GDAL_CACHE):
        for number, tile in enumerate(parts[first:stop], first):
            report((number - first) / (stop - first), "computing features")
            if features.load(number, tile) is None:
                values = features.scene.read(tile.rows, tile.cols)
                features.store.save(number, {_LAYER: values})
                new += 1
    return {"computed": new, "peak": peak_bytes()}


class _TiledFeatures(NamedTuple):
    """The features of a scene, computed when read, and the tiles saved so far."""

    scene: Scene
    store: TileStore

    def load(self, number: int, tile: Tile) -> Array | None:
        like = np.empty((self.scene.n_bands, *tile.shape), dtype=np.float32)
        saved = self.store.load(number, {_LAYER: like})
        return None if saved is None else saved[_LAYER]


@lru_cache(maxsize=1)
def _features_of_job(path: Path, _modified: int) -> _TiledFeatures:
    """Open scene and chain once for all tiles that a process computes."""
    job, scene = _open_job(path)
    chain, levels = load_chain(RunFolder(path), _CHAIN), result_of(path, "fit")["levels"]
    features = chain.transform_blockwise(scene, overlap=job["overlap"], levels=levels)
    noted = features.noting(*chain.overlap_note(job["overlap"]))
    return _TiledFeatures(noted, _store(path, job))


def _store(path: Path, job: dict[str, Any]) -> TileStore:
    return TileStore(path / _STACK, {"key": job["key"]})


def _open_job(path: Path) -> tuple[dict[str, Any], Scene]:
    """Read a job, and open its scene if the file has not changed."""
    job = WorkFolder(path).job()
    with file_record(record_path(path / _STACK)):
        return job, SceneSource.from_json(job["source"]).open()


def _stack_of_tiles(path: Path) -> Scene:
    """Return the scene of the features, read lazily from the saved tiles."""
    features = _features_of_job(path, modified_ns(path / "job.json"))
    scene, parts = features.scene, tiles(features.scene.shape, _SIDE)
    across = -(-scene.shape[1] // _SIDE)

    def fetch(index: tuple[Indices, ...]) -> Array:
        bands, rows, columns = index
        window = Tile(bounding_slice(rows), bounding_slice(columns))
        values = np.empty((scene.n_bands, *window.shape), dtype=np.float32)
        sides = (
            range(side.start // _SIDE, -(-side.stop // _SIDE))
            for side in (window.rows, window.cols)
        )
        for row, col in product(*sides):
            tile = parts[number := row * across + col]
            saved = features.load(number, tile)
            part = scene.read(tile.rows, tile.cols) if saved is None else saved
            common = _intersection(window, tile)
            values[:, *common.within(window)] = part[:, *common.within(tile)]
        at = np.ix_(bands, rows - window.rows.start, columns - window.cols.start)
        return np.asarray(values[at])

    lazy = LazyArray((scene.n_bands, *scene.shape), np.float32, fetch).as_variable_data()
    cube = scene.cube
    variable = xr.Variable(cube.dims, lazy)
    return scene.replace(cube=xr.DataArray(variable, coords=cube.coords, attrs=cube.attrs))


def _intersection(first: Tile, second: Tile) -> Tile:
    """Return what two tiles have in common."""
    pairs = (first.rows, second.rows), (first.cols, second.cols)
    return Tile(*(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs))
