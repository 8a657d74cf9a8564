"""Examples: windows and the class of each."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite

from hypercover.classifiers.feed import Feed
from hypercover.classifiers.scaling import Scaling
from hypercover.classifiers.stack import Stack, check_finite, cut, pieces
from hypercover.errors import ModelError

__all__ = ["Examples"]

_LOOKED_AT = 64
"""Windows by which two stacks are told apart."""


@dataclass(frozen=True, eq=False)
class Examples:
    """A stack of windows and the class of each."""

    stack: Stack
    """Windows (n, band, row, col)."""
    classes: npt.NDArray[Any]
    """Labels of the classes, in order."""
    targets: torch.Tensor
    """Position of each window's class (n,)."""

    @classmethod
    def to_learn(cls, stack: Stack, y: npt.ArrayLike) -> "Examples":
        """Return examples whose labels say what the classes are.

        Raises
        ------
        ModelError
            If there is no window, not one label for each, or one class only.
        """
        labels = _labels(stack, y)
        if not len(labels):
            raise ModelError(
                "There is no training window (0 samples); give at least one of each class."
            )
        classes, targets = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ModelError(
                f"The training labels hold one class only ({classes[0]}); a "
                "classifier needs at least two classes."
            )
        return cls(stack, classes, torch.from_numpy(targets.astype(np.int64)))

    @classmethod
    def to_validate(
        cls, stack: Stack, y: npt.ArrayLike, classes: npt.NDArray[Any]
    ) -> "Examples":
        """Return examples of classes that are known, after checking every window.

        Raises
        ------
        ModelError
            If there is no window, not one label for each, a label that no
            training window has, or a value that is not finite.
        """
        labels = _labels(stack, y)
        if not len(labels):
            raise ModelError("There is no validation window; give some or no validation.")
        strange = np.setdiff1d(labels, classes)
        if len(strange):
            raise ModelError(
                f"The validation labels hold the class {strange[0]}, which no training "
                "window has; leave such windows out."
            )
        for piece in pieces(stack):
            check_finite(cut(stack, piece))
        targets = np.searchsorted(classes, labels).astype(np.int64)
        return cls(stack, classes, torch.from_numpy(targets))

    def feed(self, scaling: Scaling, device: torch.device) -> tuple[Feed, torch.Tensor]:
        """Return them as a network is fed with them."""
        return Feed(self.stack, scaling, device), self.targets

    def digests(self, part: str) -> dict[str, str]:
        """Return checksums that tell them from other examples; windows by some of them."""
        count = len(self.stack)
        some = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.intp)
        seen = np.ascontiguousarray(cut(self.stack, some), dtype=np.float64)
        labels = f"{self.classes.tolist()} {self.targets.tolist()}"
        return {
            f"{part} windows": _digest(f"{self.stack.shape}".encode() + seen.tobytes()),
            f"{part} labels": _digest(labels.encode()),
        }


def _labels(stack: Stack, y: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return labels (n,) after checking that there is one for each window."""
    if y is None:
        raise ModelError("CNNClassifier requires y to be passed, but the target y is None.")
    labels: npt.NDArray[Any] = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    if len(labels) != len(stack):
        raise ModelError(
            f"Every window needs one label, got {len(stack)} windows and "
            f"{len(labels)} labels."
        )
    return labels


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
