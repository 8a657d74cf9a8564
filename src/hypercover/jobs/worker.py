"""The process that does tasks for someone else: ``python -m hypercover.jobs.worker``.

``worker REGISTRY FOLDER TASK …`` does the named tasks of the plan in a run folder
and ends: for hands and batch systems.  ``worker REGISTRY FOLDER`` reads names from its
input, one per line, and answers each with a line of JSON: so one process does
many tasks and imports what they need once.  When its input ends while it owes
an answer, whoever asked is gone, and it ends itself and all it has started.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

from hypercover.errors import CallError, HypercoverError, OutputError
from hypercover.files import open_to_append
from hypercover.jobs.local import STOPPED
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles
from hypercover.jobs.registry import Registry
from hypercover.jobs.work import do_task
from hypercover.stopping import Stopped, stop_at_signal

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Do tasks by name or from the input; return 0, 1 (failed) or 2 (called wrongly)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) < 2:
            raise CallError(
                "Give a registry such as hypercover.experiment.task_kinds:REGISTRY, a run "
                "folder and the names of tasks to do."
            )
        registry, folder, *names = arguments
        plan = Plan.load(folder, Registry.at(registry))
        if not names:
            return _Service(plan, Path(folder)).run()
        return max(_by_hand(plan, Path(folder), name) for name in names)
    except HypercoverError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _by_hand(plan: Plan, folder: Path, name: str) -> int:
    """Do one task whose needs are done; say on stderr how it failed."""
    for need in plan.task(name).needs:
        if TaskFiles(folder, need).read_record(plan.fingerprints[need]) is None:
            raise CallError(
                f"The task {name} needs {need}, which is not done; do it first."
            )
    failure = do_task(plan, name, folder)
    if failure is None:
        return 0
    sys.stderr.write(f"The task {name} failed: {failure.headline}\n")
    return 2 if isinstance(failure.error(), CallError | OutputError) else 1


class _Service:
    """Does tasks as their names come in."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._names: SimpleQueue[str | None] = SimpleQueue()
        self._owed = 0
        # Tasks must neither read names nor write answers by accident.
        self._input, answers = os.dup(0), os.dup(1)
        self._answers = os.fdopen(answers, "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def run(self) -> int:
        """Serve until the input ends."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop_at_signal()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while (name := self._names.get()) is not None:
                self._serve(name)
        except KeyboardInterrupt:
            return 130
        except Stopped:
            return STOPPED
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
        self._owed -= 1

    def _log_to(self, path: Path) -> None:
        """Send everything printed from now on to a task's log, C code included."""
        sys.stdout.flush()
        sys.stderr.flush()
        with open_to_append(path) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)

    def _listen(self) -> None:
        """Pass names on; when the input ends, go."""
        rest = b""
        while chunk := os.read(self._input, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._owed += 1
                self._names.put(line.decode())
        if self._owed:
            _end_at_once()
        self._names.put(None)


def _end_at_once() -> None:
    """End this process and those it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
