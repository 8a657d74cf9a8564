"""Prediction of one-vs-one SVMs by matrix products, with exactly LIBSVM's labels.

LIBSVM evaluates one pixel and support vector at a time.  Two matrix products per
block of pixels give the same decisions several times faster.  Rounding differs, so
decisions too close to zero are recomputed in LIBSVM's order of operations: the labels
are equal on every pixel, ties included.

Labels are first predicted in single precision with error bounds, and in double
precision for the pixels left in doubt.  That takes 0.5 to 0.7 of the processor time
of double precision alone (`benchmarks/svm_predict.py`).

Reference: C.-C. Chang and C.-J. Lin, LIBSVM: a library for support vector
machines, ACM TIST 2(3), 2011, section 7.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Self

import numpy as np
from scipy.linalg import blas
from scipy.sparse import csr_array

from hypercover.classifiers.svm.threads import run_in_threads
from hypercover.types import Floats, Indices, Mask, Singles

_UNIT = 2.0**-24

_SLACK = 1.25
"""Factor for second-order terms: exp(e) - 1 against e, and rounding of the bound itself."""

_FEW = 14
"""Units of rounding besides those of exponent and sum: exp (4 ulp), casts, last sums."""

_LARGEST_SHIFT = 0.1
"""Error of an exponent above which the bound does not hold and all votes are in doubt."""

_TINIEST = 1e-30
"""Absolute error of an underflowing kernel, per unit of a coefficient."""


@dataclass(frozen=True, eq=False)
class SinglePrecisionVotes:
    """One-vs-one SVMs in single precision, with bounds on the rounding error of decisions."""

    vectors: Singles
    """Support vectors times 2 γ (vector, feature)."""
    offsets: Singles
    """γ |v|² of each support vector (vector, 1)."""
    coefficients: list[Singles]
    """For each class its dual coefficients (class - 1, vector), followed by bounds on
    their rounding error at a kernel of 1."""
    intercepts: Singles
    """Bias of each pair (pair, 1)."""
    usual: float
    """Norm of a pixel assumed by the bounds: the root mean square norm of the vectors."""
    longest: float
    """Largest norm of a pixel for which the bounds hold."""
    least: float
    """Bound on the errors of intercepts and underflow."""
    gamma: float
    """Gamma of the kernel."""

    @classmethod
    def of(
        cls, vectors: Floats, weights: list[Floats], intercepts: Floats, gamma: float
    ) -> Self:
        """Convert the support vectors and the dual coefficients of each class."""
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

    def winners(self, spectra: Floats) -> tuple[Indices, Mask]:
        """Return the index of the winning class of each pixel, and whether it is certain."""
        squares = np.einsum("ij,ij->i", spectra, spectra)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self._sums(self._kernel(spectra, squares))
            decisions, errors = self._decisions(sums, squares)
            # 1 for a certain vote for the first class, -1 for the second, 0 in doubt, as NaN is
            signs = (np.abs(decisions) > errors).astype(np.float32)
            np.copysign(signs, decisions, out=signs)
        signs *= np.sqrt(squares) <= self.longest
        return self._elected(signs)

    def _kernel(self, spectra: Floats, squares: Floats) -> Singles:
        """Return the kernel (vector, pixel)."""
        kernel = self.vectors @ spectra.astype(np.float32).T
        kernel -= self.offsets
        kernel -= (self.gamma * squares).astype(np.float32)
        return np.asarray(np.exp(kernel, out=kernel))

    def _sums(self, kernel: Singles) -> Singles:
        """Return the terms of each class in its decisions and their error bounds.

        The shape is (class, 2, class - 1, pixel).
        """
        n_classes, n_pixels, top = len(self.coefficients), kernel.shape[1], 0
        sums = np.empty((n_classes, 2 * (n_classes - 1), n_pixels), dtype=np.float32)
        for position, weights in enumerate(self.coefficients):
            np.matmul(weights, kernel[top : top + weights.shape[1]], out=sums[position])
            top += weights.shape[1]
        return sums.reshape(n_classes, 2, n_classes - 1, n_pixels)

    def _decisions(self, sums: Singles, squares: Floats) -> tuple[Singles, Singles]:
        """Return the decisions (pair, pixel) and their error bounds."""
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

    def _elected(self, signs: Singles) -> tuple[Indices, Mask]:
        """Return the class with most certain votes, and whether doubtful ones cannot change it."""
        n_classes = len(self.coefficients)
        balance = self._sides @ signs
        known = abs(self._sides) @ np.abs(signs)
        # Ordered by votes, then by class.
        order = np.arange(n_classes, 0, -1)[:, np.newaxis]
        rank = np.rint((balance + known) / 2).astype(np.int64) * n_classes + order
        winners, every = rank.argmax(axis=0), np.arange(signs.shape[1])
        best = rank[winners, every]
        rank += (n_classes - 1 - np.rint(known).astype(np.int64)) * n_classes
        rank[winners, every] = 0
        return winners, rank.max(axis=0) < best

    @cached_property
    def _sides(self) -> csr_array:
        """Matrix (class, pair): 1 for the first class of a pair, -1 for the second."""
        first, second = np.triu_indices(len(self.coefficients), 1)
        pairs, ones = np.arange(len(first)), np.ones(len(first), dtype=np.float32)
        entries = np.concatenate([ones, -ones])
        places = np.concatenate([first, second]), np.concatenate([pairs, pairs])
        return csr_array((entries, places), shape=(len(self.coefficients), len(first)))


def _single(values: Floats) -> Singles:
    """Round to single precision; values that are too large become infinite, and their votes doubtful."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


_BLOCK = 2**19
"""Values held by each thread: 4 MiB, most of them in the cache."""

_FEWEST = 256
"""Smallest number of pixels of a block, as long as it fits into 64 MiB."""

