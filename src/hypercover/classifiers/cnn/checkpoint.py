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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors
from torch import nn

from hypercover.classifiers.cnn.optimiser import (
    load_optimiser_tensors,
    make_optimiser,
    optimiser_tensor_shapes,
    optimiser_tensors,
)
from hypercover.classifiers.cnn.serialization import checked_history
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError
from hypercover.files import atomic, is_abandoned, make_folder, write_json

__all__ = ["Checkpoints", "EpochRecord", "TrainingState"]

EpochRecord = dict[str, float]
"""Record of an epoch by name; ``CNNClassifier.history_`` says what is in it."""

Tensors = dict[str, torch.Tensor]


@dataclass(eq=False)
class TrainingState:
    """All that changes while a network is trained."""

    network: nn.Module
    recipe: Recipe
    generator: torch.Generator
    """Draws the order and the augmentation: all there is of chance."""
    order: torch.Tensor
    """Order of the windows in the present epoch (n,)."""
    totals: torch.Tensor
    """Summed loss, right answers and windows of the present epoch (3,), float64."""
    step: int = 0
    """Steps taken."""
    batch: int = 0
    """Batches of the present epoch that were seen; 0: no order was drawn yet."""
    history: list[EpochRecord] = field(default_factory=list)
    """Records of the epochs that ended."""

    def __post_init__(self) -> None:
        """Begin: an optimiser without memory, and no weights better than these."""
        self.optimiser = make_optimiser(self.network, self.recipe)
        self.best: Tensors = {}
        if self.recipe.patience is not None:
            self.keep_best()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds that were spent on it, over all interruptions."""
        return time.perf_counter() - self._began

    def keep_best(self) -> None:
        """Keep a copy of the present weights as the best."""
        state = self.network.state_dict()
        self.best = {name: value.clone() for name, value in state.items()}

    def packed(self) -> tuple[dict[str, Any], Tensors]:
        """Return it as JSON values and tensors by name."""
        values = {
            "step": self.step,
            "batch": self.batch,
            "history": self.history,
            "seconds": self.seconds,
        }
        return values, {
            **_add_prefix("network", self.network.state_dict()),
            **_add_prefix("optimiser", optimiser_tensors(self.optimiser)),
            **_add_prefix("best", self.best),
            "order": self.order,
            "totals": self.totals,
            "generator": self.generator.get_state(),
        }

    def unpack(self, values: Mapping[str, Any], tensors: Tensors) -> None:
        """Go to where ``packed`` was called; nothing is changed unless all of it fits.

        Raises
        ------
        ModelError
            If anything is missing or has another type, shape or range.
        """
        self._check_tensors(tensors)
        step, batch = (_count(values, name) for name in ("step", "batch"))
        history = checked_history(values.get("history"))
        seconds = values.get("seconds")
        if not isinstance(seconds, float) or not 0 <= seconds < 1e12:
            raise ModelError("its seconds are no number")
        self._set_generator(tensors["generator"])
        self.step, self.batch, self.history = step, batch, history
        self._began = time.perf_counter() - seconds
        self.order = tensors["order"]
        self.totals.copy_(tensors["totals"])
        self.network.load_state_dict(_strip_prefix("network", tensors))
        device = self.totals.device
        best = _strip_prefix("best", tensors)
        self.best = {name: value.to(device) for name, value in best.items()}
        load_optimiser_tensors(self.optimiser, _strip_prefix("optimiser", tensors))

    def _check_tensors(self, tensors: Tensors) -> None:
        """Refuse tensors that are not those of this training."""
        _, own = self.packed()
        expected = {
            name: (tuple(value.shape), value.dtype)
            for name, value in own.items()
            if not name.startswith("optimiser.")
        }
        for name, shape in optimiser_tensor_shapes(self.network, self.recipe).items():
            expected[f"optimiser.{name}"] = (shape, torch.float32)
        found = {name: (tuple(each.shape), each.dtype) for name, each in tensors.items()}
        if found != expected:
            raise ModelError("its tensors are not those of this training")
        if not torch.equal(tensors["order"].sort().values, torch.arange(len(self.order))):
            raise ModelError("its order of the windows is none")

    def _set_generator(self, state: torch.Tensor) -> None:
        try:
            self.generator.set_state(state)
        except RuntimeError as error:
            raise ModelError("its generator of chance has no valid state") from error


def _add_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _strip_prefix(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or not 0 <= value < 2**62:
        raise ModelError(f"its {name} is no count")
    return value


INTERVAL = 30.0
"""Seconds between checkpoints."""

_FORMAT, _VERSION = "hypercover-checkpoint", 1

_MAX_CHECKPOINTS = 2

_MAX_HEADER_BYTES = 2**16

_MAX_BYTES = 2**33

_SHA256_LENGTH = 64
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

    def save(self, standing: TrainingState) -> None:
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

    def restore(self, standing: TrainingState) -> bool:
        """Bring a training to its last checkpoint that is whole, if there is one.

        Raises
        ------
        ModelError
            If a checkpoint is of another training.
        """
        for path in self._headers():
            try:
                about, tensors = _read_checkpoint(path)
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
        kept = {path.stem for path in self._headers()[:_MAX_CHECKPOINTS]}
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
        elif isinstance(new, str) and len(new) == _SHA256_LENGTH:
            yield f"its {name} differ"
        else:
            yield f"its {name} was {old!r:.40}, not {new!r:.40}"


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a checkpoint after checking its size and checksum; ValueError if damaged."""
    with path.open("rb") as opened:
        header = json.loads(opened.read(_MAX_HEADER_BYTES))
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError("it has no header of a checkpoint")
    if header.get("version") != _VERSION:
        raise ValueError("it is of another version")
    weights = path.with_suffix(".safetensors")
    with weights.open("rb") as opened:
        if opened.seek(0, 2) > _MAX_BYTES:
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
