"""Safe writing of files: atomic replacement, checksums, and clear errors."""

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

DRAFT = re.compile(
    r"\..+\.((?P<machine>[0-9a-f]{8})-)?(?P<process>\d+)-\d+\.part(\..+)?", re.DOTALL
)
"""Names of the temporary files of `atomic`."""

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")
"""An address, also after Path has merged its two slashes, but no drive letter."""
_VIRTUAL = re.compile(r"/+vsi[a-z0-9_]*([/?]|$)", re.IGNORECASE)
"""Virtual file systems of GDAL: /vsicurl/, /vsizip/, /vsicurl?url=."""
_FORMULA = re.compile(r"[=+\-@\t\uff1d\uff0b\uff0d\uff20]")
"""First characters of a spreadsheet formula, also in full width."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_serial = itertools.count()
_watchers: list[set[Path]] = []
"""Sets that collect the files written by this process."""
_SEAL = b',\n  "checksum": "'
"""Text before the checksum of a JSON file."""
_END = b'"\n}\n'
_UNSEALED = re.compile(rb'"[^"\n]*": "[0-9a-f]{64}"\s*\}\s*\Z')
_OLD_ENDS = re.compile(rb'"sha256": "[0-9a-f]{64}"\s*\}\s*\Z')
"""End of older files, which had another key instead of the checksum."""
_LONGEST_PART = 255
"""Bytes that common file systems allow for each part of a path."""
_LONGEST_PATH = 4096
"""Bytes that Linux allows for a path."""
_ADDED = 55
"""Bytes that the names of drafts and sidecars add to that of the target."""
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the disk cannot hold a file of this size; free some space or choose another folder",
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
    """A file was changed or damaged: its checksum is wrong."""


def write_error(path: Path, error: OSError) -> OutputError:
    """Turn an error on writing a file into an OutputError that says what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(error.errno, f"Cannot write {path}: {reason}.")


def is_address(path: str | Path) -> bool:
    """Tell whether a path is a network address or in a virtual file system of GDAL.

    Examples
    --------
    >>> is_address("https://example.org/map.tif"), is_address("/vsis3/bucket/map.tif")
    (True, True)
    >>> is_address("maps/map.tif"), is_address("C:/maps/map.tif")
    (False, False)
    """
    text = str(path)
    remote = text.startswith("\\\\") or "://" in text
    return remote or bool(_VIRTUAL.match(text) or _ADDRESS.match(text))


def check_local(path: str | Path) -> None:
    """Refuse to write to an address.

    Raises
    ------
    OutputError
        If the path is an address (:func:`is_address`).
    """
    if is_address(path):
        raise OutputError(
            errno.EINVAL,
            f"Only files on this machine are opened and written, got {str(path)[:150]}; give a path.",
        )


