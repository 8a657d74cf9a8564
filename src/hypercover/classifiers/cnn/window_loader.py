"""Training windows: checked with their labels, scaled, and loaded in batches."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite

from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError
from hypercover.types import Array, Floats, Indices

_CHUNK_BYTES = 2**26
"""Bytes of float32 windows that are read at once when all are looked at."""

_MAX_WINDOW_BYTES = 2**30
"""Bytes of scaled windows that are held on a CPU.  A batch of 50 windows of 9 × 9 × 200
is copied from there in 4 ms; gathering it from the cube takes 14 ms, and so does cutting
and scaling it.  With 40 directions it is 0.1, 0.8 and 38 ms."""

_STRIP_BYTES = 2**26
"""Bytes of a cube that are scaled at once."""

_DIGEST_SAMPLES = 64
"""Windows by which two stacks are told apart."""


def split_batches(order: torch.Tensor, size: int, minimum: int) -> list[torch.Tensor]:
    """Split an order (n,) into batches; a last one below ``minimum`` joins the previous.

    >>> [len(batch) for batch in split_batches(torch.arange(10), size=4, minimum=3)]
    [4, 6]
    """
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) < min(minimum, size):
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def split_range(positions: range, size: int) -> list[slice]:
    """Split consecutive positions into slices of at most ``size``.

    >>> split_range(range(3, 8), size=4)
    [slice(3, 7, None), slice(7, 8, None)]
    """
    return [
        slice(first, min(first + size, positions.stop))
        for first in range(positions.start, positions.stop, size)
    ]


@runtime_checkable
class LazyWindows(Protocol):
    """A stack (n, band, row, col) that is cut on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stack: (n, band, row, col)."""

    def __len__(self) -> int:
        """Count the windows."""

    def __getitem__(self, key: Any, /) -> Any:
        """Select windows by a slice or an array of positions."""

    def cut(self) -> Array:
        """Cut all windows now."""


Cube = tuple[Array, Indices, Indices]


@runtime_checkable
class CubeWindows(Protocol):
    """Windows of a cube."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stack: (n, band, row, col)."""

    def cube_and_corners(self) -> Cube:
        """Return the padded cube (band, row, col) and each window's first row and column."""


Stack = Array | LazyWindows


def read_windows(stack: Stack, positions: slice | Indices) -> Array:
    """Return some windows as an array (n, band, row, col)."""
    part = stack[positions]
    return part if isinstance(part, np.ndarray) else part.cut()


