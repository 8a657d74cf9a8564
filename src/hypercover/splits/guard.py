"""The guard band: labelled pixels too close to another part to be used."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy.ndimage import distance_transform_cdt

from hypercover.errors import SplitError
from hypercover.splits.split import Split, check_trainable
from hypercover.types import Codes, Mask

Guard = int | Literal["auto"]
"""Width of the guard band in pixels; "auto" is window − 1."""


def check_guard(guard: Guard) -> None:
    """Raise unless a guard is a width in pixels or "auto"."""
    if guard != "auto" and (isinstance(guard, str) or guard < 0):
        raise SplitError(
            "The guard must be a width in pixels from 0, or 'auto' for window − 1, "
            f"got {guard!r}."
        )


def guard_width(guard: Guard, window: int) -> int:
    """Return the width in pixels of a guard for windows of this side."""
    return window - 1 if guard == "auto" else guard


def guard_notes(guard: int, window: int) -> tuple[str, ...]:
    """Return a note if the guard is narrower than window − 1."""
    if guard >= window - 1:
        return ()
    return (
        f"The guard of {guard} pixels is narrower than window − 1 = {window - 1}: "
        "some test windows share pixels with training windows.",
    )


def within_distance(mask: Mask, distance: int) -> Mask:
    """Return the pixels within a Chebyshev distance of a mask, itself included."""
    if not mask.any():
        return np.zeros_like(mask)
    return np.asarray(distance_transform_cdt(~mask, metric="chessboard") <= distance)


def guarded_split(
    label_map: Codes,
    drawn: Mask,
    validation: Mask,
    guard: int,
    **options: Any,
) -> Split:
    """Return the split in which the drawn pixels train or validate.

    Labelled pixels farther than ``guard`` (Chebyshev) from every drawn one are
    tested, so the test pixels are the same with and without validation.
    Training pixels within ``guard`` of a validation pixel join the guard.

    Raises
    ------
    SplitError
        If fewer than two classes have training pixels, or there are no test pixels.
    """
    labelled = label_map > 0
    train = drawn & ~validation & ~within_distance(validation, guard)
    test = labelled & ~drawn & ~within_distance(drawn, guard)
    split = Split.from_parts(
        train=train,
        validation=validation,
        test=test,
        guard=labelled & ~train & ~validation & ~test,
        **options,
    )
    return check_trainable(split, label_map)


def guard_too_wide(
    leaves: Callable[[int], bool], guard: int, around: str, shape: tuple[int, ...]
) -> SplitError:
    """Return the error of a guard that leaves no test pixels, with the widest that does.

    Parameters
    ----------
    leaves : whether a guard of a width leaves test pixels
    around : what the guard surrounds, such as "blocks of 15"
    """
    low, high = -1, min(guard, max(shape))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if leaves(middle) else (low, middle)
    way_out = (
        f"the widest that leaves some is {low}"
        if low >= 0
        else f"no guard would; use smaller {around.split()[0]} or a smaller training share"
    )
    return SplitError(
        f"A guard of {guard} pixels around {around} leaves no test "
        f"pixels in an image of {shape[0]} × {shape[1]}; {way_out}."
    )
