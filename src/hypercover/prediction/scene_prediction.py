"""Prediction of a whole scene, tile by tile, in bounded memory.

A *dense* classifier (a fully convolutional network) takes a tile with a margin
and predicts every pixel inside it at once; a *pixel* classifier takes spectra.
Either way the result for a pixel does not depend on how the scene is cut into
tiles: margins are read from the scene, and pixels are repeated only beyond the
edge of the scene, as :class:`~hypercover.windows.windows.Windows` does in training.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.errors import RasterioError

from hypercover.errors import ModelError, SceneError, counted
from hypercover.evaluation.calibration import apply_temperature
from hypercover.memory import available_bytes
from hypercover.scene.grid import with_coordinates, with_grid
from hypercover.scene.io.gdal import gdal_env
from hypercover.scene.io.writing import MAP_BLOCK, code_type
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.scene import Scene, blank_invalid, check_magnitude, largest_of
from hypercover.scene.tile_store import TileStore
from hypercover.scene.tiling import Tile, tiles
from hypercover.types import Array, Arrays, Codes, Ints, Mask, Progress, Singles

_log = logging.getLogger(__name__)

_MEMORY = 2**30
"""Default memory limit in bytes, if twice as much is available."""

_PIECE_SIDES = (MAP_BLOCK, 128, 64, 32, 16, 8)
"""Sides in pixels of the pieces predicted at once; the largest that fits is taken."""

_SLOW_SIDE = 64
"""Side of a saved tile in pixels if the classifier is slow, so that less is lost."""

GDAL_CACHE = 2**26
"""Bytes that GDAL may use to cache blocks of the image and of unfinished maps."""


_CALIBRATED = ("probabilities", "entropy")


def has_confidence(classifier: Any) -> bool:
    """Tell whether a classifier gives a confidence."""
    names = ("predict_dense", "confidence", "predict_proba")
    return any(hasattr(classifier, name) for name in names)


def has_scores(classifier: Any) -> bool:
    """Tell whether a classifier scores every class, by probabilities or otherwise."""
    return any(hasattr(classifier, name) for name in ("predict_dense", "predict_proba"))


def has_probabilities(classifier: Any) -> bool:
    """Tell whether a classifier's scores are probabilities.

    Those of an SVM without ``probability=True`` are not: they only rank pixels.
    """
    return hasattr(classifier, "predict_dense") or (
        hasattr(classifier, "predict_proba") and getattr(classifier, "probability", True)
    )


def _check_probabilities(
    classifier: Any, layers: Iterable[str], temperature: float | None
) -> None:
    """Check that the classifier gives the probabilities that layers or temperature need.

    Those of an SVM are not calibrated, unless they are scaled by a temperature: a score of
    0.9 does not mean right nine times in ten.
    """
    calibrated = [layer for layer in layers if layer in _CALIBRATED]
    scaled = temperature is not None and has_scores(classifier)
    if calibrated and not (scaled or has_probabilities(classifier)):
        raise ModelError(
            f"A map of {calibrated[0]} needs calibrated probabilities, which the model does not "
            "give; train it again in a run, which calibrates it, or with probability: true, "
            "or leave that map out."
        )
    if temperature is not None and not (0 < temperature < math.inf):
        raise ModelError(
            f"A temperature is a number above 0, got {temperature!r}; leave it out to take "
            "the model's probabilities as they are."
        )
    if temperature is not None and not scaled:
        raise ModelError(
            f"The temperature {temperature:g} scales probabilities, and the model gives no "
            "probabilities; leave the temperature out."
        )


def entropy(probabilities: Array) -> Singles:
    """Return the entropy of probabilities (class, …), divided by its maximum.

    The natural logarithm of the number of classes is the maximum: 0 means that one
    class is certain, 1 that all classes are equally probable.

    Examples
    --------
    >>> result = entropy(np.array([[1.0, 0.5, 0.75], [0.0, 0.5, 0.25]]))
    >>> [f"{share:.3f}" for share in abs(result)]
    ['0.000', '1.000', '0.811']
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    spread = (shares * logarithms).sum(axis=0) / -np.log(max(2, len(shares)))
    return np.asarray(np.clip(spread, 0, 1), dtype=np.float32)


def _predict_dense(classifier: Any, values: Array, valid: Mask, memory: int) -> Arrays:
    """Return the layers (…, pixel) of a classifier that sees windows."""
    shares = np.asarray(classifier.predict_dense(values, memory=memory))[:, valid]
    labels = np.asarray(classifier.classes_)[shares.argmax(axis=0)]
    return {"labels": labels, "confidence": shares.max(axis=0), "probabilities": shares}


