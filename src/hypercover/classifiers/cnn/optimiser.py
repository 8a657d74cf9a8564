"""The loss, the optimiser and the learning-rate schedule of a recipe."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe


class Loss:
    """The loss of each window of a batch, not reduced.

    A batch may be split into micro-batches and among processes, so the caller adds the
    losses up and knows by what to divide.

    Parameters
    ----------
    recipe : Recipe
    counts : tensor (class,)
        Training windows of each class.
    """

    def __init__(self, recipe: Recipe, counts: torch.Tensor) -> None:
        self._smoothing = recipe.label_smoothing
        self._losses = _LOSSES[recipe.loss]
        self._weights = balanced_class_weights(counts) if recipe.class_weight else None

    def __call__(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return losses (n,) of scores against target probabilities (n, class)."""
        losses = self._losses(scores, smooth_labels(targets, self._smoothing))
        # a mixed window has the weights of its classes in their shares
        return losses if self._weights is None else losses * (targets @ self._weights)


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


def _squared_error(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the classes of the squared errors of the probabilities."""
    return nn.functional.mse_loss(scores.softmax(1), targets, reduction="none").mean(1)


def _cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(scores, targets, reduction="none")


_LOSSES = {"squared": _squared_error, "cross-entropy": _cross_entropy}


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


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the tensors of an optimiser's state dict, by weight and name."""
    return {
        f"{weight}.{name}": value
        for weight, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def optimiser_tensor_shapes(
    network: nn.Module, recipe: Recipe
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of ``optimiser_tensors`` after the first step."""
    if recipe.optimiser == "sgd":
        names = ["momentum_buffer"] if recipe.momentum else []
    else:
        names = ["exp_avg", "exp_avg_sq", "step"]
    return {
        f"{number}.{name}": () if name == "step" else tuple(weight.shape)
        for number, weight in enumerate(network.parameters())
        for name in names
    }


def load_optimiser_tensors(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Load the tensors that ``optimiser_tensors`` returned."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        weight, name = key.split(".")
        state.setdefault(int(weight), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


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
