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
    passes: int | None
    """Passes over the training windows; None: as many as ``pace`` gives."""
    pace: float = 0.0
    """Steps of a whole training per square root of the number of windows: a
    hundred windows take seconds, and a hundred times as many ten times as long."""
    decay: float = 0.0
    """Decay per step of the ``inverse`` schedule."""
    weight_decay: float = 0.0
    """Decoupled weight decay of ``adamw``."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    symmetries: bool = False
    """Whether batches are turned and mirrored: land has no up."""

    def epochs(self, windows: int) -> int:
        """Count the passes over so many windows.

        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, None, pace=60)
        >>> [recipe.epochs(windows) for windows in (2, 100, 10_000, 1_000_000)]
        [85, 300, 30, 3]
        """
        if self.passes is not None:
            return self.passes
        steps = self.pace * math.sqrt(windows)
        return max(1, round(steps / math.ceil(windows / self.batch_size)))

    def __post_init__(self) -> None:
        """Refuse numbers that no training can use."""
        counts = {"batch size": self.batch_size}
        if self.passes is not None:
            counts["epochs"] = self.passes
        for name, count in counts.items():
            if not isinstance(count, Integral) or count < 1:
                raise ModelError(
                    f"The {name} must be a whole number of at least 1, got {count!r}."
                )
        rate = self.learning_rate
        if not isinstance(rate, Real) or not 0 < rate < float("inf"):
            raise ModelError(
                f"The learning rate must be a number above 0, got {rate!r}; use 0.003."
            )
