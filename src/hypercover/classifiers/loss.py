"""The loss: what a training makes small."""

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["Loss", "balanced", "smoothed"]


class Loss:
    """The loss of each window of a batch, by a recipe.

    Why it exists: a batch may pass in pieces or be shared by processes, so the
    loss is had window by window, and whoever adds it up knows by what to divide.

    Parameters
    ----------
    recipe : Recipe
    counts : tensor (class,)
        Training windows of each class.
    """

    def __init__(self, recipe: Recipe, counts: torch.Tensor) -> None:
        self._smoothing = recipe.label_smoothing
        self._losses = _LOSSES[recipe.loss]
        self._weights = balanced(counts) if recipe.class_weight else None

    def __call__(self, scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return losses (n,) of scores and wanted probabilities (n, class)."""
        losses = self._losses(scores, smoothed(wanted, self._smoothing))
        # the weight of a mixed window is that of its classes in their shares
        return losses if self._weights is None else losses * (wanted @ self._weights)


def balanced(counts: torch.Tensor) -> torch.Tensor:
    """Return class weights n / (k · n_c): their mean over all windows is 1.

    >>> balanced(torch.tensor([1, 3])).tolist()
    [2.0, 0.6666666865348816]
    """
    return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(torch.float32)


def smoothed(wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return wanted probabilities (n, class) with some certainty spread over all classes.

    >>> smoothed(torch.tensor([[0.0, 1.0]]), 0.5).tolist()
    [[0.25, 0.75]]
    """
    return wanted * (1 - smoothing) + smoothing / wanted.shape[1]


def _squared(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over the classes of the squared errors of the probabilities."""
    return nn.functional.mse_loss(scores.softmax(1), wanted, reduction="none").mean(1)


def _cross_entropy(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against wanted probabilities."""
    return nn.functional.cross_entropy(scores, wanted, reduction="none")


_LOSSES = {"squared": _squared, "cross-entropy": _cross_entropy}
