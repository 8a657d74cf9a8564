"""What can be measured of a shape: area, standard deviation, moment of inertia."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hypercover.features.climbing import add_up, least_down, most_up, placed
from hypercover.features.shapes import ShapeTree

__all__ = ["ATTRIBUTES", "RULES", "Attribute", "Rule", "regularised"]

Floats = npt.NDArray[np.float64]
Rule = Literal["direct", "min", "max", "subtractive"]
RULES: tuple[Rule, ...] = ("direct", "min", "max", "subtractive")
"""How a shape's fate depends on those around and inside it; see `regularised`."""
_FLAT = 1e-12
"""Variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class Attribute:
    """A number for every shape of a tree."""

    measure: Callable[[ShapeTree], Floats]
    """Returns the attribute of every node (node,)."""
    unit: str
    """What it is measured in."""
    increasing: bool
    """Whether a shape never has less than a shape inside it; then all rules agree."""


def _area(shapes: ShapeTree) -> Floats:
    """Count the pixels with data."""
    return shapes.sums(shapes.counts)


def _deviation(shapes: ShapeTree) -> Floats:
    """Return the standard deviation of the grey values inside each shape.

    Values are taken from the level around the band, which keeps a bright band
    of low contrast exact, and a band and its negative alike.
    """
    # A pixel has the level of its smallest shape.
    grey = shapes.levels - shapes.levels[-1]
    count = np.maximum(_area(shapes), 1.0)
    mean = shapes.sums(shapes.counts * grey) / count
    grey *= grey
    square = shapes.sums(shapes.counts * grey) / count
    mean *= mean
    variance = square - mean
    # What is left of a flat shape is rounding.
    variance[variance <= _FLAT * square] = 0.0
    return np.sqrt(variance, out=variance)


def _inertia(shapes: ShapeTree) -> Floats:
    """Return Hu's first moment: 1 / 2π for a large disc, more the longer the shape.

    It does not change with the size of a shape, and is 0 for a single pixel.
    """
    count = np.maximum(_area(shapes), 1.0)
    total = _scatter(shapes, 0, count)
    total += _scatter(shapes, 1, count)
    total /= count**3
    return total


def _scatter(shapes: ShapeTree, axis: int, count: Floats) -> Floats:
    """Sum squared distances from the centre of each shape along one axis, times its area.

    Nothing is divided, so that equal shapes have equal values wherever they lie.
    """
    first, second = placed(shapes.own, shapes.held, len(count), axis)
    add_up(shapes.parents, first)
    add_up(shapes.parents, second)
    second *= count
    first *= first
    second -= first
    return second


ATTRIBUTES: dict[str, Attribute] = {
    "area": Attribute(_area, "pixels", increasing=True),
    "std": Attribute(_deviation, "grey values", increasing=False),
    "inertia": Attribute(_inertia, "no unit", increasing=False),
}
"""Every attribute by the name it has in a chain."""


def regularised(shapes: ShapeTree, values: Floats, rule: Rule) -> Floats:
    """Return attributes (node,) such that a shape is removed where they are below λ.

    ``direct`` and ``subtractive`` judge each shape by itself.  ``min`` also
    removes what lies in a removed shape: the least of the shape and all around
    it counts.  ``max`` keeps what holds a kept shape: the most of the shape and
    all inside it counts.  The root is never removed.

    References
    ----------
    Salembier, Oliveras, Garrido: Antiextensive connected operators for image
    and sequence processing, IEEE TIP 7(4), 1998.
    """
    judged = np.asarray(values, dtype=np.float64).copy()
    judged[-1] = np.inf
    if rule == "min":
        least_down(shapes.parents, judged)
    if rule == "max":
        # What the root is given does not count: it stays in any case.
        most_up(shapes.parents, judged)
    return judged
