"""Prediction by a trained network: window by window, or a whole tile in one pass."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from hypercover.classifiers.cnn.window_loader import (
    Stack,
    check_finite,
    chunks,
    read_windows,
)
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError, RunError

__all__ = [
    "deterministic_float32",
    "peak_memory",
    "predict_tile",
    "predict_windows",
    "resolve_device",
]

Net = TypeVar("Net", bound=nn.Module)


def peak_memory(
    network: Net, work: Callable[[Net, torch.Tensor], torch.Tensor], *shape: int
) -> int:
    """Return the bytes that ``work`` takes at its worst for an input of a shape.

    Why it exists: what a network keeps between its layers is its own affair,
    from 1 KiB to 200 KiB a pixel, and a tile must fit the memory before it is
    tried.  The work is done on PyTorch's ``meta`` device, which follows every
    tensor and holds none; the weights are not counted.

    Parameters
    ----------
    network : module
    work : callable
        Given the network and its input, it returns the answer.
    shape : int
        Shape of the input, float32.

    Examples
    --------
    >>> layer = nn.Conv2d(3, 8, 1, bias=False)
    >>> peak_memory(layer, lambda net, values: net(values).relu_(), 1, 3, 10, 10)
    8800
    """
    parts = [*network.parameters(), *network.buffers()]
    shadows = {id(part): _to_meta(part) for part in parts}
    without_memory = copy.deepcopy(network, shadows)
    with torch.inference_mode(), _MemoryTracker() as watch:
        work(without_memory, torch.empty(shape, device="meta"))
    most: int = watch.most
    return most


def _to_meta(part: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same kind without memory."""
    bare = part.detach().to("meta")
    if isinstance(part, nn.Parameter):
        return nn.Parameter(bare, requires_grad=part.requires_grad)
    return bare


class _MemoryTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums up the tensors that are alive, after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most: int = 0
        self._alive: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        answer = operation(*args, **(kwargs or {}))
        for tensor in _tensors(answer):
            self._count(tensor.untyped_storage())
        # The library may lay out anew what a convolution takes and gives.
        own = _total_bytes((args[0], answer)) if "conv" in str(operation) else 0
        self.most = max(self.most, self._alive + own)
        return answer

    def _count(self, storage: torch.UntypedStorage) -> None:
        """Count a piece of memory once, until nobody holds it."""
        place, size = id(storage), storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        self._alive += size
        finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._alive -= size


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _total_bytes(values: Any) -> int:
    return sum(tensor.nbytes for tensor in _tensors(values))


