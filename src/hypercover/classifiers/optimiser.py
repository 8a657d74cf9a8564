"""The optimiser of a recipe, and its memory as plain tensors."""

from collections.abc import Mapping

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["memory", "memory_shapes", "optimiser_of", "remember"]


def optimiser_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
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


def memory(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return what an optimiser remembers of its steps, by weight and kind."""
    return {
        f"{weight}.{kind}": value
        for weight, kinds in optimiser.state_dict()["state"].items()
        for kind, value in kinds.items()
        if value is not None
    }


def memory_shapes(network: nn.Module, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes that ``memory`` has after the first step."""
    weights = [tuple(weight.shape) for weight in network.parameters()]
    if recipe.optimiser == "sgd":
        kinds = ["momentum_buffer"] if recipe.momentum else []
    else:
        kinds = ["exp_avg", "exp_avg_sq", "step"]
    return {
        f"{number}.{kind}": () if kind == "step" else shape
        for number, shape in enumerate(weights)
        for kind in kinds
    }


def remember(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimiser the memory that ``memory`` returned."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        weight, kind = name.split(".")
        state.setdefault(int(weight), {})[kind] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
