"""Writing files so that a crash leaves either the old one or the new one."""

import errno
import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypercover.errors import OutputError

__all__ = [
    "atomic",
    "check_writable",
    "explained",
    "make_folder",
    "sweep_drafts",
    "write_json",
    "write_text",
]

_serial = itertools.count()
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the disk takes no file so large; free some space or choose another folder",
    errno.EACCES: "permission is denied; choose a folder you may write to",
    errno.EPERM: "permission is denied; choose a folder you may write to",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.EEXIST: "a file of that name is in the way; choose another name",
}


def explained(path: Path, error: OSError) -> OutputError:
    """Return the error of a file that could not be written, with what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(error.errno, f"Cannot write {path}: {reason}.")


def make_folder(path: str | Path) -> Path:
    """Make a folder (and its parents) and return it, or say why it cannot be.

    Raises
    ------
    OutputError
        If the folder cannot be made or is not a folder.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(folder, error) from error
    return folder


def check_writable(path: str | Path) -> None:
    """Refuse a file that could not be written, and leave the disk as it is.

    Why it exists: hours of work are no place to learn that their result has
    nowhere to go.

    Raises
    ------
    OutputError
        If a folder has its name, a part of the path is a file, or its folder
        may not be written to.
    """
    target = Path(path).absolute()
    try:
        if target.is_dir():
            raise OSError(errno.EISDIR, "a folder")
        there = next(folder for folder in target.parents if folder.exists())
        if not there.is_dir():
            raise OSError(errno.ENOTDIR, "a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "not allowed")
    except OSError as error:
        raise explained(Path(path), error) from error


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; it becomes ``path`` only if nothing fails.

    The temporary file lies beside the target and keeps its suffix, because
    writers such as GDAL choose the format by it.

    Raises
    ------
    OutputError
        If the disk is full, read-only or forbidden; the old file stays.
    """
    target = Path(path)
    make_folder(target.parent)
    draft = target.with_name(
        f".{target.stem}.{os.getpid()}-{next(_serial)}.part{target.suffix}"
    )
    try:
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(draft, target)
    except OutputError:
        raise
    except OSError as error:
        raise explained(target, error) from error
    finally:
        draft.unlink(missing_ok=True)


def sweep_drafts(path: str | Path) -> None:
    """Remove what processes that are no more left half-written of a file and its companions.

    A process that is killed cannot remove its draft itself.
    """
    target = Path(path)
    name = re.compile(rf"\.{re.escape(target.stem)}\.(.+\.)?(\d+)-\d+\.part\..+")
    for draft in target.parent.glob(".*.part.*"):
        found = name.fullmatch(draft.name)
        if found is not None and not _runs(int(found[2])):
            draft.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Tell whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON atomically; NaN is not JSON and is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
