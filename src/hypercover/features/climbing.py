"""Walks over a tree, from the leaves up and from the root down, as compiled loops.

A node has a greater number than all that lies inside it, so that one pass over the
numbers meets every node before or after its parent.
"""

import numpy as np
import numpy.typing as npt

from hypercover.compiled import compiled

__all__ = ["add_down", "add_up", "least_down", "most_up", "pass_down", "placed"]

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@compiled
def add_up(parents: Numbers, values: Floats) -> None:
    """Add the value of each node (node,) to those of all nodes around it."""
    for node in range(len(parents) - 1):
        values[parents[node]] += values[node]


@compiled
def most_up(parents: Numbers, values: Floats) -> None:
    """Give each node the greatest value of its own and all nodes inside it."""
    for node in range(len(parents) - 1):
        values[parents[node]] = max(values[parents[node]], values[node])


@compiled
def add_down(parents: Numbers, values: Floats) -> None:
    """Add to the value of each node those of all nodes around it."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] += values[parents[node]]


@compiled
def least_down(parents: Numbers, values: Floats) -> None:
    """Give each node the least value of its own and all nodes around it."""
    for node in range(len(parents) - 2, -1, -1):
        values[node] = min(values[node], values[parents[node]])


@compiled
def pass_down(parents: Numbers, values: Floats, removed: Mask) -> None:
    """Give each removed node the value of the smallest node around it that stays."""
    for node in range(len(parents) - 2, -1, -1):
        if removed[node]:
            values[node] = values[parents[node]]


@compiled
def placed(own: Numbers, held: Mask, nodes: int, axis: int) -> tuple[Floats, Floats]:
    """Sum the places along an axis, and their squares, of each node's pixels (node,).

    Parameters
    ----------
    own : array (row, col)
        Node of each pixel; its place is counted from the middle.
    held : bool array (row, col)
        Pixels that count.
    """
    rows, cols = own.shape
    first, second = np.zeros(nodes), np.zeros(nodes)
    for row in range(rows):
        for col in range(cols):
            if held[row, col]:
                place = col - (cols - 1) / 2 if axis else row - (rows - 1) / 2
                first[own[row, col]] += place
                second[own[row, col]] += place * place
    return first, second
