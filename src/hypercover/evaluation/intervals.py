"""Intervals for the accuracies of one model, by a bootstrap over blocks or fields.

Pixels of one field are alike, and so are a classifier's errors on them.  Intervals that
treat pixels as independent are far too narrow; whole blocks or fields nearly are independent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from hypercover.errors import CallError
from hypercover.evaluation import accuracy
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import ClassIntervals, Intervals, Range
from hypercover.scene.samples import Samples
from hypercover.splits.folds import cluster_numbers
from hypercover.types import Array, Floats, Indices

LEVEL = 0.95
"""Nominal coverage of an interval."""

MIN_UNITS = 5
"""Fewest units an interval is given for: coverage was not simulated with fewer."""

RESAMPLES = 2000

_AT_ONCE = 2**22
"""Weights that are drawn at a time."""

Measure = Callable[[Floats], Floats]
"""From tallies (..., field, class) to measures (..., measure)."""

_BLOCK_SIZE = 15
"""Default side of a block in pixels."""


@dataclass(frozen=True)
class BlockUnits:
    """Square blocks of the image, starting at its upper left corner, whatever the split.

    The grid is fixed, so that a block is the same piece of land under every seed.

    Examples
    --------
    >>> answers = Predictions.of(Samples.of([[1, 1, 2, 0, 2]]), [1, 1, 2, 2], shape=(1, 5))
    >>> BlockUnits(2).assign([answers])
    ([array([0, 0, 1, 2])], 3)
    """

    size: int = _BLOCK_SIZE
    """Side of a block in pixels."""

    def __post_init__(self) -> None:
        """Refuse blocks without pixels."""
        if self.size < 1:
            raise CallError(f"A block needs a side of at least 1 pixel, got {self.size}.")

    @property
    def description(self) -> str:
        """Describe the units, for tables and messages."""
        return f"blocks of {self.size} px"

    def assign(self, seeds: Sequence[Predictions]) -> tuple[list[Indices], int]:
        """Return the block of each test pixel of each seed, and the number of blocks.

        Blocks without a test pixel are not counted.
        """
        across = -(-_shape(seeds)[1] // self.size)
        return _joined(
            [
                answers.rows // self.size * across + answers.cols // self.size
                for answers in seeds
            ]
        )


@dataclass(frozen=True)
class FieldUnits:
    """Connected fields: test pixels of one class that touch, corners included.

    Pixels that are tested under any of several seeds count, so that a field is
    the same piece of land under every seed.

    Examples
    --------
    >>> answers = Predictions.of(Samples.of([[1, 1, 2, 0, 2]]), [1, 1, 2, 2], shape=(1, 5))
    >>> FieldUnits().assign([answers])
    ([array([0, 0, 1, 2])], 3)
    """

    @property
    def description(self) -> str:
        """Describe the units, for tables and messages."""
        return "fields"

    def assign(self, seeds: Sequence[Predictions]) -> tuple[list[Indices], int]:
        """Return the field of each test pixel of each seed, and the number of fields."""
        cols = _shape(seeds)[1]
        places = [each.rows.astype(np.int64) * cols + each.cols for each in seeds]
        tested, first = np.unique(np.concatenate(places), return_index=True)
        labels = np.concatenate([each.labels for each in seeds])[first].astype(np.int64)
        fields = cluster_numbers(Samples(tested // cols, tested % cols, labels), 1)
        return _joined([fields[np.searchsorted(tested, place)] for place in places])


Units = BlockUnits | FieldUnits


def units_of_split(kind: str, settings: Mapping[str, Any]) -> Units:
    """Choose the units for a split: its blocks, its fields, or default blocks.

    Examples
    --------
    >>> units_of_split("blocks", {"size": 8}).description, units_of_split("random", {}).description
    ('blocks of 8 px', 'blocks of 15 px')
    """
    if kind in ("saved", "windows"):
        # The settings hold the kind of the split that was taken over.
        return units_of_split(str(settings.get("kind", "given")), {**settings, "kind": ""})
    by_fields = kind == "kfold" and settings.get("by") == "fields"
    if by_fields or kind in ("fields", "clusters", "leave-one-out"):
        return FieldUnits()
    size = settings.get("size") if kind in ("blocks", "kfold") else None
    return BlockUnits(size) if isinstance(size, int) and size > 0 else BlockUnits()


def _shape(seeds: Sequence[Predictions]) -> tuple[int, int]:
    """Return the shape of the one scene that all answers are for, with pixels to count."""
    shapes = {answers.shape for answers in seeds}
    if len(shapes) != 1:
        raise CallError(
            f"Seeds must be of one scene, got {len(shapes)} sizes; give those of one run."
        )
    if not sum(map(len, seeds)):
        raise CallError("The split has no test pixels; give one that does.")
    return shapes.pop()


def _joined(keys: Sequence[Array]) -> tuple[list[Indices], int]:
    """Turn the keys of all seeds into numbers from 0 on, without gaps."""
    units, numbers = np.unique(np.concatenate(keys), return_inverse=True)
    ends = np.cumsum([len(key) for key in keys])[:-1]
    return list(np.split(numbers, ends)), len(units)


def tally(seeds: Sequence[Predictions], units: Units, codes: Sequence[int]) -> Floats:
    """Count right, reference and predicted pixels of each class (seed, unit, 3, class)."""
    numbers, count = units.assign(seeds)
    pairs = zip(seeds, numbers, strict=True)
    return np.stack(
        [accuracy.count_by_unit(each, own, count, codes) for each, own in pairs]
    )


@dataclass(frozen=True, eq=False)
class BootstrapEstimate:
    """Bootstrap estimates of some measures; NaN where undefined.

    Intervals and p-values are derived from the same three numbers, so they always agree.
    """

    value: Floats
    """The measures (measure,): of several seeds, their means."""
    error: Floats
    """Standard errors."""
    freedom: Floats
    """Degrees of freedom of the standard errors."""

    def of_shares(self, level: float = LEVEL, least: Floats | float = 0.0) -> Floats:
        """Return intervals (measure, 2) of values between ``least`` and 1.

        On the logit scale.  A measure that is the same for all resamples has none, such
        as that of a model without errors.
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
        """Return intervals (measure, 2) of differences between −1 and 1.

        Models that differ nowhere have none.
        """
        half = np.where(self.error > 0, self._half(level), np.nan)
        ends = np.stack([self.value - half, self.value + half], axis=-1)
        return np.clip(ends, -1, 1)

    def p_values(self) -> Floats:
        """Return the two-sided p-values of the differences.

        They are below 1 − level exactly where the interval excludes 0.
        """
        nothing = (self.value == 0) & (self.error == 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.abs(self.value) / self.error
        return np.where(nothing, 1.0, 2 * student.sf(size, self.freedom))

    def given(self, units: int) -> "BootstrapEstimate":
        """Return the estimates without errors if there are too few units."""
        if units >= MIN_UNITS:
            return self
        unknown = np.full_like(self.error, np.nan)
        return replace(self, error=unknown, freedom=unknown)

    def _half(self, level: float) -> Floats:
        return np.asarray(student.ppf(0.5 + level / 2, self.freedom) * self.error)


def bootstrap(
    tallies: Floats,
    measure: Measure,
    bearing: Floats,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapEstimate:
    """Estimate measures of the sum of all units, and their standard errors.

    Parameters
    ----------
    tallies : array (seed, unit, field, class)
        What was counted on each unit under each seed.
    measure : function from (..., field, class) to (..., measure)
    bearing : array (unit, measure)
        How much of each measure rests on each unit, in any scale.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of these draws.

    Examples
    --------
    Nine blocks of 100 pixels with shares right that are known:

    >>> right = np.array([90, 80, 70, 85, 95, 60, 75, 88, 77.0])
    >>> tallies = np.stack([right, np.full(9, 100.0)], axis=-1)[None, :, :, None]
    >>> sure = bootstrap(tallies, lambda t: t[..., 0, :] / t[..., 1, :], np.ones((9, 1)))
    >>> round(float(sure.value[0]), 2), round(float(sure.error[0]), 3)  # SD / 3 is 0.036
    (0.8, 0.036)
    """
    apart = measure(tallies.sum(axis=1))
    moved = _over_units(tallies, measure, resamples, np.random.default_rng(seed))
    units = accuracy.safe_divide(bearing.sum(axis=0) ** 2, (bearing**2).sum(axis=0))
    several = units > 1 + 1e-9
    free = np.where(several, units - 1, np.nan)
    of_units = _variance(moved) * (free + 1) / free
    of_seeds = _variance(apart) / np.isfinite(apart).sum(axis=0).clip(1)
    if len(tallies) == 1:
        freedom = free
    else:
        of_seeds = np.nan_to_num(of_seeds)
        between = np.isfinite(apart).sum(axis=0).clip(2) - 1
        freedom = accuracy.safe_divide(
            (of_units + of_seeds) ** 2, of_units**2 / free + of_seeds**2 / between
        )
        # Equal predictions have no variance, and thus no interval.
        freedom = np.where(of_units + of_seeds == 0, free, freedom)
    error = np.sqrt(of_units + np.nan_to_num(of_seeds))
    return BootstrapEstimate(accuracy.finite_mean(apart), error, freedom.clip(0.5))


def _over_units(
    tallies: Floats, measure: Measure, resamples: int, rng: np.random.Generator
) -> Floats:
    """Return the mean measures (resample, measure) of units drawn with replacement."""
    seeds, units, *shape = tallies.shape
    flat = tallies.reshape(seeds, units, -1)
    return np.concatenate(
        [
            accuracy.finite_mean(
                np.stack([measure((weights @ seed).reshape(-1, *shape)) for seed in flat])
            )
            for weights in _weights(units, resamples, rng)
        ]
    )


def _weights(units: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Draw how often each unit is in each resample (some resamples, unit)."""
    at_once = max(1, _AT_ONCE // units)
    for done in range(0, resamples, at_once):
        rows = min(at_once, resamples - done)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


def _variance(values: Floats) -> Floats:
    """Return the variance along the first axis of what is finite; NaN of fewer than two."""
    finite = np.isfinite(values)
    away = np.where(finite, values - accuracy.finite_mean(values), 0)
    return accuracy.safe_divide((away**2).sum(axis=0), (finite.sum(axis=0) - 1).clip(0))


def accuracy_intervals(
    answers: Predictions | Sequence[Predictions],
    *,
    units: Units | None = None,
    codes: Sequence[int] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """Compute intervals for the accuracies of a model by a bootstrap over blocks or fields.

    9,000 test pixels in 60 blocks are worth about 60 observations, so blocks or fields
    are resampled rather than pixels.  With several seeds each unit has the same weight in
    all of them, and the variance between the seeds is added.

    Parameters
    ----------
    answers : Predictions, or one for each seed of one model
        Of several, the intervals are those of the mean over the seeds.
    units : BlockUnits or FieldUnits, optional
        What is resampled; blocks of 15 pixels by default.  They should be larger than the
        patches that errors form.
    codes : ascending class codes, optional
        Classes to list; by default those that occur.
    level : float between 0 and 1
        Nominal coverage.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the draws.

    Returns
    -------
    Intervals
        With fewer than five units no measure has any.

    Raises
    ------
    CallError
        If the level or the number of resamples makes no sense, there is no test
        pixel, a code occurs that is not listed, or the answers are for scenes of
        several sizes.

    Examples
    --------
    A model that takes every third column of fields for the other class:

    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of(np.repeat([[1, 2]], 60, axis=0).repeat(45, axis=1))
    >>> taken = np.where(test.cols // 15 % 3 == test.rows // 15 % 2, 3 - test.labels, test.labels)
    >>> answers = Predictions.of(test, taken, shape=(60, 90))
    >>> found = accuracy_intervals(answers)
    >>> found.units, round(float(answers.right.mean()), 2)
    (24, 0.67)
    >>> [round(end, 2) for end in found.overall_accuracy]
    [0.45, 0.83]
    >>> one_by_one = accuracy_intervals(answers, units=BlockUnits(1), resamples=200)
    >>> [round(end, 2) for end in one_by_one.overall_accuracy]
    [0.65, 0.68]
    """
    if not 0 < level < 1:
        raise CallError(f"The level of an interval lies between 0 and 1, got {level}.")
    if resamples < 100:
        raise CallError(f"A bootstrap needs at least 100 resamples, got {resamples}.")
    seeds = [answers] if isinstance(answers, Predictions) else list(answers)
    present = class_codes(seeds)
    listed = present if codes is None else [int(code) for code in codes]
    unlisted = sorted(set(present) - set(listed))
    if unlisted or sorted(set(listed)) != listed:
        raise CallError(
            f"Every class of the answers must be listed once and in ascending order, got "
            f"{listed[:8]} without {unlisted[:5]}; leave out codes to take all."
        )
    chosen = units or BlockUnits()
    tallies = tally(seeds, chosen, listed)
    count = tallies.shape[1]
    weights = accuracy.unit_weights(tallies.sum(axis=0))
    estimate = bootstrap(
        tallies, accuracy.accuracies, weights, resamples=resamples, seed=seed
    ).given(count)
    least = np.zeros(len(estimate.value))
    least[accuracy.OVERALL_MEASURES.index("kappa")] = -1
    overall, classes = accuracy.by_measure(
        as_intervals(estimate.of_shares(level, least)), listed
    )
    return Intervals(
        level=level,
        unit=chosen.description,
        units=count,
        too_few=count < MIN_UNITS,
        resamples=resamples,
        **overall,
        per_class=[ClassIntervals(code=code, **ends) for code, ends in classes.items()],
    )


def class_codes(seeds: Sequence[Predictions]) -> list[int]:
    """List the class codes that occur, in ascending order."""
    each = [np.union1d(answers.labels, answers.predicted) for answers in seeds]
    return [int(code) for code in reduce(np.union1d, each)]


def as_intervals(ends: Floats) -> list[Range]:
    """Turn intervals (measure, 2) into pairs, None where they are not known."""
    lows, highs = accuracy.none_for_nan(ends[:, 0]), accuracy.none_for_nan(ends[:, 1])
    return [
        None if low is None or high is None else (low, high)
        for low, high in zip(lows, highs, strict=True)
    ]
