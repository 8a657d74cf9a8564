"""Distances and kernels between classes, kept while memory allows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

import numpy as np
import numpy.typing as npt

__all__ = ["BlockMatrix", "SortedSamples"]

Block = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SortedSamples:
    """Samples sorted by class, so that a pair of classes is a block of the kernel."""

    features: npt.NDArray[np.float64]
    """What the machines see (sample, feature), class after class."""
    order: npt.NDArray[np.intp]
    """Position of each in the order they were given."""
    classes: npt.NDArray[np.generic]
    """Codes of the classes, rising."""
    spans: tuple[slice, ...]
    """Where each class lies."""

    @classmethod
    def sort(
        cls, X: npt.NDArray[np.float64], y: npt.NDArray[np.generic]
    ) -> "SortedSamples":
        """Sort samples by class; those of a class keep their order."""
        order = np.argsort(y, kind="stable")
        classes, counts = np.unique(y, return_counts=True)
        ends = [0, *np.cumsum(counts).tolist()]
        spans = tuple(slice(*ends) for ends in pairwise(ends))
        return cls(np.ascontiguousarray(X[order]), order, classes, spans)

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples of each class."""
        return tuple(span.stop - span.start for span in self.spans)

    def squared_distances(self, i: int, j: int) -> Block:
        """Return the squared distances between the samples of two classes."""
        first, second = self.features[self.spans[i]], self.features[self.spans[j]]
        # In double precision: the difference of large numbers has to be exact.
        squares = first @ second.T
        squares *= -2.0
        lengths = [np.einsum("ij,ij->i", side, side) for side in (first, second)]
        if i == j:
            # Both at once, or rounding would make there and back differ.
            squares += np.add.outer(*lengths)
            np.fill_diagonal(squares, 0.0)
        else:
            squares += lengths[0][:, np.newaxis]
            squares += lengths[1]
        np.maximum(squares, 0.0, out=squares)
        return squares.astype(np.float32)


@dataclass(eq=False)
class BlockMatrix:
    """Blocks of a symmetric matrix between classes, made once or as often as needed.

    Why it exists: distances serve every gamma and kernels every C and fold, but
    the whole matrix may be larger than memory.  Then blocks are made again;
    those of one class with itself, which every pair of it needs, are kept first.
    """

    make: Callable[[int, int], Block]
    """Makes the block between classes i ≤ j."""
    budget: int
    """Bytes of blocks that may still be kept."""
    reserved: int = 0
    """Bytes of them set aside for the blocks of one class with itself."""
    _kept: dict[tuple[int, int], Block] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __getitem__(self, pair: tuple[int, int]) -> Block:
        """Return the block between two classes, in either order."""
        i, j = pair
        if i > j:
            return self[j, i].T
        with self._lock:
            kept = self._kept.get(pair)
        if kept is not None:
            return kept
        made = self.make(i, j)
        with self._lock:
            self._keep(pair, made)
        return made

    def _keep(self, pair: tuple[int, int], made: Block) -> None:
        own = pair[0] == pair[1]
        room = self.budget if own else self.budget - self.reserved
        if pair not in self._kept and made.nbytes <= room:
            self._kept[pair] = made
            self.budget -= made.nbytes
            self.reserved = max(0, self.reserved - made.nbytes * own)

    def block(self, i: int, j: int) -> Block:
        """Return the whole symmetric matrix of the samples of two classes."""
        n = self[i, i].shape[0]
        size = n + self[j, j].shape[0]
        block = np.empty((size, size), np.float32)
        block[:n, :n], block[n:, n:] = self[i, i], self[j, j]
        between = self[i, j]
        block[:n, n:], block[n:, :n] = between, between.T
        return block
