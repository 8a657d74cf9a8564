"""Splits by blocks: whole squares of the image train, far enough from the test."""

from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.samples.block_draw import Blocks, draw_whole
from hypercover.samples.guard import (
    Guard,
    apart,
    check_guard,
    guard_notes,
    guard_width,
    near,
    too_wide,
)
from hypercover.samples.random import check_validation
from hypercover.samples.split import Split, check_labels
from hypercover.samples.window_size import check_window

__all__ = ["BlockSplit"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BlockSplit:
    """Train on whole square blocks and test on the others, a guard band apart.

    Why it exists: pixels of one field resemble each other, and windows of
    neighbours overlap, so a test beside the training pixels flatters the
    classifier.  Whole blocks keep most fields on one side (Nalepa et al. 2019),
    and a guard band of window − 1 pixels leaves no pixel that a training and a
    test window share; one of window // 2 leaves no training centre in a test
    window.

    The image is cut into squares at some seeded origins.  For each, seeded
    draws give whole blocks to the training part until about ``train`` of the
    labelled pixels lie in them; the best is improved by swaps so that as many
    classes as possible stand on both sides and each class gives about that
    share (``settings["origin"]`` keeps the row and column where the first
    square begins).  Labelled pixels of other blocks are tested if they are
    farther than ``guard`` pixels (Chebyshev) from every labelled pixel of the
    drawn blocks; those in between are the guard.

    Validation takes whole blocks out of the drawn ones in the same manner, and
    training pixels within ``guard`` of them join the guard.  The test pixels
    are the same with and without validation.

    Parameters
    ----------
    size : int
        Side of a block in pixels.
    train : float between 0 and 1
        Share of the labelled pixels in the drawn blocks.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the drawn pixels set aside for validation.

    Examples
    --------
    T train, o test, - guard; the first class fills the left half:

    >>> labels = np.repeat(np.repeat([[1, 2]], 12, axis=1), 8, axis=0)
    >>> split = BlockSplit(size=4, train=0.25, guard=2).split(labels, seed=3)
    >>> for row in split.parts:
    ...     print("".join(".T!o-"[part] for part in row))
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo------TTTT--ooooooo
    ooooo------TTTT--ooooooo
    ooooooooo--TTTT--ooooooo
    ooooooooo--TTTT--ooooooo
    """

    size: int = 15
    """Side of a block in pixels."""
    train: float = 0.25
    """Share of the labelled pixels to train on."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Refuse sizes, shares and guards that no image could give."""
        if self.size < 1:
            raise SplitError(f"A block must be at least 1 pixel wide, got {self.size}.")
        if not 0 < self.train < 1:
            raise SplitError(
                "A block split trains on a share of the labelled pixels between 0 and "
                f"1, got {self.train}; use 0.25."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If the labelled pixels lie in one block, or the guard leaves no test
            pixel; the largest guard that leaves some is then named.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard = guard_width(self.guard, window)
        cut, drawn, test = self._draw(label_map, guard, seed)
        if not test.any():
            raise too_wide(
                lambda width: bool(self._draw(label_map, width, seed)[2].any()),
                guard,
                f"blocks of {self.size}",
                label_map.shape,
            )
        return apart(
            label_map,
            drawn,
            self._validation(cut, drawn, guard, seed),
            guard,
            kind="blocks",
            seed=seed,
            settings=asdict(self) | {"guard": guard, "origin": [-by for by in cut.origin]},
            window=window,
            notes=guard_notes(guard, window),
        )

    def _draw(
        self, label_map: npt.NDArray[np.integer], guard: int, seed: int
    ) -> tuple[Blocks, Mask, Mask]:
        """Draw blocks to train on: the cut, their labelled pixels, those left to test."""
        rng = np.random.default_rng([seed, 0])
        cuts = Blocks.cuts(label_map, self.size, guard, rng)
        first = next(cuts, None)
        if first is None:
            raise SplitError(
                f"All labelled pixels lie in one block of {self.size} × {self.size} "
                "pixels; use smaller blocks."
            )
        blocks, chosen = draw_whole(chain([first], cuts), self.train, rng)
        drawn = blocks.pixels(chosen)
        return blocks, drawn, (label_map > 0) & ~drawn & ~near(drawn, guard)

    def _validation(self, cut: Blocks, drawn: Mask, guard: int, seed: int) -> Mask:
        """Take whole blocks for validation out of the drawn ones."""
        if self.validation == 0:
            return np.zeros_like(drawn)
        inner = Blocks(np.where(drawn, cut.label_map, 0), self.size, guard, cut.origin)
        if inner.count < 2:
            raise SplitError(
                f"A validation share of {self.validation} was asked for, but only one "
                f"block of {self.size} × {self.size} pixels was drawn for training; "
                "use smaller blocks or validation: 0."
            )
        rng = np.random.default_rng([seed, 1])
        _, chosen = draw_whole(iter([inner]), self.validation, rng, rest_matters=True)
        return inner.pixels(chosen)
