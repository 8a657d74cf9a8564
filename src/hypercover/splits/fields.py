"""Splits by fields or clusters: whole ones train, a guard band away from the test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import find_objects, maximum_filter
from scipy.sparse import coo_array, csr_array

from hypercover.errors import SplitError
from hypercover.scene.samples import Samples
from hypercover.splits.blocks import SpatialUnits, draw_regions
from hypercover.splits.folds import cluster_numbers
from hypercover.splits.region_split import Draw, RegionSplit
from hypercover.splits.split import Guard
from hypercover.types import Array, Codes, Floats, Indices, Ints, Mask

_FAR = 0.05
"""Deviation from the requested share above which there is a note."""
_MAX_EPS = 20
"""Largest eps in pixels, beyond which DBSCAN's neighbourhoods do not fit in memory."""


def field_map(labels: ArrayLike) -> Indices:
    """Return the field (y, x) of each pixel of a label map, from 1; 0 = unlabelled.

    A field is a connected set of pixels of one class, corners included.

    Examples
    --------
    >>> field_map([[1, 1, 2], [0, 0, 2], [1, 2, 0]])
    array([[1, 1, 3],
           [0, 0, 3],
           [2, 3, 0]])
    """
    samples = Samples.of(labels)
    numbers = np.zeros(np.shape(labels), dtype=np.intp)
    if len(samples):
        numbers[samples.rows, samples.cols] = cluster_numbers(samples, 1) + 1
    return numbers


class Fields(SpatialUnits):
    """The fields of a label map, one stratum for each class.

    Selections are evaluated with one sparse product.

    Parameters
    ----------
    label_map : array (y, x)
        Class codes; 0 = unlabelled.
    numbers : array (y, x)
        Field of each labelled pixel, from 1, as returned by :func:`field_map`, or any
        other partition of the classes; 0 elsewhere.
    guard : int
        Width of the guard band in pixels.
    """

    def __init__(self, label_map: Codes, numbers: Indices, guard: int) -> None:
        inside = numbers > 0
        fields, own = np.unique(numbers[inside], return_inverse=True)
        _, classes = np.unique(label_map[inside], return_inverse=True)
        self.n_regions = len(fields)
        self.labelled = np.arange(self.n_regions)
        self.sizes = np.bincount(own)
        self.strata = np.zeros(self.n_regions, dtype=np.intp)
        self.strata[own] = classes
        self.totals = np.bincount(classes)
        self._fields = np.zeros(numbers.shape, dtype=np.intp)
        self._fields[inside] = own + 1
        self._group(classes, min(guard, max(numbers.shape)))

    @property
    def single(self) -> Indices:
        """Positions of the classes that have one field each."""
        return np.flatnonzero(np.bincount(self.strata) == 1)

    def _group(self, classes: Indices, guard: int) -> None:
        """Group pixels by class and by the fields within their guard."""
        within = self._within(guard)
        # Sets of fields with the same sum of random numbers are, almost surely, the same set.
        tags = np.random.default_rng(0).integers(2**62, size=self.n_regions)
        keys = np.column_stack((classes, within @ tags))
        unique, first, counts = np.unique(
            keys, axis=0, return_index=True, return_counts=True
        )
        self._within_group = within[first]
        self._weights = counts
        self._starts = np.searchsorted(unique[:, 0], np.arange(len(self.totals)))

    def _within(self, guard: int) -> csr_array:
        """Return which fields are within the guard of each pixel: (pixel, field)."""
        order = np.full(self._fields.shape, -1)
        order[self._fields > 0] = np.arange(np.count_nonzero(self._fields))
        pixels, fields = [], []
        for position, box in enumerate(find_objects(self._fields)):
            wide = tuple(slice(max(s.start - guard, 0), s.stop + guard) for s in box)
            own = (self._fields[wide] == position + 1).astype(np.uint8)
            near = order[wide][maximum_filter(own, size=2 * guard + 1).astype(bool)]
            pixels.append(near[near >= 0])
            fields.append(np.full(len(pixels[-1]), position))
        at = np.concatenate(pixels), np.concatenate(fields)
        ones = np.ones(len(at[0]), dtype=np.int64)
        return coo_array((ones, at), shape=(int(order.max()) + 1, self.n_regions)).tocsr()

    def _outside_guard(self, selected: Mask) -> Mask:
        return np.asarray((self._within_group @ selected.T.astype(np.int64)).T == 0)

    def drawn(self, selected: Mask) -> Floats:
        """Count the pixels of each class in each selection (n, field): (n, class)."""
        belongs = self.strata[:, None] == np.arange(len(self.totals))
        return np.asarray(selected @ (self.sizes[:, None] * belongs), dtype=np.float64)

    def pixels(self, selected: Mask) -> Mask:
        """Return the pixels (y, x) of one selection (field,)."""
        return np.concatenate(([False], selected))[self._fields]


