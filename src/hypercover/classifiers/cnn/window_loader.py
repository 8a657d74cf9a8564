"""Augmentation: what windows and their labels could also have been."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import betaincinv
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite

from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError

__all__ = [
    "Augmentation",
    "CubeWindows",
    "LabelledWindows",
    "LazyWindows",
    "Stack",
    "WindowLoader",
    "apply_symmetry",
    "check_finite",
    "chunks",
    "finite_centre_spectra",
    "noise_covariance",
    "read_windows",
    "split_batches",
    "split_range",
]


def split_batches(order: torch.Tensor, size: int, least: int) -> list[torch.Tensor]:
    """Cut an order (n,) into batches; a last one below ``least`` joins the one before it.

    >>> [len(batch) for batch in split_batches(torch.arange(10), size=4, least=3)]
    [4, 6]
    """
    cut = list(torch.split(order, size))
    if len(cut) > 1 and len(cut[-1]) < min(least, size):
        cut[-2:] = [torch.cat(cut[-2:])]
    return cut


def split_range(positions: range, most: int) -> list[slice]:
    """Cut neighbouring positions into slices of at most so many.

    >>> split_range(range(3, 8), most=4)
    [slice(3, 7, None), slice(7, 8, None)]
    """
    return [
        slice(first, min(first + most, positions.stop))
        for first in range(positions.start, positions.stop, most)
    ]


_CHUNK_BYTES = 2**26
"""Bytes of float32 windows that are cut at once when all have to be looked at."""


@runtime_checkable
class LazyWindows(Protocol):
    """A stack (n, band, row, col) that is cut when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stack: (n, band, row, col)."""

    def __len__(self) -> int:
        """Count the windows."""

    def __getitem__(self, key: Any, /) -> Any:
        """Select windows by a slice or an array of positions."""

    def cut(self) -> npt.NDArray[np.generic]:
        """Cut all windows now."""


Stack = npt.NDArray[np.generic] | LazyWindows


def read_windows(
    stack: Stack, which: slice | npt.NDArray[np.intp]
) -> npt.NDArray[np.generic]:
    """Return some windows as an array (n, band, row, col)."""
    part = stack[which]
    return part if isinstance(part, np.ndarray) else part.cut()


def chunks(stack: Stack) -> Iterator[slice]:
    """Cut a stack into slices small enough to be held as float32."""
    count, *window = stack.shape
    step = max(1, _CHUNK_BYTES // (4 * int(np.prod(window))))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def finite_centre_spectra(stack: Stack) -> npt.NDArray[np.generic]:
    """Return the centre spectra (n, band) after checking every window for NaN.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    middle = stack.shape[2] // 2
    spectra = []
    for piece in chunks(stack):
        windows = read_windows(stack, piece)
        check_finite(windows)
        spectra.append(windows[:, :, middle, middle])
    return np.concatenate(spectra)


def noise_covariance(stack: Stack) -> npt.NDArray[np.float64] | None:
    """Return the covariance (band, band) of what differs between neighbours.

    Half the mean square of the differences of each centre to its 4 neighbours:
    exactly the covariance of noise that is independent from pixel to pixel over
    a flat ground.  None for windows of one pixel, which have no neighbours.
    """
    count, bands, side, _ = stack.shape
    if side == 1:
        return None
    middle, squares = side // 2, np.zeros((bands, bands))
    for piece in chunks(stack):
        windows = read_windows(stack, piece)
        around = slice(middle - 1, middle + 2)
        near = np.asarray(windows[:, :, around, around], dtype=np.float64)
        for row, col in ((0, 1), (1, 0), (1, 2), (2, 1)):
            difference = near[:, :, row, col] - near[:, :, 1, 1]
            squares += difference.T @ difference
    return squares / (8 * count)