def predict_spectra(classifier: Any, spectra: Array, names: set[str]) -> Arrays:
    """Return the layers (…, pixel) of a classifier of spectra (pixel, band).

    The label is the classifier's own prediction and the confidence that of the
    label: the largest probability of some classifiers is of another class.
    """
    spectra = np.ascontiguousarray(spectra)
    result = {"labels": np.asarray(classifier.predict(spectra))}
    own = hasattr(classifier, "confidence")
    if "confidence" in names and own:
        result["confidence"] = np.asarray(classifier.confidence(spectra))
    if not names.isdisjoint(_CALIBRATED) or ("confidence" in names and not own):
        result["probabilities"] = shares = np.asarray(classifier.predict_proba(spectra)).T
        if not own:
            result["confidence"] = _of_labels(shares, result["labels"], classifier.classes_)
    return result


def scale_probabilities(layers: Arrays, classes: Array, temperature: float) -> Arrays:
    """Return the layers (…, pixel) with probabilities and confidence scaled by a temperature.

    The labels stay, even where rounding makes two classes equally probable.
    """
    shares = apply_temperature(layers["probabilities"], temperature, axis=0)
    confidence = _of_labels(shares, layers["labels"], classes)
    return layers | {"probabilities": shares, "confidence": confidence}


def _of_labels(shares: Array, labels: Array, classes: Array) -> Array:
    """Return the probability (pixel,) of each pixel's label."""
    # Classes need not be sorted: LIBSVM keeps them in the order of its file.
    order = np.argsort(classes)
    rows = order[np.searchsorted(classes, labels, sorter=order)]
    return np.asarray(shares[rows, np.arange(len(rows))])


