"""Registration of a fine image to a coarse one by their georeferences, and resampling.

Resampling is by cubic convolution, area means, and the undecimated "à trous" wavelet
transform.  That smooths an image repeatedly with a cubic B-spline, each time spread twice
as wide.  The difference of two steps is a *plane* of detail.  The transform is
shift-invariant, and planes and residual add up to the image.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid
from hypercover.types import Floats, Mask

_LEAST, _MOST = 1.5, 16.0
"""Range of ratios of pixel sizes."""

_SQUARE = 0.02
"""Largest relative difference of the ratios down and across."""


@dataclass(frozen=True)
class Registration:
    """Position of fine pixels in a coarse image, down and across."""

    step: tuple[float, float]
    """Coarse pixels from one fine pixel to the next: 0.25 at a ratio of 4."""
    start: tuple[float, float]
    """Corner of the fine image, in coarse pixels from the coarse corner."""

    @property
    def ratio(self) -> float:
        """Fine pixels along a coarse one, averaged over both directions."""
        return 2.0 / (self.step[0] + self.step[1])

    @property
    def levels(self) -> int:
        """Number of wavelet planes missing from the coarse image: log2 of the ratio."""
        return max(1, round(float(np.log2(self.ratio))))

    def centres(self, axis: int, part: slice) -> Floats:
        """Return the centres of fine pixels; 0 is the centre of the first coarse pixel.

        At a ratio of 4 and a common corner the first fine centre is at -0.375, not at
        0: this is the phase.
        """
        return self.edges(axis, part)[:-1] + self.step[axis] / 2 - 0.5

    def edges(self, axis: int, part: slice) -> Floats:
        """Return the edges of fine pixels in coarse pixels from the coarse corner."""
        count = np.arange(part.start, part.stop + 1)
        return self.start[axis] + self.step[axis] * count

    def inverse(self) -> "Registration":
        """Return the registration of coarse pixels in the fine image."""
        return Registration(
            (1 / self.step[0], 1 / self.step[1]),
            (-self.start[0] / self.step[0], -self.start[1] / self.step[1]),
        )


def register(fine: Grid, coarse: Grid) -> Registration:
    """Register the grid of a fine image to that of a coarse one.

    Raises
    ------
    SceneError
        If one has no georeference, is rotated or mirrored, if their coordinate
        systems differ, they do not overlap, or the fine one is not finer.

    Examples
    --------
    >>> pan = Grid(8, 8, None, (1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
    >>> colours = Grid(2, 2, None, (4.0, 0.0, 0.0, 0.0, -4.0, 8.0))
    >>> alignment = register(pan, colours)
    >>> alignment.ratio, alignment.centres(0, slice(0, 3)).tolist()
    (4.0, [-0.375, -0.125, 0.125])
    """
    for grid, name in ((fine, "panchromatic"), (coarse, "multispectral")):
        if not grid.placed:
            raise SceneError(
                f"The {name} image has no georeference, so it cannot be registered to the "
                "other one; give georeferenced images."
            )
        if grid.transform[1] or grid.transform[3]:
            raise SceneError(
                f"The {name} image is rotated in its coordinate system; write it north up "
                "first (gdalwarp)."
            )
    _check_system(fine, coarse)
    xf, _, left, _, yf, top = fine.transform
    xc, _, west, _, yc, north = coarse.transform
    if yf * yc < 0 or xf * xc < 0:
        raise SceneError(
            "One of the two images is mirrored relative to the other; write both north up "
            "first (gdalwarp)."
        )
    alignment = Registration((yf / yc, xf / xc), ((top - north) / yc, (left - west) / xc))
    alike = abs(alignment.step[0] / alignment.step[1] - 1) <= _SQUARE
    if not (alike and _LEAST <= alignment.ratio <= _MOST):
        raise SceneError(
            f"The panchromatic pixels must be {_LEAST} to {_MOST:g} times as fine as the "
            f"multispectral ones, alike in both directions, found {abs(xf):g} × {abs(yf):g} "
            f"against {abs(xc):g} × {abs(yc):g}; give the panchromatic image first."
        )
    for axis, (count, size) in enumerate(zip(fine.shape, coarse.shape, strict=True)):
        first, last = alignment.centres(axis, slice(0, count))[[0, -1]] + 0.5
        if last <= 0 or first >= size:
            raise SceneError(
                "The panchromatic and the multispectral image do not overlap; give two "
                "images of the same place."
            )
    return alignment


def _check_system(fine: Grid, coarse: Grid) -> None:
    from rasterio.crs import CRS

    if fine.crs is None or coarse.crs is None:
        return
    systems = CRS.from_user_input(fine.crs), CRS.from_user_input(coarse.crs)
    if systems[0] != systems[1]:
        names = [str(system)[:60] for system in systems]
        raise SceneError(
            f"The panchromatic image is in {names[0]} and the multispectral one in {names[1]}; "
            "bring both into one coordinate system first (gdalwarp)."
        )


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
    t = (places - base).astype(values.dtype)
    s = 1 - t
    # The weights of the four pixels around a place at t after the second.
    weights = (
        -0.5 * t * s**2,
        1 + t**2 * (1.5 * t - 2.5),
        1 + s**2 * (1.5 * s - 2.5),
        -0.5 * s * t**2,
    )
    shape = [1] * values.ndim
    shape[axis] = len(places)
    parts = (
        values.take(
            np.clip(base.astype(np.intp) + tap - first, 0, values.shape[axis] - 1), axis
        )
        * weight.reshape(shape)
        for tap, weight in zip(range(1 - TAPS, TAPS + 1), weights, strict=True)
    )
    return np.asarray(reduce(np.add, parts))


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
    widths = np.diff(edges).reshape([-1 if size > 1 else 1 for size in shape])
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


def atrous(image: Values, levels: int) -> tuple[Values, Values]:
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
    steps = np.stack([_inner(image, margin) for image in smooth])
    return steps[:-1] - steps[1:], steps[-1]


def low_pass(around: Values, levels: int) -> Values:
    """Return the residual of an image (row, col) with a margin, without the margin.

    The result is smaller by :func:`filter_radius` pixels on each side.
    """
    for level in range(levels):
        around = _smoothed(around, level)
    return _inner(around, filter_radius(levels))


def _inner(around: Values, margin: int) -> Values:
    """Drop the margin, which the edge of the array has affected."""
    return around[margin:-margin, margin:-margin]


def _smoothed(image: Values, level: int) -> Values:
    """Smooth rows and columns with the kernel spread by 2 ** level."""
    spread = np.zeros(4 * 2**level + 1)
    spread[:: 2**level] = KERNEL
    for axis in (0, 1):
        image = correlate1d(image, spread, axis=axis, mode="nearest")
    return image
