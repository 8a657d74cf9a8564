"""Using a kept model on an image: what it was trained on must be there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from hypercover.classifiers.bundle import MODEL_FILE
from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features.feature import Progress, subprogress
from hypercover.files import check_writable, modified_ns, remove_abandoned_drafts
from hypercover.gis.class_map_files import (
    class_map_writer,
    complete_legend,
    fraction_writer,
    write_class_map,
)
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.stac import write_stac_item_of_map
from hypercover.gis.style import sidecar_paths
from hypercover.jobs.executor import Executor
from hypercover.jobs.plan import Registry, TaskKind
from hypercover.jobs.record import read_json
from hypercover.memory import peak_bytes
from hypercover.prediction.layers import Layers
from hypercover.prediction.model_input import ModelInput, check_values, working_memory
from hypercover.prediction.scene_prediction import (
    KeptTiles,
    Prediction,
    TilePredictor,
    predict_scene,
)
from hypercover.prediction.tile_plan import (
    SceneSource,
    TileRange,
    WorkFolder,
    check_tile_range,
    plan_key,
    tile_tasks,
)
from hypercover.scene.class_map import open_class_map
from hypercover.scene.clip import read_area
from hypercover.scene.inputs import known_inputs
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import ALL_ZERO, fits_dtype, parse_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, inputs_path
from hypercover.scene.tiling import Tile

__all__ = [
    "REGISTRY",
    "check_map_names",
    "check_map_paths",
    "legend_from_card",
    "nodata_from_card",
    "predict_bundle",
    "predict_image",
    "predict_in_parallel",
    "predict_tiles",
    "predict_to_files",
]

Report = Callable[[float, str], None]

REGISTRY = Registry(
    "hypercover.prediction.map_prediction:REGISTRY",
    {
        "predict_tiles": TaskKind(
            "hypercover.prediction.map_prediction:predict_tiles", TileRange
        )
    },
)
"""The kind of task that predicts tiles."""


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


def predict_in_parallel(
    mapping: ModelInput,
    source: SceneSource,
    target: Path,
    layers: Sequence[str],
    *,
    model: Path,
    executor: Executor,
    device: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Have all tiles of a map predicted and kept, for `predict_to_files` to find.

    Parameters
    ----------
    target : the map that will be written
    layers : in the order in which they will be asked for
    memory : bytes that each process may take
    """
    levels = mapping.levels()
    # This process predicts nothing: the bound is that of those who do.
    kept = _kept(mapping, mapping.seen(levels=levels), target, layers, None)
    kept.store.begin()
    job = {
        "source": source.to_json(),
        "model": str(model.absolute()),
        "target": str(target.absolute()),
        "layers": list(layers),
        "device": device,
        "memory": memory,
        "overlap": mapping.overlap,
        "levels": levels,
    }
    depends = {"identity": mapping.identity, "layers": list(layers)}
    tasks = tile_tasks(
        "predict_tiles",
        len(kept.predictor.tiles()),
        plan_key(depends),
    )
    place = WorkFolder.of(target)
    place.run(tasks, job, executor, REGISTRY, progress)
    place.remove()


def predict_tiles(
    folder: Path, *, first: int, stop: int, report: Report = _silent
) -> dict[str, Any]:
    """Predict and keep some tiles of a map, as the job in a folder says."""
    home = folder.resolve()
    kept = _opened(home, modified_ns(home / "job.json"))
    check_tile_range(first, stop, len(kept.predictor.tiles()))
    new = kept.predict(
        range(first, stop), lambda done, total: report(done / total, "predicting")
    )
    return {"predicted": new, "peak": peak_bytes()}


