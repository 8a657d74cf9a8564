"""A convolution along the bands and the pooling after it, for tiles, without what lies between."""

from functools import reduce

import torch
from torch import nn

__all__ = ["convolve_pooled"]

_CACHE = 2**22
"""Bytes of convolved values that are made before they are pooled."""


def convolve_pooled(
    tile: torch.Tensor, layer: nn.Conv3d, pool: int, pad: int
) -> torch.Tensor:
    """Return what convolving, rectifying, pooling and padding along the bands give.

    Why it exists: of a whole tile a convolution of one channel writes, and its
    pooling reads, gigabytes that no cache holds, at a tenth of the processor's
    speed.  Here each of the ``pool`` bands of a group is a phase: a group of
    neighbouring bands is a picture of few channels, the phases are output
    channels of one ordinary convolution whose weights are shifted by a band,
    and the greatest of the phases is taken while it is in the cache.  The
    additions are the same but for their order.

    Parameters
    ----------
    tile : tensor (1, band, row, col)
    layer : Conv3d
        From one channel, of stride 1 and without padding.
    pool : int
        Bands in a group; an incomplete last group is left out.
    pad : int
        Bands of zeros on either side.

    Returns
    -------
    tensor (1, filter, group + 2 · pad, row - margins, col - margins)

    Examples
    --------
    >>> layer = nn.Conv3d(1, 2, (2, 1, 1))
    >>> tile = torch.arange(7.0).view(1, 7, 1, 1)
    >>> found = convolve_pooled(tile, layer, pool=3, pad=1)
    >>> plain = nn.functional.max_pool3d(torch.relu(layer(tile[:, None])), (3, 1, 1))
    >>> torch.allclose(found[:, :, 1:-1], plain), found.shape
    (True, torch.Size([1, 2, 4, 1, 1]))
    """
    weight, bias = _phases(layer, pool)
    groups = tile[0].unfold(0, weight.shape[1], pool).movedim(-1, 1)
    rows, cols = (
        size - reach + 1
        for size, reach in zip(tile.shape[2:], weight.shape[2:], strict=True)
    )
    pooled = tile.new_zeros(layer.out_channels, len(groups) + 2 * pad, rows, cols)
    at_once = max(1, _CACHE // (4 * len(weight) * rows * cols))
    for first in range(0, len(groups), at_once):
        part = groups[first : first + at_once].contiguous()
        phases = nn.functional.conv2d(part, weight, bias)
        best = reduce(torch.maximum, phases.chunk(pool, dim=1)).relu_()
        pooled[:, pad + first : pad + first + len(part)] = best.transpose(0, 1)
    return pooled[None]


def _phases(layer: nn.Conv3d, pool: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weights (phase · filter, band, row, col) of all bands of a group."""
    filters, _, reach, *around = layer.weight.shape
    weight = layer.weight.new_zeros(pool, filters, reach + pool - 1, *around)
    for phase in range(pool):
        weight[phase, :, phase : phase + reach] = layer.weight[:, 0]
    bias = None if layer.bias is None else layer.bias.repeat(pool)
    return weight.flatten(0, 1), bias
