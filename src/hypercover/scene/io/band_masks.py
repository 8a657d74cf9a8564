"""Masks of a raster: alpha bands, mask bands inside the file, and a ``.msk`` file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from hypercover.types import Mask

_SMALL, _WINDOW, _WINDOWS_ALONG = 2**18, 64, 5
"""Pixels of an image that is sampled whole; side and number of the windows of a larger one."""
_OPAQUE = 0.5
"""Share of the non-transparent pixels of an alpha band that are opaque, at least."""


@dataclass(frozen=True)
class Masks:
    """The measured bands of a raster, and the masks that tell where they hold no data."""

    measured: tuple[int, ...]
    """Numbers of the bands, from 1, without alpha bands."""
    alpha: tuple[int, ...] = ()
    """Numbers of the alpha bands: 0 is no data."""
    masked: tuple[int, ...] = ()
    """Numbers of the bands whose masks inside the file apply."""
    mask_file: Path | None = None
    """File of masks next to the image."""
    joint: bool = False
    """Whether a mask tells where all bands together hold their no-data values."""
    notes: tuple[str, ...] = ()
    """The masks that apply, one sentence each."""

    def __bool__(self) -> bool:
        """Tell whether there is any mask."""
        return bool(self.alpha or self.masked or self.mask_file)

    def read(self, dataset: Any, window: Window) -> Mask:
        """Return which pixels (row, col) of a window are valid by alpha bands and masks."""
        valid = np.ones((int(window.height), int(window.width)), dtype=bool)
        for number in self.alpha:
            valid &= dataset.read(number, window=window) != 0
        for number in self.masked:
            valid &= dataset.read_masks(number, window=window) != 0
        return valid


def find_masks(dataset: Any, path: Path) -> Masks:
    """Find the alpha bands and masks of an open raster.

    GDAL takes the fourth of four bands of bytes for alpha even where it is near infrared, so
    a band that is called alpha must also look like it.
    """
    called = [
        number
        for number, kind in enumerate(dataset.colorinterp, 1)
        if kind == ColorInterp.alpha or _name(dataset, number) == "alpha"
    ]
    alpha = [number for number in called if _is_alpha(dataset, number)]
    if len(alpha) == dataset.count:
        alpha = []
    measured = [number for number in range(1, dataset.count + 1) if number not in alpha]
    masked = _masked(dataset, measured)
    notes = [
        f"Band {number} is called alpha but varies like a measured band; it is kept as one."
        for number in called
        if number in measured
    ]
    notes += [
        f"Band {number} is an alpha band: where it is 0 there is no data."
        for number in alpha
    ]
    mask_file = None
    if masked:
        notes.append("The file holds a mask: where it is 0 there is no data.")
    else:
        candidates = [path.with_name(path.name + suffix) for suffix in (".msk", ".MSK")]
        mask_file = next((one for one in candidates if one.is_file()), None)
        if mask_file is not None:
            notes.append(f"Mask: {mask_file.name}; where it is 0 there is no data.")
    flags = set(dataset.mask_flag_enums[measured[0] - 1])
    joint = {MaskFlags.per_dataset, MaskFlags.nodata} <= flags
    return Masks(
        tuple(measured), tuple(alpha), tuple(masked), mask_file, joint, tuple(notes)
    )


def _masked(dataset: Any, measured: list[int]) -> list[int]:
    """Return the bands whose masks apply, only one of those that share a mask."""
    all_flags = dataset.mask_flag_enums
    flags = {number: set(all_flags[number - 1]) for number in measured}
    shared = [
        number
        for number, own in flags.items()
        if MaskFlags.per_dataset in own and MaskFlags.alpha not in own
    ]
    return shared[:1] + [number for number, own in flags.items() if not own]


def _is_alpha(dataset: Any, number: int) -> bool:
    """Tell whether a band that is called alpha holds mostly transparent and opaque."""
    name = _name(dataset, number)
    if name and dataset.colorinterp[number - 1] == ColorInterp.alpha:
        return name in {"alpha", "mask", "transparency"}
    values = np.concatenate(
        [dataset.read(number, window=one).ravel() for one in _sample_windows(dataset)]
    )
    visible = values[values != 0]
    return not len(visible) or bool((visible == visible.max()).mean() >= _OPAQUE)


def _name(dataset: Any, number: int) -> str:
    try:
        return (dataset.descriptions[number - 1] or "").strip().lower()
    except UnicodeDecodeError:
        return ""


def _sample_windows(dataset: Any) -> Iterator[Window]:
    """Yield windows spread over an image, or all of a small one."""
    rows, cols = dataset.shape
    if rows * cols <= _SMALL:
        yield Window(0, 0, cols, rows)
        return
    high, wide = min(rows, _WINDOW), min(cols, _WINDOW)
    for top in np.linspace(0, rows - high, _WINDOWS_ALONG).astype(int).tolist():
        for left in np.linspace(0, cols - wide, _WINDOWS_ALONG).astype(int).tolist():
            yield Window(left, top, wide, high)
