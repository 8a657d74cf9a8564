"""The 3-D convolution network of Lange, Cavallaro, Götz, Erlingsson, Riedel (2018)."""

import math
from itertools import islice
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.pooling import convolve_pooled, relu_pool
from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["LectureNetwork", "convolve", "convolve_first", "pool_bands"]

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


_FILTERS = (48, 32, 32)

_POOLS = (3, 3, 2)

_PADS = (2, 2, 0)

_HIDDEN = 128

_NEAR = 20_000_000
"""Bytes of the largest activation for which it still comes from the cache, and from
memory that was used before: from 32 MiB on each one would be new pages."""


class LectureNetwork(Network):
    """Three 3-D convolutions and three dense layers, as the authors published them.

    Why it exists: it is the network of the lecture and the measure for every
    other one.  Each layer, the initialisation (Keras's: Glorot uniform, zero
    biases) and the recipe follow the authors' code.  The dense layers are held
    as convolutions, which changes no number for a single window and lets a
    larger tile pass at once.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, side of a window (from 7).

    References
    ----------
    Lange et al., IGARSS 2018, pp. 2087-2090, doi 10.1109/IGARSS.2018.8518671;
    code: github.com/Markus-Goetz/cluster-sampling, ``cnn/spectral_cnn.py``.

    Examples
    --------
    >>> network = LectureNetwork(bands=200, classes=16, window=9)
    >>> sum(weight.numel() for weight in network.parameters())
    504816
    """

    minimum_window = 7
    minimum_bands = 22
    minimum_batch = 1
    replayable = True
    components = None
    recipe = Recipe(
        optimiser="sgd",
        learning_rate=1.0,
        schedule="inverse",
        decay=5e-6,
        loss="squared",
        batch_size=50,
        passes=600,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self._bands, self._window = bands, window
        widths = (1, *_FILTERS)
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, (5, 3, 3))
            for before, after in zip(widths, _FILTERS, strict=False)
        )
        flat = _FILTERS[-1] * depth_after(bands)
        self.dense = nn.ModuleList(
            [
                nn.Conv2d(flat, _HIDDEN, window - 6),
                nn.Conv2d(_HIDDEN, _HIDDEN, 1),
                nn.Conv2d(_HIDDEN, classes, 1),
            ]
        )

    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew: Glorot uniform, zero biases, as Keras does.

        A dense layer held as a convolution counts its outputs once, not once
        per position of the kernel, so the bound is that of Keras's layer.
        """
        dense = {id(layer) for layer in self.dense}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                positions = 1 if id(layer) in dense else layer.weight[0, 0].numel()
                sums = layer.weight[0].numel() + positions * len(layer.weight)
                bound = math.sqrt(6 / sums)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        if windows.is_cuda and torch.is_grad_enabled():
            return self.judged(self.multiplied(windows))
        return self._deepened(windows.unsqueeze(1), 0)

    def score_tile(self, tile: torch.Tensor) -> torch.Tensor:
        """Return what ``forward`` does; most of its time would go into the first layer."""
        first = cast(nn.Conv3d, self.convolutions[0])
        return self._deepened(convolve_pooled(tile, first, pool=_POOLS[0], pad=2), 1)

    def windows_at_once(self) -> int:
        """Count the windows whose activations stay in the cache."""
        across = (self._window - 2) ** 2
        return max(1, _NEAR // (4 * _FILTERS[0] * (self._bands - 4) * across))

    def _deepened(self, values: torch.Tensor, depth: int) -> torch.Tensor:
        """Map what the layer at a depth takes to scores."""
        layers = zip(self.convolutions, _POOLS, _PADS, strict=True)
        for layer, pool, pad in islice(layers, depth, None):
            values = relu_pool(layer(values), pool, pad)
        return self.judged(values)

    def multiplied(self, windows: torch.Tensor) -> torch.Tensor:
        """Return what the convolutions make of windows, by products of matrices."""
        first, *others = (cast(nn.Conv3d, layer) for layer in self.convolutions)
        values = pool_bands(convolve_first(windows, first), _POOLS[0], _PADS[0])
        for layer, pool, pad in zip(others, _POOLS[1:], _PADS[1:], strict=True):
            values = pool_bands(convolve(values, layer), pool, pad)
        return values.movedim(-1, 1)

    def judged(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, filter, band, row, col) to scores by the dense layers."""
        values = values.flatten(1, 2)
        first, second, last = self.dense
        scores: torch.Tensor = last(torch.relu(second(torch.relu(first(values)))))
        return scores


def depth_after(bands: int) -> int:
    """Count the band positions that are left after the three convolutions.

    >>> depth_after(200), depth_after(220), depth_after(22)
    (10, 12, 1)
    """
    depth = bands
    for pool in _POOLS:
        depth = (depth - 4) // pool + (4 if pool == 3 else 0)
    return depth
