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
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas
from scipy.sparse import csr_array

from hypercover.classifiers.svm.threads import run_in_threads

__all__ = ["Ballot", "OneVsOneMachines"]

_UNIT = 2.0**-24

_SLACK = 1.25
"""Covers what is of second order: exp(e) - 1 against e, and rounding of the bound itself."""

_FEW = 14
"""Units of rounding on top of the exponent's and the sum's: exp (4 ulp), casts, last sums."""

_LARGEST_SHIFT = 0.1
"""Error of an exponent above which the bound no longer holds and no winner is sure."""

_TINIEST = 1e-30
"""Absolute error where the kernel underflows, per unit of a coefficient."""

Floats = npt.NDArray[np.float64]

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ballot:
    """Pairwise machines in single precision, with features and vectors along the first axis."""

    vectors: Singles
    """Support vectors times 2 γ (vector, feature)."""
    offsets: Singles
    """γ |v|² of each support vector (vector, 1)."""
    coefficients: list[Singles]
    """For each class: its weights (class - 1, vector), and below them bounds on what
    rounding makes of a kernel of 1 times these weights."""
    intercepts: Singles
    """Constant of each pair (pair, 1)."""
    usual: float
    """Length that the bounds take a pixel to have: the root mean square one of vectors."""
    longest: float
    """Length up to which the bounds hold at all."""
    least: float
    """Bound on what else is lost: intercepts and underflow."""
    gamma: float
    """Width of the kernel."""

    @classmethod
    def of(
        cls, vectors: Floats, weights: list[Floats], intercepts: Floats, gamma: float
    ) -> Self:
        """Make it of machines: their vectors, those of each class having weights of its own."""
        squares = np.einsum("ij,ij->i", vectors, vectors)
        lengths, usual = np.sqrt(squares), float(np.sqrt(squares.mean())) or 1.0
        per_square = 1.01 * _UNIT * (vectors.shape[1] / 2 + 4) * max(gamma, 1e-200)
        shift = per_square * (usual + lengths) ** 2
        ends = np.cumsum([part.shape[1] for part in weights])
        bounds = [
            _SLACK * np.abs(part) * (_UNIT * (_FEW + part.shape[1]) + shares)
            for part, shares in zip(weights, np.split(shift, ends[:-1]), strict=True)
        ]
        both = [np.concatenate(pair) for pair in zip(weights, bounds, strict=True)]
        heaviest = max(float(np.abs(part).sum(axis=1).max(initial=0.0)) for part in weights)
        constant = float(np.abs(intercepts).max(initial=0.0))
        return cls(
            _single(2.0 * gamma * vectors),
            _single(gamma * squares[:, np.newaxis]),
            [_single(part) for part in both],
            _single(intercepts[:, np.newaxis]),
            usual,
            float(np.sqrt(_LARGEST_SHIFT / per_square) - lengths.max()),
            4.0 * _UNIT * constant + _TINIEST * (2.0 * heaviest + 1.0),
            gamma,
        )

    def winners(
        self, spectra: Floats
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return the class position with most votes, and whether it is sure, of each pixel."""
        squares = np.einsum("ij,ij->i", spectra, spectra)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self._sums(self._kernel(spectra, squares))
            signs = self._signs(*self._decisions(sums, squares))
        signs *= np.sqrt(squares) <= self.longest
        return self._elected(signs)

    def _kernel(self, spectra: Floats, squares: Floats) -> Singles:
        """Return the kernel (vector, pixel)."""
        kernel = self.vectors @ spectra.astype(np.float32).T
        kernel -= self.offsets
        kernel -= (self.gamma * squares).astype(np.float32)
        return np.asarray(np.exp(kernel, out=kernel))

    def _sums(self, kernel: Singles) -> Singles:
        """Return what each class adds to its decisions, and to their error.

        They have the shape (class, 2, class - 1, pixel).
        """
        n_classes, n_pixels, top = len(self.coefficients), kernel.shape[1], 0
        sums = np.empty((n_classes, 2 * (n_classes - 1), n_pixels), dtype=np.float32)
        for position, weights in enumerate(self.coefficients):
            np.matmul(weights, kernel[top : top + weights.shape[1]], out=sums[position])
            top += weights.shape[1]
        return sums.reshape(n_classes, 2, n_classes - 1, n_pixels)

    def _decisions(self, sums: Singles, squares: Floats) -> tuple[Singles, Singles]:
        """Return the decisions (pair, pixel) and bounds on their errors."""
        n_classes, top = len(sums), 0
        both = np.empty((2, len(self.intercepts), sums.shape[-1]), dtype=np.float32)
        for i in range(n_classes - 1):
            pairs = both[:, top : top + n_classes - 1 - i]
            np.add(sums[i, :, i:], sums[i + 1 :, :, i].swapaxes(0, 1), out=pairs)
            top += pairs.shape[1]
        decisions, errors = both
        decisions += self.intercepts
        errors *= np.maximum(squares / self.usual**2, 1.0).astype(np.float32)
        errors += np.float32(self.least)
        return decisions, errors

    def _signs(self, decisions: Singles, errors: Singles) -> Singles:
        """Return 1 for a sure vote for the first class, -1 for the second, 0 in doubt."""
        # A decision that is not a number is in doubt too.
        sure = (np.abs(decisions) > errors).astype(np.float32)
        return np.asarray(np.copysign(sure, decisions, out=sure))

    def _elected(
        self, signs: Singles
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return who has most sure votes, the first of those that tie, and who cannot lose."""
        n_classes = len(self.coefficients)
        balance = self._sides @ signs
        known = abs(self._sides) @ np.abs(signs)
        # Votes come first, and among equal votes the order of classes.
        order = np.arange(n_classes, 0, -1)[:, np.newaxis]
        rank = np.rint((balance + known) / 2).astype(np.int64) * n_classes + order
        winners, every = rank.argmax(axis=0), np.arange(signs.shape[1])
        best = rank[winners, every]
        rank += (n_classes - 1 - np.rint(known).astype(np.int64)) * n_classes
        rank[winners, every] = 0
        return winners, rank.max(axis=0) < best

    @cached_property
    def _sides(self) -> csr_array:
        """Say for each class and pair whether it is the first (1), the second (-1) or none."""
        first, second = np.triu_indices(len(self.coefficients), 1)
        pairs, ones = np.arange(len(first)), np.ones(len(first), dtype=np.float32)
        entries = np.concatenate([ones, -ones])
        places = np.concatenate([first, second]), np.concatenate([pairs, pairs])
        return csr_array((entries, places), shape=(len(self.coefficients), len(first)))


def _single(values: Floats) -> Singles:
    """Round to single precision; what is too large becomes infinite, and its votes doubtful."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


_BLOCK = 2**19
"""Numbers held at once by each thread: 4 MiB, most of it in the processor's cache."""

_FEWEST = 256
"""Pixels below which a block is not worth a call, as long as it fits into 64 MiB."""

_LARGEST = 2**23

Rows = slice | npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class OneVsOneMachines:
    """RBF support vector machines for every pair of classes, sharing their vectors.

    Examples
    --------
    Two classes with one support vector each, at -1 and +1:

    >>> machines = OneVsOneMachines(
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
        run_in_threads(work, self.blocks(n_pixels))

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
