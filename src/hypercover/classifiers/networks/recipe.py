"""The recipe of a network: its hyperparameters, and their loss, optimiser and schedule."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import nn

from hypercover.errors import ModelError

_CHOICES: dict[str, tuple[Any, ...]] = {
    "optimiser": ("sgd", "adamw"),
    "schedule": ("constant", "inverse", "one-cycle", "cosine"),
    "loss": ("squared", "cross-entropy"),
    "class_weight": ("balanced",),
    "symmetries": (True, False),
}
_COUNTS = ("batch_size", "passes", "patience")
_ABOVE_ZERO = ("learning_rate", "clip")
_BELOW_ONE = ("warm_up", "momentum", "label_smoothing", "band_dropout")
_MAX_COUNT = 10**9
_MAX = 1e6
"""Largest value of the other fields."""
_MAX_FLOAT32 = 1e38
"""Largest learning rate or norm, a little below the range of single precision."""
_OPTIONAL = ("passes", "warm_up", "clip", "class_weight", "patience")
_REQUIRES: dict[str, tuple[str, Any]] = {
    "momentum": ("optimiser", "sgd"),
    "weight_decay": ("optimiser", "adamw"),
    "decay": ("schedule", "inverse"),
    "pace": ("passes", None),
}
"""Fields that have no effect unless another one has this value."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    Raises
    ------
    ModelError
        If a field has an invalid value.

    Examples
    --------
    >>> recipe = Recipe("adamw", 0.001, "one-cycle", "cross-entropy", 64, 100)
    >>> recipe.batch_size, recipe.momentum
    (64, 0.0)
    """

    optimiser: Literal["sgd", "adamw"]
    """``sgd``: gradient descent with ``momentum``; ``adamw``: Adam with decoupled weight
    decay."""
    learning_rate: float
    """Highest learning rate of the schedule."""
    schedule: Literal["constant", "inverse", "one-cycle", "cosine"]
    """Factor of the learning rate at each step, counted from 0.  ``inverse``:
    1 / (1 + decay · step); ``cosine``: cosine annealing; ``one-cycle``: linear warm-up
    for a fifth of the steps, then cosine annealing to nearly 0."""
    loss: Literal["squared", "cross-entropy"]
    """``squared``: mean squared error of the probabilities."""
    batch_size: int
    """Windows per step, over all processes together."""
    passes: int | None
    """Epochs; None: as many as ``pace`` gives."""
    pace: float = 0.0
    """Steps of the training per square root of the number of windows, so that a hundred
    times as many windows take ten times as long."""
    decay: float = 0.0
    """Decay per step of the ``inverse`` schedule."""
    warm_up: float | None = None
    """Share of the steps with a linear warm-up; None: a fifth for ``one-cycle``, 0 for the
    others."""
    momentum: float = 0.0
    """Momentum of ``sgd``."""
    weight_decay: float = 0.0
    """Decoupled weight decay of ``adamw``."""
    clip: float | None = None
    """Largest norm of the gradient over all weights; None: unlimited."""
    class_weight: Literal["balanced"] | None = None
    """``balanced``: weight n / (k · n_c) of a window, so that each of the k classes has
    the same weight whatever its number of windows n_c."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    symmetries: bool = False
    """Whether batches are rotated and flipped."""
    jitter: float = 0.0
    """Standard deviation of a random gain and offset of each band of a window, in scaled
    units."""
    band_dropout: float = 0.0
    """Share of a window's bands replaced by their mean."""
    mix: float = 0.0
    """Mixup (Zhang et al. 2018): pairs of windows and targets are mixed with a share drawn
    from Beta(mix, mix); 0: no mixup."""
    patience: int | None = None
    """Epochs without a lower validation loss after which training stops and the best
    weights are restored; None: no early stopping."""

    def epochs(self, windows: int) -> int:
        """Return the number of epochs for a number of windows.

        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, None, pace=60)
        >>> [recipe.epochs(windows) for windows in (2, 100, 10_000, 1_000_000)]
        [85, 300, 30, 3]
        """
        if self.passes is not None:
            return self.passes
        steps = self.pace * math.sqrt(windows)
        return max(1, round(steps / math.ceil(windows / self.batch_size)))

    def changed(self, fields_to_change: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with some fields replaced.

        Raises
        ------
        ModelError
            If a field does not exist or a value is not valid.

        Examples
        --------
        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600)
        >>> recipe.changed({"optimiser": "adamw", "learning_rate": 0.01}).learning_rate
        0.01
        """
        if not isinstance(fields_to_change, Mapping):
            raise ModelError(
                f"A recipe must be a mapping of fields to values, got {fields_to_change!r:.40}."
            )
        known = [field.name for field in fields(self)]
        for name in fields_to_change:
            if name not in known:
                raise ModelError(
                    f"A recipe has no field {name!r:.40}; its fields are {', '.join(known)}."
                )
        return replace(
            self,
            **{name: to_python(value) for name, value in fields_to_change.items()},
        )

    def check_effective(self, names: Iterable[str]) -> None:
        """Refuse fields set by the user that have no effect in this recipe.

        Raises
        ------
        ModelError
            If a field has no effect.

        Examples
        --------
        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600, momentum=0.9)
        >>> recipe.check_effective(["momentum", "batch_size"])
        """
        for name in names:
            other, required = _REQUIRES.get(name, (name, getattr(self, name)))
            value = getattr(self, other)
            if getattr(self, name) and value != required:
                raise ModelError(
                    f"The {name.replace('_', ' ')} of a recipe has an effect only with {other} "
                    f"{required}, and its {other} is {value}; change that or leave {name} out."
                )

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        for name, value in asdict(self).items():
            if value is None and name in _OPTIONAL:
                continue
            requirement = _requirement(name, value)
            if requirement is not None:
                label = "epochs" if name == "passes" else name.replace("_", " ")
                hint = _hint(name, value)
                raise ModelError(
                    f"The {label} must be {requirement}, got {value!r:.40}{hint}."
                )


def to_python(value: Any) -> Any:
    """Convert a NumPy scalar to Python, so that a recipe can be saved as JSON."""
    return value.item() if type(value).__module__ == "numpy" and value.ndim == 0 else value


def _requirement(name: str, value: Any) -> str | None:
    """Return what a field must be, or None if the value is valid."""
    if name in _CHOICES:
        choices = _CHOICES[name]
        # 1 equals True, but does not mean it
        valid = any(type(value) is type(each) and value == each for each in choices)
        return None if valid else f"one of {', '.join(map(str, choices))}"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if name in _COUNTS:
        valid = number and isinstance(value, Integral) and 1 <= int(value) <= _MAX_COUNT
        return None if valid else f"a whole number from 1 to {_MAX_COUNT}"
    if name in _ABOVE_ZERO:
        valid = number and 0 < value <= _MAX_FLOAT32
        return None if valid else f"a number above 0, at most {_MAX_FLOAT32:g}"
    if name in _BELOW_ONE:
        return None if number and 0 <= value < 1 else "a number from 0 to below 1"
    return None if number and 0 <= value <= _MAX else f"a number from 0 to {_MAX:.0f}"


def _hint(name: str, value: Any) -> str:
    """Suggest how to write a number that YAML reads as text, such as 1e-3."""
    try:
        number: float = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if name in _COUNTS and number.is_integer():
        number = int(number)
    if _requirement(name, number) is not None:
        return ""
    text = repr(number)
    return f"; write it as {text if '.' in text else text.replace('e', '.0e')}"


def make_loss(
    recipe: Recipe, counts: torch.Tensor
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (n,) of scores against target probabilities (n, class), not reduced.

    A batch may be split into micro-batches and among processes, so the caller adds the
    losses up and knows by what to divide.

    Parameters
    ----------
    recipe : Recipe
    counts : tensor (class,)
        Training windows of each class.
    """
    weights = balanced_class_weights(counts) if recipe.class_weight else None

    def losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        smoothed = smooth_labels(targets, recipe.label_smoothing)
        if recipe.loss == "squared":
            squares = nn.functional.mse_loss(scores.softmax(1), smoothed, reduction="none")
            each = squares.mean(1)
        else:
            each = nn.functional.cross_entropy(scores, smoothed, reduction="none")
        # a mixed window has the weights of its classes in their shares
        return each if weights is None else each * (targets @ weights)

    return losses


