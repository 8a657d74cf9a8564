"""Predicting a whole scene, tile by tile, in bounded memory.

A *dense* classifier (a network of spatially valid convolutions) takes a tile
with a margin and answers for every pixel inside it at once; a *pixel*
classifier takes spectra.  Either way the answer for a pixel does not depend on
how the scene was cut: the margin is read from the scene, and pixels are
repeated only at the edge of the scene itself, as :class:`~hypercover.samples
.windows.Windows` does in training.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.windows import Window

from hypercover.errors import ModelError, SceneError, counted
from hypercover.maps.export import (
    BLOCK,
    class_map_writer,
    code_type,
    completed,
    confidence_writer,
)
from hypercover.samples.windows import check_window
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.scene import Scene, blank_invalid, valid_pixels

__all__ = ["Prediction", "predict_scene", "predict_to_files"]

Progress = Callable[[int, int], None]
"""Called with the pixels done and the pixels in all."""
MEMORY = 2**28
"""Bytes a tile's working set may take when nothing else is asked."""
_LAYERS = 4 * 1024
"""Bytes per pixel set aside for what a network keeps between its layers."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The class of every pixel of a scene, and how sure the classifier was."""

    labels: npt.NDArray[np.unsignedinteger]
    """Class codes (y, x); 0 = no data."""
    confidence: npt.NDArray[np.float32] | None
    """Share of certainty (y, x) from 0 to 1, NaN = no data; None where the
    classifier gives none."""


@dataclass(frozen=True, eq=False)
class _Tile:
    """One rectangle of the scene and what was predicted for it."""

    rows: slice
    cols: slice
    labels: npt.NDArray[np.unsignedinteger]
    confidence: npt.NDArray[np.float32] | None

    @property
    def window(self) -> Window:
        return Window.from_slices(self.rows, self.cols)


