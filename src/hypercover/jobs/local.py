"""The executor with several processes on this machine.

Each process does one task after another, so that imports are paid for once.  If a process
dies, its task is tried once more; if this process dies, the others end too.
"""

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypercover.errors import CallError
from hypercover.files import open_to_append, write_error
from hypercover.jobs.executor import ACTIVE, Executor, Notify, TaskState
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.task_files import Failure, TaskFiles

_PROGRAM = "hypercover.jobs.worker"
_TRIES = 2
EXIT_STOPPED = 75
"""Exit code of a process whose task was stopped and can resume (EX_TEMPFAIL)."""
_GRACE = 3.0
"""Seconds a process has to end by itself."""
_POLL = 0.5
"""Seconds between checks of the progress of tasks."""
_LIMITED = "OMP OPENBLAS MKL BLIS NUMEXPR NUMBA GDAL"
_THREADS = (*(f"{name}_NUM_THREADS" for name in _LIMITED.split()), "VECLIB_MAXIMUM_THREADS")

_log = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count(workers: int | None) -> int:
    """Return a number of workers, by default one per two cores.

    Raises
    ------
    CallError
        If it is below 1.
    """
    if workers is not None and workers < 1:
        raise CallError(f"The number of workers must be at least 1, got {workers}.")
    return workers or max(1, cores() // 2)


def thread_limits(threads: int) -> dict[str, str]:
    """Return the environment variables that limit libraries to this many threads."""
    return dict.fromkeys(_THREADS, str(threads))


class _Process:
    """One worker process and its task."""

    def __init__(self, registry: str, folder: Path, threads: int, log: Path) -> None:
        call = [sys.executable, "-P", "-m", _PROGRAM, registry, str(folder)]
        with open_to_append(log) as errors:
            # In a new session only the parent handles Ctrl-C, and it can end the whole group.
            self.process = subprocess.Popen(
                call,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | thread_limits(threads),
                start_new_session=True,
            )
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.names, self.answers = self.process.stdin, self.process.stdout
        os.set_blocking(self.answers.fileno(), False)
        self.task: Task | None = None
        self._rest = b""

    def start(self, task: Task) -> None:
        """Send a task; a process that has died is noticed later."""
        self.task = task
        with suppress(OSError):
            self.names.write(f"{task.name}\n".encode())
            self.names.flush()

    def read_answers(self) -> Sequence[dict[str, object]]:
        """Return the answers so far."""
        chunk = b""
        with suppress(OSError):
            chunk = self.answers.read() or b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def signal(self, number: int) -> None:
        """Send a signal to the process and its children."""
        with suppress(OSError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Wait for the process to end, then kill it."""
        try:
            # During a task, the end of its input means that the parent has died.
            if self.task is None:
                self._close_input()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE)
        finally:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self._close_input()
            self.answers.close()

    def _close_input(self) -> None:
        with suppress(OSError):
            self.names.close()


class LocalExecutor(Executor):
    """Does up to ``workers`` tasks at once, each in a process of its own.

    Parameters
    ----------
    workers : int or None
        Maximum number of processes; None for one per two cores.
    threads : int or None
        Threads of each; None divides the cores by the number of processes that the plan
        can use.

    Examples
    --------
    >>> from hypercover import run_experiment
    >>> run_experiment("fixed.yaml", "runs/fixed", executor=LocalExecutor(4))  # doctest: +SKIP
    >>> LocalExecutor(4).workers
    4
    """

    def __init__(self, workers: int | None = None, *, threads: int | None = None) -> None:
        self.workers, self.threads = worker_count(workers), threads

    def open(self, plan: Plan, folder: Path, notify: Notify) -> None:
        """Prepare for the tasks of a plan in a run folder."""
        super().open(plan, folder, notify)
        self._tries: dict[str, int] = {}
        self._stopping: set[str] = set()
        self._processes: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        self._next_poll = 0.0
        # From the whole plan, not from the rest of it: a resumed run computes with the
        # same threads, and so the same numbers, as before.
        self._most = min(self.workers, plan.width)
        self._share = self.threads or max(1, cores() // self._most)

    def ask_to_stop(self, task: Task) -> None:
        """Ask a running task to write a checkpoint and stop; its process then ends."""
        self._stopping.add(task.name)
        for process in self._processes:
            if process.task is task:
                # The process, but not its children.
                process.process.terminate()

    def cancel(self, task: Task) -> None:
        """Cancel a task; if it runs, its process is killed."""
        for process in self._processes:
            if process.task is task:
                process.signal(signal.SIGKILL)
        if self._states.get(task.name) in ACTIVE:
            self._end(task, cancelled=True)

    def _work(self, seconds: float) -> None:
        """Assign tasks, and take the answers of processes."""
        # First: a task that ended just before may make one ready that precedes the others.
        self._assign()
        for key, _ in self._selector.select(min(seconds, _POLL)):
            self._take_answers(key.data)
        self._reap()
        self._report_progress()

    def close(self) -> None:
        """End all processes; only finished results remain."""
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

    def _assign(self) -> None:
        """Assign waiting tasks to free processes, and start more if allowed."""
        while True:
            process = next((p for p in self._processes if p.task is None), None)
            if process is None and len(self._processes) >= self._most:
                return
            task = self._next_task()
            if task is None:
                return
            if process is None:
                process = self._start(TaskFiles(self._folder, task.name).log)
            self._states[task.name] = TaskState.RUNNING
            self._tries[task.name] = 1 + self._tries.get(task.name, 0)
            process.start(task)
            self._notify(task.name, 0.0, "")

    def _start(self, log: Path) -> _Process:
        try:
            home = self._plan.registry.home
            process = _Process(home, self._folder, self._share, log)
        except OSError as error:
            raise write_error(log, error) from error
        self._processes.append(process)
        self._selector.register(process.answers, selectors.EVENT_READ, process)
        return process

    def _take_answers(self, process: _Process) -> None:
        for answer in process.read_answers():
            task, failure = process.task, answer["failure"]
            if task is None or answer["task"] != task.name:
                continue
            process.task = None
            self._end(task, Failure(**failure) if isinstance(failure, dict) else None)

    def _reap(self) -> None:
        """Remove processes that have died, and try their tasks once more."""
        for process in [p for p in self._processes if p.process.poll() is not None]:
            self._take_answers(process)
            self._selector.unregister(process.answers)
            self._processes.remove(process)
            process.end()
            task = process.task
            if task is not None and self._states[task.name] is TaskState.RUNNING:
                self._interrupted(task, process.process.returncode)

    def _interrupted(self, task: Task, code: int) -> None:
        if code == EXIT_STOPPED or task.name in self._stopping:
            self._end(task, cancelled=True)
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        _log.warning("The process of the task %s ended by %s.", task.name, how)
        if self._tries[task.name] < _TRIES:
            self._enqueue(task)
            self._notify(task.name, 0.0, f"its process ended by {how}; trying again")
            return
        message = f"Its process ended by {how} {_TRIES} times"
        self._end(task, self._deadly(task, message, self.logs(task)[-4000:]))

    def _report_progress(self) -> None:
        """Report the progress of running tasks, at most twice a second."""
        now = time.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + _POLL
        for process in self._processes:
            if process.task is not None:
                name = process.task.name
                if progress := TaskFiles(self._folder, name).read_progress():
                    self._notify(name, *progress)
