"""The lecture's layers as products of matrices, which is how a GPU trains them fast."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

__all__ = ["convolve", "convolve_first", "pool_bands"]

_ALIGNED = 8
"""Values whose multiples the matrix units of a GPU read at once."""


def convolve_first(windows: torch.Tensor, layer: nn.Conv3d) -> torch.Tensor:
    """Convolve windows of one channel along bands, rows and columns.

    Why it exists: see ``convolve``; windows need no gradient, so every
    neighbourhood may lie in memory as a row of a matrix.

    Parameters
    ----------
    windows : tensor (n, band, row, col)
    layer : Conv3d
        From one channel, of stride 1 and without padding.

    Returns
    -------
    tensor (n, band, row, col, filter)
    """
    depth, high, wide = layer.kernel_size
    taps = depth * high * wide
    spare = -taps % _ALIGNED
    around = windows.unfold(2, high, 1).unfold(3, wide, 1).unfold(1, depth, 1)
    size = around.shape[:4]
    rows = nn.functional.pad(around.reshape(-1, taps), (0, spare))
    weight = layer.weight.permute(1, 3, 4, 2, 0).reshape(taps, -1)
    weight = nn.functional.pad(weight, (0, 0, 0, spare))
    return nn.functional.linear(rows, weight.T, layer.bias).view(*size, -1)


def convolve(values: torch.Tensor, layer: nn.Conv3d) -> torch.Tensor:
    """Convolve values whose channels lie together, by two products and shifted sums.

    Why it exists: the repeatable kernels that cuDNN has for the gradients of a
    3-D convolution in float32 take ten times as long as the products that the
    same gradients are.  The bands of a neighbourhood are summed after the
    product instead of being copied before it, so no value is copied more than
    ``row · col`` times.  The sums are those of the convolution in another order.

    Parameters
    ----------
    values : tensor (n, band, row, col, channel)
    layer : Conv3d
        Of stride 1 and without padding.

    Returns
    -------
    tensor (n, band, row, col, filter)

    Examples
    --------
    >>> layer, values = nn.Conv3d(2, 3, (5, 3, 3)), torch.rand(1, 2, 6, 4, 4)
    >>> found = convolve(values.movedim(1, -1), layer).movedim(-1, 1)
    >>> torch.allclose(found, layer(values), atol=1e-5)
    True
    """
    given = values
    if torch.is_autocast_enabled(values.device.type):
        given = values.to(torch.get_autocast_dtype(values.device.type))
    found: torch.Tensor = _Convolution.apply(given, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return found


def pool_bands(values: torch.Tensor, pool: int, pad: int) -> torch.Tensor:
    """Return the greatest value of each group of bands, at least 0, between zero bands.

    Parameters
    ----------
    values : tensor (n, band, row, col, channel)
    pool : int
        Bands in a group; an incomplete last group is left out.
    pad : int
        Bands of zeros on either side.

    Returns
    -------
    tensor (n, band // pool + 2 · pad, row, col, channel)

    Examples
    --------
    >>> values = torch.tensor([1.0, 3.0, -2.0, -1.0, 5.0]).view(1, 5, 1, 1, 1)
    >>> pool_bands(values, pool=2, pad=1).flatten().tolist()
    [0.0, 3.0, 0.0, 0.0]
    """
    n, bands, *pixel = values.shape
    best = nn.functional.max_pool2d(values.reshape(n, 1, bands, -1), (pool, 1))
    # the greatest value is rectified, not each: a third of the memory is passed over
    best = torch.relu(best).view(n, bands // pool, *pixel)
    return nn.functional.pad(best, (0, 0, 0, 0, 0, 0, pad, pad))


class _Convolution(torch.autograd.Function):
    """A 3-D convolution whose channels lie together, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Multiply the neighbourhoods of all rows and columns; sum along the bands."""
        n, bands, rows, cols, channels = values.shape
        filters, _, depth, high, wide = weight.shape
        down, across = rows - high + 1, cols - wide + 1
        places = [(row, col) for row in range(high) for col in range(wide)]
        around = torch.stack(
            [values[:, :, row : row + down, col : col + across] for row, col in places], 4
        )
        taps = high * wide * channels
        factor = weight.permute(3, 4, 1, 2, 0).reshape(taps, -1).to(values.dtype)
        product = (around.view(-1, taps) @ factor).view(
            n, bands, down, across, depth, filters
        )
        left = bands - depth + 1
        sums = product[:, :left, ..., 0, :] + bias.to(values.dtype)
        for step in range(1, depth):
            sums += product[:, step : step + left, ..., step, :]
        ctx.save_for_backward(around, factor)
        ctx.shape, ctx.kernel, ctx.places = values.shape, weight.shape, places
        ctx.number = weight.dtype
        return sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, slopes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Spread the gradient along the bands, and multiply it back."""
        around, factor = ctx.saved_tensors
        n, bands, rows, cols, channels = ctx.shape
        filters, _, depth, high, wide = ctx.kernel
        _, left, down, across, _ = slopes.shape
        spread = slopes.new_zeros(n, bands, down, across, depth, filters)
        for step in range(depth):
            spread[:, step : step + left, ..., step, :] = slopes
        spread = spread.view(-1, depth * filters)
        of_factor = around.view(len(spread), -1).T @ spread
        of_weight = of_factor.to(ctx.number).view(high, wide, channels, depth, filters)
        shares = (spread @ factor.T).view(n, bands, down, across, -1, channels)
        of_values = slopes.new_zeros(n, bands, rows, cols, channels)
        for place, (row, col) in enumerate(ctx.places):
            of_values[:, :, row : row + down, col : col + across] += shares[..., place, :]
        of_bias = slopes.reshape(-1, filters).to(ctx.number).sum(0)
        return of_values, of_weight.permute(4, 2, 3, 0, 1).contiguous(), of_bias
