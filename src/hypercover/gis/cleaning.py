"""Cleaning class maps: majority filter, sieve and minimum mapping unit, and their regions.

A cleaned map is easier to read and to convert to polygons.  Accuracies are always those
of the map as it was predicted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError, LabelError
from hypercover.types import Codes, Floats, Indices, Ints, Mask

_MAX_REGIONS = 5_000_000
"""More regions are noise that no GIS can draw."""
_STRIP_PIXELS = 2**17
"""Pixels in a strip whose outlines are held in memory at the same time."""
_STRIP = 512
"""Rows that the majority filter handles at once."""
_MAX_ROUNDS = 20
"""Repetitions of the sieve; each leaves fewer regions."""


class Outlines(NamedTuple):
    """Polygons of some regions."""

    shapes: npt.NDArray[np.object_]
    """Polygons in the coordinates of the map."""
    codes: Ints
    """Class code of each polygon."""


class Regions(NamedTuple):
    """Regions of one class, connected by edges, not corners.

    The outlines of a large map take a hundred times the memory of the map, so they are
    made strip by strip; regions taller than a strip come last.
    """

    numbers: npt.NDArray[np.int32]
    """Number of the region of each pixel (row, col), from 1; 0 = none."""
    codes: Ints
    """Class code of each region; 0 for number 0."""
    pixels: Ints
    """Number of pixels of each region; 0 for number 0."""

    @classmethod
    def of(cls, codes: Codes) -> Self:
        """Find the regions of a map (row, col); pixels of code 0 belong to none.

        Raises
        ------
        LabelError
            If there are too many to draw.

        Examples
        --------
        >>> Regions.of(np.array([[1, 1, 2], [2, 1, 2]], np.uint8)).pixels.tolist()
        [0, 3, 2, 1]
        """
        from scipy import ndimage

        numbers, classes = np.zeros(codes.shape, np.int32), [0]
        for code, box in enumerate(ndimage.find_objects(codes), 1):
            if box is None:
                continue
            here = codes[box] == code
            labelled, count = ndimage.label(here)
            numbers[box][here] = labelled[here] + np.int32(len(classes) - 1)
            classes += [code] * count
            if len(classes) > _MAX_REGIONS:
                raise LabelError(
                    f"The map has more than {_MAX_REGIONS:,} regions; clean it with "
                    "--majority or --sieve."
                )
        pixels = np.bincount(numbers.ravel(), minlength=len(classes))
        pixels[0] = 0
        return cls(numbers, np.array(classes, np.int64), pixels)

    def outlines(self, transform: tuple[float, ...], chosen: Mask) -> Iterator[Outlines]:
        """Yield the polygons of the chosen regions, strip by strip.

        Parameters
        ----------
        transform : tuple of 6 floats
            Affine transform from pixels to coordinates.
        chosen : bool array (region,)
        """
        rows, cols = self.numbers.shape
        high = max(1, _STRIP_PIXELS // cols)
        first, last = self._extents()
        tall = chosen & (last - first >= high)
        for top in range(0, rows, high):
            begins = (first >= top) & (first < top + high)
            yield self._trace(
                slice(top, top + 2 * high), begins & chosen & ~tall, transform
            )
        yield self._trace(slice(0, rows), tall, transform)

    def _extents(self) -> tuple[Indices, Indices]:
        """Return the first and the last row of each region."""
        first = np.full(len(self.codes), -1, np.intp)
        last = first.copy()
        for row, numbers in enumerate(self.numbers):
            last[numbers] = row
            first[numbers] = np.where(first[numbers] < 0, row, first[numbers])
        return first, last

    def _trace(self, rows: slice, chosen: Mask, transform: tuple[float, ...]) -> Outlines:
        """Return the polygons of the chosen regions, all within some rows."""
        from affine import Affine
        from rasterio.features import shapes
        from shapely import transform as transform_shapes
        from shapely.geometry import shape as as_shape

        numbers = self.numbers[rows]
        # Trace in pixels and transform afterwards: neighbours traced in different strips
        # then share their corners exactly.
        shift = Affine.translation(0, rows.start)
        polygons, codes = [], []
        if chosen.any():
            for shape, number in shapes(numbers, mask=chosen[numbers], transform=shift):
                polygons.append(as_shape(shape))
                codes.append(self.codes[int(number)])
        a, b, c, d, e, f = transform

        def to_coordinates(pixels: Floats) -> Floats:
            col, row = pixels.T
            return np.stack([c + col * a + row * b, f + col * d + row * e], axis=1)

        placed = transform_shapes(np.array(polygons, dtype=object), to_coordinates)
        return Outlines(placed, np.array(codes, np.int64))


@dataclass(frozen=True)
class Cleaning:
    """Filters applied to a class map after prediction."""

    majority: int = 1
    """Side of the window of the majority filter in pixels, odd; 1 = no filter."""
    sieve: int = 1
    """Regions of fewer pixels are merged into their largest neighbour; 1 = no sieve."""

    def __post_init__(self) -> None:
        """Check side and size.

        Raises
        ------
        CallError
            If the side is not odd or the size is below 1.
        """
        if self.majority not in range(1, 100, 2):
            raise CallError(
                "The majority filter must be an odd number of pixels up to 99, got "
                f"{self.majority}; give 3."
            )
        if self.sieve < 1:
            raise CallError(
                f"The sieve must name at least 1 pixel, got {self.sieve}; smaller regions merge."
            )

    def __bool__(self) -> bool:
        """Whether any filter is applied."""
        return self.majority > 1 or self.sieve > 1

    def apply(self, labels: Codes) -> Codes:
        """Return the cleaned map (y, x): majority first, then the sieve."""
        cleaned = majority_filter(labels, self.majority) if self.majority > 1 else labels
        return sieve(cleaned, self.sieve) if self.sieve > 1 else cleaned


def majority_filter(labels: Codes, side: int) -> Codes:
    """Give each pixel the commonest class of the square around it.

    A pixel keeps its class unless another is more frequent; of several such classes
    the lowest code wins.  Pixels without data stay so and do not count.

    Examples
    --------
    >>> specks = np.array([[1, 1, 1], [1, 2, 1], [0, 1, 1]], np.uint8)
    >>> majority_filter(specks, 3).tolist()
    [[1, 1, 1], [1, 1, 1], [0, 1, 1]]
    """
    half, cleaned = side // 2, labels.copy()
    for top in range(0, labels.shape[0], _STRIP):
        first, last = max(top - half, 0), min(top + _STRIP, labels.shape[0])
        strip = _majority_of_strip(labels[first : last + half], side)
        cleaned[top:last] = strip[top - first : last - first]
    return cleaned


def _majority_of_strip(labels: Codes, side: int) -> Codes:
    from scipy.ndimage import uniform_filter

    own, most = (np.zeros(labels.shape, np.int32) for _ in range(2))
    winner = np.zeros_like(labels)
    for code in np.unique(labels[labels > 0]):
        here = labels == code
        shares = uniform_filter(here.astype(np.float64), side, mode="constant")
        votes = np.rint(shares * side**2).astype(np.int32)
        own[here] = votes[here]
        ahead = votes > most
        winner[ahead], most[ahead] = code, votes[ahead]
    return np.where((most > own) & (labels > 0), winner, labels)


def sieve(labels: Codes, pixels: int) -> Codes:
    """Merge regions of fewer pixels into their largest neighbour, by GDAL's sieve.

    Regions are connected by edges, not corners.  A region surrounded by no data stays.

    Examples
    --------
    >>> specks = np.array([[1, 1, 1, 1], [1, 2, 2, 1], [1, 1, 1, 1]], np.uint8)
    >>> int(sieve(specks, 3).max()), int(sieve(specks, 2).max())
    (1, 2)
    """
    from rasterio.features import sieve as gdal_sieve

    # GDAL refuses a threshold as large as the map.
    pixels = min(pixels, labels.size - 1)
    # Merged regions may become large enough to absorb others.
    for _ in range(_MAX_ROUNDS if pixels > 1 else 0):
        sieved = gdal_sieve(labels, pixels, mask=labels > 0)
        cleaned = np.where(labels > 0, sieved, 0).astype(labels.dtype)
        if (cleaned == labels).all():
            break
        labels = cleaned
    return labels


def sieve_area(
    labels: Codes, minimum: float, areas: Floats
) -> tuple[Codes, Regions, Floats]:
    """Merge small regions into their largest neighbour, where pixels differ in area.

    Like :func:`sieve`, repeated until no small region with a neighbour is left.

    Parameters
    ----------
    labels : array (y, x)
        Class codes; 0 = no data.
    minimum : float
        Smallest area of a region, in the unit of ``areas``.
    areas : array that broadcasts to (y, x)
        Area of each pixel.

    Returns
    -------
    codes : array (y, x)
    regions : Regions of these codes
    sizes : array (region,), the area of each; 0 for number 0

    Examples
    --------
    >>> specks = np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1], [1, 2, 1], [1, 1, 1]], np.uint8)
    >>> rows = np.array([[1.0], [1.0], [1.0], [3.0], [3.0]])
    >>> sieve_area(specks, 2.0, rows)[0].tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 2, 1], [1, 1, 1]]
    """
    everywhere = np.broadcast_to(areas, labels.shape)
    while True:
        regions = Regions.of(labels)
        sizes = np.zeros(len(regions.codes))
        for numbers, own in zip(regions.numbers, everywhere, strict=True):
            sizes += np.bincount(numbers, weights=own, minlength=len(sizes))
        sizes[0] = 0
        small = (sizes < minimum * (1 - 1e-9)) & (sizes > 0)
        into = _largest_neighbours(regions.numbers, sizes)
        merged = np.where(small & (into > 0), regions.codes[into], regions.codes)
        # Of two small neighbours that would swap classes, only the smaller one changes.
        number = np.arange(len(into))
        swaps = small & small[into] & (into[into] == number)
        larger = (sizes > sizes[into]) | ((sizes == sizes[into]) & (number <= into))
        stays = swaps & larger
        merged = np.where(stays, regions.codes, merged).astype(labels.dtype)
        if (merged == regions.codes).all():
            return labels, regions, sizes
        labels = merged[regions.numbers]


def _largest_neighbours(numbers: npt.NDArray[np.int32], sizes: Floats) -> Indices:
    """Return the largest neighbour of each region across an edge; 0 without one."""
    pairs = []
    for below, above in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        apart = (below != above) & (below > 0) & (above > 0)
        pairs.append(np.stack([below[apart], above[apart]]))
    first, second = np.concatenate([*pairs, *(pair[::-1] for pair in pairs)], axis=1)
    order = np.argsort(sizes[second], kind="stable")
    largest = np.zeros(len(sizes), np.intp)
    # The last assignment to an index wins: that of the largest neighbour.
    largest[first[order]] = second[order]
    return largest
