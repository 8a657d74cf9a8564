"""Which thresholds a profile filters with: given, by formula, or read off the image."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hypercover.errors import CallError, SceneError
from hypercover.features.tree_of_shapes import ATTRIBUTES, ShapeTree
from hypercover.scene.grid import Grid
from hypercover.scene.scene import Scene

__all__ = [
    "AUTOMATIC",
    "DEFAULT_RESOLUTION_NOTE",
    "FORMULA",
    "MAX_THRESHOLDS",
    "Measure",
    "ThresholdSpec",
    "Thresholds",
    "automatic_thresholds",
    "breakpoints",
    "check_resolution",
    "check_rising",
    "check_thresholds",
    "formula_thresholds",
    "granulometric_curve",
    "metres_per_pixel",
    "parse_thresholds",
    "pixel_size",
]

Floats = npt.NDArray[np.float64]

Measure = Literal["grey", "pixels", "regions"]

_MAX_POINTS = 1000
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
    values, amounts = (
        attribute[shapes.inner],
        _removed_amounts(shapes, measure)[shapes.inner],
    )
    order = np.argsort(values)
    order = order[np.isfinite(values[order])]
    rising = values[order]
    # Values that differ by rounding alone are one point, at the least of them.
    first = np.diff(rising, prepend=-1.0) > _SAME * rising
    gone = np.bincount(np.cumsum(first) - 1, weights=amounts[order])
    return rising[first], np.asarray(np.cumsum(gone) - gone, dtype=np.float64)


def _removed_amounts(shapes: ShapeTree, measure: Measure) -> Floats:
    """Return what each node adds to the curve once it is removed (node,)."""
    if measure == "regions":
        return np.ones_like(shapes.levels)
    if measure == "pixels":
        return shapes.counts.astype(np.float64)
    return np.asarray(np.abs(shapes.steps()) * shapes.sums(shapes.counts))


def breakpoints(x: Floats, y: Floats, count: int) -> Floats:
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
    >>> breakpoints(x, np.where(x < 4, 3 * x, 8 + x), 1)
    array([4.])
    """
    if len(x) - 2 <= count:
        return np.asarray(x[1:-1])
    taken = np.linspace(0, len(x) - 1, min(len(x), _MAX_POINTS)).round().astype(np.intp)
    knots = _best_cuts(
        _residuals(_scale_to_unit(x[taken]), _scale_to_unit(y[taken])), count
    )
    return np.asarray(x[taken][knots])


def _scale_to_unit(values: Floats) -> Floats:
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


def _best_cuts(lost: Floats, count: int) -> npt.NDArray[np.intp]:
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


Thresholds = tuple[float, ...]
"""Strictly rising values above 0."""

ThresholdSpec = Thresholds | str | None
"""Thresholds as they are, a word for how to choose them, or None for the default."""

FORMULA = "formula"
"""The word for thresholds by the published formulas."""

AUTOMATIC: dict[str, Measure] = {
    "automatic": "grey",
    "automatic-pixels": "pixels",
    "automatic-regions": "regions",
}
"""The words for thresholds read off the image, and what the curve then measures."""

MAX_THRESHOLDS = 1000
"""More thresholds of one attribute than this are taken for a mistake."""

_LARGEST = 1e300
"""Whole numbers above this are no floats."""

_DEFAULT_RESOLUTION = 20.0
"""Metres per pixel where nothing is known and no formula was insisted on."""

DEFAULT_RESOLUTION_NOTE = (
    f"The size of a pixel is not known: the areas of the attribute profiles are those for "
    f"{_DEFAULT_RESOLUTION:g} m."
)
"""What is said of a scene where that was done."""


def parse_thresholds(
    attributes: str | Sequence[str], thresholds: Any
) -> dict[str, ThresholdSpec]:
    """Return what is asked for each attribute of a profile.

    Parameters
    ----------
    attributes : str or sequence of str
        Names joined by + or in a list, each alone or with its thresholds, as in
        ``area=50/100`` or ``std=automatic``.
    thresholds
        For all of them, or a dict from attribute to thresholds.

    Raises
    ------
    CallError
        If an attribute is unknown, comes twice, or has no such thresholds.

    Examples
    --------
    >>> parse_thresholds("area=50/100+std", "automatic")
    {'area': (50.0, 100.0), 'std': 'automatic'}
    """
    words = attributes.split("+") if isinstance(attributes, str) else list(attributes)
    pairs = [[part.strip() for part in str(word).split("=", 1)] for word in words]
    names = [pair[0] for pair in pairs]
    _check_names(names)
    asked = dict.fromkeys(names, thresholds)
    if isinstance(thresholds, Mapping):
        _check_known(thresholds, names)
        asked = {name: thresholds.get(name) for name in names}
    elif len(names) > 1 and not (thresholds is None or isinstance(thresholds, str)):
        raise CallError(
            f"One list of thresholds cannot serve {' and '.join(names)}; give one for each, "
            f"as in {{{names[0]}: [...], {names[1]}: [...]}}."
        )
    asked |= {pair[0]: _parse_values(pair[1]) for pair in pairs if len(pair) == 2}
    return {name: check_thresholds(value, name) for name, value in asked.items()}


def _check_names(names: Sequence[str]) -> None:
    """Refuse unknown attributes, the same one twice, and none at all."""
    known = ", ".join(ATTRIBUTES)
    if not names:
        raise CallError(f"Attribute profiles need an attribute; there are {known}.")
    for name in names:
        if name not in ATTRIBUTES:
            raise CallError(
                f"There is no attribute {name[:40]!r} of shapes; use one of {known}."
            )
        if names.count(name) > 1:
            raise CallError(f"The attribute {name} is asked for twice; name it once.")


