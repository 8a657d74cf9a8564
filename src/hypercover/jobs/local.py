"""Doing tasks in processes of this machine, several at a time.

Each process serves one task after another, so that imports are paid once.  A
process that dies costs its task one more try; when this process dies, the
others end with it.
"""

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypercover.errors import CallError
from hypercover.files import explained, open_to_append
from hypercover.jobs.executor import Notify, TaskState
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import Failure, TaskFiles

__all__ = ["EXIT_STOPPED", "LocalExecutor", "cores", "thread_limits"]

_PROGRAM = "hypercover.jobs.worker"
_TRIES = 2
EXIT_STOPPED = 75
"""Exit code of a process whose task was stopped on request and can go on (EX_TEMPFAIL)."""
_GRACE = 3.0
"""Seconds a process is given to end by itself."""
_LOOK = 0.5
"""Seconds between looks at how far the tasks are."""
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "GDAL_NUM_THREADS",
)

_log = logging.getLogger(__name__)


def cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_limits(threads: int) -> dict[str, str]:
    """Return the variables that hold a process and its libraries to so many threads."""
    return dict.fromkeys(_THREADS, str(threads))


class _Process:
    """One worker process and the task it is on."""

    def __init__(self, registry: str, folder: Path, threads: int, log: Path) -> None:
        environment = os.environ | thread_limits(threads)
        with open_to_append(log) as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", _PROGRAM, registry, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                # Ctrl-C is for the parent to handle, and a group can be ended whole.
                start_new_session=True,
            )
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.names, self.answers = self.process.stdin, self.process.stdout
        os.set_blocking(self.answers.fileno(), False)
        self.task: Task | None = None
        self._rest = b""

    def give(self, task: Task) -> None:
        """Hand a task over; a process that is dead by now will be noticed later."""
        self.task = task
        with suppress(OSError):
            self.names.write(f"{task.name}\n".encode())
            self.names.flush()

    def answered(self) -> Sequence[dict[str, object]]:
        """Return the answers that have come in."""
        chunk = b""
        with suppress(OSError):
            chunk = self.answers.read() or b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def signal(self, number: int) -> None:
        """Send a signal to the process and all it has started."""
        with suppress(OSError):
            os.killpg(self.process.pid, number)

    def ask_to_stop(self) -> None:
        """Ask the process, and not what it has started, to stop where it can go on."""
        with suppress(OSError):
            self.process.terminate()

    def end(self) -> None:
        """Wait a little for the process to end, then make it."""
        try:
            # One that is on a task takes the end of its input for our death.
            if self.task is None:
                self._hang_up()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE)
        finally:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self._hang_up()
            self.answers.close()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.names.close()


