"""The worker process of local executors: ``python -m hypercover.jobs.worker``.

``worker REGISTRY FOLDER TASK …`` does the named tasks of the plan in a run folder.
``worker REGISTRY FOLDER`` reads names from its input, one per line, and answers each with a
line of JSON, so that one process does many tasks and pays for imports once.  If its input
ends while an answer is due, its parent is gone, and it ends itself and its children.
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

from hypercover.errors import CallError, HypercoverError, OutputError, RunError
from hypercover.files import open_to_append, write_json
from hypercover.jobs.executor import TaskState, do_task
from hypercover.jobs.local import EXIT_STOPPED, LocalExecutor
from hypercover.jobs.plan import Plan, Registry, Task
from hypercover.jobs.record import Failure, TaskFiles, read_json, task_record
from hypercover.stopping import Stopped, stop_on_signal, stop_requested

_LOOK = 0.5
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
    executor = LocalExecutor(1, threads=threads)
    executor.open(plan, place, lambda _name, _share, _what: None)
    try:
        for task in _in_order(plan, names):
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


def _in_order(plan: Plan, names: Sequence[str]) -> Iterator[Task]:
    """Yield the named tasks, each after those it needs."""
    chosen = {plan.task(name).name for name in names}
    return (task for task in plan.ordered if task.name in chosen)


def _outcome(
    plan: Plan, folder: Path, task: Task, executor: LocalExecutor, grace: float
) -> str:
    """Do one task; return "", "done before", or why it is not done."""
    files, fingerprint = TaskFiles(folder, task.name), plan.fingerprints[task.name]
    if files.read_record(fingerprint) is not None:
        return "done before"
    if missing := missing_needs(plan, folder, task):
        return missing
    executor.submit(task)
    stopped_at = 0.0
    while executor.state(task) in (TaskState.WAITING, TaskState.RUNNING):
        executor.wait(_LOOK)
        if stop_requested() and not stopped_at:
            stopped_at = time.monotonic()
            executor.ask_to_stop(task)
        if stopped_at and time.monotonic() - stopped_at > grace:
            executor.cancel(task)
    if executor.state(task) is TaskState.DONE or files.read_record(fingerprint) is not None:
        _stop_file(files).unlink(missing_ok=True)
        return ""
    if stop_requested():
        _record_stop(files)
        raise Stopped
    failure = executor.failure(task)
    return _failed(files, failure)


def missing_needs(plan: Plan, folder: Path, task: Task) -> str:
    """Describe the missing needs of a task and why they are missing; empty if none is."""
    lines = list(blocking_tasks(plan, folder, task))
    return f"waits for {'; '.join(lines)}" if lines else ""


def blocking_tasks(plan: Plan, folder: Path, task: Task) -> Iterator[str]:
    """Yield the unfinished tasks that block a task and are themselves not blocked."""
    seen, waiting = set[str](), list(task.needs)
    while waiting:
        name = waiting.pop(0)
        if name in seen or task_record(plan, folder, name) is not None:
            continue
        seen.add(name)
        needs = plan.task(name).needs
        open_needs = [need for need in needs if task_record(plan, folder, need) is None]
        if open_needs:
            waiting += open_needs
        else:
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
    """Do tasks by name or from the input; return 0, 1 (failed) or 2 (called wrongly)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) < 2:
            raise CallError(
                "Give a registry such as hypercover.experiment.tasks.task_registry:REGISTRY, a run "
                "folder and the names of tasks."
            )
        registry, folder, *names = arguments
        plan = Plan.load(folder, Registry.at(registry))
        if not names:
            return _Service(plan, Path(folder)).run()
        return max(_do_named(plan, Path(folder), name) for name in names)
    except HypercoverError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _do_named(plan: Plan, folder: Path, name: str) -> int:
    """Do one task whose needs are done; print its error on stderr."""
    for need in plan.task(name).needs:
        if task_record(plan, folder, need) is None:
            raise CallError(
                f"The task {name} needs {need}, which is not done; do it first."
            )
    failure = do_task(plan, name, folder)
    if failure is None:
        return 0
    sys.stderr.write(f"The task {name} failed: {failure.headline}\n")
    return 2 if isinstance(failure.error(), CallError | OutputError) else 1


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
        files = TaskFiles(self._folder, name)
        self._log_to(files.log)
        failure = do_task(self._plan, name, self._folder)
        sys.stdout.flush()
        files.drop_empty_log()
        answer = {"task": name, "failure": None if failure is None else vars(failure)}
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
        self._pending -= 1

    def _log_to(self, path: Path) -> None:
        """Redirect all output, that of C code included, to a task's log."""
        sys.stdout.flush()
        sys.stderr.flush()
        with open_to_append(path) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)

    def _listen(self) -> None:
        """Queue the names; when the input ends, end."""
        rest = b""
        while chunk := os.read(self._input, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._pending += 1
                self._names.put(line.decode())
        if self._pending:
            _end_at_once()
        self._names.put(None)


def _end_at_once() -> None:
    """End this process and its children."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
