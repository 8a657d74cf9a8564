"""The arrays of NumPy's .npy and .npz files, never unpickled."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from hypercover.errors import SceneError
from hypercover.scene.io.limits import check_memory, check_unpacking
from hypercover.scene.io.named_arrays import NamedArray
from hypercover.types import Array

_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error,
           NotImplementedError, RuntimeError, MemoryError, SyntaxError,
           TokenError)  # fmt: skip


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except SceneError:
        raise
    except _BROKEN as error:
        raise SceneError(
            f"{path} cannot be read as a NumPy file: it is damaged or cut short "
            f"({type(error).__name__}); copy or download it again."
        ) from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Read shape and type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def list_npy(path: Path) -> list[NamedArray]:
    """Return the only array of an .npy file, which is memory-mapped.

    Raises
    ------
    SceneError
        If the file is damaged or shorter than it declares.
    """
    with _explained(path), path.open("rb") as file:
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
    with _explained(path):
        values: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def list_npz(path: Path) -> list[NamedArray]:
    """List the arrays of an .npz file by their headers.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    with _explained(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return [_list_member(path, archive, name) for name in names]


def _list_member(path: Path, archive: zipfile.ZipFile, name: str) -> NamedArray:
    with archive.open(name) as file:
        shape, dtype = _read_header(file)
    read = partial(_unpack, path, name, prod(shape) * dtype.itemsize)
    return NamedArray(name.removesuffix(".npy"), shape, dtype.kind, read)


def _unpack(path: Path, name: str, n_bytes: int) -> Array:
    check_memory(n_bytes, f"Array {name} of {path}")
    with _explained(path), zipfile.ZipFile(path) as archive, archive.open(name) as file:
        stored = archive.getinfo(name).compress_size
        check_unpacking(n_bytes, stored, f"Array {name} of {path}")
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values
