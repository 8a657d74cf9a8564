"""Doing tasks in this very process, one after another: a debugger works."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hypercover.jobs.executor import Notify, State
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import Failure, TaskFiles
from hypercover.jobs.work import do_task

__all__ = ["InProcessExecutor"]


class InProcessExecutor:
    """Does one task when it is waited for, the first of the plan that is ready."""

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Get ready to do tasks of a plan in a run folder."""
        self._plan, self._folder, self._notify = plan, folder, notify
        self._queue: deque[Task] = deque()
        self._states: dict[str, State] = {}
        self._failures: dict[str, Failure] = {}

    def submit(self, task: Task) -> None:
        """Accept a task; it is done in a later call of `wait`."""
        TaskFiles(self._folder, task.name).log.unlink(missing_ok=True)
        self._queue.append(task)
        self._states[task.name] = State.WAITING

    def state(self, task: Task) -> State:
        """Say where a task that was submitted stands."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""
        return self._failures.get(task.name)

    def cancel(self, task: Task) -> None:
        """Take a task back if it still waits."""
        if self._states.get(task.name) is State.WAITING:
            self._queue.remove(task)
            self._states[task.name] = State.CANCELLED

    def logs(self, task: Task) -> str:
        """Return the traceback of a failed task; what it printed went to the console."""
        found = TaskFiles(self._folder, task.name).read_failure()
        return found.trace if found else ""

    def wait(self, seconds: float) -> Sequence[Task]:
        """Do the next task, however long it takes."""
        if not self._queue:
            return []
        task = min(self._queue, key=lambda one: self._plan.positions[one.name])
        self._queue.remove(task)
        self._states[task.name] = State.RUNNING
        self._notify(task.name, 0.0, "")
        report = partial(self._notify, task.name)
        failure = do_task(self._plan, task.name, self._folder, report=report)
        if failure is not None:
            self._failures[task.name] = failure
        self._states[task.name] = State.FAILED if failure else State.DONE
        return [task]

    def close(self) -> None:
        """Forget the tasks that still wait."""
        self._queue.clear()
