"""Distance and kernel matrices in blocks between classes, cached as memory allows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

import numpy as np

from hypercover.types import Array, Floats, Indices, Singles


@dataclass(frozen=True, eq=False)
class SortedSamples:
    """Samples sorted by class, so that pairs of classes are blocks of the kernel."""

    features: Floats
    """Features (sample, feature), class after class."""
    order: Indices
    """Original index of each sample."""
    classes: Array
    """Class codes in ascending order."""
    spans: tuple[slice, ...]
    """Rows of each class."""

    @classmethod
    def sort(cls, X: Floats, y: Array) -> "SortedSamples":
        """Sort samples by class, preserving the order within a class."""
        order = np.argsort(y, kind="stable")
        classes, counts = np.unique(y, return_counts=True)
        ends = [0, *np.cumsum(counts).tolist()]
        spans = tuple(slice(*ends) for ends in pairwise(ends))
        return cls(np.ascontiguousarray(X[order]), order, classes, spans)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of samples of each class."""
        return tuple(span.stop - span.start for span in self.spans)

    def squared_distances(self, i: int, j: int) -> Singles:
        """Return the squared distances between the samples of two classes."""
        first, second = self.features[self.spans[i]], self.features[self.spans[j]]
        # In double precision, because large numbers cancel.
        squares = first @ second.T
        squares *= -2.0
        lengths = [np.einsum("ij,ij->i", side, side) for side in (first, second)]
        if i == j:
            # In one operation, so that rounding keeps the matrix symmetric.
            squares += np.add.outer(*lengths)
            np.fill_diagonal(squares, 0.0)
        else:
            squares += lengths[0][:, np.newaxis]
            squares += lengths[1]
        np.maximum(squares, 0.0, out=squares)
        return squares.astype(np.float32)


@dataclass(eq=False)
class BlockMatrix:
    """Symmetric matrix in blocks between classes, computed on demand and cached.

    Distances are shared by every gamma and kernels by every C and fold.  If the
    matrix exceeds the memory, blocks are recomputed; diagonal blocks, which every
    pair of a class needs, are cached first.
    """

    compute: Callable[[int, int], Singles]
    """Computes the block between classes i ≤ j."""
    budget: int
    """Remaining bytes of the cache."""
    reserved: int = 0
    """Bytes of the cache reserved for diagonal blocks."""
    _cache: dict[tuple[int, int], Singles] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __getitem__(self, pair: tuple[int, int]) -> Singles:
        """Return the block between two classes, in either order."""
        i, j = pair
        if i > j:
            return self[j, i].T
        with self._lock:
            cached = self._cache.get(pair)
        if cached is not None:
            return cached
        block = self.compute(i, j)
        with self._lock:
            self._store(pair, block)
        return block

    def _store(self, pair: tuple[int, int], block: Singles) -> None:
        diagonal = pair[0] == pair[1]
        room = self.budget if diagonal else self.budget - self.reserved
        if pair not in self._cache and block.nbytes <= room:
            self._cache[pair] = block
            self.budget -= block.nbytes
            self.reserved = max(0, self.reserved - block.nbytes * diagonal)

    def block(self, i: int, j: int) -> Singles:
        """Return the symmetric matrix of the samples of two classes."""
        n = self[i, i].shape[0]
        size = n + self[j, j].shape[0]
        block = np.empty((size, size), np.float32)
        block[:n, :n], block[n:, n:] = self[i, i], self[j, j]
        between = self[i, j]
        block[:n, n:], block[n:, :n] = between, between.T
        return block
