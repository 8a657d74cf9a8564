"""Tallies: the diagonal and the margins of a confusion matrix, for many matrices at once.

Every accuracy measure is made of these three rows of counts.  A bootstrap adds
up thousands of matrices; of 58 classes it adds 174 numbers instead of 3364.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.units import Numbers

__all__ = ["HEADLINES", "Floats", "accuracies", "bearing", "ratio", "tally"]

Floats = npt.NDArray[np.float64]
HEADLINES = ("overall_accuracy", "average_accuracy", "kappa")
"""The measures that stand before those of the classes, in order."""


def tally(answers: Predictions, units: Numbers, count: int, codes: Sequence[int]) -> Floats:
    """Count for each unit and class the pixels that are right, of the class, and taken for it.

    Parameters
    ----------
    answers : Predictions
    units : array (n,)
        Unit of each test pixel, from 0.
    count : int
        How many units there are.
    codes : classes in ascending order

    Returns
    -------
    array (unit, 3, class)

    Examples
    --------
    >>> from hypercover.samples.samples import Samples
    >>> answers = Predictions.of(Samples.of([[1, 1, 2]]), [1, 2, 2], shape=(1, 3))
    >>> tally(answers, np.array([0, 0, 0]), 1, [1, 2]).tolist()
    [[[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]]
    """
    classes = len(codes)
    found = units * classes + np.searchsorted(codes, answers.labels)
    mapped = units * classes + np.searchsorted(codes, answers.predicted)
    counts = [
        np.bincount(cells, minlength=count * classes).reshape(count, classes)
        for cells in (found[answers.right], found, mapped)
    ]
    return np.stack(counts, axis=1).astype(np.float64)


def accuracies(tallies: Floats) -> Floats:
    """Compute every accuracy measure of each tally, NaN where nothing is to divide by.

    As in :mod:`hypercover.evaluation.metrics`, for arrays.

    Parameters
    ----------
    tallies : array (..., 3, class)

    Returns
    -------
    array (..., measure)
        Overall accuracy, average accuracy, kappa; then for all classes the
        producer's accuracy, for all the user's accuracy, for all F1.
    """
    right, found, mapped = np.moveaxis(tallies, -2, 0)
    total = found.sum(axis=-1)
    overall = ratio(right.sum(axis=-1), total)
    chance = ratio((found * mapped).sum(axis=-1), total**2)
    kappa = ratio(overall - chance, 1 - chance)
    producers, users = ratio(right, found), ratio(right, mapped)
    f1 = ratio(2 * right, np.where(found > 0, found + mapped, 0))
    average = ratio(np.nan_to_num(producers).sum(axis=-1), (found > 0).sum(axis=-1))
    heads = np.stack([overall, average, kappa], axis=-1)
    return np.concatenate([heads, producers, users, f1], axis=-1)


def bearing(tallies: Floats) -> Floats:
    """Say how much of every measure rests on each unit: the pixels it is measured on.

    Parameters
    ----------
    tallies : array (unit, 3, class)

    Returns
    -------
    array (unit, measure), in the order of :func:`accuracies`; the scale means nothing
    """
    found, mapped = tallies[:, 1], tallies[:, 2]
    total = found.sum(axis=1)
    shares = np.nan_to_num(ratio(found, found.sum(axis=0))).sum(axis=1)
    heads = np.stack([total, shares, total], axis=1)
    return np.concatenate([heads, found, mapped, found + mapped], axis=1)


def ratio(parts: Floats, wholes: Floats | npt.NDArray[np.int64]) -> Floats:
    """Divide, with NaN in the place of a division by nothing."""
    parts, wholes = np.broadcast_arrays(parts, wholes)
    known = wholes != 0
    empty = np.full(parts.shape, np.nan)
    return np.asarray(np.divide(parts, wholes, out=empty, where=known))