_LARGEST = 2**23

Rows = slice | Indices


@dataclass(frozen=True, eq=False)
class OneVsOneSVMs:
    """RBF SVMs for every pair of classes with shared support vectors.

    Examples
    --------
    Two classes with one support vector each, at -1 and +1:

    >>> machines = OneVsOneSVMs(
    ...     np.array([[-1.0], [1.0]]), np.array([[1.0, -1.0]]), np.zeros(1), (1, 1), 0.5
    ... )
    >>> machines.winners(machines.decisions(np.array([[-2.0], [0.5]])))
    array([0, 1])
    """

    vectors: Floats
    """Support vectors (vector, band), those of the first class first."""
    coefficients: Floats
    """Dual coefficients (class - 1, vector) in LIBSVM's layout: for a vector of class
    i, row j - 1 is that against class j > i, and row j that against class j < i."""
    intercepts: Floats
    """Bias of each pair (pair,), in the order (0, 1), (0, 2), …, (1, 2), …"""
    counts: tuple[int, ...]
    """Number of support vectors of each class."""
    gamma: float
    """Gamma of the kernel exp(-gamma · distance²)."""

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of classes in the order of the decisions."""
        return list(combinations(range(len(self.counts)), 2))

    @cached_property
    def _spans(self) -> list[slice]:
        return [slice(*ends) for ends in pairwise([0, *np.cumsum(self.counts).tolist()])]

    @cached_property
    def _norms(self) -> Floats:
        return np.asarray(np.einsum("ij,ij->i", self.vectors, self.vectors))

    @cached_property
    def _single_precision(self) -> SinglePrecisionVotes:
        weights = [self.coefficients[:, span] for span in self._spans]
        return SinglePrecisionVotes.of(self.vectors, weights, self.intercepts, self.gamma)

    def blocks(self, n_pixels: int) -> Iterator[slice]:
        """Divide pixels into blocks whose kernel, votes and decisions fit into the cache."""
        size = sum(self.vectors.shape) + 5 * len(self.pairs)
        step = max(1, _BLOCK // size, min(_FEWEST, _LARGEST // size))
        return (slice(top, top + step) for top in range(0, n_pixels, step))

    def in_blocks(self, work: Callable[[slice], None], n_pixels: int) -> None:
        """Call ``work`` for each block of pixels, in parallel threads."""
        run_in_threads(work, self.blocks(n_pixels))

    def labels(self, features: Callable[[Rows], Floats], n_pixels: int) -> Indices:
        """Return the index of the class with most votes of each pixel, as LIBSVM does.

        Parameters
        ----------
        features : callable
            Returns the features (n, feature) of a slice or an array of pixel indices.
        """
        positions = np.empty(n_pixels, dtype=np.intp)
        certain = np.empty(n_pixels, dtype=np.bool_)

        def predict_single(block: slice) -> None:
            positions[block], certain[block] = self._single_precision.winners(
                features(block)
            )

        self.in_blocks(predict_single, n_pixels)
        doubtful = np.flatnonzero(~certain)

        def predict_double(block: slice) -> None:
            rows = doubtful[block]
            positions[rows] = self.winners(self.decisions(features(rows)))

        self.in_blocks(predict_double, len(doubtful))
        return positions

    def decisions(self, spectra: Floats) -> Floats:
        """Return the decision values (pixel, pair); positive for the first class."""
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.einsum("ij,ij->i", spectra, spectra)
            kernel = self._kernel(spectra, norms)
            values = self._sums(kernel)
            values += self.intercepts
            self._recompute_doubtful(values, spectra, norms)
        return values

    def winners(self, decisions: Floats) -> Indices:
        """Return the index of the class with most votes, the first of those that tie."""
        votes = np.zeros((len(decisions), len(self.counts)), dtype=np.int32)
        for i, columns in enumerate(self._columns):
            first = decisions[:, columns] > 0
            votes[:, i] += first.sum(axis=1, dtype=np.int32)
            votes[:, i + 1 :] += ~first
        return np.asarray(votes.argmax(axis=1))

    def shares(self, decisions: Floats) -> Floats:
        """Return uncalibrated scores (pixel, class) that sum to 1, highest for the winner of the votes."""
        logs = np.zeros((len(decisions), len(self.counts)))
        for column, (i, j) in enumerate(self.pairs):
            logs[:, i] -= np.logaddexp(0.0, -decisions[:, column])
            logs[:, j] -= np.logaddexp(0.0, decisions[:, column])
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        winners = self.winners(decisions)
        every = np.arange(len(shares))
        # If the scores prefer another class than the votes, swap the two.
        best = shares.argmax(axis=1)
        shares[every, best] = shares[every, winners]
        np.minimum(shares, 1.0 - 1e-9, out=shares)
        shares[every, winners] = 1.0
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    @cached_property
    def _columns(self) -> list[slice]:
        """Decisions of each class against all later ones."""
        lengths = range(len(self.counts) - 1, 0, -1)
        ends = np.cumsum(lengths).tolist()
        return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]

    def _sums(self, kernel: Floats) -> Floats:
        """Return the weighted sum of kernels (pixel, pair) of both classes of each pair."""
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
        """Bound on the rounding error of a decision, per unit of the exponent."""
        terms = sum(self.vectors.shape)
        weight = float(np.abs(self.coefficients).sum(axis=1).max(initial=0.0))
        return 4 * np.finfo(np.float64).eps * terms * weight

    def _recompute_doubtful(self, values: Floats, spectra: Floats, norms: Floats) -> None:
        """Recompute the decisions of uncertain sign in LIBSVM's order of operations."""
        reach = 1.0 + self.gamma * (norms + float(self._norms.max(initial=0.0)))
        # NaN, as from overflowing norms, is doubtful too.
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
