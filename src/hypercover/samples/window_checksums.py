"""Checksums of some windows, by which a file knows the scene it was cut from."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.samples.samples import Samples
from hypercover.samples.windows import Windows
from hypercover.scene.scene import Scene

__all__ = ["checksums", "spread"]

_LOOKED_AT = 32
"""Windows that are compared: enough to tell scenes apart, few enough to read at once."""


def spread(count: int) -> npt.NDArray[np.intp]:
    """Return at most 32 positions, evenly spread over so many windows.

    Examples
    --------
    >>> spread(3).tolist(), len(spread(100)), spread(100)[[0, 1, -1]].tolist()
    ([0, 1, 2], 32, [0, 3, 99])
    """
    return np.unique(np.linspace(0, count - 1, _LOOKED_AT).astype(np.intp))


def checksums(
    scene: Scene, samples: Samples, size: int, dtype: np.dtype[Any]
) -> tuple[str, ...]:
    """Return the SHA-256 of the window around each sample, values little-endian.

    Why it exists: two scenes of one grid and type differ in nothing but their
    values.  Only the rows that the windows see are read.
    """
    little = dtype.newbyteorder("<")
    return tuple(
        hashlib.sha256(
            Windows.near(scene, samples.take(np.array([at])), size)
            .cut()
            .astype(little, copy=False)
            .tobytes()
        ).hexdigest()
        for at in range(len(samples))
    )
