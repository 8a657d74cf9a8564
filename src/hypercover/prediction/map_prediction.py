"""Maps of images by saved models: in memory, or as GeoTIFF files of any size."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.windows import Window

from hypercover.classifiers.bundle import MODEL_FILE
from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features.chain import BorderLevels
from hypercover.features.feature import subprogress
from hypercover.files import check_writable, modified_ns, remove_abandoned_drafts
from hypercover.gis import map_writing
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.stac import write_stac_item_of_map
from hypercover.gis.style import sidecar_paths
from hypercover.jobs.executor import Executor
from hypercover.jobs.plan import Registry, TaskKind
from hypercover.jobs.task_files import read_json
from hypercover.memory import peak_bytes
from hypercover.prediction import tile_tasks
from hypercover.prediction.model_input import ModelInput, check_values, working_memory
from hypercover.prediction.scene_prediction import TilePredictor, predict_scene
from hypercover.prediction.tile_tasks import SceneSource, WorkFolder
from hypercover.scene.class_map import open_class_map
from hypercover.scene.file_identity import file_record
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import ALL_ZERO, fits_dtype, parse_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.selection import read_area
from hypercover.scene.tile_store import TileStore, record_path
from hypercover.types import Mask, Progress, Report


def predict_bundle(
    model: Path | str,
    scene: Scene,
    *,
    layers: Sequence[str] = ("labels", "confidence"),
    memory: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Map a scene in memory with a saved model, as ``hypercover predict`` does into files.

    The scene's bands are matched by wavelength or number, its values converted to
    the scale and offset of the model's image, its image features computed, and
    probabilities scaled by the model's temperature.

    Parameters
    ----------
    model : folder of the bundle
    scene : any scene with the bands of the model
    layers, memory, progress : as in
        :func:`~hypercover.prediction.scene_prediction.predict_scene`
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    xarray.Dataset
        As of :func:`~hypercover.prediction.scene_prediction.predict_scene`, with the
        classes of the model as legend.

    Raises
    ------
    ModelError
        As :func:`predict_bundle_to_files`.

    Examples
    --------
    >>> result = predict_bundle("runs/demo/models/svm", scene)  # doctest: +SKIP
    """
    model_input = ModelInput.of(Path(model), scene, device=device)
    bundle = model_input.bundle
    check_values(bundle.card, scene, model_input.scene)
    return predict_scene(
        bundle.classifier,
        model_input.compute_features(),
        layers=layers,
        memory=memory,
        temperature=bundle.temperature,
        legend=legend_from_card(bundle.card),
        progress=progress,
    )


