"""Taking single files out of zip archives, and out of archives in archives."""

import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from hypercover.errors import RunError
from hypercover.files import atomic
from hypercover.scene.download import LARGEST

__all__ = ["unpack"]

_DEEPEST = 3
"""Archives within one another."""
_MOST_MEMBERS = 10_000
_CHUNK = 2**20


def unpack(archive: Path, name: str, target: Path) -> bool:
    """Take the file of a name out of a zip archive; tell whether it was there.

    Only the last part of a name counts, so no path in the archive leads
    anywhere.  Sizes, numbers and depth are bounded.

    Raises
    ------
    RunError
        If the archive is damaged, locked with a password or too large.
    OutputError
        If the file cannot be written.
    """
    try:
        return _look(archive, name, target, _DEEPEST)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise RunError(
            f"{archive} is a damaged archive; remove it and fetch it again."
        ) from error
    except RuntimeError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{archive} asks for a password; unpack it by hand.") from error


def _look(archive: Path, name: str, target: Path, depth: int) -> bool:
    with zipfile.ZipFile(archive) as opened:
        inner = []
        for member in opened.infolist()[:_MOST_MEMBERS]:
            called = PurePosixPath(member.filename).name
            if called == name and not member.is_dir():
                with atomic(target) as draft, draft.open("wb") as out:
                    _copy(opened.open(member), out, archive)
                return True
            if called.lower().endswith(".zip"):
                inner.append(member)
        return depth > 1 and any(
            _look_inside(opened, member, name, target, depth - 1) for member in inner
        )


def _look_inside(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, target: Path, depth: int
) -> bool:
    """Look into an archive in an archive, laid beside the target meanwhile."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
        inner = Path(folder) / "inner.zip"
        with opened.open(member) as source, inner.open("wb") as out:
            _copy(source, out, inner)
        return _look(inner, name, target, depth)


def _copy(source: IO[bytes], out: IO[bytes], archive: Path) -> None:
    """Copy no more than any known scene holds, whatever the archive declares."""
    copied = 0
    while chunk := source.read(_CHUNK):
        copied += len(chunk)
        if copied > LARGEST:
            raise RunError(f"{archive} holds more than {LARGEST // 2**30} GiB in one file.")
        out.write(chunk)
