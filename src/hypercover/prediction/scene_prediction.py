"""Predicting a whole scene, tile by tile, in bounded memory.

A *dense* classifier (a network of spatially valid convolutions) takes a tile
with a margin and answers for every pixel inside it at once; a *pixel*
classifier takes spectra.  Either way the answer for a pixel does not depend on
how the scene was cut: the margin is read from the scene, and pixels are
repeated only at the edge of the scene itself, as :class:`~hypercover.samples
.windows.Windows` does in training.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError

from hypercover.errors import ModelError, SceneError, counted
from hypercover.memory import available_bytes
from hypercover.prediction.layers import (
    Layers,
    check_layers,
    empty_layers,
    has_confidence,
    has_scores,
    predict_piece,
)
from hypercover.prediction.map_view import ClassRanking
from hypercover.scene.io.gdal import gdal_env
from hypercover.scene.io.geotiff import BLOCK
from hypercover.scene.legend import MAX_CODE
from hypercover.scene.scene import Scene, blank_invalid, check_size, largest_of
from hypercover.scene.tile_store import TileStore
from hypercover.scene.tiling import Tile, tiles

__all__ = ["KeptTiles", "Prediction", "TilePredictor", "predict_pixels", "predict_scene"]

_log = logging.getLogger(__name__)

_MEMORY = 2**30
"""Bytes the work may take when nothing else is asked, if there is twice that."""

_SIDES = (BLOCK, 128, 64, 32, 16, 8)
"""Sides of the pieces that are read at once, in pixels."""

_SLOW = 64
"""Side of a tile that is kept where each pixel takes long."""

_READ_CACHE = 2**26
"""Bytes of an image's blocks, and of a map's that are not complete, that GDAL may keep."""


@dataclass(frozen=True, eq=False)
class TilePredictor:
    """Predicts any tile of one scene with one classifier, within a bound on the memory.

    Why it exists: a map in memory, a map in files and a map that goes on where
    it was stopped are all made of the same tiles.
    """

    classifier: Any
    scene: Scene
    layers: tuple[str, ...]
    codes: npt.NDArray[np.int64]
    margin: int
    memory: int
    """Bytes the work may take."""
    temperature: float | None = None
    """By which probabilities are scaled."""

    @classmethod
    def of(
        cls,
        classifier: Any,
        scene: Scene,
        layers: Sequence[str],
        memory: int | None,
        temperature: float | None = None,
    ) -> "TilePredictor":
        """Check what was asked for and say what people must know of it."""
        margin, codes = _margin(classifier, scene), _codes(classifier)
        check_layers(classifier, layers, temperature)
        _check_temperature(classifier, temperature)
        wanted = dict.fromkeys(("labels", *layers))
        if not has_confidence(classifier):
            wanted.pop("confidence", None)
        note = getattr(classifier, "dense_note", None)
        if note is not None:
            _log.warning(note)
        limit = min(_MEMORY, available_bytes() // 2) if memory is None else memory
        return cls(classifier, scene, tuple(wanted), codes, margin, limit, temperature)

    def blank(self, shape: tuple[int, int]) -> Layers:
        """Return all layers for so many rows and columns, without data."""
        return empty_layers(self.layers, self.codes, shape)

    def plan(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that the tiles depend on."""
        return {
            "identity": dict(identity),
            "shape": list(self.scene.shape),
            "layers": list(self.layers),
            "codes": self.codes.tolist(),
            "temperature": self.temperature,
            "side": self._side,
        }

    def reading(self) -> AbstractContextManager[Any]:
        """Return the context in which GDAL keeps no more of the image than is allowed."""
        return gdal_env(GDAL_CACHEMAX=min(_READ_CACHE, max(2**20, self.memory // 8)))

    @property
    def _side(self) -> int:
        """Side of a tile that is kept, whatever the memory."""
        return _SLOW if getattr(self.classifier, "dense_note", None) else BLOCK

    def tiles(self) -> list[Tile]:
        """Cut the scene into tiles, one block of the files after another.

        So each block is complete before it is compressed and written once.
        """
        blocks = tiles(self.scene.shape, BLOCK)
        return [tile for block in blocks for tile in block.cut(self._side)]

    def predicted(self, tile: Tile) -> Layers:
        """Predict a tile, in pieces that fit the memory."""
        answers = self.blank(tile.shape)
        side, left = self._piece()
        for piece in tile.cut(side):
            values, valid = _read_with_margin(self.scene, piece, self.margin)
            check_size(largest_of(values, valid), self.scene.name)
            values = blank_invalid(values, valid)
            inner = tuple(slice(self.margin, size - self.margin) for size in valid.shape)
            rows, cols = piece.within(tile)
            part = {layer: array[..., rows, cols] for layer, array in answers.items()}
            known = valid[inner]
            predict_piece(part, self.classifier, values, known, left, self.temperature)
        return answers

    def _piece(self) -> tuple[int, int]:
        """Return the side of a piece, and the bytes left to work on it."""
        dense = hasattr(self.classifier, "predict_dense")
        spectrum = self.scene.n_bands * 2 * self.scene.cube.dtype.itemsize + 2
        answer = 4 * 4 * len(self.codes) + 32
        free = self.memory * 7 // 8
        if not dense:
            # Spectra as float64 three times over, and a vote for each pair of classes.
            answer += 3 * 8 * self.scene.n_bands + 8 * len(self.codes) ** 2
        for side in _SIDES:
            taken = spectrum * (side + 2 * self.margin) ** 2 + answer * side**2
            if taken <= (free // 2 if dense else free):
                return side, free - taken
        raise ModelError(
            f"Predicting {side} × {side} pixels of {counted(self.scene.n_bands, 'band')} at "
            f"once takes {taken / 2**20:,.1f} MiB of memory beside the network's own, and "
            f"{self.memory / 2**20:,.1f} MiB are left; allow more memory."
        )


def _read_with_margin(
    scene: Scene, tile: Tile, margin: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read a tile and a margin around it, and its mask of valid pixels.

    Beyond the scene its edge is repeated.
    """
    inside, padding = tile.with_margin(margin, scene.shape)
    try:
        values, valid = scene.read_valid(inside.rows, inside.cols)
    except (OSError, RasterioError) as error:
        raise SceneError(
            f"The image {scene.name} cannot be read at rows {inside.rows.start} to "
            f"{inside.rows.stop}; its file may be cut short or gone."
        ) from error
    if not any(map(any, padding)):
        return values, valid
    padded = np.pad(values, [(0, 0), *padding], mode="edge")
    return padded, np.pad(valid, padding, mode="edge")


def _check_temperature(classifier: Any, temperature: float | None) -> None:
    """Refuse a temperature that is none, or one for what are no probabilities."""
    if temperature is None:
        return
    if not (0 < temperature < math.inf):
        raise ModelError(
            f"A temperature is a number above 0, got {temperature!r}; leave it out to take "
            "the model's probabilities as they are."
        )
    if not has_scores(classifier):
        raise ModelError(
            f"Probabilities are to be scaled by the temperature {temperature:g}, and the "
            "model gives none; leave the temperature out."
        )


def _codes(classifier: Any) -> npt.NDArray[np.int64]:
    """Return the classifier's class codes after checking that a map can hold them."""
    classes = np.asarray(classifier.classes_)
    whole = classes.dtype.kind in "iu" and classes.min() >= 1 and classes.max() <= MAX_CODE
    if not whole:
        raise ModelError(
            f"A map holds class codes from 1 to {MAX_CODE}, and the model's classes are "
            f"{', '.join(map(repr, classes[:5].tolist()))}…; train it on codes."
        )
    return classes.astype(np.int64)


def _margin(classifier: Any, scene: Scene) -> int:
    """Return how far the classifier looks around a pixel, after checking that it fits."""
    expected = getattr(classifier, "n_features_in_", scene.n_bands)
    if expected != scene.n_bands:
        raise ModelError(
            f"The model was trained on {counted(expected, 'band')} and the scene {scene.name} has "
            f"{scene.n_bands}; select the bands the model was trained on."
        )
    if not hasattr(classifier, "predict_dense"):
        return 0
    margin = int(classifier.margin_)
    side, (rows, cols) = 2 * margin + 1, scene.shape
    if side > min(rows, cols):
        raise ModelError(
            f"The model sees windows of {side} × {side} pixels and the image {scene.name} "
            f"has {rows} × {cols}; give an image of at least {side} rows and {side} columns."
        )
    return margin


Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class KeptTiles:
    """All tiles of one map, each a file that appears whole.

    Why it exists: several processes predict a scene larger than the memory of
    one, and whatever was done before one of them ended stays done.
    """

    predictor: TilePredictor
    """What predicts a tile."""
    store: TileStore
    """Where they are kept."""

    @classmethod
    def of(
        cls,
        classifier: Any,
        scene: Scene,
        target: Path,
        layers: Sequence[str],
        *,
        identity: Mapping[str, Any],
        memory: int | None = None,
        temperature: float | None = None,
    ) -> "KeptTiles":
        """Find the tiles of a map to be written; parameters as of `predict_to_files`.

        Tiles of anything else than what is asked for are removed.
        """
        predictor = TilePredictor.of(classifier, scene, layers, memory, temperature)
        return cls(predictor, TileStore(target, predictor.plan(identity)))

    def predict(
        self, numbers: Iterable[int] | None = None, progress: Progress | None = None
    ) -> int:
        """Predict and keep the tiles that are not kept yet; return how many those were.

        Parameters
        ----------
        numbers : which tiles; all of them unless given
        progress : called with the pixels done and all pixels of the missing tiles
        """
        tiles = self.predictor.tiles()
        asked = range(len(tiles)) if numbers is None else list(numbers)
        missing = [number for number in asked if self._held(number, tiles[number]) is None]
        kept = len(asked) - len(missing)
        if kept and numbers is None and missing:
            _log.warning(
                "Going on: %s of %s were there.", kept, counted(len(asked), "tile")
            )
        done, total = 0, sum(tiles[number].pixels for number in missing)
        with self.predictor.reading():
            for number in missing:
                self.store.save(number, self.predictor.predicted(tiles[number]))
                done += tiles[number].pixels
                if progress is not None:
                    progress(done, total)
        return len(missing)

    def answers(self, number: int, tile: Tile) -> Layers:
        """Return a tile that was kept, or predict it if somebody took it away."""
        held = self._held(number, tile)
        return self.predictor.predicted(tile) if held is None else held

    def _held(self, number: int, tile: Tile) -> Layers | None:
        return self.store.load(number, self.predictor.blank(tile.shape))


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
    ranking: ClassRanking | None = None,
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
    ranking : ClassRanking, optional
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
    ranked = ("scores",) if ranking is not None and has_scores(classifier) else ()
    predictor = TilePredictor.of(classifier, scene, (*layers, *ranked), memory, temperature)
    kept = [layer for layer in predictor.layers if layer not in ranked]
    whole = empty_layers(kept, predictor.codes, scene.shape)
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
) -> Layers:
    """Predict some pixels (rows, cols) of a scene as its map has them, tile by tile.

    Why it exists: the pixels of a test are few, and the probabilities of all
    classes at every pixel of a large scene are more than memory holds.

    Returns
    -------
    layers (…, pixel)
        The probabilities are the classifier's own.
    """
    predictor = TilePredictor.of(classifier, scene, layers, None)
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
