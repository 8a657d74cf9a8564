"""The default network of hypercover."""

import torch
from torch import nn

from hypercover.classifiers.networks.network import Layer, Network, zero_bias_
from hypercover.classifiers.networks.recipe import Recipe

_WIDTH = 64
_DEPTH = 4


class DefaultNetwork(Network):
    """Two 1 × 1 and a few residual 3 × 3 convolutions, averaged at every depth.

    It is made for few labelled pixels and a laptop.  Its input is noise-adjusted (see
    ``Scaling``), so that faint directions of the spectrum, in which crops differ, weigh
    as much as brightness.  Two 1 × 1 convolutions see the spectrum; each 3 × 3
    convolution adds a ring of neighbours.  The means over the window at every depth are
    concatenated, so spectrum and surroundings decide the class together.

    Parameters
    ----------
    bands, classes, window : int
        Values per pixel of the input, classes of the output, window size.

    Examples
    --------
    >>> network = DefaultNetwork(bands=40, classes=16, window=9)
    >>> sum(weight.numel() for weight in network.parameters())
    160016
    """

    minimum_batch = 2
    scaling = "cleared"
    components = 40
    recipe = Recipe(
        "adamw",
        3e-3,
        "one-cycle",
        "cross-entropy",
        batch_size=64,
        passes=None,
        pace=60,
        weight_decay=0.05,
        label_smoothing=0.1,
        symmetries=True,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.margin = window // 2
        depth = min(_DEPTH, self.margin)
        self.front = nn.Sequential(_spectral(bands), _spectral(_WIDTH))
        self.rings = nn.ModuleList(Ring(_WIDTH) for _ in range(depth))
        self.head = nn.Conv2d(_WIDTH * (depth + 1), classes, 1)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights."""
        super().reset(generator)
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)
        zero_bias_(self.head)

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a layer as He et al. (2015)."""
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = self.front(windows.contiguous(memory_format=torch.channels_last))
        means = [_mean_around(values, self.margin)]
        for depth, ring in enumerate(self.rings, start=1):
            values = ring(values)
            means.append(_mean_around(values, self.margin - depth))
        scores: torch.Tensor = self.head(torch.cat(means, dim=1))
        return scores


class Ring(nn.Module):
    """A residual 3 × 3 convolution: one more ring of neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, width, row, col) to (n, width, row - 2, col - 2)."""
        centre = values[..., 1:-1, 1:-1]
        return torch.relu_(centre + self.norm(self.convolution(values)))


def _spectral(inputs: int) -> nn.Sequential:
    """Return a 1 × 1 convolution with normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, _WIDTH, 1, bias=False),
        nn.BatchNorm2d(_WIDTH),
        nn.ReLU(inplace=True),
    )


def _mean_around(values: torch.Tensor, margin: int) -> torch.Tensor:
    """Average each pixel with its neighbours within a margin."""
    if margin == 0:
        return values
    return nn.functional.avg_pool2d(values, 2 * margin + 1, stride=1)
