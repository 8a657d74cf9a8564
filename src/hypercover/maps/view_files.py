"""Archives of plain arrays that the page draws its maps from, read back with care."""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.files import atomic

__all__ = ["Arrays", "keep_arrays", "read_arrays", "view_step"]

_log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]
_MOST_PIXELS = 250_000
"""Pixels of a scene that a page shows; larger ones are thinned out."""
_MOST_BYTES = 2**28
"""Bytes of all arrays of one file; no view needs as many."""
_MOST_ARRAYS = 256
_KINDS = "uifbU"


def view_step(shape: tuple[int, int], most: int = _MOST_PIXELS, multiple: int = 1) -> int:
    """Return the step at which a scene of (rows, columns) is thinned out for the page.

    The smallest multiple of ``multiple`` that leaves at most so many pixels.

    Examples
    --------
    >>> view_step((145, 145)), view_step((1417, 617)), view_step((145, 145), 5000, 2)
    (1, 2, 4)
    """
    step = multiple
    while -(-shape[0] // step) * -(-shape[1] // step) > max(1, most):
        step += multiple
    return step


def keep_arrays(path: str | Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a compressed NumPy archive of plain arrays, whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    plain: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    with atomic(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **plain)


def read_arrays(path: str | Path) -> Arrays | None:
    """Read an archive that :func:`keep_arrays` wrote, or None where there is no whole one.

    Nothing is unpickled, and no more is read than a view can hold: what lies in
    a folder may come from anybody.
    """
    try:
        return _read(Path(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError,
            NotImplementedError, RuntimeError, zipfile.BadZipFile, zipfile.error) as error:  # fmt: skip
        _log.warning("%s is left out of the report: %s", path, str(error)[:120])
        return None


def _read(path: Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > _MOST_BYTES or len(members) > _MOST_ARRAYS:
            raise ValueError(f"it declares {declared:,} bytes in {len(members)} arrays")
        return {
            member.filename.removesuffix(".npy"): _array(archive, member)
            for member in members
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Read one array whose header promises no more than its bytes can hold."""
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    size = dtype.itemsize * int(np.prod([float(side) for side in shape]))
    if dtype.kind not in _KINDS or size > member.file_size:
        raise ValueError(f"the array {member.filename[:40]!r} is not what it says")
    with archive.open(member) as file:
        values: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return values
