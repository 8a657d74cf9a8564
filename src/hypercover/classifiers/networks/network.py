"""What every network has to offer."""

from typing import ClassVar, Literal

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["Network"]


class Network(nn.Module):
    """A network with what it needs to be trained.

    Why it exists: the estimator knows nothing of a network but this.  A new one
    is a subclass in a file of its own and a call of ``catalog.register``.  Built
    with (bands, classes, window), it maps (n, band, row, col) to scores
    (n, class, row - window + 1, col - window + 1).
    """

    minimum_window: ClassVar[int] = 1
    """Smallest window whose rows and columns survive the valid convolutions."""
    minimum_bands: ClassVar[int] = 1
    """Fewest values per pixel that survive them."""
    minimum_batch: ClassVar[int] = 1
    """Fewest windows in a training batch: 2 where batches are normalised."""
    replayable: ClassVar[bool] = False
    """Whether a GPU may be given a recording of a pass: the same work every time, no
    draw, no number that the processor waits for, and enough of it to be worth it."""
    spatially_valid: ClassVar[bool] = True
    """Whether a tile passed at once gives the scores of window by window."""
    scaling: ClassVar[Literal["standard", "cleared", "principal"]] = "standard"
    """What it takes: standardised bands, directions cleared of noise, or
    principal components."""
    components: ClassVar[int | None] = None
    """Directions or components it takes, at most; None for standardised bands."""
    recipe: ClassVar[Recipe]
    """How it is trained unless the user says otherwise."""

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__()

    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew."""
        raise NotImplementedError

    def score_tile(self, tile: torch.Tensor) -> torch.Tensor:
        """Return the scores of a tile (1, band, row, col), as ``forward`` does.

        Why it exists: what is quick for many small windows may be slow for one
        large tile.  No gradient is asked for.
        """
        scores: torch.Tensor = self(tile)
        return scores

    def windows_at_once(self) -> int | None:
        """Count the windows of a training batch that should pass together on a CPU.

        Why it exists: activations of a few megabytes stay in the cache and in
        memory that was used before.  The gradients of the pieces are added up,
        which is the gradient of the batch unless batches are normalised.  None:
        the whole batch passes at once.
        """
        return None
