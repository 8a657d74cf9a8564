"""Checkpoints: the state of a running training in a folder, to resume from after a crash.

A checkpoint is ``step-N.safetensors`` (all tensors, and the rest as JSON in its
metadata) and ``step-N.json``, which holds its checksum and is written last, so that an
interrupted write leaves no checkpoint.  Nothing is unpickled.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors
from torch import nn

from hypercover.classifiers.networks.recipe import Recipe, make_optimiser
from hypercover.errors import ModelError
from hypercover.files import atomic, is_abandoned_draft, make_folder, write_json

EpochRecord = dict[str, float]
"""Record of an epoch; ``CNNClassifier.history_`` lists its keys."""

History = list[dict[str, int | float]]
"""Records of the epochs of a training, as they are saved."""

Tensors = dict[str, torch.Tensor]

INTERVAL = 30.0
"""Seconds between checkpoints."""

_MAX_CHECKPOINTS = 2

_MAX_HEADER_BYTES = 2**16

_MAX_BYTES = 2**33

_SHA256_LENGTH = 64
"""Characters of a SHA-256, which is not worth showing."""

_log = logging.getLogger(__name__)

_Count = Annotated[int, Field(ge=0, lt=2**62)]


class Progress(BaseModel):
    """The progress of a training, without its tensors."""

    model_config = ConfigDict(strict=True)

    step: _Count
    """Steps taken."""
    batch: _Count
    """Batches of the current epoch already seen; 0: its order is not drawn yet."""
    history: History
    """Records of the finished epochs."""
    seconds: Annotated[float, Field(ge=0, lt=1e12)]
    """Seconds spent so far, over all interruptions."""


class _Header(BaseModel):
    format: Literal["hypercover-checkpoint"] = "hypercover-checkpoint"
    version: Literal[1] = 1
    sha256: str


class _Metadata(BaseModel):
    identity: Any = None
    """Everything that identifies a training."""
    values: Progress


@dataclass(eq=False)
class TrainingState:
    """All that changes while a network is trained."""

    network: nn.Module
    recipe: Recipe
    generator: torch.Generator
    """Draws the order and the augmentation."""
    order: torch.Tensor
    """Order of the windows in the current epoch (n,)."""
    totals: torch.Tensor
    """Sums of losses, correct answers and windows of the current epoch (3,), float64."""
    step: int = 0
    """Steps taken."""
    batch: int = 0
    """Batches of the current epoch already seen; 0: its order is not drawn yet."""
    history: list[EpochRecord] = field(default_factory=list)
    """Records of the finished epochs."""

    def __post_init__(self) -> None:
        """Start with a new optimiser, and with these weights as the best."""
        self.optimiser = make_optimiser(self.network, self.recipe)
        self.best: Tensors = {}
        if self.recipe.patience is not None:
            self.save_best()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds spent so far, over all interruptions."""
        return time.perf_counter() - self._began

    def save_best(self) -> None:
        """Copy the current weights as the best ones."""
        state = self.network.state_dict()
        self.best = {name: value.clone() for name, value in state.items()}

    def progress(self) -> Progress:
        """Return the part of the state that is not tensors."""
        return Progress.model_construct(
            step=self.step, batch=self.batch, history=self.history, seconds=self.seconds
        )

    def tensors(self) -> Tensors:
        """Return all tensors of the state by name."""
        parts = [("network", self.network.state_dict()), ("best", self.best)]
        for weight, state in self.optimiser.state_dict()["state"].items():
            moments = {name: value for name, value in state.items() if value is not None}
            parts.append((f"optimiser.{weight}", moments))
        named = {
            f"{part}.{name}": value
            for part, values in parts
            for name, value in values.items()
        }
        return named | {
            "order": self.order,
            "totals": self.totals,
            "generator": self.generator.get_state(),
        }

    def load(self, progress: Progress, tensors: Tensors) -> None:
        """Restore a state that was saved; nothing changes unless all of it is valid.

        Raises
        ------
        ModelError
            If a tensor is missing or has another type, shape or range.
        """
        self._check_tensors(tensors)
        try:
            self.generator.set_state(tensors["generator"])
        except RuntimeError as error:
            raise ModelError("its random generator has no valid state") from error
        self.step, self.batch = progress.step, progress.batch
        self.history = [dict(record) for record in progress.history]
        self._began = time.perf_counter() - progress.seconds
        self.order = tensors["order"]
        self.totals.copy_(tensors["totals"])
        parts: dict[str, Tensors] = {"network": {}, "optimiser": {}, "best": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            if part in parts:
                parts[part][name] = value
        self.network.load_state_dict(parts["network"])
        device = self.totals.device
        self.best = {name: value.to(device) for name, value in parts["best"].items()}
        moments: dict[int, Tensors] = {}
        for key, value in parts["optimiser"].items():
            weight, name = key.split(".")
            moments.setdefault(int(weight), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})

    def _check_tensors(self, tensors: Tensors) -> None:
        """Refuse tensors that are not those of this training."""
        expected = {
            name: (tuple(value.shape), value.dtype)
            for name, value in self.tensors().items()
            if not name.startswith("optimiser.")
        }
        if self.recipe.optimiser == "sgd":
            names = ["momentum_buffer"] if self.recipe.momentum else []
        else:
            names = ["exp_avg", "exp_avg_sq", "step"]
        for number, weight in enumerate(self.network.parameters()):
            for name in names:
                shape = () if name == "step" else tuple(weight.shape)
                expected[f"optimiser.{number}.{name}"] = shape, torch.float32
        if expected != {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()}:
            raise ModelError("its tensors are not those of this training")
        if not torch.equal(tensors["order"].sort().values, torch.arange(len(self.order))):
            raise ModelError("its order of the windows is not a permutation")


