"""Resampling: cubic convolution, area means, and the undecimated "à trous" wavelet transform.

The transform smooths an image repeatedly with a cubic B-spline, each time spread
twice as wide.  The difference of two steps is a *plane* of detail.  The transform is
shift-invariant, and planes and residual add up to the image.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from hypercover.types import Mask

TAPS = 2
"""Pixels on either side that an interpolated value depends on."""

Values = npt.NDArray[np.floating]


def interpolation_support(places: Values, size: int) -> slice:
    """Return the pixels of an axis that interpolation at these places depends on."""
    first = int(np.floor(places.min())) - TAPS + 1
    last = int(np.floor(places.max())) + TAPS + 1
    return slice(min(max(first, 0), size - 1), max(min(last, size), 1))


def interpolate(values: Values, places: Values, axis: int, first: int = 0) -> Values:
    """Interpolate along one axis by cubic convolution (Keys 1981, a = -1/2).

    Exact for parabolas.  It uses four pixels, so tiles give the same values as the
    whole image.  Beyond the ends the last pixel is repeated.

    Parameters
    ----------
    values : array
        Numbered from ``first`` along the axis.
    places : array (n,)
        Whole numbers are pixel centres.

    Examples
    --------
    >>> interpolate(np.arange(6.0) ** 2, np.array([2.5, 3.0]), 0).tolist()
    [6.25, 9.0]
    """
    base = np.floor(places)
    beyond = (places - base).astype(values.dtype)
    shape = [1] * values.ndim
    shape[axis] = len(places)
    total: Values | None = None
    for tap, weight in zip(range(1 - TAPS, TAPS + 1), _weights(beyond), strict=True):
        at = np.clip(base.astype(np.intp) + tap - first, 0, values.shape[axis] - 1)
        part = np.take(values, at, axis=axis) * weight.reshape(shape)
        total = part if total is None else total + part
    assert total is not None  # noqa: S101  (there are four taps)
    return total


def _weights(t: Values) -> tuple[Values, Values, Values, Values]:
    """Return the weights of the four pixels around a place at t after the second."""
    s = 1 - t
    return (
        -0.5 * t * s**2,
        1 + t**2 * (1.5 * t - 2.5),
        1 + s**2 * (1.5 * s - 2.5),
        -0.5 * s * t**2,
    )


def area_means(values: Values, edges: Values, axis: int) -> Values:
    """Average along one axis between fractional edges.

    Parameters
    ----------
    values : array
    edges : array (n + 1,)
        In pixels from the start of the axis.

    Examples
    --------
    >>> area_means(np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.5, 3.0]), 0).round(3).tolist()
    [1.667, 4.333]
    """
    sums = np.cumsum(values, axis=axis, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis=axis)
    low = np.clip(np.floor(edges).astype(np.intp), 0, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = len(edges)
    part = (edges - low).reshape(shape)
    at = sums.take(low, axis) * (1 - part) + sums.take(low + 1, axis) * part
    widths = np.diff(edges).reshape([-1 if one > 1 else 1 for one in shape])
    return np.asarray(np.diff(at, axis=axis) / widths)


def fill_gaps(values: Values, valid: Mask) -> Values:
    """Fill pixels without data in (band, row, col) values from the nearest valid pixel.

    Interpolation next to a gap would otherwise mix in meaningless values.
    """
    if valid.all() or not valid.any():
        return values
    from scipy.ndimage import distance_transform_edt

    rows, cols = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return values[:, rows, cols]


KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""The cubic B-spline at integers; every weight is exact in binary."""


def filter_radius(levels: int) -> int:
    """Return the radius in pixels of the smoothing kernels together.

    Examples
    --------
    >>> [filter_radius(levels) for levels in (1, 2, 3)]
    [2, 6, 14]
    """
    return 2 * ((1 << levels) - 1)


def atrous(
    image: npt.NDArray[np.floating], levels: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Split an image into planes of detail, the finest first, and a smooth residual.

    Beyond its edge the image is repeated.

    Parameters
    ----------
    image : array of float, shape (row, col)
    levels : int
        Number of smoothings; each doubles the scale.

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
    margin = filter_radius(levels)
    around = np.pad(image, margin, mode="edge")
    smooth = [around]
    for level in range(levels):
        smooth.append(_smoothed(smooth[-1], level))
    steps = np.stack([_inner(one, margin) for one in smooth])
    return steps[:-1] - steps[1:], steps[-1]


def low_pass(around: npt.NDArray[np.floating], levels: int) -> npt.NDArray[np.floating]:
    """Return the residual of an image (row, col) with a margin, without the margin.

    The result is smaller by :func:`filter_radius` pixels on each side.
    """
    for level in range(levels):
        around = _smoothed(around, level)
    return _inner(around, filter_radius(levels))


def _inner(around: npt.NDArray[np.floating], margin: int) -> npt.NDArray[np.floating]:
    """Drop the margin, which the edge of the array has affected."""
    return around[margin:-margin, margin:-margin]


def _smoothed(image: npt.NDArray[np.floating], level: int) -> npt.NDArray[np.floating]:
    """Smooth rows and columns with the kernel spread by 2 ** level."""
    spread = np.zeros(4 * 2**level + 1)
    spread[:: 2**level] = KERNEL
    for axis in (0, 1):
        image = correlate1d(image, spread, axis=axis, mode="nearest")
    return image
