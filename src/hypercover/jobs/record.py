"""The files of a task: its result, its error, its progress and its log.

``tasks/NAME.json`` is the result, written whole or not at all: a task whose
result carries its fingerprint is done.  ``tasks/NAME.error`` says how it
failed, ``tasks/NAME.progress`` how far it is, ``tasks/NAME.log`` what it
printed.
"""

import json
import os
import platform
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover import errors
from hypercover.errors import HypercoverError, RunError
from hypercover.files import write_json
from hypercover.jobs.plan import FOLDER

__all__ = ["Failure", "Record", "Reporter", "TaskFiles", "read_json", "result_of"]


@dataclass(frozen=True)
class Record:
    """The result of a task and where it came from."""

    fingerprint: str
    """Hash of everything the result depends on."""
    result: Any
    """What the function returned; plain JSON values."""
    seconds: float
    """Wall time of the function."""
    host: str
    """Machine it ran on."""
    pid: int
    """Process it ran in."""
    began: float | None = None
    """When it began, in seconds since 1970; not known of results of long ago."""

    @classmethod
    def of(cls, fingerprint: str, result: Any, seconds: float) -> "Record":
        """Make the record of a task that this process has just done."""
        began = round(time.time() - seconds, 6)
        return cls(
            fingerprint, result, round(seconds, 6), platform.node(), os.getpid(), began
        )


@dataclass(frozen=True)
class Failure:
    """How a task failed, as plain data that crosses the border of a process."""

    kind: str
    """Name of the error's type."""
    message: str
    """The error's sentence."""
    trace: str = ""
    """Traceback, or what is known instead."""
    errno: int | None = None
    """Number of the operating system's error, where it was one."""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Describe an error that was just caught."""
        number = error.errno if isinstance(error, OSError) else None
        text = (
            error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        )
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, text, trace, number)

    @property
    def headline(self) -> str:
        """The first line of the message, with the type where it is not one of ours."""
        first = (self.message.strip().splitlines() or ["no message"])[0]
        return first if self.deliberate else f"{self.kind}: {first}"

    @property
    def deliberate(self) -> bool:
        """Whether hypercover raised the error on purpose."""
        return self.kind in errors.__all__

    def error(self) -> HypercoverError:
        """Return the error again, in its own type where hypercover raised it."""
        kind: type[HypercoverError] = (
            getattr(errors, self.kind) if self.deliberate else RunError
        )
        if self.errno is not None and issubclass(kind, OSError):
            return kind(self.errno, self.message)
        return kind(self.message if self.deliberate else self.headline)


class TaskFiles:
    """The files of one task in a run folder."""

    def __init__(self, folder: str | Path, name: str) -> None:
        stem = Path(folder) / FOLDER
        self.result = stem / f"{name}.json"
        self.failure = stem / f"{name}.error"
        self.progress = stem / f"{name}.progress"
        self.log = stem / f"{name}.log"

    def read_record(self, fingerprint: str) -> Record | None:
        """Return the result if there is a whole one with this fingerprint."""
        found = read_json(self.result)
        if found is None or found.get("fingerprint") != fingerprint:
            return None
        try:
            return Record(**found)
        except TypeError:
            return None

    def write_record(self, record: Record) -> None:
        """Write the result, whole, and forget what went before it."""
        write_json(self.result, vars(record))
        self.forget()

    def read_failure(self) -> Failure | None:
        """Return how the task failed, if it did."""
        found = read_json(self.failure)
        try:
            return None if found is None else Failure(**found)
        except TypeError:
            return None

    def write_failure(self, failure: Failure) -> None:
        """Write how the task failed."""
        write_json(self.failure, vars(failure))

    def forget(self) -> None:
        """Remove the error and the progress of an earlier try."""
        self.failure.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)

    def read_progress(self) -> tuple[float, str] | None:
        """Return the share done and what is being done, if the task says so."""
        found = read_json(self.progress)
        try:
            return None if found is None else (float(found["share"]), str(found["what"]))
        except (KeyError, TypeError, ValueError):
            return None

    def read_log(self) -> str:
        """Return what the task printed, as far as it did."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


class Reporter:
    """Takes reports from inside a task; writes them at most twice a second."""

    def __init__(self, files: TaskFiles) -> None:
        self._files = files
        self._next = 0.0

    def __call__(self, share: float, what: str) -> None:
        """Note the share done, 0 to 1, and what is being done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.5
        # Nothing depends on a report: it need not reach the disk, and a full
        # disk is for the result to complain about.
        path = self._files.progress
        draft = path.with_name(f".{path.name}.part")
        with suppress(OSError):
            draft.write_text(json.dumps({"share": float(share), "what": str(what)}))
            os.replace(draft, path)


def result_of(folder: str | Path, name: str) -> Any:
    """Return the result of a task that another task needs.

    Raises
    ------
    RunError
        If the task has not been done in this folder.
    """
    found = read_json(TaskFiles(folder, name).result)
    if found is None or "result" not in found:
        raise RunError(f"The task {name} has no result in {folder} yet; do it first.")
    return found["result"]


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; a missing or damaged one is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
