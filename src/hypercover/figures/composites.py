"""Colour pictures of a scene: which three bands, by wavelength where it is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.figures.canvas import thinning_step
from hypercover.scene.metadata import labelled_name
from hypercover.scene.nodata import valid_pixels
from hypercover.scene.rgb import CompositeBands, pick_bands, stretched
from hypercover.scene.scene import Scene

__all__ = ["Composite", "choose_composites", "quicklook", "scene_title"]

_STRIP = 512


def scene_title(scene: Scene, what: str) -> str:
    """Return a title that says which scene it is, and whether it was measured."""
    return labelled_name(f"{scene.name}: {what}", scene.origin)


def quicklook(scene: Scene) -> npt.NDArray[np.uint8]:
    """Return a colour picture (y, x, 3) of a scene, thinned out where it is large.

    Each colour is stretched between the 2nd and 98th percentile of the pixels
    that hold data; those that hold none are pale grey.
    """
    bands = pick_bands(scene.wavelengths, scene.n_bands)
    return stretched(*_read(scene, bands))


def _read(
    scene: Scene, bands: CompositeBands
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Read three bands and which pixels hold data in them, thinned out, strip by strip."""
    step = thinning_step(scene.shape)
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

_FALSE = {"infrared": (860.0, 650.0, 550.0), "shortwave": (2200.0, 1650.0, 660.0)}
"""Wavelengths in nm shown as red, green and blue: plants red; bare soil against plants."""


@dataclass(frozen=True)
class Composite:
    """Three bands shown as red, green and blue."""

    key: str
    """Its key in :data:`~hypercover.report.scene_view.COMPOSITES`."""
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
