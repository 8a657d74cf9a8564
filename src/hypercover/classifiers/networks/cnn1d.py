"""The 1-D convolutional network of Hu, Huang, Wei, Zhang and Li (2015)."""

import math

import torch
from torch import nn

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe

_KERNELS = 20
_HIDDEN = 100
_BOUND = 0.05
"""Largest initial weight."""


class SpectralNetwork(Network):
    """A convolution along the spectrum, max-pooling and two dense layers.

    It only uses the spectrum of the centre pixel, so it shows how much of another
    network's accuracy comes from the neighbourhood.  20 kernels of ceil(bands / 9)
    bands, pooling over groups of ceil(kernel / 5), which leaves the 30 to 40 values the
    authors recommend, and 100 hidden units; convolution and hidden units end in tanh.
    All weights and biases are initialised uniformly between -0.05 and 0.05, as
    published.

    Differences: bands are standardised, where the authors scale them to -1 … 1, and
    Adam replaces plain gradient descent at 0.01, which is slow from such small weights:
    after 100 epochs on a tenth of the Indian Pines stand-in its accuracy is 51 %,
    Adam's 76 %.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, window size.

    References
    ----------
    Hu, Huang, Wei, Zhang, Li: Deep convolutional neural networks for
    hyperspectral image classification, Journal of Sensors 2015, 258619.

    Examples
    --------
    >>> network = SpectralNetwork(bands=200, classes=16, window=1)
    >>> sum(weight.numel() for weight in network.parameters())
    74196
    """

    recipe = Recipe(
        optimiser="adamw",
        learning_rate=1e-3,
        schedule="one-cycle",
        loss="cross-entropy",
        batch_size=100,
        passes=300,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.margin = window // 2
        kernel = math.ceil(bands / 9)
        self.pool = math.ceil(kernel / 5)
        left = math.ceil((bands - kernel + 1) / self.pool)
        self.convolution = nn.Conv3d(1, _KERNELS, (kernel, 1, 1))
        self.hidden = nn.Conv2d(_KERNELS * left, _HIDDEN, 1)
        self.last = nn.Conv2d(_HIDDEN, classes, 1)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights and biases uniformly between -0.05 and 0.05."""
        for weight in self.parameters():
            nn.init.uniform_(weight, -_BOUND, _BOUND, generator=generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        rows, cols = (side - self.margin for side in windows.shape[2:])
        values = windows[:, :, self.margin : rows, self.margin : cols].unsqueeze(1)
        values = nn.functional.max_pool3d(
            self.convolution(values), (self.pool, 1, 1), ceil_mode=True
        )
        # tanh is monotonic, so pooling first gives the same with fewer values
        values = torch.tanh(self.hidden(torch.tanh(values).flatten(1, 2)))
        scores: torch.Tensor = self.last(values)
        return scores
