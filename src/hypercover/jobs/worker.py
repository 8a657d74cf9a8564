"""The worker process of local executors: ``python -m hypercover.jobs.worker REGISTRY FOLDER``.

It reads names of tasks from its input, one per line, and answers each with a line of JSON,
so that one process does many tasks and pays for imports once.  If its input ends while an
answer is due, its parent is gone, and it ends itself and its children.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.files import write_json
from hypercover.jobs.executor import ACTIVE, TaskState, do_task
from hypercover.jobs.local import EXIT_STOPPED, LocalExecutor
from hypercover.jobs.plan import Plan, Registry, Task
from hypercover.jobs.task_files import Failure, TaskFiles, read_json, task_record
from hypercover.stopping import Stopped, stop_on_signal, stop_requested

_POLL = 0.5
"""Seconds between checks whether to stop."""

_STEP = 0.01
"""Share of a task by which a stopped attempt must get further than those before."""

_STOPS = 3
"""Attempts without progress after which a task fails."""


def do_tasks(
    plan: Plan,
    folder: str | Path,
    names: Sequence[str],
    *,
    threads: int | None = None,
    grace: float = 30.0,
    say: Callable[[str], None],
    check: Callable[[], object] = lambda: None,
) -> None:
    """Do some tasks of a plan in a separate process, one after another.

    Finished tasks are skipped.  A task whose needs are missing is reported with the task
    that failed and its log, and the rest is done.

    Parameters
    ----------
    threads : threads the tasks may use; all cores by default
    grace : seconds a task has to stop by itself after a request to stop
    say : called with a line for each task
    check : called before each task; raises if the plan is outdated

    Raises
    ------
    Stopped
        If the work was stopped on request and can be resumed.
    RunError
        If a task failed, cannot be done, or makes no progress within the time limit.
    """
    place, failed = Path(folder), []
    chosen = {plan.task(name).name for name in names}
    executor = LocalExecutor(1, threads=threads)
    executor.open(plan, place, lambda _name, _share, _what: None)
    try:
        for task in plan.ordered:
            if task.name in chosen:
                check()
                line = _outcome(plan, place, task, executor, grace)
                say(f"{task.name}: {line or 'done'}")
                if line and line != "done before":
                    failed.append(f"{task.name} {line}")
    finally:
        executor.close()
    if len(failed) == 1:
        raise RunError(f"{failed[0]}.")
    if failed:
        listed = ", ".join(line.partition(" ")[0] for line in failed)
        raise RunError(f"Not done: {listed}; the lines above say why.")


def _outcome(
    plan: Plan, folder: Path, task: Task, executor: LocalExecutor, grace: float
) -> str:
    """Do one task; return "", "done before", or why it is not done."""
    files = TaskFiles(folder, task.name)
    if task_record(plan, folder, task.name) is not None:
        return "done before"
    if missing := "; ".join(_blocking_tasks(plan, folder, task)):
        return f"waits for {missing}"
    executor.submit(task)
    stopped_at = 0.0
    while executor.state(task) in ACTIVE:
        executor.wait(_POLL)
        if stop_requested() and not stopped_at:
            stopped_at = time.monotonic()
            executor.ask_to_stop(task)
        if stopped_at and time.monotonic() - stopped_at > grace:
            executor.cancel(task)
    done = executor.state(task) is TaskState.DONE
    if done or task_record(plan, folder, task.name) is not None:
        _stop_file(files).unlink(missing_ok=True)
        return ""
    if stop_requested():
        _record_stop(files)
        raise Stopped
    return _failed(files, executor.failure(task))


def _blocking_tasks(plan: Plan, folder: Path, task: Task) -> Iterator[str]:
    """Yield the unfinished tasks that block a task and are themselves not blocked."""
    seen, waiting = set[str](), list(task.needs)
    while waiting:
        name = waiting.pop(0)
        if name in seen or task_record(plan, folder, name) is not None:
            continue
        seen.add(name)
        needs = plan.task(name).needs
        missing = [need for need in needs if task_record(plan, folder, need) is None]
        waiting += missing
        if not missing:
            files = TaskFiles(folder, name)
            yield f"{name}, which {_failed(files, files.read_failure())}"


def _failed(files: TaskFiles, failure: Failure | None) -> str:
    """Describe how a task failed, with the path of its log."""
    if failure is None:
        return "has no result yet"
    return f"failed ({failure.headline.rstrip('.')}; see {files.log})"


def _stop_file(files: TaskFiles) -> Path:
    """Return the file that records the progress of a stopped task."""
    return files.progress.with_suffix(".stopped")


def _record_stop(files: TaskFiles) -> None:
    """Record the progress of a stopped task; it fails if it repeatedly makes none.

    Raises
    ------
    RunError
        If the last attempts made no progress: the time limit is too short.
    """
    share = (files.read_progress() or (0.0, ""))[0]
    before = read_json(_stop_file(files)) or {}
    best, times = float(before.get("share", -1.0)), int(before.get("times", 0))
    times = times + 1 if share < best + _STEP else 1
    if times >= _STOPS:
        _stop_file(files).unlink(missing_ok=True)
        failure = Failure(
            "RunError",
            f"It was stopped {times} times at {100 * share:.0f} % and makes no progress within the "
            "time limit; give a longer --time.",
        )
        files.write_failure(failure)
        raise RunError(f"{files.result.stem}: {failure.message}")
    with suppress(OSError):
        write_json(_stop_file(files), {"share": max(share, best), "times": times})


def main(arguments: Sequence[str]) -> int:
    """Do tasks from the input; return 0, 2 (called wrongly), 75 (stopped) or 130 (Ctrl-C)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) != 2:
            raise CallError(
                "Give a registry of tasks, package.module:NAME, and a run folder."
            )
        registry, folder = arguments
        return _Service(Plan.load(folder, Registry.at(registry)), Path(folder)).run()
    except HypercoverError as error:
        sys.stderr.write(f"{error}\n")
        return 2


class _Service:
    """Does the tasks whose names it reads."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._names: SimpleQueue[str | None] = SimpleQueue()
        self._pending = 0
        # Keep tasks from reading names or writing answers.
        self._input, answers = os.dup(0), os.dup(1)
        self._answers = os.fdopen(answers, "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def run(self) -> int:
        """Serve until the input ends."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop_on_signal()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while (name := self._names.get()) is not None:
                self._serve(name)
        except KeyboardInterrupt:
            return 130
        except Stopped:
            return EXIT_STOPPED
        return 0

    def _serve(self, name: str) -> None:
        with TaskFiles(self._folder, name).redirected_output():
            failure = do_task(self._plan, name, self._folder)
        answer = {"task": name, "failure": None if failure is None else vars(failure)}
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
        self._pending -= 1

    def _listen(self) -> None:
        """Queue the names; when the input ends, end."""
        rest = b""
        while chunk := os.read(self._input, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._pending += 1
                self._names.put(line.decode())
        if self._pending:
            # Its parent is gone: it ends itself and its children.
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        self._names.put(None)


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
