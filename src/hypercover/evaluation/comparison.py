"""Comparisons: which of two models is better on the same test pixels, with intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom, chi2

from hypercover.errors import CallError, counted
from hypercover.evaluation import accuracy, intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.result_plots import format_result, plot_differences
from hypercover.evaluation.run_metrics import Range
from hypercover.types import Floats, Mask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: how often both, one or neither of two classifiers is right.

    The test treats pixels as independent.  Neighbouring pixels are not, so its p-values
    are far too small; it is given because readers expect it.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    exact_p: float
    """Two-sided probability of the exact binomial test."""
    chi2: float
    """Statistic with correction for continuity, of one degree of freedom."""
    chi2_p: float
    """Its probability."""


def mcnemar(first: Mask, second: Mask) -> McNemar:
    """Test two classifiers on which pixels each is right (n,).

    Only pixels on which exactly one is right count.  Without such pixels both p-values
    are 1; if each is right equally often the statistic is 0.

    Examples
    --------
    >>> first = np.array([True] * 9 + [False] * 3)
    >>> found = mcnemar(first, ~first)
    >>> found.only_first, found.only_second, round(found.exact_p, 3), round(found.chi2, 3)
    (9, 3, 0.146, 2.083)
    """
    ahead, behind = int((first & ~second).sum()), int((second & ~first).sum())
    apart = ahead + behind
    exact = min(1.0, 2 * float(binom.cdf(min(ahead, behind), apart, 0.5)))
    statistic = max(abs(ahead - behind) - 1, 0) ** 2 / apart if apart else 0.0
    return McNemar(
        int((first & second).sum()),
        ahead,
        behind,
        int((~first & ~second).sum()),
        exact if apart else 1.0,
        statistic,
        float(chi2.sf(statistic, 1)),
    )


@dataclass(frozen=True)
class Difference:
    """The difference of one measure, first − second; None where undefined."""

    first: float | None
    second: float | None
    difference: float | None
    interval: Range
    """Interval for the difference on land like the tested land."""
    p_value: float | None
    """Two-sided probability of so large a difference if the models are equally good."""

    def to_row(self) -> dict[str, float | None]:
        """Return the values under the names of a table's columns."""
        lower, upper = self.interval or (None, None)
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "lower": lower,
            "upper": upper,
            "p_value": self.p_value,
        }


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two models on the same test pixels, averaged over the seeds.

    Examples
    --------
    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of(np.repeat([[1, 2]], 60, axis=0).repeat(45, axis=1))
    >>> perfect = Predictions.of(test, test.labels, shape=(60, 90))
    >>> constant = Predictions.of(test, np.ones(5400), shape=(60, 90))
    >>> found = compare_models(perfect, constant, resamples=100)
    >>> found.overall.difference, found.to_frame().shape
    (0.5, (9, 8))
    """

    unit: str
    """What was resampled, such as "blocks of 15 px"."""
    units: int
    """Number of these units."""
    pixels: tuple[int, ...]
    """Test pixels of each seed."""
    headlines: dict[str, Difference]
    """Overall accuracy, average accuracy and kappa."""
    per_class: dict[int, dict[str, Difference]]
    """By class code: producer's accuracy, user's accuracy and F1."""
    per_seed: tuple[tuple[Difference, McNemar], ...]
    """Overall accuracy of each seed, and McNemar's test."""

    @property
    def overall(self) -> Difference:
        """The overall accuracies."""
        return self.headlines["overall_accuracy"]

    @property
    def rows(self) -> Iterator[tuple[str, int | None, Difference]]:
        """Measure, class code (None for all classes together) and difference of each row."""
        for measure, difference in self.headlines.items():
            yield measure, None, difference
        for measure in accuracy.CLASS_MEASURES:
            for code, row in self.per_class.items():
                yield measure, code, row[measure]

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row for each measure, and for each measure of each class."""
        import pandas as pd

        rows = [
            {"measure": measure, "code": code, **difference.to_row()}
            for measure, code, difference in self.rows
        ]
        return pd.DataFrame(rows).astype({"code": "Int64"})

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the differences and their intervals with matplotlib and return the axes."""
        rows = [row for row in self.rows if row[1] is None or row[0] == "f1"]
        labels = [
            measure.replace("_", " ") if code is None else f"F1 of class {code}"
            for measure, code, _ in rows
        ]
        axes = plot_differences(
            labels,
            [row[2].difference for row in rows],
            [row[2].interval for row in rows],
            ax,
        )
        axes.set_title("First model − second model")
        return axes

    def __repr__(self) -> str:
        """Return the differences of the overall measures as a table."""
        frame = self.to_frame()
        overall = frame[frame["code"].isna()].drop(columns="code")
        pixels = ", ".join(f"{count:,}" for count in self.pixels)
        headline = f"Comparison on {pixels} test pixels in {self.units} {self.unit}"
        return format_result(headline, overall)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values for a JSON file."""
        return {
            "unit": self.unit,
            "units": self.units,
            **{name: asdict(found) for name, found in self.headlines.items()},
            "per_class": [
                {"code": code} | {name: asdict(found) for name, found in row.items()}
                for code, row in self.per_class.items()
            ],
            "per_seed": [
                {"pixels": count, **asdict(found), "mcnemar": asdict(test)}
                for count, (found, test) in zip(self.pixels, self.per_seed, strict=True)
            ],
        }


def compare_models(
    first: Predictions | Sequence[Predictions],
    second: Predictions | Sequence[Predictions],
    *,
    units: intervals.Units | None = None,
    codes: Sequence[int] | None = None,
    level: float = intervals.LEVEL,
    resamples: int = intervals.RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same test pixels by a bootstrap over blocks or fields.

    Two models fail in the same places, so their difference is known better than the
    accuracy of each.  Both are measured on the same bootstrap samples of blocks or fields,
    as in :func:`accuracy_intervals`.  McNemar's test is given as well, but treats pixels
    as independent.

    Parameters
    ----------
    first, second : Predictions, or one for each seed, paired in this order
    units : BlockUnits or FieldUnits, optional
        What is resampled; blocks of 15 pixels by default.
    codes : ascending class codes, optional
        Classes to list; by default those that occur.
    level, resamples, seed
        As in :func:`accuracy_intervals`.

    Raises
    ------
    CallError
        If the test pixels of a seed are not the same for both, are all of one
        class, or the seeds are not equally many.

    Examples
    --------
    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of(np.repeat([[1, 2]], 60, axis=0).repeat(45, axis=1))
    >>> def model(share):
    ...     lucky = np.random.default_rng(1).random(len(test)) < share
    ...     return Predictions.of(test, np.where(lucky, test.labels, 1), shape=(60, 90))
    >>> found = compare_models(model(0.9), model(0.8))
    >>> round(found.overall.difference, 2), found.overall.p_value < 0.001
    (0.05, True)
    """
    pairs = _paired(first, second)
    both = [answers for pair in pairs for answers in pair]
    listed = intervals.class_codes(both) if codes is None else [int(code) for code in codes]
    chosen = units or intervals.BlockUnits()
    # (seed, unit, 3 of the first and 3 of the second, class)
    tallies = np.concatenate(
        [intervals.tally(seeds, chosen, listed) for seeds in zip(*pairs, strict=True)],
        axis=2,
    )
    count = tallies.shape[1]

    def differences(of: Floats) -> list[Difference]:
        whole = of.sum(axis=0)
        bearing = accuracy.unit_weights(whole[:, :3]) + accuracy.unit_weights(whole[:, 3:])
        drawing = {"resamples": resamples, "seed": seed}
        estimate = intervals.bootstrap(of, _difference, bearing, **drawing)
        return _differences(of, estimate.given(count), level)

    together = differences(tallies)
    each = [together] if len(pairs) == 1 else [differences(own[None]) for own in tallies]
    return Comparison(
        chosen.description,
        count,
        tuple(len(pair[0]) for pair in pairs),
        *accuracy.by_measure(together, listed),
        tuple(
            (own[0], mcnemar(pair[0].right, pair[1].right))
            for own, pair in zip(each, pairs, strict=True)
        ),
    )