class Checkpoints:
    """The checkpoints of one training in a folder.

    Parameters
    ----------
    folder : path
    identity : mapping of str to JSON values
        Everything that identifies the training; checkpoints with another identity are
        refused.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = Path(folder), dict(identity)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether the last checkpoint is old enough for another one."""
        return time.monotonic() - self._last >= INTERVAL

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint and remove all but the last two.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        metadata = _Metadata.model_construct(
            identity=self._identity, values=state.progress()
        )
        data = safetensors.save(
            {name: each.detach().cpu().numpy() for name, each in state.tensors().items()},
            metadata={"about": metadata.model_dump_json()},
        )
        path = make_folder(self._folder) / f"step-{state.step:09d}.safetensors"
        with atomic(path) as draft:
            draft.write_bytes(data)
        header = _Header(sha256=hashlib.sha256(data).hexdigest())
        write_json(path.with_suffix(".json"), header.model_dump())
        self._remove_old()
        self._last = time.monotonic()

    def restore(self, state: TrainingState) -> bool:
        """Restore the last intact checkpoint; False if there is none.

        Raises
        ------
        ModelError
            If a checkpoint belongs to another training.
        """
        for path in self._headers():
            try:
                metadata, tensors = _read_checkpoint(path)
                changes = self._changes(metadata.identity)
                if not changes:
                    state.load(metadata.values, tensors)
                    return True
            except (OSError, ValueError, SafetensorError) as error:
                damaged = isinstance(error, ValidationError)
                reason = "its header or metadata is not valid" if damaged else error
                _log.warning("Skipping the checkpoint %s: %s.", path, reason)
            else:
                raise ModelError(
                    f"The checkpoints in {self._folder} belong to another training: {changes}; "
                    "use another folder, or delete this one to start again."
                )
        return False

    def _headers(self) -> list[Path]:
        """Return the headers of all checkpoints, the latest first."""
        return sorted(self._folder.glob("step-*.json"), reverse=True)

    def _remove_old(self) -> None:
        """Remove all but the last checkpoints, and drafts of writers that were killed.

        A draft of a live process stays: a training believed dead may still be running
        next to the one that replaced it.
        """
        last = {path.stem for path in self._headers()[:_MAX_CHECKPOINTS]}
        for path in self._folder.glob("step-*"):
            if path.stem not in last:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".step-*"):
            if is_abandoned_draft(path.name):
                path.unlink(missing_ok=True)

    def _changes(self, saved: Any) -> str:
        """Describe what differs from the identity of a checkpoint; empty if nothing does."""
        if saved == self._identity:
            return ""
        saved = saved if isinstance(saved, dict) else {}
        return ", ".join(_differences(saved, self._identity)) or "it has no description"


def _differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    """Describe what differs between two identities, entry by entry."""
    for name, new in current.items():
        old = saved.get(name)
        if old == new:
            continue
        if isinstance(new, dict) and isinstance(old, dict):
            yield from _differences(old, new)
        elif isinstance(new, str) and len(new) == _SHA256_LENGTH:
            yield f"its {name} differ"
        else:
            yield f"its {name} was {old!r:.40}, not {new!r:.40}"


def _read_checkpoint(path: Path) -> tuple[_Metadata, Tensors]:
    """Read a checkpoint after checking its size and checksum; ValueError if damaged."""
    with path.open("rb") as file:
        header = _Header.model_validate_json(file.read(_MAX_HEADER_BYTES))
    weights = path.with_suffix(".safetensors")
    with weights.open("rb") as file:
        if file.seek(0, 2) > _MAX_BYTES:
            raise ValueError("it is larger than any network")
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != header.sha256:
        raise ValueError("its checksum is wrong")
    with safe_open(weights, "pt") as file:
        metadata = _Metadata.model_validate_json((file.metadata() or {}).get("about", ""))
        return metadata, {name: file.get_tensor(name) for name in list(file.keys())}
