"""The tree of shapes of a band, its attributes, and filters on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from hypercover.compiled import compiled
from hypercover.errors import SceneError
from hypercover.types import Array, Codes, Floats, Mask

Numbers = npt.NDArray[np.int32]


@compiled
def sum_to_root(parents: Numbers, values: Floats) -> None:
    """Add the value of each node (node,) to all its ancestors."""
    for node in range(len(parents) - 1):
        values[parents[node]] += values[node]


@compiled
def max_to_root(parents: Numbers, values: Floats) -> None:
    """Set each node to the largest value of itself and its descendants."""
    for node in range(len(parents) - 1):
        values[parents[node]] = max(values[parents[node]], values[node])


@compiled
def sum_from_root(parents: Numbers, values: Floats) -> None:
    """Add to the value of each node those of all its ancestors."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] += values[parents[node]]


@compiled
def min_from_root(parents: Numbers, values: Floats) -> None:
    """Set each node to the smallest value of itself and its ancestors."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] = min(values[node], values[parents[node]])


@compiled
def copy_from_parent(parents: Numbers, values: Floats, removed: Mask) -> None:
    """Set each removed node to the value of its closest ancestor that is kept."""
    for node in range(len(parents) - 2, -1, -1):
        if removed[node]:
            values[node] = values[parents[node]]


@compiled
def coordinate_sums(
    own: Numbers, valid: Mask, nodes: int, axis: int
) -> tuple[Floats, Floats]:
    """Sum the coordinates along an axis, and their squares, of each node's pixels (node,).

    Parameters
    ----------
    own : array (row, col)
        Node of each pixel; coordinates are relative to the centre.
    valid : bool array (row, col)
        Pixels to include.
    """
    rows, cols = own.shape
    first, second = np.zeros(nodes), np.zeros(nodes)
    for row in range(rows):
        for col in range(cols):
            if valid[row, col]:
                place = col - (cols - 1) / 2 if axis else row - (rows - 1) / 2
                first[own[row, col]] += place
                second[own[row, col]] += place * place
    return first, second


_NONE = np.int32(-1)


@compiled
def tree_of_ranks(ranks: Codes, levels: int) -> tuple[Numbers, Numbers, Numbers]:
    """Build the tree of shapes of an image of ranks whose first pixel is outside.

    Parameters
    ----------
    ranks : array (row, col)
        Whole numbers from 0, below the largest of their type.
    levels : int
        Number of ranks.

    Returns
    -------
    own : array (row, col)
        Smallest shape that contains each pixel.
    parents : array (node,)
        Parent of each shape; parents have larger numbers.  The last node is the
        root and its own parent.
    node_ranks : array (node,)
        Rank of each shape.
    """
    cells = (2 * ranks.shape[0] - 1) * (2 * ranks.shape[1] - 1)
    taken = np.empty(cells, ranks.dtype)
    chain = np.empty(cells, np.int32)
    last = _flood(ranks, levels, taken, chain)
    above = np.full(cells, _NONE, np.int32)
    _build_parents(2 * ranks.shape[1] - 1, last, chain, above)
    return _number_shapes(ranks.shape, taken, above, chain)


@compiled
def _cell_range(ranks: Codes, cell: int) -> tuple[Any, Any]:
    """Return the smallest and the largest value of a cell."""
    wide = 2 * ranks.shape[1] - 1
    row, col = cell // wide, cell % wide
    top, left = row >> 1, col >> 1
    least = greatest = ranks[top, left]
    for y in range(top, ((row + 1) >> 1) + 1):
        for x in range(left, ((col + 1) >> 1) + 1):
            least, greatest = min(least, ranks[y, x]), max(greatest, ranks[y, x])
    return least, greatest


@compiled
def _neighbour(cell: int, side: int, wide: int, cells: int) -> int:
    """Return the neighbour of a cell on one of four sides, or -1."""
    if side == 0:
        return cell - wide if cell >= wide else -1
    if side == 1:
        return cell - 1 if cell % wide else -1
    if side == 2:
        return cell + 1 if (cell + 1) % wide else -1
    return cell + wide if cell + wide < cells else -1


@compiled
def _flood(ranks: Codes, levels: int, taken: Codes, chain: Numbers) -> int:
    """Visit all cells from the outside inwards; return the last one.

    Parameters
    ----------
    taken : array (cell,)
        Output: rank at which each cell was visited.
    chain : array (cell,)
        Output: cell visited before each, -1 for the first.
    """
    taken[:] = levels  # larger than any rank: not visited
    waiting = np.full(levels, _NONE, np.int32)
    heap = np.empty(levels, np.int32)
    n_above = n_below = 0
    now, last = int(ranks[0, 0]), -1
    taken[0], waiting[now], chain[0] = now, 0, _NONE
    while True:
        while waiting[now] >= 0:
            cell = waiting[now]
            waiting[now] = chain[cell]
            chain[cell] = last
            last = cell
            n_above, n_below = _let_in(
                ranks, cell, now, taken, chain, waiting, heap, n_above, n_below
            )
        # Cells above and below are not connected: either may come first.
        if n_above:
            now, n_above = _pop(heap, n_above, 1)
        elif n_below:
            now, n_below = _pop(heap, n_below, -1)
        else:
            return last


@compiled
def _let_in(
    ranks: Codes,
    cell: int,
    now: int,
    taken: Codes,
    chain: Numbers,
    waiting: Numbers,
    heap: Numbers,
    n_above: int,
    n_below: int,
) -> tuple[int, int]:
    """Queue the neighbours of a cell at their level nearest to the current one.

    Parameters
    ----------
    waiting : array (level,)
        First queued cell of each level; ``chain`` links the next ones.
    heap : array (level,)
        Other levels with queued cells: those above the current one in a heap from
        the start, those below in a heap from the end.  Their numbers are returned.
    """
    wide = 2 * ranks.shape[1] - 1
    for side in range(4):
        other = _neighbour(cell, side, wide, len(taken))
        if other < 0 or taken[other] != len(waiting):
            continue
        least, greatest = _cell_range(ranks, other)
        level = min(max(now, int(least)), int(greatest))
        taken[other] = level
        if waiting[level] < 0 and level > now:
            n_above = _push(heap, n_above, level, 1)
        elif waiting[level] < 0 and level < now:
            n_below = _push(heap, n_below, level, -1)
        chain[other] = waiting[level]
        waiting[level] = other
    return n_above, n_below


@compiled
def _heap_index(heap: Numbers, index: int, sign: int) -> int:
    """Return the array index of a heap position; one heap grows from each end."""
    return index if sign > 0 else len(heap) - 1 - index


@compiled
def _push(heap: Numbers, size: int, level: int, sign: int) -> int:
    """Push a level onto a min-heap (sign 1) or max-heap (sign -1)."""
    index = size
    while index:
        parent = (index - 1) >> 1
        other = heap[_heap_index(heap, parent, sign)]
        if sign * other <= sign * level:
            break
        heap[_heap_index(heap, index, sign)] = other
        index = parent
    heap[_heap_index(heap, index, sign)] = level
    return size + 1


@compiled
def _pop(heap: Numbers, size: int, sign: int) -> tuple[int, int]:
    """Pop the first level of a heap; return it and the remaining size."""
    first = heap[_heap_index(heap, 0, sign)]
    size -= 1
    moved = heap[_heap_index(heap, size, sign)]
    index = 0
    while 2 * index + 1 < size:
        child = 2 * index + 1
        if child + 1 < size:
            left = heap[_heap_index(heap, child, sign)]
            right = heap[_heap_index(heap, child + 1, sign)]
            child += 1 if sign * right < sign * left else 0
        other = heap[_heap_index(heap, child, sign)]
        if sign * moved <= sign * other:
            break
        heap[_heap_index(heap, index, sign)] = other
        index = child
    heap[_heap_index(heap, index, sign)] = moved
    return int(first), size


@compiled
def _build_parents(wide: int, last: int, chain: Numbers, above: Numbers) -> None:
    """Link each cell to its parent in the tree, from the innermost outwards.

    Parameters
    ----------
    chain : array (cell,)
        Order in which cells were visited; overwritten by shortcuts to the top.
    above : array (cell,)
        Output, initially -1; the first cell visited becomes its own parent.
    """
    cell = last
    while cell >= 0:
        before = chain[cell]
        chain[cell] = above[cell] = cell
        for side in range(4):
            other = _neighbour(cell, side, wide, len(above))
            if other < 0 or above[other] < 0:
                continue
            top = other
            while chain[top] != top:
                top = chain[top]
            while chain[other] != top:
                chain[other], other = top, chain[other]
            above[top] = chain[top] = cell
        cell = before


@compiled
def _canonical(cell: int, taken: Codes, above: Numbers) -> int:
    """Return the canonical cell of the shape of a cell, compressing the path."""
    top = cell
    while above[top] != top and taken[above[top]] == taken[top]:
        top = above[top]
    while cell != top:
        above[cell], cell = top, above[cell]
    return top


@compiled
def _number_shapes(
    shape: tuple[int, int], taken: Codes, above: Numbers, chain: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Assign numbers to the shapes that contain a pixel, each after its descendants.

    Parameters
    ----------
    chain : array (cell,)
        Overwritten.
    """
    rows, cols = shape
    own = np.empty((rows, cols), np.int32)
    chain[:] = _NONE
    nodes = 0
    for row in range(rows):
        for col in range(cols):
            cell = _canonical(2 * row * (2 * cols - 1) + 2 * col, taken, above)
            nodes = _number_ancestors(cell, nodes, taken, above, chain)
            own[row, col] = chain[cell]
    parents, node_ranks = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
    # Numbers increase from the root; reverse them, so that the root comes last.
    for cell in range(len(chain)):
        if chain[cell] >= 0:
            around = chain[_canonical(above[cell], taken, above)]
            parents[nodes - 1 - chain[cell]] = nodes - 1 - around
            node_ranks[nodes - 1 - chain[cell]] = taken[cell]
    for row in range(rows):
        for col in range(cols):
            own[row, col] = nodes - 1 - own[row, col]
    return own, parents, node_ranks


