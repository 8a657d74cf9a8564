"""What every network has to offer."""

from typing import ClassVar

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["Network"]


class Network(nn.Module):
    """A spatially valid convolution network with what it needs to be trained.

    Why it exists: the estimator knows nothing of a network but this.  A new one
    is a subclass in a file of its own and a line in ``catalog.py``.  Built with
    (bands, classes, window), it maps (n, band, row, col) to scores
    (n, class, row - window + 1, col - window + 1).
    """

    minimum_window: ClassVar[int]
    """Smallest window whose rows and columns survive the valid convolutions."""
    minimum_bands: ClassVar[int]
    """Fewest bands that survive them."""
    minimum_batch: ClassVar[int]
    """Fewest windows in a training batch."""
    components: ClassVar[int | None]
    """Directions cleared of noise it takes, at most; None: standardised bands."""
    recipe: ClassVar[Recipe]
    """How it is trained unless the user says otherwise."""

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__()

    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew."""
        raise NotImplementedError
