"""The loss, the optimiser and the learning-rate schedule of a recipe."""

import math
from collections.abc import Callable

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe


def make_loss(
    recipe: Recipe, counts: torch.Tensor
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (n,) of scores against target probabilities (n, class), not reduced.

    A batch may be split into micro-batches and among processes, so the caller adds the
    losses up and knows by what to divide.

    Parameters
    ----------
    recipe : Recipe
    counts : tensor (class,)
        Training windows of each class.
    """
    weights = balanced_class_weights(counts) if recipe.class_weight else None

    def losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        smoothed = smooth_labels(targets, recipe.label_smoothing)
        if recipe.loss == "squared":
            squares = nn.functional.mse_loss(scores.softmax(1), smoothed, reduction="none")
            each = squares.mean(1)
        else:
            each = nn.functional.cross_entropy(scores, smoothed, reduction="none")
        # a mixed window has the weights of its classes in their shares
        return each if weights is None else each * (targets @ weights)

    return losses


def balanced_class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Return class weights n / (k · n_c): their mean over all windows is 1.

    >>> balanced_class_weights(torch.tensor([1, 3])).tolist()
    [2.0, 0.6666666865348816]
    """
    return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(torch.float32)


def smooth_labels(targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Spread a share of the target probabilities (n, class) evenly over all classes.

    >>> smooth_labels(torch.tensor([[0.0, 1.0]]), 0.5).tolist()
    [[0.25, 0.75]]
    """
    return targets * (1 - smoothing) + smoothing / targets.shape[1]


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all weights of a network."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


_WARM_UP = 0.2
"""Default share of the steps over which ``one-cycle`` rises."""

_FINAL_FACTOR = 1e-3
"""Share of the highest learning rate at which ``one-cycle`` ends."""


def learning_rate_schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return a function from the step (from 0) to a factor of the highest learning rate.

    Steps are counted as Keras counts iterations, so ``inverse`` is its ``decay``.

    References
    ----------
    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5 without restarts;
    ``one-cycle``: Smith and Topin, Super-convergence, 2018, the learning rate only.

    Examples
    --------
    >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600, decay=0.5)
    >>> [learning_rate_schedule(recipe, steps=600)(step) for step in (0, 2)]
    [1.0, 0.5]
    """
    one_cycle = recipe.schedule == "one-cycle"
    warm_up = (_WARM_UP if one_cycle else 0.0) if recipe.warm_up is None else recipe.warm_up
    rise = max(round(warm_up * steps), 1 if one_cycle else 0)
    decay = _decay_factor(recipe, rise, max(1, steps - rise))
    if recipe.schedule in ("constant", "inverse"):
        return lambda step: min(1.0, (step + 1) / max(1, rise)) * decay(step)
    return lambda step: (step + 1) / rise if step < rise else decay(step)


def _decay_factor(recipe: Recipe, rise: int, rest: int) -> Callable[[int], float]:
    """Return the factor at each step, apart from the warm-up."""
    if recipe.schedule == "constant":
        return lambda step: 1.0
    if recipe.schedule == "inverse":
        return lambda step: 1 / (1 + recipe.decay * step)
    if recipe.schedule == "cosine":
        return lambda step: 0.5 * (1 + math.cos(math.pi * (step - rise) / rest))
    # the last step of the warm-up already had the highest rate
    return lambda step: max(
        _FINAL_FACTOR, 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / rest))
    )
