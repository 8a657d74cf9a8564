"""The network hypercover uses unless told otherwise."""

import torch
from torch import nn

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["DefaultNetwork"]

_WIDTH = 64
_DEPTH = 4


class DefaultNetwork(Network):
    """A spectral front and a few residual 3 × 3 convolutions, seen at every depth.

    Why it exists: few labelled pixels must be enough, on a laptop.  Its input
    are spectra cleared of noise (see ``Scaling``), so that faint directions of
    the spectrum, which tell crops apart, weigh as much as brightness.  Two 1 × 1
    convolutions look at the spectrum; each 3 × 3 convolution adds a ring of
    neighbours; the means over the window of what every depth has found are
    joined, so that the class is decided by spectrum and surroundings together.

    Parameters
    ----------
    bands, classes, window : int
        Values per pixel of the input, classes of the output, side of a window.
    """

    minimum_batch = 2
    scaling = "cleared"
    components = 40
    recipe = Recipe(
        optimiser="adamw",
        learning_rate=3e-3,
        schedule="one-cycle",
        loss="cross-entropy",
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
        """Draw all weights anew."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(
                    layer.weight, nonlinearity="relu", generator=generator
                )
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = self.front(windows.contiguous(memory_format=torch.channels_last))
        found = [_mean_around(values, self.margin)]
        for depth, ring in enumerate(self.rings, start=1):
            values = ring(values)
            found.append(_mean_around(values, self.margin - depth))
        scores: torch.Tensor = self.head(torch.cat(found, dim=1))
        return scores


class Ring(nn.Module):
    """A 3 × 3 convolution beside the identity: one more ring of neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, width, row, col) to (n, width, row - 2, col - 2)."""
        centre = values[..., 1:-1, 1:-1]
        return torch.relu_(centre + self.norm(self.convolution(values)))


def _spectral(inputs: int) -> nn.Sequential:
    """Return a layer that looks at one pixel at a time."""
    return nn.Sequential(
        nn.Conv2d(inputs, _WIDTH, 1, bias=False),
        nn.BatchNorm2d(_WIDTH),
        nn.ReLU(inplace=True),
    )


def _mean_around(values: torch.Tensor, margin: int) -> torch.Tensor:
    """Average each pixel with all neighbours up to a margin away."""
    if margin == 0:
        return values
    return nn.functional.avg_pool2d(values, 2 * margin + 1, stride=1)