def describe_test_difference(first: Predictions, second: Predictions) -> str:
    """Describe how the test pixels of two models differ; empty if they are the same."""
    if first.test_digest == second.test_digest:
        return ""
    if first.shape != second.shape:
        sizes = (" × ".join(map(str, answers.shape)) for answers in (first, second))
        return f"the scenes have {' and '.join(sizes)} pixels"
    first_pixels, second_pixels = (
        answers.rows.astype(np.int64) * first.shape[1] + answers.cols
        for answers in (first, second)
    )
    common, ours, theirs = np.intersect1d(first_pixels, second_pixels, return_indices=True)
    relabelled = int((first.labels[ours] != second.labels[theirs]).sum())
    shared = f"{len(common):,}" if len(common) else "none"
    text = f"{len(first):,} and {len(second):,} test pixels, {shared} in common"
    return f"{text}, {relabelled:,} of these with other labels" if relabelled else text


def _paired(
    first: Predictions | Sequence[Predictions], second: Predictions | Sequence[Predictions]
) -> list[tuple[Predictions, Predictions]]:
    """Pair the seeds of two models after checking that both answer for the same pixels."""
    seeds = [
        [given] if isinstance(given, Predictions) else list(given)
        for given in (first, second)
    ]
    if len(seeds[0]) != len(seeds[1]):
        raise CallError(
            f"Seeds are compared in pairs, got {len(seeds[0])} of the first model and "
            f"{len(seeds[1])} of the second; give the same seeds of both."
        )
    pairs = list(zip(*seeds, strict=True))
    for ours, theirs in pairs:
        if difference := describe_test_difference(ours, theirs):
            raise CallError(
                f"Models are compared on the same test pixels, but their tests differ: "
                f"{difference}; give both the same scene, split and seed."
            )
        classes = np.unique(ours.labels)
        if len(classes) < 2:
            found = f"only class {classes[0]}" if len(classes) else "no test pixel"
            raise CallError(
                f"A comparison needs test pixels of at least two classes, found {found} "
                f"({counted(len(ours), 'pixel')}); compare under another split."
            )
    return pairs


def _difference(tallies: Floats) -> Floats:
    first, second = map(accuracy.accuracies, np.split(tallies, 2, axis=-2))
    return np.asarray(first - second)


def _differences(
    tallies: Floats, estimate: intervals.BootstrapEstimate, level: float
) -> list[Difference]:
    """Join values, intervals and p-values of all measures."""
    sums = tallies.sum(axis=1)
    apart = accuracy.accuracies(sums[:, :3]), accuracy.accuracies(sums[:, 3:])
    # Seeds in which both are defined, so that the difference is that of the two shown.
    defined = np.isfinite(apart[0]) & np.isfinite(apart[1])
    first, second = (
        accuracy.none_for_nan(accuracy.finite_mean(np.where(defined, values, np.nan)))
        for values in apart
    )
    columns = first, second, accuracy.none_for_nan(estimate.value)
    ends = intervals.as_intervals(estimate.of_differences(level))
    p_values = accuracy.none_for_nan(estimate.p_values())
    return [Difference(*row) for row in zip(*columns, ends, p_values, strict=True)]