def chunks(stack: Stack) -> list[slice]:
    """Split a stack into slices that fit into memory as float32."""
    count, *window = stack.shape
    return split_range(range(count), max(1, _CHUNK_BYTES // (4 * math.prod(window))))


def finite_windows(stack: Stack) -> Iterator[Array]:
    """Yield the windows of a stack in chunks, after checking every value.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    for chunk in chunks(stack):
        windows = read_windows(stack, chunk)
        check_finite(windows)
        yield windows


def finite_centre_spectra(stack: Stack) -> Array:
    """Return the centre spectra (n, band) after checking every window for NaN.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    middle = stack.shape[2] // 2
    return np.concatenate(
        [windows[:, :, middle, middle] for windows in finite_windows(stack)]
    )


def noise_covariance(stack: Stack) -> Floats | None:
    """Estimate the covariance (band, band) of the noise from neighbouring pixels.

    It is half the mean square of the differences of each centre to its 4 neighbours,
    which is exact for uniform ground with independent noise in each pixel.  None for
    windows of one pixel.
    """
    count, bands, side, _ = stack.shape
    if side == 1:
        return None
    squares = np.zeros((bands, bands))
    middle = slice(side // 2 - 1, side // 2 + 2)
    for chunk in chunks(stack):
        near = read_windows(stack, chunk)[:, :, middle, middle].astype(np.float64)
        for row, col in ((0, 1), (1, 0), (1, 2), (2, 1)):
            difference = near[:, :, row, col] - near[:, :, 1, 1]
            squares += difference.T @ difference
    return squares / (8 * count)


def check_finite(values: Array) -> None:
    """Refuse values that no network can use.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ModelError(
            f"The input contains NaN or infinity in {np.sum(~np.isfinite(values))} of "
            f"{values.size} values; mask or fill such pixels first."
        )


class WindowLoader:
    """Loads scaled windows by position, from the device's memory if they fit.

    Training reads every window hundreds of times.  Few windows are held scaled; many
    windows of one cube are gathered from the scaled cube, which holds each pixel once
    instead of 81 times; otherwise every batch is cut and scaled.

    Parameters
    ----------
    stack : array or lazy windows of shape (n, band, row, col)
    scaling : Scaling
    device : device, optional
        Device of the batches; the CPU by default.
    """

    def __init__(
        self, stack: Stack, scaling: Scaling, device: torch.device | None = None
    ) -> None:
        self._stack, self._scaling = stack, scaling
        self._device = device or torch.device("cpu")
        self._windows: torch.Tensor | None = None
        self._cube: ScaledCube | None = None
        count, _, rows, cols = stack.shape
        window_bytes = 4 * count * scaling.outputs * rows * cols
        cube = stack.cube_and_corners() if isinstance(stack, CubeWindows) else None
        cube_bytes = 4 * scaling.outputs * cube[0][0].size if cube else window_bytes + 1
        # On a CPU nothing depends on the free memory, which would change last digits.
        most, free = float(_MAX_WINDOW_BYTES), math.inf
        if self._device.type != "cpu":
            free = torch.cuda.mem_get_info(self._device)[0] // 2
            most = min(cube_bytes, free)
        if window_bytes <= most:
            self._windows = torch.empty(
                count, scaling.outputs, rows, cols, device=self._device
            )
            for chunk in chunks(stack):
                windows = scaling.apply(read_windows(stack, chunk))
                self._windows[chunk] = windows.to(self._device)
        elif cube is not None and cube_bytes <= min(window_bytes, free):
            self._cube = ScaledCube(cube, scaling, rows, self._device)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._stack)

    @property
    def values(self) -> int:
        """Number of values per pixel."""
        return self._scaling.outputs

    def batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the scaled windows at these positions as (n, value, row, col)."""
        if self._windows is not None:
            return self._windows[positions.to(self._device, non_blocking=True)]
        if self._cube is not None:
            return self._cube.windows(positions.to(self._device, non_blocking=True))
        windows = self._scaling.apply(read_windows(self._stack, positions.numpy()))
        if self._device.type == "cuda":
            windows = windows.pin_memory()
        return windows.to(self._device, non_blocking=True)


class ScaledCube:
    """A scaled cube as pixels (row · col, value), and the positions of windows in it."""

    def __init__(
        self, cube_and_corners: Cube, scaling: Scaling, side: int, device: torch.device
    ) -> None:
        cube, rows, cols = cube_and_corners
        height, width = cube.shape[1:]
        self._side = side
        self._values = torch.empty(height * width, scaling.outputs, device=device)
        step = max(1, _STRIP_BYTES // (4 * cube.shape[0] * width))
        for first in range(0, height, step):
            strip = scaling.apply(cube[None, :, first : first + step])[0].flatten(1).T
            at = first * width
            self._values[at : at + len(strip)] = strip.to(device)
        inside = np.add.outer(np.arange(side) * width, np.arange(side)).ravel()
        self._corners = torch.from_numpy(rows * width + cols).to(device)
        self._inside = torch.from_numpy(inside).to(device)

    def windows(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather windows (n, value, row, col)."""
        pixels = self._corners[positions, None] + self._inside
        values = self._values[pixels].transpose(1, 2)
        return values.reshape(len(positions), -1, self._side, self._side)


@dataclass(frozen=True, eq=False)
class LabelledWindows:
    """A stack of windows and the class of each."""

    stack: Stack
    """Windows (n, band, row, col)."""
    classes: Array
    """Labels of the classes, in order."""
    targets: torch.Tensor
    """Position of each window's class (n,)."""

    @classmethod
    def of(
        cls, stack: Stack, y: npt.ArrayLike, classes: Array | None = None
    ) -> "LabelledWindows":
        """Return training windows, or validation windows of known classes.

        Every value of validation windows is checked; those of training windows are
        checked when the scaling is fitted.

        Raises
        ------
        ModelError
            If there are no windows, not one label for each, only one class to train, a
            label that no training window has, or a validation value that is not finite.
        """
        labels = _check_labels(stack, y, "training" if classes is None else "validation")
        own = np.unique(labels)
        if classes is None and len(own) < 2:
            raise ModelError(
                f"The training labels hold one class only ({own[0]}); a classifier needs "
                "at least two; label pixels of another class."
            )
        if classes is not None:
            unknown = np.setdiff1d(own, classes)
            if len(unknown):
                raise ModelError(
                    f"The validation labels hold the class {unknown[0]}, which no "
                    "training window has; leave such windows out."
                )
            for _ in finite_windows(stack):
                pass
        classes = own if classes is None else classes
        targets = np.searchsorted(classes, labels).astype(np.int64)
        return cls(stack, classes, torch.from_numpy(targets))

    def load(
        self, scaling: Scaling, device: torch.device
    ) -> tuple[WindowLoader, torch.Tensor]:
        """Return a loader of the scaled windows, and their targets."""
        return WindowLoader(self.stack, scaling, device), self.targets

    def digests(self, part: str) -> dict[str, str]:
        """Return checksums of the labels and of a sample of the windows."""
        count = len(self.stack)
        sample = np.linspace(0, count - 1, min(count, _DIGEST_SAMPLES)).astype(np.intp)
        values = np.ascontiguousarray(read_windows(self.stack, sample), dtype=np.float64)
        labels = f"{self.classes.tolist()} {self.targets.tolist()}"
        windows = f"{self.stack.shape}".encode() + values.tobytes()
        return {
            f"{part} windows": hashlib.sha256(windows).hexdigest(),
            f"{part} labels": hashlib.sha256(labels.encode()).hexdigest(),
        }


def _check_labels(stack: Stack, y: npt.ArrayLike, part: str) -> Array:
    """Return labels (n,) after checking that there is one for each window, and a window."""
    if y is None:
        raise ModelError("CNNClassifier requires y to be passed, but the target y is None.")
    labels: Array = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    if len(labels) != len(stack):
        raise ModelError(
            f"Every window needs one label, got {len(stack)} windows and {len(labels)} labels."
        )
    if not len(labels):
        raise ModelError(
            f"There are no {part} windows (0 samples); give at least one of each class."
        )
    return labels
