"""Rectifying, pooling along the bands and padding in one pass over the memory."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

__all__ = ["convolve_pooled", "relu_pool"]

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


_BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
"""Whole numbers as wide as each floating-point number."""

_SHARE = 2**20
"""Values that are worth a thread: fewer are done before another one is awake."""


def relu_pool(values: torch.Tensor, pool: int, pad: int) -> torch.Tensor:
    """Return the greatest value of each group of bands, at least 0, between zero bands.

    Why it exists: PyTorch passes over the memory three times for this and three
    times for its gradient, which is two fifths of the time of a training on a
    processor.  There one compiled loop does it all, with the numbers of
    PyTorch's operations: the first of equal values gets the gradient, NaN stays
    NaN.  On other devices, and while a network is traced or exported, it is
    PyTorch's operations.

    Parameters
    ----------
    values : tensor (n, channel, band, row, col)
    pool : int
        Bands in a group; an incomplete last group is left out.
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
    if not _takes(values):
        rectified = nn.functional.max_pool3d(torch.relu(values), (pool, 1, 1))
        return nn.functional.pad(rectified, (0, 0, 0, 0, pad, pad))
    if torch.is_grad_enabled() and values.requires_grad:
        pooled: torch.Tensor = _ReluPool.apply(values, pool, pad)  # type: ignore[no-untyped-call]
        return pooled
    return _forward(values, pool, pad, None)


def _takes(values: torch.Tensor) -> bool:
    """Tell whether the compiled loops can do it: real numbers in a processor's memory."""
    abstract = (
        torch.compiler.is_compiling()
        or torch.onnx.is_in_onnx_export()
        or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        or type(values) is not torch.Tensor
    )
    known = values.device.type == "cpu" and values.dtype in _BITS
    return known and not abstract and _kernels() is not None


class _ReluPool(torch.autograd.Function):
    """The compiled loops, as an operation that PyTorch can differentiate."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, pool: int, pad: int) -> torch.Tensor:
        """Pool, and keep which band of each group won."""
        n, channels, bands, rows, cols = values.shape
        won = torch.empty(n, channels, bands // pool, rows, cols, dtype=torch.uint8)
        ctx.save_for_backward(won)
        ctx.shape, ctx.pool, ctx.pad = values.shape, pool, pad
        return _forward(values, pool, pad, won)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Give each gradient to the band that won."""
        (won,) = ctx.saved_tensors
        gradient = torch.empty(ctx.shape, dtype=slopes.dtype)
        _in_ranges(
            _kernels().backward,
            (_planes(slopes), _planes(won), _planes(gradient)),
            (ctx.pad, tuple(range(ctx.pool))),
        )
        return gradient, None, None


def _forward(
    values: torch.Tensor, pool: int, pad: int, won: torch.Tensor | None
) -> torch.Tensor:
    """Pool with the compiled loop, which notes the winners if it is given room to."""
    n, channels, bands, rows, cols = values.shape
    pooled = torch.empty(
        n, channels, bands // pool + 2 * pad, rows, cols, dtype=values.dtype
    )
    infinity = torch.tensor(torch.inf, dtype=values.dtype).view(_BITS[values.dtype])
    _in_ranges(
        _kernels().forward,
        (_planes(values), _planes(pooled), None if won is None else _planes(won)),
        (pad, tuple(range(pool)), infinity.numpy()[()]),
    )
    return pooled


def _planes(values: torch.Tensor) -> Any:
    """Return the bits of values as an array (plane, band, pixel)."""
    bits = values.detach().contiguous().view(_BITS.get(values.dtype, values.dtype))
    return bits.flatten(0, 1).flatten(2).numpy()


def _in_ranges(
    loop: Callable[..., None], arrays: tuple[Any, ...], rest: tuple[Any, ...]
) -> None:
    """Call a loop for all planes, a range in each of the threads that PyTorch may use.

    They are threads of our own: those of OpenMP, which numba would take, do not
    survive a fork, and PyTorch's cannot be borrowed.
    """
    planes = len(arrays[0])
    threads = max(1, min(torch.get_num_threads(), planes, arrays[0].size // _SHARE))
    cuts = [planes * part // threads for part in range(threads + 1)]
    others = [
        _threads(os.getpid()).submit(loop, *arrays, *rest, first, last)
        for first, last in pairwise(cuts[1:])
    ]
    loop(*arrays, *rest, 0, cuts[1])
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), "relu_pool")


@lru_cache(maxsize=1)
def _kernels() -> Any:
    """Return the compiled loops, or None where there is no compiler for this machine."""
    try:
        from hypercover.classifiers.networks import pooling_kernels
    except ImportError:
        return None
    return pooling_kernels
