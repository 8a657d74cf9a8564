"""The files of a task: its result, its error, its progress and its log.

``tasks/NAME.json`` is the result, written atomically, with checksums of itself and of the
files that the task wrote: a task is done if its result is intact and has its fingerprint.
``tasks/NAME.error`` holds the error of a failed task, ``tasks/NAME.progress`` the share
that is done, ``tasks/NAME.log`` its output.
"""

import json
import logging
import os
import re
import stat
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from hypercover import errors
from hypercover.errors import HypercoverError, RunError
from hypercover.files import (
    file_sha256,
    open_to_append,
    read_checksummed,
    write_checksummed,
    write_json,
)
from hypercover.jobs.plan import FOLDER, Plan

if TYPE_CHECKING:
    # Otherwise every worker would load NumPy before it knows its task.
    from hypercover.types import Report

_EDITED = (".qml", ".aux.xml")
"""Files that other programs may change: QGIS keeps styles in the first, GDAL statistics in
the second.  They are not written again as long as they are whole."""
_MAX_XML = 2**26

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskRecord:
    """The result of a task and how it was made."""

    fingerprint: str
    """Hash of everything the result depends on."""
    result: Any
    """Return value of the function; plain JSON values."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Wall time of the function."""
    host: str
    """Machine it ran on."""
    pid: int
    """Process it ran in."""
    began: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Start in seconds since 1970; missing in old results."""
    processor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Processor time in seconds over all threads and child processes."""
    cores: Annotated[int, Field(ge=1)] = 1
    """Cores that it could use."""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size in bytes and SHA-256 of each file it wrote, by its path in the run folder."""


_RECORD = TypeAdapter(TaskRecord)


@dataclass(frozen=True)
class Failure:
    """The error of a task, as plain data that is passed between processes."""

    kind: str
    """Name of the error's type."""
    message: str
    """The error's sentence."""
    trace: str = ""
    """Traceback, or other details."""
    errno: int | None = None
    """Number of an error of the operating system."""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Make the failure of a caught error."""
        number, text = None, str(error)
        if isinstance(error, OSError):
            number, text = error.errno, error.strerror or text
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, text, trace, number)

    @property
    def headline(self) -> str:
        """The first line of the message, with the type of an unexpected error."""
        first = (self.message.strip().splitlines() or ["no message"])[0]
        return first if self.deliberate else f"{self.kind}: {first}"

    @property
    def _own_type(self) -> type[HypercoverError] | None:
        kind = getattr(errors, self.kind, None)
        own = isinstance(kind, type) and issubclass(kind, HypercoverError)
        return kind if own else None

    @property
    def deliberate(self) -> bool:
        """Whether hypercover raised the error on purpose."""
        return self._own_type is not None

    def error(self) -> HypercoverError:
        """Return the error, in its own type if hypercover raised it."""
        kind = self._own_type or RunError
        if self.errno is not None and issubclass(kind, OSError):
            return kind(self.errno, self.message)
        return kind(self.message if self.deliberate else self.headline)


_FAILURE = TypeAdapter(Failure)


class TaskFiles:
    """The files of one task in a run folder."""

    def __init__(self, folder: str | Path, name: str) -> None:
        self.folder, self.name = Path(folder), name

    def _path(self, suffix: str) -> Path:
        return self.folder / FOLDER / f"{self.name}.{suffix}"

    @property
    def result(self) -> Path:
        """File of the result."""
        return self._path("json")

    @property
    def failure(self) -> Path:
        """File of the error."""
        return self._path("error")

    @property
    def progress(self) -> Path:
        """File of the progress."""
        return self._path("progress")

    @property
    def log(self) -> Path:
        """File of the output."""
        return self._path("log")

    def read_record(self, fingerprint: str) -> TaskRecord | None:
        """Return the result if it is intact and has this fingerprint.

        The files of the task must exist with their sizes; `damaged` checks their content.
        """
        record = self.read()
        if record is None or record.fingerprint != fingerprint:
            return None
        for path, (size, _) in record.files.items():
            if _size_of(self.folder / path) != size and not self._is_edited(path, size):
                return None
        return record

    def read(self) -> TaskRecord | None:
        """Return the result if it is intact, whatever its fingerprint."""
        try:
            content = self.result.read_bytes()
            # A result without a checksum is not trusted.
            if b'"checksum": "' not in content:
                return None
            return _RECORD.validate_python(read_checksummed(content))
        except (OSError, ValueError, RecursionError):
            return None

    def damaged(self, record: TaskRecord) -> Iterator[Path]:
        """Yield the files that have changed since the task wrote them; each is read whole."""
        for path, (size, digest) in record.files.items():
            file = self.folder / path
            if is_unchanged(file, size, digest):
                continue
            if self._is_edited(path, size):
                _log.info("%s was edited and is kept.", file)
                continue
            yield file

    def update_checksums(self, *paths: Path) -> None:
        """Record that files of the task were written again."""
        record = self.read()
        if record is not None:
            files = record.files | file_checksums(self.folder, paths)
            write_checksummed(self.result, vars(replace(record, files=files)))

    def _is_edited(self, path: str, size: int) -> bool:
        """Tell whether another program changed a file that it may change, and left it whole."""
        file = self.folder / path
        return path.endswith(_EDITED) and _size_of(file) != size and _is_whole_xml(file)

    def write_record(self, record: TaskRecord) -> None:
        """Write the result, and remove the error and progress of earlier attempts."""
        write_checksummed(self.result, vars(record))
        self.forget()

    def read_failure(self) -> Failure | None:
        """Return the error of the task, if it failed."""
        try:
            return _FAILURE.validate_python(read_json(self.failure))
        except ValueError:
            return None

    def write_failure(self, failure: Failure) -> None:
        """Write the error of the task."""
        write_json(self.failure, vars(failure))

    def forget(self) -> None:
        """Remove the error and the progress of an earlier attempt."""
        self.failure.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)

    def read_progress(self) -> tuple[float, str] | None:
        """Return the share done and what is being done, if the task reports it."""
        progress = read_json(self.progress) or {}
        try:
            return float(progress["share"]), str(progress["what"])
        except (KeyError, TypeError, ValueError):
            return None

    def read_log(self) -> str:
        """Return the output of the task; empty if it has none."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def reporter(self, listen: "Report | None" = None) -> "Report":
        """Return the function that writes the progress of the task, at most twice a second.

        Parameters
        ----------
        listen : called with every report, too
        """
        after = 0.0

        def report(share: float, what: str) -> None:
            """Write the share done, 0 to 1, and what is being done."""
            nonlocal after
            now = time.monotonic()
            if now >= after:
                after = now + 0.5
                # Nothing depends on it: it is not synced, and the result reports a full disk.
                draft = self.progress.with_name(f".{self.progress.name}.part")
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
                    draft.write_text(json.dumps({"share": float(share), "what": str(what)}))
                    os.replace(draft, self.progress)
            if listen is not None:
                listen(share, what)

        return report

    @contextmanager
    def redirected_output(self) -> Iterator[None]:
        """Redirect all output of this process, that of C code included, to the task's log.

        An empty log is removed: thousands of tasks need no empty files.
        """
        before = [os.dup(1), os.dup(2)]
        try:
            with open_to_append(self.log) as log:
                _redirect([log.fileno(), log.fileno()])
            yield
        finally:
            _redirect(before)
            for opened in before:
                os.close(opened)
            with suppress(OSError):
                if self.log.stat().st_size == 0:
                    self.log.unlink()


