"""What can be measured of a shape: area, standard deviation, moment of inertia."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from hypercover.compiled import compiled
from hypercover.errors import SceneError

__all__ = [
    "ATTRIBUTES",
    "PEAK_BYTES",
    "RULES",
    "Attribute",
    "Rule",
    "ShapeTree",
    "border_median",
    "coordinate_sums",
    "copy_from_parent",
    "max_to_root",
    "min_from_root",
    "regularised",
    "sum_from_root",
    "sum_to_root",
    "tree_of_ranks",
]

Floats = npt.NDArray[np.float64]

Numbers = npt.NDArray[np.int32]

Mask = npt.NDArray[np.bool_]


@compiled
def sum_to_root(parents: Numbers, values: Floats) -> None:
    """Add the value of each node (node,) to those of all nodes around it."""
    for node in range(len(parents) - 1):
        values[parents[node]] += values[node]


@compiled
def max_to_root(parents: Numbers, values: Floats) -> None:
    """Give each node the greatest value of its own and all nodes inside it."""
    for node in range(len(parents) - 1):
        values[parents[node]] = max(values[parents[node]], values[node])


@compiled
def sum_from_root(parents: Numbers, values: Floats) -> None:
    """Add to the value of each node those of all nodes around it."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] += values[parents[node]]


@compiled
def min_from_root(parents: Numbers, values: Floats) -> None:
    """Give each node the least value of its own and all nodes around it."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] = min(values[node], values[parents[node]])


@compiled
def copy_from_parent(parents: Numbers, values: Floats, removed: Mask) -> None:
    """Give each removed node the value of the smallest node around it that stays."""
    for node in range(len(parents) - 2, -1, -1):
        if removed[node]:
            values[node] = values[parents[node]]


@compiled
def coordinate_sums(
    own: Numbers, held: Mask, nodes: int, axis: int
) -> tuple[Floats, Floats]:
    """Sum the places along an axis, and their squares, of each node's pixels (node,).

    Parameters
    ----------
    own : array (row, col)
        Node of each pixel; its place is counted from the middle.
    held : bool array (row, col)
        Pixels that count.
    """
    rows, cols = own.shape
    first, second = np.zeros(nodes), np.zeros(nodes)
    for row in range(rows):
        for col in range(cols):
            if held[row, col]:
                place = col - (cols - 1) / 2 if axis else row - (rows - 1) / 2
                first[own[row, col]] += place
                second[own[row, col]] += place * place
    return first, second


Ranks = npt.NDArray[np.integer[Any]]

_NONE = np.int32(-1)


@compiled
def tree_of_ranks(ranks: Ranks, levels: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return the shapes of an image of ranks, the first pixel of which lies outside.

    Parameters
    ----------
    ranks : array (row, col)
        Whole numbers from 0, below the greatest of their type.
    levels : int
        Ranks there are.

    Returns
    -------
    own : array (row, col)
        Smallest shape that holds each pixel.
    parents : array (node,)
        The next larger shape; larger shapes have greater numbers.  The last one is
        the root and its own parent.
    found : array (node,)
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
def _cell_range(ranks: Ranks, cell: int) -> tuple[Any, Any]:
    """Return the least and the greatest value of a cell."""
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
def _flood(ranks: Ranks, levels: int, taken: Ranks, chain: Numbers) -> int:
    """Take in all cells from outside; return the last one.

    Parameters
    ----------
    taken : array (cell,)
        Is given the rank at which each cell was taken in.
    chain : array (cell,)
        Is given the cell that was taken in before each, -1 for the first.
    """
    taken[:] = levels  # no rank is as great: it marks who was not taken in
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
        # What lies above and what lies below are apart: either may come first.
        if n_above:
            now, n_above = _pop(heap, n_above, 1)
        elif n_below:
            now, n_below = _pop(heap, n_below, -1)
        else:
            return last


@compiled
def _let_in(
    ranks: Ranks,
    cell: int,
    now: int,
    taken: Ranks,
    chain: Numbers,
    waiting: Numbers,
    heap: Numbers,
    n_above: int,
    n_below: int,
) -> tuple[int, int]:
    """Let the neighbours of a cell wait at the level, of those they can have, nearest to now.

    Parameters
    ----------
    waiting : array (level,)
        First of the cells that wait at each level; its chain names the next.
    heap : array (level,)
        Other levels than now at which cells wait: those above it from the beginning
        on, those below it from the end on.  Returned is how many they are.
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
def _heap_index(heap: Numbers, place: int, sign: int) -> int:
    """Return where a place of a heap lies: one grows from either end of the array."""
    return place if sign > 0 else len(heap) - 1 - place


