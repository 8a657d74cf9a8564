"""The spectra of samples, read without holding the whole cube."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.samples.samples import Samples
from hypercover.scene.scene import Scene, blank_invalid

__all__ = ["spectra_of"]


def spectra_of(scene: Scene, samples: Samples) -> npt.NDArray[Any]:
    """Return the spectra (n, band) of samples in the type of the cube.

    Why it exists: a tenth of the pixels need no copy of all of them.  Only strips
    that hold a sample are read, one at a time.  Pixels without data are zeros.

    Examples
    --------
    >>> import xarray as xr
    >>> cube = xr.DataArray(np.arange(12).reshape(2, 2, 3), dims=("band", "y", "x"))
    >>> spectra_of(Scene(cube), Samples.of([[0, 0, 1], [2, 0, 0]])).tolist()
    [[2, 8], [3, 9]]
    """
    spectra = np.empty((len(samples), scene.n_bands), scene.cube.dtype)
    for rows in scene.strips():
        inside = (samples.rows >= rows.start) & (samples.rows < rows.stop)
        if not inside.any():
            continue
        strip = blank_invalid(scene.read(rows, slice(None)), scene.valid[rows])
        at = samples.rows[inside] - rows.start, samples.cols[inside]
        spectra[inside] = strip[:, at[0], at[1]].T
    return spectra
