"""Random splits: pixels drawn class by class, anywhere in the image."""

from dataclasses import asdict, dataclass
from math import floor
from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from hypercover.errors import SplitError
from hypercover.splits.split import Split, check_labels, check_trainable, check_validation
from hypercover.types import Codes, Mask


@dataclass(frozen=True)
class RandomSplit:
    """Draw training pixels of every class at random and test on all others.

    Most published accuracies were measured this way.  Neighbouring pixels of one
    field fall on both sides, so a classifier that uses windows has seen nearly
    every test pixel; the leak audit reports how many.

    ``round(train · n)`` pixels of each class of n are drawn, at least one and
    never all.  A class of one pixel is not used.  Validation pixels are drawn
    from the training pixels by the same rule.

    Parameters
    ----------
    train : float below 1, or int
        Share of each class to train on, or a number of pixels for each class.
    validation : float from 0 to below 1
        Share of the training pixels of each class set aside for validation.
    halves : {"even", "up"}
        Rounding of half a pixel; ``up`` gives the published numbers of training
        pixels for the flight line of Indian Pines.

    Examples
    --------
    >>> labels = np.repeat([[1], [2]], 10, axis=1)
    >>> split = RandomSplit(train=0.3).split(labels, seed=7)
    >>> split.count("train"), split.count("test")
    (6, 14)
    >>> RandomSplit(train=2).split(labels).per_class("train", labels)
    {1: 2, 2: 2}
    """

    train: float = 0.1
    """Share of each class to train on (below 1), or pixels of each class (from 1)."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    halves: Literal["even", "up"] = "even"
    """Whether 2.5 pixels are rounded to 2 (to even, as in Python) or 3 (as in Matlab)."""

    def __post_init__(self) -> None:
        """Check the shares."""
        whole = float(self.train).is_integer()
        if not (0 < self.train < 1 or (self.train >= 1 and whole)):
            raise SplitError(
                "The training part of a random split must be a share between 0 and 1 or a whole "
                f"number of pixels for each class, got {self.train}; use 0.1 or 50."
            )
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        LabelError, SplitError, CallError
            If there are fewer than two classes, no split is possible, or the window
            does not fit.
        """
        label_map = check_labels(labels, window)
        rng = np.random.default_rng(seed)
        drawn = draw_stratified(label_map, self.train, rng, self.halves)
        counts = np.bincount(label_map.ravel())
        test = (label_map > 0) & ~drawn & (counts[label_map] > 1)
        validation = draw_validation(label_map, drawn, self.validation, rng)
        split = Split.from_parts(
            train=drawn & ~validation,
            validation=validation,
            test=test,
            kind="random",
            seed=seed,
            settings=asdict(self),
            window=window,
        )
        return check_trainable(split, label_map)


def draw_stratified(
    label_map: Codes, share: float, rng: Generator, halves: Literal["even", "up"] = "even"
) -> Mask:
    """Draw a share of the pixels (y, x) of each class, or a number of them (from 1).

    At least one pixel is drawn from a class of two or more, and never all.
    """
    flat = label_map.ravel()
    drawn = np.zeros(flat.shape, dtype=bool)
    for code in np.unique(flat[flat > 0]):
        pixels = np.flatnonzero(flat == code)
        exact = share * len(pixels)
        rounded = floor(exact + 0.5) if halves == "up" else round(exact)
        count = rounded if share < 1 else int(share)
        count = min(max(count, 1), len(pixels) - 1)
        drawn[rng.permutation(pixels)[:count]] = True
    return drawn.reshape(label_map.shape)


def draw_validation(label_map: Codes, train: Mask, share: float, rng: Generator) -> Mask:
    """Draw validation pixels (y, x) from the training pixels, class by class.

    Raises
    ------
    SplitError
        If no class has two training pixels.
    """
    if share == 0:
        return np.zeros(train.shape, dtype=bool)
    drawn = draw_stratified(np.where(train, label_map, 0), share, rng)
    if not drawn.any():
        raise SplitError(
            f"A validation share of {share} needs a class with two training pixels, and "
            "there is none; train on more pixels or use validation: 0."
        )
    return drawn
