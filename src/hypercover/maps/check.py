"""The class check: where a map agrees with the labels, as in the lecture."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.samples.split import PARTS
from hypercover.scene.legend import LandClass, Legend

__all__ = ["CHECK_LEGEND", "TRAINING_PART", "Parts", "class_check"]

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


class Parts(Protocol):
    """What is needed of a split: the part each pixel belongs to."""

    @property
    def parts(self) -> npt.NDArray[np.uint8]:
        """Parts (y, x): 0 unused, 1 train, 2 validation, 3 test, 4 guard."""


def class_check(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], split: Parts
) -> npt.NDArray[np.uint8]:
    """Compare a class map with the labels, pixel by pixel.

    Every labelled pixel that was not trained on is held against the map, those
    in the guard as well: they are not scored, yet worth a look.  Where the map
    holds no data the check holds none.

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
