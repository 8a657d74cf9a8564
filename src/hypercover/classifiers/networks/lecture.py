"""The 3-D convolution network of Lange, Cavallaro, Götz, Erlingsson, Riedel (2018)."""

import math
from itertools import islice
from typing import cast

import torch
from torch import nn

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.phases import convolve_pooled
from hypercover.classifiers.networks.pooling import relu_pool
from hypercover.classifiers.networks.products import convolve, convolve_first, pool_bands
from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["LectureNetwork"]

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
