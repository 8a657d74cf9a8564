"""The processes that train one network together."""

from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hypercover.errors import ModelError

__all__ = ["ProcessGroup"]


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this one is, and what they say to each other.

    Why it exists: training is written once; alone, every word here is for
    nothing.  What is said is said by all processes at the same place.
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    @classmethod
    def here(cls) -> "ProcessGroup":
        """Return the group that was initialised before, or this process alone.

        >>> ProcessGroup.here()
        ProcessGroup(rank=0, size=1)
        """
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return the positions of this process among so many; shares differ by 1 at most.

        >>> [list(ProcessGroup(rank, 2).share(5)) for rank in (0, 1)]
        [[0, 1], [2, 3, 4]]
        """
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def check(self, batch_size: int, windows: int | None, least: int) -> None:
        """Refuse batches that leave a process fewer windows than a network takes.

        ``windows``: all there are to learn from, where that is known.

        Raises
        ------
        ModelError
            If the batches, or all windows together, are too few.
        """
        needed = self.size * least
        if self.size == 1 or min(batch_size, windows or batch_size) >= needed:
            return
        found = f"a batch size of {batch_size}"
        if batch_size >= needed:
            found = f"{windows} training windows"
        raise ModelError(
            f"{self.size} processes share every batch and need {needed} windows for it, "
            f"got {found}; use fewer processes or "
            f"{'larger batches' if batch_size < needed else 'more training pixels'}."
        )

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network with the mean of all processes' gradients after each step."""
        if self.size == 1:
            return network
        device = next(network.parameters()).device
        return DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None
        )

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes."""
        values = values.clone()
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def said(self, number: int, device: torch.device) -> int:
        """Return the number that the first process says."""
        if self.size == 1:
            return number
        told = torch.tensor([number], dtype=torch.int64, device=device)
        distributed.broadcast(told, src=0)
        return int(told)

    def any(self, said: bool, device: torch.device) -> bool:
        """Tell whether one of the processes at least says yes."""
        if self.size == 1:
            return said
        told = torch.tensor([int(said)], dtype=torch.int64, device=device)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return bool(told)

    def same_buffers(self, network: nn.Module) -> None:
        """Give every process the statistics of normalisation that the first has."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)
