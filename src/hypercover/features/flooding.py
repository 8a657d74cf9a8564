"""The tree of shapes of an image, flooded from outside in little memory.

The algorithm is that of Géraud, Carlinet, Crozet and Najman (A quasi-linear
algorithm to compute the tree of shapes of nD images, ISMM 2013).  Between the
pixels lie cells that take every value between those around them.  What lies outside
takes in its neighbours in the order of their distance in grey levels; in the
opposite order, cells are then joined to trees by union-find.

It takes up to 60 bytes a pixel, which has four cells.  Numbers have 32 bits.  The cells
that wait at a level, the order in which they were taken in and the shortcuts of
union-find are never needed at the same time, and share one array.  Two heaps, above
and below, name the levels at which cells wait.

Everything here is compiled and holds no lock of the interpreter.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.compiled import compiled

__all__ = ["tree_of_ranks"]

Ranks = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[np.int32]

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
    _join(2 * ranks.shape[1] - 1, last, chain, above)
    return _numbered(ranks.shape, taken, above, chain)


@compiled
def _range(ranks: Ranks, cell: int) -> tuple[Any, Any]:
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
def _beside(cell: int, side: int, wide: int, cells: int) -> int:
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
        other = _beside(cell, side, wide, len(taken))
        if other < 0 or taken[other] != len(waiting):
            continue
        least, greatest = _range(ranks, other)
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
def _at(heap: Numbers, place: int, sign: int) -> int:
    """Return where a place of a heap lies: one grows from either end of the array."""
    return place if sign > 0 else len(heap) - 1 - place


@compiled
def _push(heap: Numbers, size: int, level: int, sign: int) -> int:
    """Put a level on a heap whose first is the least (sign 1) or the greatest (-1)."""
    place = size
    while place:
        over = (place - 1) >> 1
        held = heap[_at(heap, over, sign)]
        if sign * held <= sign * level:
            break
        heap[_at(heap, place, sign)] = held
        place = over
    heap[_at(heap, place, sign)] = level
    return size + 1


@compiled
def _pop(heap: Numbers, size: int, sign: int) -> tuple[int, int]:
    """Take the first level off a heap; return it and how many are left."""
    first = heap[_at(heap, 0, sign)]
    size -= 1
    moved = heap[_at(heap, size, sign)]
    place = 0
    while 2 * place + 1 < size:
        under = 2 * place + 1
        if under + 1 < size:
            one, two = heap[_at(heap, under, sign)], heap[_at(heap, under + 1, sign)]
            under += 1 if sign * two < sign * one else 0
        held = heap[_at(heap, under, sign)]
        if sign * moved <= sign * held:
            break
        heap[_at(heap, place, sign)] = held
        place = under
    heap[_at(heap, place, sign)] = moved
    return int(first), size


@compiled
def _join(wide: int, last: int, chain: Numbers, above: Numbers) -> None:
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
            other = _beside(cell, side, wide, len(above))
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
def _numbered(
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
            nodes = _number_way_out(cell, nodes, taken, above, chain)
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
def _number_way_out(
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
