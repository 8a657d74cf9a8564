"""Fields to draw from: connected pixels of one class, and what a choice of them leaves."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, maximum_filter
from scipy.sparse import coo_array, csr_array

from hypercover.errors import SplitError
from hypercover.samples.block_draw import Chosen, draw_whole
from hypercover.samples.fold_groups import clusters
from hypercover.samples.samples import Samples

__all__ = ["Fields", "draw_validation_fields", "field_map", "share_notes"]

FieldMap = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
_FAR = 0.05
"""Distance from the share that was asked for, from which it is said."""


def field_map(labels: npt.ArrayLike) -> FieldMap:
    """Give a number to each field of a label map (y, x), from 1; 0 = unlabelled.

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
        numbers[samples.rows, samples.cols] = clusters(samples, 1) + 1
    return numbers


class Fields:
    """Fields of a label map, ready to say what a choice of fields leaves.

    Why it exists: a draw is improved by trying thousands of choices.  Pixels of
    one class within the guard of the same fields share one fate, so they are
    counted as one group; a choice is then judged with one sparse product.

    Parameters
    ----------
    label_map : array (y, x)
        Class codes; 0 = unlabelled.
    numbers : array (y, x)
        Field of each labelled pixel, from 1, as :func:`field_map` gives them or
        any other partition of the classes; 0 elsewhere.
    guard : int
        Width of the guard band in pixels.
    """

    def __init__(
        self, label_map: npt.NDArray[np.integer], numbers: FieldMap, guard: int
    ) -> None:
        inside = numbers > 0
        known, own = np.unique(numbers[inside], return_inverse=True)
        _, classes = np.unique(label_map[inside], return_inverse=True)
        self.places = len(known)
        self.labelled = np.arange(self.places)
        self.sizes = np.bincount(own)
        self.strata = np.zeros(self.places, dtype=np.intp)
        self.strata[own] = classes
        self.totals = np.bincount(classes)
        self._fields = np.zeros(numbers.shape, dtype=np.intp)
        self._fields[inside] = own + 1
        self._group(classes, min(guard, max(numbers.shape)))

    @property
    def single(self) -> npt.NDArray[np.intp]:
        """Positions of the classes that lie in one field each."""
        return np.flatnonzero(np.bincount(self.strata) == 1)

    def _group(self, classes: npt.NDArray[np.intp], guard: int) -> None:
        """Group pixels by class and by the fields within their guard."""
        within = self._within(guard)
        # Two sets of fields with one sum of random numbers are one set, all but surely.
        tags = np.random.default_rng(0).integers(2**62, size=self.places)
        keys = np.column_stack((classes, within @ tags))
        unique, first, counts = np.unique(
            keys, axis=0, return_index=True, return_counts=True
        )
        self._within_group = within[first]
        self._weights = counts
        self._starts = np.searchsorted(unique[:, 0], np.arange(len(self.totals)))
        self.groups = len(counts)

    def _within(self, guard: int) -> csr_array:
        """Tell which fields lie within the guard of each pixel: (pixel, field)."""
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
        return coo_array((ones, at), shape=(int(order.max()) + 1, self.places)).tocsr()

    def left(self, chosen: Chosen) -> npt.NDArray[np.int64]:
        """Count what each choice (n, field) leaves of each class: (n, class)."""
        free = (self._within_group @ chosen.T.astype(np.int64)).T == 0
        return np.add.reduceat(free * self._weights, self._starts, axis=1)

    def taken(self, chosen: Chosen) -> npt.NDArray[np.float64]:
        """Count what each choice (n, field) takes of each class: (n, class)."""
        belongs = self.strata[:, None] == np.arange(len(self.totals))
        return np.asarray(chosen @ (self.sizes[:, None] * belongs), dtype=np.float64)

    def pixels(self, chosen: Chosen) -> Mask:
        """Return the pixels (y, x) of one choice (field,)."""
        return np.concatenate(([False], chosen))[self._fields]


def draw_validation_fields(
    label_map: npt.NDArray[np.integer],
    numbers: FieldMap,
    drawn: Mask,
    share: float,
    *,
    guard: int,
    seed: int,
) -> Mask:
    """Take whole fields for validation out of the drawn pixels (y, x).

    A class keeps a field to train on where it has two.

    Raises
    ------
    SplitError
        If no class has two fields among them.
    """
    if share == 0:
        return np.zeros_like(drawn)
    inner = Fields(np.where(drawn, label_map, 0), np.where(drawn, numbers, 0), guard)
    if len(inner.single) == len(inner.totals):
        raise SplitError(
            f"A validation share of {share} was asked for, but no class has two fields "
            "among the training pixels; train on a larger share or use validation: 0."
        )
    rng = np.random.default_rng([seed, 1])
    return inner.pixels(draw_whole(iter([inner]), share, rng, rest_matters=True)[1])


def share_notes(
    drawn: Mask, labels: npt.NDArray[np.integer], asked: float, what: str
) -> tuple[str, ...]:
    """Say what share whole fields or clusters come to, if not that which was asked for."""
    share = np.count_nonzero(drawn) / np.count_nonzero(labels)
    if abs(share - asked) <= _FAR:
        return ()
    return (
        f"Whole {what} make up {share:.0%} of the labelled pixels, where "
        f"{100 * asked:g}% were to train.",
    )
