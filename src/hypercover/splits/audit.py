"""Leakage: how much of the test a classifier that looks at windows has already seen.

A window reaches ``window // 2`` pixels around its centre.  A test pixel whose
window holds a training centre is tested beside its own answer; a test pixel
whose window merely shares a pixel with a training window is tested on values
the classifier was trained on.

Spatial features carry further than any window: a filter that merges what
belongs together gives a test pixel the very value of a training pixel far away.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_cdt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window

__all__ = [
    "AUDITED_WINDOWS",
    "LeakAudit",
    "Parted",
    "audit",
    "audit_table",
    "flattest_band",
    "mean_zone_share",
    "shared_zone_share",
]

AUDITED_WINDOWS = (1, 3, 5, 9, 15)
"""Windows the audit of a split is shown for, beside the window in use."""


class Parted(Protocol):
    """Anything that tells where its training and test pixels lie."""

    def mask(self, part: str) -> npt.NDArray[np.bool_]:
        """Return the pixels (y, x) of a part."""


@dataclass(frozen=True)
class LeakAudit:
    """What the windows of test pixels share with the training pixels."""

    window: int
    """Side of the windows in pixels."""
    centre_in_window: float | None = None
    """Share of test pixels with a training pixel inside their window, from 0 to 1; None
    where nothing is tested."""
    window_overlap: float | None = None
    """Share of test pixels whose window shares a pixel with a training window; None
    where nothing is tested."""

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain values for a JSON file."""
        return {
            "window": self.window,
            "centre_in_window": self.centre_in_window,
            "window_overlap": self.window_overlap,
        }


def audit(split: Parted, window: int) -> LeakAudit:
    """Measure how many test pixels of a split a window of this size lets leak.

    Why it exists: a random split of neighbouring pixels rates a classifier by
    how well it remembers (Friedl 2000; Hänsch et al. 2017; Nalepa et al. 2019),
    so no accuracy is given without these two shares beside it.

    Training pixels are those of the part ``train``; validation pixels select a
    model but do not train it and are not counted.  With Chebyshev distance d
    from a test pixel to the nearest training pixel, a training centre lies in
    the window where d ≤ window // 2, and two windows share a pixel where
    d ≤ window − 1.

    Parameters
    ----------
    split : Split
        Anything with ``mask("train")`` and ``mask("test")``, each (y, x).
    window : odd int
        Side of the windows in pixels.

    Raises
    ------
    CallError
        If the window is even, below 1 or larger than the image.
    SplitError
        If the split has no test pixel.

    Examples
    --------
    >>> from hypercover.splits.split import Split
    >>> split = Split.from_parts(
    ...     train=np.eye(1, 9, 0, dtype=bool), test=np.eye(1, 9, 4, dtype=bool)
    ... )
    >>> audit(split, 1).window_overlap
    0.0
    """
    distance = _distance_to_training(split)
    check_window(window, split.mask("test").shape)
    return _shares(distance, window)


def audit_table(split: Parted, *windows: int) -> dict[int, LeakAudit]:
    """Audit a split for the usual windows that fit the image, and for those given."""
    side = min(split.mask("test").shape)
    distance = _distance_to_training(split)
    asked = sorted({*AUDITED_WINDOWS, *windows})
    return {window: _shares(distance, window) for window in asked if window <= side}


def _distance_to_training(split: Parted) -> npt.NDArray[np.int32]:
    """Chebyshev distance of every test pixel (n,) to the nearest training pixel."""
    train, test = split.mask("train"), split.mask("test")
    _check_test(test)
    if not train.any():
        return np.full(int(test.sum()), sum(train.shape), dtype=np.int32)
    distances = distance_transform_cdt(~train, metric="chessboard")
    return np.asarray(distances[test], dtype=np.int32)


def _check_test(test: npt.NDArray[np.bool_]) -> None:
    if not test.any():
        raise SplitError(
            "The split has no test pixel, so nothing can be audited; "
            "make a split that leaves some labelled pixels for the test."
        )


