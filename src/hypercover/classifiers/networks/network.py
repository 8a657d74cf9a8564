"""The base class of all networks, and the layers and initialisations they share."""

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe


class Dropout(nn.Module):
    """Dropout that does not use PyTorch's global generator.

    It draws from its own seed and a count of its draws.  Both are saved with the
    weights, so a training resumed from a checkpoint drops the same values.

    Parameters
    ----------
    rate : float
        Share of the values set to 0; the others are multiplied by 1 / (1 - rate).

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout, Journal of
    Machine Learning Research 15, 2014, pp. 1929-1958.
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
        """Return values of any shape, some of them set to 0 while training."""
        if not self.training:
            return values
        mask: torch.Tensor = self._draw_mask(values.shape)
        return values * mask.to(values) / (1 - self.rate)

    @classmethod
    def exclude_from_compilation(cls) -> None:
        """Exclude the draws from compilation, which would recompile for every seed.

        This is called before a network is compiled, as importing PyTorch's compiler
        takes more than a second.
        """
        cls._draw_mask = torch.compiler.disable(cls._draw_mask)  # type: ignore[method-assign,no-untyped-call]

    def _draw_mask(self, shape: torch.Size) -> torch.Tensor:
        seed, count = self.draws.tolist()
        self.draws[1] += 1
        generator = torch.Generator().manual_seed(seed + count)
        return torch.rand(shape, generator=generator) >= self.rate


_CUT = 2.0
"""Standard deviations at which Keras truncates a normal distribution."""

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal distribution truncated there."""

Layer = nn.Conv2d | nn.Conv3d | nn.Linear


def glorot_uniform_(
    layer: Layer, generator: torch.Generator, *, dense: bool = False
) -> None:
    """Initialise as Glorot and Bengio (2010), uniformly, with zero biases.

    A ``dense`` layer written as a convolution counts its outputs once and not once per
    position of the kernel, so that the bound is that of Keras's dense layer.
    """
    positions = 1 if dense else layer.weight[0, 0].numel()
    fan_in, fan_out = layer.weight[0].numel(), positions * len(layer.weight)
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    zero_bias_(layer)


def he_normal_(layer: Layer, generator: torch.Generator) -> None:
    """Initialise as He et al. (2015), from a truncated normal, with zero biases."""
    std = math.sqrt(2 / layer.weight[0].numel()) / _TRUNCATED_STD
    nn.init.trunc_normal_(
        layer.weight, 0.0, std, -_CUT * std, _CUT * std, generator=generator
    )
    zero_bias_(layer)


def zero_bias_(layer: Layer) -> None:
    """Set the biases of a layer, if it has any, to 0."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Network(nn.Module):
    """Base class of a network that ``CNNClassifier`` can train.

    A new network is a subclass, registered by ``network_catalog.register``.  Built with
    (bands, classes, window), it maps (n, band, row, col) to scores
    (n, class, row - window + 1, col - window + 1).

    Examples
    --------
    >>> class Linear(Network):
    ...     recipe = Recipe("adamw", 0.01, "constant", "cross-entropy", 32, 10)
    ...
    ...     def __init__(self, bands, classes, window):
    ...         super().__init__(bands, classes, window)
    ...         self.last = nn.Conv2d(bands, classes, window)
    ...
    ...     def initialise(self, layer, generator):
    ...         glorot_uniform_(layer, generator)
    ...
    ...     def forward(self, windows):
    ...         return self.last(windows)
    >>> Linear(bands=4, classes=3, window=5)(torch.zeros(1, 4, 6, 7)).shape
    torch.Size([1, 3, 2, 3])
    """

    minimum_window: ClassVar[int] = 1
    """Smallest window size that the valid convolutions allow."""
    minimum_bands: ClassVar[int] = 1
    """Fewest values per pixel that they allow."""
    minimum_batch: ClassVar[int] = 1
    """Fewest windows in a training batch: 2 with batch normalisation."""
    cuda_graph_safe: ClassVar[bool] = False
    """Whether a training step may be captured as a CUDA graph: the same kernels every
    time, no random numbers, nothing that waits for the GPU."""
    spatially_valid: ClassVar[bool] = True
    """Whether a whole tile gets the same scores as its windows one by one."""
    scaling: ClassVar[Literal["standard", "cleared", "principal"]] = "standard"
    """Input: standardised bands, noise-adjusted components or whitened principal
    components."""
    components: ClassVar[int | None] = None
    """Largest number of components; None for standardised bands."""
    recipe: ClassVar[Recipe]
    """How it is trained by default."""

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__()

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights, layer by layer.

        Override it in a network with other layers, or with parameters of its own.
        """
        for layer in self.modules():
            if isinstance(layer, Layer):
                self.initialise(layer, generator)
            elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, Dropout):
                layer.reset(generator)

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a convolution or a dense layer."""
        raise NotImplementedError

    def score_tile(self, tile: torch.Tensor) -> torch.Tensor:
        """Return the scores of a tile (1, band, row, col), as ``forward`` does.

        Override it if a large tile is better computed in another way than many small
        windows.  No gradient is needed.
        """
        scores: torch.Tensor = self(tile)
        return scores

    def micro_batch_size(self) -> int | None:
        """Return how many windows of a training batch to pass together on a CPU.

        Activations of a few megabytes stay in the cache.  The gradients of the
        micro-batches are accumulated, which gives the gradient of the batch unless the
        network normalises batches.  None: the whole batch.
        """
        return None
