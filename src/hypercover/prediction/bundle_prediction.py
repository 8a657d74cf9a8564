"""Using a kept model on an image: what it was trained on must be there."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import MODEL_FILE
from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features.feature import Progress, subprogress
from hypercover.files import modified
from hypercover.gis.class_map_files import write_class_map
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.stac import write_item_beside
from hypercover.gis.style import sidecars_of
from hypercover.jobs.executor import Executor
from hypercover.jobs.plan import Registry, TaskKind
from hypercover.jobs.record import read_json
from hypercover.memory import peak_bytes
from hypercover.prediction.model_input import Mapping, check_values, memory_left
from hypercover.prediction.predict import (
    Prediction,
    check_places,
    predict_scene,
    predict_to_files,
)
from hypercover.prediction.predictor import KeptTiles
from hypercover.prediction.tile_plan import (
    Mosaic,
    Source,
    TileRange,
    check_tiles,
    key_of,
    tile_tasks,
)
from hypercover.scene.class_map import open_class_map
from hypercover.scene.clip import area_of
from hypercover.scene.inputs import known_inputs
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import ALL_ZERO, holdable, parse_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import inputs_path

__all__ = [
    "REGISTRY",
    "card_legend",
    "carried_nodata",
    "check_map_names",
    "predict_ahead",
    "predict_bundle",
    "predict_image",
    "predict_some",
]

Report = Callable[[float, str], None]

REGISTRY = Registry(
    "hypercover.prediction.bundle_prediction:REGISTRY",
    {
        "predict_some": TaskKind(
            "hypercover.prediction.bundle_prediction:predict_some", TileRange
        )
    },
)
"""The kind of task that predicts tiles."""


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


def predict_ahead(
    mapping: Mapping,
    source: Source,
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
        "predict_some",
        len(kept.predictor.tiles()),
        key_of(depends),
    )
    place = Mosaic.of(target)
    place.run(tasks, job, executor, REGISTRY, progress)
    place.remove()


def predict_some(
    folder: Path, *, first: int, stop: int, report: Report = _silent
) -> dict[str, Any]:
    """Predict and keep some tiles of a map, as the job in a folder says."""
    home = folder.resolve()
    kept = _opened(home, modified(home / "job.json"))
    check_tiles(first, stop, len(kept.predictor.tiles()))
    new = kept.predict(
        range(first, stop), lambda done, total: report(done / total, "predicting")
    )
    return {"predicted": new, "peak": peak_bytes()}


@lru_cache(maxsize=1)
def _opened(home: Path, _changed: int) -> KeptTiles:
    """Open model and scene once for all tiles that a process predicts."""
    job = Mosaic(home).job()
    target = Path(job["target"])
    with known_inputs(inputs_path(target)):
        scene = Source.from_json(job["source"]).open()
        mapping = Mapping.of(
            Path(job["model"]), scene, device=job["device"], overlap=job["overlap"]
        )
    seen = mapping.seen(levels=job["levels"])
    kept = _kept(mapping, seen, target, job["layers"], job["memory"])
    kept.store.begin()
    return kept


def _kept(
    mapping: Mapping, seen: Any, target: Path, layers: Sequence[str], memory: int | None
) -> KeptTiles:
    return KeptTiles.of(
        mapping.bundle.classifier,
        seen,
        target,
        layers,
        identity=mapping.identity or {},
        memory=memory_left(memory),
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
    source: Source | None = None,
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
        :func:`~hypercover.prediction.predict.predict_scene` says.
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
    check_places(out, confidence, probabilities, entropy)
    area = None if within is None else area_of(within, scene.grid, within_layer)
    # A map that is not finished must not lie under the name asked for.
    changed = bool(cleaning) or area is not None
    raw = out.with_name(f".{out.name}.raw") / out.name if changed else out
    with known_inputs(inputs_path(raw)):
        mapping = Mapping.of(model, scene, device=device, overlap=overlap)
        card = mapping.bundle.card
        legend = card_legend(card)
        for sentence in check_values(card, scene, mapping.scene):
            _log.warning(sentence)
        if executor is not None and source is not None:
            asked = {
                "confidence": confidence,
                "probabilities": probabilities,
                "entropy": entropy,
            }
            layers = ["labels", *(name for name, path in asked.items() if path is not None)]
            predict_ahead(
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
            memory=memory_left(memory),
            temperature=mapping.bundle.temperature,
            identity=mapping.identity,
            progress=subprogress(progress, 1, 2) if mapping.whole else progress,
        )
    if changed:
        _finish(raw, out, scene, legend, cleaning or Cleaning(), area)
    return write_item_beside(
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
    layers, memory, progress : as in :func:`~hypercover.prediction.predict.predict_scene`
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
    mapping = Mapping.of(Path(model), scene, device=device)
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
    for file in (raw, *sidecars_of(raw)):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        raw.parent.rmdir()


def card_legend(card: dict[str, Any]) -> Legend:
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


def carried_nodata(model: Path, scene: Scene) -> str | None:
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
        or (isinstance(part, float) and holdable(part, scene.cube.dtype))
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
