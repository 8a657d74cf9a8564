"""The 3-D convolutional network of Lange, Cavallaro, Götz, Erlingsson and Riedel (2018).

Its convolutions are computed in three ways with the same result: by PyTorch's
``Conv3d`` on a CPU, as matrix products while training on a GPU, and as 2-D
convolutions over groups of bands for a whole tile.
"""

from functools import reduce
from itertools import islice
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from hypercover.classifiers.networks.network import Layer, Network, glorot_uniform_
from hypercover.classifiers.networks.recipe import Recipe

_ALIGNMENT = 8
"""A GPU's matrix units read values in multiples of this number at once."""

_CACHE_BYTES = 2**22
"""Convolved values of a tile that are computed before they are pooled, in bytes."""


def relu_pool(values: torch.Tensor, pool: int, pad: int) -> torch.Tensor:
    """Apply ReLU, max-pool along the bands, and pad the bands with zeros.

    A compiled loop does it for batches on a CPU (see ``networks.pooling``), with
    the same numbers.

    Parameters
    ----------
    values : tensor (n, channel, band, row, col)
    pool : int
        Bands per group; an incomplete last group is left out.
    pad : int
        Bands of zeros on either side.

    Returns
    -------
    tensor (n, channel, band // pool + 2 · pad, row, col)

    Examples
    --------
    >>> values = torch.tensor([1.0, 3.0, -2.0, -1.0, 5.0]).view(1, 1, 5, 1, 1)
    >>> relu_pool(values, pool=2, pad=1).flatten().tolist()
    [0.0, 3.0, 0.0, 0.0]
    """
    trained = torch.is_grad_enabled() and values.requires_grad
    if _is_plain_cpu_tensor(values) and (trained or values.shape[0] > 1):
        # numba takes a second to import, which the prediction of tiles need not pay
        from hypercover.classifiers.networks import pooling

        if values.dtype in pooling.SUPPORTED_DTYPES:
            compiled: torch.Tensor = pooling.CompiledReluPool.apply(values, pool, pad)  # type: ignore[no-untyped-call]
            return compiled
    # ReLU after the maximum passes over a third of the memory
    pooled = torch.relu(nn.functional.max_pool3d(values, (pool, 1, 1)))
    return nn.functional.pad(pooled, (0, 0, 0, 0, pad, pad))


def _is_plain_cpu_tensor(values: torch.Tensor) -> bool:
    """Check that the values are in memory, and not being traced, compiled or exported."""
    tracing: bool = (
        torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )
    return type(values) is torch.Tensor and values.device.type == "cpu" and not tracing


