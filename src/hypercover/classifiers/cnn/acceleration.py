"""A GPU's work of one batch, recorded once and replayed."""

import gc
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from hypercover.classifiers.cnn.inference import deterministic_float32
from hypercover.classifiers.networks.network import Dropout
from hypercover.errors import ModelError

__all__ = ["CUDAGraphStep", "check_compiler", "compile_network", "use_precision"]

_BFLOAT16_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""Functions of ``torch.cpu`` that tell of units for bfloat16."""

_MIN_COMPUTE_CAPABILITY = (8, 0)
"""Compute capability from which on a GPU has them."""


@contextmanager
def use_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in full float32, or where that is exact enough in bfloat16.

    Why it exists: units for bfloat16 multiply several times faster.  Weights,
    their gradients and the loss stay float32.  A processor without such units
    would be slower than in float32, so there it is refused.

    Parameters
    ----------
    precision : {"float32", "mixed"}
        ``float32``: repeatable and without TF32; ``mixed``: convolutions and
        matrix products in bfloat16.
    device : device
        Where the network is.

    Raises
    ------
    ModelError
        If the precision is unknown or the device has no units for bfloat16.

    Examples
    --------
    >>> layer, values = torch.nn.Linear(2, 2), torch.ones(1, 2)
    >>> with use_precision("float32", values.device):
    ...     layer(values).dtype
    torch.float32
    """
    if precision not in ("float32", "mixed"):
        raise ModelError(f"The precision must be float32 or mixed, got {precision!r:.40}.")
    mixed = precision == "mixed"
    if mixed and not _supports_bfloat16(device):
        raise ModelError(
            "The precision mixed computes in bfloat16, for which "
            f"{_describe_device(device)} has no units; use precision float32."
        )
    with (
        deterministic_float32(),
        torch.autocast(device.type, torch.bfloat16, enabled=mixed),
    ):
        yield


def _supports_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _MIN_COMPUTE_CAPABILITY
    # older releases of PyTorch lack one or the other
    return any(getattr(torch.cpu, name, bool)() for name in _BFLOAT16_CHECKS)


def _describe_device(device: torch.device) -> str:
    """Say what a device is."""
    if device.type == "cuda":
        return f"the GPU {torch.cuda.get_device_name(device)}"
    return "this processor"


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for the CPU where there is no C++ compiler.

    Raises
    ------
    ModelError
        If there is none.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ModelError(
            f"To compile a network for the CPU takes a C++ compiler, but {compiler} is not "
            "here; install g++ or leave compile out."
        )


def compile_network(network: nn.Module) -> nn.Module:
    """Return a network with the same weights whose layers are compiled when first used.

    Raises
    ------
    ModelError
        If it is on the CPU and there is no C++ compiler here.
    """
    check_compiler(next(network.parameters()).device)
    Dropout.stay_out()
    return cast(nn.Module, torch.compile(network, dynamic=False))


_WARM_UP_BATCHES = 3
"""Batches of a shape that pass as usual before one is recorded: libraries choose
their kernels then."""

_log = logging.getLogger(__name__)


class CUDAGraphStep:
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
        self._recorded: dict[torch.Size, _CapturedGraph] = {}

    def __call__(self, windows: torch.Tensor, wanted: torch.Tensor) -> None:
        """Add the gradient of a batch."""
        shape = windows.shape
        if shape not in self._recorded:
            self._seen[shape] += 1
            if self._seen[shape] <= _WARM_UP_BATCHES:
                self._pass_through(windows, wanted)
                return
            self._recorded[shape] = self._record(windows, wanted)
        self._recorded[shape].replay(windows, wanted)

    def _record(self, windows: torch.Tensor, wanted: torch.Tensor) -> "_CapturedGraph":
        """Record the work of a batch of this shape, without doing it."""
        given, asked = windows.clone(), wanted.clone()
        graph = torch.cuda.CUDAGraph()
        # what an earlier training left must not be freed while the GPU listens
        gc.collect()
        with torch.cuda.graph(graph):
            self._pass_through(given, asked)
        _log.debug("recorded the work of %d windows", len(windows))
        gradients = [weight.grad for weight in self._weights]
        return _CapturedGraph(graph, given, asked, self._weights, gradients)


class _CapturedGraph:
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
