"""How much of a band goes as its shapes are removed by size, and where that curve bends."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from hypercover.features.shapes import ShapeTree

__all__ = ["Measure", "bends", "granulometric_curve"]

Floats = npt.NDArray[np.float64]
Measure = Literal["grey", "pixels", "regions"]

_POINTS = 1000
"""Points of a curve that are looked at; more are thinned out evenly."""
_SAME = 1e-9
"""Values of an attribute no further apart than this share of them are equal."""


def granulometric_curve(
    shapes: ShapeTree, attribute: Floats, measure: Measure = "grey"
) -> tuple[Floats, Floats]:
    """Measure what a filter removes at every threshold there is.

    Why it exists: thresholds worth having lie where this curve bends.  It is
    taken from the tree alone, without filtering once.

    Parameters
    ----------
    attribute : array (node,)
        The attribute by which shapes are removed, already regularised.
    measure : "grey", "pixels" or "regions"
        What is counted of the removed shapes: their contrast to what they lie
        in times their area; the pixels whose smallest shape they are; or the
        shapes themselves.

    Returns
    -------
    thresholds, removed : arrays (point,)
        Every distinct value of the attribute, rising, and what is removed of
        all shapes below it; empty for a constant band.
    """
    values, amounts = attribute[shapes.inner], _amounts(shapes, measure)[shapes.inner]
    order = np.argsort(values)
    order = order[np.isfinite(values[order])]
    rising = values[order]
    # Values that differ by rounding alone are one point, at the least of them.
    first = np.diff(rising, prepend=-1.0) > _SAME * rising
    gone = np.bincount(np.cumsum(first) - 1, weights=amounts[order])
    return rising[first], np.asarray(np.cumsum(gone) - gone, dtype=np.float64)


def _amounts(shapes: ShapeTree, measure: Measure) -> Floats:
    """Return what each node adds to the curve once it is removed (node,)."""
    if measure == "regions":
        return np.ones_like(shapes.levels)
    if measure == "pixels":
        return shapes.counts.astype(np.float64)
    return np.asarray(np.abs(shapes.steps()) * shapes.sums(shapes.counts))


def bends(x: Floats, y: Floats, count: int) -> Floats:
    """Return the inner knots of the best piecewise-linear fit of a curve.

    The points are cut into ``count + 1`` pieces that share their end points;
    each gets its own regression line, and the cut with the least sum of squared
    residuals is found exactly, by dynamic programming.  A curve of fewer points
    gives all its inner points, and one of more than 1,000 is first thinned to
    that many, evenly over its points.

    Parameters
    ----------
    x, y : arrays (point,)
        The curve, with strictly rising x.
    count : int
        How many knots, from 1.

    References
    ----------
    Cavallaro, Falco, Dalla Mura, Benediktsson: Automatic attribute profiles,
    IEEE TIP 26(4), 2017.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> bends(x, np.where(x < 4, 3 * x, 8 + x), 1)
    array([4.])
    """
    if len(x) - 2 <= count:
        return np.asarray(x[1:-1])
    taken = np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(np.intp)
    knots = _cuts(_residuals(_unit(x[taken]), _unit(y[taken])), count)
    return np.asarray(x[taken][knots])


def _unit(values: Floats) -> Floats:
    """Scale values to 0 … 1, so that squares of large areas lose no digits."""
    span = values[-1] - values[0]
    return np.asarray((values - values[0]) / (span if span > 0 else 1.0))


def _residuals(x: Floats, y: Floats) -> Floats:
    """Return the squared residual of the line through points i to j at [i, j]."""
    size = len(x)
    lost = np.full((size, size), np.inf)
    for first in range(size - 1):
        dx, dy = x[first:] - x[first], y[first:] - y[first]
        count = np.arange(1.0, len(dx) + 1)
        sx, sy = np.cumsum(dx), np.cumsum(dy)
        xx = np.cumsum(dx * dx) - sx * sx / count
        xy = np.cumsum(dx * dy) - sx * sy / count
        yy = np.cumsum(dy * dy) - sy * sy / count
        fit = yy[1:] - xy[1:] ** 2 / xx[1:]
        lost[first, first + 1 :] = np.maximum(fit, 0.0)
    return lost


def _cuts(lost: Floats, count: int) -> npt.NDArray[np.intp]:
    """Return where to cut points 0 … n - 1 into count + 1 pieces at the least cost."""
    cost, choices = lost[0].copy(), []
    for _ in range(count):
        total = cost[:, None] + lost
        before = total.argmin(axis=0)
        choices.append(before)
        cost = total[before, np.arange(len(cost))]
    knots, last = [], len(cost) - 1
    for before in reversed(choices):
        last = int(before[last])
        knots.append(last)
    return np.asarray(knots[::-1], dtype=np.intp)