def predict_bundle_to_files(
    model: Path,
    scene: Scene,
    out: Path,
    *,
    confidence: Path | None = None,
    probabilities: Path | None = None,
    entropy: Path | None = None,
    memory: int | None = None,
    device: str = "auto",
    cleaning: Cleaning | None = None,
    within: Path | None = None,
    within_layer: str | None = None,
    overlap: int | None = None,
    source: SceneSource | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Map an image with a saved model, from file to file.

    If it is stopped, the same call resumes with the next tile.  If the image says
    when it was taken, a STAC item is written next to the map and its path returned.

    Parameters
    ----------
    model : folder of the bundle
    scene : the image; if it has more bands than the model, the model's bands are
        selected by number and wavelength.  A model on attribute profiles computes
        them of the whole scene first, in memory; other image features are computed
        piece by piece.
    out, confidence, probabilities, entropy : maps to write
    memory : int, optional
        Bytes that this process may take in all; default as of
        :func:`~hypercover.prediction.scene_prediction.predict_scene`.
    device : {"auto", "cpu", "cuda"}
        Where a network computes.
    cleaning : Cleaning, optional
        Filters for the class map; the other maps stay as predicted.
    within : path, optional
        Area (polygons or a raster) outside which the class map holds no data.
    within_layer : str, optional
        Layer of its vector file.
    overlap : int, optional
        Pixels around a piece from which attribute profiles are computed piece by
        piece, which changes them a little
        (:meth:`~hypercover.features.chain.Chain.transform_blockwise`).
    source, executor : optional
        Where other processes find the image, and what runs them; ``memory`` is then
        the limit of each process.

    Raises
    ------
    CallError
        If a map's name has another suffix than a GeoTIFF or is taken by another map,
        or the memory is too small.
    ModelError
        If the bundle is damaged, the image lacks bands the model was trained on or is
        a stack of other features (they are named), or the device is not available.
    OutputError
        If a map cannot be written; checked before anything is predicted.
    SceneError
        If the image features of the scene do not fit in memory.
    """
    maps = {"confidence": confidence, "probabilities": probabilities, "entropy": entropy}
    fractions = {layer: path for layer, path in maps.items() if path is not None}
    check_map_names(out, *fractions.values())
    for path in (out, *fractions.values()):
        for file in (path, *sidecar_paths(path)):
            check_writable(file)
    area = None if within is None else read_area(within, scene.grid, within_layer)
    # A class map that is still to be cleaned or clipped must not appear as `out`.
    unfinished = bool(cleaning) or area is not None
    raw = out.with_name(f".{out.name}.raw") / out.name if unfinished else out
    with file_record(record_path(raw)):
        model_input = ModelInput.of(model, scene, device=device, overlap=overlap)
        legend = legend_from_card(model_input.bundle.card)
        check_values(model_input.bundle.card, scene, model_input.scene)
        if executor is not None and source is not None:
            settings = {"model": str(model.absolute()), "device": device, "memory": memory}
            layers = ["labels", *fractions]
            _predict_tiles(model_input, source, raw, layers, settings, executor, progress)
            progress = memory = None
        in_memory = model_input.needs_whole_scene
        features = model_input.compute_features(
            progress=subprogress(progress, 0, 2) if in_memory else None
        )
        predict_scene_to_files(
            model_input.bundle.classifier,
            features,
            raw,
            legend=legend,
            memory=working_memory(memory),
            temperature=model_input.bundle.temperature,
            identity=model_input.identity,
            progress=subprogress(progress, 1, 2) if in_memory else progress,
            **fractions,
        )
    if unfinished:
        _finish_class_map(raw, out, scene, legend, cleaning or Cleaning(), area)
    return write_stac_item_of_map(
        out, scene.header, legend=legend, grid=scene.grid, origin=scene.origin
    )


def _finish_class_map(
    raw: Path,
    out: Path,
    scene: Scene,
    legend: Legend,
    cleaning: Cleaning,
    area: Mask | None,
) -> None:
    """Write the class map clipped and cleaned, and remove the raw one."""
    codes = open_class_map(raw).codes
    if area is not None:
        codes = np.where(area, codes, 0).astype(codes.dtype)
    map_writing.write_class_map(
        out, cleaning.apply(codes), legend, scene.grid, **scene.origin
    )
    for file in (raw, *sidecar_paths(raw)):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        raw.parent.rmdir()


def predict_scene_to_files(
    classifier: Any,
    scene: Scene,
    map_path: Path,
    *,
    legend: Legend | None = None,
    memory: int | None = None,
    temperature: float | None = None,
    identity: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **fractions: Path,
) -> tuple[Path, ...]:
    """Predict a scene of any size into GeoTIFF files.

    The files appear when all of them are complete.  Other parameters and errors are
    those of :func:`~hypercover.prediction.scene_prediction.predict_scene`.

    Parameters
    ----------
    identity : mapping, optional
        Identifies the model and the image, as JSON.  With it, finished tiles are kept
        in a hidden folder next to the map until it is complete, and the same call
        resumes stopped work.
    **fractions : path
        Files of other layers: ``confidence``, ``probabilities``, ``entropy``.

    Returns
    -------
    paths of the images written
        Without the confidence if the classifier gives none.
    """
    paths = {"labels": map_path, **fractions}
    predictor = TilePredictor.of(classifier, scene, tuple(paths), memory, temperature)
    paths = {layer: path for layer, path in paths.items() if layer in predictor.layers}
    legend = map_writing.complete_legend(legend or scene.legend, predictor.codes)
    store = None if identity is None else predictor.tile_store(map_path, identity)
    if store is not None:
        predictor.predict_missing(store, progress=progress)
        progress = None
    with predictor.gdal_cache(), ExitStack() as stack:
        files = {
            layer: stack.enter_context(_layer_writer(predictor, layer, path, legend))
            for layer, path in paths.items()
        }
        for tile, layers in predictor.iter_tiles(progress, store):
            window = Window.from_slices(tile.rows, tile.cols)
            for layer, array in layers.items():
                bands, file = array if array.ndim == 3 else array[None], files[layer]
                file.write(bands.astype(file.dtypes[0], copy=False), window=window)
    if store is not None:
        store.remove()
        for path in paths.values():
            remove_abandoned_drafts(path)
    return tuple(paths.values())


def _layer_writer(predictor: TilePredictor, layer: str, path: Path, legend: Legend) -> Any:
    """Open the file of a layer."""
    grid, origin = predictor.scene.grid, predictor.scene.origin
    if layer == "labels":
        return map_writing.class_map_writer(path, legend, grid, **origin)
    names = [layer]
    if layer == "probabilities":
        names = [legend[code].name for code in predictor.codes.tolist()]
    return map_writing.fraction_writer(path, names, grid, **origin)


def check_map_names(*paths: Path | None) -> None:
    """Check that maps are named as GeoTIFFs and differ in more than the suffix.

    Raises
    ------
    CallError
        If a suffix is not that of a GeoTIFF, or two maps would have the same style file.
    """
    taken: dict[Path, Path] = {}
    for path in filter(None, paths):
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise CallError(
                f"A map is written as GeoTIFF, got the name {path}; give it the suffix .tif."
            )
        if (stem := path.resolve().with_suffix("")) in taken:
            raise CallError(
                f"Two maps cannot both be written to {taken[stem]}; give each a name of its own."
            )
        taken[stem] = path


_MODULE = "hypercover.prediction.map_prediction"
REGISTRY = Registry(
    f"{_MODULE}:REGISTRY",
    {"predict_tiles": TaskKind(f"{_MODULE}:predict_tiles", tile_tasks.TileRange)},
)
"""The task of a parallel prediction."""


def _predict_tiles(
    model_input: ModelInput,
    source: SceneSource,
    target: Path,
    layers: list[str],
    settings: Mapping[str, Any],
    executor: Executor,
    progress: Progress | None,
) -> None:
    """Predict all tiles of a map by several processes, for `predict_scene_to_files` to write.

    ``layers`` come in the order in which `predict_scene_to_files` predicts them; ``settings`` are
    the path of the model, the device, and the bytes that each process may take.
    """
    levels = model_input.border_levels()
    predictor, _ = _shared_predictor(model_input, levels, target, layers, memory=None)
    job = {
        **settings,
        "source": source.to_json(),
        "target": str(target.absolute()),
        "layers": layers,
        "overlap": model_input.overlap,
        "levels": levels,
    }
    key = tile_tasks.plan_key({"identity": model_input.identity, "layers": layers})
    work = WorkFolder.of(target)
    tasks = tile_tasks.make_tasks("predict_tiles", len(predictor.tiles()), key)
    work.run(tasks, job, executor, REGISTRY, progress)
    work.remove()


def predict_tiles(folder: Path, *, first: int, stop: int, report: Report) -> dict[str, Any]:
    """Predict and save the tiles of one task of a parallel prediction."""
    path = folder.resolve()
    predictor, store = _predictor_of_job(path, modified_ns(path / "job.json"))
    tile_tasks.check_tile_range(first, stop, len(predictor.tiles()))
    new = predictor.predict_missing(
        store, range(first, stop), lambda done, total: report(done / total, "predicting")
    )
    return {"predicted": new, "peak": peak_bytes()}


@lru_cache(maxsize=1)
def _predictor_of_job(folder: Path, _modified: int) -> tuple[TilePredictor, TileStore]:
    """Open model and scene once for all tiles that a process predicts."""
    job = WorkFolder(folder).job()
    target, model = Path(job["target"]), Path(job["model"])
    with file_record(record_path(target)):
        scene = SceneSource.from_json(job["source"]).open()
        model_input = ModelInput.of(
            model, scene, device=job["device"], overlap=job["overlap"]
        )
    return _shared_predictor(
        model_input, job["levels"], target, job["layers"], memory=job["memory"]
    )


def _shared_predictor(
    model_input: ModelInput,
    levels: BorderLevels | None,
    target: Path,
    layers: Sequence[str],
    *,
    memory: int | None,
) -> tuple[TilePredictor, TileStore]:
    """Return a predictor and the store of the tiles that it shares with other processes."""
    bundle, features = model_input.bundle, model_input.compute_features(levels=levels)
    limit = working_memory(memory)
    predictor = TilePredictor.of(
        bundle.classifier, features, layers, limit, bundle.temperature
    )
    store = predictor.tile_store(target, model_input.identity or {})
    store.begin()
    return predictor, store


def legend_from_card(card: dict[str, Any]) -> Legend:
    """Read the classes of a model's card, which may come from anyone.

    Raises
    ------
    ModelError
        If it does not list its classes.
    """
    try:
        return Legend.from_json(card["legend"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            "The model does not say which classes it knows; train it again."
        ) from error


def nodata_from_card(model: Path, scene: Scene) -> str | None:
    """Return the no-data values stated for the image that a model was trained on.

    Images of one series usually lack the same declaration.  Values that pixels of this
    scene cannot hold are left out; None if nothing is left.  An unreadable card gives
    None as well: loading the model will refuse it.
    """
    card = (read_json(model / MODEL_FILE) or {}).get("card")
    stated = card.get("nodata") if isinstance(card, dict) else None
    if not isinstance(stated, str | int | float | list):
        return None
    try:
        values = parse_nodata(stated)
    except SceneError:
        return None
    dtype = scene.cube.dtype
    usable = [
        value if isinstance(value, str) else f"{value:.17g}"
        for value in values
        if value == ALL_ZERO or (isinstance(value, float) and fits_dtype(value, dtype))
    ]
    return ",".join(usable) or None
