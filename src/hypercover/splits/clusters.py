"""Splits by clusters: the largest or most varied DBSCAN clusters of each class train."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window
from hypercover.splits.fields import draw_validation_fields, share_notes
from hypercover.splits.guard import (
    Guard,
    check_guard,
    guard_notes,
    guard_too_wide,
    guard_width,
    guarded_split,
    within_distance,
)
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels
from hypercover.types import Array, Codes, Indices, Mask

Order = Literal["size", "spread"]
_WIDEST = 20
"""Largest eps in pixels, beyond which DBSCAN's neighbourhoods do not fit in memory."""


@dataclass(frozen=True, eq=False)
class ClusterSplit:
    """Train on the largest or most varied clusters of each class and test on the rest.

    This is the sampling of Lange et al. (2018), who showed with it that a 3-D network
    loses most of its lead when training and test pixels do not touch.  The pixels of
    each class are clustered by position (DBSCAN).  Clusters are taken in descending
    order, scattered pixels last, until ``round(train · n)`` of the n pixels of the
    class train.

    The published protocol, ``cut=True`` and ``guard=0``, cuts the last cluster and
    trains on its first pixels in row order: the rest of the same field is then tested
    right next to them.  By default clusters stay whole and a guard is kept.  The
    number of clusters is the one closest to the share, at least one, and one of
    several is left for the test; a note reports a share that was missed.  A class of
    one whole cluster cannot be on both sides and is reported by
    :meth:`~hypercover.splits.split.Split.unscored`.

    The training clusters are the same for every seed, which only draws the validation
    pixels (whole clusters out of the training ones).

    Parameters
    ----------
    train : float between 0 and 1
        Share of each class to train on.
    order : "size" or "spread"
        Which clusters come first: those with most pixels, or those with the largest
        standard deviation of band values.
    eps : float
        Distance in pixels within which pixels are neighbours; 1.5 includes the eight
        around a pixel.
    min_pixels : int
        Neighbours, including itself, that make a pixel the core of a cluster; pixels
        outside all clusters are scattered.
    cut : bool
        Whether the cluster that exceeds the share is cut.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the training pixels set aside for validation.
    values : array (band, y, x), optional
        The image, for ``order="spread"``.

    Examples
    --------
    >>> labels = [[1, 1, 1, 2, 2, 0, 1, 0, 2]]
    >>> ClusterSplit(train=0.5, guard=0).split(labels).parts.tolist()
    [[1, 1, 1, 1, 1, 0, 3, 0, 3]]
    >>> ClusterSplit(train=0.5, guard=0, cut=True).split(labels).parts.tolist()
    [[1, 1, 3, 1, 1, 0, 3, 0, 3]]
    """

    train: float = 0.25
    """Share of each class to train on."""
    order: Order = "size"
    """Which clusters come first: the largest, or those with the largest spread."""
    eps: float = 1.5
    """Distance in pixels within which pixels are neighbours."""
    min_pixels: int = 1
    """Neighbours, including itself, that make a pixel the core of a cluster."""
    cut: bool = False
    """Whether the cluster that exceeds the share is cut."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    values: npt.ArrayLike | None = None
    """The image (band, y, x), for the order by spread."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 < self.train < 1:
            raise SplitError(
                "The training part of a cluster split must be a share of each class between "
                f"0 and 1, got {self.train}; use 0.25."
            )
        if self.order not in ("size", "spread"):
            raise SplitError(f"Clusters are ordered by size or spread, got {self.order!r}.")
        if not (0 < self.eps <= _WIDEST and self.min_pixels >= 1):
            raise SplitError(
                f"eps must be above 0 and at most {_WIDEST} and min_pixels at least 1, got "
                f"{self.eps} and {self.min_pixels}; use 1.5 and 1."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If the order by spread has no image, every class is one cluster, or the
            guard leaves no test pixels; the message names the widest guard that does.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard = guard_width(self.guard, window)
        numbers, drawn = self._clustered(label_map)
        others = (label_map > 0) & ~drawn
        if not others.any():
            raise SplitError(
                "Every class has only one cluster, which cannot both train and test unless it "
                "is cut; use cut: true, or split by blocks."
            )
        if not (others & ~within_distance(drawn, guard)).any():
            raise guard_too_wide(
                lambda width: bool((others & ~within_distance(drawn, width)).any()),
                guard,
                "clusters",
                label_map.shape,
            )
        validation = draw_validation_fields(
            label_map, numbers, drawn, self.validation, guard=guard, seed=seed
        )
        return guarded_split(
            label_map,
            drawn,
            validation,
            guard,
            kind="clusters",
            seed=seed,
            settings={key: value for key, value in vars(self).items() if key != "values"}
            | {"guard": guard},
            window=window,
            notes=(
                *share_notes(drawn, label_map, self.train, "clusters"),
                *guard_notes(guard, window),
            ),
        )

    def _clustered(self, label_map: Codes) -> tuple[Indices, Mask]:
        """Return the cluster (y, x) of each pixel, from 1, and the training pixels."""
        values = self._values(label_map)
        numbers = np.zeros(label_map.shape, dtype=np.intp)
        drawn = np.zeros(label_map.shape, dtype=bool)
        for code in np.unique(label_map[label_map > 0]):
            at = np.nonzero(label_map == code)
            ranks = self._ranks(at, values)
            drawn[at] = self._drawn(ranks)
            numbers[at] = ranks + 1 + numbers.max()
        return numbers, drawn

    def _values(self, label_map: Codes) -> Array | None:
        """Return the image after checking its shape."""
        if self.order == "size":
            return None
        if self.values is None:
            raise SplitError(
                "Clusters ordered by spread need the image: give values, an array "
                "(band, y, x), or order by size."
            )
        values = np.asarray(self.values)
        if values.ndim != 3 or values.shape[1:] != label_map.shape:
            raise SplitError(
                f"The image must be (band, y, x) with {' × '.join(map(str, label_map.shape))} "
                f"pixels as the labels are, got shape {values.shape}."
            )
        return values

    def _ranks(self, at: tuple[Indices, ...], values: Array | None) -> Indices:
        """Return the rank of the cluster of each pixel (n,) of one class, from 0."""
        from sklearn.cluster import DBSCAN

        clusters = DBSCAN(eps=self.eps, min_samples=self.min_pixels, algorithm="kd_tree")
        names, own, sizes = np.unique(
            clusters.fit_predict(np.column_stack(at)),
            return_inverse=True,
            return_counts=True,
        )
        if values is None:
            weights = sizes.astype(float)
        else:
            pixels = values[:, at[0], at[1]].astype(float)
            weights = np.array([pixels[:, own == one].std() for one in range(len(names))])
        ranks = np.empty(len(names), dtype=np.intp)
        # Scattered pixels, which DBSCAN calls −1, come last whatever their weight.
        ranks[np.lexsort((weights, names >= 0))[::-1]] = np.arange(len(names))
        return np.asarray(ranks[own])

    def _drawn(self, ranks: Indices) -> Mask:
        """Return which pixels (n,) of one class, in row order, train."""
        count = round(self.train * len(ranks))
        if self.cut:
            drawn = np.zeros(len(ranks), dtype=bool)
            drawn[np.argsort(ranks, kind="stable")[:count]] = True
            return drawn
        reached = np.bincount(ranks).cumsum()
        nearest = int(np.abs(reached - count).argmin()) + 1
        return ranks < min(nearest, max(len(reached) - 1, 1))
