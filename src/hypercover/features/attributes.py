"""What can be measured of a shape: area, standard deviation, moment of inertia."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import higra as hg
import numpy as np
import numpy.typing as npt

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
    """Returns the attribute of every node (node,); that of leaves means nothing."""
    unit: str
    """What it is measured in."""
    increasing: bool
    """Whether a shape never has less than a shape inside it; then all rules agree."""


def _area(shapes: ShapeTree) -> Floats:
    """Count the pixels with data."""
    return shapes.sums(shapes.weights)


def _deviation(shapes: ShapeTree) -> Floats:
    """Return the standard deviation of the grey values inside each shape.

    Values are taken from the level around the band, which keeps a bright band
    of low contrast exact, and a band and its negative alike.
    """
    grey = shapes.levels[: len(shapes.weights)] - shapes.levels[-1]
    count = np.maximum(shapes.sums(shapes.weights), 1.0)
    mean = shapes.sums(shapes.weights * grey) / count
    square = shapes.sums(shapes.weights * grey * grey) / count
    variance = square - mean * mean
    # What is left of a flat shape is rounding.
    return np.asarray(np.sqrt(np.where(variance > _FLAT * square, variance, 0.0)))


def _inertia(shapes: ShapeTree) -> Floats:
    """Return Hu's first moment: 1 / 2π for a large disc, more the longer the shape.

    It does not change with the size of a shape, and is 0 for a single pixel.
    """
    rows, cols = (np.arange(size + 2) - (size + 1) / 2 for size in shapes.shape)
    count = np.maximum(shapes.sums(shapes.weights), 1.0)
    down = _scatter(shapes, np.repeat(rows, len(cols)), count)
    across = _scatter(shapes, np.tile(cols, len(rows)), count)
    return np.asarray((down + across) / count**3)


def _scatter(shapes: ShapeTree, place: Floats, count: Floats) -> Floats:
    """Sum squared distances from the centre of each shape along one axis, times its area.

    Nothing is divided, so that equal shapes have equal values wherever they lie.
    """
    first = shapes.sums(shapes.weights * place)
    second = shapes.sums(shapes.weights * place * place)
    return count * second - first * first


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
        lowest = hg.propagate_sequential_and_accumulate(
            shapes.tree, judged, hg.Accumulators.min
        )
        return np.asarray(lowest)
    if rule == "max":
        leaves = np.full(shapes.tree.num_leaves(), -np.inf)
        highest = hg.accumulate_and_max_sequential(
            shapes.tree, judged, leaves, hg.Accumulators.max
        )
        return np.asarray(highest)
    return judged
