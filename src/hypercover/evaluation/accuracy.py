"""Accuracy measures of a confusion matrix whose rows are the reference.

Names and definitions follow Congalton, R. G. (1991), "A review of assessing the
accuracy of classifications of remotely sensed data", Remote Sensing of
Environment 37, 35-46, doi 10.1016/0034-4257(91)90048-B.  A value with nothing
to divide by is None, never 0 and never NaN.
"""

from collections.abc import Sequence
from math import isfinite
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.predictions import Predictions
from hypercover.types import Floats, Indices, Ints


def confusion_matrix(
    reference: npt.ArrayLike, predicted: npt.ArrayLike, codes: npt.ArrayLike
) -> Ints:
    """Count how often each class was taken for each class, rows = reference.

    Every code of ``reference`` and ``predicted`` must be among ``codes``, which
    ascend.

    Parameters
    ----------
    reference, predicted : array (n,)
        Class codes.
    codes : array (class,)
        All codes, ascending.

    Examples
    --------
    >>> confusion_matrix([1, 1, 5], [1, 5, 5], codes=[1, 5]).tolist()
    [[1, 1], [0, 1]]
    """
    ordered = np.asarray(codes)
    rows = np.searchsorted(ordered, np.asarray(reference))
    cols = np.searchsorted(ordered, np.asarray(predicted))
    cells = np.bincount(rows * len(ordered) + cols, minlength=len(ordered) ** 2)
    return cells.reshape(len(ordered), len(ordered)).astype(np.int64)


def overall_accuracy(matrix: Ints) -> float | None:
    """Share of all test pixels that are right.

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> overall_accuracy(np.array([[3, 1], [0, 4]]))
    0.875
    """
    total = float(matrix.sum())
    return float(np.trace(matrix)) / total if total else None


def average_accuracy(matrix: Ints) -> float | None:
    """Mean producer's accuracy over the classes that have test pixels.

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> average_accuracy(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    0.875
    """
    defined = [value for value in producers_accuracy(matrix) if value is not None]
    return float(np.mean(defined)) if defined else None


def kappa(matrix: Ints) -> float | None:
    """Cohen's kappa: agreement beyond what the margins give by chance.

    None if both margins have one and the same class, where chance alone agrees.

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> kappa(np.array([[3, 1], [0, 4]]))
    0.75
    """
    total = float(matrix.sum())
    if total == 0:
        return None
    rows, cols = matrix.sum(axis=1) / total, matrix.sum(axis=0) / total
    chance = float(rows @ cols)
    agreed = float(np.trace(matrix)) / total
    only_one = np.count_nonzero(rows) == np.count_nonzero(cols) == 1
    return None if only_one and agreed == 1 else (agreed - chance) / (1 - chance)


def producers_accuracy(matrix: Ints) -> list[float | None]:
    """Share of each class's test pixels that are found (recall).

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> producers_accuracy(np.array([[3, 1], [0, 0]]))
    [0.75, None]
    """
    return none_for_nan(safe_divide(np.diagonal(matrix), matrix.sum(axis=1)))


def users_accuracy(matrix: Ints) -> list[float | None]:
    """Share of the pixels mapped as each class that are right (precision).

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> users_accuracy(np.array([[3, 1], [0, 1]]))
    [1.0, 0.5]
    """
    return none_for_nan(safe_divide(np.diagonal(matrix), matrix.sum(axis=0)))


def f1(matrix: Ints) -> list[float | None]:
    """Harmonic mean of producer's and user's accuracy of each class.

    None for a class without test pixels; 0 if none of its pixels is found.

    Parameters
    ----------
    matrix : array of int (class, class)
        Confusion matrix; rows are the reference.

    Examples
    --------
    >>> f1(np.array([[3, 1], [0, 0]]))
    [0.8571428571428571, None]
    """
    found, mapped = matrix.sum(axis=1), matrix.sum(axis=0)
    both = np.where(found > 0, found + mapped, 0)
    return none_for_nan(safe_divide(2 * np.diagonal(matrix), both))


OVERALL_MEASURES = ("overall_accuracy", "average_accuracy", "kappa")
"""The measures over all classes, in order."""
CLASS_MEASURES = ("producers_accuracy", "users_accuracy", "f1")
"""The measures of each class, in order."""
Value = TypeVar("Value")


def count_by_unit(
    answers: Predictions, units: Indices, count: int, codes: Sequence[int]
) -> Floats:
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
    >>> from hypercover.scene.samples import Samples
    >>> answers = Predictions.of(Samples.of([[1, 1, 2]]), [1, 2, 2], shape=(1, 3))
    >>> count_by_unit(answers, np.array([0, 0, 0]), 1, [1, 2]).tolist()
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
    """Compute every accuracy measure from counts by unit; NaN for a division by zero.

    As in :mod:`hypercover.evaluation.accuracy`, for arrays.

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
    overall = safe_divide(right.sum(axis=-1), total)
    chance = safe_divide((found * mapped).sum(axis=-1), total**2)
    kappa = safe_divide(overall - chance, 1 - chance)
    producers, users = safe_divide(right, found), safe_divide(right, mapped)
    f1 = safe_divide(2 * right, np.where(found > 0, found + mapped, 0))
    average = safe_divide(np.nan_to_num(producers).sum(axis=-1), (found > 0).sum(axis=-1))
    heads = np.stack([overall, average, kappa], axis=-1)
    return np.concatenate([heads, producers, users, f1], axis=-1)


def unit_weights(tallies: Floats) -> Floats:
    """Return the weight of each unit in every measure: the pixels it is measured on.

    Parameters
    ----------
    tallies : array (unit, 3, class)

    Returns
    -------
    array (unit, measure), in the order of :func:`accuracies`; the scale means nothing
    """
    found, mapped = tallies[:, 1], tallies[:, 2]
    total = found.sum(axis=1)
    shares = np.nan_to_num(safe_divide(found, found.sum(axis=0))).sum(axis=1)
    heads = np.stack([total, shares, total], axis=1)
    return np.concatenate([heads, found, mapped, found + mapped], axis=1)


def safe_divide(parts: Floats | Ints, wholes: Floats | Ints) -> Floats:
    """Divide; NaN for a division by zero."""
    parts, wholes = np.broadcast_arrays(parts, wholes)
    empty = np.full(parts.shape, np.nan)
    return np.asarray(np.divide(parts, wholes, out=empty, where=wholes != 0))


def finite_mean(values: Floats) -> Floats:
    """Average along the first axis what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    return safe_divide(np.where(finite, values, 0).sum(axis=0), finite.sum(axis=0))


def none_for_nan(values: Floats) -> list[float | None]:
    """Return values as a list, None for what is not finite."""
    return [value if isfinite(value) else None for value in values.tolist()]


def by_measure(
    values: Sequence[Value], codes: Sequence[int]
) -> tuple[dict[str, Value], dict[int, dict[str, Value]]]:
    """Name one value for each measure of :func:`accuracies`: of all classes, and by class."""
    heads, classes = values[: len(OVERALL_MEASURES)], values[len(OVERALL_MEASURES) :]
    return dict(zip(OVERALL_MEASURES, heads, strict=True)), {
        code: dict(zip(CLASS_MEASURES, classes[at :: len(codes)], strict=True))
        for at, code in enumerate(codes)
    }
