"""Augmentation: what a window and its label could also have been."""

import torch

__all__ = ["smoothed", "turned"]


def smoothed(targets: torch.Tensor, classes: int, smoothing: float) -> torch.Tensor:
    """Return wanted probabilities (n, class) with some certainty spread over all classes.

    >>> smoothed(torch.tensor([1]), 2, 0.5).tolist()
    [[0.25, 0.75]]
    """
    certain = torch.nn.functional.one_hot(targets, classes).to(torch.float32)
    return certain * (1 - smoothing) + smoothing / classes


def turned(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(turned(square, symmetry).tolist()) for symmetry in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows
