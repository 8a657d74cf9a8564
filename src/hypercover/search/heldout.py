"""Held-out samples: their decisions by matrix products, and the votes."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hypercover.search.kernel import Samples, Tiles
from hypercover.search.pair import Machines

__all__ = ["predict_class"]

Held = Sequence[npt.NDArray[np.intp]]


def predict_class(
    samples: Samples,
    kernels: Tiles,
    machines: Mapping[tuple[int, int], Machines],
    k: int,
    held: Held,
    present: npt.NDArray[np.bool_],
) -> list[npt.NDArray[np.intp]]:
    """Predict the held-out samples of one class in every fold, for every C.

    Why it exists: the decisions of all pairs that share a class come from one
    product of its kernel block with all their weights at once.

    Parameters
    ----------
    samples, kernels, machines
        What was solved for one gamma.
    k : int
        The class whose samples are predicted.
    held : sequence of array
        For each fold, positions within class k of the samples held out.
    present : array (fold, class)
        Whether a class has training samples in a fold.

    Returns
    -------
    list of array (C, sample)
        For each fold, positions of the classes with most votes, as LIBSVM votes.
    """
    n_classes = len(samples.spans)
    n_costs = next(iter(machines.values())).thresholds.shape[0]
    sides = [
        np.zeros((n_classes, n_classes, n_costs, len(rows)), dtype=np.float32)
        for rows in held
    ]
    for i in range(n_classes):
        block = kernels[k, i]
        for fold, rows in enumerate(held):
            if len(rows):
                weights = _weights(machines, i, fold, n_classes)
                values = weights.reshape(-1, weights.shape[-1]) @ block[rows].T
                sides[fold][i] = values.reshape(n_classes, n_costs, -1)
    return [
        _winners(side, machines, fold, present[fold]) for fold, side in enumerate(sides)
    ]


def _weights(
    machines: Mapping[tuple[int, int], Machines], i: int, fold: int, n_classes: int
) -> npt.NDArray[np.float64]:
    """Return the weights (class, C, sample) of class i against every other class."""
    others = [j for j in range(n_classes) if j != i]
    first = [
        machines[i, j].first[:, fold] if i < j else machines[j, i].second[:, fold]
        for j in others
    ]
    weights = np.zeros((n_classes, *first[0].shape))
    for j, values in zip(others, first, strict=True):
        weights[j] = values
    return weights


def _winners(
    sides: npt.NDArray[np.float32],
    machines: Mapping[tuple[int, int], Machines],
    fold: int,
    present: npt.NDArray[np.bool_],
) -> npt.NDArray[np.intp]:
    """Count the votes of all pairs; the first of the classes that tie wins."""
    n_classes = len(sides)
    votes = np.zeros((n_classes, *sides.shape[2:]), dtype=np.int32)
    for i, j in combinations(np.flatnonzero(present).tolist(), 2):
        threshold = machines[i, j].thresholds[:, fold, np.newaxis]
        for_first = sides[i, j] + sides[j, i] > threshold
        votes[i] += for_first
        votes[j] += ~for_first
    votes[~present] = -1
    return np.asarray(votes.argmax(axis=0))
