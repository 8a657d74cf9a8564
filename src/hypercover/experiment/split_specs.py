"""What an experiment file may say of a split: one spec a kind."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from hypercover.experiment.spec import Count, Digest, Share, Spec
from hypercover.samples.published import PUBLISHED

__all__ = [
    "GUARDED",
    "BlocksSpec",
    "ClustersSpec",
    "FieldsSpec",
    "KFoldSpec",
    "LeaveOneOutSpec",
    "MasksSpec",
    "NoneSpec",
    "PublishedSpec",
    "RandomSpec",
    "SavedSpec",
    "SplitSpec",
    "WindowsSplitSpec",
    "gap_splits",
]

Guard = Annotated[int, Field(ge=0)] | Literal["auto"]
GUARDED = ("blocks", "clusters", "fields", "kfold", "leave-one-out")
"""Kinds of split that keep a guard band."""


class _SplitSpec(Spec):
    """What splits of all kinds have: the share of training pixels that validates."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def draws(self) -> int:
        """Splits that one seed makes."""
        return 1


class RandomSpec(_SplitSpec):
    """A stratified random draw of single pixels: easy, common, and leaking."""

    kind: Literal["random"] = "random"
    train: Share | Count = 0.1
    halves: Literal["even", "up"] = "even"


class MasksSpec(_SplitSpec):
    """Pixels marked in files: nonzero = in."""

    kind: Literal["masks"] = "masks"
    train: Path
    test: Path | None = None
    train_variable: str | None = None
    test_variable: str | None = None
    train_field: str | None = None
    test_field: str | None = None
    train_layer: str | None = None
    test_layer: str | None = None


class BlocksSpec(_SplitSpec):
    """Whole square blocks with a guard band between training and test."""

    kind: Literal["blocks"] = "blocks"
    size: Count = 15
    train: Share = 0.25
    guard: Guard = "auto"


class FieldsSpec(_SplitSpec):
    """Whole connected fields with a guard band between training and test."""

    kind: Literal["fields"] = "fields"
    train: Share = 0.25
    guard: Guard = "auto"


class ClustersSpec(_SplitSpec):
    """Clusters of each class, the largest or most varied train (Lange et al. 2018)."""

    kind: Literal["clusters"] = "clusters"
    train: Share = 0.25
    order: Literal["size", "spread"] = "size"
    eps: Annotated[float, Field(gt=0, le=20)] = 1.5
    min_pixels: Count = 1
    cut: bool = False
    guard: Guard = "auto"


class KFoldSpec(_SplitSpec):
    """Folds of whole blocks or fields: every labelled pixel is tested once a repeat."""

    kind: Literal["kfold"] = "kfold"
    by: Literal["blocks", "fields"] = "blocks"
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    size: Count = 15
    guard: Guard = "auto"

    @property
    def draws(self) -> int:
        """Splits that one seed makes: one for each fold."""
        return self.folds


class LeaveOneOutSpec(_SplitSpec):
    """Few labels: each shape that can be spared is held out once, with a buffer."""

    kind: Literal["leave-one-out"] = "leave-one-out"
    folds: Annotated[int, Field(ge=2, le=100)] = 10
    guard: Guard = "auto"
    validation: Literal[0] = 0

    @property
    def draws(self) -> int:
        """Splits that one seed makes: one for each fold."""
        return self.folds


class NoneSpec(_SplitSpec):
    """Too few labels to judge: every labelled pixel trains and none is tested."""

    kind: Literal["none"] = "none"
    validation: Literal[0] = 0


class PublishedSpec(_SplitSpec):
    """A published split, whose masks are found in a folder by their content."""

    kind: Literal["published"] = "published"
    name: Literal[tuple(PUBLISHED)]  # type: ignore[valid-type]
    path: Path


class SavedSpec(_SplitSpec):
    """A split that was saved before: a ``split.json`` or the folder of a run."""

    kind: Literal["saved"] = "saved"
    path: Path
    sha256: Digest | None = None
    validation: Literal[0] = 0


class WindowsSplitSpec(_SplitSpec):
    """The parts that a window file was written with."""

    kind: Literal["windows"] = "windows"
    path: Path


SplitSpec = Annotated[
    RandomSpec
    | MasksSpec
    | BlocksSpec
    | FieldsSpec
    | ClustersSpec
    | KFoldSpec
    | LeaveOneOutSpec
    | NoneSpec
    | PublishedSpec
    | SavedSpec
    | WindowsSplitSpec,
    Discriminator("kind"),
]


def gap_splits(blocks: BlocksSpec, guard: int) -> dict[str, SplitSpec]:
    """Return the splits that a leak gap sets beside blocks of a guard of window − 1 pixels.

    They train on the same share: ``random`` on single pixels, ``centre-free`` on
    blocks whose guard of window // 2 keeps training centres out of test windows.

    Examples
    --------
    >>> beside = gap_splits(BlocksSpec(size=15, train=0.25), guard=8)
    >>> beside["centre-free"].guard, beside["random"].train
    (4, 0.25)
    """
    return {
        "random": RandomSpec(train=blocks.train, validation=blocks.validation),
        "centre-free": blocks.model_copy(update={"guard": (guard + 1) // 2}),
    }
