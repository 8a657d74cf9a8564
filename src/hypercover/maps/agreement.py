"""Agreement maps: where two models are both right, one alone, or both wrong."""

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.predictions import Predictions
from hypercover.scene.legend import LandClass, Legend

__all__ = ["agreement", "agreement_legend"]

BOTH_RIGHT, ONLY_FIRST, ONLY_SECOND, BOTH_WRONG = 1, 2, 3, 4


def agreement_legend(first: str, second: str) -> Legend:
    """Name and colour the codes of an agreement map; told apart by colour-blind eyes."""
    return Legend(
        (
            LandClass(BOTH_RIGHT, "both right", "#0072b2"),
            LandClass(ONLY_FIRST, f"only {first} right", "#e69f00"),
            LandClass(ONLY_SECOND, f"only {second} right", "#56b4e9"),
            LandClass(BOTH_WRONG, "both wrong", "#3b3f45"),
        )
    )


def agreement(first: Predictions, second: Predictions) -> npt.NDArray[np.uint8]:
    """Map (y, x) of who is right on the same test pixels; 0 elsewhere.

    Examples
    --------
    >>> from hypercover.samples.samples import Samples
    >>> test = Samples.of([[1, 1, 1, 0, 1]])
    >>> one = Predictions.of(test, [1, 1, 2, 2], shape=(1, 5))
    >>> other = Predictions.of(test, [1, 2, 1, 2], shape=(1, 5))
    >>> agreement(one, other).tolist()
    [[1, 2, 3, 0, 4]]
    """
    shown = np.zeros(first.shape, dtype=np.uint8)
    shown[first.rows, first.cols] = BOTH_WRONG - first.right * 2 - second.right
    return shown