def balanced_class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Return class weights n / (k · n_c): their mean over all windows is 1.

    >>> balanced_class_weights(torch.tensor([1, 3])).tolist()
    [2.0, 0.6666666865348816]
    """
    return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(torch.float32)


def smooth_labels(targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Spread a share of the target probabilities (n, class) evenly over all classes.

    >>> smooth_labels(torch.tensor([[0.0, 1.0]]), 0.5).tolist()
    [[0.25, 0.75]]
    """
    return targets * (1 - smoothing) + smoothing / targets.shape[1]


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all weights of a network."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


_WARM_UP = 0.2
"""Default share of the steps over which ``one-cycle`` rises."""

_FINAL_FACTOR = 1e-3
"""Share of the highest learning rate at which ``one-cycle`` ends."""


def learning_rate_schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return a function from the step (from 0) to a factor of the highest learning rate.

    Steps are counted as Keras counts iterations, so ``inverse`` is its ``decay``.

    References
    ----------
    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5 without restarts;
    ``one-cycle``: Smith and Topin, Super-convergence, 2018, the learning rate only.

    Examples
    --------
    >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600, decay=0.5)
    >>> [learning_rate_schedule(recipe, steps=600)(step) for step in (0, 2)]
    [1.0, 0.5]
    """
    one_cycle = recipe.schedule == "one-cycle"
    warm_up = (_WARM_UP if one_cycle else 0.0) if recipe.warm_up is None else recipe.warm_up
    rise = max(round(warm_up * steps), 1 if one_cycle else 0)
    decay = _decay_factor(recipe, rise, max(1, steps - rise))
    if recipe.schedule in ("constant", "inverse"):
        return lambda step: min(1.0, (step + 1) / max(1, rise)) * decay(step)
    return lambda step: (step + 1) / rise if step < rise else decay(step)


def _decay_factor(recipe: Recipe, rise: int, rest: int) -> Callable[[int], float]:
    """Return the factor at each step, apart from the warm-up."""
    if recipe.schedule == "constant":
        return lambda step: 1.0
    if recipe.schedule == "inverse":
        return lambda step: 1 / (1 + recipe.decay * step)
    if recipe.schedule == "cosine":
        return lambda step: 0.5 * (1 + math.cos(math.pi * (step - rise) / rest))
    # the last step of the warm-up already had the highest rate
    return lambda step: max(
        _FINAL_FACTOR, 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / rest))
    )
