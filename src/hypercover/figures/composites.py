"""Colour pictures of a scene: which three bands, by wavelength where it is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.figures.canvas import step_for
from hypercover.scene.metadata import marked
from hypercover.scene.nodata import valid_pixels
from hypercover.scene.scene import Scene

__all__ = [
    "Composite",
    "CompositeBands",
    "choose_composites",
    "pick_bands",
    "quicklook",
    "stretched",
    "titled",
]

_TRUE = (650.0, 550.0, 460.0)
"""Red, green and blue in nm."""

_NEAR = 40.0
"""How far in nm a band may lie from the colour it stands for."""

_CUT = (2.0, 98.0)
"""Percentiles of the values drawn black and full."""

_EMPTY = 233

_STRIP = 512


@dataclass(frozen=True)
class CompositeBands:
    """The three bands that a picture shows as red, green and blue."""

    positions: tuple[int, int, int]
    """Positions from 0."""
    kind: str
    """"true colour", "false colour" or "grey"."""

    def describe(self, scene: Scene) -> str:
        """Return the bands in words: wavelengths where known, else numbers."""
        waves = scene.wavelengths
        if waves is None:
            shown = [f"{scene.bands[at]}" for at in self.positions]
            return (
                "band " + shown[0] if self.kind == "grey" else "bands " + ", ".join(shown)
            )
        return ", ".join(f"{waves[at]:.0f}" for at in self.positions) + " nm"


def titled(scene: Scene, what: str) -> str:
    """Return a title that says which scene it is, and whether it was measured."""
    return marked(f"{scene.name}: {what}", scene.origin)


def pick_bands(wavelengths: npt.NDArray[np.float64] | None, n_bands: int) -> CompositeBands:
    """Choose the bands to show as red, green and blue.

    True colour where bands lie near 650, 550 and 460 nm; otherwise three
    bands spread over the spectrum, the longest waves as red.

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
        gaps = np.abs(wavelengths[None, :] - np.array(_TRUE)[:, None])
        if (gaps.min(axis=1) <= _NEAR).all():
            red, green, blue = (int(at) for at in gaps.argmin(axis=1))
            return CompositeBands((red, green, blue), "true colour")
    order = np.arange(n_bands) if wavelengths is None else np.argsort(wavelengths)
    # The outermost bands of a sensor are its noisiest: stay a little inside.
    edge = n_bands // 8
    spread = (order[-1 - edge], order[n_bands // 2], order[edge])
    return CompositeBands((int(spread[0]), int(spread[1]), int(spread[2])), "false colour")


def quicklook(scene: Scene) -> npt.NDArray[np.uint8]:
    """Return a colour picture (y, x, 3) of a scene, thinned out where it is large.

    Each colour is stretched between the 2nd and 98th percentile of the pixels
    that hold data; those that hold none are pale grey.
    """
    bands = pick_bands(scene.wavelengths, scene.n_bands)
    values, valid = _read(scene, bands)
    stretched = np.zeros(values.shape)
    if valid.any():
        for band, target in zip(values.astype(np.float64), stretched, strict=True):
            low, high = np.percentile(band[valid], _CUT)
            spread = high - low if high > low else 1.0
            target[valid] = np.clip((band[valid] - low) / spread, 0.0, 1.0)
    image = np.where(valid, 255 * stretched, _EMPTY).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(image, 0, 2))


def _read(
    scene: Scene, bands: CompositeBands
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Read three bands and which pixels hold data in them, thinned out, strip by strip."""
    step = step_for(scene.shape)
    cube = scene.cube.isel(band=list(bands.positions), x=slice(None, None, step))
    tops = range(0, scene.shape[0], _STRIP * step)
    values, valid = [], []
    for top in tops:
        piece = cube.isel(y=slice(top, min(top + _STRIP * step, scene.shape[0]), step))
        values.append(piece.values)
        valid.append(valid_pixels(piece, values[-1]))
    return np.concatenate(values, axis=1), np.concatenate(valid)


_COMPOSITE_NEAR = 60.0
"""How far in nm a band may lie from the one a composite asks for."""

_COMPOSITE_CUT = (2.0, 98.0)

_COMPOSITE_EMPTY = 233

_FALSE = {"infrared": (860.0, 650.0, 550.0), "shortwave": (2200.0, 1650.0, 660.0)}
"""Wavelengths in nm shown as red, green and blue: plants red; bare soil against plants."""


@dataclass(frozen=True)
class Composite:
    """Three bands shown as red, green and blue."""

    key: str
    """Its key in :data:`~hypercover.report.view.COMPOSITES`."""
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


def _named(bands: CompositeBands) -> Composite:
    keys = {"true colour": "true", "false colour": "spread", "grey": "grey"}
    return Composite(keys[bands.kind], bands.positions)


def _infrared(wavelengths: npt.NDArray[np.float64]) -> Iterator[Composite]:
    """Go through the false colours whose bands the scene has."""
    for key, wanted in _FALSE.items():
        gaps = np.abs(wavelengths[None, :] - np.array(wanted)[:, None])
        if (gaps.min(axis=1) <= _COMPOSITE_NEAR).all():
            red, green, blue = (int(at) for at in gaps.argmin(axis=1))
            yield Composite(key, (red, green, blue))


def stretched(
    values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return a picture (y, x, 3) of three bands (band, y, x), each from its 2nd to 98th percentile.

    Pixels that hold no data are pale grey.
    """
    picture = np.full((*valid.shape, 3), _COMPOSITE_EMPTY, np.uint8)
    for at, band in enumerate(values.astype(np.float64)):
        known = band[valid]
        if known.size:
            low, high = np.percentile(known, _COMPOSITE_CUT)
            spread = high - low if high > low else 1.0
            shade = 255 * np.clip((known - low) / spread, 0.0, 1.0)
            picture[valid, at] = shade.astype(np.uint8)
    return picture
