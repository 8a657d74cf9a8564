"""Checkpoints: a training under way in a folder, so that it can go on after a crash.

A checkpoint is ``step-N.safetensors`` (all tensors, and the rest as JSON in its
metadata) and ``step-N.json``, which holds its checksum and is written last: a
crash in between leaves a checkpoint that is not there.  Nothing is unpickled.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from hypercover.classifiers.standing import Standing
from hypercover.errors import ModelError
from hypercover.files import atomic, is_abandoned, make_folder, write_json

__all__ = ["Checkpoints"]

INTERVAL = 30.0
"""Seconds between checkpoints."""
_FORMAT, _VERSION = "hypercover-checkpoint", 1
_KEPT = 2
_MOST_TEXT = 2**16
_MOST_BYTES = 2**33
_DIGEST = 64
"""Letters of a SHA-256, which says nothing to a reader."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one training in a folder.

    Parameters
    ----------
    folder : path
    identity : mapping of str to JSON values
        What the training is: with another identity its checkpoints are refused.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = Path(folder), dict(identity)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether the last checkpoint is so old that another one is worth its time."""
        return time.monotonic() - self._last >= INTERVAL

    def save(self, standing: Standing) -> None:
        """Write where a training stands; the last two such moments are kept.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        values, tensors = standing.packed()
        about = json.dumps({"identity": self._identity, "values": values}, allow_nan=False)
        arrays = {name: each.detach().cpu().numpy() for name, each in tensors.items()}
        data = safetensors.save(arrays, metadata={"about": about})
        path = make_folder(self._folder) / f"step-{standing.step:09d}.safetensors"
        with atomic(path) as draft:
            draft.write_bytes(data)
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        write_json(path.with_suffix(".json"), header)
        self._tidy()
        self._last = time.monotonic()

    def restore(self, standing: Standing) -> bool:
        """Bring a training to its last checkpoint that is whole, if there is one.

        Raises
        ------
        ModelError
            If a checkpoint is of another training.
        """
        for path in self._headers():
            try:
                about, tensors = _read(path)
            except (OSError, ValueError, RecursionError, SafetensorError) as error:
                _log.warning("The checkpoint %s is left aside: %s.", path, error)
                continue
            self._check_identity(about.get("identity"))
            try:
                standing.unpack(about["values"], tensors)
            except (KeyError, ModelError) as error:
                _log.warning("The checkpoint %s is left aside: %s.", path, error)
                continue
            return True
        return False

    def _headers(self) -> list[Path]:
        """Return the headers of all checkpoints, the latest first."""
        return sorted(self._folder.glob("step-*.json"), reverse=True)

    def _tidy(self) -> None:
        """Remove all but the last checkpoints, and what writers that were killed left.

        The draft of another writer that lives stays: after the death of a machine its
        copy of a training may run on beside the one that was started in its place.
        """
        kept = {path.stem for path in self._headers()[:_KEPT]}
        for path in self._folder.glob("step-*"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".step-*"):
            if is_abandoned(path.name):
                path.unlink(missing_ok=True)

    def _check_identity(self, found: Any) -> None:
        """Refuse the checkpoint of another training, naming what differs."""
        if found == self._identity:
            return
        found = found if isinstance(found, dict) else {}
        said = ", ".join(_differences(found, self._identity)) or "it says nothing of itself"
        raise ModelError(
            f"The checkpoints in {self._folder} are of another training: {said}; use "
            "another folder, or remove this one to begin anew."
        )


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Say what differs between two identities, entry by entry."""
    for name in wanted:
        old, new = found.get(name), wanted[name]
        if old == new:
            continue
        if isinstance(new, dict) and isinstance(old, dict):
            yield from _differences(old, new)
        elif isinstance(new, str) and len(new) == _DIGEST:
            yield f"its {name} differ"
        else:
            yield f"its {name} was {old!r:.40}, not {new!r:.40}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a checkpoint after checking its size and checksum; ValueError if damaged."""
    with path.open("rb") as opened:
        header = json.loads(opened.read(_MOST_TEXT))
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError("it has no header of a checkpoint")
    if header.get("version") != _VERSION:
        raise ValueError("it is of another version")
    weights = path.with_suffix(".safetensors")
    with weights.open("rb") as opened:
        if opened.seek(0, 2) > _MOST_BYTES:
            raise ValueError("it is larger than any network")
        opened.seek(0)
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != header.get("sha256"):
        raise ValueError("its checksum is wrong")
    with safe_open(weights, "pt") as opened:
        about = json.loads((opened.metadata() or {}).get("about", "null"))
        tensors = {name: opened.get_tensor(name) for name in list(opened.keys())}
    if not isinstance(about, dict) or not isinstance(about.get("values"), dict):
        raise ValueError("it does not say where the training stood")
    return about, tensors
