"""What every network has to offer."""

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["Dropout", "Network", "glorot_uniform_", "he_normal_"]


class Dropout(nn.Module):
    """Silence a random share of the values while a network is trained.

    Why it exists: PyTorch's own draws from the global generator, so the same
    seed would not give the same network.  This one draws from a seed of its own
    and a count of its draws; both are saved with the weights, so a training that
    goes on from a checkpoint silences what it would have silenced.

    Parameters
    ----------
    rate : float
        Share of the values that is set to 0; the others are multiplied by
        1 / (1 - rate).

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout, Journal
    of Machine Learning Research 15, 2014, pp. 1929-1958.
    """

    draws: torch.Tensor
    """Seed and number of draws so far, int64 (2,)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("draws", torch.zeros(2, dtype=torch.int64))

    def reset(self, generator: torch.Generator) -> None:
        """Draw a new seed."""
        self.draws.random_(0, 2**62, generator=generator)
        self.draws[1] = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of any shape with some of them 0."""
        if not self.training:
            return values
        kept: torch.Tensor = self._kept(values.shape)
        return values * kept.to(values) / (1 - self.rate)

    @classmethod
    def exclude_from_compilation(cls) -> None:
        """Keep the draws out of what is compiled, where each seed would be compiled anew.

        Called before a network is compiled and not here, as PyTorch's compiler takes
        more than a second to import.
        """
        cls._kept = torch.compiler.disable(cls._kept)  # type: ignore[method-assign,no-untyped-call]

    def _kept(self, shape: torch.Size) -> torch.Tensor:
        """Draw which values are kept."""
        seed, count = self.draws.tolist()
        self.draws[1] += 1
        generator = torch.Generator().manual_seed(seed + count)
        return torch.rand(shape, generator=generator) >= self.rate


_CUT = 2.0
"""Standard deviations at which Keras cuts a normal distribution off."""

_LEFT = 0.87962566103423978
"""Standard deviation of a standard normal distribution cut off there."""

Layer = nn.Conv2d | nn.Conv3d


def glorot_uniform_(
    layer: Layer, generator: torch.Generator, *, dense: bool = False
) -> None:
    """Draw weights as Glorot and Bengio (2010), uniformly, and silence the biases.

    A ``dense`` layer held as a convolution counts its outputs once, not once
    per position of the kernel, so the bound is that of Keras's dense layer.
    """
    positions = 1 if dense else layer.weight[0, 0].numel()
    sums = layer.weight[0].numel() + positions * len(layer.weight)
    bound = math.sqrt(6 / sums)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    _silence(layer)


def he_normal_(layer: Layer, generator: torch.Generator) -> None:
    """Draw weights as He et al. (2015), from a normal cut off, and silence the biases."""
    spread = math.sqrt(2 / layer.weight[0].numel()) / _LEFT
    nn.init.trunc_normal_(
        layer.weight, 0.0, spread, -_CUT * spread, _CUT * spread, generator=generator
    )
    _silence(layer)


def _silence(layer: Layer) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


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
    cuda_graph_safe: ClassVar[bool] = False
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

    def micro_batch_size(self) -> int | None:
        """Count the windows of a training batch that should pass together on a CPU.

        Why it exists: activations of a few megabytes stay in the cache and in
        memory that was used before.  The gradients of the pieces are added up,
        which is the gradient of the batch unless batches are normalised.  None:
        the whole batch passes at once.
        """
        return None
