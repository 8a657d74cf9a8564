"""Intervals of a run: how sure the accuracies of one model under one split are."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.units import units_of_split
from hypercover.experiment.folder import RunFolder

__all__ = ["model_interval"]


def model_interval(
    run: RunFolder,
    model: str,
    *,
    split: str,
    made: Mapping[str, Any],
    seeds: Sequence[Sequence[int]],
    codes: Sequence[int],
) -> dict[str, Any] | None:
    """Return the intervals of a model from its kept answers, as ``metrics.json`` holds them.

    Parameters
    ----------
    run : the folder of the run
    model, split : their names
    made : what ``metrics.json`` says of the split: kind and settings choose the units
    seeds : for each seed the draws of the split that it made: one, or one a fold
    codes : classes of the model's rows, in ascending order

    Returns
    -------
    None where all test pixels lie in one unit, from which nothing can be told.
    """
    answers = [
        Predictions.joined([
            Predictions.load(run.predictions(split, draw, model)) for draw in draws
        ])
        for draws in seeds
    ]  # fmt: skip
    units = units_of_split(made["kind"], made["settings"])
    found = accuracy_intervals(answers, units=units, codes=codes)
    return found.to_json() if found.units > 1 else None
