"""The undecimated wavelet transform "à trous" with the cubic B-spline.

An image is smoothed again and again, each time with a kernel spread twice as
wide; what one smoothing takes away is a *plane* of detail.  No pixel is dropped,
so the transform shifts with the image, and the planes and the residual add up to
the image.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

__all__ = ["KERNEL", "atrous", "low_pass", "reach"]

KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""The cubic B-spline at whole numbers; all parts are exact in binary."""


def reach(levels: int) -> int:
    """Return how many pixels away a value may lie that the last smoothing sees.

    Examples
    --------
    >>> [reach(levels) for levels in (1, 2, 3)]
    [2, 6, 14]
    """
    return 2 * ((1 << levels) - 1)


def atrous(
    image: npt.NDArray[np.floating], levels: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Split an image into planes of detail, the finest first, and a smooth residual.

    Why it exists: the details of a sharp image can be put into a blurred one
    without touching its large-scale values.  Beyond its edge the image is
    repeated.

    Parameters
    ----------
    image : array of float, shape (row, col)
    levels : int
        Smoothings; each doubles the scale.

    Returns
    -------
    planes : array (level, row, col)
    residual : array (row, col)

    References
    ----------
    Núñez, J., et al. "Multiresolution-based image fusion with additive wavelet
    decomposition." IEEE TGRS 37(3), 1999.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 999, (9, 7)).astype(float)
    >>> planes, residual = atrous(image, 2)
    >>> planes.shape, bool((planes.sum(axis=0) + residual == image).all())
    ((2, 9, 7), True)
    """
    margin = reach(levels)
    around = np.pad(image, margin, mode="edge")
    smooth = [around]
    for level in range(levels):
        smooth.append(_smoothed(smooth[-1], level))
    steps = np.stack([_inner(one, margin) for one in smooth])
    return steps[:-1] - steps[1:], steps[-1]


def low_pass(around: npt.NDArray[np.floating], levels: int) -> npt.NDArray[np.floating]:
    """Return the residual alone, of an image (row, col) that brings its margin along.

    Why it exists: all planes together are the image less its residual, so a tile
    needs no more, and whoever cuts tiles has read what lies around them.  The
    result is smaller by :func:`reach` pixels on each side.
    """
    for level in range(levels):
        around = _smoothed(around, level)
    return _inner(around, reach(levels))


def _inner(around: npt.NDArray[np.floating], margin: int) -> npt.NDArray[np.floating]:
    """Drop the margin, where the end of the array has been seen."""
    return around[margin:-margin, margin:-margin]


def _smoothed(image: npt.NDArray[np.floating], level: int) -> npt.NDArray[np.floating]:
    """Smooth rows and columns with the kernel spread by 2 ** level."""
    spread = np.zeros(4 * 2**level + 1)
    spread[:: 2**level] = KERNEL
    for axis in (0, 1):
        image = correlate1d(image, spread, axis=axis, mode="nearest")
    return image