def _check_known(thresholds: Mapping[Any, Any], names: Sequence[str]) -> None:
    """Refuse thresholds of an attribute that is not asked for."""
    for name in thresholds:
        if name not in names:
            raise CallError(
                f"Thresholds are given for {str(name)[:40]!r}, but the attributes are "
                f"{', '.join(names)}; add it to the attributes or leave it out."
            )


def _parse_values(text: str) -> Any:
    """Read ``50/100/200``; what is no list of numbers stays a word."""
    try:
        return [float(part) for part in text.split("/")]
    except ValueError:
        return text


def check_thresholds(asked: Any, attribute: str) -> ThresholdSpec:
    """Return what was asked for an attribute's thresholds, or say what is wrong with it.

    Raises
    ------
    CallError
        If it is neither a known word nor a rising sequence of numbers above 0.
    """
    if asked is None or (isinstance(asked, str) and asked in (FORMULA, *AUTOMATIC)):
        return asked
    if isinstance(asked, str) or not isinstance(asked, Sequence | np.ndarray):
        raise CallError(
            f"The thresholds of {attribute} must be a list of numbers or one of "
            f"{', '.join([FORMULA, *AUTOMATIC])}, got {str(asked)[:60]!r}; give for example "
            "[50, 100, 200]."
        )
    if not 1 <= len(asked) <= MAX_THRESHOLDS:
        raise CallError(
            f"An attribute takes 1 to {MAX_THRESHOLDS} thresholds, got {len(asked)} of {attribute}; "
            "leave the attribute out or give fewer."
        )
    return check_rising(asked, attribute)


def check_rising(asked: Sequence[Any] | npt.NDArray[Any], attribute: str) -> Thresholds:
    """Return numbers above 0 that rise strictly."""
    for value in asked:
        number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
        if not number or not 0 < value <= _LARGEST:
            raise CallError(
                f"Thresholds of {attribute} must be numbers above 0, got {str(value)[:40]}; "
                "leave it out."
            )
    values = tuple(float(value) for value in asked)
    for one, next_one in pairwise(values):
        if not one < next_one:
            raise CallError(
                f"Thresholds of {attribute} must rise, got {next_one:g} after {one:g}; put "
                "them in order, each once."
            )
    return values


def formula_thresholds(attribute: str, values: Floats, resolution: float) -> Thresholds:
    """Return the published thresholds of an attribute.

    - ``area``: 1000 / ν · {1, 2, …, 14} pixels, where ν is the size of a pixel in
      m (the published factor is a plain number).
    - ``std``: μ / 100 · {2.5, 5, …, 27.5}.  The literature takes the mean of a
      band that starts near 0 as μ; the mean of a principal component is 0
      whatever it shows.  Here μ is half of the range from the 1st to the 99th
      percentile of the band: the same thing for a symmetric histogram that
      starts at 0, indifferent to a shift of the band, and equal for a band and
      its negative.
    - ``inertia``: {0.1, 0.2, …, 0.9}; a disc has 1 / 2π ≈ 0.16.

    Parameters
    ----------
    values : array (pixel,)
        Grey values of the band where it holds data.
    resolution : float
        Size of a pixel in m.

    Returns
    -------
    tuple of float
        Empty for ``std`` of a constant band, which has nothing to filter.

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
    half = _half_range(values)
    return tuple(half * step / 40 for step in range(1, 12)) if half > 0 else ()


def _half_range(values: Floats) -> float:
    low, high = np.percentile(values, [1, 99])
    if low == high:
        low, high = values.min(), values.max()
    return float(high - low) / 2


def automatic_thresholds(
    shapes: ShapeTree, attribute: Floats, count: int, word: str = "automatic"
) -> Thresholds:
    """Return the thresholds at which the granulometric curve of a band bends.

    Parameters
    ----------
    attribute : array (node,)
        The attribute, already regularised by the rule of the filter.
    count : int
        How many; fewer come back only if the band has fewer distinct shapes.
    word : str
        Which curve, one of `AUTOMATIC`.
    """
    x, y = granulometric_curve(shapes, attribute, AUTOMATIC[word])
    return tuple(float(value) for value in breakpoints(x, y, count)) if len(x) > 2 else ()


def metres_per_pixel(grid: Grid) -> float | None:
    """Return the side of a square of one pixel's area in m, or None where not known.

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
    """Refuse a pixel size that is no length."""
    number = isinstance(resolution, Real) and not isinstance(resolution, bool)
    if resolution is not None and not (number and 0 < resolution <= _LARGEST):
        raise CallError(
            "The resolution must be the size of a pixel in m, a number above 0, got "
            f"{str(resolution)[:40]!r}; leave it out to have it read from the image."
        )


def pixel_size(
    asked: Mapping[str, ThresholdSpec], given: float | None, scene: Scene
) -> tuple[float, bool]:
    """Return the pixel size in m that the formula of area takes, and whether it is assumed.

    Raises
    ------
    SceneError
        If the formula was asked for and nothing says how large a pixel is.
    """
    known = given or metres_per_pixel(scene.grid)
    if known is not None:
        return known, False
    if asked.get("area") == FORMULA:
        raise SceneError(
            f"The formula for area thresholds needs the size of a pixel, and {scene.name} "
            "has no georeference in m; give resolution, or thresholds in pixels."
        )
    return _DEFAULT_RESOLUTION, "area" in asked and asked["area"] is None