def predict_scene(
    classifier: Any,
    scene: Scene,
    *,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Prediction:
    """Predict the class of every pixel of a scene and keep the map in memory.

    Parameters
    ----------
    classifier : fitted classifier
        Dense: ``predict_dense(tile)`` takes (band, row + 2·margin, col + 2·margin)
        and returns probabilities (class, row, col), with ``margin_`` and
        ``classes_``.  Otherwise ``predict(X)`` takes spectra (n, band); the
        confidence comes from ``confidence(X)`` or ``predict_proba(X)``.
    scene : Scene
        Must have the bands the classifier was trained on.
    memory : int
        Bytes a tile's working set may take.
    progress : callable, optional
        Called with the pixels done and the pixels in all.

    Raises
    ------
    ModelError
        If the classifier's bands or class codes do not fit a map of this scene.
    """
    labels = np.zeros(scene.shape, code_type(_codes(classifier)))
    confidence = (
        np.full(scene.shape, np.nan, np.float32) if _gives_confidence(classifier) else None
    )
    for tile in _predicted_tiles(classifier, scene, memory, progress):
        labels[tile.rows, tile.cols] = tile.labels
        if confidence is not None:
            confidence[tile.rows, tile.cols] = tile.confidence
    return Prediction(labels, confidence)


def predict_to_files(
    classifier: Any,
    scene: Scene,
    map_path: str | Path,
    *,
    confidence_path: str | Path | None = None,
    legend: Legend | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Predict a scene of any size straight into GeoTIFF files.

    Why it exists: a map of a scene larger than memory; parameters and rules
    are those of :func:`predict_scene`.  Nothing appears under the names asked
    for until the whole map is written.

    Returns
    -------
    paths of the images written
        The confidence is left out where the classifier gives none.

    Raises
    ------
    ModelError
        As :func:`predict_scene`.
    OutputError
        If a file cannot be written.
    """
    known = completed(legend or scene.legend, _codes(classifier))
    paths = [Path(map_path)]
    with ExitStack() as files:
        class_map = files.enter_context(
            class_map_writer(map_path, known, scene.grid, simulated=scene.simulated)
        )
        confidence = None
        if confidence_path is not None and _gives_confidence(classifier):
            paths.append(Path(confidence_path))
            confidence = files.enter_context(
                confidence_writer(confidence_path, scene.grid, simulated=scene.simulated)
            )
        for tile in _predicted_tiles(classifier, scene, memory, progress):
            codes = tile.labels.astype(class_map.dtypes[0])
            class_map.write(codes, 1, window=tile.window)
            if confidence is not None:
                confidence.write(tile.confidence, 1, window=tile.window)
    return tuple(paths)


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


def _gives_confidence(classifier: Any) -> bool:
    names = ("predict_dense", "confidence", "predict_proba")
    return any(hasattr(classifier, name) for name in names)


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
    check_window(2 * margin + 1, scene.shape)
    return margin


def _predicted_tiles(
    classifier: Any, scene: Scene, memory: int, progress: Progress | None
) -> Iterator[_Tile]:
    """Go through the scene and predict one tile after another."""
    margin = _margin(classifier, scene)
    codes = _codes(classifier)
    layers = _LAYERS if hasattr(classifier, "predict_dense") else 0
    side = _tile_side(scene, memory, margin, layers + 4 * 4 * len(codes))
    total, done = scene.shape[0] * scene.shape[1], 0
    for rows, cols in _tiles(scene.shape, side):
        values = _read_with_margin(scene, rows, cols, margin)
        valid = valid_pixels(values, scene.nodata)
        values = blank_invalid(values, valid)
        core = valid[margin : valid.shape[0] - margin, margin : valid.shape[1] - margin]
        yield _Tile(rows, cols, *_predict_tile(classifier, codes, values, core))
        done += core.size
        if progress is not None:
            progress(done, total)


def _tile_side(scene: Scene, memory: int, margin: int, answer: int) -> int:
    """Return the side of the largest tile (a power of 2) whose work fits the memory.

    A pixel takes its spectrum, three copies of it as float32, and ``answer`` bytes.
    """
    spectrum = scene.n_bands * (scene.cube.dtype.itemsize + 3 * 4)
    pixels = memory / (spectrum + answer)
    side = 4 * BLOCK
    while side > 16 and (side + 2 * margin) ** 2 > pixels:
        side //= 2
    return side


def _tiles(shape: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """Cut an image into tiles, one block of the file after another.

    Tiles smaller than a block stay together, so that each block is complete
    in the cache before it is compressed and written once.
    """
    block = max(side, BLOCK)
    for top, left in _corners(0, 0, shape, block):
        limit = (min(top + block, shape[0]), min(left + block, shape[1]))
        for row, col in _corners(top, left, limit, side):
            yield (
                slice(row, min(row + side, limit[0])),
                slice(col, min(col + side, limit[1])),
            )


def _corners(
    top: int, left: int, limit: tuple[int, int], step: int
) -> Iterator[tuple[int, int]]:
    for row in range(top, limit[0], step):
        for col in range(left, limit[1], step):
            yield row, col


def _read_with_margin(
    scene: Scene, rows: slice, cols: slice, margin: int
) -> npt.NDArray[Any]:
    """Read a tile and what lies around it; beyond the scene its edge is repeated."""
    inside, missing = [], []
    for part, size in zip((rows, cols), scene.shape, strict=True):
        first, last = part.start - margin, part.stop + margin
        inside.append(slice(max(first, 0), min(last, size)))
        missing.append((max(-first, 0), max(last - size, 0)))
    try:
        values = scene.read(*inside)
    except (OSError, RasterioError) as error:
        raise SceneError(
            f"The image {scene.name} cannot be read at rows {inside[0].start} to "
            f"{inside[0].stop}; its file may be cut short or gone."
        ) from error
    return np.pad(values, [(0, 0), *missing], mode="edge") if margin else values


def _predict_tile(
    classifier: Any,
    codes: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.float32] | None]:
    """Predict one tile; pixels without data get the code 0 and no confidence."""
    labels = np.zeros(valid.shape, code_type(codes))
    sure = np.full(valid.shape, np.nan, np.float32)
    if not valid.any():
        return labels, sure
    if hasattr(classifier, "predict_dense"):
        probabilities = np.asarray(classifier.predict_dense(values))
        labels[valid] = codes[probabilities.argmax(axis=0)][valid]
        sure[valid] = probabilities.max(axis=0)[valid]
        return labels, sure
    spectra = np.ascontiguousarray(values[:, valid].T)
    answers = np.asarray(classifier.predict(spectra))
    labels[valid] = answers
    if _gives_confidence(classifier):
        sure[valid] = _confidence(classifier, spectra, answers)
    return labels, sure


def _confidence(
    classifier: Any, spectra: npt.NDArray[Any], answers: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return how sure a pixel classifier is of its own answers.

    Not the largest probability: some classifiers' probabilities favour
    another class than the one they answer.
    """
    if hasattr(classifier, "confidence"):
        return np.asarray(classifier.confidence(spectra))
    probabilities = np.asarray(classifier.predict_proba(spectra))
    position = {code: index for index, code in enumerate(classifier.classes_.tolist())}
    columns = [position[code] for code in answers.tolist()]
    taken = np.take_along_axis(probabilities, np.array(columns)[:, None], axis=1)
    return np.asarray(taken[:, 0])