@compiled
def _push(heap: Numbers, size: int, level: int, sign: int) -> int:
    """Put a level on a heap whose first is the least (sign 1) or the greatest (-1)."""
    place = size
    while place:
        over = (place - 1) >> 1
        held = heap[_heap_index(heap, over, sign)]
        if sign * held <= sign * level:
            break
        heap[_heap_index(heap, place, sign)] = held
        place = over
    heap[_heap_index(heap, place, sign)] = level
    return size + 1


@compiled
def _pop(heap: Numbers, size: int, sign: int) -> tuple[int, int]:
    """Take the first level off a heap; return it and how many are left."""
    first = heap[_heap_index(heap, 0, sign)]
    size -= 1
    moved = heap[_heap_index(heap, size, sign)]
    place = 0
    while 2 * place + 1 < size:
        under = 2 * place + 1
        if under + 1 < size:
            one, two = (
                heap[_heap_index(heap, under, sign)],
                heap[_heap_index(heap, under + 1, sign)],
            )
            under += 1 if sign * two < sign * one else 0
        held = heap[_heap_index(heap, under, sign)]
        if sign * moved <= sign * held:
            break
        heap[_heap_index(heap, place, sign)] = held
        place = under
    heap[_heap_index(heap, place, sign)] = moved
    return int(first), size


@compiled
def _build_parents(wide: int, last: int, chain: Numbers, above: Numbers) -> None:
    """Give each cell the one above it in the tree, from the innermost on.

    Parameters
    ----------
    chain : array (cell,)
        The order in which cells were taken in; overwritten by shortcuts to the top.
    above : array (cell,)
        All -1; the first cell that was taken in is at last above itself.
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
def _canonical(cell: int, taken: Ranks, above: Numbers) -> int:
    """Return the cell that stands for the shape of a cell, and make the way there short."""
    top = cell
    while above[top] != top and taken[above[top]] == taken[top]:
        top = above[top]
    while cell != top:
        above[cell], cell = top, above[cell]
    return top


@compiled
def _number_shapes(
    shape: tuple[int, int], taken: Ranks, above: Numbers, chain: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Give numbers to the shapes that hold a pixel, each after those inside it.

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
    parents, found = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
    # Numbers rise from the root; they are turned round, so that the root comes last.
    for cell in range(len(chain)):
        if chain[cell] >= 0:
            around = chain[_canonical(above[cell], taken, above)]
            parents[nodes - 1 - chain[cell]] = nodes - 1 - around
            found[nodes - 1 - chain[cell]] = taken[cell]
    for row in range(rows):
        for col in range(cols):
            own[row, col] = nodes - 1 - own[row, col]
    return own, parents, found


@compiled
def _number_ancestors(
    first: int, nodes: int, taken: Ranks, above: Numbers, numbers: Numbers
) -> int:
    """Give numbers to a shape and all around it that have none, the outermost first.

    Parameters
    ----------
    first : cell that stands for the shape
    nodes : numbers given so far, also returned
    numbers : array (cell,)
        Number of each shape at the cell that stands for it, -1 where it has none.
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
"""Bytes per pixel that a tree takes while it is built and used; 100 were measured."""

_RANKS = 2**16
"""Bands of fewer distinct values are built from ranks of 16 bits."""

_MAX_CELLS = 2**31 - 1
"""Cells of a band and its ring at most, four a pixel or so: they are numbered in 32 bits."""

_STRIP = 2**18
"""Values ranked at once."""


