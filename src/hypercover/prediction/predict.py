"""Predicting a whole scene, tile by tile, in bounded memory.

A *dense* classifier (a network of spatially valid convolutions) takes a tile
with a margin and answers for every pixel inside it at once; a *pixel*
classifier takes spectra.  Either way the answer for a pixel does not depend on
how the scene was cut: the margin is read from the scene, and pixels are
repeated only at the edge of the scene itself, as :class:`~hypercover.samples
.windows.Windows` does in training.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from hypercover.files import check_writable, sweep_drafts
from hypercover.gis.class_map_files import class_map_writer, completed, share_writer
from hypercover.gis.style import sidecars_of
from hypercover.prediction.layers import Answers, blank, gives_scores
from hypercover.prediction.map_view import Ranking
from hypercover.prediction.predictor import KeptTiles, Predictor
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore
from hypercover.scene.tiling import Tile

__all__ = [
    "Prediction",
    "check_places",
    "predict_pixels",
    "predict_scene",
    "predict_to_files",
]

Progress = Callable[[int, int], None]
"""Called with the pixels done and the pixels in all."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The class of every pixel of a scene, and how sure the classifier was."""

    labels: npt.NDArray[np.unsignedinteger]
    """Class codes (y, x); 0 = no data."""
    confidence: npt.NDArray[np.float32] | None
    """Share of certainty (y, x) from 0 to 1, NaN = no data; None where the
    classifier gives none."""
    probabilities: npt.NDArray[np.float32] | None = None
    """Probability (class, y, x) of each class of the model, if asked for."""
    entropy: npt.NDArray[np.float32] | None = None
    """Entropy of the probabilities (y, x), 0 = certain to 1, if asked for."""


def predict_scene(
    classifier: Any,
    scene: Scene,
    *,
    layers: Sequence[str] = ("labels", "confidence"),
    ranking: Ranking | None = None,
    memory: int | None = None,
    temperature: float | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Predict the class of every pixel of a scene and keep the map in memory.

    Parameters
    ----------
    classifier : fitted classifier
        Dense: ``predict_dense(tile, memory=...)`` takes (band, row + 2·margin,
        col + 2·margin) and returns probabilities (class, row, col), with
        ``margin_`` and ``classes_``.  Otherwise ``predict(X)`` takes spectra
        (n, band); the confidence comes from ``confidence(X)`` or
        ``predict_proba(X)``.
    scene : Scene
        Must have the bands the classifier was trained on.
    layers : sequence of {"labels", "confidence", "probabilities", "entropy"}
        What to predict; the labels always are.
    ranking : Ranking, optional
        Takes the highest classes of the pixels it has room for, where the
        classifier gives each class a score.
    memory : int, optional
        Bytes the work may take besides the map; 1 GiB, or half of what is
        available if that is less.
    temperature : float, optional
        By which confidence, probabilities and entropy are scaled (see
        :func:`~hypercover.evaluation.calibration.fit_temperature`); that of a
        bundle is ``bundle.temperature``.  Labels do not change by it.
    progress : callable, optional
        Called with the pixels done and the pixels in all.

    Raises
    ------
    ModelError
        If the classifier's bands or class codes do not fit a map of this scene,
        a layer or a temperature needs probabilities it does not give, or the
        memory is too little.
    """
    ranked = ("scores",) if ranking is not None and gives_scores(classifier) else ()
    predictor = Predictor.of(classifier, scene, (*layers, *ranked), memory, temperature)
    kept = [layer for layer in predictor.layers if layer not in ranked]
    whole = blank(kept, predictor.codes, scene.shape)
    done = 0
    with predictor.reading():
        for tile in predictor.tiles():
            answers = predictor.predicted(tile)
            if ranking is not None and ranked:
                ranking.take(tile, answers.pop("scores"), predictor.codes)
            for layer, array in answers.items():
                whole[layer][..., tile.rows, tile.cols] = array
            done += tile.pixels
            if progress is not None:
                progress(done, scene.shape[0] * scene.shape[1])
    return Prediction(
        whole["labels"],
        whole.get("confidence"),
        whole.get("probabilities"),
        whole.get("entropy"),
    )


def predict_pixels(
    classifier: Any,
    scene: Scene,
    at: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]],
    layers: Sequence[str],
) -> Answers:
    """Predict some pixels (rows, cols) of a scene as its map has them, tile by tile.

    Why it exists: the pixels of a test are few, and the probabilities of all
    classes at every pixel of a large scene are more than memory holds.

    Returns
    -------
    layers (…, pixel)
        The probabilities are the classifier's own.
    """
    predictor = Predictor.of(classifier, scene, layers, None)
    rows, cols = at
    found = {
        name: np.ascontiguousarray(array[..., 0])
        for name, array in predictor.blank((len(rows), 1)).items()
    }
    with predictor.reading():
        for tile in predictor.tiles():
            inside = tile.holds(rows, cols)
            if not inside.any():
                continue
            place = rows[inside] - tile.rows.start, cols[inside] - tile.cols.start
            for name, array in predictor.predicted(tile).items():
                found[name][..., inside] = array[(..., *place)]
    return found


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
    check_places(*named.values())
    predictor = Predictor.of(classifier, scene, tuple(named), memory, temperature)
    paths = {layer: path for layer, path in named.items() if layer in predictor.layers}
    known = completed(legend or scene.legend, predictor.codes)
    with predictor.reading():
        if identity is None:
            _write(predictor, paths, known, _told(predictor, progress))
            return tuple(paths.values())
        kept = KeptTiles(predictor, TileStore(paths["labels"], predictor.plan(identity)))
        kept.predict(progress=progress)
        _write(predictor, paths, known, kept.answers)
        kept.store.remove()
    for path in paths.values():
        sweep_drafts(path)
    return tuple(paths.values())


def check_places(*paths: Path | None) -> None:
    """Refuse maps that could not be written where they are to be, or not their styles.

    Raises
    ------
    OutputError
        If a folder is in the way, a part of the path is a file, or a folder may
        not be written to.
    """
    for path in paths:
        if path is not None:
            for file in (path, *sidecars_of(path)):
                check_writable(file)


def _told(
    predictor: Predictor, progress: Progress | None
) -> Callable[[int, Tile], Answers]:
    """Return what predicts a tile and tells how far the scene is."""
    done, total = 0, predictor.scene.shape[0] * predictor.scene.shape[1]

    def predicted(_: int, tile: Tile) -> Answers:
        nonlocal done
        answers = predictor.predicted(tile)
        done += tile.pixels
        if progress is not None:
            progress(done, total)
        return answers

    return predicted


def _write(
    predictor: Predictor,
    paths: Mapping[str, Path],
    legend: Legend,
    answers_of: Callable[[int, Tile], Answers],
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


def _writer(predictor: Predictor, layer: str, path: Path, legend: Legend) -> Any:
    """Open the file of a layer."""
    grid, origin = predictor.scene.grid, predictor.scene.origin
    if layer == "labels":
        return class_map_writer(path, legend, grid, **origin)
    names = [layer]
    if layer == "probabilities":
        names = [legend[code].name for code in predictor.codes.tolist()]
    return share_writer(path, names, grid, **origin)
