"""Maps of right and wrong predictions: the class check, and the agreement of two models."""

from typing import Protocol

import numpy as np

from hypercover.errors import LabelError
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.legend import LandClass, Legend
from hypercover.splits.split import PARTS
from hypercover.types import Bytes, Codes

RIGHT, WRONG, TRAINING, UNLABELLED = 1, 2, 3, 4

CHECK_LEGEND = Legend(
    (
        LandClass(RIGHT, "right", "#1f5fd0"),
        LandClass(WRONG, "wrong", "#d7261e"),
        LandClass(TRAINING, "training", "#7fb2f7"),
        LandClass(UNLABELLED, "unlabelled", "#a6a6a6"),
    )
)
"""Codes, names and colours of a class check; blue is right or training."""

TRAINING_PART = PARTS.index("train")
"""Value of a training pixel in the parts of a split."""


class SplitParts(Protocol):
    """A split, as far as the class check needs it."""

    @property
    def parts(self) -> Bytes:
        """Parts (y, x): 0 unused, 1 train, 2 validation, 3 test, 4 guard."""


def class_check(labels: Codes, predicted: Codes, split: SplitParts) -> Bytes:
    """Compare a class map with the labels, pixel by pixel.

    Every labelled pixel outside the training is compared with the map, including the
    guard, which does not count for the accuracy.  Without data in the map the check has
    none.

    Parameters
    ----------
    labels, predicted : arrays of shape (y, x)
    split : Split

    Returns
    -------
    array of shape (y, x) with the codes of :data:`CHECK_LEGEND`

    Raises
    ------
    LabelError
        If the three do not have the same size.
    """
    shapes = {labels.shape, predicted.shape, split.parts.shape}
    if len(shapes) > 1:
        raise LabelError(
            "A class check needs labels, map and split of one size, got "
            f"{labels.shape}, {predicted.shape} and {split.parts.shape}; "
            "give those of one scene."
        )
    check = np.where(predicted == labels, RIGHT, WRONG)
    check = np.where(split.parts == TRAINING_PART, TRAINING, check)
    check = np.where(labels == 0, UNLABELLED, check)
    return np.where(predicted == 0, 0, check).astype(np.uint8)


BOTH_RIGHT, ONLY_FIRST, ONLY_SECOND, BOTH_WRONG = 1, 2, 3, 4


def agreement_legend(first: str, second: str) -> Legend:
    """Return names and colour-blind safe colours for an agreement map."""
    return Legend(
        (
            LandClass(BOTH_RIGHT, "both right", "#0072b2"),
            LandClass(ONLY_FIRST, f"only {first} right", "#e69f00"),
            LandClass(ONLY_SECOND, f"only {second} right", "#56b4e9"),
            LandClass(BOTH_WRONG, "both wrong", "#3b3f45"),
        )
    )


def agreement_map(first: Predictions, second: Predictions) -> Bytes:
    """Map (y, x) which of two models is right at the test pixels; 0 elsewhere.

    Examples
    --------
    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of([[1, 1, 1, 0, 1]])
    >>> one = Predictions.of(test, [1, 1, 2, 2], shape=(1, 5))
    >>> other = Predictions.of(test, [1, 2, 1, 2], shape=(1, 5))
    >>> agreement_map(one, other).tolist()
    [[1, 2, 3, 0, 4]]
    """
    codes = np.zeros(first.shape, dtype=np.uint8)
    codes[first.rows, first.cols] = BOTH_WRONG - first.right * 2 - second.right
    return codes