@compiled
def _number_ancestors(
    first: int, nodes: int, taken: Codes, above: Numbers, numbers: Numbers
) -> int:
    """Assign numbers to a shape and its unnumbered ancestors, the outermost first.

    Parameters
    ----------
    first : canonical cell of the shape
    nodes : numbers used so far; the new count is returned
    numbers : array (cell,)
        Number of each shape at its canonical cell, or -1.
    """
    cell, new = first, 0
    while numbers[cell] < 0:
        new += 1
        if above[cell] == cell:
            break
        cell = _canonical(above[cell], taken, above)
    cell = first
    for number in range(nodes + new - 1, nodes - 1, -1):
        numbers[cell] = number
        cell = _canonical(above[cell], taken, above)
    return nodes + new


PEAK_BYTES = 150
"""Bytes per pixel to reserve for a tree; 100 were measured."""

_RANKS = 2**16
"""Bands with fewer distinct values use ranks of 16 bits."""

_MAX_CELLS = 2**31 - 1
"""Largest number of cells, about four per pixel: they are numbered in 32 bits."""


@dataclass(frozen=True, eq=False)
class ShapeTree:
    """Tree of the shapes of a band: connected components of level sets with filled holes.

    Bright and dark regions are in one tree, so filters treat an image and its
    negative alike (they are self-dual).  The band is interpolated to a continuous
    surface (plain-map immersion), because level lines of the bare pixels could
    cross; where four pixels form a saddle, the two closer to the level outside are
    connected.  A border of constant value around the band is the root, so the tree
    does not depend on the orientation of the image.

    Pixels without data take the value of the border and do not count in any
    attribute.

    References
    ----------
    Géraud, Carlinet, Crozet, Najman: A quasi-linear algorithm to compute the
    tree of shapes of nD images, ISMM 2013.

    Examples
    --------
    >>> band = np.full((5, 5), 2.0)
    >>> band[1:4, 1:4], band[2, 2] = 7.0, 1.0
    >>> shapes = ShapeTree.of(band)
    >>> shapes.levels, shapes.sums(shapes.counts)
    (array([1., 7., 2.]), array([ 1.,  9., 25.]))
    """

    own: Numbers
    """Smallest shape that contains each pixel (row, col)."""
    parents: Numbers
    """Parent of each shape (node,); the last node is the root."""
    levels: Floats
    """Grey level of each shape (node,)."""
    valid: Mask
    """Pixels with data (row, col)."""
    counts: Numbers
    """Number of valid pixels whose smallest shape is this node (node,)."""

    @classmethod
    def of(
        cls, band: npt.ArrayLike, valid: Mask | None = None, surround: float | None = None
    ) -> Self:
        """Build the tree of a band (row, col).

        Parameters
        ----------
        valid : bool array (row, col), optional
            Pixels with data; all pixels by default.
        surround : float, optional
            Level around the band and of pixels without data; by default the median
            of the border pixels (`border_median`).

        Raises
        ------
        SceneError
            If the band has too many pixels.
        """
        grey = np.asarray(band, dtype=np.float64)
        rows, cols = grey.shape
        if (2 * rows + 3) * (2 * cols + 3) > _MAX_CELLS:
            raise SceneError(
                f"The tree of shapes takes images of up to {_MAX_CELLS // 4:,} pixels, fewer if "
                f"narrow, and it has {rows:,} × {cols:,}; cut it smaller."
            )
        valid = np.ones(grey.shape, dtype=bool) if valid is None else valid
        outside = border_median(grey, valid) if surround is None else float(surround)
        distinct, ranks = _rank_pixels(grey, valid, outside)
        own, parents, node_ranks = tree_of_ranks(ranks, len(distinct))
        own = own[1:-1, 1:-1].copy()
        counts = np.bincount(own[valid], minlength=len(parents)).astype(np.int32)
        return cls(own, parents, distinct[node_ranks], valid, counts)

    @property
    def inner(self) -> slice:
        """All nodes but the root."""
        return slice(0, len(self.parents) - 1)

    def sums(self, values: Array) -> Floats:
        """Sum the values (node,) of each node and its descendants."""
        total = values.astype(np.float64)
        sum_to_root(self.parents, total)
        return total

    def steps(self) -> Floats:
        """Return the difference between the level of each node and of its parent (node,)."""
        return np.asarray(self.levels - self.levels[self.parents])

    def filtered(self, removed: Mask, *, subtractive: bool = False) -> Floats:
        """Return the band (row, col) without some of its shapes.

        A pixel takes the level of the smallest kept shape that contains it; the
        root is always kept.  If *subtractive*, the descendants of a removed shape
        are shifted with it, so that they keep their contrast.

        Parameters
        ----------
        removed : bool array (node,)
            Shapes to remove; the root is ignored.
        """
        if subtractive:
            # The step of the root is 0.
            lost = np.where(removed, self.steps(), 0.0)
            sum_from_root(self.parents, lost)
            levels = self.levels - lost
        else:
            levels = self.levels.copy()
            copy_from_parent(self.parents, levels, removed)
        return np.asarray(levels[self.own])


