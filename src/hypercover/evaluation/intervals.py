"""Intervals of the accuracies of one model, from the answers of all its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import isfinite
from typing import Any

import numpy as np

from hypercover.errors import CallError
from hypercover.evaluation.bootstrap import LEAST_UNITS, LEVEL, RESAMPLES, bootstrapped
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.tally import HEADLINES, Floats, accuracies, bearing, tally
from hypercover.evaluation.units import BlockUnits, Units

__all__ = ["Interval", "Intervals", "accuracy_intervals", "codes_of", "plain"]

Interval = tuple[float, float] | None
"""Lower and upper end; None where nothing can be said."""
_PER_CLASS = ("producers_accuracy", "users_accuracy", "f1")


@dataclass(frozen=True)
class Intervals:
    """Where the accuracies of a model on land like the tested land are thought to lie."""

    level: float
    """How often such an interval holds the truth."""
    unit: str
    """What was drawn anew, in words."""
    units: int
    """How many of them there are."""
    resamples: int
    """How often they were drawn."""
    overall_accuracy: Interval
    average_accuracy: Interval
    kappa: Interval
    per_class: tuple[dict[str, Any], ...]
    """For each class its ``code`` and the intervals of its measures."""

    @property
    def too_few(self) -> bool:
        """Whether the units are too few to judge by: nothing has an interval then."""
        return self.units < LEAST_UNITS

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values for ``metrics.json``."""
        heads = {name: _listed(getattr(self, name)) for name in HEADLINES}
        rows = [
            {"code": row["code"]} | {name: _listed(row[name]) for name in _PER_CLASS}
            for row in self.per_class
        ]
        names = ("level", "unit", "units", "too_few", "resamples")
        about = {name: getattr(self, name) for name in names}
        return about | heads | {"per_class": rows}


def accuracy_intervals(
    answers: Predictions | Sequence[Predictions],
    *,
    units: Units | None = None,
    codes: Sequence[int] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """Give every accuracy of a model an interval that knows that neighbours are alike.

    Why it exists: 9,000 test pixels of 60 blocks are worth 60 observations, not
    9,000.  Blocks or fields are drawn anew, never pixels; of several seeds a
    unit weighs the same in all of them, and how far the seeds differ is added
    (see :mod:`hypercover.evaluation.bootstrap`).

    Parameters
    ----------
    answers : Predictions, or one for each seed of one model
        Of several, the intervals are those of the mean over the seeds.
    units : BlockUnits or FieldUnits, optional
        What is drawn; blocks of 15 pixels by default.  They should be larger
        than the patches in which errors come.
    codes : ascending class codes, optional
        Classes to list; by default those that occur.
    level : float between 0 and 1
        How often the interval shall hold the truth.
    resamples : int
        How often units are drawn anew.
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

    >>> from hypercover.samples.samples import Samples
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
    _check(level, resamples)
    seeds = [answers] if isinstance(answers, Predictions) else list(answers)
    known = codes_of(seeds) if codes is None else [int(code) for code in codes]
    _check_codes(seeds, known)
    chosen = units or BlockUnits()
    numbers, count = chosen.number(seeds)
    tallies = np.stack([
        tally(one, number, count, known)
        for one, number in zip(seeds, numbers, strict=True)
    ])  # fmt: skip
    sure = bootstrapped(
        tallies, accuracies, bearing(tallies.sum(axis=0)), resamples=resamples, seed=seed
    ).given(count)
    least = np.where(np.arange(len(sure.value)) == HEADLINES.index("kappa"), -1.0, 0.0)
    ends = plain(sure.of_shares(level, least))
    heads, classes = ends[: len(HEADLINES)], ends[len(HEADLINES) :]
    rows = tuple(
        {"code": code} | dict(zip(_PER_CLASS, classes[at :: len(known)], strict=True))
        for at, code in enumerate(known)
    )
    overall, average, kappa = heads
    return Intervals(level, chosen.words, count, resamples, overall, average, kappa, rows)


def codes_of(seeds: Sequence[Predictions]) -> list[int]:
    """List the class codes that occur, in ascending order."""
    each = [np.union1d(one.labels, one.predicted) for one in seeds]
    return [int(code) for code in reduce(np.union1d, each)]


def plain(ends: Floats) -> list[Interval]:
    """Turn intervals (measure, 2) into pairs, None where they are not known."""
    return [
        (low, high) if isfinite(low) and isfinite(high) else None
        for low, high in ends.tolist()
    ]


def _listed(interval: Interval) -> list[float] | None:
    return None if interval is None else list(interval)


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1:
        raise CallError(f"The level of an interval lies between 0 and 1, got {level}.")
    if resamples < 100:
        raise CallError(f"A bootstrap needs at least 100 resamples, got {resamples}.")


def _check_codes(seeds: Sequence[Predictions], codes: Sequence[int]) -> None:
    strange = sorted(set(codes_of(seeds)) - set(codes))
    if strange or sorted(set(codes)) != list(codes):
        raise CallError(
            f"Every class of the answers must be listed once and in ascending order, got "
            f"{list(codes)[:8]} without {strange[:5]}; leave out codes to take all."
        )
