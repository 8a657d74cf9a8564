"""What surrounds the bands of a scene of any size: the median of its edge."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hypercover.scene.scene import Scene

__all__ = ["edge_levels"]

_GAP = 64
"""Columns without an edge that are worth leaving unread."""


def edge_levels(scene: Scene) -> list[float]:
    """Return for each band the median of the pixels at the edge of the data.

    The same as :func:`~hypercover.features.shapes.surroundings` of each whole
    band, of which the edge alone is read.

    Examples
    --------
    >>> import xarray as xr
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> edge_levels(Scene(xr.DataArray(band[None], dims=("band", "y", "x"))))
    [4.5]
    """
    valid = scene.valid
    around = np.pad(valid, 1)
    enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edge = valid & ~enclosed
    found = [
        scene.read(rows, cols)[:, edge[rows, cols]]
        for rows in scene.strips()
        for cols in _runs(edge[rows])
    ]
    if not found:
        return [0.0] * scene.n_bands
    values = np.concatenate(found, axis=1).astype(np.float64)
    return [float(level) for level in np.median(values, axis=1)]


def _runs(edge: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Cut the columns that hold an edge into runs without long gaps."""
    cols = np.flatnonzero(edge.any(axis=0))
    for run in np.split(cols, np.flatnonzero(np.diff(cols) > _GAP) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)
