"""Sampling units: blocks or fields that test pixels are grouped into.

Pixels of one field are alike, and so are a classifier's errors on them.  Intervals that
treat pixels as independent are far too narrow; whole blocks or fields nearly are independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypercover.errors import CallError
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples
from hypercover.splits.folds import cluster_numbers
from hypercover.types import Array, Indices

USUAL_SIZE = 15
"""Default side of a block in pixels."""
_OF_BLOCKS = frozenset({"blocks", "kfold"})
_TAKEN_OVER = frozenset({"saved", "windows"})
"""Kinds of split taken from another, whose kind is in their settings."""
_OF_FIELDS = frozenset({"fields", "clusters", "leave-one-out"})


@dataclass(frozen=True)
class BlockUnits:
    """Square blocks of the image, starting at its upper left corner, whatever the split.

    The grid is fixed, so that a block is the same piece of land under every seed.

    Examples
    --------
    >>> answers = Predictions.of(Samples.of([[1, 1, 2, 0, 2]]), [1, 1, 2, 2], shape=(1, 5))
    >>> BlockUnits(2).assign([answers])
    ([array([0, 0, 1, 2])], 3)
    """

    size: int = USUAL_SIZE
    """Side of a block in pixels."""

    def __post_init__(self) -> None:
        """Refuse blocks without pixels."""
        if self.size < 1:
            raise CallError(f"A block needs a side of at least 1 pixel, got {self.size}.")

    @property
    def description(self) -> str:
        """Describe the units, for tables and messages."""
        return f"blocks of {self.size} px"

    def assign(self, seeds: Sequence[Predictions]) -> tuple[list[Indices], int]:
        """Return the block of each test pixel of each seed, and the number of blocks.

        Blocks without a test pixel are not counted.
        """
        across = -(-_shape(seeds)[1] // self.size)
        return _joined([one.rows // self.size * across + one.cols // self.size
                        for one in seeds])  # fmt: skip


@dataclass(frozen=True)
class FieldUnits:
    """Connected fields: test pixels of one class that touch, corners included.

    Pixels that are tested under any of several seeds count, so that a field is
    the same piece of land under every seed.

    Examples
    --------
    >>> answers = Predictions.of(Samples.of([[1, 1, 2, 0, 2]]), [1, 1, 2, 2], shape=(1, 5))
    >>> FieldUnits().assign([answers])
    ([array([0, 0, 1, 2])], 3)
    """

    @property
    def description(self) -> str:
        """Describe the units, for tables and messages."""
        return "fields"

    def assign(self, seeds: Sequence[Predictions]) -> tuple[list[Indices], int]:
        """Return the field of each test pixel of each seed, and the number of fields."""
        cols = _shape(seeds)[1]
        places = [one.rows.astype(np.int64) * cols + one.cols for one in seeds]
        tested, first = np.unique(np.concatenate(places), return_index=True)
        labels = np.concatenate([one.labels for one in seeds])[first].astype(np.int64)
        fields = cluster_numbers(Samples(tested // cols, tested % cols, labels), 1)
        return _joined([fields[np.searchsorted(tested, place)] for place in places])


Units = BlockUnits | FieldUnits


def units_of_split(kind: str, settings: Mapping[str, Any]) -> Units:
    """Choose the units for a split: its blocks, its fields, or default blocks.

    Examples
    --------
    >>> units_of_split("blocks", {"size": 8}).description, units_of_split("random", {}).description
    ('blocks of 8 px', 'blocks of 15 px')
    """
    if kind in _TAKEN_OVER:
        return units_of_split(str(settings.get("kind", "given")), {**settings, "kind": ""})
    if kind in _OF_FIELDS or (kind == "kfold" and settings.get("by") == "fields"):
        return FieldUnits()
    size = settings.get("size") if kind in _OF_BLOCKS else None
    return BlockUnits(size) if isinstance(size, int) and size > 0 else BlockUnits()


def _shape(seeds: Sequence[Predictions]) -> tuple[int, int]:
    """Return the shape of the one scene that all answers are for, with pixels to count."""
    shapes = {one.shape for one in seeds}
    if len(shapes) != 1:
        raise CallError(
            "Answers of several seeds must be for one scene, got "
            f"{len(shapes)} sizes of scene; give those of one run."
        )
    if not sum(map(len, seeds)):
        raise CallError("The split has no test pixels; give one that does.")
    return shapes.pop()


def _joined(keys: Sequence[Array]) -> tuple[list[Indices], int]:
    """Turn the keys of all seeds into numbers from 0 on, without gaps."""
    known, numbers = np.unique(np.concatenate(keys), return_inverse=True)
    ends = np.cumsum([len(key) for key in keys])[:-1]
    return list(np.split(numbers.astype(np.intp), ends)), len(known)
