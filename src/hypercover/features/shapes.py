"""The tree of shapes of one band: its regions, bright or dark, one inside the other."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.features.climbing import add_down, add_up, pass_down
from hypercover.features.flooding import tree_of_ranks

__all__ = ["PEAK_BYTES", "ShapeTree", "surroundings"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]

PEAK_BYTES = 150
"""Bytes per pixel that a tree takes while it is built and used; 100 were measured."""
_RANKS = 2**16
"""Bands of fewer distinct values are built from ranks of 16 bits."""
_MOST = 2**31 - 1
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
            median of the pixels at the edge (`surroundings`).

        Raises
        ------
        SceneError
            If the band has more pixels than can be numbered.
        """
        grey = np.asarray(band, dtype=np.float64)
        _check_cells(*grey.shape)
        held = np.ones(grey.shape, dtype=bool) if valid is None else valid
        outside = surroundings(grey, held) if surround is None else float(surround)
        distinct, ranks = _ranked(grey, held, outside)
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
        add_up(self.parents, total)
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
            pass_down(self.parents, levels, removed)
        return np.asarray(levels[self.own])

    def _without_steps(self, removed: Mask) -> Floats:
        # The root stands on nothing, so that its step is 0.
        lost = np.where(removed, self.steps(), 0.0)
        add_down(self.parents, lost)
        return np.asarray(self.levels - lost)


def surroundings(band: Floats, valid: Mask) -> float:
    """Return the median of the pixels at the edge of the data of a band (row, col).

    An edge pixel has a neighbour, of four, without data or outside the image.
    The median changes sign with the band and does not care which way up it is.

    Examples
    --------
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> surroundings(band, np.ones((3, 3), dtype=bool))
    4.5
    """
    if not valid.any():
        return 0.0
    around = np.pad(valid, 1)
    enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return float(np.median(band[valid & ~enclosed]))


def _check_cells(rows: int, cols: int) -> None:
    """Refuse a band whose cells cannot be numbered."""
    if (2 * rows + 3) * (2 * cols + 3) > _MOST:
        raise SceneError(
            f"The shapes of an image are found in up to {_MOST // 4:,} pixels, fewer "
            f"where it is narrow, and it has {rows:,} × {cols:,}; cut it smaller."
        )


def _ranked(
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
