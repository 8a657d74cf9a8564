"""SSRN: the spectral-spatial residual network of Zhong et al. (2018)."""

from typing import cast

import torch
from torch import nn

from hypercover.classifiers.networks.network import Dropout, Network, he_normal_
from hypercover.classifiers.networks.recipe import Recipe

_WIDTH = 24
_SPECTRAL = 128
_DEPTH = 7
_DROPOUT = 0.5
_EPSILON = 1e-3
"""Added to the variance by Keras."""


class SSRN(Network):
    """Two residual blocks along the spectrum, then two across the window.

    It has one of the highest accuracies published for random splits, with few weights.
    A convolution with stride 2 halves the bands; two blocks of 7 × 1 × 1 convolutions
    follow; a kernel over all remaining bands gives 128 values a pixel; a 3 × 3
    convolution and two blocks of them see the window, whose mean decides the class.
    Every convolution but the first follows batch normalisation and ReLU.

    The paper has two blocks of each kind: 364,168 weights for 200 bands and 16
    classes, the number that comparisons state.  The authors' code builds one of
    each, a 1 × 1 × 1 convolution as a shortcut and more normalisation: its
    trained model holds 346,784 numbers, 640 of them running statistics.

    Differences: the blocks pad their borders with zeros, so scenes are predicted window
    by window.  The authors use RMSprop with an L2 penalty of 1e-4, and the weights of
    the lowest validation loss; here Adam with decoupled weight decay has the same
    learning rate.  The running statistics weigh a new batch by 0.1, in Keras by 0.01,
    so that short trainings work too.  The edge of the scene is repeated, not padded
    with zeros, and bands are standardised over training pixels only, not all pixels.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, window size (published: 7).

    References
    ----------
    Zhong, Li, Luo, Chapman: Spectral-spatial residual network for hyperspectral
    image classification: a 3-D deep learning framework, IEEE TGRS 56(2), 2018,
    pp. 847-858, doi 10.1109/TGRS.2017.2755542; code: github.com/zilongzhong/SSRN.

    Examples
    --------
    >>> network = SSRN(bands=200, classes=16, window=7)
    >>> sum(weight.numel() for weight in network.parameters())
    364168
    """

    minimum_window = 3
    minimum_bands = _DEPTH
    minimum_batch = 2
    spatially_valid = False
    recipe = Recipe(
        optimiser="adamw",
        learning_rate=3e-4,
        schedule="constant",
        loss="cross-entropy",
        batch_size=16,
        passes=200,
        weight_decay=0.01,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        depth = (bands - _DEPTH) // 2 + 1
        self.first = nn.Conv3d(1, _WIDTH, (_DEPTH, 1, 1), stride=(2, 1, 1))
        self.spectral = nn.Sequential(_Block((_DEPTH, 1, 1)), _Block((_DEPTH, 1, 1)))
        self.across = _Unit(_WIDTH, _SPECTRAL, (depth, 1, 1))
        self.together = _Unit(_SPECTRAL, _WIDTH, (1, 3, 3))
        self.spatial = nn.Sequential(_Block((1, 3, 3)), _Block((1, 3, 3)))
        self.norm = _norm(_WIDTH)
        self.mean = nn.AvgPool2d(window - 2, stride=1)
        self.dropout = Dropout(_DROPOUT)
        self.last = nn.Conv2d(_WIDTH, classes, 1)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights: He normal, zero biases, as Keras does."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                he_normal_(layer, generator)
            elif isinstance(layer, nn.BatchNorm3d):
                layer.reset_parameters()
            elif isinstance(layer, Dropout):
                layer.reset(generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = self.first(windows.unsqueeze(1))
        # channels-last convolutions take half the time
        values = values.contiguous(memory_format=torch.channels_last_3d)
        values = self.spatial(self.together(self.across(self.spectral(values))))
        values = self.mean(torch.relu_(self.norm(values)).squeeze(2))
        scores: torch.Tensor = self.last(self.dropout(values))
        return scores


class _Unit(nn.Module):
    """Batch normalisation, ReLU and a convolution."""

    def __init__(
        self, before: int, after: int, kernel: tuple[int, int, int], *, same: bool = False
    ) -> None:
        super().__init__()
        around = cast(tuple[int, int, int], tuple(same * (side // 2) for side in kernel))
        self.norm = _norm(before)
        self.convolution = nn.Conv3d(before, after, kernel, padding=around)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, before, depth, row, col) to (n, after, …)."""
        result: torch.Tensor = self.convolution(torch.relu_(self.norm(values)))
        return result


class _Block(nn.Module):
    """Two zero-padded units with a residual connection."""

    def __init__(self, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.units = nn.Sequential(
            *(_Unit(_WIDTH, _WIDTH, kernel, same=True) for _ in range(2))
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Keep the shape (n, width, depth, row, col)."""
        result: torch.Tensor = values + self.units(values)
        return result


def _norm(width: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(width, eps=_EPSILON)
