"""The tree of shapes of one band: its regions, bright or dark, one inside the other."""

from dataclasses import dataclass
from typing import Any, Self

import higra as hg
import numpy as np
import numpy.typing as npt

__all__ = ["PEAK_BYTES", "ShapeTree", "surroundings"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PEAK_BYTES = 700
"""Bytes per pixel that a tree takes while it is built and used; 480 were measured."""
_RANKS = 2**16
"""Bands of fewer distinct values are built from their ranks, which is quicker."""


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
    """

    tree: Any
    """The hierarchy; its leaves are the pixels of the ringed band, row by row."""
    levels: Floats
    """Grey level of each node, leaves first (node,)."""
    weights: Floats
    """What each leaf counts in an attribute: 1 with data, else 0 (leaf,)."""
    shape: tuple[int, int]
    """Rows and columns of the band, without the ring."""

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
        """
        grey = np.asarray(band, dtype=np.float64)
        held = np.ones(grey.shape, dtype=bool) if valid is None else valid
        outside = surroundings(grey, held) if surround is None else float(surround)
        ringed = np.pad(np.where(held, grey, outside), 1, constant_values=outside)
        tree, levels = _tree_and_levels(ringed)
        weights = np.pad(held, 1).ravel().astype(np.float64)
        rows, cols = grey.shape
        return cls(tree, levels, weights, (rows, cols))

    @property
    def inner(self) -> slice:
        """Nodes that are shapes: neither leaves nor the root."""
        return slice(self.tree.num_leaves(), self.tree.num_vertices() - 1)

    @property
    def own(self) -> npt.NDArray[np.int64]:
        """Smallest shape that holds each leaf (leaf,)."""
        return np.asarray(self.tree.parents()[: self.tree.num_leaves()])

    def sums(self, values: Floats) -> Floats:
        """Sum values of the leaves (leaf,) over every node (node,)."""
        return np.asarray(hg.accumulate_sequential(self.tree, values, hg.Accumulators.sum))

    def steps(self) -> Floats:
        """Return how much each node's level lies above its parent's (node,)."""
        return np.asarray(self.levels - self.levels[self.tree.parents()])

    def filtered(self, removed: Mask, *, subtractive: bool = False) -> Floats:
        """Return the band (row, col) without some of its shapes.

        A pixel takes the level of the smallest kept shape around it; the root
        is always kept.  If *subtractive*, what stands on a removed shape sinks
        or rises with it, so that details on it keep their contrast.

        Parameters
        ----------
        removed : bool array (node,)
            Which shapes to remove; leaves and root are ignored.
        """
        if subtractive:
            return self._crop(self._without_steps(removed))
        leaves = hg.reconstruct_leaf_data(self.tree, self.levels, removed)
        return self._crop(np.asarray(leaves))

    def _without_steps(self, removed: Mask) -> Floats:
        lost = np.zeros_like(self.levels)
        lost[self.inner] = np.where(removed, self.steps(), 0.0)[self.inner]
        total = hg.propagate_sequential_and_accumulate(self.tree, lost, hg.Accumulators.sum)
        leaves = self.tree.num_leaves()
        return np.asarray(self.levels[:leaves] - total[:leaves])

    def _crop(self, leaves: Floats) -> Floats:
        rows, cols = self.shape
        return np.asarray(leaves).reshape(rows + 2, cols + 2)[1:-1, 1:-1]


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


def _tree_and_levels(ringed: Floats) -> tuple[Any, Floats]:
    """Build the tree with the first pixel as what lies outside.

    A tree of shapes knows the order of the levels only, so that ranks give the
    same one, and small whole numbers are sorted faster.
    """
    distinct, ranks = np.unique(ringed, return_inverse=True)
    few = len(distinct) < _RANKS
    image = ranks.reshape(ringed.shape).astype(np.uint16) if few else ringed
    # 'mean', the default padding, overflows for small integers and moves with the image.
    tree, levels = hg.component_tree_tree_of_shapes_image2d(image, padding="none")
    return tree, distinct[levels] if few else np.asarray(levels)
