"""Splits by clusters: DBSCAN regions of each class, the largest or most varied train."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window
from hypercover.splits.fields import draw_validation_fields, share_notes
from hypercover.splits.guard import (
    Guard,
    apart,
    check_guard,
    guard_notes,
    guard_width,
    near,
    too_wide,
)
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels

__all__ = ["ClusterSplit"]

Order = Literal["size", "spread"]
Mask = npt.NDArray[np.bool_]
_WIDEST = 20
"""Pixels; of wider neighbourhoods DBSCAN would list more than fits in memory."""


@dataclass(frozen=True, eq=False)
class ClusterSplit:
    """Train on the largest, or most varied, clusters of each class; test on the rest.

    Why it exists: it is the sampling of Lange et al. (2018), who showed with it
    that a 3-D network loses most of its lead when training and test pixels do
    not touch.  The pixels of each class are clustered by where they lie
    (DBSCAN); clusters are taken in descending order, scattered pixels last,
    until ``round(train · n)`` of the class's n pixels train.

    The published protocol, ``cut=True`` and ``guard=0``, cuts the cluster that
    overshoots and trains on its first pixels, row by row: the rest of the same
    field is then tested, right beside them.  Here clusters stay whole unless
    asked, and a guard is kept.  As many are taken as come nearest to the share,
    at least one, and one of several is left for the test; a note says where the
    share that trains is another than was asked for.  A class of one whole
    cluster cannot stand on both sides and is named by
    :meth:`~hypercover.splits.split.Split.unscored`.

    The choice is the same for every seed, which draws the validation pixels
    alone (whole clusters out of the training ones).

    Parameters
    ----------
    train : float between 0 and 1
        Share of each class to train on.
    order : "size" or "spread"
        Which clusters come first: those with most pixels, or those whose band
        values have the largest standard deviation.
    eps : float
        Distance in pixels within which pixels are neighbours; 1.5 takes the
        eight around a pixel.
    min_pixels : int
        Neighbours, itself included, from which a pixel is the core of a
        cluster; pixels of no cluster are scattered.
    cut : bool
        Whether the cluster that overshoots the share is cut.
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
    """Which clusters come first: the largest, or those of the largest spread."""
    eps: float = 1.5
    """Distance in pixels within which pixels are neighbours."""
    min_pixels: int = 1
    """Neighbours, itself included, from which a pixel is the core of a cluster."""
    cut: bool = False
    """Whether the cluster that overshoots the share is cut."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    values: npt.ArrayLike | None = None
    """The image (band, y, x), for the order by spread."""

    def __post_init__(self) -> None:
        """Refuse settings that no image could give."""
        if not 0 < self.train < 1:
            raise SplitError(
                "A cluster split trains on a share of each class between 0 and 1, got "
                f"{self.train}; use 0.25."
            )
        if self.order not in ("size", "spread"):
            raise SplitError(f"Clusters are ordered by size or spread, got {self.order!r}.")
        if not (0 < self.eps <= _WIDEST and self.min_pixels >= 1):
            raise SplitError(
                f"Clusters need a distance above 0, at most {_WIDEST}, and at least 1 pixel, got eps "
                f"{self.eps} and min_pixels {self.min_pixels}; use 1.5 and 1."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If the order by spread has no image, every class is one cluster, or
            the guard leaves no test pixel; the largest that leaves some is named.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard = guard_width(self.guard, window)
        numbers, drawn = self._clustered(label_map)
        others = (label_map > 0) & ~drawn
        if not others.any():
            raise SplitError(
                "Every class lies in one cluster, which cannot both train and test unless "
                "it is cut; use cut: true, or split by blocks."
            )
        if not (others & ~near(drawn, guard)).any():
            raise too_wide(
                lambda width: bool((others & ~near(drawn, width)).any()),
                guard,
                "clusters",
                label_map.shape,
            )
        validation = draw_validation_fields(
            label_map, numbers, drawn, self.validation, guard=guard, seed=seed
        )
        return apart(
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

    def _clustered(
        self, label_map: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.intp], Mask]:
        """Give the clusters (y, x) numbers from 1, and mark the pixels that are drawn."""
        values = self._values(label_map)
        numbers = np.zeros(label_map.shape, dtype=np.intp)
        drawn = np.zeros(label_map.shape, dtype=bool)
        for code in np.unique(label_map[label_map > 0]):
            at = np.nonzero(label_map == code)
            ranks = self._ranks(at, values)
            drawn[at] = self._drawn(ranks)
            numbers[at] = ranks + 1 + numbers.max()
        return numbers, drawn

    def _values(self, label_map: npt.NDArray[np.integer]) -> npt.NDArray[np.generic] | None:
        """Return the image after checking that it is one of these labels."""
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

    def _ranks(
        self, at: tuple[npt.NDArray[np.intp], ...], values: npt.NDArray[np.generic] | None
    ) -> npt.NDArray[np.intp]:
        """Rank the cluster of each pixel (n,) of one class: 0 is taken first."""
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
            seen = values[:, at[0], at[1]].astype(float)
            weights = np.array([seen[:, own == one].std() for one in range(len(names))])
        ranks = np.empty(len(names), dtype=np.intp)
        # Scattered pixels, which DBSCAN calls −1, come last whatever their weight.
        ranks[np.lexsort((weights, names >= 0))[::-1]] = np.arange(len(names))
        return np.asarray(ranks[own])

    def _drawn(self, ranks: npt.NDArray[np.intp]) -> Mask:
        """Mark the pixels (n,) of one class, in rows, that are drawn."""
        asked = round(self.train * len(ranks))
        if self.cut:
            drawn = np.zeros(len(ranks), dtype=bool)
            drawn[np.argsort(ranks, kind="stable")[:asked]] = True
            return drawn
        reached = np.bincount(ranks).cumsum()
        nearest = int(np.abs(reached - asked).argmin()) + 1
        return ranks < min(nearest, max(len(reached) - 1, 1))