def border_median(band: Floats, valid: Mask) -> float:
    """Return the median of the border pixels of a band (row, col).

    A border pixel has a neighbour, of four, without data or outside the image.
    The median changes sign with the band, as self-dual filters require.

    Examples
    --------
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> border_median(band, np.ones((3, 3), dtype=bool))
    4.5
    """
    return float(np.median(band[border_pixels(valid)])) if valid.any() else 0.0


def border_pixels(valid: Mask) -> Mask:
    """Return the valid pixels with a neighbour, of four, without data or outside the image."""
    around = np.pad(valid, 1)
    enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return valid & ~enclosed


def _rank_pixels(grey: Floats, valid: Mask, outside: float) -> tuple[Floats, Codes]:
    """Return the distinct values, and the ranks of the pixels with a border around them.

    The tree depends on the order of the levels only.
    """
    distinct = np.unique(grey[valid])
    place = int(np.searchsorted(distinct, outside))
    if place == len(distinct) or distinct[place] != outside:
        distinct = np.insert(distinct, place, outside)
    kind = np.uint16 if len(distinct) < _RANKS else np.int32
    ranks = np.full((grey.shape[0] + 2, grey.shape[1] + 2), place, dtype=kind)
    ranks[1:-1, 1:-1][valid] = np.searchsorted(distinct, grey[valid])
    return distinct, ranks


