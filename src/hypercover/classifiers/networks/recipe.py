"""How a network is trained, as a value that the network carries with it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from hypercover.errors import ModelError

__all__ = ["Recipe"]

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
_MOST_COUNT = 10**9
_MOST = 1e6
"""Greatest value of what has no bound of its own: no training is the better for more."""
_HIGHEST = 1e38
"""Greatest rate or norm: single precision ends a little above."""
_OPTIONAL = ("passes", "warm_up", "clip", "class_weight", "patience")
_READ_WITH: dict[str, tuple[str, Any]] = {
    "momentum": ("optimiser", "sgd"),
    "weight_decay": ("optimiser", "adamw"),
    "decay": ("schedule", "inverse"),
    "pace": ("passes", None),
}
"""Fields that count for nothing unless another one has this value."""


@dataclass(frozen=True)
class Recipe:
    """Everything about training that is not the network itself.

    Why it exists: a network without its recipe does not reproduce anything.
    The estimator replaces single fields when the user names them.

    Raises
    ------
    ModelError
        If a field has a value that no training can use.
    """

    optimiser: Literal["sgd", "adamw"]
    """``sgd``: descent with ``momentum``; ``adamw``: Adam with decoupled weight decay."""
    learning_rate: float
    """Highest learning rate of the schedule."""
    schedule: Literal["constant", "inverse", "one-cycle", "cosine"]
    """Share of the learning rate at each step, counted from 0.  ``inverse``:
    1 / (1 + decay · step); ``cosine``: down along half a cosine; ``one-cycle``:
    up for a fifth of the steps, then down along half a cosine to nearly 0."""
    loss: Literal["squared", "cross-entropy"]
    """``squared``: mean squared error of the probabilities."""
    batch_size: int
    """Windows per optimiser step, over all processes together."""
    passes: int | None
    """Passes over the training windows; None: as many as ``pace`` gives."""
    pace: float = 0.0
    """Steps of a whole training per square root of the number of windows: a
    hundred windows take seconds, and a hundred times as many ten times as long."""
    decay: float = 0.0
    """Decay per step of the ``inverse`` schedule."""
    warm_up: float | None = None
    """Share of the steps over which the rate rises from 0 first; None: a fifth
    for ``one-cycle``, nothing for the others."""
    momentum: float = 0.0
    """Share of its last step that ``sgd`` takes again."""
    weight_decay: float = 0.0
    """Decoupled weight decay of ``adamw``."""
    clip: float | None = None
    """Largest norm of the gradient over all weights; None: no bound."""
    class_weight: Literal["balanced"] | None = None
    """``balanced_class_weights``: a window counts n / (k · n_c), so that each of the k classes
    weighs the same whatever its number of windows n_c."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    symmetries: bool = False
    """Whether batches are turned and mirrored: land has no up."""
    jitter: float = 0.0
    """Standard deviation of a random gain and offset of each band of a window,
    in scaled units."""
    band_dropout: float = 0.0
    """Share of a window's bands that are replaced by their mean."""
    mix: float = 0.0
    """Windows and targets are mixed in pairs, with a share drawn from
    Beta(mix, mix) (Zhang et al. 2018, mixup); 0: not at all."""
    patience: int | None = None
    """Epochs to go on without a lower validation loss before training stops and
    the best weights come back; None: never."""

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

    def changed(self, fields_to_change: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with single fields replaced.

        Raises
        ------
        ModelError
            If there is no such field or a value has no meaning.

        Examples
        --------
        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600)
        >>> recipe.changed({"optimiser": "adamw", "learning_rate": 0.01}).learning_rate
        0.01
        """
        if not isinstance(fields_to_change, Mapping):
            raise ModelError(
                "A recipe must be a mapping of fields to values such as {'mix': 0.2}, got "
                f"{fields_to_change!r:.40}."
            )
        known = [field.name for field in fields(self)]
        for name in fields_to_change:
            if name not in known:
                raise ModelError(
                    f"A recipe has no field {name!r:.40}; its fields are {', '.join(known)}."
                )
        return replace(
            self,
            **{name: _to_python(value) for name, value in fields_to_change.items()},
        )

    def check_read(self, named: Iterable[str]) -> None:
        """Refuse fields that somebody named and this recipe does not read.

        Why it exists: a setting that changes nothing is believed to have been
        tried.  What a network's own recipe leaves over is nobody's mistake.

        Raises
        ------
        ModelError
            If there is one.

        Examples
        --------
        >>> recipe = Recipe("sgd", 1.0, "inverse", "squared", 50, 600, momentum=0.9)
        >>> recipe.check_read(["momentum", "batch_size"])
        """
        for name in named:
            reader, wanted = _READ_WITH.get(name, (name, getattr(self, name)))
            found = getattr(self, reader)
            if getattr(self, name) and found != wanted:
                raise ModelError(
                    f"The {name.replace('_', ' ')} of a recipe is read only with {reader} "
                    f"{wanted}, and its {reader} is {found}; change that or leave "
                    f"{name} out."
                )

    def __post_init__(self) -> None:
        """Refuse values that no training can use."""
        for name, value in asdict(self).items():
            if value is None and name in _OPTIONAL:
                continue
            wanted = _requirement(name, value)
            if wanted is not None:
                said = "epochs" if name == "passes" else name.replace("_", " ")
                hint = _hint(name, value)
                raise ModelError(f"The {said} must be {wanted}, got {value!r:.40}{hint}.")


def _to_python(value: Any) -> Any:
    """Return a number of NumPy as one of Python, so that a recipe can be saved."""
    return value.item() if type(value).__module__ == "numpy" and value.ndim == 0 else value


def _requirement(name: str, value: Any) -> str | None:
    """Say what a field wants; None if the value is that."""
    if name in _CHOICES:
        choices = _CHOICES[name]
        # 1 equals True but is not meant by anybody who writes it
        fits = any(type(value) is type(each) and value == each for each in choices)
        return None if fits else f"one of {', '.join(map(str, choices))}"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if name in _COUNTS:
        fits = number and isinstance(value, Integral) and 1 <= int(value) <= _MOST_COUNT
        return None if fits else f"a whole number from 1 to {_MOST_COUNT}"
    if name in _ABOVE_ZERO:
        fits = number and 0 < value <= _HIGHEST
        return None if fits else f"a number above 0, at most {_HIGHEST:g}"
    if name in _BELOW_ONE:
        return None if number and 0 <= value < 1 else "a number from 0 to below 1"
    return None if number and 0 <= value <= _MOST else f"a number from 0 to {_MOST:.0f}"


def _hint(name: str, value: Any) -> str:
    """Say how to write a number that is text, as YAML's 1e-3 without a point is."""
    try:
        number: float = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if name in _COUNTS and number.is_integer():
        number = int(number)
    if _requirement(name, number) is not None:
        return ""
    said = repr(number)
    return f"; write it as {said if '.' in said else said.replace('e', '.0e')}"
