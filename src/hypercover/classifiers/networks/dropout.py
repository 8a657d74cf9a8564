"""Dropout that one seed repeats."""

import torch
from torch import nn

__all__ = ["Dropout"]


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
    def stay_out(cls) -> None:
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