Rule = Literal["direct", "min", "max", "subtractive"]

RULES: tuple[Rule, ...] = ("direct", "min", "max", "subtractive")
"""How to filter attributes that are not increasing; see `regularised`."""

_FLAT = 1e-12
"""Share of the mean square below which a variance is rounding error."""


def _area(shapes: ShapeTree) -> Floats:
    """Return the number of valid pixels."""
    return shapes.sums(shapes.counts)


def _deviation(shapes: ShapeTree) -> Floats:
    """Return the standard deviation of the grey values in each shape.

    Values are relative to the level around the band, which keeps bright bands of
    low contrast precise, and a band and its negative alike.
    """
    # A pixel has the level of its smallest shape.
    grey = shapes.levels - shapes.levels[-1]
    count = np.maximum(_area(shapes), 1.0)
    mean = shapes.sums(shapes.counts * grey) / count
    grey *= grey
    square = shapes.sums(shapes.counts * grey) / count
    mean *= mean
    variance = square - mean
    # The rest is rounding error.
    variance[variance <= _FLAT * square] = 0.0
    return np.sqrt(variance, out=variance)


def _inertia(shapes: ShapeTree) -> Floats:
    """Return Hu's first moment: 1 / 2π for a large disc, more for elongated shapes.

    It is invariant to scale, and 0 for a single pixel.
    """
    count = np.maximum(_area(shapes), 1.0)
    total = _scatter(shapes, 0, count)
    total += _scatter(shapes, 1, count)
    total /= count**3
    return total


