"""Pooling along the bands as compiled loops that read and write every value once.

They work on the bits of the numbers, so that one loop serves every precision:
read as whole numbers, positive floating-point numbers keep their order and
negative ones lie below 0.

Everything here holds no lock of the interpreter, is given a range of planes
and is called from several threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.compiled import compiled

__all__ = ["backward", "forward"]

Bits = npt.NDArray[np.signedinteger[Any]]
Winners = npt.NDArray[np.uint8]

NOBODY = np.uint8(255)
"""Stands for a group without a positive value."""


@compiled
def forward(
    values: Bits,
    pooled: Bits,
    winners: Winners | None,
    pad: int,
    group: tuple[int, ...],
    infinity: np.signedinteger[Any],
    first: int,
    last: int,
) -> None:
    """Write the greatest value of each group of bands, at least 0, between zeros.

    Parameters
    ----------
    values : array (plane, band, pixel)
    pooled : array (plane, pad + band // len(group) + pad, pixel)
    winners : array (plane, band // len(group), pixel), optional
        Is given which band of its group was greatest.
    pad : int
    group : tuple
        (0, 1, …): its length is part of its type, so the innermost loop has one
        that the compiler knows.
    infinity : int
        The bits of infinity: what lies above them is NaN.
    first, last : int
        Planes to do.
    """
    many = len(group)
    depth = values.shape[1] // many
    zero = infinity - infinity
    positive = ~(~zero << (8 * values.itemsize - 1))
    for plane in range(first, last):
        pooled[plane, :pad] = zero
        pooled[plane, pad + depth :] = zero
        for step in range(depth):
            for pixel in range(values.shape[2]):
                best, winner = zero, NOBODY
                for band in range(many):
                    value = values[plane, step * many + band, pixel]
                    # NaN beats everything, whatever its sign, as in PyTorch.
                    missing = (value & positive) > infinity
                    value = value & positive if missing else value
                    better = (value > best) | missing
                    best = value if better else best
                    winner = np.uint8(band) if better else winner
                pooled[plane, pad + step, pixel] = best
                if winners is not None:
                    winners[plane, step, pixel] = winner


@compiled
def backward(
    slopes: Bits,
    winners: Winners,
    gradient: Bits,
    pad: int,
    group: tuple[int, ...],
    first: int,
    last: int,
) -> None:
    """Give the gradient of each pooled value to the band it came from, 0 to the others.

    Parameters
    ----------
    slopes : array (plane, pad + band // len(group) + pad, pixel)
        Gradient of the pooled values.
    winners : array (plane, band // len(group), pixel)
    gradient : array (plane, band, pixel)
        Is given the gradient of the values.
    pad, group, first, last
        As in ``forward``.
    """
    many = len(group)
    depth = gradient.shape[1] // many
    for plane in range(first, last):
        for step in range(depth):
            for band in range(many):
                for pixel in range(gradient.shape[2]):
                    slope, winner = (
                        slopes[plane, pad + step, pixel],
                        winners[plane, step, pixel],
                    )
                    own = slope if winner == band else slope ^ slope
                    gradient[plane, step * many + band, pixel] = own
        gradient[plane, depth * many :] = 0
