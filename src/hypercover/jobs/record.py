"""The files of a task: its result, its error, its progress and its log.

``tasks/NAME.json`` is the result, written whole or not at all and with checksums of
itself and of the files that the task left: a task whose result carries its
fingerprint and is whole is done.  ``tasks/NAME.error`` says how it
failed, ``tasks/NAME.progress`` how far it is, ``tasks/NAME.log`` what it
printed.
"""

import json
import logging
import os
import platform
import re
import stat
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from hypercover import errors
from hypercover.errors import HypercoverError, RunError
from hypercover.files import digest_of, read_sealed, write_json, write_sealed
from hypercover.jobs.plan import FOLDER, Plan

__all__ = [
    "Failure",
    "Reporter",
    "TaskFiles",
    "TaskRecord",
    "file_checksums",
    "is_unchanged",
    "read_json",
    "result_of",
    "task_record",
]

_EDITED = (".qml", ".aux.xml")
"""Files that people and viewers change by right: QGIS keeps styles in the one, GDAL
statistics in the other.  One that is whole is not made again."""
_MOST_XML = 2**26

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskRecord:
    """The result of a task and where it came from."""

    fingerprint: str
    """Hash of everything the result depends on."""
    result: Any
    """What the function returned; plain JSON values."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Wall time of the function."""
    host: str
    """Machine it ran on."""
    pid: int
    """Process it ran in."""
    began: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """When it began, in seconds since 1970; not known of results of long ago."""
    processor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Processor seconds of the function over all threads and child processes."""
    cores: Annotated[int, Field(ge=1)] = 1
    """Cores that it could use."""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size in bytes and SHA-256 of each file it left, by its path from the run folder."""

    @classmethod
    def of(
        cls,
        fingerprint: str,
        result: Any,
        seconds: float,
        files: Mapping[str, tuple[int, str]] | None = None,
        *,
        processor: float | None = None,
    ) -> "TaskRecord":
        """Make the record of a task that this process has just done."""
        began = round(time.time() - seconds, 6)
        return cls(
            fingerprint,
            result,
            round(seconds, 6),
            platform.node(),
            os.getpid(),
            began,
            None if processor is None else round(processor, 6),
            _cores(),
            dict(files or {}),
        )


_RECORD = TypeAdapter(TaskRecord)


def _cores() -> int:
    """Count the cores that the libraries of this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(limit)) if limit.isdigit() and int(limit) else there


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
        self.folder = Path(folder)
        # Each path is made when it is asked for: a plan may have ten thousand tasks.
        self._stem = f"{FOLDER}/{name}"

    @property
    def result(self) -> Path:
        """What the task found."""
        return self.folder / f"{self._stem}.json"

    @property
    def failure(self) -> Path:
        """How it failed."""
        return self.folder / f"{self._stem}.error"

    @property
    def progress(self) -> Path:
        """How far it is."""
        return self.folder / f"{self._stem}.progress"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / f"{self._stem}.log"

    def read_record(self, fingerprint: str) -> TaskRecord | None:
        """Return the result if there is a whole one with this fingerprint.

        The files it left must be there in their sizes; what is in them is looked
        at by `damaged`.
        """
        found = self.read()
        if found is None or found.fingerprint != fingerprint:
            return None
        for path, (size, _) in found.files.items():
            if _size_of(self.folder / path) != size and not self._is_edited(path, size):
                return None
        return found

    def read(self) -> TaskRecord | None:
        """Return the result if there is a whole one, whatever it was made of."""
        try:
            content = self.result.read_bytes()
            # One that never had a checksum may have been changed by anything.
            found = read_sealed(content) if b'"checksum": "' in content else None
            return None if found is None else _RECORD.validate_python(found)
        except (OSError, ValueError, RecursionError):
            return None

    def damaged(self, record: TaskRecord) -> Iterator[Path]:
        """Go through the files that are not as the task left them; each is read whole."""
        for path, (size, digest) in record.files.items():
            file = self.folder / path
            if is_unchanged(file, size, digest):
                continue
            if self._is_edited(path, size):
                _log.info("%s was changed since it was made and is left as it is.", file)
                continue
            yield file

    def renew(self, *paths: Path) -> None:
        """Note that files the task left were written anew."""
        record = self.read()
        if record is not None:
            files = record.files | file_checksums(self.folder, paths)
            write_sealed(self.result, vars(replace(record, files=files)))

    def _is_edited(self, path: str, size: int) -> bool:
        """Tell whether a file that others may change has another length and is whole XML."""
        file = self.folder / path
        return path.endswith(_EDITED) and _size_of(file) != size and _is_whole_xml(file)

    def write_record(self, record: TaskRecord) -> None:
        """Write the result, whole, and forget what went before it."""
        write_sealed(self.result, vars(record))
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

    def drop_empty_log(self) -> None:
        """Remove the log of a task that printed nothing: thousands of files cost more than that."""
        with suppress(OSError):
            if self.log.stat().st_size == 0:
                self.log.unlink()


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
            draft.unlink(missing_ok=True)
            draft.write_text(json.dumps({"share": float(share), "what": str(what)}))
            os.replace(draft, path)


def task_record(plan: Plan, folder: str | Path, name: str) -> TaskRecord | None:
    """Return the result of a task of a plan, if it is done."""
    return TaskFiles(folder, name).read_record(plan.fingerprints[name])


def result_of(folder: str | Path, name: str) -> Any:
    """Return the result of a task that another task needs.

    Raises
    ------
    RunError
        If the task has not been done in this folder.
    """
    found = TaskFiles(folder, name).read()
    if found is None:
        raise RunError(f"The task {name} has no result in {folder} yet; do it first.")
    return found.result


def file_checksums(folder: Path, paths: Iterable[Path]) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of files that are there, by their paths from a folder."""
    left = {os.path.relpath(path, folder): path for path in sorted(paths)}
    return {
        name: (path.stat().st_size, digest_of(path))
        for name, path in left.items()
        if path.is_file() and not name.startswith(f"{FOLDER}{os.sep}")
    }


def _size_of(path: Path) -> int | None:
    """Return the bytes of a plain file; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def is_unchanged(path: Path, size: int, digest: str) -> bool:
    """Tell whether a file has its size and SHA-256."""
    try:
        return _size_of(path) == size and digest_of(path) == digest
    except OSError:
        return False


def _is_whole_xml(path: Path) -> bool:
    """Tell whether a file ends with the end of the element it begins with."""
    try:
        content = path.read_bytes() if (_size_of(path) or 0) <= _MOST_XML else b""
    except OSError:
        return False
    root = re.search(rb"<([A-Za-z][\w.-]*)", content)
    return root is not None and content.rstrip().endswith(b"</" + root[1] + b">")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; a missing or damaged one is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
