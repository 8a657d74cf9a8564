"""Leak audit: how much of the test a classifier of windows has already seen.

A window extends ``window // 2`` pixels around its centre.  If the window of a test
pixel contains a training centre, the model was trained on its immediate surroundings; if it merely
shares a pixel with a training window, it is tested on values used in training.

Spatial features reach further than any window: a connected filter may give a test
pixel the value of a training pixel far away.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_cdt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window
from hypercover.types import Array, Mask

AUDITED_WINDOWS = (1, 3, 5, 9, 15)
"""Windows for which the audit is shown, in addition to the window in use."""


class HasParts(Protocol):
    """Anything with masks of its training and test pixels."""

    def mask(self, part: str) -> Mask:
        """Return the pixels (y, x) of a part."""


@dataclass(frozen=True)
class LeakAudit:
    """What the windows of test pixels share with the training pixels."""

    window: int
    """Side of the windows in pixels."""
    centre_in_window: float | None = None
    """Share of test pixels with a training pixel in their window, from 0 to 1; None without
    test pixels."""
    window_overlap: float | None = None
    """Share of test pixels whose window overlaps a training window; None without test
    pixels."""


def audit(split: HasParts, window: int) -> LeakAudit:
    """Measure which shares of the test pixels leak through windows of a size.

    A random split of neighbouring pixels measures how well a classifier remembers
    (Friedl 2000; Hänsch et al. 2017; Nalepa et al. 2019), so every accuracy is given
    with these two shares.

    Training pixels are those of the part ``train``; validation pixels select a model
    but do not train it and are not counted.  With Chebyshev distance d from a test
    pixel to the nearest training pixel, its window contains a training centre if
    d ≤ window // 2, and overlaps a training window if d ≤ window − 1.

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
        If the split has no test pixels.

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


def audit_table(split: HasParts, *windows: int) -> dict[int, LeakAudit]:
    """Audit a split for the usual windows and those given, if they fit the image."""
    side = min(split.mask("test").shape)
    distance = _distance_to_training(split)
    sizes = sorted({*AUDITED_WINDOWS, *windows})
    return {window: _shares(distance, window) for window in sizes if window <= side}


def _distance_to_training(split: HasParts) -> npt.NDArray[np.int32]:
    """Chebyshev distance of every test pixel (n,) to the nearest training pixel."""
    train, test = split.mask("train"), split.mask("test")
    _check_test(test)
    if not train.any():
        return np.full(int(test.sum()), sum(train.shape), dtype=np.int32)
    distances = distance_transform_cdt(~train, metric="chessboard")
    return np.asarray(distances[test], dtype=np.int32)


def _check_test(test: Mask) -> None:
    if not test.any():
        raise SplitError(
            "The split has no test pixels to audit; make a split that leaves some labelled "
            "pixels for the test."
        )


def _shares(distance: npt.NDArray[np.int32], window: int) -> LeakAudit:
    """Compute the two shares from distances of test pixels (n,)."""
    centre, overlap = (np.mean(distance <= most) for most in (window // 2, window - 1))
    return LeakAudit(window, float(centre), float(overlap))


def flattest_band(stack: Array) -> int:
    """Return the position of the band (band, y, x) that is simplified most.

    That is the first band in which most pixels equal the neighbour to their right or
    below.  Constant bands are skipped.
    """
    equal = [
        0
        if _constant(band)
        else np.sum(band[:, 1:] == band[:, :-1]) + np.sum(band[1:] == band[:-1])
        for band in stack
    ]
    return int(np.argmax(equal))


def shared_zone_share(split: HasParts, band: Array) -> float:
    """Return the share of test pixels whose flat zone holds a training pixel.

    The audit of windows does not cover connected filters, which have no window.  All
    pixels of a flat zone have one value, so a test pixel that shares its zone with a
    training pixel is tested on a value used in training.

    Parameters
    ----------
    split : Split
        Anything with ``mask("train")`` and ``mask("test")``, each (y, x).
    band : array (y, x)
        One feature.  A flat zone is a connected set of pixels of equal value,
        corners included; NaN is in no zone.

    Raises
    ------
    SplitError
        If the split has no test pixels.

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


def mean_zone_share(split: HasParts, stack: Array) -> float:
    """Return the mean of `shared_zone_share` over the bands of a stack (band, y, x).

    Constant bands are skipped; if all bands are constant, the share is 1.

    Raises
    ------
    SplitError
        If the split has no test pixels.
    """
    _check_test(split.mask("test"))
    shares = [shared_zone_share(split, band) for band in stack if not _constant(band)]
    return float(np.mean(shares)) if shares else 1.0


def _constant(band: Array) -> bool:
    """Return whether a band has at most one value, NaN aside."""
    values = band[band == band]
    return not values.size or bool(values.min() == values.max())


def _flat_zones(band: Array) -> npt.NDArray[np.int32]:
    """Return the connected set of pixels of equal value of each pixel, corners included."""
    rows, cols = band.shape
    places = np.arange(band.size).reshape(rows, cols)
    every, front, back = slice(None), slice(None, -1), slice(1, None)
    neighbours = (
        ((every, front), (every, back)),
        ((front, every), (back, every)),
        ((front, front), (back, back)),
        ((front, back), (back, front)),
    )
    equal = [(left, right, band[left] == band[right]) for left, right in neighbours]
    first = np.concatenate([places[left][same] for left, _, same in equal])
    second = np.concatenate([places[right][same] for _, right, same in equal])
    joined = coo_array((np.ones(len(first), bool), (first, second)), (band.size,) * 2)
    zones = connected_components(joined, directed=False)[1]
    return np.asarray(zones, dtype=np.int32).reshape(rows, cols)