_SQUARE_SIDES = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Sides of the squares in which a tile is passed, in pixels."""

_SMALL = 32
"""Side below which the halo costs more than the cache saves."""

_SQUARE = 16
"""Side of a square that is predicted window by window: 256 windows at once."""

_CACHE_BYTES = 2**26
"""Bytes of activations that caches and memory used before still hold."""

_GPU_SHARE = 0.8
"""Share of a GPU's free memory that is used."""


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes a GPU where there is one.

    Raises
    ------
    ModelError
        If the name is unknown or there is no GPU to be had.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"The device must be auto, cpu or cuda, got {name!r}.")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ModelError(
            "The device cuda was asked for but PyTorch finds no usable GPU here; "
            "use device auto or cpu."
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


@contextmanager
def deterministic_float32() -> Iterator[None]:
    """Keep a GPU to repeatable kernels in full float32, so that answers agree."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def predict_windows(
    network: nn.Module, scaling: Scaling, stack: Stack
) -> npt.NDArray[np.float64]:
    """Return probabilities (n, class) of a stack (n, band, row, col).

    Raises
    ------
    ModelError
        If a value is not finite.
    RunError
        If a probability is not.
    """
    parts = []
    for piece in chunks(stack):
        windows = read_windows(stack, piece)
        check_finite(windows)
        # what a network makes of a window may be a hundred times as large
        for first in range(0, len(windows), _SQUARE**2):
            scores = _window_scores(network, scaling, windows[first : first + _SQUARE**2])
            parts.append(scores[:, :, 0, 0].double().softmax(1).numpy())
            _check_probabilities(parts[-1])
    return np.concatenate(parts)


def predict_tile(
    network: Network,
    scaling: Scaling,
    tile: npt.NDArray[np.generic],
    window: int,
    memory: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return probabilities (class, row, col) of a tile (band, row, col) with its margin.

    The tile is passed in squares: their side is the greatest of which all that
    the network keeps stays near the processor, or smaller where memory asks.

    Parameters
    ----------
    network, scaling
    tile : array (band, row + window - 1, col + window - 1)
        Raw values.
    window : int
        Side of a window.
    memory : int, optional
        Bytes a pass may take besides the tile and its answers.

    Raises
    ------
    ModelError
        If a value is not finite or the memory is too little for one window.
    RunError
        If a probability is no number.
    """
    check_finite(tile)
    device, margin = next(network.parameters()).device, window - 1
    side = square_side(network, scaling, window, memory)
    shape = (tile.shape[1] - margin, tile.shape[2] - margin)
    squares = []
    with torch.inference_mode(), deterministic_float32():
        for row, col in product(*(range(0, size, side) for size in shape)):
            part = tile[None, :, row : row + side + margin, col : col + side + margin]
            # A GPU computes while the next square is scaled.
            scaled = scaling.apply(part).to(device, non_blocking=True)
            squares.append((row, col, score_square(network, scaled, window)[0].softmax(0)))
        probabilities = np.empty((len(squares[0][-1]), *shape), np.float32)
        for row, col, found in squares:
            probabilities[:, row : row + side, col : col + side] = found.cpu().numpy()
    _check_probabilities(probabilities)
    return probabilities


def _check_probabilities(probabilities: npt.NDArray[np.floating]) -> None:
    """Refuse answers that are no numbers: a map would show the first class there."""
    if not np.isfinite(probabilities).all():
        raise RunError(
            "The network's answers are not numbers: its weights or the values it is given "
            "are too large; train it with a lower learning rate, or mask such pixels."
        )


def square_side(
    network: Network, scaling: Scaling, window: int, memory: int | None = None
) -> int:
    """Return the side of the squares in which a tile is passed, in pixels.

    Raises
    ------
    ModelError
        If the memory is too little for one window.
    """
    device = next(network.parameters()).device
    free: float = inf if memory is None else memory
    near: float = _CACHE_BYTES
    if device.type == "cuda":
        free = near = _GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    needed = 0
    for side in (
        _SQUARE_SIDES
        if network.spatially_valid
        else _SQUARE_SIDES[_SQUARE_SIDES.index(_SQUARE) :]
    ):
        needed = forward_memory(network, scaling, window, side)
        if needed <= (free if side <= _SMALL else min(free, near)):
            return side
    raise ModelError(
        f"Predicting a single window takes {needed / 2**20:,.1f} MiB, and "
        f"{free / 2**20:,.1f} MiB are left for it; allow more memory."
    )


def forward_memory(network: Network, scaling: Scaling, window: int, side: int) -> int:
    """Return the bytes that a pass over side × side pixels takes at its worst."""
    reach = side + window - 1
    raw = 4 * reach**2 * (scaling.bands + scaling.outputs)

    def work(shadow: Network, scaled: torch.Tensor) -> torch.Tensor:
        return score_square(shadow, scaled, window).softmax(1)

    return raw + peak_memory(network, work, 1, scaling.outputs, reach, reach)


def score_square(network: Network, scaled: torch.Tensor, window: int) -> torch.Tensor:
    """Return scores (1, class, row, col) of scaled values (1, value, row, col)."""
    if network.spatially_valid:
        return network.score_tile(scaled)
    windows = scaled[0].unfold(1, window, 1).unfold(2, window, 1)
    values, rows, cols, *_ = windows.shape
    stack = windows.permute(1, 2, 0, 3, 4).reshape(-1, values, window, window)
    scores: torch.Tensor = network(stack)[:, :, 0, 0]
    return scores.T.reshape(1, -1, rows, cols)


def _window_scores(
    network: nn.Module, scaling: Scaling, stack: npt.NDArray[np.generic]
) -> torch.Tensor:
    """Return the scores (n, class, row, col) of raw values, on the CPU."""
    device = next(network.parameters()).device
    with torch.inference_mode(), deterministic_float32():
        scores: torch.Tensor = network(scaling.apply(stack).to(device))
        return scores.cpu()
