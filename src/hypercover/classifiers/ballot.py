"""The votes of pairwise machines, counted in single precision with bounds on the error.

Single precision takes half the time, but not every sign it gives can be
trusted.  For each pixel and pair the rounding error is bounded; a pair whose
decision lies within its bound may have voted either way; and a winner is sure
if no such votes could turn the election.  The few pixels without a sure winner
are for somebody else to compute in double precision.

The bound, with u = 2⁻²⁴, n features, a pixel x and a vector v: each rounding of
the exponent E = γ (2 x·v - |v|² - |x|²) is at most u times a part of
γ (|x| + |v|)², and n + 2 of them fall on 2 γ x·v, so that E is wrong by at most
e = 1.01 u (n / 2 + 4) γ (|x| + |v|)², and the kernel by a share of e and a few u
more.  A sum over m vectors adds (m + 1) u of the sum of absolute terms
(N. J. Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1).
Both are shares of |weight| · kernel, known beforehand but for |x|; for them |x| is
taken to be the usual length R of a vector, and where it is f R with f > 1 the whole
bound is taken f² times, as |x| + |v| ≤ f (R + |v|).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = ["Ballot"]

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