class LocalExecutor:
    """Does up to ``workers`` tasks at once, each in a process of its own.

    Parameters
    ----------
    workers : int or None
        Processes at most; None is one for every two cores.
    threads : int or None
        Threads each may use; None shares the cores out evenly among as many
        processes as the plan can use, so that processes × threads = cores.
    """

    def __init__(self, workers: int | None = None, *, threads: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise CallError(f"The number of workers must be at least 1, got {workers}.")
        self.workers = workers or max(1, cores() // 2)
        self.threads = threads

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Get ready to do tasks of a plan in a run folder."""
        self._folder, self._notify = folder, notify
        self._registry = plan.registry.home
        self._positions = plan.positions
        self._queue: deque[Task] = deque()
        self._states: dict[str, TaskState] = {}
        self._failures: dict[str, Failure] = {}
        self._tries: dict[str, int] = {}
        self._stopping: set[str] = set()
        self._processes: list[_Process] = []
        self._changed: list[Task] = []
        self._selector = selectors.DefaultSelector()
        self._next_look = 0.0
        # By the whole plan, not by what is left of it: a run that goes on
        # computes with as many threads, and so the same numbers, as before.
        self._most = min(self.workers, plan.width)
        self._share = self.threads or max(1, cores() // self._most)

    def submit(self, task: Task) -> None:
        """Accept a task; it is begun as soon as a process is free.

        Raises
        ------
        OutputError
            If nothing can be written into the folder.
        """
        log = TaskFiles(self._folder, task.name).log
        try:
            log.unlink(missing_ok=True)
        except OSError as error:
            raise explained(log, error) from error
        self._states[task.name] = TaskState.WAITING
        self._tries[task.name] = 0
        self._queue.append(task)

    def state(self, task: Task) -> TaskState:
        """Say where a task that was submitted stands."""
        return self._states[task.name]

    def failure(self, task: Task) -> Failure | None:
        """Say how a task failed."""
        return self._failures.get(task.name)

    def ask_to_stop(self, task: Task) -> None:
        """Ask a running task to leave a checkpoint and stop; its process then ends."""
        self._stopping.add(task.name)
        for process in self._processes:
            if process.task is task:
                process.ask_to_stop()

    def cancel(self, task: Task) -> None:
        """Take a task back; if it runs, its process is ended."""
        if self._states.get(task.name) is TaskState.WAITING:
            self._queue.remove(task)
        for process in self._processes:
            if process.task is task:
                process.signal(signal.SIGKILL)
        if self._states.get(task.name) in (TaskState.WAITING, TaskState.RUNNING):
            self._settle(task, TaskState.CANCELLED)

    def logs(self, task: Task) -> str:
        """Return what a task printed."""
        return TaskFiles(self._folder, task.name).read_log()

    def wait(self, seconds: float) -> Sequence[Task]:
        """Wait until a task's state changes, for so long at most."""
        until = time.monotonic() + seconds
        self._share_out()
        while not self._changed and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left, _LOOK)):
                self._take_answers(key.data)
            self._bury()
            self._look()
            # What has just ended may make another ready that goes before those that wait.
            if not self._changed:
                self._share_out()
        changed, self._changed = self._changed, []
        return changed

    def close(self) -> None:
        """End all processes; only whole results stay."""
        for process in self._processes:
            if process.task is not None:
                process.signal(signal.SIGINT)
        try:
            for process in self._processes:
                process.end()
        finally:
            for process in self._processes:
                process.signal(signal.SIGKILL)
            self._selector.close()
            self._processes = []

    def _share_out(self) -> None:
        """Give waiting tasks to processes that are free or may still be started."""
        while self._queue:
            process = next((one for one in self._processes if one.task is None), None)
            if process is None and len(self._processes) >= self._most:
                return
            task = min(self._queue, key=lambda one: self._positions[one.name])
            self._queue.remove(task)
            if process is None:
                process = self._start(TaskFiles(self._folder, task.name).log)
            self._states[task.name] = TaskState.RUNNING
            self._tries[task.name] += 1
            process.give(task)
            self._notify(task.name, 0.0, "")

    def _start(self, log: Path) -> _Process:
        try:
            process = _Process(self._registry, self._folder, self._share, log)
        except OSError as error:
            raise explained(log, error) from error
        self._processes.append(process)
        self._selector.register(process.answers, selectors.EVENT_READ, process)
        return process

    def _take_answers(self, process: _Process) -> None:
        for answer in process.answered():
            task, failure = process.task, answer["failure"]
            if task is None or answer["task"] != task.name:
                continue
            process.task = None
            if isinstance(failure, dict):
                self._failures[task.name] = Failure(**failure)
            self._settle(task, TaskState.FAILED if failure else TaskState.DONE)

    def _settle(self, task: Task, state: TaskState) -> None:
        self._states[task.name] = state
        self._changed.append(task)

    def _bury(self) -> None:
        """Take leave of processes that died, and try their tasks once more."""
        for process in [one for one in self._processes if one.process.poll() is not None]:
            self._take_answers(process)
            self._selector.unregister(process.answers)
            self._processes.remove(process)
            process.end()
            task = process.task
            if task is not None and self._states[task.name] is TaskState.RUNNING:
                self._interrupted(task, process.process.returncode)

    def _interrupted(self, task: Task, code: int) -> None:
        if code == EXIT_STOPPED or task.name in self._stopping:
            self._settle(task, TaskState.CANCELLED)
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        _log.warning("The process of the task %s ended by %s.", task.name, how)
        if self._tries[task.name] < _TRIES:
            self._states[task.name] = TaskState.WAITING
            self._queue.appendleft(task)
            self._notify(task.name, 0.0, f"its process ended by {how}; trying again")
            return
        files = TaskFiles(self._folder, task.name)
        failure = Failure(
            "RunError",
            f"Its process ended by {how} {_TRIES} times; see {files.log}, and the memory "
            "it may use.",
            files.read_log()[-4000:],
        )
        files.write_failure(failure)
        self._failures[task.name] = failure
        self._settle(task, TaskState.FAILED)

    def _look(self) -> None:
        """Pass on how far the running tasks are, now and then."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK
        for process in self._processes:
            if process.task is not None:
                found = TaskFiles(self._folder, process.task.name).read_progress()
                if found is not None:
                    self._notify(process.task.name, *found)
