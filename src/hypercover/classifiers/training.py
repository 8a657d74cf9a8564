"""Training: the loop that fits a network to windows, and nothing else."""

import logging
import math
import time
from collections.abc import Callable

import torch
from torch import nn

from hypercover.classifiers.augmentation import smoothed, turned
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.stack import Feed

__all__ = ["Epoch", "train"]

Epoch = dict[str, float]
"""``epoch`` (from 1), ``loss``, ``accuracy`` on the training batches as the
network saw them, and ``seconds`` since training began."""

_RISE = 0.2
"""Share of the steps over which ``one-cycle`` rises."""
_LEAST = 1e-3
"""Share of the highest learning rate at which ``one-cycle`` ends."""

_log = logging.getLogger(__name__)


def train(
    network: nn.Module,
    feed: Feed,
    targets: torch.Tensor,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    progress: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Fit a network in place and return one record per epoch.

    Parameters
    ----------
    network : Module
        On its device, with weights drawn.
    feed : Feed
        The training windows.
    targets : tensor (n,) of int
        Position of each window's class.
    recipe : Recipe
    generator : Generator on the CPU
        Draws the order and the symmetries: all there is of chance.
    progress : callable, optional
        Is given the record of each epoch when it ends, with ``epochs``, their
        number.
    """
    return Training(network, feed, targets, recipe, generator).run(progress)


class Training:
    """One training under way: network, optimiser and schedule."""

    def __init__(
        self,
        network: nn.Module,
        feed: Feed,
        targets: torch.Tensor,
        recipe: Recipe,
        generator: torch.Generator,
    ) -> None:
        self.network, self.feed, self.targets = network, feed, targets
        self.recipe, self.generator = recipe, generator
        self.device = next(network.parameters()).device
        self.classes = int(targets.max()) + 1
        self.epochs = recipe.epochs(len(feed))
        self.steps = self.epochs * len(_cut(torch.arange(len(feed)), recipe.batch_size))
        self.optimiser = _optimiser(network, recipe)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, _share(recipe, self.steps)
        )

    def run(self, progress: Callable[[Epoch], None] | None) -> list[Epoch]:
        """Pass over the windows as often as the recipe says."""
        history: list[Epoch] = []
        began = time.perf_counter()
        self.network.train()
        for epoch in range(1, self.epochs + 1):
            loss, right = self._pass()
            record: Epoch = {
                "epoch": epoch,
                "loss": loss / len(self.feed),
                "accuracy": right / len(self.feed),
                "seconds": time.perf_counter() - began,
            }
            history.append(record)
            _log.debug("epoch %(epoch)d loss %(loss).4f accuracy %(accuracy).4f", record)
            if progress is not None:
                progress({**record, "epochs": self.epochs})
        self.network.eval()
        return history

    def _pass(self) -> tuple[float, float]:
        """Take one step per batch; return summed loss and count of right answers."""
        loss_sum = right = 0.0
        order = torch.randperm(len(self.feed), generator=self.generator)
        for which in _cut(order, self.recipe.batch_size):
            windows, wanted = self._batch(which)
            scores = self.network(windows)[:, :, 0, 0]
            loss = _LOSSES[self.recipe.loss](scores, wanted)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            loss_sum += float(loss.detach()) * len(which)
            right += float((scores.detach().argmax(1) == wanted.argmax(1)).sum())
        return loss_sum, right

    def _batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented windows and wanted probabilities on the device."""
        wanted = smoothed(self.targets[which], self.classes, self.recipe.label_smoothing)
        windows = self.feed.batch(which)
        if self.recipe.symmetries:
            symmetry = int(torch.randint(8, (), generator=self.generator))
            windows = turned(windows, symmetry)
        return windows.to(self.device), wanted.to(self.device)


def _cut(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Cut an order into batches; a last single window joins the batch before it."""
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1 < size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _squared(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the probabilities over windows and classes."""
    return nn.functional.mse_loss(scores.softmax(1), wanted)


def _cross_entropy(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy against wanted probabilities."""
    return nn.functional.cross_entropy(scores, wanted)


_LOSSES = {"squared": _squared, "cross-entropy": _cross_entropy}


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all weights of a network."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), lr=recipe.learning_rate)
    return torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _share(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return the share of the highest learning rate to use at each step (from 0)."""
    if recipe.schedule == "inverse":
        return lambda step: 1 / (1 + recipe.decay * step)
    rise = max(1, round(_RISE * steps))
    fall = max(1, steps - rise)

    def one_cycle(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return max(_LEAST, 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / fall)))

    return one_cycle