@dataclass(frozen=True, eq=False)
class ShapeTree:
    """Every shape of a band: a connected region of a level set with its holes filled.

    Why it exists: bright and dark regions stand in one tree, so a filter on it
    treats an image and its negative alike (it is self-dual).  The band is seen
    as a continuous surface between its pixels (plain-map immersion), without
    which level lines could cross and no tree would exist; where four pixels
    meet crosswise, the two nearer to the level outside hang together.  Around
    the band lies one ring of a single value, which is the root: the tree is
    the same however the image is turned.

    Pixels without data take the value of that ring and weigh nothing, so that
    they count in no attribute.

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
    """Smallest shape that holds each pixel (row, col)."""
    parents: Numbers
    """Smallest shape around each shape (node,); the last node is the root."""
    levels: Floats
    """Grey level of each shape (node,)."""
    held: Mask
    """Pixels with data (row, col); others count in no attribute."""
    counts: Numbers
    """Pixels with data of which each node is the smallest shape (node,)."""

    @classmethod
    def of(
        cls, band: npt.ArrayLike, valid: Mask | None = None, surround: float | None = None
    ) -> Self:
        """Build the tree of a band (row, col).

        Parameters
        ----------
        valid : bool array (row, col), optional
            Pixels that hold data; all of them unless given.
        surround : float, optional
            Level around the band and of pixels without data; unless given, the
            median of the pixels at the edge (`border_median`).

        Raises
        ------
        SceneError
            If the band has more pixels than can be numbered.
        """
        grey = np.asarray(band, dtype=np.float64)
        _check_cells(*grey.shape)
        held = np.ones(grey.shape, dtype=bool) if valid is None else valid
        outside = border_median(grey, held) if surround is None else float(surround)
        distinct, ranks = _rank_pixels(grey, held, outside)
        own, parents, found = tree_of_ranks(ranks, len(distinct))
        own = own[1:-1, 1:-1].copy()
        counts = np.bincount(own[held], minlength=len(parents)).astype(np.int32)
        return cls(own, parents, distinct[found], held, counts)

    @property
    def inner(self) -> slice:
        """Nodes that are shapes: all but the root."""
        return slice(0, len(self.parents) - 1)

    def sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum values that belong to nodes (node,) over every node and all inside it."""
        total = values.astype(np.float64)
        sum_to_root(self.parents, total)
        return total

    def steps(self) -> Floats:
        """Return how much each node's level lies above its parent's (node,)."""
        return np.asarray(self.levels - self.levels[self.parents])

    def filtered(self, removed: Mask, *, subtractive: bool = False) -> Floats:
        """Return the band (row, col) without some of its shapes.

        A pixel takes the level of the smallest kept shape around it; the root
        is always kept.  If *subtractive*, what stands on a removed shape sinks
        or rises with it, so that details on it keep their contrast.

        Parameters
        ----------
        removed : bool array (node,)
            Which shapes to remove; the root is ignored.
        """
        if subtractive:
            levels = self._without_steps(removed)
        else:
            levels = self.levels.copy()
            copy_from_parent(self.parents, levels, removed)
        return np.asarray(levels[self.own])

    def _without_steps(self, removed: Mask) -> Floats:
        # The root stands on nothing, so that its step is 0.
        lost = np.where(removed, self.steps(), 0.0)
        sum_from_root(self.parents, lost)
        return np.asarray(self.levels - lost)


def border_median(band: Floats, valid: Mask) -> float:
    """Return the median of the pixels at the edge of the data of a band (row, col).

    An edge pixel has a neighbour, of four, without data or outside the image.
    The median changes sign with the band and does not care which way up it is.

    Examples
    --------
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> border_median(band, np.ones((3, 3), dtype=bool))
    4.5
    """
    if not valid.any():
        return 0.0
    around = np.pad(valid, 1)
    enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return float(np.median(band[valid & ~enclosed]))


def _check_cells(rows: int, cols: int) -> None:
    """Refuse a band whose cells cannot be numbered."""
    if (2 * rows + 3) * (2 * cols + 3) > _MAX_CELLS:
        raise SceneError(
            f"The shapes of an image are found in up to {_MAX_CELLS // 4:,} pixels, fewer "
            f"where it is narrow, and it has {rows:,} × {cols:,}; cut it smaller."
        )


def _rank_pixels(
    grey: Floats, held: Mask, outside: float
) -> tuple[Floats, npt.NDArray[np.integer[Any]]]:
    """Return the distinct values, and the rank of each pixel with a ring of what lies outside.

    A tree of shapes knows the order of the levels only.
    """
    distinct = np.unique(grey[held])
    place = int(np.searchsorted(distinct, outside))
    if place == len(distinct) or distinct[place] != outside:
        distinct = np.insert(distinct, place, outside)
    kind = np.uint16 if len(distinct) < _RANKS else np.int32
    rows, cols = grey.shape
    ranks = np.full((rows + 2, cols + 2), place, dtype=kind)
    step = max(1, _STRIP // cols)
    for top in range(0, rows, step):
        strip = slice(top, top + step)
        found = np.searchsorted(distinct, grey[strip])
        inner = ranks[1:-1, 1:-1][strip]
        np.copyto(inner, found, where=held[strip], casting="unsafe")
    return distinct, ranks


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
    first, second = coordinate_sums(shapes.own, shapes.held, len(count), axis)
    sum_to_root(shapes.parents, first)
    sum_to_root(shapes.parents, second)
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
        min_from_root(shapes.parents, judged)
    if rule == "max":
        # What the root is given does not count: it stays in any case.
        max_to_root(shapes.parents, judged)
    return judged
