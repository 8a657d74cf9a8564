"""How much memory a network works with, measured without doing the work."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import finalize

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["working_set"]

Net = TypeVar("Net", bound=nn.Module)


def working_set(
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
    >>> working_set(layer, lambda net, values: net(values).relu_(), 1, 3, 10, 10)
    8800
    """
    parts = [*network.parameters(), *network.buffers()]
    shadows = {id(part): _shadow(part) for part in parts}
    without_memory = copy.deepcopy(network, shadows)
    with torch.inference_mode(), _Watch() as watch:
        work(without_memory, torch.empty(shape, device="meta"))
    most: int = watch.most
    return most


def _shadow(part: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same kind without memory."""
    bare = part.detach().to("meta")
    if isinstance(part, nn.Parameter):
        return nn.Parameter(bare, requires_grad=part.requires_grad)
    return bare


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
        own = _bytes((args[0], answer)) if "conv" in str(operation) else 0
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


def _bytes(values: Any) -> int:
    return sum(tensor.nbytes for tensor in _tensors(values))
