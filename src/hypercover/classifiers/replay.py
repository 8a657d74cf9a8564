"""A GPU's work of one batch, recorded once and replayed."""

import gc
import logging
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn

__all__ = ["Replay"]

_WARM = 3
"""Batches of a shape that pass as usual before one is recorded: libraries choose
their kernels then."""

_log = logging.getLogger(__name__)


class Replay:
    """Adds the gradients of batches, by recordings of the GPU's work.

    Why it exists: a batch of small windows is a hundred pieces of work for a GPU,
    each done before the processor has asked for the next.  A recording asks for
    all of them at once, with the same numbers.

    Parameters
    ----------
    pass_through : callable
        Given windows and wanted probabilities, runs forward and backward; what it
        leaves is gradients and sums in tensors that stay.
    network : Module
        Whose gradients these are; all None before each call.
    """

    def __init__(
        self,
        pass_through: Callable[[torch.Tensor, torch.Tensor], None],
        network: nn.Module,
    ) -> None:
        self._pass_through = pass_through
        self._weights = list(network.parameters())
        self._seen: Counter[torch.Size] = Counter()
        self._recorded: dict[torch.Size, _Recording] = {}

    def __call__(self, windows: torch.Tensor, wanted: torch.Tensor) -> None:
        """Add the gradient of a batch."""
        shape = windows.shape
        if shape not in self._recorded:
            self._seen[shape] += 1
            if self._seen[shape] <= _WARM:
                self._pass_through(windows, wanted)
                return
            self._recorded[shape] = self._record(windows, wanted)
        self._recorded[shape].replay(windows, wanted)

    def _record(self, windows: torch.Tensor, wanted: torch.Tensor) -> "_Recording":
        """Record the work of a batch of this shape, without doing it."""
        given, asked = windows.clone(), wanted.clone()
        graph = torch.cuda.CUDAGraph()
        # what an earlier training left must not be freed while the GPU listens
        gc.collect()
        with torch.cuda.graph(graph):
            self._pass_through(given, asked)
        _log.debug("recorded the work of %d windows", len(windows))
        gradients = [weight.grad for weight in self._weights]
        return _Recording(graph, given, asked, self._weights, gradients)


class _Recording:
    """The recorded work, the tensors it reads, and the gradients it writes."""

    def __init__(
        self,
        graph: torch.cuda.CUDAGraph,
        given: torch.Tensor,
        asked: torch.Tensor,
        weights: list[nn.Parameter],
        gradients: list[torch.Tensor | None],
    ) -> None:
        self._graph, self._given, self._asked = graph, given, asked
        self._pairs = list(zip(weights, gradients, strict=True))

    def replay(self, windows: torch.Tensor, wanted: torch.Tensor) -> None:
        """Do the work on other windows."""
        self._given.copy_(windows)
        self._asked.copy_(wanted)
        self._graph.replay()
        for weight, gradient in self._pairs:
            weight.grad = gradient