def _redirect(targets: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for number, target in enumerate(targets, start=1):
        os.dup2(target, number)


def task_record(plan: Plan, folder: str | Path, name: str) -> TaskRecord | None:
    """Return the result of a task of a plan, if it is done."""
    return TaskFiles(folder, name).read_record(plan.fingerprints[name])


def result_of(folder: str | Path, name: str) -> Any:
    """Return the result of a task that another task needs.

    Raises
    ------
    RunError
        If the task is not done in this folder.
    """
    found = TaskFiles(folder, name).read()
    if found is None:
        raise RunError(f"The task {name} has no result in {folder} yet; do it first.")
    return found.result


def file_checksums(folder: Path, paths: Iterable[Path]) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of the files that exist, by their paths in a folder."""
    names = {os.path.relpath(path, folder): path for path in sorted(paths)}
    return {
        name: (path.stat().st_size, file_sha256(path))
        for name, path in names.items()
        if path.is_file() and not name.startswith(f"{FOLDER}{os.sep}")
    }


def _size_of(path: Path) -> int | None:
    """Return the bytes of a regular file; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def is_unchanged(path: Path, size: int, digest: str) -> bool:
    """Tell whether a file has this size and SHA-256."""
    try:
        return _size_of(path) == size and file_sha256(path) == digest
    except OSError:
        return False


def _is_whole_xml(path: Path) -> bool:
    """Tell whether an XML file ends with the closing tag of its root element."""
    try:
        content = path.read_bytes() if (_size_of(path) or 0) <= _MAX_XML else b""
    except OSError:
        return False
    root = re.search(rb"<([A-Za-z][\w.-]*)", content)
    return root is not None and content.rstrip().endswith(b"</" + root[1] + b">")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