def _shares(distance: npt.NDArray[np.int32], window: int) -> LeakAudit:
    """Turn distances of test pixels (n,) into the two shares."""
    return LeakAudit(
        window=window,
        centre_in_window=float(np.mean(distance <= window // 2)),
        window_overlap=float(np.mean(distance <= window - 1)),
    )


def flattest_band(stack: npt.NDArray[np.generic]) -> int:
    """Return the position of the band (band, y, x) that is simplified most.

    That is the one in which most pixels equal the neighbour to their right or
    below; of several the first.  A band of one value all over tells nothing
    apart and is passed over.
    """
    equal = [_equal_neighbours(band) for band in stack]
    return int(np.argmax(equal))


def _equal_neighbours(band: npt.NDArray[np.generic]) -> int:
    """Count the pairs of neighbours (right, below) of equal value; 0 in a constant band."""
    if _constant(band):
        return 0
    across = np.count_nonzero(band[:, 1:] == band[:, :-1])
    return int(across + np.count_nonzero(band[1:] == band[:-1]))


def shared_zone_share(split: Parted, band: npt.NDArray[np.generic]) -> float:
    """Return the share of test pixels whose flat zone holds a training pixel.

    Why it exists: a connected filter has no window, so the audit of windows
    says nothing of it; but what lies in one flat zone has one value, and a test
    pixel there is tested on a value the classifier was trained on.

    Parameters
    ----------
    split : Split
        Anything with ``mask("train")`` and ``mask("test")``, each (y, x).
    band : array (y, x)
        One feature.  A flat zone is a connected set of pixels of equal value,
        corners included; NaN belongs to none.

    Raises
    ------
    SplitError
        If the split has no test pixel.

    Examples
    --------
    >>> from hypercover.splits.split import Split
    >>> split = Split.from_parts(train=[[1, 0, 0, 0]], test=[[0, 0, 1, 1]])
    >>> shared_zone_share(split, np.array([[7, 7, 7, 5]]))
    0.5
    """
    train, test = split.mask("train"), split.mask("test")
    _check_test(test)
    zones = _flat_zones(band)
    trained = np.zeros(int(zones.max()) + 1, dtype=bool)
    trained[zones[train]] = True
    return float(np.mean(trained[zones[test]]))


def mean_zone_share(split: Parted, stack: npt.NDArray[np.generic]) -> float:
    """Return the mean of `shared_zone_share` over the bands of a stack (band, y, x).

    Bands of one value all over tell nothing apart and do not count; where no
    other is left, every pixel shares its value.

    Raises
    ------
    SplitError
        If the split has no test pixel.
    """
    _check_test(split.mask("test"))
    shares = [shared_zone_share(split, band) for band in stack if not _constant(band)]
    return float(np.mean(shares)) if shares else 1.0


def _constant(band: npt.NDArray[np.generic]) -> bool:
    """Tell whether a band has no two values; NaN is none."""
    known = band[band == band]
    return not known.size or bool(known.min() == known.max())


def _flat_zones(band: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
    """Give each connected set of pixels of equal value a number, corners included."""
    rows, cols = band.shape
    places = np.arange(band.size).reshape(rows, cols)
    pairs = [(slice(None), slice(None, -1), slice(None), slice(1, None)),
             (slice(None, -1), slice(None), slice(1, None), slice(None)),
             (slice(None, -1), slice(None, -1), slice(1, None), slice(1, None)),
             (slice(None, -1), slice(1, None), slice(1, None), slice(None, -1))]  # fmt: skip
    ends = []
    for up, left, down, right in pairs:
        same = band[up, left] == band[down, right]
        ends.append((places[up, left][same], places[down, right][same]))
    first, second = (np.concatenate(side) for side in zip(*ends, strict=True))
    joined = coo_array((np.ones(len(first), bool), (first, second)), (band.size,) * 2)
    zones = connected_components(joined, directed=False)[1]
    return np.asarray(zones, dtype=np.int32).reshape(rows, cols)
