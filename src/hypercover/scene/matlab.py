"""Arrays of MATLAB files of versions 4 and 5; version 7.3 is HDF5 and read there."""

import struct
import zlib
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.members import Member
from hypercover.scene.memory import check_fits

__all__ = ["members"]

_KINDS = {
    "double": ("f", 8), "single": ("f", 4), "logical": ("b", 1),
    "int8": ("i", 1), "int16": ("i", 2), "int32": ("i", 4), "int64": ("i", 8),
    "uint8": ("u", 1), "uint16": ("u", 2), "uint32": ("u", 4), "uint64": ("u", 8),
}  # fmt: skip
_BROKEN = (
    ValueError, TypeError, KeyError, IndexError, OSError, EOFError, OverflowError,
    MemoryError, NotImplementedError, AttributeError, struct.error, zlib.error,
)  # fmt: skip
"""What SciPy raises on damaged files, depending on where the damage lies."""


def _damaged(path: Path, error: Exception) -> SceneError:
    return SceneError(
        f"{path} cannot be read as a MATLAB file: it is damaged or cut short "
        f"({type(error).__name__}); copy or download it again."
    )


def members(path: Path) -> list[Member]:
    """List the arrays of a MATLAB file; only plain numbers can be read from it.

    Raises
    ------
    SceneError
        If the file is damaged.
    """
    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    try:
        listed = whosmat(str(path))
    except (*_BROKEN, MatReadError) as error:
        raise _damaged(path, error) from error
    return [_member(path, *entry) for entry in listed]


def _member(path: Path, name: str, shape: tuple[int, ...], kind: str) -> Member:
    letter, size = _KINDS.get(kind, ("O", 0))
    read = partial(_read, path, name, shape, prod(shape) * size)
    return Member(name, tuple(int(part) for part in shape), letter, read)


def _read(
    path: Path, name: str, shape: tuple[int, ...], n_bytes: int
) -> npt.NDArray[np.generic]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    check_fits(n_bytes, f"Variable {name} of {path}")
    try:
        values = loadmat(str(path), variable_names=[name])[name]
    except (*_BROKEN, MatReadError) as error:
        raise _damaged(path, error) from error
    if not isinstance(values, np.ndarray) or values.shape != tuple(shape):
        raise SceneError(
            f"Variable {name} of {path} is not a plain array of numbers; save it "
            "as one in MATLAB."
        )
    return values
