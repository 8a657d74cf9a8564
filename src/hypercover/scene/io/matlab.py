"""The numeric arrays of MATLAB files of version 5.

SciPy reads these files as well, but damaged files crash its compiled reader (a segmentation
fault). Here every length is checked before it is used; cells, structs and objects are listed
but never read.

Source: The MathWorks, "MAT-File Format", sections on the level 5 format.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hypercover.memory import check_memory, check_unpacking
from hypercover.scene.io.named_arrays import NamedArray, explain_damage
from hypercover.types import Array

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""Types of stored numbers; MATLAB keeps whole doubles in the smallest that fits."""
_NUMERIC = range(6, 16)
"""Array classes from double to uint64."""
_COMPLEX, _LOGICAL = 0x800, 0x200
_MAX_NAME, _MAX_AXES, _MAX_ARRAYS = 4096, 32, 10_000
_CHUNK = 2**20


class _DamageError(ValueError):
    """The bytes violate the format."""


@dataclass(frozen=True)
class _Head:
    """The metadata in front of the numbers of one array."""

    name: str
    """Name of the variable."""
    shape: tuple[int, ...]
    """Lengths of its axes."""
    dtype: np.dtype[np.generic] | None = None
    """Type of the stored numbers; None for anything but real numbers."""
    kind: str = "O"
    """NumPy's letter; b if they are true or false in MATLAB, c with imaginary parts."""
    inside: bytes | None = None
    """The numbers themselves, if their tag holds them: four bytes at most."""

    @property
    def n_bytes(self) -> int:
        """Size of the numbers."""
        return prod(self.shape) * (self.dtype.itemsize if self.dtype else 0)


class _Source:
    """The bytes of one top-level element, unpacked while they are read."""

    def __init__(self, file: BinaryIO, order: str, length: int, *, packed: bool) -> None:
        self._file, self._order, self._left = file, order, length
        self._unpacker = zlib.decompressobj() if packed else None

    def _raw(self, count: int) -> bytes:
        data = self._file.read(min(count, self._left))
        self._left -= len(data)
        return data

    def some(self, count: int) -> bytes:
        """Read at most this many bytes; empty at the end."""
        if self._unpacker is None:
            return self._raw(count)
        while True:
            waiting = self._unpacker.unconsumed_tail or self._raw(_CHUNK)
            data = self._unpacker.decompress(waiting, count)
            if data or not waiting:
                return data

    def fill(self, target: bytearray) -> bytearray:
        """Fill a buffer to its end."""
        view, done = memoryview(target), 0
        while done < len(target):
            data = self.some(min(_CHUNK, len(target) - done))
            if not data:
                raise _DamageError("the file ends within an array")
            view[done : done + len(data)] = data
            done += len(data)
        return target

    def numbers(self, code: str, data: bytes | bytearray) -> tuple[int, ...]:
        """Unpack numbers in the byte order of the file."""
        return struct.unpack(self._order + code, data)

    def tag(self) -> tuple[int, int, bytes | None]:
        """Read a tag: type and length of the data, and the data if the tag holds them."""
        raw = self.fill(bytearray(8))
        first, second = self.numbers("II", raw)
        if not first >> 16:
            return first, second, None
        kind, length = first & 0xFFFF, first >> 16
        if length > 4:
            raise _DamageError("a short element is too long")
        return kind, length, bytes(raw[4 : 4 + length])

    def part(self, max_bytes: int) -> bytes:
        """Read a small element whole."""
        _, length, data = self.tag()
        if data is not None:
            return data
        if length > max_bytes:
            raise _DamageError("an element is too long")
        return bytes(self.fill(bytearray(length + -length % 8))[:length])

    def head(self) -> _Head:
        """Read flags, shape and name of a matrix, and check the tag of its numbers."""
        kind, _, inside = self.tag()
        if kind != _MATRIX or inside is not None:
            return _Head("", ())
        flags, _ = self.numbers("II", self.part(8))
        axes = self.part(4 * _MAX_AXES)
        shape = self.numbers(f"{len(axes) // 4}i", axes)
        if min(shape, default=0) < 0:
            raise _DamageError("an axis has a negative length")
        name = self.part(_MAX_NAME).decode("utf-8", "replace").rstrip("\0")
        if flags & 0xFF not in _NUMERIC or flags & _COMPLEX:
            return _Head(name, shape, kind="c" if flags & 0xFF in _NUMERIC else "O")
        kind, length, inside = self.tag()
        if kind not in _STORED:
            raise _DamageError("the numbers are of an unknown type")
        dtype: np.dtype[np.generic] = np.dtype(self._order + _STORED[kind])
        if length != prod(shape) * dtype.itemsize:
            raise _DamageError("the numbers do not fill the shape")
        return _Head(name, shape, dtype, "b" if flags & _LOGICAL else dtype.kind, inside)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file behind its header, with its byte order; explain any damage."""
    damage = "damaged, older than version 5"
    with explain_damage(path, "MATLAB", damage), path.open("rb") as file:
        header = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise _DamageError("the header is damaged")
        yield file, order


def _element(file: BinaryIO, order: str) -> tuple[_Source, int] | None:
    """Begin the next top-level element; also return where it ends."""
    tag = file.read(8)
    if not tag:
        return None
    kind, length = struct.unpack(f"{order}II", tag)
    if kind not in (_MATRIX, _COMPRESSED):
        raise _DamageError("an element is of an unknown type")
    end = file.tell() + length
    if kind == _MATRIX:
        file.seek(-8, 1)
        return _Source(file, order, length + 8, packed=False), end + -length % 8
    return _Source(file, order, length, packed=True), end


def list_arrays(path: Path) -> list[NamedArray]:
    """List the arrays of a MATLAB file of version 5; only real numbers can be read.

    Raises
    ------
    SceneError
        If the file is damaged or cut short.
    """
    arrays: list[NamedArray] = []
    size = path.stat().st_size
    with _opened(path) as (file, order):
        start = file.tell()
        while (element := _element(file, order)) is not None:
            source, end = element
            head = source.head()
            if end > size + 7 or len(arrays) >= _MAX_ARRAYS:
                raise _DamageError("the last array is cut short")
            if head.name:
                read = partial(_read, path, start)
                arrays.append(NamedArray(head.name, head.shape, head.kind, read))
            file.seek(end)
            start = end
    return arrays


def _read(path: Path, start: int) -> Array:
    """Read the numbers of the array that begins at this byte."""
    with _opened(path) as (file, order):
        file.seek(start)
        element = _element(file, order)
        if element is None:
            raise _DamageError("the array is gone")
        head = element[0].head()
        if head.dtype is None:
            raise _DamageError("the array is not of numbers")
        what = f"Variable {head.name} of {path}"
        check_memory(head.n_bytes, what)
        check_unpacking(head.n_bytes, element[1] - start, what)
        raw = head.inside or element[0].fill(bytearray(head.n_bytes))
        numbers = np.frombuffer(raw, head.dtype)
    native = numbers.astype(head.dtype.newbyteorder("="), copy=False)
    return native.reshape(head.shape, order="F")
