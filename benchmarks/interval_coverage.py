"""How often intervals hold the truth: drawn by units, drawn by pixels, with few units, with seeds.

``python benchmarks/interval_coverage.py`` prints the tables of docs/accuracy.md.  The
truth is known because the scenes are made: in ``patches`` errors come where a
smooth random surface is low, in ``fields`` every field has its own accuracy.  The last
line is how often drawing units holds the truth over how often drawing pixels does.
"""
# No file here may be called coverage.py: numba would take it for the package of that name.

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from scipy.stats import norm

from hypercover.evaluation.intervals import (
    BlockUnits,
    FieldUnits,
    Intervals,
    accuracy_intervals,
)
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples

CLASSES = 3
RIGHT = 0.8
"""The truth: share of pixels that the simulated models get right."""


def answers_of(labels, right, rng) -> Predictions:
    """Let a model be right on some labelled pixels, and take the others for any class."""
    test = Samples.of(labels)
    other = (test.labels - 1 + rng.integers(1, CLASSES, len(test))) % CLASSES + 1
    taken = np.where(right[test.rows, test.cols], test.labels, other)
    return Predictions.of(test, taken, shape=labels.shape)


def patches(side: int, smooth: float, rng) -> Predictions:
    """Make a square scene whose errors come in patches; ``smooth`` in pixels, 0 for none."""
    edge = 4 * int(np.ceil(smooth))
    surface = rng.standard_normal((side + 2 * edge,) * 2)
    if smooth:
        # unit variance again, as the filter averages
        surface = gaussian_filter(surface, smooth) * 2 * np.sqrt(np.pi) * smooth
    right = surface[edge : edge + side, edge : edge + side] < norm.ppf(RIGHT)
    labels = rng.integers(1, CLASSES + 1, (side // 15 + 1,) * 2)
    return answers_of(labels.repeat(15, 0).repeat(15, 1)[:side, :side], right, rng)


def fields(count: int, rng, *, truth: float = RIGHT, even: bool = False) -> Predictions:
    """Make fields of uneven sizes, each with an accuracy of its own, of spread 0.2."""
    side = int(np.ceil(np.sqrt(count)))
    labels = np.zeros((12 * side, 12 * side), dtype=int)
    right = np.zeros(labels.shape, dtype=bool)
    concentration = truth * (1 - truth) / 0.2**2 - 1
    for field in range(count):
        top, left = 12 * (field // side), 12 * (field % side)
        rows, cols = (10, 10) if even else rng.integers(2, 12, 2)
        place = np.s_[top : top + rows, left : left + cols]
        labels[place] = rng.integers(1, CLASSES + 1)
        share = rng.beta(truth * concentration, (1 - truth) * concentration)
        right[place] = rng.random((rows, cols)) < share
    return answers_of(labels, right, rng)


def seeds(
    count: int, blocks: int, rng, *, land=1.0, training=0.3, both=0.5, level=1.8
) -> list[Predictions]:
    """Train some seeds on one land: blocks are hard for all, seeds good or bad everywhere.

    ``land``, ``training`` and ``both`` are standard deviations of the logit of
    the accuracy over blocks, over seeds, and over what they have together.
    """
    shape = (5 * blocks, 5 * blocks)
    labels = rng.integers(1, CLASSES + 1, (blocks, blocks)).repeat(5, 0).repeat(5, 1)
    hard = rng.normal(0, land, (blocks, blocks))
    trials = []
    for _ in range(count):
        logit = level + hard + rng.normal(0, training) + rng.normal(0, both, hard.shape)
        right = rng.random(shape) < expit(logit).repeat(5, 0).repeat(5, 1)
        tested = (rng.random((blocks, blocks)) < 0.7).repeat(5, 0).repeat(5, 1)
        trials.append(answers_of(np.where(tested, labels, 0), right, rng))
    return trials


def seeds_truth(land=1.0, training=0.3, both=0.5, level=1.8) -> float:
    """Return the mean accuracy over all land and all trainings."""
    points, weights = np.polynomial.hermite_e.hermegauss(64)
    spread = np.sqrt(land**2 + training**2 + both**2)
    return float(weights @ expit(level + spread * points) / weights.sum())


def held(interval, truth: float) -> float:
    """Tell whether an interval holds the truth; NaN where nothing was said."""
    return np.nan if interval is None else float(interval[0] <= truth <= interval[1])


def by_pixels(answers: Predictions) -> tuple[float, float]:
    """Return the interval of drawing pixels, in closed form: p ± 1.96 sqrt(p (1 − p) / n)."""
    share = answers.right.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / len(answers))
    return share - half, share + half


def coverage(
    make: Callable[[], Predictions | list[Predictions]],
    truth: float,
    repeats: int,
    **options,
) -> Iterator[dict[str, float]]:
    """Give for each repeat which intervals held the truth."""
    for _ in range(repeats):
        answers = make()
        found: Intervals = accuracy_intervals(
            answers, codes=range(1, CLASSES + 1), **options
        )
        first = answers[0] if isinstance(answers, list) else answers
        yield {
            "overall": held(found.overall_accuracy, truth),
            "average": held(found.average_accuracy, truth),
            "kappa": held(found.kappa, (truth - 1 / CLASSES) / (1 - 1 / CLASSES)),
            "producer": held(found.per_class[0].producers_accuracy, truth),
            "user": held(found.per_class[0].users_accuracy, truth),
            "f1": held(found.per_class[0].f1, truth),
            "pixels": held(by_pixels(first), truth),
        }


def shares(rows: Iterator[dict[str, float]]) -> dict[str, float]:
    """Average over the repeats in which something was said."""
    table = list(rows)
    return {name: float(np.nanmean([row[name] for row in table])) for name in table[0]}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    common = {"repeats": asked.repeats, "resamples": asked.resamples}
    rows = []

    def show(name: str, make, truth: float = RIGHT, **options) -> None:
        found = shares(coverage(make, truth, **common, **options))
        cells = " | ".join(f"{100 * share:.1f}" for share in found.values())
        print(f"| {name} | {cells} |", flush=True)
        rows.append(found)

    print("| case | overall | average | kappa | producer's | user's | F1 | by pixels |")
    print("|---|---|---|---|---|---|---|---|")
    for smooth in (0, 1, 2, 6):
        for side in (60, 150):
            show(
                f"patches of {smooth}, {side} × {side}, blocks of 15",
                lambda smooth=smooth, side=side: patches(side, smooth, rng),
            )
    for count in (5, 10, 20, 60):
        for truth in (0.7, 0.9):
            show(
                f"{count} fields, {truth} right",
                lambda count=count, truth=truth: fields(count, rng, truth=truth),
                truth,
                units=FieldUnits(),
            )
    for count, spreads in ((1, (0,)), (3, (0.1, 0.8)), (10, (0.1, 0.8))):
        for training in spreads:
            show(
                f"{count} seeds, training {training}, 49 blocks",
                lambda count=count, training=training: seeds(
                    count, 7, rng, training=training
                ),
                seeds_truth(training=training),
                units=BlockUnits(5),
            )
    units, pixels = (sum(row[name] for row in rows) for name in ("overall", "pixels"))
    print(f"ratio: {units / pixels:.2f}")


if __name__ == "__main__":
    main()