def check_finite(values: npt.NDArray[np.generic]) -> None:
    """Refuse values that no network can take.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ModelError(
            f"The input contains NaN or infinity in {bad} of {values.size} values; mask "
            "or fill such pixels first."
        )


_MAX_WINDOW_BYTES = 2**30
"""Bytes of scaled windows that are kept on a CPU.  A batch of 50 windows of
9 × 9 × 200 is copied from there in 4 ms where gathering it from the cube takes
14, and with 40 directions in 0.1 ms instead of 0.8; cut and scaled anew it takes
14 and 38."""

_STRIP_BYTES = 2**26
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


class WindowLoader:
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
        self._pixels: ScaledCube | None = None
        count, _, rows, cols = stack.shape
        windows = 4 * count * scaling.outputs * rows * cols
        lies_in = stack.cube_and_corners() if isinstance(stack, CubeWindows) else None
        cube = 4 * scaling.outputs * lies_in[0][0].size if lies_in else windows + 1
        if windows <= self._most(cube):
            self._kept = self._gathered()
        elif lies_in is not None and cube <= min(windows, self._room()):
            self._pixels = ScaledCube(lies_in, scaling, rows, self._device)

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
        windows = self._scaling.apply(read_windows(self._stack, which.numpy()))
        if self._device.type == "cuda":
            windows = windows.pin_memory()
        return windows.to(self._device, non_blocking=True)

    def _most(self, cube: int) -> float:
        """Return the bytes of windows that are kept rather than their cube.

        On a CPU free memory has no say: it would change the last digits.
        """
        return _MAX_WINDOW_BYTES if self._device.type == "cpu" else min(cube, self._room())

    def _room(self) -> float:
        """Return the bytes that may be taken on the device: half of what a GPU has."""
        if self._device.type == "cpu":
            return math.inf
        return int(torch.cuda.mem_get_info(self._device)[0]) // 2

    def _gathered(self) -> torch.Tensor:
        """Scale everything once, piece by piece."""
        count, _, rows, cols = self._stack.shape
        kept = torch.empty(count, self.values, rows, cols, device=self._device)
        for piece in chunks(self._stack):
            kept[piece] = self._scaling.apply(read_windows(self._stack, piece)).to(
                self._device
            )
        return kept


class ScaledCube:
    """A scaled cube as pixels (row · col, value), and where windows lie in it."""

    def __init__(
        self, lies_in: Cube, scaling: Scaling, side: int, device: torch.device
    ) -> None:
        cube, rows, cols = lies_in
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

    def windows(self, which: torch.Tensor) -> torch.Tensor:
        """Gather windows (n, value, row, col)."""
        places = self._corners[which, None] + self._inside
        values = self._values[places].transpose(1, 2)
        return values.reshape(len(which), -1, self._side, self._side)


_DIGEST_SAMPLES = 64
"""Windows by which two stacks are told apart."""


@dataclass(frozen=True, eq=False)
class LabelledWindows:
    """A stack of windows and the class of each."""

    stack: Stack
    """Windows (n, band, row, col)."""
    classes: npt.NDArray[Any]
    """Labels of the classes, in order."""
    targets: torch.Tensor
    """Position of each window's class (n,)."""

    @classmethod
    def to_learn(cls, stack: Stack, y: npt.ArrayLike) -> "LabelledWindows":
        """Return examples whose labels say what the classes are.

        Raises
        ------
        ModelError
            If there is no window, not one label for each, or one class only.
        """
        labels = _check_labels(stack, y)
        if not len(labels):
            raise ModelError(
                "There is no training window (0 samples); give at least one of each class."
            )
        classes, targets = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ModelError(
                f"The training labels hold one class only ({classes[0]}); a "
                "classifier needs at least two classes."
            )
        return cls(stack, classes, torch.from_numpy(targets.astype(np.int64)))

    @classmethod
    def to_validate(
        cls, stack: Stack, y: npt.ArrayLike, classes: npt.NDArray[Any]
    ) -> "LabelledWindows":
        """Return examples of classes that are known, after checking every window.

        Raises
        ------
        ModelError
            If there is no window, not one label for each, a label that no
            training window has, or a value that is not finite.
        """
        labels = _check_labels(stack, y)
        if not len(labels):
            raise ModelError("There is no validation window; give some or no validation.")
        strange = np.setdiff1d(labels, classes)
        if len(strange):
            raise ModelError(
                f"The validation labels hold the class {strange[0]}, which no training "
                "window has; leave such windows out."
            )
        for piece in chunks(stack):
            check_finite(read_windows(stack, piece))
        targets = np.searchsorted(classes, labels).astype(np.int64)
        return cls(stack, classes, torch.from_numpy(targets))

    def feed(
        self, scaling: Scaling, device: torch.device
    ) -> tuple[WindowLoader, torch.Tensor]:
        """Return them as a network is fed with them."""
        return WindowLoader(self.stack, scaling, device), self.targets

    def digests(self, part: str) -> dict[str, str]:
        """Return checksums that tell them from other examples; windows by some of them."""
        count = len(self.stack)
        some = np.linspace(0, count - 1, min(count, _DIGEST_SAMPLES)).astype(np.intp)
        seen = np.ascontiguousarray(read_windows(self.stack, some), dtype=np.float64)
        labels = f"{self.classes.tolist()} {self.targets.tolist()}"
        return {
            f"{part} windows": _sha256(f"{self.stack.shape}".encode() + seen.tobytes()),
            f"{part} labels": _sha256(labels.encode()),
        }


