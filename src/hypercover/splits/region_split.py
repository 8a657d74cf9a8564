"""The common part of splits that train on whole regions: blocks, fields or clusters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.splits.split import (
    Guard,
    Split,
    check_guard,
    check_labels,
    check_validation,
    guard_width,
    within_distance,
)
from hypercover.types import Ints, Mask


class Draw(NamedTuple):
    """Training regions that were drawn."""

    pixels: Mask
    """Their labelled pixels (y, x)."""
    validation: Callable[[], Mask]
    """Draws the validation pixels (y, x) among them."""
    notes: tuple[str, ...] = ()
    """Remarks, one sentence each."""
    settings: Mapping[str, Any] = {}
    """Settings of the draw, as plain values."""


class RegionSplit(ABC):
    """Base class of splitters that train on whole regions and test on others beyond a guard.

    Labelled pixels farther than ``guard`` (Chebyshev) from every drawn one are
    tested, so the test pixels are the same with and without validation.
    Training pixels within ``guard`` of a validation pixel join the guard.
    """

    kind: ClassVar[str]
    """What the regions are: blocks, fields or clusters."""
    train: float
    guard: Guard
    validation: float

    def __post_init__(self) -> None:
        """Check shares and guard."""
        if not 0 < self.train < 1:
            raise SplitError(
                f"The training part of a split by {self.kind} must be a share between 0 and 1, "
                f"got {self.train}; use 0.25."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If the labels are a single region or each class is one, or the guard leaves
            no test pixels; the message names the widest guard that leaves some.
        """
        label_map = check_labels(labels, window)
        guard = guard_width(self.guard, window)

        @cache
        def draw(width: int) -> tuple[Draw, Mask]:
            drawn = self._draw(label_map, width, seed)
            return drawn, (label_map > 0) & ~within_distance(drawn.pixels, width)

        drawn, test = draw(guard)
        if not test.any():
            raise self._too_wide(lambda width: draw(width)[1].any(), guard, label_map.shape)
        # The image of a cluster split is not saved.
        settings = {name: value for name, value in vars(self).items() if name != "values"}
        return Split.from_regions(
            label_map,
            drawn=drawn.pixels,
            validation=drawn.validation(),
            test=test,
            guard=guard,
            kind=self.kind,
            seed=seed,
            settings={**settings, "guard": guard, **drawn.settings},
            window=window,
            notes=drawn.notes,
        )

    @abstractmethod
    def _draw(self, label_map: Ints, guard: int, seed: int) -> Draw:
        """Draw training regions."""

    def _too_wide(
        self, leaves_test: Callable[[int], Any], guard: int, shape: tuple[int, ...]
    ) -> SplitError:
        """Return the error of a guard that leaves no test pixels, with the widest that does."""
        low, high = -1, min(guard, max(shape))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if leaves_test(middle) else (low, middle)
        remedy = (
            f"the widest that leaves some is {low}"
            if low >= 0
            else f"no guard would; use smaller {self.kind} or a smaller training share"
        )
        return SplitError(
            f"A guard of {guard} pixels around {self.kind} leaves no test "
            f"pixels in an image of {shape[0]} × {shape[1]}; {remedy}."
        )
