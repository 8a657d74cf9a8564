"""The one-vs-one machines of a fitted SVM, evaluated by matrix products.

LIBSVM evaluates one pixel at a time, one difference per support vector.  The
same decisions come from two matrix products per block of pixels, several times
faster.  Rounding differs, so a decision too near zero to be sure of its sign
is computed again in LIBSVM's own order of operations: the labels are the same
on every pixel, ties included.  Where labels alone are asked for, single
precision comes first, and double precision where it leaves a doubt.

Reference: C.-C. Chang and C.-J. Lin, LIBSVM: a library for support vector
machines, ACM TIST 2(3), 2011, section 7.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas

from hypercover.classifiers.ballot import Ballot
from hypercover.classifiers.threads import in_threads

__all__ = ["PairwiseMachines"]

_BLOCK = 2**19
"""Numbers held at once by each thread: 4 MiB, most of it in the processor's cache."""
_FEWEST = 256
"""Pixels below which a block is not worth a call, as long as it fits into 64 MiB."""
_LARGEST = 2**23

Floats = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PairwiseMachines:
    """RBF support vector machines for every pair of classes, sharing their vectors.

    Examples
    --------
    Two classes with one support vector each, at -1 and +1:

    >>> machines = PairwiseMachines(
    ...     np.array([[-1.0], [1.0]]), np.array([[1.0, -1.0]]), np.zeros(1), (1, 1), 0.5
    ... )
    >>> machines.winners(machines.decisions(np.array([[-2.0], [0.5]])))
    array([0, 1])
    """

    vectors: Floats
    """Support vectors (vector, band), those of the first class first."""
    coefficients: Floats
    """Weights (class - 1, vector) as LIBSVM stores them: for a vector of class i,
    row j - 1 is its weight against class j > i, row j that against class j < i."""
    intercepts: Floats
    """Constant of each pair (pair,), in the order (0, 1), (0, 2), …, (1, 2), …"""
    counts: tuple[int, ...]
    """Support vectors of each class."""
    gamma: float
    """Width of the kernel exp(-gamma · distance²)."""

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of classes in the order of the decisions."""
        return list(combinations(range(len(self.counts)), 2))

    @cached_property
    def _spans(self) -> list[slice]:
        ends = np.cumsum(self.counts).tolist()
        starts = [0, *ends[:-1]]
        return [slice(start, end) for start, end in zip(starts, ends, strict=True)]

    @cached_property
    def _norms(self) -> Floats:
        return np.asarray(np.einsum("ij,ij->i", self.vectors, self.vectors))

    @cached_property
    def _ballot(self) -> Ballot:
        weights = [self.coefficients[:, span] for span in self._spans]
        return Ballot.of(self.vectors, weights, self.intercepts, self.gamma)

    def blocks(self, n_pixels: int) -> Iterator[slice]:
        """Cut the pixels into blocks whose kernel, votes and decisions fit into the cache."""
        size = sum(self.vectors.shape) + 5 * len(self.pairs)
        step = max(1, _BLOCK // size, min(_FEWEST, _LARGEST // size))
        return (slice(top, top + step) for top in range(0, n_pixels, step))

    def in_blocks(self, work: Callable[[slice], None], n_pixels: int) -> None:
        """Call ``work`` for each block of pixels, in as many threads as there are."""
        in_threads(work, self.blocks(n_pixels))

    def labels(self, seen: Callable[[Rows], Floats], n_pixels: int) -> npt.NDArray[np.intp]:
        """Return the class position that LIBSVM's votes elect for each pixel.

        Parameters
        ----------
        seen : callable
            Gives the spectra (n, band) of a slice or an array of positions.
        """
        positions = np.empty(n_pixels, dtype=np.intp)
        sure = np.empty(n_pixels, dtype=np.bool_)

        def elect(block: slice) -> None:
            positions[block], sure[block] = self._ballot.winners(seen(block))

        self.in_blocks(elect, n_pixels)
        doubtful = np.flatnonzero(~sure)

        def settle(block: slice) -> None:
            rows = doubtful[block]
            positions[rows] = self.winners(self.decisions(seen(rows)))

        self.in_blocks(settle, len(doubtful))
        return positions

    def decisions(self, spectra: Floats) -> Floats:
        """Return the decision values (pixel, pair); above zero speaks for the first class."""
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.einsum("ij,ij->i", spectra, spectra)
            kernel = self._kernel(spectra, norms)
            values = self._sums(kernel)
            values += self.intercepts
            self._settle(values, spectra, norms)
        return values

    def winners(self, decisions: Floats) -> npt.NDArray[np.intp]:
        """Return the class position with most votes; the first of those that tie."""
        votes = np.zeros((len(decisions), len(self.counts)), dtype=np.int32)
        for i, columns in enumerate(self._columns):
            first = decisions[:, columns] > 0
            votes[:, i] += first.sum(axis=1, dtype=np.int32)
            votes[:, i + 1 :] += ~first
        return np.asarray(votes.argmax(axis=1))

    def shares(self, decisions: Floats) -> Floats:
        """Return uncalibrated shares (pixel, class) whose highest is the winner of the votes."""
        logs = np.zeros((len(decisions), len(self.counts)))
        for column, (i, j) in enumerate(self.pairs):
            logs[:, i] -= np.logaddexp(0.0, -decisions[:, column])
            logs[:, j] -= np.logaddexp(0.0, decisions[:, column])
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        winners = self.winners(decisions)
        every = np.arange(len(shares))
        # Where the products would prefer another class than the votes, the two swap.
        best = shares.argmax(axis=1)
        shares[every, best] = shares[every, winners]
        np.minimum(shares, 1.0 - 1e-9, out=shares)
        shares[every, winners] = 1.0
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    @cached_property
    def _columns(self) -> list[slice]:
        """The pairs of each class with all later ones."""
        lengths = range(len(self.counts) - 1, 0, -1)
        ends = np.cumsum(lengths).tolist()
        return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]

    def _sums(self, kernel: Floats) -> Floats:
        """Return the weighted kernels (pixel, pair) of both classes of each pair."""
        n_classes = len(self.counts)
        votes = np.empty((n_classes, len(kernel), n_classes - 1))
        for position, span in enumerate(self._spans):
            np.matmul(kernel[:, span], self.coefficients[:, span].T, out=votes[position])
        values = np.empty((len(kernel), len(self.pairs)))
        for i, columns in enumerate(self._columns):
            np.add(votes[i, :, i:], votes[i + 1 :, :, i].T, out=values[:, columns])
        return values

    def _kernel(self, spectra: Floats, norms: Floats) -> Floats:
        kernel = spectra @ self.vectors.T
        kernel *= -2.0
        kernel += norms[:, np.newaxis]
        kernel += self._norms
        np.maximum(kernel, 0.0, out=kernel)
        kernel *= -self.gamma
        return np.asarray(np.exp(kernel, out=kernel))

    @cached_property
    def _doubt(self) -> float:
        """Bound on the rounding error of a decision per unit of exponent."""
        terms = sum(self.vectors.shape)
        weight = float(np.abs(self.coefficients).sum(axis=1).max(initial=0.0))
        return 4 * np.finfo(np.float64).eps * terms * weight

    def _settle(self, values: Floats, spectra: Floats, norms: Floats) -> None:
        """Compute the decisions whose sign rounding could turn as LIBSVM does."""
        reach = 1.0 + self.gamma * (norms + float(self._norms.max(initial=0.0)))
        # A value that is not a number, as where norms overflow, is doubtful too.
        doubtful = ~(np.abs(values) > (self._doubt * reach)[:, np.newaxis])
        for pixel in np.flatnonzero(doubtful.any(axis=1)):
            kernels: dict[int, list[float]] = {}
            for column in np.flatnonzero(doubtful[pixel]):
                for position in self.pairs[column]:
                    if position not in kernels:
                        kernels[position] = self._exact_kernel(spectra[pixel], position)
                values[pixel, column] = self._exact_decision(int(column), kernels)

    def _exact_kernel(self, spectrum: Floats, position: int) -> list[float]:
        differences = spectrum - self.vectors[self._spans[position]]
        return [math.exp(-self.gamma * blas.ddot(row, row)) for row in differences]

    def _exact_decision(self, column: int, kernels: dict[int, list[float]]) -> float:
        i, j = self.pairs[column]
        total = 0.0
        for position, other in ((i, j - 1), (j, i)):
            weights = self.coefficients[other, self._spans[position]].tolist()
            for weight, value in zip(weights, kernels[position], strict=True):
                total += weight * value
        return total + float(self.intercepts[column])
