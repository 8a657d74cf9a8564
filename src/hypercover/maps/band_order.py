"""The order in which bands are drawn, and where a spectrum must break."""

import numpy as np
import numpy.typing as npt

from hypercover.scene.scene import Scene

__all__ = ["with_gaps"]

Positions = npt.NDArray[np.intp]


def with_gaps(scene: Scene) -> tuple[Positions, Positions]:
    """Return the bands in order of wavelength, and where the line must break.

    A line that runs on across dropped bands would show values nobody measured.
    Breaks are positions in that order: the line breaks before each of them.
    """
    bands = scene.bands.astype(np.float64)
    waves = bands if scene.wavelengths is None else scene.wavelengths
    order = np.argsort(waves, kind="stable")
    steps, jumps = np.diff(waves[order]), np.abs(np.diff(bands[order]))
    usual = np.median(steps) if len(steps) else 1.0
    wide = steps > 3.5 * usual
    missing = (jumps > 1) & (steps > 1.5 * usual)
    return order, np.flatnonzero(wide | missing) + 1
