"""RGB pictures of a cube: which three bands to show, and how to stretch them."""

from dataclasses import dataclass

import numpy as np

from hypercover.types import Array, Bytes, Floats, Ints, Mask

_TRUE_COLOUR_NM = (650.0, 550.0, 460.0)
"""Red, green and blue in nm."""
_TOLERANCE_NM = 40.0
"""Largest distance of a band from the colour it represents, nm."""
_PERCENTILES = (2.0, 98.0)
"""Percentiles of the values drawn black and full."""
_NO_DATA_GREY = 233


@dataclass(frozen=True)
class CompositeBands:
    """The three bands that a picture shows as red, green and blue."""

    positions: tuple[int, int, int]
    """Positions from 0."""
    kind: str
    """"true colour", "false colour" or "grey"."""

    def describe(self, numbers: Ints, wavelengths: Floats | None) -> str:
        """Return the wavelengths of the bands as text, or their numbers if unknown."""
        if wavelengths is not None:
            return ", ".join(f"{wavelengths[at]:.0f}" for at in self.positions) + " nm"
        shown = [f"{numbers[at]}" for at in self.positions]
        return f"band {shown[0]}" if self.kind == "grey" else f"bands {', '.join(shown)}"


def pick_bands(wavelengths: Floats | None, n_bands: int) -> CompositeBands:
    """Choose the bands to show as red, green and blue.

    True colour if there are bands near 650, 550 and 460 nm; otherwise three bands
    spread over the spectrum, the longest wavelength as red.

    Examples
    --------
    >>> pick_bands(np.array([450.0, 560.0, 655.0, 860.0]), 4)
    CompositeBands(positions=(2, 1, 0), kind='true colour')
    >>> pick_bands(None, 5)
    CompositeBands(positions=(4, 2, 0), kind='false colour')
    """
    if n_bands < 3:
        return CompositeBands((0, 0, 0), "grey")
    if wavelengths is not None:
        gaps = np.abs(wavelengths[None, :] - np.array(_TRUE_COLOUR_NM)[:, None])
        if (gaps.min(axis=1) <= _TOLERANCE_NM).all():
            red, green, blue = (int(at) for at in gaps.argmin(axis=1))
            return CompositeBands((red, green, blue), "true colour")
    order = np.arange(n_bands) if wavelengths is None else np.argsort(wavelengths)
    # The outermost bands of a sensor are its noisiest.
    edge = n_bands // 8
    spread = (order[-1 - edge], order[n_bands // 2], order[edge])
    return CompositeBands((int(spread[0]), int(spread[1]), int(spread[2])), "false colour")


def stretched(values: Array, valid: Mask) -> Bytes:
    """Return an 8-bit picture (y, x, 3) of three bands (band, y, x).

    Each band is stretched from its 2nd to its 98th percentile; pixels without data
    are pale grey.
    """
    picture = np.full((*valid.shape, 3), _NO_DATA_GREY, np.uint8)
    for at, band in enumerate(values.astype(np.float64)):
        known = band[valid]
        if known.size:
            low, high = np.percentile(known, _PERCENTILES)
            spread = high - low if high > low else 1.0
            shade = 255 * np.clip((known - low) / spread, 0.0, 1.0)
            picture[valid, at] = shade.astype(np.uint8)
    return picture