def modified_ns(path: Path) -> int:
    """Return when a file was last written, in ns since 1970; 0 if it does not exist."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def make_folder(path: str | Path) -> Path:
    """Create a folder with its parents, and return it.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    check_local(path)
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def open_to_append(path: str | Path) -> BinaryIO:
    """Open a file for appending, unless it is a symbolic link.

    Raises
    ------
    OSError
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab+")


def missing_folders(path: str | Path) -> list[Path]:
    """Return the parents of a file that do not exist yet, the deepest first."""
    parents = Path(path).absolute().parents
    return [folder for folder in parents if not os.path.lexists(folder)]


def check_writable(path: str | Path) -> Path:
    """Check that a file can be written, without touching the disk; return its path.

    Raises
    ------
    OutputError
        If its name is that of a folder or a device, a parent is a file or not
        writable, or the name is too long.
    """
    check_local(path)
    target = Path(path)
    _check_length(target)
    try:
        if target.name in ("", "..") or target.is_dir():
            raise OSError(errno.EISDIR, "a folder")
        if target.exists() and not target.is_file():
            raise OSError(errno.EEXIST, "a device or a pipe")
        folder = next(each for each in target.absolute().parents if each.exists())
        if not folder.is_dir():
            raise OSError(errno.ENOTDIR, "a file")
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if read_only else errno.EACCES, "not allowed")
    except OSError as error:
        raise write_error(target, error) from error
    return target


def _check_length(target: Path) -> None:
    """Refuse a name that is too long for the file system or for the name of a draft."""
    *folders, name = (len(os.fsencode(part)) for part in ("", *target.parts))
    if name > _LONGEST_PART - _ADDED or max(folders, default=0) > _LONGEST_PART:
        raise OutputError(
            errno.ENAMETOOLONG,
            f"Cannot write {str(target)[:40]}…: a file may have a name of "
            f"{_LONGEST_PART - _ADDED} bytes and a folder one of {_LONGEST_PART}; choose a "
            "shorter one.",
        )
    if len(os.fsencode(target.absolute())) > _LONGEST_PATH - _LONGEST_PART:
        raise write_error(target, OSError(errno.ENAMETOOLONG, "too long"))


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Provide a temporary path to write to, and rename it to ``path`` on success.

    The temporary file is next to the target and has its suffix, by which writers
    such as GDAL choose the format.

    Raises
    ------
    OutputError
        If the file cannot be written; the old file stays.
    """
    target = check_writable(path)
    make_folder(target.parent)
    # Unique among all processes of all machines that share a disk.
    writer = f"{_machine()}-{os.getpid()}-{next(_serial)}"
    draft = target.with_name(f".{target.stem}.{writer}.part{target.suffix}")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
        add_written(target)
    except OutputError:
        raise
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        draft.unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Return a short hash of the name of this machine."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def is_abandoned_draft(name: str) -> bool:
    """Tell whether a file is a draft of a process of this machine that has ended.

    Drafts of other machines may still be in use.
    """
    match = DRAFT.fullmatch(name)
    if match is None or match["machine"] not in (None, _machine()):
        return False
    try:
        os.kill(int(match["process"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def remove_abandoned_drafts(path: str | Path) -> None:
    """Remove drafts of a file and its sidecars that killed processes have left."""
    target = Path(path)
    for draft in target.parent.glob(".*.part.*"):
        if draft.name.startswith(f".{target.stem}.") and is_abandoned_draft(draft.name):
            draft.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Format rows as CSV, with protection against formulas in spreadsheets.

    Text that begins like a formula, such as a class name from an untrusted file, is
    prefixed with an apostrophe (OWASP, CSV injection).  Numbers stay numbers; None is
    an empty cell.

    Examples
    --------
    >>> csv_text([["name", "share"], ["=1+1", -0.5], ["Corn, late", None]])
    'name,share\n\'=1+1,-0.5\n"Corn, late",\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_escaped(cell) for cell in row] for row in rows
    )
    return text.getvalue()


def _escaped(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    # Some readers take it for the end of a line, and the writer does not quote it.
    cell = cell.replace("\r", " ")
    formula = _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if formula else cell


def find_ignoring_case(path: Path) -> Path | None:
    """Find a file or folder whatever the case of its name; None if it does not exist.

    Archives, drives and programs change the case of names.
    """
    if path.exists():
        return path
    if not path.parent.is_dir():
        return None
    name = path.name.lower()
    matches = (each for each in sorted(path.parent.iterdir()) if each.name.lower() == name)
    return next(matches, None)


@contextmanager
def collect_written() -> Iterator[set[Path]]:
    """Collect the paths of all files that `atomic` writes in the block, in any thread."""
    paths: set[Path] = set()
    _watchers.append(paths)
    try:
        yield paths
    finally:
        # By identity: two empty sets are equal.
        _watchers[:] = [each for each in _watchers if each is not paths]


def add_written(path: str | Path) -> None:
    """Add a file to the sets of `collect_written` as if it had been written."""
    for watcher in _watchers:
        watcher.add(Path(path).absolute())


def discard_written(*paths: str | Path) -> None:
    """Remove files, or all of them, from the sets of `collect_written`."""
    for watcher in _watchers:
        others = {Path(path).absolute() for path in paths}
        watcher -= others or set(watcher)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it as a stream.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_checksummed(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object that ends with the SHA-256 of everything before.

    The checksum detects damage by a disk or a copy.

    Raises
    ------
    OutputError
        If the file cannot be written.
    ValueError
        If the object is empty, has a key ``checksum``, or cannot be written as JSON.
    """
    if not value or "checksum" in value:
        raise ValueError("the object must not be empty nor have a key 'checksum'")
    body = json.dumps(value, indent=2, allow_nan=False).encode()[:-2]
    digest = hashlib.sha256(body).hexdigest().encode()
    with atomic(path) as draft:
        draft.write_bytes(body + _SEAL + digest + _END)


def read_checksummed(content: bytes, **parse: Any) -> Any:
    """Parse JSON with a checksum as `write_checksummed` writes it, or without any.

    Parameters
    ----------
    content : bytes
    **parse
        Passed to `json.loads`: ``parse_int`` and so on.

    Raises
    ------
    DamageError
        If the checksum is wrong.
    ValueError
        If it is not JSON.

    Examples
    --------
    >>> read_checksummed(b'{"a": 1}')
    {'a': 1}
    """
    body, seal, rest = content.rpartition(_SEAL)
    if seal:
        if rest != hashlib.sha256(body).hexdigest().encode() + _END:
            raise DamageError("its checksum is wrong: it was changed or damaged")
        content = body + b"\n}"
    elif _UNSEALED.search(content) and not _OLD_ENDS.search(content):
        raise DamageError("its checksum cannot be read: it was changed or damaged")
    return json.loads(content, **parse)
