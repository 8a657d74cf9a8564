"""Statistics gathered piece by piece, and matching a grey image to a band by them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Match", "Moments"]

Values = npt.NDArray[np.floating]
_LEAST = 0.1
"""Share of a band's mean below which the smoothed image is no divisor."""


class Moments:
    """Mean and standard deviation of each row of values, gathered piece by piece.

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
        """Take in values (row, n)."""
        self.merge(self.of(values))

    @staticmethod
    def of(values: Values) -> npt.NDArray[np.float64]:
        """Return the statistics of one piece (row, n), as `merge` takes them.

        Why it exists: those of a piece can be kept in a file.

        Returns
        -------
        count, mean and squared deviations (3, row)
        """
        count = values.shape[1]
        if not count:
            return np.zeros((3, len(values)))
        mean = values.mean(axis=1, dtype=np.float64)
        squares = np.square(values - mean[:, None]).sum(axis=1, dtype=np.float64)
        return np.stack([np.full(len(values), float(count)), mean, squares])

    def merge(self, piece: npt.NDArray[np.float64]) -> None:
        """Take in the statistics of a piece by Chan, Golub and LeVeque's update (1979)."""
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
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each row."""
        return np.sqrt(self._squares / max(self.count, 1))


@dataclass(frozen=True, eq=False)
class Match:
    """What turns a grey image into one that looks like each band: gain · grey + offset."""

    gain: npt.NDArray[np.float64]
    """Factor of each band (band,); 0 where the grey image is flat."""
    offset: npt.NDArray[np.float64]
    """Summand of each band (band,)."""
    least: npt.NDArray[np.float64]
    """Value of the smoothed image (band,) up to which no ratio with it means anything."""

    @classmethod
    def of(cls, grey: Moments, smooth: Moments, bands: Moments) -> "Match":
        """Match means, and the deviation of the smoothed grey image to that of each band.

        The bands are smooth themselves: the grey image's own deviation would
        make its details too weak.
        """
        flat = smooth.deviation[0] <= 1e-9 * abs(grey.mean[0])
        gain = np.zeros_like(bands.mean) if flat else bands.deviation / smooth.deviation[0]
        return cls(gain, bands.mean - gain * grey.mean[0], _LEAST * np.abs(bands.mean))

    def injected(
        self, band: Values, grey: Values, low: Values, position: int, injection: str
    ) -> Values:
        """Put the details of a grey image (row, col) into a band on the same grid.

        Where the smoothed grey image is below a tenth of the band's mean, a ratio
        would blow up, and the details are added.
        """
        gain, offset = float(self.gain[position]), float(self.offset[position])
        detail = gain * (grey - low)
        if injection == "additive":
            return band + detail
        smooth = gain * low + offset
        usable = smooth > float(self.least[position])
        ratio = np.where(usable, band / np.where(usable, smooth, 1), 1)
        return band + ratio * detail