def draw_validation_fields(
    label_map: Codes, numbers: Indices, drawn: Mask, share: float, *, guard: int, seed: int
) -> Mask:
    """Draw whole validation fields from the drawn pixels (y, x).

    A class with two or more fields keeps at least one for training.

    Raises
    ------
    SplitError
        If no class has two fields in them.
    """
    if share == 0:
        return np.zeros_like(drawn)
    inner = Fields(np.where(drawn, label_map, 0), np.where(drawn, numbers, 0), guard)
    if len(inner.single) == len(inner.totals):
        raise SplitError(
            f"A validation share of {share} needs a class with two fields in the training "
            "part, and there is none; train on a larger share or use validation: 0."
        )
    rng = np.random.default_rng([seed, 1])
    return inner.pixels(draw_regions(iter([inner]), share, rng, rest_matters=True)[1])


def _share_notes(drawn: Mask, labels: Codes, train: float, what: str) -> tuple[str, ...]:
    """Return a note if whole fields or clusters miss the requested share."""
    share = np.count_nonzero(drawn) / np.count_nonzero(labels)
    if abs(share - train) <= _FAR:
        return ()
    return (
        f"Whole {what} for training hold {share:.0%} of the labelled pixels instead of "
        f"{100 * train:g}%.",
    )


@dataclass(frozen=True)
class FieldSplit(RegionSplit):
    """Train on whole fields and test on others beyond a guard band.

    A block may cut a field in two, and then both sides share its soil, sowing date
    and mean spectrum.  Here a field, a connected set of pixels of one class (corners
    included), is never on both sides, which tests a classifier on fields it has not
    seen (Friedl et al. 2000 hold out sites for the same reason).

    Whole fields are drawn until they hold about ``train`` of the pixels of every
    class.  The best of several seeded draws is taken.  Fields are swapped to bring a
    class onto both sides, but not to even out the shares: there are few fields, and
    every seed would end at the same ones.  Pixels of other fields are tested if they
    are farther than ``guard`` pixels (Chebyshev) from every drawn pixel; those in
    between are the guard.  A class of one field cannot be on both sides; notes and
    :meth:`~hypercover.splits.split.Split.unscored` report it.

    Validation takes whole fields out of the drawn ones in the same way, and training
    pixels within ``guard`` of them join the guard.

    Parameters
    ----------
    train : float between 0 and 1
        Share of every class's pixels in the drawn fields, about.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the drawn pixels set aside for validation.

    Examples
    --------
    T train, o test, - guard; four fields of two classes:

    >>> labels = np.repeat([[1, 1, 1, 2, 2, 2, 0, 0, 1, 1, 1, 2, 2, 2]], 2, axis=0)
    >>> split = FieldSplit(train=0.5, guard=1).split(labels, seed=0)
    >>> for row in split.parts:
    ...     print("".join(".T!o-"[part] for part in row))
    TTTTTT..oooooo
    TTTTTT..oooooo
    """

    train: float = 0.25
    """Share of every class's pixels to train on."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    kind = "fields"

    def _draw(self, label_map: Ints, guard: int, seed: int) -> Draw:
        numbers = field_map(label_map)
        fields = Fields(label_map, numbers, guard)
        single = np.unique(label_map[label_map > 0])[fields.single].tolist()
        if len(single) == len(fields.totals):
            raise SplitError(
                "Every class has only one field, which cannot both train and test; split by "
                "blocks, which cut fields."
            )
        rng = np.random.default_rng([seed, 0])
        pixels = fields.pixels(draw_regions(iter([fields]), self.train, rng)[1])
        notes = _share_notes(pixels, label_map, self.train, "fields")
        if single:
            which = f"Class{'' if len(single) == 1 else 'es'} {', '.join(map(str, single))}"
            verb = "has" if len(single) == 1 else "have"
            note = f"{which} {verb} only one field, which cannot both train and test."
            notes = (note, *notes)
        return Draw(
            pixels,
            lambda: draw_validation_fields(
                label_map, numbers, pixels, self.validation, guard=guard, seed=seed
            ),
            notes,
        )


@dataclass(frozen=True, eq=False)
class ClusterSplit(RegionSplit):
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
    order: Literal["size", "spread"] = "size"
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
    values: ArrayLike | None = None
    """The image (band, y, x), for the order by spread."""

    kind = "clusters"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.order not in ("size", "spread"):
            raise SplitError(f"Clusters are ordered by size or spread, got {self.order!r}.")
        if not (0 < self.eps <= _MAX_EPS and self.min_pixels >= 1):
            raise SplitError(
                f"eps must be above 0 and at most {_MAX_EPS} and min_pixels at least 1, got "
                f"{self.eps} and {self.min_pixels}; use 1.5 and 1."
            )

    def _draw(self, label_map: Ints, guard: int, seed: int) -> Draw:
        values = self._values(label_map)
        numbers = np.zeros(label_map.shape, dtype=np.intp)
        drawn = np.zeros(label_map.shape, dtype=bool)
        for code in np.unique(label_map[label_map > 0]):
            at = np.nonzero(label_map == code)
            ranks = self._ranks(at, values)
            drawn[at] = self._training(ranks)
            numbers[at] = ranks + 1 + numbers.max()
        if not ((label_map > 0) & ~drawn).any():
            raise SplitError(
                "Every class has only one cluster, which cannot both train and test unless it "
                "is cut; use cut: true, or split by blocks."
            )
        return Draw(
            drawn,
            lambda: draw_validation_fields(
                label_map, numbers, drawn, self.validation, guard=guard, seed=seed
            ),
            _share_notes(drawn, label_map, self.train, "clusters"),
        )

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

    def _ranks(self, places: tuple[Indices, ...], values: Array | None) -> Indices:
        """Return the rank of the cluster of each pixel (n,) of one class, from 0."""
        from sklearn.cluster import DBSCAN

        clusters = DBSCAN(eps=self.eps, min_samples=self.min_pixels, algorithm="kd_tree")
        names, own, sizes = np.unique(
            clusters.fit_predict(np.column_stack(places)),
            return_inverse=True,
            return_counts=True,
        )
        if values is None:
            weights = sizes.astype(float)
        else:
            pixels = values[:, places[0], places[1]].astype(float)
            weights = np.array([pixels[:, own == at].std() for at in range(len(names))])
        ranks = np.empty(len(names), dtype=np.intp)
        # Scattered pixels, which DBSCAN calls −1, come last whatever their weight.
        ranks[np.lexsort((weights, names >= 0))[::-1]] = np.arange(len(names))
        return np.asarray(ranks[own])

    def _training(self, ranks: Indices) -> Mask:
        """Return which pixels (n,) of one class, in row order, train."""
        count = round(self.train * len(ranks))
        if self.cut:
            drawn = np.zeros(len(ranks), dtype=bool)
            drawn[np.argsort(ranks, kind="stable")[:count]] = True
            return drawn
        reached = np.bincount(ranks).cumsum()
        nearest = int(np.abs(reached - count).argmin()) + 1
        return ranks < min(nearest, max(len(reached) - 1, 1))
