"""Prediction by a trained network: window by window, or a whole tile in one pass."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from math import inf
from typing import Any, TypeVar
from weakref import finalize

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hypercover.classifiers.cnn.window_loader import Stack, check_finite, finite_windows
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError, RunError
from hypercover.types import Array, Floats, Singles

_SQUARE_SIDES = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Sides of the squares into which a tile is split, in pixels."""

_SMALL = 32
"""Side below which the margin costs more than the cache saves."""

_SQUARE = 16
"""Side of a square predicted window by window: 256 windows at once."""

_CACHE_BYTES = 2**26
"""Bytes of activations for which caches and memory used before are enough."""

_GPU_SHARE = 0.8
"""Share of a GPU's free memory that is used."""

Net = TypeVar("Net", bound=nn.Module)


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the GPU if there is one.

    Raises
    ------
    ModelError
        If the name is unknown or there is no usable GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"The device must be auto, cpu or cuda, got {name!r}.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ModelError(
            "The device is cuda, but PyTorch finds no usable GPU here; use device auto or cpu."
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def deterministic_float32() -> AbstractContextManager[None]:
    """Restrict a GPU to deterministic kernels in full float32, in a context."""
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return context


def peak_memory(
    network: Net, forward: Callable[[Net, torch.Tensor], torch.Tensor], *shape: int
) -> int:
    """Return the peak memory in bytes of ``forward`` for an input of a shape.

    A network needs from 1 KiB to 200 KiB a pixel between its layers, and a tile must
    fit into memory before it is tried.  The work is done on PyTorch's ``meta`` device,
    which follows every tensor without allocating it; weights are not counted.

    Parameters
    ----------
    network : module
    forward : callable
        Given the network and its input, it returns the output.
    shape : int
        Shape of the input, float32.

    Examples
    --------
    >>> layer = nn.Conv2d(3, 8, 1, bias=False)
    >>> peak_memory(layer, lambda net, values: net(values).relu_(), 1, 3, 10, 10)
    8800
    """
    without_memory = copy.deepcopy(network).to("meta")
    with torch.inference_mode(), _MemoryTracker() as tracker:
        forward(without_memory, torch.empty(shape, device="meta"))
    return int(tracker.peak)


class _MemoryTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums up the live tensors after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._live_bytes: int = 0
        self._live: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key, size = id(storage), storage.nbytes()
            if key not in self._live:
                self._live.add(key)
                self._live_bytes += size
                finalize(storage, self._free, key, size)
        # the library may copy the input and the output of a convolution
        copied = _tensors((args[0], result)) if "conv" in str(operation) else []
        copies = sum(tensor.nbytes for tensor in copied)
        self.peak = max(self.peak, self._live_bytes + copies)
        return result

    def _free(self, key: int, size: int) -> None:
        self._live.discard(key)
        self._live_bytes -= size


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def predict_windows(network: nn.Module, scaling: Scaling, stack: Stack) -> Floats:
    """Return probabilities (n, class) of a stack (n, band, row, col).

    Raises
    ------
    ModelError
        If a value is not finite.
    RunError
        If a probability is not finite.
    """
    device = next(network.parameters()).device
    parts = []
    for windows in finite_windows(stack):
        # activations may be a hundred times as large as the windows
        for first in range(0, len(windows), _SQUARE**2):
            scaled = scaling.apply(windows[first : first + _SQUARE**2])
            with torch.inference_mode(), deterministic_float32():
                scores = network(scaled.to(device)).cpu()
            parts.append(scores[:, :, 0, 0].double().softmax(1).numpy())
            _check_probabilities(parts[-1])
    return np.concatenate(parts)


def predict_tile(
    network: Network, scaling: Scaling, tile: Array, window: int, memory: int | None = None
) -> Singles:
    """Return probabilities (class, row, col) of a tile (band, row, col) with its margin.

    The tile is predicted in squares, as large as the activations fit the cache, or
    smaller if the memory requires it.

    Parameters
    ----------
    network, scaling
    tile : array (band, row + window - 1, col + window - 1)
        Raw values.
    window : int
        Window size.
    memory : int, optional
        Bytes a forward pass may use besides the tile and its probabilities.

    Raises
    ------
    ModelError
        If a value is not finite or the memory is too little for one window.
    RunError
        If a probability is not finite.
    """
    check_finite(tile)
    device, margin = next(network.parameters()).device, window - 1
    side = square_side(network, scaling, window, memory)
    shape = (tile.shape[1] - margin, tile.shape[2] - margin)
    squares = []
    with torch.inference_mode(), deterministic_float32():
        for row, col in product(*(range(0, size, side) for size in shape)):
            square = tile[None, :, row : row + side + margin, col : col + side + margin]
            # a GPU computes while the next square is scaled
            scaled = scaling.apply(square).to(device, non_blocking=True)
            scores = score_square(network, scaled, window)
            squares.append((row, col, scores[0].softmax(0)))
        probabilities = np.empty((len(squares[0][-1]), *shape), np.float32)
        for row, col, part in squares:
            probabilities[:, row : row + side, col : col + side] = part.cpu().numpy()
    _check_probabilities(probabilities)
    return probabilities


def _check_probabilities(probabilities: npt.NDArray[np.floating]) -> None:
    """Refuse NaN: a map would show the first class there."""
    if not np.isfinite(probabilities).all():
        raise RunError(
            "The network's probabilities are not finite: its weights or its input are too "
            "large; train it with a lower learning rate, or mask such pixels."
        )


def square_side(
    network: Network, scaling: Scaling, window: int, memory: int | None = None
) -> int:
    """Return the side in pixels of the squares into which a tile is split.

    Raises
    ------
    ModelError
        If the memory is too little for one window.
    """
    device = next(network.parameters()).device
    available: float = inf if memory is None else memory
    cached: float = _CACHE_BYTES
    if device.type == "cuda":
        available = cached = _GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    needed = 0
    for side in _SQUARE_SIDES:
        if side > _SQUARE and not network.spatially_valid:
            continue
        needed = forward_memory(network, scaling, window, side)
        if needed <= (available if side <= _SMALL else min(available, cached)):
            return side
    raise ModelError(
        f"Predicting a single window needs {needed / 2**20:,.1f} MiB of memory, and there are "
        f"{available / 2**20:,.1f} MiB; allow more memory."
    )


def forward_memory(network: Network, scaling: Scaling, window: int, side: int) -> int:
    """Return the peak memory in bytes of predicting a square of side × side pixels."""
    full_side = side + window - 1
    raw = 4 * full_side**2 * (scaling.bands + scaling.outputs)

    def forward(network: Network, scaled: torch.Tensor) -> torch.Tensor:
        return score_square(network, scaled, window).softmax(1)

    shape = (1, scaling.outputs, full_side, full_side)
    return raw + peak_memory(network, forward, *shape)


def score_square(network: Network, scaled: torch.Tensor, window: int) -> torch.Tensor:
    """Return scores (1, class, row, col) of scaled values (1, value, row, col)."""
    if network.spatially_valid:
        return network.score_tile(scaled)
    windows = scaled[0].unfold(1, window, 1).unfold(2, window, 1)
    values, rows, cols, *_ = windows.shape
    stack = windows.permute(1, 2, 0, 3, 4).reshape(-1, values, window, window)
    scores: torch.Tensor = network(stack)[:, :, 0, 0]
    return scores.T.reshape(1, -1, rows, cols)
