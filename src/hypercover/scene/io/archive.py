"""Compressed NumPy archives with a checksum, read without trusting them."""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.files import DamageError, atomic
from hypercover.types import Array, Arrays

_MOST_ARRAYS = 256
_KINDS = "uifbU"
_SEAL, _DIGITS = b"sha256:", 64
"""Prefix of the archive's comment, and the number of hexadecimal digits after it."""
_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, TypeError,
           NotImplementedError, RuntimeError, MemoryError, SyntaxError, TokenError)  # fmt: skip
"""Errors of NumPy and zipfile on damaged and malicious files."""


def save_arrays(path: str | Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a compressed NumPy archive of plain arrays atomically.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    plain: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    with atomic(path) as draft:
        with draft.open("wb") as file:
            np.savez_compressed(file, **plain)
        _seal(draft)


def _seal(path: Path) -> None:
    """Write the checksum of an archive into its comment, which other programs ignore."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = _SEAL + bytes(_DIGITS)
    with path.open("rb+") as file:
        content = file.read()[:-_DIGITS]
        file.seek(len(content))
        file.write(hashlib.sha256(content).hexdigest().encode())


def _unsealed(path: Path) -> bytes:
    """Return the bytes of an archive after checking its checksum; old ones have none."""
    content = path.read_bytes()
    body, digits = content[:-_DIGITS], content[-_DIGITS:]
    sealed = body.endswith(_SEAL) or re.fullmatch(rb"[0-9a-f]{64}", digits)
    if sealed and hashlib.sha256(body).hexdigest().encode() != digits:
        raise DamageError("its checksum differs: it was changed or damaged")
    return content


def load_arrays(path: str | Path, most_bytes: int) -> Arrays:
    """Read an archive that :func:`save_arrays` wrote.

    Nothing is unpickled, and no more than ``most_bytes`` are unpacked.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is damaged, too large, or holds anything but plain arrays.
    """
    try:
        return _read(Path(path), most_bytes)
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise ValueError(str(error)[:120] or type(error).__name__) from error


def _read(path: Path, most_bytes: int) -> Arrays:
    if path.stat().st_size > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    with zipfile.ZipFile(io.BytesIO(_unsealed(path))) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > most_bytes or len(members) > _MOST_ARRAYS:
            raise ValueError(f"it declares {declared:,} bytes in {len(members)} arrays")
        return {
            member.filename.removesuffix(".npy"): _array(archive, member)
            for member in members
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read an array whose header claims no more than its bytes can hold."""
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    size = dtype.itemsize * prod(shape)
    if dtype.kind not in _KINDS or not 0 <= size <= member.file_size:
        raise ValueError(f"the array {member.filename[:40]!r} does not match its header")
    with archive.open(member) as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values
