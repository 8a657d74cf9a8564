"""The schedule: what share of the learning rate each step takes."""

import math
from collections.abc import Callable

from hypercover.classifiers.networks.recipe import Recipe

__all__ = ["share_of_rate"]

_RISE = 0.2
"""Share of the steps over which ``one-cycle`` rises unless the recipe says."""
_LEAST = 1e-3
"""Share of the highest learning rate at which ``one-cycle`` ends."""


def share_of_rate(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return the share of the highest learning rate to use at each step (from 0).

    Steps are counted as Keras counts iterations, so ``inverse`` is its ``decay``.

    References
    ----------
    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5 without
    restarts; ``one-cycle``: Smith and Topin, Super-convergence, 2018, the rate
    alone.

    Examples
    --------
    >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600, decay=0.5)
    >>> [share_of_rate(recipe, steps=600)(step) for step in (0, 2)]
    [1.0, 0.5]
    """
    cycle = recipe.schedule == "one-cycle"
    warm_up = (_RISE if cycle else 0.0) if recipe.warm_up is None else recipe.warm_up
    rise = max(round(warm_up * steps), 1 if cycle else 0)
    fall = _falls(recipe, rise, max(1, steps - rise))
    if recipe.schedule in ("constant", "inverse"):
        return lambda step: min(1.0, (step + 1) / max(1, rise)) * fall(step)
    return lambda step: (step + 1) / rise if step < rise else fall(step)


def _falls(recipe: Recipe, rise: int, rest: int) -> Callable[[int], float]:
    """Return the share of the rate at each step, but for the rise."""
    if recipe.schedule == "constant":
        return lambda step: 1.0
    if recipe.schedule == "inverse":
        return lambda step: 1 / (1 + recipe.decay * step)
    if recipe.schedule == "cosine":
        return lambda step: 0.5 * (1 + math.cos(math.pi * (step - rise) / rest))
    # the last step of the rise was already at the top
    return lambda step: max(
        _LEAST, 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / rest))
    )