def _scatter(shapes: ShapeTree, axis: int, count: Floats) -> Floats:
    """Return the sum of squared distances from each centroid along an axis, times the area.

    Without a division, equal shapes have equal values at any position.
    """
    first, second = coordinate_sums(shapes.own, shapes.valid, len(count), axis)
    sum_to_root(shapes.parents, first)
    sum_to_root(shapes.parents, second)
    second *= count
    first *= first
    second -= first
    return second


ATTRIBUTES: dict[str, Callable[[ShapeTree], Floats]] = {
    "area": _area,
    "std": _deviation,
    "inertia": _inertia,
}
"""By name in a chain, what computes an attribute of every node (node,)."""


def regularised(shapes: ShapeTree, values: Floats, rule: Rule) -> Floats:
    """Return attributes (node,) such that shapes with a value below λ are removed.

    ``direct`` and ``subtractive`` use the attribute of each shape.  ``min`` also
    removes the descendants of a removed shape: the minimum over the shape and its
    ancestors counts.  ``max`` keeps the ancestors of a kept shape: the maximum over
    the shape and its descendants counts.  The root is never removed.

    References
    ----------
    Salembier, Oliveras, Garrido: Antiextensive connected operators for image
    and sequence processing, IEEE TIP 7(4), 1998.
    """
    regular = np.asarray(values, dtype=np.float64).copy()
    regular[-1] = np.inf
    if rule == "min":
        min_from_root(shapes.parents, regular)
    if rule == "max":
        max_to_root(shapes.parents, regular)
    return regular
