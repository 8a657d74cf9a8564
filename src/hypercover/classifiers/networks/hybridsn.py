"""HybridSN: the 3-D and 2-D convolutional network of Roy et al. (2020)."""

import torch
from torch import nn

from hypercover.classifiers.networks.network import Dropout, Network, glorot_uniform_
from hypercover.classifiers.networks.recipe import Recipe

_FILTERS = (8, 16, 32)
_DEPTHS = (7, 5, 3)
_FLAT_FILTERS = 64
_HIDDEN = (256, 128)
_DROPOUT = 0.4
_CACHED = 2 * 10**7
"""Bytes of the largest activation that stays in the cache."""


class HybridSN(Network):
    """Three 3-D convolutions, one 2-D convolution and three dense layers.

    Most other networks are compared with it.  Layers, initialisation (Keras's: Glorot
    uniform, zero biases), dropout, Adam and its learning rate follow the authors' code,
    and so does its input: 30 whitened principal components.  The dense layers are
    written as convolutions, which changes no number for a single window and lets a
    larger tile pass at once.

    Differences: components are fitted on training pixels only, where the authors use
    all pixels of the image, including test pixels; the weights of the last epoch are
    used, not those of the highest training accuracy; the edge of the scene is repeated,
    not padded with zeros; and windows may be smaller than 25, down to 9.

    Parameters
    ----------
    bands, classes, window : int
        Components of the input, classes of the output, window size (at least 9).

    References
    ----------
    Roy, Krishna, Dubey, Chaudhuri: HybridSN: Exploring 3-D-2-D CNN feature
    hierarchy for hyperspectral image classification, IEEE GRSL 17(2), 2020,
    pp. 277-281, doi 10.1109/LGRS.2019.2918719; code:
    github.com/gokriznastic/HybridSN.

    Examples
    --------
    >>> network = HybridSN(bands=30, classes=16, window=25)
    >>> sum(weight.numel() for weight in network.parameters())
    5122176
    """

    minimum_window = 9
    minimum_bands = 13
    scaling = "principal"
    components = 30
    recipe = Recipe(
        optimiser="adamw",
        learning_rate=1e-3,
        schedule="inverse",
        decay=1e-6,
        loss="cross-entropy",
        batch_size=256,
        passes=100,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.bands, self.window = bands, window
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, (depth, 3, 3))
            for before, after, depth in zip((1, *_FILTERS), _FILTERS, _DEPTHS, strict=False)
        )
        deep = _FILTERS[-1] * (bands - sum(_DEPTHS) + len(_DEPTHS))
        self.flat = nn.Conv2d(deep, _FLAT_FILTERS, 3)
        self.dense = nn.ModuleList(
            [
                nn.Conv2d(_FLAT_FILTERS, _HIDDEN[0], window - 8),
                nn.Conv2d(_HIDDEN[0], _HIDDEN[1], 1),
            ]
        )
        self.dropouts = nn.ModuleList(Dropout(_DROPOUT) for _ in _HIDDEN)
        self.last = nn.Conv2d(_HIDDEN[1], classes, 1)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights: Glorot uniform, zero biases, as Keras does."""
        dense = {*self.dense, self.last}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                glorot_uniform_(layer, generator, dense=layer in dense)
            elif isinstance(layer, Dropout):
                layer.reset(generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = windows.unsqueeze(1)
        for layer in self.convolutions:
            values = torch.relu_(layer(values))
        values = torch.relu_(self.flat(values.flatten(1, 2)))
        for layer, dropout in zip(self.dense, self.dropouts, strict=True):
            values = dropout(torch.relu_(layer(values)))
        scores: torch.Tensor = self.last(values)
        return scores

    def micro_batch_size(self) -> int:
        """Count the windows whose largest activation fits the cache."""
        depth, side, largest = self.bands, self.window, 1
        for filters, reach in zip(_FILTERS, _DEPTHS, strict=True):
            depth, side = depth - reach + 1, side - 2
            largest = max(largest, 4 * filters * depth * side * side)
        return max(1, _CACHED // largest)
