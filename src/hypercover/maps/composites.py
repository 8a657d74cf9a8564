"""Colour pictures of a scene: which three bands, by wavelength where it is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.maps.quicklook import Bands, pick_bands

__all__ = ["Composite", "choose_composites", "stretched"]

_NEAR = 60.0
"""How far in nm a band may lie from the one a composite asks for."""
_CUT = (2.0, 98.0)
_EMPTY = 233
_FALSE = {"infrared": (860.0, 650.0, 550.0), "shortwave": (2200.0, 1650.0, 660.0)}
"""Wavelengths in nm shown as red, green and blue: plants red; bare soil against plants."""


@dataclass(frozen=True)
class Composite:
    """Three bands shown as red, green and blue."""

    key: str
    """Its key in :data:`~hypercover.maps.view_words.COMPOSITES`."""
    positions: tuple[int, int, int]
    """Positions of the bands, from 0."""


def choose_composites(
    wavelengths: npt.NDArray[np.float64] | None, n_bands: int
) -> list[Composite]:
    """Choose the colour pictures a scene can be shown in, the most natural one first.

    Examples
    --------
    >>> waves = np.array([450.0, 560.0, 655.0, 860.0])
    >>> [(one.key, one.positions) for one in choose_composites(waves, 4)]
    [('true', (2, 1, 0)), ('infrared', (3, 2, 1))]
    >>> [one.key for one in choose_composites(None, 2)]
    ['grey']
    """
    found = [_named(pick_bands(wavelengths, n_bands))]
    if wavelengths is not None:
        found += _infrared(wavelengths)
    return found


def _named(bands: Bands) -> Composite:
    keys = {"true colour": "true", "false colour": "spread", "grey": "grey"}
    return Composite(keys[bands.kind], bands.positions)


def _infrared(wavelengths: npt.NDArray[np.float64]) -> Iterator[Composite]:
    """Go through the false colours whose bands the scene has."""
    for key, wanted in _FALSE.items():
        gaps = np.abs(wavelengths[None, :] - np.array(wanted)[:, None])
        if (gaps.min(axis=1) <= _NEAR).all():
            red, green, blue = (int(at) for at in gaps.argmin(axis=1))
            yield Composite(key, (red, green, blue))


def stretched(
    values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return a picture (y, x, 3) of three bands (band, y, x), each from its 2nd to 98th percentile.

    Pixels that hold no data are pale grey.
    """
    picture = np.full((*valid.shape, 3), _EMPTY, np.uint8)
    for at, band in enumerate(values.astype(np.float64)):
        known = band[valid]
        if known.size:
            low, high = np.percentile(known, _CUT)
            spread = high - low if high > low else 1.0
            shade = 255 * np.clip((known - low) / spread, 0.0, 1.0)
            picture[valid, at] = shade.astype(np.uint8)
    return picture
