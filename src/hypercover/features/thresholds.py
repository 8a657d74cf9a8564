"""Thresholds of attribute profiles: given, by formula, or from the image."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hypercover.errors import CallError, SceneError
from hypercover.features.tree_of_shapes import ATTRIBUTES, ShapeTree
from hypercover.scene.grid import Grid
from hypercover.scene.scene import Scene
from hypercover.types import Array, Floats, Indices

Measure = Literal["grey", "pixels", "regions"]

_MAX_POINTS = 1000
"""Points of a curve to use at most; longer curves are thinned evenly."""

_SAME = 1e-9
"""Relative difference below which two attribute values are equal."""


def granulometric_curve(
    shapes: ShapeTree, attribute: Floats, measure: Measure = "grey"
) -> tuple[Floats, Floats]:
    """Return how much a filter removes at every possible threshold.

    Good thresholds are where this curve bends.  It is computed from the tree,
    without filtering.

    Parameters
    ----------
    attribute : array (node,)
        The attribute by which shapes are removed, after `regularised`.
    measure : "grey", "pixels" or "regions"
        How to measure the removed shapes: contrast to the parent times area,
        number of pixels, or number of shapes.

    Returns
    -------
    thresholds, removed : arrays (point,)
        Every distinct value of the attribute in ascending order, and the amount
        removed by filtering at that value; empty for a constant band.
    """
    amounts = np.ones_like(shapes.levels)
    if measure == "pixels":
        amounts = shapes.counts.astype(np.float64)
    elif measure == "grey":
        amounts = np.abs(shapes.steps()) * shapes.sums(shapes.counts)
    values, amounts = attribute[shapes.inner], amounts[shapes.inner]
    order = np.argsort(values)
    order = order[np.isfinite(values[order])]
    rising = values[order]
    # Values that differ by rounding alone are merged into the smallest.
    first = np.diff(rising, prepend=-1.0) > _SAME * rising
    removed = np.bincount(np.cumsum(first) - 1, weights=amounts[order])
    return rising[first], np.asarray(np.cumsum(removed) - removed, dtype=np.float64)


def breakpoints(x: Floats, y: Floats, count: int) -> Floats:
    """Return the inner knots of the best piecewise-linear fit of a curve.

    The points are divided into ``count + 1`` segments that share their end points,
    with a regression line each.  Dynamic programming finds the segments with the
    least sum of squared residuals.  A curve with fewer points returns all its inner
    points; one with more than 1,000 is first thinned evenly to 1,000.

    Parameters
    ----------
    x, y : arrays (point,)
        The curve, with strictly increasing x.
    count : int
        Number of knots, at least 1.

    References
    ----------
    Cavallaro, Falco, Dalla Mura, Benediktsson: Automatic attribute profiles,
    IEEE TIP 26(4), 2017.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> breakpoints(x, np.where(x < 4, 3 * x, 8 + x), 1)
    array([4.])
    """
    if len(x) - 2 <= count:
        return np.asarray(x[1:-1])
    taken = np.linspace(0, len(x) - 1, min(len(x), _MAX_POINTS)).round().astype(np.intp)
    costs = _residuals(_scale_to_unit(x[taken]), _scale_to_unit(y[taken]))
    return np.asarray(x[taken][_best_cuts(costs, count)])


def _scale_to_unit(values: Floats) -> Floats:
    """Scale values to 0 … 1, which keeps squares of large areas precise."""
    span = values[-1] - values[0]
    return np.asarray((values - values[0]) / (span if span > 0 else 1.0))


def _residuals(x: Floats, y: Floats) -> Floats:
    """Return at [i, j] the squared residuals of the regression line of points i to j."""
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


def _best_cuts(lost: Floats, count: int) -> Indices:
    """Return the ``count`` cuts of points 0 … n - 1 with the least total cost."""
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


Thresholds = tuple[float, ...]
"""Strictly increasing values above 0."""

ThresholdSpec = Thresholds | str | None
"""Thresholds, the name of a method to choose them, or None for the default."""

FORMULA = "formula"
"""Method for thresholds by the published formulas."""

AUTOMATIC: dict[str, Measure] = {
    "automatic": "grey",
    "automatic-pixels": "pixels",
    "automatic-regions": "regions",
}
"""Methods for thresholds from the image, and the measure of their curve."""

MAX_THRESHOLDS = 1000
"""Largest number of thresholds of one attribute."""

_LARGEST = 1e300
"""Whole numbers above this cannot be converted to float."""

_DEFAULT_RESOLUTION = 20.0
"""Pixel size in m if it is unknown and no formula was requested."""

DEFAULT_RESOLUTION_NOTE = (
    f"The pixel size is unknown: the areas of the attribute profiles are those for "
    f"{_DEFAULT_RESOLUTION:g} m."
)
"""Note for a scene with that default."""


def parse_thresholds(
    attributes: str | Sequence[str], thresholds: Any
) -> dict[str, ThresholdSpec]:
    """Parse the thresholds of each attribute of a profile.

    Parameters
    ----------
    attributes : str or sequence of str
        Names joined by + or in a list, with or without thresholds, as in
        ``area=50/100`` or ``std=automatic``.
    thresholds
        For all of them, or a dict from attribute to thresholds.

    Raises
    ------
    CallError
        If an attribute is unknown or repeated, or its thresholds are not valid.

    Examples
    --------
    >>> parse_thresholds("area=50/100+std", "automatic")
    {'area': (50.0, 100.0), 'std': 'automatic'}
    """
    items = attributes.split("+") if isinstance(attributes, str) else list(attributes)
    pairs = [[part.strip() for part in str(item).split("=", 1)] for item in items]
    names = [pair[0] for pair in pairs]
    choices = ", ".join(ATTRIBUTES)
    if not names:
        raise CallError(f"Attribute profiles need an attribute; choose from {choices}.")
    for name in names:
        if name not in ATTRIBUTES:
            raise CallError(
                f"Unknown attribute {name[:40]!r} of shapes; choose one of {choices}."
            )
        if names.count(name) > 1:
            raise CallError(f"The attribute {name} is given twice; name it once.")
    specs = dict.fromkeys(names, thresholds)
    if isinstance(thresholds, Mapping):
        unused = [str(name)[:40] for name in thresholds if name not in names]
        if unused:
            raise CallError(
                f"Thresholds are given for {unused[0]!r}, but the attributes are "
                f"{', '.join(names)}; add it to the attributes or leave it out."
            )
        specs = {name: thresholds.get(name) for name in names}
    elif len(names) > 1 and not (thresholds is None or isinstance(thresholds, str)):
        raise CallError(
            f"One list of thresholds cannot serve {' and '.join(names)}; give one for each."
        )
    specs |= {pair[0]: _parse_values(pair[1]) for pair in pairs if len(pair) == 2}
    return {name: _checked(value, name) for name, value in specs.items()}


def _parse_values(text: str) -> Any:
    """Parse ``50/100/200``; any other text is the name of a method."""
    try:
        return [float(part) for part in text.split("/")]
    except ValueError:
        return text


def _checked(spec: Any, attribute: str) -> ThresholdSpec:
    """Return the thresholds of an attribute after checking them."""
    if spec is None or (isinstance(spec, str) and spec in (FORMULA, *AUTOMATIC)):
        return spec
    if isinstance(spec, str) or not isinstance(spec, Sequence | np.ndarray):
        raise CallError(
            f"The thresholds of {attribute} must be a list of numbers or one of "
            f"{', '.join([FORMULA, *AUTOMATIC])}, got {str(spec)[:60]!r}; give for "
            "example [50, 100]."
        )
    if not 1 <= len(spec) <= MAX_THRESHOLDS:
        raise CallError(
            f"{attribute} takes 1 to {MAX_THRESHOLDS} thresholds, got {len(spec)}; give "
            "fewer or none."
        )
    return check_rising(spec, attribute)


def check_rising(spec: Sequence[Any] | Array, attribute: str) -> Thresholds:
    """Return thresholds after checking that they are above 0 and increase strictly."""
    for value in spec:
        number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
        if not number or not 0 < value <= _LARGEST:
            raise CallError(
                f"Thresholds of {attribute} must be numbers above 0, got "
                f"{str(value)[:40]}; leave it out."
            )
    values = tuple(float(value) for value in spec)
    for low, high in pairwise(values):
        if low >= high:
            raise CallError(
                f"Thresholds of {attribute} must increase, got {high:g} after {low:g}; sort them."
            )
    return values


def formula_thresholds(attribute: str, values: Floats, resolution: float) -> Thresholds:
    """Return the published thresholds of an attribute.

    - ``area``: 1000 / ν · {1, 2, …, 14} pixels, where ν is the pixel size in m.
    - ``std``: μ / 100 · {2.5, 5, …, 27.5}.  In the literature μ is the mean of the
      band, which is always 0 for principal components.  Here μ is half the range
      from the 1st to the 99th percentile: the same for a symmetric histogram that
      starts at 0, and invariant to shifts and the sign of the band.
    - ``inertia``: {0.1, 0.2, …, 0.9}; a disc has 1 / 2π ≈ 0.16.

    Parameters
    ----------
    values : array (pixel,)
        Grey values of the valid pixels of the band.
    resolution : float
        Pixel size in m.

    Returns
    -------
    tuple of float
        Empty for ``std`` of a constant band.

    References
    ----------
    Ghamisi, Benediktsson, Sveinsson: Automatic spectral-spatial classification
    framework based on attribute profiles and supervised feature extraction,
    IEEE TGRS 52(9), 2014.

    Examples
    --------
    >>> formula_thresholds("area", np.zeros(1), 20.0)[:3]
    (50.0, 100.0, 150.0)
    """
    if attribute == "area":
        return tuple(1000.0 / resolution * step for step in range(1, 15))
    if attribute == "inertia":
        return tuple(step / 10 for step in range(1, 10))
    low, high = np.percentile(values, [1, 99])
    if low == high:
        low, high = values.min(), values.max()
    half = float(high - low) / 2
    return tuple(half * step / 40 for step in range(1, 12)) if half > 0 else ()


def automatic_thresholds(
    shapes: ShapeTree, attribute: Floats, count: int, method: str = "automatic"
) -> Thresholds:
    """Return the breakpoints of the granulometric curve of a band.

    Parameters
    ----------
    attribute : array (node,)
        The attribute, after `regularised`.
    count : int
        Number of thresholds; fewer if the band has fewer distinct shapes.
    method : str
        One of `AUTOMATIC`.
    """
    x, y = granulometric_curve(shapes, attribute, AUTOMATIC[method])
    return tuple(float(value) for value in breakpoints(x, y, count)) if len(x) > 2 else ()


def metres_per_pixel(grid: Grid) -> float | None:
    """Return the square root of the area of a pixel in m, or None if it is unknown.

    Examples
    --------
    >>> metres_per_pixel(Grid(2, 2, "EPSG:32616", (20.0, 0.0, 0.0, 0.0, -20.0, 0.0)))
    20.0
    """
    if grid.crs is None or not grid.placed:
        return None
    try:
        crs = CRS.from_user_input(grid.crs)
        metres = float(crs.linear_units_factor[1]) if crs.is_projected else 0.0
    except CRSError:
        return None
    a, b, _, d, e, _ = grid.transform
    side = metres * float(np.sqrt(abs(a * e - b * d)))
    return side if 0 < side < np.inf else None


def check_resolution(resolution: Any) -> None:
    """Check a pixel size in m."""
    number = isinstance(resolution, Real) and not isinstance(resolution, bool)
    if resolution is not None and not (number and 0 < resolution <= _LARGEST):
        raise CallError(
            "The resolution must be the pixel size in m, a number above 0, got "
            f"{str(resolution)[:40]!r}; leave it out to take it from the image."
        )


def pixel_size(
    specs: Mapping[str, ThresholdSpec], given: float | None, scene: Scene
) -> tuple[float, bool]:
    """Return the pixel size in m for the area formula, and whether it is the default.

    Raises
    ------
    SceneError
        If the formula was requested and the pixel size is unknown.
    """
    metres = given or metres_per_pixel(scene.grid)
    if metres is not None:
        return metres, False
    if specs.get("area") == FORMULA:
        raise SceneError(
            f"The area formula needs the pixel size, and {scene.name} has no georeference "
            "in m; set the "
            "resolution, or give thresholds in pixels."
        )
    return _DEFAULT_RESOLUTION, "area" in specs and specs["area"] is None
