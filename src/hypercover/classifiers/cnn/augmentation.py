"""Augmentation: random symmetries, spectral noise, band dropout and mixup."""

from dataclasses import dataclass

import torch
from scipy.special import betaincinv

from hypercover.classifiers.networks.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Augmentation:
    """The random numbers that augment one batch.

    They are drawn for the whole batch before its windows are loaded, so they stay the
    same however the batch is split into micro-batches or among processes.
    """

    symmetry: int
    """One of the 8 symmetries of the square."""
    gain: torch.Tensor | None
    """Factor of each band (n, band)."""
    offset: torch.Tensor | None
    """Offset of each band (n, band)."""
    partner: torch.Tensor | None
    """Position in the batch of the window to mix in (n,)."""
    own_share: torch.Tensor
    """Share of the window itself in the mixture (n,)."""

    @classmethod
    def draw(
        cls, recipe: Recipe, count: int, bands: int, generator: torch.Generator
    ) -> "Augmentation":
        """Draw the augmentation of a recipe for a batch of ``count`` windows."""
        symmetry, gain, offset, partner = 0, None, None, None
        own_share = torch.ones(count)
        if recipe.symmetries:
            symmetry = int(torch.randint(8, (), generator=generator))
        if recipe.jitter:
            noise = torch.randn(2, count, bands, generator=generator) * recipe.jitter
            gain, offset = 1 + noise[0], noise[1]
        if recipe.band_dropout:
            keep = torch.rand(count, bands, generator=generator) >= recipe.band_dropout
            gain = keep.float() if gain is None else gain * keep
            offset = None if offset is None else offset * keep
        if recipe.mix:
            partner = torch.randperm(count, generator=generator)
            own_share = _beta(recipe.mix, torch.rand(count, generator=generator))
        return cls(symmetry, gain, offset, partner, own_share)

    def mix(
        self, part: slice, values: torch.Tensor, partners: torch.Tensor
    ) -> torch.Tensor:
        """Mix values (n, …) of a part of the batch with those of their partners."""
        share = self.own_share[part].to(values.device, non_blocking=True)
        return torch.lerp(partners, values, share.view(-1, *[1] * (values.ndim - 1)))

    def transform(self, part: slice, windows: torch.Tensor) -> torch.Tensor:
        """Rotate, flip and rescale windows (n, band, row, col) of a part of the batch."""
        windows = apply_symmetry(windows, self.symmetry)
        for factor, operation in ((self.gain, torch.mul), (self.offset, torch.add)):
            if factor is not None:
                per_band = factor[part].to(windows.device, non_blocking=True)
                windows = operation(windows, per_band[:, :, None, None])
        return windows


def apply_symmetry(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(apply_symmetry(square, symmetry).tolist()) for symmetry in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows


def _beta(alpha: float, uniform: torch.Tensor) -> torch.Tensor:
    """Turn uniform numbers into numbers of Beta(alpha, alpha), by its inverse CDF."""
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.double().numpy())).float()
