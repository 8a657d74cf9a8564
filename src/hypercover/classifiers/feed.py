"""The feed: scaled windows on the device of the network, batch by batch."""

import math
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from hypercover.classifiers.scaling import Scaling
from hypercover.classifiers.stack import Stack, cut, pieces

__all__ = ["CubeWindows", "Feed"]

_RESIDENT = 2**30
"""Bytes of scaled windows that are kept on a CPU.  A batch of 50 windows of
9 × 9 × 200 is copied from there in 4 ms where gathering it from the cube takes
14, and with 40 directions in 0.1 ms instead of 0.8; cut and scaled anew it takes
14 and 38."""
_STRIP = 2**26
"""Bytes of a cube that are scaled at once."""

Cube = tuple[npt.NDArray[np.generic], npt.NDArray[np.intp], npt.NDArray[np.intp]]


@runtime_checkable
class CubeWindows(Protocol):
    """Windows that lie in a cube."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stack: (n, band, row, col)."""

    def cube_and_corners(self) -> Cube:
        """Return the padded cube (band, row, col) and each window's first row and column."""


class Feed:
    """Scaled windows by index, kept on the device where they fit.

    Why it exists: a training looks at every window hundreds of times.  Few
    windows are kept as they are; many windows of one cube are gathered from the
    cube, which is scaled once and holds each pixel once instead of 81 times;
    what does not fit at all is cut and scaled for every batch.

    Parameters
    ----------
    stack : array or lazy windows of shape (n, band, row, col)
    scaling : Scaling
    device : device, optional
        Where the windows are wanted; the CPU unless told.
    """

    def __init__(
        self, stack: Stack, scaling: Scaling, device: torch.device | None = None
    ) -> None:
        self._stack, self._scaling = stack, scaling
        self._device = device or torch.device("cpu")
        self._kept: torch.Tensor | None = None
        self._pixels: Pixels | None = None
        count, _, rows, cols = stack.shape
        windows = 4 * count * scaling.outputs * rows * cols
        lies_in = stack.cube_and_corners() if isinstance(stack, CubeWindows) else None
        cube = 4 * scaling.outputs * lies_in[0][0].size if lies_in else windows + 1
        if windows <= self._most(cube):
            self._kept = self._gathered()
        elif lies_in is not None and cube <= min(windows, self._room()):
            self._pixels = Pixels(lies_in, scaling, rows, self._device)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._stack)

    @property
    def values(self) -> int:
        """Number of values per pixel."""
        return self._scaling.outputs

    def batch(self, which: torch.Tensor) -> torch.Tensor:
        """Return the scaled windows at these positions as (n, value, row, col)."""
        if self._kept is not None:
            return self._kept[which.to(self._device, non_blocking=True)]
        if self._pixels is not None:
            return self._pixels.windows(which.to(self._device, non_blocking=True))
        windows = self._scaling.apply(cut(self._stack, which.numpy()))
        if self._device.type == "cuda":
            windows = windows.pin_memory()
        return windows.to(self._device, non_blocking=True)

    def _most(self, cube: int) -> float:
        """Return the bytes of windows that are kept rather than their cube.

        On a CPU free memory has no say: it would change the last digits.
        """
        return _RESIDENT if self._device.type == "cpu" else min(cube, self._room())

    def _room(self) -> float:
        """Return the bytes that may be taken on the device: half of what a GPU has."""
        if self._device.type == "cpu":
            return math.inf
        return int(torch.cuda.mem_get_info(self._device)[0]) // 2

    def _gathered(self) -> torch.Tensor:
        """Scale everything once, piece by piece."""
        count, _, rows, cols = self._stack.shape
        kept = torch.empty(count, self.values, rows, cols, device=self._device)
        for piece in pieces(self._stack):
            kept[piece] = self._scaling.apply(cut(self._stack, piece)).to(self._device)
        return kept


class Pixels:
    """A scaled cube as pixels (row · col, value), and where windows lie in it."""

    def __init__(
        self, lies_in: Cube, scaling: Scaling, side: int, device: torch.device
    ) -> None:
        cube, rows, cols = lies_in
        height, width = cube.shape[1:]
        self._side = side
        self._values = torch.empty(height * width, scaling.outputs, device=device)
        step = max(1, _STRIP // (4 * cube.shape[0] * width))
        for first in range(0, height, step):
            strip = scaling.apply(cube[None, :, first : first + step])[0].flatten(1).T
            at = first * width
            self._values[at : at + len(strip)] = strip.to(device)
        inside = np.add.outer(np.arange(side) * width, np.arange(side)).ravel()
        self._corners = torch.from_numpy(rows * width + cols).to(device)
        self._inside = torch.from_numpy(inside).to(device)

    def windows(self, which: torch.Tensor) -> torch.Tensor:
        """Gather windows (n, value, row, col)."""
        places = self._corners[which, None] + self._inside
        values = self._values[places].transpose(1, 2)
        return values.reshape(len(which), -1, self._side, self._side)
