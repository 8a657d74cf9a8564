"""How a network is trained, as a value that the network carries with it."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from hypercover.errors import ModelError

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Everything about training that is not the network itself.

    Why it exists: a network without its recipe does not reproduce anything.
    The estimator replaces single fields when the user names them.
    """

    optimiser: Literal["sgd", "adamw"]
    """``sgd``: plain descent; ``adamw``: Adam with decoupled weight decay."""
    learning_rate: float
    """Highest learning rate of the schedule."""
    schedule: Literal["inverse", "one-cycle"]
    """``inverse``: rate / (1 + decay · step); ``one-cycle``: up for a fifth of
    the steps, then down along a cosine to nearly 0."""
    loss: Literal["squared", "cross-entropy"]
    """``squared``: mean squared error of the probabilities."""
    batch_size: int
    """Windows per optimiser step."""
    passes: int
    """Passes over the training windows, within the bounds below."""
    least_steps: int = 0
    """Fewest steps of a whole training: few windows are passed over more often."""
    most_steps: int | None = None
    """Most steps of a whole training, so that many windows do not take hours."""
    decay: float = 0.0
    """Decay per step of the ``inverse`` schedule."""
    weight_decay: float = 0.0
    """Decoupled weight decay of ``adamw``."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    symmetries: bool = False
    """Whether batches are turned and mirrored: land has no up."""
    mixup: float = 0.0
    """Parameter of the beta distribution that mixes pairs of windows; 0: no mixing."""
    noise: float = 0.0
    """Standard deviation of the noise added to the network's input values."""
    averaging: float = 0.0
    """Share of training, at its end, over which weights are averaged; 0: none."""

    def epochs(self, windows: int) -> int:
        """Count the passes over so many windows that keep to the bounds.

        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 10, 100, 1_000)
        >>> [recipe.epochs(windows) for windows in (2, 100, 1_000, 10_000, 100_000)]
        [100, 50, 10, 5, 1]
        """
        steps = math.ceil(windows / self.batch_size)
        epochs = max(self.passes, math.ceil(self.least_steps / steps))
        if self.most_steps is not None:
            epochs = min(epochs, self.most_steps // steps)
        return max(1, epochs)

    def __post_init__(self) -> None:
        """Refuse numbers that no training can use."""
        for name, count in (("batch size", self.batch_size), ("epochs", self.passes)):
            if not isinstance(count, Integral) or count < 1:
                raise ModelError(
                    f"The {name} must be a whole number of at least 1, got {count!r}."
                )
        rate = self.learning_rate
        if not isinstance(rate, Real) or not 0 < rate < float("inf"):
            raise ModelError(
                f"The learning rate must be a number above 0, got {rate!r}; use 0.003."
            )
