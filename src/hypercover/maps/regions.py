"""The regions of a class map: connected pixels of one class, and their outlines."""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError

__all__ = ["Outlines", "Regions"]

Codes = npt.NDArray[np.unsignedinteger]
_MOST = 5_000_000
"""Regions outlined at most: more are noise, which no GIS draws."""
_PIXELS = 2**17
"""Pixels in a strip whose outlines are held at the same time."""


class Outlines(NamedTuple):
    """Some regions as shapes."""

    shapes: npt.NDArray[np.object_]
    """Polygons, in the coordinates of the map."""
    codes: npt.NDArray[np.int64]
    """Class of each."""


class Regions(NamedTuple):
    """Regions that are connected over edges, not corners.

    Why it exists: the outlines of a large map take a hundred times the memory of the
    map, so that they are made strip by strip.  A region that is higher than a strip
    keeps for the end, and is outlined in one piece like every other.
    """

    numbers: npt.NDArray[np.int32]
    """Region of each pixel (row, col), from 1; 0 = none."""
    codes: npt.NDArray[np.int64]
    """Class of each region; of number 0 it is 0."""
    pixels: npt.NDArray[np.int64]
    """Pixels of each region; of number 0 they are 0."""

    @classmethod
    def of(cls, codes: Codes) -> Self:
        """Find the regions of a map (row, col); 0 belongs to none.

        Raises
        ------
        LabelError
            If there are more than anybody draws.

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
            found, count = ndimage.label(here)
            numbers[box][here] = found[here] + np.int32(len(classes) - 1)
            classes += [code] * count
            if len(classes) > _MOST:
                raise LabelError(
                    f"The map falls into more than {_MOST:,} regions; clean it with "
                    "--majority or --sieve, or give a minimum area."
                )
        pixels = np.bincount(numbers.ravel(), minlength=len(classes))
        pixels[0] = 0
        return cls(numbers, np.array(classes, np.int64), pixels)

    def outlines(
        self, transform: tuple[float, ...], wanted: npt.NDArray[np.bool_]
    ) -> Iterator[Outlines]:
        """Give the shapes of the wanted regions, a strip's at a time.

        Parameters
        ----------
        transform : tuple of float
            From pixels to coordinates, the six numbers of an affine map.
        wanted : bool array (region,)
        """
        rows, cols = self.numbers.shape
        high = max(1, _PIXELS // cols)
        first, last = self._extents()
        tall = wanted & (last - first >= high)
        for top in range(0, rows, high):
            begins = (first >= top) & (first < top + high)
            yield self._traced(
                slice(top, top + 2 * high), begins & wanted & ~tall, transform
            )
        yield self._traced(slice(0, rows), tall, transform)

    def _extents(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the first and the last row of each region."""
        first = np.full(len(self.codes), -1, np.intp)
        last = first.copy()
        for row, numbers in enumerate(self.numbers):
            last[numbers] = row
            first[numbers] = np.where(first[numbers] < 0, row, first[numbers])
        return first, last

    def _traced(
        self, rows: slice, chosen: npt.NDArray[np.bool_], transform: tuple[float, ...]
    ) -> Outlines:
        """Outline the chosen regions, which lie in some rows."""
        from affine import Affine
        from rasterio.features import shapes
        from shapely import transform as moved
        from shapely.geometry import shape as as_shape

        numbers = self.numbers[rows]
        # In whole pixels of the map, which are exact: placed after that, neighbours that
        # are traced in two strips share their corners.
        place = Affine.translation(0, rows.start)
        traced, codes = [], []
        if chosen.any():
            for shape, number in shapes(numbers, mask=chosen[numbers], transform=place):
                traced.append(as_shape(shape))
                codes.append(self.codes[int(number)])
        a, b, c, d, e, f = transform

        def placed(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            col, row = pixels.T
            return np.stack([c + col * a + row * b, f + col * d + row * e], axis=1)

        found = moved(np.array(traced, dtype=object), placed)
        return Outlines(found, np.array(codes, np.int64))
