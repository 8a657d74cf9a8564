"""Augmentation: what windows and their labels could also have been."""

from dataclasses import dataclass

import torch
from scipy.special import betaincinv

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["Chance", "turned"]


@dataclass(frozen=True, eq=False)
class Chance:
    """What chance does to the windows of one batch, drawn before they are seen.

    Why it exists: a batch may pass in pieces or be shared by processes; drawn
    for the whole batch, chance is the same however it is cut.
    """

    symmetry: int
    """Which of the 8 symmetries of the square."""
    gain: torch.Tensor | None
    """Factor of each band (n, band)."""
    offset: torch.Tensor | None
    """What is added to each band (n, band)."""
    partner: torch.Tensor | None
    """Position in the batch of the window that is mixed in (n,)."""
    own: torch.Tensor
    """Share of the window itself in the mixture (n,)."""

    @classmethod
    def drawn(
        cls, recipe: Recipe, count: int, bands: int, generator: torch.Generator
    ) -> "Chance":
        """Draw for a batch of so many windows what its recipe asks for."""
        symmetry, gain, offset, partner, own = 0, None, None, None, torch.ones(count)
        if recipe.symmetries:
            symmetry = int(torch.randint(8, (), generator=generator))
        if recipe.jitter:
            noise = torch.randn(2, count, bands, generator=generator) * recipe.jitter
            gain, offset = 1 + noise[0], noise[1]
        if recipe.band_dropout:
            kept = torch.rand(count, bands, generator=generator) >= recipe.band_dropout
            gain = kept.float() if gain is None else gain * kept
            offset = None if offset is None else offset * kept
        if recipe.mix:
            partner = torch.randperm(count, generator=generator)
            own = _beta(recipe.mix, torch.rand(count, generator=generator))
        return cls(symmetry, gain, offset, partner, own)

    def mixed(
        self, which: slice, values: torch.Tensor, others: torch.Tensor
    ) -> torch.Tensor:
        """Mix values (n, …) of some windows of the batch with those of their partners."""
        own = self.own[which].to(values.device, non_blocking=True)
        return torch.lerp(others, values, own.view(-1, *[1] * (values.ndim - 1)))

    def changed(self, which: slice, windows: torch.Tensor) -> torch.Tensor:
        """Turn some windows (n, band, row, col) of the batch and change their bands."""
        windows = turned(windows, self.symmetry)
        for factor, change in ((self.gain, torch.mul), (self.offset, torch.add)):
            if factor is not None:
                at_bands = factor[which].to(windows.device, non_blocking=True)
                windows = change(windows, at_bands[:, :, None, None])
        return windows


def turned(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(turned(square, symmetry).tolist()) for symmetry in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows


def _beta(alpha: float, uniform: torch.Tensor) -> torch.Tensor:
    """Return numbers of Beta(alpha, alpha) by the inverse of its distribution."""
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.double().numpy())).float()
