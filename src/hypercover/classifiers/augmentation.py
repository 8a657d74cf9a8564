"""Augmentation: what a window could also have looked like."""

import torch

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["augment", "smoothed"]


def smoothed(targets: torch.Tensor, classes: int, smoothing: float) -> torch.Tensor:
    """Return wanted probabilities (n, class) with some certainty spread over all classes.

    >>> smoothed(torch.tensor([1]), 2, 0.5).tolist()
    [[0.25, 0.75]]
    """
    certain = torch.nn.functional.one_hot(targets, classes).to(torch.float32)
    return certain * (1 - smoothing) + smoothing / classes


def augment(
    windows: torch.Tensor,
    wanted: torch.Tensor,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn, mirror, mix and disturb a batch as a recipe says.

    Parameters
    ----------
    windows : tensor (n, value, row, col)
    wanted : tensor (n, class)
        Probabilities the network should give.
    """
    if recipe.symmetries:
        windows = turned(windows, int(torch.randint(8, (), generator=generator)))
    if recipe.mixup > 0:
        windows, wanted = mixed(windows, wanted, recipe.mixup, generator)
    if recipe.noise > 0:
        windows = windows + recipe.noise * torch.randn(windows.shape, generator=generator)
    return windows, wanted


def turned(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(turned(square, s).tolist()) for s in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows


def mixed(
    windows: torch.Tensor,
    wanted: torch.Tensor,
    alpha: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each window with another one, and their classes alike.

    References
    ----------
    Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, eq. 1.
    """
    concentration = torch.full((2,), alpha)
    share = torch._sample_dirichlet(concentration, generator=generator)[0]
    other = torch.randperm(len(windows), generator=generator)
    return (
        share * windows + (1 - share) * windows[other],
        share * wanted + (1 - share) * wanted[other],
    )
