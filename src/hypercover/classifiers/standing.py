"""Where a training stands: everything it needs to go on from there."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.optimiser import memory, memory_shapes, optimiser_of, remember
from hypercover.classifiers.saved import checked_history
from hypercover.errors import ModelError

__all__ = ["Epoch", "Standing"]

Epoch = dict[str, float]
"""Record of an epoch by name; ``CNNClassifier.history_`` says what is in it."""

Tensors = dict[str, torch.Tensor]


@dataclass(eq=False)
class Standing:
    """All that changes while a network is trained."""

    network: nn.Module
    recipe: Recipe
    generator: torch.Generator
    """Draws the order and the augmentation: all there is of chance."""
    order: torch.Tensor
    """Order of the windows in the present epoch (n,)."""
    totals: torch.Tensor
    """Summed loss, right answers and windows of the present epoch (3,), float64."""
    step: int = 0
    """Steps taken."""
    batch: int = 0
    """Batches of the present epoch that were seen; 0: no order was drawn yet."""
    history: list[Epoch] = field(default_factory=list)
    """Records of the epochs that ended."""

    def __post_init__(self) -> None:
        """Begin: an optimiser without memory, and no weights better than these."""
        self.optimiser = optimiser_of(self.network, self.recipe)
        self.best: Tensors = {}
        if self.recipe.patience is not None:
            self.keep_best()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds that were spent on it, over all interruptions."""
        return time.perf_counter() - self._began

    def keep_best(self) -> None:
        """Keep a copy of the present weights as the best."""
        state = self.network.state_dict()
        self.best = {name: value.clone() for name, value in state.items()}

    def packed(self) -> tuple[dict[str, Any], Tensors]:
        """Return it as JSON values and tensors by name."""
        values = {
            "step": self.step,
            "batch": self.batch,
            "history": self.history,
            "seconds": self.seconds,
        }
        return values, {
            **_named("network", self.network.state_dict()),
            **_named("optimiser", memory(self.optimiser)),
            **_named("best", self.best),
            "order": self.order,
            "totals": self.totals,
            "generator": self.generator.get_state(),
        }

    def unpack(self, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Go to where ``packed`` was called; nothing is changed unless all of it fits.

        Raises
        ------
        ModelError
            If anything is missing or has another type, shape or range.
        """
        self._check_tensors(tensors)
        step, batch = (_count(values, name) for name in ("step", "batch"))
        history = checked_history(values.get("history"))
        seconds = values.get("seconds")
        if not isinstance(seconds, float) or not 0 <= seconds < 1e12:
            raise ModelError("its seconds are no number")
        self._set_generator(tensors["generator"])
        self.step, self.batch, self.history = step, batch, history
        self._began = time.perf_counter() - seconds
        self.order = tensors["order"]
        self.totals.copy_(tensors["totals"])
        self.network.load_state_dict(_under("network", tensors))
        device = self.totals.device
        best = _under("best", tensors)
        self.best = {name: value.to(device) for name, value in best.items()}
        remember(self.optimiser, _under("optimiser", tensors))

    def _check_tensors(self, tensors: Tensors) -> None:
        """Refuse tensors that are not those of this training."""
        _, own = self.packed()
        expected = {
            name: (tuple(value.shape), value.dtype)
            for name, value in own.items()
            if not name.startswith("optimiser.")
        }
        for name, shape in memory_shapes(self.network, self.recipe).items():
            expected[f"optimiser.{name}"] = (shape, torch.float32)
        found = {name: (tuple(each.shape), each.dtype) for name, each in tensors.items()}
        if found != expected:
            raise ModelError("its tensors are not those of this training")
        if not torch.equal(tensors["order"].sort().values, torch.arange(len(self.order))):
            raise ModelError("its order of the windows is none")

    def _set_generator(self, state: torch.Tensor) -> None:
        try:
            self.generator.set_state(state)
        except RuntimeError as error:
            raise ModelError("its generator of chance has no valid state") from error


def _named(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or not 0 <= value < 2**62:
        raise ModelError(f"its {name} is no count")
    return value
