"""What anyone who does tasks offers: this process, local processes, a cluster."""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import Failure

__all__ = ["Executor", "Notify", "State"]

Notify = Callable[[str, float, str], None]
"""Called with a task's name, the share done and what is being done."""


class State(Enum):
    """Where a task stands with an executor."""

    WAITING = "waiting"
    """Accepted, not begun."""
    RUNNING = "running"
    """Being done."""
    DONE = "done"
    """Its result is there."""
    FAILED = "failed"
    """It raised an error, or its process died more often than is tried."""
    CANCELLED = "cancelled"
    """Taken back."""


class Executor(Protocol):
    """Does tasks one knows to be ready; decides nothing about their order.

    Why it exists: an experiment runs unchanged on a laptop and on a cluster.
    """

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Get ready to do tasks of a plan in a run folder."""

    def submit(self, task: Task) -> None:
        """Accept a task whose needs are done."""

    def state(self, task: Task) -> State:
        """Say where a task that was submitted stands."""

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""

    def cancel(self, task: Task) -> None:
        """Take a task back, whether it waits or runs."""

    def logs(self, task: Task) -> str:
        """Return what a task printed."""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Work or wait for so long at most; return the tasks whose state changed."""

    def close(self) -> None:
        """End whatever still runs; only whole results stay."""
