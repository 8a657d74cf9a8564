"""Samples: positions and class codes of labelled pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.scene.scene import Scene, blank_invalid
from hypercover.types import Array, Indices, Ints


@dataclass(frozen=True, eq=False)
class Samples:
    """Positions and class codes of labelled pixels, without their spectra.

    Examples
    --------
    >>> Samples.of([[0, 3], [2, 0]]).labels
    array([3, 2])
    """

    rows: Indices
    """Row of each sample (n,)."""
    cols: Indices
    """Column of each sample (n,)."""
    labels: Ints
    """Class code of each sample (n,), from 1."""

    @classmethod
    def of(cls, labels: npt.ArrayLike) -> "Samples":
        """Return all labelled pixels of a label map (y, x), row by row."""
        label_map = np.asarray(labels)
        rows, cols = np.nonzero(label_map)
        return cls(rows, cols, label_map[rows, cols].astype(np.int64))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def take(self, which: Array) -> "Samples":
        """Select samples by index or mask."""
        return Samples(self.rows[which], self.cols[which], self.labels[which])


MOST_WINDOW = 2**12
"""Largest side of a window in pixels."""


def check_window(size: int, shape: tuple[int, int]) -> int:
    """Check a window size against an image of (rows, columns), and return it.

    Raises
    ------
    CallError
        If the size is even, below 1, or larger than the image or any window.
    """
    if size < 1 or size % 2 == 0:
        near = f"{size - 1} or {size + 1}" if size > 1 else "9"
        raise CallError(
            f"The window size must be odd and at least 1, got {size}; use {near}."
        )
    if size > MOST_WINDOW:
        raise CallError(
            f"A window has at most {MOST_WINDOW} × {MOST_WINDOW} pixels, got {size}; use a "
            "smaller window."
        )
    if size > min(shape):
        raise CallError(
            f"The window of {size} × {size} pixels is larger than the image of "
            f"{shape[0]} × {shape[1]}; use a smaller window."
        )
    return size


def spectra_of(scene: Scene, samples: Samples) -> Array:
    """Read the spectra (n, band) of samples in the type of the cube.

    Only strips with a sample are read, one at a time.  Pixels without data are zero.

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