@dataclass(frozen=True, eq=False)
class TilePredictor:
    """Predicts any tile of one scene with one classifier, within a memory limit."""

    classifier: Any
    scene: Scene
    layers: tuple[str, ...]
    """Names of the layers to predict, the labels first."""
    codes: Ints
    """Class code of each class of the classifier."""
    margin: int
    memory: int
    """Bytes the prediction may use."""
    temperature: float | None = None
    """Scales the probabilities."""

    @classmethod
    def of(
        cls,
        classifier: Any,
        scene: Scene,
        layers: Sequence[str],
        memory: int | None,
        temperature: float | None = None,
    ) -> "TilePredictor":
        """Check classifier, scene and layers; parameters as of :func:`predict_scene`."""
        margin, codes = _margin(classifier, scene), _class_codes(classifier)
        _check_probabilities(classifier, layers, temperature)
        names = dict.fromkeys(("labels", *layers))
        if not has_confidence(classifier):
            names.pop("confidence", None)
        if (note := getattr(classifier, "dense_note", None)) is not None:
            _log.warning(note)
        limit = min(_MEMORY, available_bytes() // 2) if memory is None else memory
        return cls(classifier, scene, tuple(names), codes, margin, limit, temperature)

    def tile_store(self, target: Path, identity: Mapping[str, Any]) -> TileStore:
        """Open the store of finished tiles next to a map to be written.

        Several processes can share it, and stopped work resumes from it.

        Parameters
        ----------
        target : path of the map
        identity : identifies model and image, as JSON; tiles of others are removed
        """
        plan = {
            "identity": dict(identity),
            "shape": list(self.scene.shape),
            "layers": list(self.layers),
            "codes": self.codes.tolist(),
            "temperature": self.temperature,
            "side": self._side,
        }
        return TileStore(target, plan)

    def gdal_cache(self) -> AbstractContextManager[Any]:
        """Limit GDAL's cache to a share of the memory."""
        return gdal_env(GDAL_CACHEMAX=min(GDAL_CACHE, max(2**20, self.memory // 8)))

    @property
    def _side(self) -> int:
        # Independent of the memory: another process must cut the same tiles.
        return _SLOW_SIDE if getattr(self.classifier, "dense_note", None) else MAP_BLOCK

    def tiles(self) -> list[Tile]:
        """Cut the scene into tiles, block by block of the files.

        A block is then complete before it is compressed and written once.
        """
        blocks = tiles(self.scene.shape, MAP_BLOCK)
        return [tile for block in blocks for tile in block.cut(self._side)]

    def empty_layers(self, shape: tuple[int, int]) -> Arrays:
        """Return all layers of (rows, columns), without data."""
        layers: Arrays = {name: np.full(shape, np.nan, np.float32) for name in self.layers}
        layers["labels"] = np.zeros(shape, code_type(self.codes))
        if "probabilities" in layers:
            layers["probabilities"] = np.full((len(self.codes), *shape), np.nan, np.float32)
        return layers

    def predict_tile(self, tile: Tile) -> Arrays:
        """Predict a tile, in pieces that fit the memory."""
        layers = self.empty_layers(tile.shape)
        side, memory = self._piece_size()
        for piece in tile.cut(side):
            values, valid = _read_with_margin(self.scene, piece, self.margin)
            check_magnitude(largest_of(values, valid), self.scene.name)
            values = blank_invalid(values, valid)
            valid = valid[*(slice(self.margin, size - self.margin) for size in valid.shape)]
            if valid.any():
                predicted = self._predict_piece(values, valid, memory)
                rows, cols = piece.within(tile)
                for name, layer in layers.items():
                    layer[..., rows, cols][..., valid] = predicted[name]
        return layers

    def _predict_piece(self, values: Array, valid: Mask, memory: int) -> Arrays:
        """Predict the valid pixels (row, col) of values (band, row + 2 · margin, col + …)."""
        names = set(self.layers)
        if self.temperature is not None and names != {"labels"}:
            names.add("probabilities")
        if hasattr(self.classifier, "predict_dense"):
            layers = _predict_dense(self.classifier, values, valid, memory)
        else:
            layers = predict_spectra(self.classifier, values[:, valid].T, names)
        if self.temperature is not None and "probabilities" in layers:
            layers = scale_probabilities(layers, self.classifier.classes_, self.temperature)
        if "entropy" in names:
            layers["entropy"] = entropy(layers["probabilities"])
        return layers

    def iter_tiles(
        self, progress: Progress | None = None, store: TileStore | None = None
    ) -> Iterator[tuple[Tile, Arrays]]:
        """Yield each tile with its layers, from the store if it has them."""
        done, total = 0, self.scene.shape[0] * self.scene.shape[1]
        for number, tile in enumerate(self.tiles()):
            saved = None if store is None else self._load(store, number, tile)
            yield tile, self.predict_tile(tile) if saved is None else saved
            done += tile.pixels
            if progress is not None:
                progress(done, total)

    def predict_missing(
        self,
        store: TileStore,
        numbers: Iterable[int] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Predict and save the tiles that the store lacks, and return their number.

        Parameters
        ----------
        numbers : which tiles; all unless given
        progress : called with the pixels done and all pixels of the missing tiles
        """
        every = self.tiles()
        chosen = range(len(every)) if numbers is None else list(numbers)
        missing = [at for at in chosen if self._load(store, at, every[at]) is None]
        saved, count = len(chosen) - len(missing), counted(len(chosen), "tile")
        if saved and numbers is None and missing:
            _log.warning("Resuming: %s of %s already done.", saved, count)
        done, total = 0, sum(every[number].pixels for number in missing)
        with self.gdal_cache():
            for number in missing:
                store.save(number, self.predict_tile(every[number]))
                done += every[number].pixels
                if progress is not None:
                    progress(done, total)
        return len(missing)

    def _load(self, store: TileStore, number: int, tile: Tile) -> Arrays | None:
        return store.load(number, self.empty_layers(tile.shape))

    def _piece_size(self) -> tuple[int, int]:
        """Return the side of a piece, and the bytes left to work on it."""
        dense = hasattr(self.classifier, "predict_dense")
        per_value = self.scene.n_bands * 2 * self.scene.cube.dtype.itemsize + 2
        per_result = 4 * 4 * len(self.codes) + 32
        free = self.memory * 7 // 8
        if not dense:
            # Spectra as float64 three times over, and a vote for each pair of classes.
            per_result += 3 * 8 * self.scene.n_bands + 8 * len(self.codes) ** 2
        for side in _PIECE_SIDES:
            taken = per_value * (side + 2 * self.margin) ** 2 + per_result * side**2
            if taken <= (free // 2 if dense else free):
                return side, free - taken
        raise ModelError(
            f"Predicting {side} × {side} pixels of {counted(self.scene.n_bands, 'band')} at "
            f"once takes {taken / 2**20:,.1f} MiB of memory besides the network's own, and "
            f"{self.memory / 2**20:,.1f} MiB are left; allow more memory."
        )


def _read_with_margin(scene: Scene, tile: Tile, margin: int) -> tuple[Array, Mask]:
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


def _class_codes(classifier: Any) -> Ints:
    """Return the classifier's class codes after checking that a map can hold them."""
    classes = np.asarray(classifier.classes_)
    if classes.dtype.kind in "iu" and classes.min() >= 1 and classes.max() <= MAX_CODE:
        return classes.astype(np.int64)
    raise ModelError(
        f"A map holds class codes from 1 to {MAX_CODE}, and the model's classes are "
        f"{', '.join(map(repr, classes[:5].tolist()))}…; train it on codes."
    )


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


def predict_scene(
    classifier: Any,
    scene: Scene,
    *,
    layers: Sequence[str] = ("labels", "confidence"),
    memory: int | None = None,
    temperature: float | None = None,
    legend: Legend | None = None,
    on_probabilities: Callable[[Tile, Array], None] | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Predict the class of every pixel of a scene.

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
    memory : int, optional
        Bytes the work may take besides the result; by default 1 GiB, or half of
        what is available if that is less.
    temperature : float, optional
        Scales confidence, probabilities and entropy (see
        :func:`~hypercover.evaluation.calibration.fit_temperature`); that of a
        bundle is ``bundle.temperature``.  Labels do not depend on it.
    legend : Legend, optional
        Names and colours of the classes; by default the legend of the scene.
    on_probabilities : callable, optional
        Called with each tile and its probabilities (class, row, col), calibrated or not,
        if the classifier gives any: those of a large scene would not fit in memory.
    progress : callable, optional
        Called with the pixels done and the pixels in all.

    Returns
    -------
    xarray.Dataset
        A variable per layer: ``labels`` (y, x), 0 = no data; ``confidence`` (y, x),
        missing if the classifier gives none; ``probabilities`` (class_code, y, x);
        ``entropy`` (y, x).  The CRS is kept as rioxarray does, in the coordinate
        ``spatial_ref``; class names and colours are attributes of ``labels``.
        :func:`~hypercover.write_class_map` writes the labels as a map.

    Raises
    ------
    ModelError
        If the classifier's bands or class codes do not fit a map of this scene,
        a layer or a temperature needs probabilities that the classifier does not
        give, or the memory is too small.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from hypercover.scene.simulation.simulate import SimulationSettings
    >>> from hypercover.scene.simulation.simulate import simulated_scene
    >>> scene = simulated_scene(SimulationSettings(rows=32, cols=32, bands=8, classes=3))
    >>> labelled = scene.usable_labels > 0
    >>> spectra = scene.cube.values[:, labelled].T
    >>> classifier = GaussianNB().fit(spectra, scene.usable_labels[labelled])
    >>> result = predict_scene(classifier, scene)
    >>> list(result), result.labels.shape, result.labels.attrs["nodata"]
    (['labels', 'confidence'], (32, 32), 0)
    >>> result.labels.plot()  # doctest: +SKIP
    """
    predictor = TilePredictor.of(classifier, scene, layers, memory, temperature)
    whole = predictor.empty_layers(scene.shape)
    if on_probabilities is not None and has_scores(classifier):
        extended = dict.fromkeys((*predictor.layers, "probabilities"))
        predictor = replace(predictor, layers=tuple(extended))
    with predictor.gdal_cache():
        for tile, tile_layers in predictor.iter_tiles(progress):
            if on_probabilities is not None and "probabilities" in tile_layers:
                on_probabilities(tile, tile_layers["probabilities"])
            for layer, array in whole.items():
                array[..., tile.rows, tile.cols] = tile_layers[layer]
    codes, dims = predictor.codes, ("y", "x")
    legend = (legend or scene.legend).covering(codes)
    labels = xr.DataArray(whole.pop("labels"), dims=dims)
    labels = with_coordinates(with_grid(labels, scene.grid))
    labels.attrs |= {
        "nodata": 0,
        "flag_values": list(legend.codes),
        "flag_meanings": " ".join("_".join(name.split()) for name in legend.names),
        "class_names": list(legend.names),
        "class_colors": [row.color for row in legend],
    }
    result = xr.Dataset({"labels": labels}, attrs={"title": scene.name})
    # As numbers: netCDF has no truth values.
    result.attrs |= {name: 1 for name, applies in scene.origin.items() if applies}
    if "probabilities" in whole:
        names = [legend[code].name for code in codes.tolist()]
        result = result.assign_coords(class_code=codes, class_name=("class_code", names))
    for layer, values in whole.items():
        own = ("class_code", *dims) if layer == "probabilities" else dims
        result[layer] = (own, values, {"grid_mapping": "spatial_ref"})
    return result


def predict_pixels(
    classifier: Any, scene: Scene, at: tuple[Codes, Codes], layers: Sequence[str]
) -> Arrays:
    """Predict some pixels (rows, cols) exactly as a map of the scene would have them.

    Only the tiles with such pixels are predicted, and no layer of the whole scene
    is held in memory.

    Returns
    -------
    layers (…, pixel)
        The probabilities are the classifier's own, not scaled.
    """
    predictor = TilePredictor.of(classifier, scene, layers, None)
    rows, cols = at
    values = {
        name: np.ascontiguousarray(array[..., 0])
        for name, array in predictor.empty_layers((len(rows), 1)).items()
    }
    with predictor.gdal_cache():
        for tile in predictor.tiles():
            inside = tile.holds(rows, cols)
            if not inside.any():
                continue
            place = rows[inside] - tile.rows.start, cols[inside] - tile.cols.start
            for name, array in predictor.predict_tile(tile).items():
                values[name][..., inside] = array[(..., *place)]
    return values
