"""Finished tiles beside the image they are for, so that work that was stopped goes on."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.files import atomic, write_text
from hypercover.scene.inputs import remember_inputs

__all__ = ["Layers", "TileStore", "inputs_of"]

Layers = dict[str, npt.NDArray[Any]]
"""The arrays of a tile by name."""

_PLAN, _INPUTS = "plan.json", "inputs.json"
_SUFFIX = ".tile"
_DIGEST = hashlib.sha256().digest_size


def inputs_of(target: Path) -> Path:
    """Return where it is remembered which files the tiles of an image are made of."""
    return _folder_of(target) / _INPUTS


def _folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.tiles")


class TileStore:
    """A hidden folder of tiles that were made from the same files in the same way.

    Why it exists: a scene takes hours and a job its end at any moment.  Each
    tile is one file that appears whole, after its checksum; a file that is cut
    short or changed is as good as none.  Tiles of anything else than what is
    asked for now are removed.

    Parameters
    ----------
    target : path
        The image; the folder lies beside it.
    plan : mapping
        Everything the tiles depend on, as JSON.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = TileStore(Path(folder) / "map.tif", {"model": "a"})
    ...     store.save(0, {"labels": np.array([[1, 2]])})
    ...     again = TileStore(Path(folder) / "map.tif", {"model": "a"})
    ...     held = again.load(0, {"labels": np.zeros((1, 2), int)})
    ...     other = TileStore(Path(folder) / "map.tif", {"model": "b"})
    ...     held["labels"].tolist(), other.load(0, {"labels": np.zeros((1, 2), int)})
    ([[1, 2]], None)
    """

    def __init__(self, target: Path, plan: Mapping[str, Any]) -> None:
        self.folder = _folder_of(target)
        self._plan = json.dumps(plan, indent=2, sort_keys=True, allow_nan=False) + "\n"
        if not self._is_ours():
            self.remove()

    def begin(self) -> None:
        """Write down what the tiles are made of, so that others keep theirs here too.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not (self.folder / _PLAN).exists():
            remember_inputs()
            write_text(self.folder / _PLAN, self._plan)

    def load(self, number: int | str, like: Layers) -> Layers | None:
        """Return a finished tile, or None where there is none that is whole.

        ``like`` has the layers, types and shapes that it must have; the number may be a
        name.
        """
        size = sum(array.nbytes for array in like.values())
        try:
            with self._file(number).open("rb") as opened:
                digest, values = opened.read(_DIGEST), opened.read(size + 1)
        except OSError:
            return None
        if len(values) != size or hashlib.sha256(values).digest() != digest:
            return None
        answers: Layers = {}
        place = 0
        for layer, array in like.items():
            part = np.frombuffer(values, array.dtype, array.size, place)
            answers[layer], place = part.reshape(array.shape), place + array.nbytes
        return answers

    def save(self, number: int | str, answers: Layers) -> None:
        """Keep a finished tile.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self.begin()
        values = b"".join(array.tobytes() for array in answers.values())
        with atomic(self._file(number)) as draft, draft.open("wb") as opened:
            opened.write(hashlib.sha256(values).digest())
            opened.write(values)

    def remove(self) -> None:
        """Remove the tiles, their plan, drafts, and the folder if nothing else is in it."""
        if not self.folder.is_dir():
            return
        # The plan goes last: until then what is left is still known.
        for pattern in (f"*{_SUFFIX}", ".*.part*", _INPUTS, _PLAN):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _file(self, number: int | str) -> Path:
        return self.folder / f"{number}{_SUFFIX}"

    def _is_ours(self) -> bool:
        """Tell whether the tiles that are there were made by the same plan."""
        try:
            with (self.folder / _PLAN).open("rb") as opened:
                known = opened.read(len(self._plan.encode()) + 1)
        except OSError:
            return False
        return known == self._plan.encode()
