"""NWFE in blocks of matrix products against the formulas taken one sample at a time.

The samples are simulated: 52 classes with the published class counts of the
full Indian Pines scene (a tenth of each), 33,396 samples of 100 bands.  The
naive form needs the same work for every sample, so it is timed on some of them
and scaled.  The last line is the ratio of the two times.

    python benchmarks/nwfe.py [--naive 8]
"""

import argparse
import resource
import time

import numpy as np
from scipy.linalg import eigh

from hypercover.features.nwfe import NWFE

COUNTS = [
    1720,
    1778,
    16,
    51,
    236,
    1240,
    2649,
    3968,
    80,
    173,
    105,
    563,
    886,
    438,
    121,
    569,
    11,
    115,
    233,
    113,
    219,
    226,
    22,
    194,
    174,
    34,
    1039,
    10,
    939,
    89,
    111,
    507,
    273,
    1180,
    1039,
    224,
    54,
    1512,
    267,
    183,
    810,
    495,
    216,
    253,
    93,
    873,
    58,
    311,
    58,
    498,
    6356,
    14,
]

BANDS, FEATURES = 100, 30
NEAREST = 1e-3


def simulated(counts: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw samples (n, band) of classes that overlap, and their codes."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    means = rng.normal(size=(len(counts), BANDS))
    return means[codes] + rng.normal(size=(len(codes), BANDS)), codes


class Naive:
    """The published formulas, one sample and one class after the other."""

    def __init__(self, samples: np.ndarray, codes: np.ndarray) -> None:
        self.classes = [samples[codes == code] for code in np.unique(codes)]
        self.floor = NEAREST * np.sqrt(2 * samples.var(axis=0).sum())
        self.count = len(samples)

    def scatters(self, few: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the scatter within and between, of at most so many samples a class."""
        within, between, done = np.zeros((BANDS, BANDS)), np.zeros((BANDS, BANDS)), 0
        for i, own in enumerate(self.classes):
            done += len(own[:few])
            for j, others in enumerate(self.classes):
                scatter = within if i == j else between
                scatter += self.pair(own[:few], others) / self.count
        return within, between, done

    def pair(self, own: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the scatter of one class about the local means of another."""
        scatter, total = np.zeros((BANDS, BANDS)), 0.0
        for sample in own:
            distances = np.sqrt(((others - sample) ** 2).sum(axis=1))
            near = np.where(
                distances < self.floor, 0.0, 1 / np.maximum(distances, self.floor)
            )
            residual = sample - (near[:, np.newaxis] * others).sum(axis=0) / near.sum()
            weight = 1 / max(np.sqrt((residual**2).sum()), self.floor)
            scatter += weight * np.outer(residual, residual)
            total += weight
        return scatter / total


def difference() -> float:
    """Return how far the eigenvalues of both forms differ on a small problem."""
    samples, codes = simulated([60, 40, 20])
    within, between, _ = Naive(samples, codes).scatters()
    mixed = 0.5 * within + 0.5 * np.diag(within.diagonal())
    expected = eigh(between, mixed, eigvals_only=True)[::-1][:FEATURES]
    found = NWFE(FEATURES).fit(samples, codes).eigenvalues_
    return float(np.abs(found / expected - 1).max())


def main() -> None:
    """Time both forms and say how much the blocks save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--naive", type=int, default=8, help="naive samples per class")
    few = parser.parse_args().naive
    print(f"largest relative difference of eigenvalues, 120 samples: {difference():.1e}")
    samples, codes = simulated(COUNTS)
    began = time.perf_counter()
    NWFE(FEATURES).fit(samples, codes)
    fast = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"blocks: {fast:.1f} s for {len(codes)} samples of {BANDS} bands")
    print(f"peak memory of the process: {peak:.2f} GiB")
    began = time.perf_counter()
    _, _, done = Naive(samples, codes).scatters(few)
    part = time.perf_counter() - began
    slow = part * len(codes) / done
    print(f"naive: {part:.1f} s for {done} samples, {slow:.0f} s for all of them")
    print(f"ratio: {slow / fast:.1f}")


if __name__ == "__main__":
    main()
