"""Colour composites of a scene."""

from dataclasses import dataclass

import numpy as np

from hypercover.figures.canvas import thinning_step
from hypercover.scene.metadata import labelled_name
from hypercover.scene.nodata import valid_pixels
from hypercover.scene.scene import Scene, pick_bands, stretched
from hypercover.scene.tiling import strips
from hypercover.types import Bytes, Floats

_STRIP = 512


def scene_title(scene: Scene, what: str) -> str:
    """Return a title with the scene's name and whether it was measured."""
    return labelled_name(f"{scene.name}: {what}", scene.origin)


def quicklook(scene: Scene) -> Bytes:
    """Return a colour image (y, x, 3) of a scene, thinned out if it is large.

    Each colour is stretched between the 2nd and 98th percentile of the valid pixels;
    pixels without data are pale grey.
    """
    positions = pick_bands(scene.wavelengths, scene.n_bands).positions
    step = thinning_step(scene.shape)
    cube = scene.cube.isel(band=list(positions), x=slice(None, None, step))
    values, valid = [], []
    for rows in strips(scene.shape[0], _STRIP * step):
        piece = cube.isel(y=slice(rows.start, rows.stop, step))
        values.append(piece.values)
        valid.append(valid_pixels(piece, values[-1]))
    return stretched(np.concatenate(values, axis=1), np.concatenate(valid))


_MAX_DISTANCE = 60.0
"""Largest distance in nm of a band from the wavelength of a composite."""

_FALSE_COLOURS = {"infrared": (860.0, 650.0, 550.0), "shortwave": (2200.0, 1650.0, 660.0)}
"""Wavelengths in nm shown as red, green and blue: for vegetation, and for bare soil."""


@dataclass(frozen=True)
class Composite:
    """Three bands shown as red, green and blue."""

    key: str
    """Its key in :data:`~hypercover.report.scene_view.COMPOSITES`."""
    positions: tuple[int, int, int]
    """Positions of the bands, from 0."""


def choose_composites(wavelengths: Floats | None, n_bands: int) -> list[Composite]:
    """Choose the colour composites of a scene, the most natural one first.

    Examples
    --------
    >>> waves = np.array([450.0, 560.0, 655.0, 860.0])
    >>> [(one.key, one.positions) for one in choose_composites(waves, 4)]
    [('true', (2, 1, 0)), ('infrared', (3, 2, 1))]
    >>> [one.key for one in choose_composites(None, 2)]
    ['grey']
    """
    bands = pick_bands(wavelengths, n_bands)
    keys = {"true colour": "true", "false colour": "spread", "grey": "grey"}
    composites = [Composite(keys[bands.kind], bands.positions)]
    if wavelengths is None:
        return composites
    for key, colours in _FALSE_COLOURS.items():
        distances = np.abs(wavelengths[None, :] - np.array(colours)[:, None])
        if (distances.min(axis=1) <= _MAX_DISTANCE).all():
            red, green, blue = (int(at) for at in distances.argmin(axis=1))
            composites.append(Composite(key, (red, green, blue)))
    return composites