@lru_cache(maxsize=1)
def _opened(home: Path, _changed: int) -> KeptTiles:
    """Open model and scene once for all tiles that a process predicts."""
    job = WorkFolder(home).job()
    target = Path(job["target"])
    with known_inputs(inputs_path(target)):
        scene = SceneSource.from_json(job["source"]).open()
        mapping = ModelInput.of(
            Path(job["model"]), scene, device=job["device"], overlap=job["overlap"]
        )
    seen = mapping.seen(levels=job["levels"])
    kept = _kept(mapping, seen, target, job["layers"], job["memory"])
    kept.store.begin()
    return kept


def _kept(
    mapping: ModelInput, seen: Any, target: Path, layers: Sequence[str], memory: int | None
) -> KeptTiles:
    return KeptTiles.of(
        mapping.bundle.classifier,
        seen,
        target,
        layers,
        identity=mapping.identity or {},
        memory=working_memory(memory),
        temperature=mapping.bundle.temperature,
    )


_log = logging.getLogger(__name__)


def predict_image(
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
    """Map an image with a kept model, from file to file.

    Stopped at any time, the same call goes on with the tile it was at.  Where the
    image says when it was taken, a STAC item is written beside the map; its path is
    returned.

    Parameters
    ----------
    model : folder of the bundle
    scene : the image; where it has more bands than the model, those of the
        model are chosen by number and wavelength.  A model on attribute profiles
        computes them of the whole scene first, in memory; other image features
        are computed piece by piece.
    out, confidence, probabilities, entropy : maps to write
    memory : int, optional
        Bytes that this process may take, with all it holds already; None: as
        :func:`~hypercover.prediction.scene_prediction.predict_scene` says.
    device : {"auto", "cpu", "cuda"}
        Where a network computes.
    cleaning : Cleaning, optional
        What is done to the class map; the other maps stay as predicted.
    within : path, optional
        Area (polygons or a raster) outside which the class map holds no data.
    within_layer : str, optional
        Layer of its vector file, where it holds several.
    overlap : int, optional
        Pixels around a piece from which attribute profiles are computed piece by
        piece, which changes them a little
        (:func:`~hypercover.features.blockwise.blockwise`).
    source, executor : optional
        Where other processes find the image, and who has them predict the tiles;
        the memory is then that of each.

    Raises
    ------
    CallError
        If a map is to have another suffix than that of a GeoTIFF, or the name
        of another one, or the memory is too little.
    ModelError
        If the bundle is damaged, or the image lacks bands the model was
        trained on, or is a stack of other features; they are named.  Or if
        the device is not to be had.
    OutputError
        If a map cannot be written; it is refused before anything is predicted.
    SceneError
        If the image features of the scene do not fit in memory.
    """
    check_map_names(out, confidence, probabilities, entropy)
    check_map_paths(out, confidence, probabilities, entropy)
    area = None if within is None else read_area(within, scene.grid, within_layer)
    # A map that is not finished must not lie under the name asked for.
    changed = bool(cleaning) or area is not None
    raw = out.with_name(f".{out.name}.raw") / out.name if changed else out
    with known_inputs(inputs_path(raw)):
        mapping = ModelInput.of(model, scene, device=device, overlap=overlap)
        card = mapping.bundle.card
        legend = legend_from_card(card)
        for sentence in check_values(card, scene, mapping.scene):
            _log.warning(sentence)
        if executor is not None and source is not None:
            asked = {
                "confidence": confidence,
                "probabilities": probabilities,
                "entropy": entropy,
            }
            layers = ["labels", *(name for name, path in asked.items() if path is not None)]
            predict_in_parallel(
                mapping,
                source,
                raw,
                layers,
                model=model,
                executor=executor,
                device=device,
                memory=memory,
                progress=progress,
            )
            progress = memory = None
        first = subprogress(progress, 0, 2) if mapping.whole else None
        predict_to_files(
            mapping.bundle.classifier,
            mapping.seen(progress=first),
            raw,
            confidence_path=confidence,
            probabilities_path=probabilities,
            entropy_path=entropy,
            legend=legend,
            memory=working_memory(memory),
            temperature=mapping.bundle.temperature,
            identity=mapping.identity,
            progress=subprogress(progress, 1, 2) if mapping.whole else progress,
        )
    if changed:
        _finish(raw, out, scene, legend, cleaning or Cleaning(), area)
    return write_stac_item_of_map(
        out, scene.header, legend=legend, grid=scene.grid, origin=scene.origin
    )


def predict_bundle(
    model: Path | str,
    scene: Scene,
    *,
    layers: Sequence[str] = ("labels", "confidence"),
    memory: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Prediction:
    """Map a scene in memory with a kept model, as `hypercover predict` does into files.

    The scene's bands are found by wavelength or number, its values brought to the scale
    and offset of the model's image, its image features computed, and probabilities scaled
    by the model's temperature.

    Parameters
    ----------
    model : folder of the bundle
    scene : any with the bands of the model
    layers, memory, progress : as in :func:`~hypercover.prediction.scene_prediction.predict_scene`
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    Prediction

    Raises
    ------
    ModelError
        As :func:`predict_image`.

    Examples
    --------
    >>> found = predict_bundle("runs/demo/models/svm", scene)  # doctest: +SKIP
    """
    mapping = ModelInput.of(Path(model), scene, device=device)
    for sentence in check_values(mapping.bundle.card, scene, mapping.scene):
        _log.warning(sentence)
    return predict_scene(
        mapping.bundle.classifier,
        mapping.seen(),
        layers=layers,
        memory=memory,
        temperature=mapping.bundle.temperature,
        progress=progress,
    )


def _finish(
    raw: Path,
    out: Path,
    scene: Scene,
    legend: Legend,
    cleaning: Cleaning,
    area: npt.NDArray[np.bool_] | None,
) -> None:
    """Write the class map clipped and cleaned, and remove it as it was predicted."""
    codes = open_class_map(raw).codes
    if area is not None:
        codes = np.where(area, codes, 0).astype(codes.dtype)
    write_class_map(out, cleaning.apply(codes), legend, scene.grid, **scene.origin)
    for file in (raw, *sidecar_paths(raw)):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        raw.parent.rmdir()


def legend_from_card(card: dict[str, Any]) -> Legend:
    """Read the classes of a card, which may come from a stranger.

    Raises
    ------
    ModelError
        If it does not say which they are.
    """
    try:
        return Legend.from_json(card["legend"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            "The model does not say which classes it knows; train it again."
        ) from error


def nodata_from_card(model: Path, scene: Scene) -> str | None:
    """Return what was stated as no data of the image that a model was trained on.

    Why it exists: images of one series lack the same declaration.  Values that the
    pixels of this one cannot hold are left out; None where nothing is left.  A card that
    cannot be read is refused by whoever loads the model.
    """
    document = read_json(model / MODEL_FILE) or {}
    card = document.get("card")
    given = card.get("nodata") if isinstance(card, dict) else None
    if not isinstance(given, str | int | float | list):
        return None
    try:
        parts = parse_nodata(given)
    except SceneError:
        return None
    kept = [
        part if isinstance(part, str) else f"{part:.17g}"
        for part in parts
        if part == ALL_ZERO
        or (isinstance(part, float) and fits_dtype(part, scene.cube.dtype))
    ]
    return ",".join(kept) or None


def check_map_names(*paths: Path | None) -> None:
    """Refuse to write a GeoTIFF under the name of something else, or two under one name.

    Raises
    ------
    CallError
        If a name has another suffix than that of a GeoTIFF, or two differ in
        nothing else: their styles would have one name.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise CallError(
                f"A map is written as GeoTIFF, got the name {path}; give it the suffix .tif."
            )
    stems = [path.resolve().with_suffix("") for path in given]
    for path, stem in zip(given, stems, strict=True):
        if stems.count(stem) > 1:
            raise CallError(
                f"Two maps cannot both be written to {path}; give each a name of its own."
            )


def predict_to_files(
    classifier: Any,
    scene: Scene,
    map_path: str | Path,
    *,
    confidence_path: str | Path | None = None,
    probabilities_path: str | Path | None = None,
    entropy_path: str | Path | None = None,
    legend: Legend | None = None,
    memory: int | None = None,
    temperature: float | None = None,
    identity: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Predict a scene of any size straight into GeoTIFF files.

    Why it exists: a map of a scene larger than memory; parameters and rules
    are those of :func:`predict_scene`.  Nothing appears under the names asked
    for until the whole map is written.

    Parameters
    ----------
    identity : mapping, optional
        What tells this model and this scene from all others, as JSON.  With it
        finished tiles are kept in a hidden folder beside the map until it is
        whole, so that the same call goes on where it was stopped.

    Returns
    -------
    paths of the images written
        The confidence is left out where the classifier gives none.

    Raises
    ------
    ModelError
        As :func:`predict_scene`.
    OutputError
        If a file cannot be written; what can be seen of that before is refused
        before anything is predicted.
    """
    asked = {
        "labels": map_path,
        "confidence": confidence_path,
        "probabilities": probabilities_path,
        "entropy": entropy_path,
    }
    named = {layer: Path(path) for layer, path in asked.items() if path is not None}
    check_map_paths(*named.values())
    predictor = TilePredictor.of(classifier, scene, tuple(named), memory, temperature)
    paths = {layer: path for layer, path in named.items() if layer in predictor.layers}
    known = complete_legend(legend or scene.legend, predictor.codes)
    with predictor.reading():
        if identity is None:
            _write(predictor, paths, known, _told(predictor, progress))
            return tuple(paths.values())
        kept = KeptTiles(predictor, TileStore(paths["labels"], predictor.plan(identity)))
        kept.predict(progress=progress)
        _write(predictor, paths, known, kept.answers)
        kept.store.remove()
    for path in paths.values():
        remove_abandoned_drafts(path)
    return tuple(paths.values())


def check_map_paths(*paths: Path | None) -> None:
    """Refuse maps that could not be written where they are to be, or not their styles.

    Raises
    ------
    OutputError
        If a folder is in the way, a part of the path is a file, or a folder may
        not be written to.
    """
    for path in paths:
        if path is not None:
            for file in (path, *sidecar_paths(path)):
                check_writable(file)


def _told(
    predictor: TilePredictor, progress: Progress | None
) -> Callable[[int, Tile], Layers]:
    """Return what predicts a tile and tells how far the scene is."""
    done, total = 0, predictor.scene.shape[0] * predictor.scene.shape[1]

    def predicted(_: int, tile: Tile) -> Layers:
        nonlocal done
        answers = predictor.predicted(tile)
        done += tile.pixels
        if progress is not None:
            progress(done, total)
        return answers

    return predicted


def _write(
    predictor: TilePredictor,
    paths: Mapping[str, Path],
    legend: Legend,
    answers_of: Callable[[int, Tile], Layers],
) -> None:
    """Write all layers tile by tile; they appear when the last one is written."""
    with ExitStack() as files:
        rasters = {
            layer: files.enter_context(_writer(predictor, layer, path, legend))
            for layer, path in paths.items()
        }
        for number, tile in enumerate(predictor.tiles()):
            for layer, array in answers_of(number, tile).items():
                bands = array if array.ndim == 3 else array[None]
                raster = rasters[layer]
                place = Window.from_slices(tile.rows, tile.cols)
                raster.write(bands.astype(raster.dtypes[0], copy=False), window=place)


def _writer(predictor: TilePredictor, layer: str, path: Path, legend: Legend) -> Any:
    """Open the file of a layer."""
    grid, origin = predictor.scene.grid, predictor.scene.origin
    if layer == "labels":
        return class_map_writer(path, legend, grid, **origin)
    names = [layer]
    if layer == "probabilities":
        names = [legend[code].name for code in predictor.codes.tolist()]
    return fraction_writer(path, names, grid, **origin)
