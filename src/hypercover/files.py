"""Writing files so that a crash leaves either the old one or the new one."""

import csv
import errno
import hashlib
import io
import itertools
import json
import os
import platform
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from hypercover.errors import OutputError

__all__ = [
    "DRAFT",
    "DamageError",
    "adopt",
    "atomic",
    "check_local",
    "check_writable",
    "csv_text",
    "digest_of",
    "disown",
    "explained",
    "in_any_case",
    "is_abandoned",
    "is_address",
    "make_folder",
    "missing_folders",
    "modified",
    "open_to_append",
    "read_sealed",
    "sweep_drafts",
    "write_json",
    "write_sealed",
    "write_text",
    "written",
]

DRAFT = re.compile(
    r"\..+\.((?P<machine>[0-9a-f]{8})-)?(?P<process>\d+)-\d+\.part(\..+)?", re.DOTALL
)
"""What `atomic` calls a file that is not whole yet."""

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")
"""An address, also one that went through Path, which takes two slashes for one; no drive
letter."""
_VIRTUAL = re.compile(r"/+vsi[a-z0-9_]*([/?]|$)", re.IGNORECASE)
"""The file systems of GDAL: /vsicurl/, /vsizip/, /vsicurl?url=."""
_FORMULA = re.compile(r"[=+\-@\t\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet computes, and the same signs in full width."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_serial = itertools.count()
_watchers: list[set[Path]] = []
"""Who is told of each file that is written, of this process."""
_SEAL = b',\n  "checksum": "'
"""What comes before the checksum of a sealed JSON file."""
_END = b'"\n}\n'
_UNSEALED = re.compile(rb'"[^"\n]*": "[0-9a-f]{64}"\s*\}\s*\Z')
_OLD_ENDS = re.compile(rb'"sha256": "[0-9a-f]{64}"\s*\}\s*\Z')
"""How files of before ended that were not sealed."""
_LONGEST_PART = 255
"""Bytes that the usual file systems allow for each part of a path."""
_LONGEST_PATH = 4096
"""Bytes that Linux allows for a path."""
_ADDED = 55
"""Bytes of them that the names of drafts and companions need beside the target's own."""
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the disk takes no file so large; free some space or choose another folder",
    errno.EACCES: "permission is denied; choose a folder you may write to",
    errno.EPERM: "permission is denied; choose a folder you may write to",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ELOOP: "a link is in the way; remove it",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.EEXIST: "a file of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


class DamageError(ValueError):
    """A file is not what was written: its checksum is another."""


def explained(path: Path, error: OSError) -> OutputError:
    """Return the error of a file that could not be written, with what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(error.errno, f"Cannot write {path}: {reason}.")


def is_address(path: str | Path) -> bool:
    """Tell whether a path names a network, or what GDAL takes for a file system of its own.

    Examples
    --------
    >>> is_address("https://example.org/map.tif"), is_address("/vsis3/bucket/map.tif")
    (True, True)
    >>> is_address("maps/map.tif"), is_address("C:/maps/map.tif")
    (False, False)
    """
    text = str(path)
    shared = text.startswith("\\\\")
    return shared or "://" in text or bool(_VIRTUAL.match(text) or _ADDRESS.match(text))


def check_local(path: str | Path) -> None:
    """Refuse to write to an address.

    Raises
    ------
    OutputError
        If the path names a network or a virtual file system of GDAL.
    """
    if is_address(path):
        raise OutputError(
            errno.EINVAL,
            f"Only files on this machine are opened and written, got {str(path)[:200]}; give "
            "the path of a file.",
        )


def modified(path: Path) -> int:
    """Return when a file was last written, in nanoseconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def make_folder(path: str | Path) -> Path:
    """Make a folder (and its parents) and return it, or say why it cannot be.

    Raises
    ------
    OutputError
        If the folder cannot be made or is not a folder.
    """
    check_local(path)
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(folder, error) from error
    return folder


def open_to_append(path: str | Path) -> BinaryIO:
    """Open a file to write at its end, unless its name is a link that leads elsewhere.

    Raises
    ------
    OSError
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab+")


def missing_folders(path: str | Path) -> list[Path]:
    """Return the folders above a file that are not there, the deepest first.

    Why it exists: who makes them and then writes nothing removes them again.
    """
    parents = Path(path).absolute().parents
    return [folder for folder in parents if not os.path.lexists(folder)]


def check_writable(path: str | Path) -> Path:
    """Return the path of a file that can be written, and leave the disk as it is.

    Why it exists: hours of work are no place to learn that their result has
    nowhere to go.

    Raises
    ------
    OutputError
        If a folder or a device has its name, a part of the path is a file, its
        folder may not be written to, or the name is too long.
    """
    check_local(path)
    target = Path(path)
    _check_length(target)
    try:
        if target.name in ("", "..") or target.is_dir():
            raise OSError(errno.EISDIR, "a folder")
        if target.exists() and not target.is_file():
            raise OSError(errno.EEXIST, "a device or a pipe")
        _check_folder(next(one for one in target.absolute().parents if one.exists()))
    except OSError as error:
        raise explained(target, error) from error
    return target


def _check_folder(folder: Path) -> None:
    """Raise the error that making a file in a folder would raise."""
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, "a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        sealed = os.statvfs(folder).f_flag & os.ST_RDONLY
        raise OSError(errno.EROFS if sealed else errno.EACCES, "not allowed")


def _check_length(target: Path) -> None:
    """Refuse a name that a file system, or a draft beside the file, has no room for."""
    *folders, name = (len(os.fsencode(part)) for part in ("", *target.parts))
    if name > _LONGEST_PART - _ADDED or max(folders, default=0) > _LONGEST_PART:
        raise OutputError(
            errno.ENAMETOOLONG,
            f"Cannot write {str(target)[:40]}…: a file may have a name of "
            f"{_LONGEST_PART - _ADDED} bytes and a folder one of {_LONGEST_PART}; choose a "
            "shorter one.",
        )
    if len(os.fsencode(target.absolute())) > _LONGEST_PATH - _LONGEST_PART:
        raise explained(target, OSError(errno.ENAMETOOLONG, "too long"))


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; it becomes ``path`` only if nothing fails.

    The temporary file lies beside the target and keeps its suffix, because
    writers such as GDAL choose the format by it.

    Raises
    ------
    OutputError
        If the disk is full, read-only or forbidden, or the name cannot be that of
        a file; the old file stays.
    """
    target = check_writable(path)
    make_folder(target.parent)
    draft = target.with_name(f".{target.stem}.{_writer()}.part{target.suffix}")
    try:
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(draft, target)
        for watcher in _watchers:
            watcher.add(target.absolute())
    except OutputError:
        raise
    except OSError as error:
        raise explained(target, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _writer() -> str:
    """Return a name that no other writer has: machines that share a disk count alike."""
    return f"{_machine()}-{os.getpid()}-{next(_serial)}"


@cache
def _machine() -> str:
    """Return a short name of this machine, the same in all its processes."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def is_abandoned(name: str) -> bool:
    """Tell whether a file is a draft whose writer, a process of this machine, is no more.

    Why it exists: a process that is killed cannot remove its draft itself, and a
    draft that somebody writes, perhaps on another machine, must stay.
    """
    found = DRAFT.fullmatch(name)
    if found is None or found["machine"] not in (None, _machine()):
        return False
    return not _runs(int(found["process"]))


def sweep_drafts(path: str | Path) -> None:
    """Remove what processes that are no more left half-written of a file and its companions.

    A process that is killed cannot remove its draft itself.
    """
    target = Path(path)
    for draft in target.parent.glob(".*.part.*"):
        own = draft.name.startswith(f".{target.stem}.")
        if own and is_abandoned(draft.name):
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


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows of cells as CSV text that no spreadsheet takes for formulas.

    Text that begins like a formula, as a class name in a stranger's file can, gets
    an apostrophe in front; numbers stay numbers, and None is an empty cell.

    Source: OWASP, CSV injection.

    Examples
    --------
    >>> csv_text([["name", "share"], ["=1+1", -0.5], ["Corn, late", None]])
    'name,share\n\'=1+1,-0.5\n"Corn, late",\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_harmless(cell) for cell in row] for row in rows
    )
    return text.getvalue()


def _harmless(cell: object) -> object:
    """Return a cell as it is, or with an apostrophe in front."""
    if isinstance(cell, str):
        # Alone, it ends a line for some readers, and Python's writer does not quote it.
        cell = cell.replace("\r", " ")
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def in_any_case(path: Path) -> Path | None:
    """Return the file or folder of this name, whatever the case of its letters; None without it.

    Why it exists: archives, drives and programs change the case of names, and
    what belongs together is named by one part of the other.
    """
    if path.exists():
        return path
    if not path.parent.is_dir():
        return None
    wanted = path.name.lower()
    alike = (one for one in sorted(path.parent.iterdir()) if one.name.lower() == wanted)
    return next(alike, None)


@contextmanager
def written() -> Iterator[set[Path]]:
    """Collect the paths of all files that `atomic` writes in the block, in any thread.

    Why it exists: whoever has work done can say afterwards what came of it.
    """
    paths: set[Path] = set()
    _watchers.append(paths)
    try:
        yield paths
    finally:
        # By identity: two empty sets are equal.
        _watchers[:] = [one for one in _watchers if one is not paths]


def adopt(path: str | Path) -> None:
    """Put a file on the lists of `written` as if it had been: what was written rests on it."""
    for watcher in _watchers:
        watcher.add(Path(path).absolute())


def disown(*paths: str | Path) -> None:
    """Take files, or all there are, off the lists of `written`: somebody else writes them anew."""
    for watcher in _watchers:
        others = {Path(path).absolute() for path in paths}
        watcher -= others or set(watcher)


def digest_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; nothing is held in memory.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_sealed(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object that ends with the SHA-256 of all that stands before it.

    Why it exists: a byte that a disk or a copy has changed must not become a
    figure in a report.

    Raises
    ------
    OutputError
        If the file cannot be written.
    ValueError
        If a value is no JSON, or there is none at all.
    """
    if not value or "checksum" in value:
        raise ValueError("a sealed file holds some keys, and none of them is checksum")
    body = json.dumps(value, indent=2, allow_nan=False).encode()[:-2]
    digest = hashlib.sha256(body).hexdigest().encode()
    with atomic(path) as draft:
        draft.write_bytes(body + _SEAL + digest + _END)


def read_sealed(content: bytes, **parse: Any) -> Any:
    """Return the JSON value of what `write_sealed` wrote, without its checksum.

    What never had a checksum is read as it is.

    Parameters
    ----------
    parse
        How numbers are read, as `json.loads` takes it: ``parse_int`` and so on.

    Raises
    ------
    DamageError
        If it is not what was written.
    ValueError
        If it is no JSON.

    Examples
    --------
    >>> read_sealed(b'{"a": 1}')
    {'a': 1}
    """
    body, seal, rest = content.rpartition(_SEAL)
    if seal:
        if rest != hashlib.sha256(body).hexdigest().encode() + _END:
            raise DamageError("its checksum is another: it was changed or damaged")
        content = body + b"\n}"
    elif _UNSEALED.search(content) and not _OLD_ENDS.search(content):
        raise DamageError("its checksum cannot be read: it was changed or damaged")
    return json.loads(content, **parse)
