"""Bootstrap: how far a measure would move, had other pieces of land been tested.

Whole units (blocks or fields) are drawn anew with replacement, never pixels:
neighbours are alike, and pixels drawn as if they were independent give
intervals that hold the truth one time in four.  Of several seeds a unit has the
same weight in all, since the land is the same.

Three corrections, each chosen by simulation (``benchmarks/interval_coverage.py``):

- The standard error of the bootstrap goes with quantiles of Student's t and is
  widened by sqrt(m / (m − 1)), as percentiles of few units are too narrow
  (Hesterberg 2015, The American Statistician 69, 371-386, section 4).
- m is the number of units of equal size that would be worth as much: (Σs)² / Σs²
  for units of s pixels (Kish 1965, Survey Sampling, section 11.7).
- A share is bounded, so its interval is made on the logit scale.

The training of several seeds varies too.  The variance of a mean over seeds is
the sum of that over units and of that over seeds, as in two-way clustering
(Cameron, Gelbach, Miller 2011, J. Business & Economic Statistics 29, 238-249),
with degrees of freedom after Satterthwaite (1946).  The pigeonhole bootstrap
(Owen 2007, Annals of Applied Statistics 1, 386-411) draws units and seeds both;
it counts what unit and seed have together three times, and with few seeds it
covers too seldom where training matters most.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from hypercover.evaluation.tally import Floats, ratio

__all__ = ["LEAST_UNITS", "LEVEL", "RESAMPLES", "Measure", "Uncertain", "bootstrapped"]

LEVEL = 0.95
"""How often an interval shall hold the truth."""
LEAST_UNITS = 5
"""Units from which on an interval is given: coverage was not simulated with fewer."""
RESAMPLES = 2000
_AT_ONCE = 2**22
"""Weights that are drawn at a time."""
Measure = Callable[[Floats], Floats]
"""From tallies (..., field, class) to measures (..., measure)."""


@dataclass(frozen=True, eq=False)
class Uncertain:
    """Some measures, and how sure they are; NaN where nothing can be said.

    Why it exists: intervals and p-values are two ways to read the same three
    numbers, and they must never disagree.
    """

    value: Floats
    """The measures (measure,): of several seeds, their means."""
    error: Floats
    """Standard errors."""
    freedom: Floats
    """Degrees of freedom of the standard errors."""

    def of_shares(self, level: float = LEVEL, least: Floats | float = 0.0) -> Floats:
        """Return intervals (measure, 2) of values between ``least`` and 1.

        On the logit scale.  A measure that no unit moves has none: a model
        without any error leaves nothing to draw from.
        """
        reach = 1 - np.asarray(least)
        share = (self.value - least) / reach
        inside = (share > 0) & (share < 1) & (self.error > 0)
        share = np.where(inside, share, np.nan)
        centre = np.log(share / (1 - share))
        half = self._half(level) / (reach * share * (1 - share))
        ends = expit(np.stack([centre - half, centre + half], axis=-1))
        return np.asarray(np.asarray(least)[..., None] + reach[..., None] * ends)

    def of_differences(self, level: float = LEVEL) -> Floats:
        """Return intervals (measure, 2) of differences, which lie between −1 and 1.

        Models that differ nowhere have none: nothing is left to draw from.
        """
        half = np.where(self.error > 0, self._half(level), np.nan)
        ends = np.stack([self.value - half, self.value + half], axis=-1)
        return np.clip(ends, -1, 1)

    def p_values(self) -> Floats:
        """Return how likely so large a difference were, if there were none.

        Two-sided, and below 1 − level exactly where the interval leaves out 0.
        """
        nothing = (self.value == 0) & (self.error == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.abs(self.value) / self.error
        return np.where(nothing, 1.0, 2 * student.sf(size, self.freedom))

    def given(self, units: int) -> "Uncertain":
        """Return the same with nothing said of how sure it is, where the units are too few."""
        if units >= LEAST_UNITS:
            return self
        unknown = np.full_like(self.error, np.nan)
        return replace(self, error=unknown, freedom=unknown)

    def _half(self, level: float) -> Floats:
        return np.asarray(student.ppf(0.5 + level / 2, self.freedom) * self.error)


def bootstrapped(
    tallies: Floats,
    measure: Measure,
    bearing: Floats,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Uncertain:
    """Tell how sure measures of the sum of all units are.

    Parameters
    ----------
    tallies : array (seed, unit, field, class)
        What was counted on each unit under each seed.
    measure : function from (..., field, class) to (..., measure)
    bearing : array (unit, measure)
        How much of each measure rests on each unit, in any scale.
    resamples : int
        How often units are drawn anew.
    seed : int
        Seed of these draws.

    Examples
    --------
    Nine blocks of 100 pixels with shares right that are known:

    >>> right = np.array([90, 80, 70, 85, 95, 60, 75, 88, 77.0])
    >>> tallies = np.stack([right, np.full(9, 100.0)], axis=-1)[None, :, :, None]
    >>> sure = bootstrapped(tallies, lambda t: t[..., 0, :] / t[..., 1, :], np.ones((9, 1)))
    >>> round(float(sure.value[0]), 2), round(float(sure.error[0]), 3)  # SD / 3 is 0.036
    (0.8, 0.036)
    """
    apart = measure(tallies.sum(axis=1))
    moved = _over_units(tallies, measure, resamples, np.random.default_rng(seed))
    units = ratio(bearing.sum(axis=0) ** 2, (bearing**2).sum(axis=0))
    several = units > 1 + 1e-9
    free = np.where(several, units - 1, np.nan)
    of_units = _variance(moved) * (free + 1) / free
    of_seeds = _variance(apart) / np.isfinite(apart).sum(axis=0).clip(1)
    if len(tallies) == 1:
        freedom = free
    else:
        of_seeds = np.nan_to_num(of_seeds)
        between = np.isfinite(apart).sum(axis=0).clip(2) - 1
        freedom = ratio((of_units + of_seeds) ** 2,
                        of_units**2 / free + of_seeds**2 / between)  # fmt: skip
        # Of equal answers nothing varies, and there is no interval.
        freedom = np.where(of_units + of_seeds == 0, free, freedom)
    error = np.sqrt(of_units + np.nan_to_num(of_seeds))
    return Uncertain(_mean(apart), error, freedom.clip(0.5))


def _over_units(
    tallies: Floats, measure: Measure, resamples: int, rng: np.random.Generator
) -> Floats:
    """Return the mean measures (resample, measure) of units drawn with replacement."""
    seeds, units, *shape = tallies.shape
    flat = tallies.reshape(seeds, units, -1)
    return np.concatenate([
        _mean(np.stack([measure((weights @ one).reshape(-1, *shape)) for one in flat]))
        for weights in _weights(units, resamples, rng)
    ])  # fmt: skip


def _weights(units: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Draw how often each unit is in each resample (some resamples, unit)."""
    at_once = max(1, _AT_ONCE // units)
    for done in range(0, resamples, at_once):
        rows = min(at_once, resamples - done)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


def _mean(values: Floats) -> Floats:
    """Average along the first axis what is known."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def _variance(values: Floats) -> Floats:
    """Return the variance along the first axis of what is known; NaN of fewer than two."""
    known = np.isfinite(values)
    away = np.where(known, values - _mean(values), 0)
    return ratio((away**2).sum(axis=0), (known.sum(axis=0) - 1).clip(0))
