"""Faster training: mixed precision, compilation and CUDA graphs."""

import gc
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from hypercover.classifiers.cnn.inference import deterministic_float32
from hypercover.classifiers.networks.network import Dropout
from hypercover.errors import ModelError

_BFLOAT16_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""Functions of ``torch.cpu`` that look for bfloat16 instructions."""

_MIN_COMPUTE_CAPABILITY = (8, 0)
"""First compute capability of GPUs with bfloat16 units."""

_log = logging.getLogger(__name__)


@contextmanager
def use_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in full float32, or in mixed precision with bfloat16.

    In mixed precision convolutions and matrix products use bfloat16, several times
    faster; weights, their gradients and the loss stay float32.

    Parameters
    ----------
    precision : {"float32", "mixed"}
        ``float32`` is deterministic and without TF32.
    device : device
        Device of the network.

    Raises
    ------
    ModelError
        If the precision is unknown or the device has no bfloat16 units.

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
        name = "this processor"
        if device.type == "cuda":
            name = f"the GPU {torch.cuda.get_device_name(device)}"
        raise ModelError(
            f"Mixed precision needs bfloat16, which {name} does not support; use precision float32."
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
    # older releases of PyTorch have only one of them
    return any(getattr(torch.cpu, name, bool)() for name in _BFLOAT16_CHECKS)


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for the CPU without a C++ compiler.

    Raises
    ------
    ModelError
        If no compiler is installed.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ModelError(
            f"Compiling for the CPU needs a C++ compiler, but {compiler} was not found; "
            "install g++."
        )


def compile_network(network: nn.Module) -> nn.Module:
    """Return the network compiled at first use, sharing its weights.

    Raises
    ------
    ModelError
        If it is on the CPU and no C++ compiler is installed.
    """
    check_compiler(next(network.parameters()).device)
    Dropout.exclude_from_compilation()
    return cast(nn.Module, torch.compile(network, dynamic=False))


_WARM_UP_BATCHES = 3
"""Batches of a shape computed as usual before one is captured: libraries choose their
kernels then."""

Step = Callable[[torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class _CapturedGraph:
    """A CUDA graph, the tensors it reads, and the gradients it writes."""

    graph: torch.cuda.CUDAGraph
    windows: torch.Tensor
    targets: torch.Tensor
    gradients: list[torch.Tensor | None]


class CUDAGraphStep:
    """Forward and backward passes, captured as CUDA graphs and replayed.

    A batch of small windows is a hundred kernels, each done before the processor has
    launched the next.  A graph launches all of them at once, with the same numbers.

    Parameters
    ----------
    step : callable
        Given windows and target probabilities, it passes forward and backward, and
        leaves its results in gradients and tensors that stay allocated.
    network : Module
        Network of the gradients; all of them are None before each call.
    """

    def __init__(self, step: Step, network: nn.Module) -> None:
        self._step = step
        self._weights = list(network.parameters())
        self._seen: Counter[torch.Size] = Counter()
        self._captured: dict[torch.Size, _CapturedGraph] = {}

    def __call__(self, windows: torch.Tensor, targets: torch.Tensor) -> None:
        """Add the gradient of a batch."""
        shape = windows.shape
        if shape not in self._captured:
            self._seen[shape] += 1
            if self._seen[shape] <= _WARM_UP_BATCHES:
                self._step(windows, targets)
                return
            self._captured[shape] = self._capture(windows, targets)
        captured = self._captured[shape]
        captured.windows.copy_(windows)
        captured.targets.copy_(targets)
        captured.graph.replay()
        for weight, gradient in zip(self._weights, captured.gradients, strict=True):
            weight.grad = gradient

    def _capture(self, windows: torch.Tensor, targets: torch.Tensor) -> _CapturedGraph:
        """Capture the step for batches of this shape, without running it."""
        windows, targets = windows.clone(), targets.clone()
        graph = torch.cuda.CUDAGraph()
        # what an earlier training left must not be freed during the capture
        gc.collect()
        with torch.cuda.graph(graph):
            self._step(windows, targets)
        _log.debug("captured a CUDA graph for %d windows", len(windows))
        gradients = [weight.grad for weight in self._weights]
        return _CapturedGraph(graph, windows, targets, gradients)
