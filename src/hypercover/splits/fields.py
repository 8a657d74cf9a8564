"""Splits by fields: whole connected fields train, a guard band away from the test."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, maximum_filter
from scipy.sparse import coo_array, csr_array

from hypercover.errors import SplitError
from hypercover.scene.samples import Samples, check_window
from hypercover.splits.blocks import SpatialUnits, draw_regions
from hypercover.splits.folds import cluster_numbers
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
from hypercover.types import Codes, Floats, Indices, Mask

_FAR = 0.05
"""Deviation from the requested share above which there is a note."""


def field_map(labels: npt.ArrayLike) -> Indices:
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
        known, own = np.unique(numbers[inside], return_inverse=True)
        _, classes = np.unique(label_map[inside], return_inverse=True)
        self.n_regions = len(known)
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
    label_map: Codes,
    numbers: Indices,
    drawn: Mask,
    share: float,
    *,
    guard: int,
    seed: int,
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


def share_notes(drawn: Mask, labels: Codes, train: float, what: str) -> tuple[str, ...]:
    """Return a note if whole fields or clusters miss the requested share."""
    share = np.count_nonzero(drawn) / np.count_nonzero(labels)
    if abs(share - train) <= _FAR:
        return ()
    return (
        f"Whole {what} for training hold {share:.0%} of the labelled pixels instead of "
        f"{100 * train:g}%.",
    )


@dataclass(frozen=True)
class FieldSplit:
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

    def __post_init__(self) -> None:
        """Check shares and guard."""
        if not 0 < self.train < 1:
            raise SplitError(
                "The training part of a field split must be a share of every class's pixels "
                f"between 0 and 1, got {self.train}; use 0.25."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If no class has two fields, or the guard leaves no test pixels; the
            message names the widest guard that leaves some.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard, numbers = guard_width(self.guard, window), field_map(label_map)
        drawn, alone = self._draw(label_map, numbers, guard, seed)
        if not _leaves_test(label_map, drawn, guard):
            raise guard_too_wide(
                lambda width: _leaves_test(
                    label_map, self._draw(label_map, numbers, width, seed)[0], width
                ),
                guard,
                "fields",
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
            kind="fields",
            seed=seed,
            settings=asdict(self) | {"guard": guard},
            window=window,
            notes=(
                *_single_field_notes(alone),
                *share_notes(drawn, label_map, self.train, "fields"),
                *guard_notes(guard, window),
            ),
        )

    def _draw(
        self,
        label_map: Codes,
        numbers: Indices,
        guard: int,
        seed: int,
    ) -> tuple[Mask, list[int]]:
        """Draw training fields: their pixels (y, x), and the classes of one field."""
        fields = Fields(label_map, numbers, guard)
        codes = np.unique(label_map[label_map > 0])
        if len(fields.single) == len(codes):
            raise SplitError(
                "Every class has only one field, which cannot both train and test; split by "
                "blocks, which cut fields."
            )
        rng = np.random.default_rng([seed, 0])
        _, selected = draw_regions(iter([fields]), self.train, rng)
        return fields.pixels(selected), codes[fields.single].tolist()


def _leaves_test(label_map: Codes, drawn: Mask, guard: int) -> bool:
    """Return whether any test pixels are left."""
    return bool(((label_map > 0) & ~within_distance(drawn, guard)).any())


def _single_field_notes(codes: list[int]) -> tuple[str, ...]:
    """Return a note about the classes that have one field."""
    if not codes:
        return ()
    which = "Class {} has" if len(codes) == 1 else "Classes {} have"
    listed = which.format(", ".join(map(str, codes)))
    return (f"{listed} only one field, which cannot both train and test.",)
