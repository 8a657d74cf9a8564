"""NumPy's .npy and .npz files: read without trusting them, and written with a checksum."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.files import DamageError, atomic
from hypercover.memory import check_memory, check_unpacking
from hypercover.scene.io.named_arrays import NamedArray, explain_damage
from hypercover.types import Array, Arrays


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Read shape and type."""
    first = np.lib.format.read_magic(file) == (1, 0)
    read = (
        np.lib.format.read_array_header_1_0
        if first
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype


def list_npy(path: Path) -> list[NamedArray]:
    """Return the only array of an .npy file, which is memory-mapped.

    Raises
    ------
    SceneError
        If the file is damaged or shorter than it declares.
    """
    with explain_damage(path, "NumPy"), path.open("rb") as file:
        shape, dtype = _read_header(file)
        header = file.tell()
    needed = header + prod(shape) * dtype.itemsize
    if dtype.kind != "O" and path.stat().st_size < needed:
        raise SceneError(
            f"{path} is cut short: {needed:,} bytes are declared and "
            f"{path.stat().st_size:,} are there; copy or download it again."
        )
    return [NamedArray(path.stem, shape, dtype.kind, partial(_memory_map, path))]


def _memory_map(path: Path) -> Array:
    with explain_damage(path, "NumPy"):
        values: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def list_npz(path: Path) -> list[NamedArray]:
    """List the arrays of an .npz file by their headers.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    with explain_damage(path, "NumPy"), zipfile.ZipFile(path) as archive:
        arrays = []
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    shape, dtype = _read_header(file)
                read = partial(_unpack, path, name, prod(shape) * dtype.itemsize)
                arrays.append(NamedArray(name[: -len(".npy")], shape, dtype.kind, read))
        return arrays


def _unpack(path: Path, name: str, n_bytes: int) -> Array:
    check_memory(n_bytes, f"Array {name} of {path}")
    with (
        explain_damage(path, "NumPy"),
        zipfile.ZipFile(path) as archive,
        archive.open(name) as file,
    ):
        stored = archive.getinfo(name).compress_size
        check_unpacking(n_bytes, stored, f"Array {name} of {path}")
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values


_MAX_ARRAYS = 256
_KINDS = "uifbU"
_SEAL, _DIGITS = b"sha256:", 64
"""Prefix of the archive's comment, and the number of hexadecimal digits after it."""


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


def load_arrays(path: str | Path, max_bytes: int) -> Arrays:
    """Read an archive that :func:`save_arrays` wrote.

    Nothing is unpickled, and no more than ``max_bytes`` are unpacked.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is damaged, too large, or holds anything but plain arrays.
    """
    try:
        return _read_archive(Path(path), max_bytes)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(str(error)[:120] or type(error).__name__) from error


def _read_archive(path: Path, max_bytes: int) -> Arrays:
    if path.stat().st_size > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    with zipfile.ZipFile(io.BytesIO(_unsealed(path))) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > max_bytes or len(members) > _MAX_ARRAYS:
            raise ValueError(f"it declares {declared:,} bytes in {len(members)} arrays")
        arrays = {member.filename: _array(archive, member) for member in members}
        return {name.removesuffix(".npy"): array for name, array in arrays.items()}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read an array whose header claims no more than its bytes can hold."""
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
    size = dtype.itemsize * prod(shape)
    if dtype.kind not in _KINDS or not 0 <= size <= member.file_size:
        raise ValueError(f"the array {member.filename[:40]!r} does not match its header")
    with archive.open(member) as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values