def convolve_pooled(
    tile: torch.Tensor, layer: nn.Conv3d, pool: int, pad: int
) -> torch.Tensor:
    """Convolve a tile of one channel, then apply ReLU, pool and pad along the bands.

    ``Conv3d`` writes gigabytes for a whole tile, which its pooling reads again.  Here
    each group of neighbouring bands is an image of few channels, and the positions of
    the kernel in a group are output channels of one ordinary 2-D convolution.  Their
    maximum is taken while they are in the cache, which makes the dense prediction of
    a scene 1.5 to 1.8 times as fast.  Only the order of the additions differs.

    Parameters
    ----------
    tile : tensor (1, band, row, col)
    layer : Conv3d
        From one channel, with stride 1 and without padding.
    pool : int
        Bands per group; an incomplete last group is left out.
    pad : int
        Bands of zeros on either side.

    Returns
    -------
    tensor (1, filter, group + 2 · pad, row - margins, col - margins)

    Examples
    --------
    >>> layer = nn.Conv3d(1, 2, (2, 1, 1))
    >>> tile = torch.arange(7.0).view(1, 7, 1, 1)
    >>> pooled = convolve_pooled(tile, layer, pool=3, pad=1)
    >>> plain = nn.functional.max_pool3d(torch.relu(layer(tile[:, None])), (3, 1, 1))
    >>> torch.allclose(pooled[:, :, 1:-1], plain), pooled.shape
    (True, torch.Size([1, 2, 4, 1, 1]))
    """
    filters, _, depth, *kernel = layer.weight.shape
    shifted = layer.weight.new_zeros(pool, filters, depth + pool - 1, *kernel)
    for position in range(pool):
        shifted[position, :, position : position + depth] = layer.weight[:, 0]
    weight = shifted.flatten(0, 1)
    bias = None if layer.bias is None else layer.bias.repeat(pool)
    groups = tile[0].unfold(0, weight.shape[1], pool).movedim(-1, 1)
    rows, cols = (n - side + 1 for n, side in zip(tile.shape[2:], kernel, strict=True))
    pooled = tile.new_zeros(filters, len(groups) + 2 * pad, rows, cols)
    at_once = max(1, _CACHE_BYTES // (4 * len(weight) * rows * cols))
    for first in range(0, len(groups), at_once):
        part = groups[first : first + at_once].contiguous()
        positions = nn.functional.conv2d(part, weight, bias).chunk(pool, dim=1)
        best = reduce(torch.maximum, positions).relu_()
        pooled[:, pad + first : pad + first + len(part)] = best.transpose(0, 1)
    return pooled[None]


def convolve_first_layer(windows: torch.Tensor, layer: nn.Conv3d) -> torch.Tensor:
    """Convolve windows of one channel by one matrix product.

    As windows need no gradient, every neighbourhood may be a row of a matrix.

    Parameters
    ----------
    windows : tensor (n, band, row, col)
    layer : Conv3d
        From one channel, with stride 1 and without padding.

    Returns
    -------
    tensor (n, band, row, col, filter)
    """
    depth, high, wide = layer.kernel_size
    taps = depth * high * wide
    padding = -taps % _ALIGNMENT
    neighbours = windows.unfold(2, high, 1).unfold(3, wide, 1).unfold(1, depth, 1)
    rows = nn.functional.pad(neighbours.reshape(-1, taps), (0, padding))
    weight = layer.weight.permute(1, 3, 4, 2, 0).reshape(taps, -1)
    weight = nn.functional.pad(weight, (0, 0, 0, padding))
    convolved = nn.functional.linear(rows, weight.T, layer.bias)
    return convolved.view(*neighbours.shape[:4], -1)


def convolve_channels_last(values: torch.Tensor, layer: nn.Conv3d) -> torch.Tensor:
    """Convolve channels-last values by two matrix products and shifted sums.

    cuDNN's deterministic kernels for the gradients of a 3-D convolution in float32
    take ten times as long as these products.  The bands of a neighbourhood are summed
    after the product instead of being copied before it, so no value is copied more
    than ``row · col`` times.  Only the order of the additions differs.

    Parameters
    ----------
    values : tensor (n, band, row, col, channel)
    layer : Conv3d
        With stride 1 and without padding.

    Returns
    -------
    tensor (n, band, row, col, filter)

    Examples
    --------
    >>> layer, values = nn.Conv3d(2, 3, (5, 3, 3)), torch.rand(1, 2, 6, 4, 4)
    >>> convolved = convolve_channels_last(values.movedim(1, -1), layer).movedim(-1, 1)
    >>> torch.allclose(convolved, layer(values), atol=1e-5)
    True
    """
    if torch.is_autocast_enabled(values.device.type):
        values = values.to(torch.get_autocast_dtype(values.device.type))
    convolved: torch.Tensor = _Convolution.apply(values, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return convolved


def pool_bands(values: torch.Tensor, pool: int, pad: int) -> torch.Tensor:
    """Do what ``relu_pool`` does for channels-last values (n, band, row, col, channel).

    Examples
    --------
    >>> values = torch.tensor([1.0, 3.0, -2.0, -1.0, 5.0]).view(1, 5, 1, 1, 1)
    >>> pool_bands(values, pool=2, pad=1).flatten().tolist()
    [0.0, 3.0, 0.0, 0.0]
    """
    n, bands, *pixel = values.shape
    pooled = nn.functional.max_pool2d(values.reshape(n, 1, bands, -1), (pool, 1))
    pooled = torch.relu(pooled).view(n, bands // pool, *pixel)
    return nn.functional.pad(pooled, (0, 0, 0, 0, 0, 0, pad, pad))


class _Convolution(torch.autograd.Function):
    """A channels-last 3-D convolution and its gradients."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Multiply the neighbourhoods in rows and columns; sum along the bands."""
        n, bands, rows, cols, channels = values.shape
        filters, _, depth, high, wide = weight.shape
        down, across = rows - high + 1, cols - wide + 1
        places = [(row, col) for row in range(high) for col in range(wide)]
        neighbours = torch.stack(
            [values[:, :, row : row + down, col : col + across] for row, col in places], 4
        )
        taps = high * wide * channels
        factor = weight.permute(3, 4, 1, 2, 0).reshape(taps, -1).to(values.dtype)
        product = (neighbours.view(-1, taps) @ factor).view(
            n, bands, down, across, depth, filters
        )
        left = bands - depth + 1
        sums = product[:, :left, ..., 0, :] + bias.to(values.dtype)
        for step in range(1, depth):
            sums += product[:, step : step + left, ..., step, :]
        ctx.save_for_backward(neighbours, factor)
        ctx.shape, ctx.kernel, ctx.places = values.shape, weight.shape, places
        ctx.dtype = weight.dtype
        return sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Spread the gradient along the bands, and multiply it back."""
        neighbours, factor = ctx.saved_tensors
        n, bands, rows, cols, channels = ctx.shape
        filters, _, depth, high, wide = ctx.kernel
        _, left, down, across, _ = grad_output.shape
        spread = grad_output.new_zeros(n, bands, down, across, depth, filters)
        for step in range(depth):
            spread[:, step : step + left, ..., step, :] = grad_output
        spread = spread.view(-1, depth * filters)
        grad_factor = neighbours.view(len(spread), -1).T @ spread
        grad_weight = grad_factor.to(ctx.dtype).view(high, wide, channels, depth, filters)
        shares = (spread @ factor.T).view(n, bands, down, across, -1, channels)
        grad_values = grad_output.new_zeros(n, bands, rows, cols, channels)
        for place, (row, col) in enumerate(ctx.places):
            grad_values[:, :, row : row + down, col : col + across] += shares[..., place, :]
        grad_bias = grad_output.reshape(-1, filters).to(ctx.dtype).sum(0)
        return grad_values, grad_weight.permute(4, 2, 3, 0, 1).contiguous(), grad_bias


_FILTERS = (48, 32, 32)

_POOLS = (3, 3, 2)

_PADS = (2, 2, 0)

_HIDDEN = 128

_CACHED_ACTIVATION = 20_000_000
"""Bytes of the largest activation that still comes from the cache and from memory used
before; from 32 MiB on each one would be new pages."""


class LectureNetwork(Network):
    """Three 3-D convolutions and three dense layers, as published by the authors.

    Layers, initialisation (Keras's: Glorot uniform, zero biases) and recipe follow the
    authors' code.  The dense layers are written as convolutions, which changes no
    number for a single window and lets a larger tile pass at once.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, window size (at least 7).

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
    cuda_graph_safe = True
    recipe = Recipe("sgd", 1.0, "inverse", "squared", batch_size=50, passes=600, decay=5e-6)

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

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a layer: Glorot uniform, zero biases, as Keras does."""
        glorot_uniform_(layer, generator, dense=layer in set(self.dense))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        if windows.is_cuda and torch.is_grad_enabled():
            return self.classify(self.convolve_by_products(windows))
        return self._score_from(windows.unsqueeze(1), 0)

    def score_tile(self, tile: torch.Tensor) -> torch.Tensor:
        """Return the scores of a tile, its first layer by ``convolve_pooled``."""
        first = cast(nn.Conv3d, self.convolutions[0])
        return self._score_from(convolve_pooled(tile, first, _POOLS[0], _PADS[0]), 1)

    def micro_batch_size(self) -> int:
        """Count the windows whose activations stay in the cache."""
        pixels = (self._window - 2) ** 2
        window_bytes = 4 * _FILTERS[0] * (self._bands - 4) * pixels
        return max(1, _CACHED_ACTIVATION // window_bytes)

    def _score_from(self, values: torch.Tensor, depth: int) -> torch.Tensor:
        """Map the input of the convolution at a depth to scores."""
        layers = zip(self.convolutions, _POOLS, _PADS, strict=True)
        for layer, pool, pad in islice(layers, depth, None):
            values = relu_pool(layer(values), pool, pad)
        return self.classify(values)

    def convolve_by_products(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the output of the convolutions, computed as matrix products."""
        first, *others = (cast(nn.Conv3d, layer) for layer in self.convolutions)
        values = pool_bands(convolve_first_layer(windows, first), _POOLS[0], _PADS[0])
        for layer, pool, pad in zip(others, _POOLS[1:], _PADS[1:], strict=True):
            values = pool_bands(convolve_channels_last(values, layer), pool, pad)
        return values.movedim(-1, 1)

    def classify(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, filter, band, row, col) to scores by the dense layers."""
        values = values.flatten(1, 2)
        first, second, last = self.dense
        scores: torch.Tensor = last(torch.relu(second(torch.relu(first(values)))))
        return scores


def depth_after(bands: int) -> int:
    """Count the band positions left after the three convolutions.

    >>> depth_after(200), depth_after(220), depth_after(22)
    (10, 12, 1)
    """
    depth = bands
    for pool in _POOLS:
        depth = (depth - 4) // pool + (4 if pool == 3 else 0)
    return depth
