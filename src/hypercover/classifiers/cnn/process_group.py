"""The processes that train one network together."""

from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hypercover.errors import ModelError


@dataclass(frozen=True)
class ProcessGroup:
    """The rank and world size of this process, and the collectives of a training.

    With one process every collective does nothing, so training is written once.  With
    more, all processes must call the same collective at the same point.
    """

    rank: int = 0
    """Number of this process, from 0."""
    world_size: int = 1
    """Number of processes."""

    @classmethod
    def current(cls) -> "ProcessGroup":
        """Return the process group initialised by the caller, or this process alone.

        >>> ProcessGroup.current()
        ProcessGroup(rank=0, world_size=1)
        """
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def shard(self, count: int) -> range:
        """Return this process's share of ``count`` positions; shares differ by at most 1.

        >>> [list(ProcessGroup(rank, 2).shard(5)) for rank in (0, 1)]
        [[0, 1], [2, 3, 4]]
        """
        first, stop = (
            rank * count // self.world_size for rank in (self.rank, self.rank + 1)
        )
        return range(first, stop)

    def check_batch_size(
        self, batch_size: int, windows: int | None, minimum_batch: int
    ) -> None:
        """Refuse batches that leave a process fewer windows than a network needs.

        ``windows`` is the number of training windows, None if it is not known yet.

        Raises
        ------
        ModelError
            If the batches, or all windows together, are too few.
        """
        needed = self.world_size * minimum_batch
        if self.world_size == 1 or min(batch_size, windows or batch_size) >= needed:
            return
        if batch_size < needed:
            available, remedy = f"a batch size of {batch_size}", "larger batches"
        else:
            available, remedy = f"{windows} training windows", "more training pixels"
        raise ModelError(
            f"{self.world_size} processes share every batch and need {needed} windows for "
            f"it, got {available}; use fewer processes or {remedy}."
        )

    def data_parallel(self, network: nn.Module) -> nn.Module:
        """Return the network with its gradients averaged over all processes."""
        if self.world_size == 1:
            return network
        device = next(network.parameters()).device
        return DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None
        )

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes."""
        values = values.clone()
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def broadcast(self, number: int, device: torch.device) -> int:
        """Return the number of the first process."""
        if self.world_size == 1:
            return number
        value = torch.tensor([number], dtype=torch.int64, device=device)
        distributed.broadcast(value, src=0)
        return int(value)

    def any(self, condition: bool, device: torch.device) -> bool:
        """Tell whether the condition holds in at least one process."""
        if self.world_size == 1:
            return condition
        return bool(self.sum(torch.tensor([int(condition)], device=device)))

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Give every process the first one's running statistics of normalisation."""
        if self.world_size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)
