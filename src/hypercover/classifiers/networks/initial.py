"""Initial weights as Keras draws them, for networks that were published with it."""

import math

import torch
from torch import nn

__all__ = ["glorot_uniform_", "he_normal_"]

_CUT = 2.0
"""Standard deviations at which Keras cuts a normal distribution off."""
_LEFT = 0.87962566103423978
"""Standard deviation of a standard normal distribution cut off there."""

Layer = nn.Conv2d | nn.Conv3d


def glorot_uniform_(
    layer: Layer, generator: torch.Generator, *, dense: bool = False
) -> None:
    """Draw weights as Glorot and Bengio (2010), uniformly, and silence the biases.

    A ``dense`` layer held as a convolution counts its outputs once, not once
    per position of the kernel, so the bound is that of Keras's dense layer.
    """
    positions = 1 if dense else layer.weight[0, 0].numel()
    sums = layer.weight[0].numel() + positions * len(layer.weight)
    bound = math.sqrt(6 / sums)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    _silence(layer)


def he_normal_(layer: Layer, generator: torch.Generator) -> None:
    """Draw weights as He et al. (2015), from a normal cut off, and silence the biases."""
    spread = math.sqrt(2 / layer.weight[0].numel()) / _LEFT
    nn.init.trunc_normal_(
        layer.weight, 0.0, spread, -_CUT * spread, _CUT * spread, generator=generator
    )
    _silence(layer)


def _silence(layer: Layer) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
