"""Registration of a fine image to a coarse one by their georeferences, and radiometric matching."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid
from hypercover.types import Floats

_LEAST, _MOST = 1.5, 16.0
"""Range of ratios of pixel sizes."""

_SQUARE = 0.02
"""Largest relative difference of the ratios down and across."""


@dataclass(frozen=True)
class Registration:
    """Position of fine pixels in a coarse image, down and across."""

    step: tuple[float, float]
    """Coarse pixels from one fine pixel to the next: 0.25 at a ratio of 4."""
    start: tuple[float, float]
    """Corner of the fine image, in coarse pixels from the coarse corner."""

    @property
    def ratio(self) -> float:
        """Fine pixels along a coarse one, averaged over both directions."""
        return 2.0 / (self.step[0] + self.step[1])

    @property
    def levels(self) -> int:
        """Number of wavelet planes missing from the coarse image: log2 of the ratio."""
        return max(1, round(float(np.log2(self.ratio))))

    def centres(self, axis: int, part: slice) -> Floats:
        """Return the centres of fine pixels; 0 is the centre of the first coarse pixel.

        At a ratio of 4 and a common corner the first fine centre is at -0.375, not at
        0: this is the phase.
        """
        return self.edges(axis, part)[:-1] + self.step[axis] / 2 - 0.5

    def edges(self, axis: int, part: slice) -> Floats:
        """Return the edges of fine pixels in coarse pixels from the coarse corner."""
        count = np.arange(part.start, part.stop + 1)
        return self.start[axis] + self.step[axis] * count

    def inverse(self) -> "Registration":
        """Return the registration of coarse pixels in the fine image."""
        return Registration(
            (1 / self.step[0], 1 / self.step[1]),
            (-self.start[0] / self.step[0], -self.start[1] / self.step[1]),
        )


def register(fine: Grid, coarse: Grid) -> Registration:
    """Register the grid of a fine image to that of a coarse one.

    Raises
    ------
    SceneError
        If one has no georeference, is rotated or mirrored, if their coordinate
        systems differ, they do not overlap, or the fine one is not finer.

    Examples
    --------
    >>> pan = Grid(8, 8, None, (1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
    >>> colours = Grid(2, 2, None, (4.0, 0.0, 0.0, 0.0, -4.0, 8.0))
    >>> laid = register(pan, colours)
    >>> laid.ratio, laid.centres(0, slice(0, 3)).tolist()
    (4.0, [-0.375, -0.125, 0.125])
    """
    _check_placed(fine, coarse)
    _check_system(fine, coarse)
    (xf, _, left, _, yf, top), (xc, _, west, _, yc, north) = (
        fine.transform,
        coarse.transform,
    )
    if yf * yc < 0 or xf * xc < 0:
        raise SceneError(
            "One of the two images is mirrored relative to the other; write both north up "
            "first (gdalwarp)."
        )
    laid = Registration((yf / yc, xf / xc), ((top - north) / yc, (left - west) / xc))
    _check_ratio(laid, fine, coarse)
    _check_overlap(laid, fine, coarse)
    return laid


def _check_placed(fine: Grid, coarse: Grid) -> None:
    for grid, name in ((fine, "panchromatic"), (coarse, "multispectral")):
        if not grid.placed:
            raise SceneError(
                f"The {name} image has no georeference, so it cannot be registered to the "
                "other one; give georeferenced images."
            )
        if grid.transform[1] or grid.transform[3]:
            raise SceneError(
                f"The {name} image is rotated in its coordinate system; write it north up "
                "first (gdalwarp)."
            )


def _check_system(fine: Grid, coarse: Grid) -> None:
    from rasterio.crs import CRS

    if fine.crs is None or coarse.crs is None:
        return
    one, other = CRS.from_user_input(fine.crs), CRS.from_user_input(coarse.crs)
    if one != other:
        raise SceneError(
            f"The panchromatic image is in {_named(one)} and the multispectral one in "
            f"{_named(other)}; bring both into one coordinate system first (gdalwarp)."
        )


def _named(system: object) -> str:
    return str(system)[:60]


def _check_ratio(laid: Registration, fine: Grid, coarse: Grid) -> None:
    down, across = laid.step
    alike = abs(down / across - 1) <= _SQUARE
    if not (alike and _LEAST <= laid.ratio <= _MOST):
        sides = [
            f"{abs(grid.transform[0]):g} × {abs(grid.transform[4]):g}"
            for grid in (fine, coarse)
        ]
        raise SceneError(
            f"The panchromatic pixels must be {_LEAST} to {_MOST:g} times as fine as the "
            f"multispectral ones, alike in both directions, found {sides[0]} against "
            f"{sides[1]}; give the panchromatic image first."
        )


def _check_overlap(laid: Registration, fine: Grid, coarse: Grid) -> None:
    for axis, (count, size) in enumerate(zip(fine.shape, coarse.shape, strict=True)):
        first, last = laid.centres(axis, slice(0, count))[[0, -1]] + 0.5
        if last <= 0 or first >= size:
            raise SceneError(
                "The panchromatic and the multispectral image do not overlap; give two "
                "images of the same place."
            )


Values = npt.NDArray[np.floating]

_LEAST_PIXELS = 0.1
"""Share of a band's mean below which the smoothed image is not divided by."""


class Moments:
    """Mean and standard deviation of each row of values, accumulated part by part.

    Examples
    --------
    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0, 2.0]]))
    >>> moments.add(np.array([[6.0]]))
    >>> moments.mean.tolist(), (moments.deviation**2).round(3).tolist()
    ([3.0], [4.667])
    """

    def __init__(self, rows: int) -> None:
        self.count = 0
        self.mean = np.zeros(rows)
        self._squares = np.zeros(rows)

    def add(self, values: Values) -> None:
        """Add values (row, n)."""
        self.merge(self.of(values))

    @staticmethod
    def of(values: Values) -> Floats:
        """Return count, mean and squared deviations (3, row) of values (row, n)."""
        count = values.shape[1]
        if not count:
            return np.zeros((3, len(values)))
        mean = values.mean(axis=1, dtype=np.float64)
        squares = np.square(values - mean[:, None]).sum(axis=1, dtype=np.float64)
        return np.stack([np.full(len(values), float(count)), mean, squares])

    def merge(self, piece: Floats) -> None:
        """Add the statistics of a part by the update of Chan, Golub and LeVeque (1979)."""
        counts, mean, squares = piece
        count = int(counts[0])
        if not count:
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self._squares = self._squares + squares + apart**2 * (self.count * count / total)
        self.count = total

    @property
    def deviation(self) -> Floats:
        """Standard deviation of each row."""
        return np.sqrt(self._squares / max(self.count, 1))


@dataclass(frozen=True, eq=False)
class BandMatch:
    """Linear match of a panchromatic image to each band: gain · pan + offset."""

    gain: Floats
    """Gain of each band (band,); 0 if the panchromatic image is constant."""
    offset: Floats
    """Offset of each band (band,)."""
    least: Floats
    """Smallest value of the smoothed image (band,) that is divided by."""

    @classmethod
    def of(cls, grey: Moments, smooth: Moments, bands: Moments) -> "BandMatch":
        """Match means, and the deviation of the smoothed image to that of each band.

        The bands are smooth themselves; matching the deviation before smoothing would
        make the details too weak.
        """
        flat = smooth.deviation[0] <= 1e-9 * abs(grey.mean[0])
        gain = np.zeros_like(bands.mean) if flat else bands.deviation / smooth.deviation[0]
        return cls(
            gain, bands.mean - gain * grey.mean[0], _LEAST_PIXELS * np.abs(bands.mean)
        )

    def injected(
        self, band: Values, grey: Values, low: Values, position: int, injection: str
    ) -> Values:
        """Inject the details of a panchromatic image (row, col) into a band on its grid.

        Where the smoothed image is below a tenth of the band's mean, the ratio would
        blow up, and the details are added.
        """
        gain, offset = float(self.gain[position]), float(self.offset[position])
        detail = gain * (grey - low)
        if injection == "additive":
            return band + detail
        smooth = gain * low + offset
        usable = smooth > float(self.least[position])
        ratio = np.where(usable, band / np.where(usable, smooth, 1), 1)
        return band + ratio * detail
