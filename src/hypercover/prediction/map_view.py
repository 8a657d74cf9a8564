"""A model's map as the report shows it: class, confidence and the next classes by score."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.prediction.layers import has_scores
from hypercover.scene.io.numpy_files import load_arrays, save_arrays
from hypercover.scene.tiling import Tile
from hypercover.types import Array, Arrays, Bytes, Codes

_log = logging.getLogger(__name__)

_MOST_PIXELS = 250_000
"""Pixels of a scene that the report shows; larger scenes are thinned out."""

_MOST_BYTES = 2**28
"""Largest total size of the arrays of a file, in bytes; real views are far smaller."""


def view_step(shape: tuple[int, int], most: int = _MOST_PIXELS, multiple: int = 1) -> int:
    """Return the step at which a scene of (rows, columns) is thinned out for the report.

    It is the smallest multiple of ``multiple`` that leaves at most ``most`` pixels.

    Examples
    --------
    >>> view_step((145, 145)), view_step((1417, 617)), view_step((145, 145), 5000, 2)
    (1, 2, 4)
    """
    step = multiple
    while -(-shape[0] // step) * -(-shape[1] // step) > max(1, most):
        step += multiple
    return step


def read_view_arrays(path: str | Path) -> Arrays | None:
    """Read the arrays of a saved view; None if the file is missing or damaged."""
    try:
        return load_arrays(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s is left out of the report: %s", path, error)
        return None


_RANKS, _RANKS_IF_THINNED = 5, 3
"""Classes kept per pixel, the highest scores first."""

_FULL = 255


@dataclass(frozen=True, eq=False)
class ClassRanking:
    """The highest classes of the pixels that the report shows, collected tile by tile.

    The scores of all classes at all pixels of a large scene would not fit in memory.
    """

    codes: npt.NDArray[np.uint16]
    """Class codes (rank, y, x) of the shown pixels, the highest score first; 0 = no data."""
    shares: Bytes
    """Their scores (rank, y, x), 255 = 1."""
    step: int
    """Step between shown pixels."""

    @classmethod
    def of(cls, shape: tuple[int, int], classifier: Any) -> "ClassRanking":
        """Return an empty ranking for a scene of (rows, columns)."""
        step = view_step(shape)
        n_classes = len(classifier.classes_) if has_scores(classifier) else 0
        most = _RANKS if step == 1 else _RANKS_IF_THINNED
        size = (min(most, n_classes), *(-(-side // step) for side in shape))
        return cls(np.zeros(size, np.uint16), np.zeros(size, np.uint8), step)

    def add(
        self,
        tile: Tile,
        scores: npt.NDArray[np.floating],
        classes: Codes,
    ) -> None:
        """Add the scores (class, row, col) of a tile; NaN = no data."""
        row, col = (_first_shown(part, self.step) for part in (tile.rows, tile.cols))
        thin = np.asarray(scores[:, row :: self.step, col :: self.step])
        known = np.isfinite(thin).all(axis=0)
        thin = np.where(known, thin, 0.0)
        ranked = np.argsort(-thin, axis=0, kind="stable")[: len(self.codes)]
        highest = np.take_along_axis(thin, ranked, axis=0)
        top, left = (
            slice(-(-part.start // self.step), -(-part.stop // self.step))
            for part in (tile.rows, tile.cols)
        )
        self.codes[:, top, left] = np.where(known, np.asarray(classes)[ranked], 0)
        self.shares[:, top, left] = np.round(_FULL * np.clip(highest, 0, 1))


def _first_shown(part: slice, step: int) -> int:
    """Return the first shown row or column of a tile, relative to its corner."""
    return int(-part.start % step)


@dataclass(frozen=True, eq=False)
class ModelView:
    """The map of one model at the pixels that the report shows."""

    labels: npt.NDArray[np.uint16]
    """Class codes (y, x); 0 = no data."""
    confidence: Bytes | None
    """Confidence (y, x), 255 = 1; None if the model gives none."""
    codes: npt.NDArray[np.uint16]
    """Class codes (rank, y, x), the highest score first."""
    shares: Bytes
    """Their scores (rank, y, x), 255 = 1."""
    calibrated: bool
    """Whether the scores are probabilities; votes only rank pixels."""
    held: npt.NDArray[np.uint16] | None = None
    """Predictions (y, x) to compare with the labels, by a model that has not seen the test
    pixels; None if the map itself is such."""
    check: Bytes | None = None
    """Class check (y, x) of these predictions; None if that of the map applies."""

    @classmethod
    def of(
        cls,
        labels: Codes,
        confidence: npt.NDArray[np.floating] | None,
        ranking: ClassRanking,
        *,
        calibrated: bool,
        held: Codes | None = None,
        check: Bytes | None = None,
    ) -> "ModelView":
        """Thin out a map (y, x) like its ranking."""
        thin = (slice(None, None, ranking.step),) * 2
        certainty = None
        if confidence is not None:
            shares = np.nan_to_num(np.clip(confidence[thin], 0, 1), nan=0.0)
            certainty = np.round(_FULL * shares).astype(np.uint8)
        return cls(
            labels[thin].astype(np.uint16),
            certainty,
            ranking.codes,
            ranking.shares,
            calibrated,
            None if held is None else held[thin].astype(np.uint16),
            None if check is None else check[thin],
        )

    def save(self, path: str | Path) -> None:
        """Save the view as an archive of plain arrays."""
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path, shape: tuple[int, int]) -> "ModelView | None":
        """Read a view of (rows, columns) shown pixels; None if it is missing or damaged."""
        arrays = read_view_arrays(path)
        if arrays is None or not _is_view(arrays, shape):
            return None
        values: dict[str, Any] = {
            field.name: arrays.get(field.name) for field in fields(cls)
        }
        return cls(**values | {"calibrated": bool(arrays["calibrated"])})


def _is_view(arrays: Mapping[str, Array], shape: tuple[int, int]) -> bool:
    """Tell whether arrays have the types and shapes of a view of these pixels."""
    ranked = arrays.get("codes", np.zeros(0)).shape[:1]
    expected = {
        "labels": (np.uint16, shape),
        "confidence": (np.uint8, shape),
        "codes": (np.uint16, (*ranked, *shape)),
        "shares": (np.uint8, (*ranked, *shape)),
        "calibrated": (np.bool_, ()),
        "held": (np.uint16, shape),
        "check": (np.uint8, shape),
    }
    required = expected.keys() - {"confidence", "held", "check"}
    return required <= arrays.keys() and all(
        arrays[name].dtype == kind and arrays[name].shape == size
        for name, (kind, size) in expected.items()
        if name in arrays
    )