def _check_labels(stack: Stack, y: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return labels (n,) after checking that there is one for each window."""
    if y is None:
        raise ModelError("CNNClassifier requires y to be passed, but the target y is None.")
    labels: npt.NDArray[Any] = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    if len(labels) != len(stack):
        raise ModelError(
            f"Every window needs one label, got {len(stack)} windows and "
            f"{len(labels)} labels."
        )
    return labels


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What chance does to the windows of one batch, drawn before they are seen.

    Why it exists: a batch may pass in pieces or be shared by processes; drawn
    for the whole batch, chance is the same however it is cut.
    """

    symmetry: int
    """Which of the 8 symmetries of the square."""
    gain: torch.Tensor | None
    """Factor of each band (n, band)."""
    offset: torch.Tensor | None
    """What is added to each band (n, band)."""
    partner: torch.Tensor | None
    """Position in the batch of the window that is mixed in (n,)."""
    own: torch.Tensor
    """Share of the window itself in the mixture (n,)."""

    @classmethod
    def drawn(
        cls, recipe: Recipe, count: int, bands: int, generator: torch.Generator
    ) -> "Augmentation":
        """Draw for a batch of so many windows what its recipe asks for."""
        symmetry, gain, offset, partner, own = 0, None, None, None, torch.ones(count)
        if recipe.symmetries:
            symmetry = int(torch.randint(8, (), generator=generator))
        if recipe.jitter:
            noise = torch.randn(2, count, bands, generator=generator) * recipe.jitter
            gain, offset = 1 + noise[0], noise[1]
        if recipe.band_dropout:
            kept = torch.rand(count, bands, generator=generator) >= recipe.band_dropout
            gain = kept.float() if gain is None else gain * kept
            offset = None if offset is None else offset * kept
        if recipe.mix:
            partner = torch.randperm(count, generator=generator)
            own = _beta(recipe.mix, torch.rand(count, generator=generator))
        return cls(symmetry, gain, offset, partner, own)

    def mixed(
        self, which: slice, values: torch.Tensor, others: torch.Tensor
    ) -> torch.Tensor:
        """Mix values (n, …) of some windows of the batch with those of their partners."""
        own = self.own[which].to(values.device, non_blocking=True)
        return torch.lerp(others, values, own.view(-1, *[1] * (values.ndim - 1)))

    def changed(self, which: slice, windows: torch.Tensor) -> torch.Tensor:
        """Turn some windows (n, band, row, col) of the batch and change their bands."""
        windows = apply_symmetry(windows, self.symmetry)
        for factor, change in ((self.gain, torch.mul), (self.offset, torch.add)):
            if factor is not None:
                at_bands = factor[which].to(windows.device, non_blocking=True)
                windows = change(windows, at_bands[:, :, None, None])
        return windows


def apply_symmetry(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(apply_symmetry(square, symmetry).tolist()) for symmetry in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows


def _beta(alpha: float, uniform: torch.Tensor) -> torch.Tensor:
    """Return numbers of Beta(alpha, alpha) by the inverse of its distribution."""
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.double().numpy())).float()
