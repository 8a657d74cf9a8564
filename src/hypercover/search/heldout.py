"""Held-out samples: their decisions by matrix products, and the votes."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hypercover.search.kernel import Samples, Tiles
from hypercover.search.pair import Machines

__all__ = ["predict_class"]

Floats = npt.NDArray[np.float64]
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
    pairs = {pair: at for at, pair in enumerate(combinations(range(n_classes), 2))}
    # What both sides say is of the size of C and nearly cancels: double precision.
    decisions = [np.zeros((len(pairs), n_costs, len(rows))) for rows in held]
    for i in range(n_classes):
        block = kernels[k, i]
        others = [j for j in range(n_classes) if j != i]
        at = [pairs[min(i, j), max(i, j)] for j in others]
        for fold, rows in enumerate(held):
            if len(rows):
                weights = _weights(machines, i, others, fold)
                values = weights.reshape(-1, weights.shape[-1]) @ block[rows].T
                decisions[fold][at] += values.reshape(len(others), n_costs, -1)
    return [
        _winners(values, pairs, machines, fold, present[fold])
        for fold, values in enumerate(decisions)
    ]


def _weights(
    machines: Mapping[tuple[int, int], Machines], i: int, others: Sequence[int], fold: int
) -> Floats:
    """Return the weights (class, C, sample) of class i against every other class."""
    return np.stack(
        [
            machines[i, j].first[:, fold] if i < j else machines[j, i].second[:, fold]
            for j in others
        ],
        dtype=np.float64,
    )


def _winners(
    decisions: Floats,
    pairs: Mapping[tuple[int, int], int],
    machines: Mapping[tuple[int, int], Machines],
    fold: int,
    present: npt.NDArray[np.bool_],
) -> npt.NDArray[np.intp]:
    """Count the votes of all pairs; the first of the classes that tie wins."""
    votes = np.zeros((len(present), *decisions.shape[1:]), dtype=np.int32)
    for i, j in combinations(np.flatnonzero(present).tolist(), 2):
        threshold = machines[i, j].thresholds[:, fold, np.newaxis]
        for_first = decisions[pairs[i, j]] > threshold
        votes[i] += for_first
        votes[j] += ~for_first
    votes[~present] = -1
    return np.asarray(votes.argmax(axis=0))
