"""Intervals of a run: how sure the accuracies of one model under one split are."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.units import units_of_split
from hypercover.experiment.folder import RunFolder

__all__ = ["kept_answers", "model_interval"]


def kept_answers(
    run: RunFolder, model: str, *, split: str, seeds: Sequence[Sequence[int]]
) -> list[Predictions]:
    """Return what a model answered under each seed, its folds together.

    ``seeds`` holds for each seed the draws of the split that it made: one, or one a fold.
    """
    return [
        Predictions.joined([
            Predictions.load(run.predictions(split, draw, model)) for draw in draws
        ])
        for draws in seeds
    ]  # fmt: skip


def model_interval(
    answers: Sequence[Predictions], *, made: Mapping[str, Any], codes: Sequence[int]
) -> dict[str, Any] | None:
    """Return the intervals of a model from its kept answers, as ``metrics.json`` holds them.

    Parameters
    ----------
    answers : those of each seed
    made : what ``metrics.json`` says of the split: kind and settings choose the units
    codes : classes of the model's rows, in ascending order

    Returns
    -------
    None where there is no test pixel.
    """
    if not sum(map(len, answers)):
        return None
    units = units_of_split(made["kind"], made["settings"])
    return accuracy_intervals(answers, units=units, codes=codes).to_json()
