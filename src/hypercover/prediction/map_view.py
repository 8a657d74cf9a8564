"""What the page shows of one model's map: its answers, how sure, and what came next."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.prediction.layers import has_scores
from hypercover.scene.io.archive import Arrays, load_arrays, save_arrays
from hypercover.scene.tiling import Tile

__all__ = ["ClassRanking", "ModelView", "read_view_arrays", "view_step"]

_log = logging.getLogger(__name__)

_MOST_PIXELS = 250_000
"""Pixels of a scene that a page shows; larger ones are thinned out."""

_MOST_BYTES = 2**28
"""Bytes of all arrays of one file; no view needs as many."""


def view_step(shape: tuple[int, int], most: int = _MOST_PIXELS, multiple: int = 1) -> int:
    """Return the step at which a scene of (rows, columns) is thinned out for the page.

    The smallest multiple of ``multiple`` that leaves at most so many pixels.

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
    """Read what a view was kept in, or None where there is no whole file."""
    try:
        return load_arrays(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s is left out of the report: %s", path, error)
        return None


_FIRST, _FIRST_OF_LARGE = 5, 3
"""How many of the highest classes are kept of each pixel, and of a thinned-out scene."""

_FULL = 255


@dataclass(frozen=True, eq=False)
class ClassRanking:
    """Collects, tile by tile, the highest classes of every shown pixel of a scene.

    Why it exists: the scores of all classes of a large scene would not fit the
    memory, and a page shows the first few of some pixels.
    """

    codes: npt.NDArray[np.uint16]
    """Class codes (rank, y, x) of the shown pixels, the highest first; 0 = none."""
    shares: npt.NDArray[np.uint8]
    """Their scores (rank, y, x), 255 = 1."""
    step: int
    """Every how many pixels one is shown."""

    @classmethod
    def of(cls, shape: tuple[int, int], classifier: Any) -> "ClassRanking":
        """Make room for what a classifier says of a scene of (rows, columns)."""
        step = view_step(shape)
        n_classes = len(classifier.classes_) if has_scores(classifier) else 0
        most = _FIRST if step == 1 else _FIRST_OF_LARGE
        size = (min(most, n_classes), *(-(-side // step) for side in shape))
        return cls(np.zeros(size, np.uint16), np.zeros(size, np.uint8), step)

    def take(
        self,
        tile: Tile,
        scores: npt.NDArray[np.floating],
        classes: npt.NDArray[np.integer],
    ) -> None:
        """Note the scores (class, row, col) of one tile; NaN where there is no data."""
        rows, cols = (_thin(part, self.step) for part in (tile.rows, tile.cols))
        thin = np.asarray(scores[:, rows.start :: self.step, cols.start :: self.step])
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


def _thin(part: slice, step: int) -> slice:
    """Return where the shown pixels of a tile begin, as counted from its corner."""
    return slice(-part.start % step, part.stop - part.start)


@dataclass(frozen=True, eq=False)
class ModelView:
    """The map of one model at the pixels that the page shows."""

    labels: npt.NDArray[np.uint16]
    """Class codes (y, x); 0 = no data."""
    confidence: npt.NDArray[np.uint8] | None
    """How sure the model was (y, x), 255 = 1; None where it does not say."""
    codes: npt.NDArray[np.uint16]
    """Class codes (rank, y, x), the highest first."""
    shares: npt.NDArray[np.uint8]
    """Their scores (rank, y, x), 255 = 1."""
    calibrated: bool
    """Whether the scores are probabilities; shares of votes only rank pixels."""
    held: npt.NDArray[np.uint16] | None = None
    """Answers (y, x) to hold against the labels, of a model that has not seen the test
    pixels; None where those of the map are such."""
    check: npt.NDArray[np.uint8] | None = None
    """Class check (y, x) of these answers; None where it is that of the map."""

    @classmethod
    def of(
        cls,
        labels: npt.NDArray[np.integer],
        confidence: npt.NDArray[np.floating] | None,
        ranking: ClassRanking,
        *,
        calibrated: bool,
        held: npt.NDArray[np.integer] | None = None,
        check: npt.NDArray[np.uint8] | None = None,
    ) -> "ModelView":
        """Thin out a map (y, x) as its ranking is thinned out."""
        thin = (slice(None, None, ranking.step),) * 2
        sure = None
        if confidence is not None:
            shares = np.nan_to_num(np.clip(confidence[thin], 0, 1), nan=0.0)
            sure = np.round(_FULL * shares).astype(np.uint8)
        return cls(
            labels[thin].astype(np.uint16),
            sure,
            ranking.codes,
            ranking.shares,
            calibrated,
            None if held is None else held[thin].astype(np.uint16),
            None if check is None else check[thin],
        )

    def save(self, path: str | Path) -> None:
        """Write it as an archive of plain arrays."""
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path, shape: tuple[int, int]) -> "ModelView | None":
        """Read one of (rows, columns) shown pixels, or None where there is no whole one."""
        arrays = read_view_arrays(path)
        if arrays is None or not _fits(arrays, shape):
            return None
        return cls(
            arrays["labels"],
            arrays.get("confidence"),
            arrays["codes"],
            arrays["shares"],
            bool(arrays["calibrated"]),
            arrays.get("held"),
            arrays.get("check"),
        )


def _fits(arrays: Mapping[str, npt.NDArray[np.generic]], shape: tuple[int, int]) -> bool:
    """Tell whether arrays have the types and shapes of a map of these shown pixels."""
    ranked = arrays.get("codes", np.zeros(0)).shape[:1]
    wanted = {
        "labels": (np.uint16, shape),
        "confidence": (np.uint8, shape),
        "codes": (np.uint16, (*ranked, *shape)),
        "shares": (np.uint8, (*ranked, *shape)),
        "calibrated": (np.bool_, ()),
        "held": (np.uint16, shape),
        "check": (np.uint8, shape),
    }
    needed = wanted.keys() - {"confidence", "held", "check"}
    return needed <= arrays.keys() and all(
        arrays[name].dtype == kind and arrays[name].shape == size
        for name, (kind, size) in wanted.items()
        if name in arrays
    )
