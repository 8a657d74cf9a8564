"""Batches: an order of windows cut into steps, and a step cut into pieces."""

import torch

__all__ = ["batches", "cut_range"]


def batches(order: torch.Tensor, size: int, least: int) -> list[torch.Tensor]:
    """Cut an order (n,) into batches; a last one below ``least`` joins the one before it.

    >>> [len(batch) for batch in batches(torch.arange(10), size=4, least=3)]
    [4, 6]
    """
    cut = list(torch.split(order, size))
    if len(cut) > 1 and len(cut[-1]) < min(least, size):
        cut[-2:] = [torch.cat(cut[-2:])]
    return cut


def cut_range(positions: range, most: int) -> list[slice]:
    """Cut neighbouring positions into slices of at most so many.

    >>> cut_range(range(3, 8), most=4)
    [slice(3, 7, None), slice(7, 8, None)]
    """
    return [
        slice(first, min(first + most, positions.stop))
        for first in range(positions.start, positions.stop, most)
    ]
