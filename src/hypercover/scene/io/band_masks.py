"""Masks of a raster: alpha bands, GDAL's mask bands inside the file, and ``.msk`` beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

__all__ = ["Masks", "find_masks"]

_SMALL, _WINDOW, _ALONG = 2**18, 64, 5
"""Pixels of an image that is looked at whole; side and number of the pieces of a larger."""
_OPAQUE = 0.5
"""Share of the pixels that are not clear, from which all are opaque in an alpha band."""


@dataclass(frozen=True)
class Masks:
    """Which bands of a raster are measured, and what says where they hold no data."""

    measured: tuple[int, ...]
    """Numbers of the bands that are no alpha, from 1."""
    alpha: tuple[int, ...] = ()
    """Numbers of the alpha bands: 0 is no data."""
    masked: tuple[int, ...] = ()
    """Numbers of the bands whose masks in the file count."""
    beside: Path | None = None
    """A file of masks beside the image."""
    joint: bool = False
    """Whether a mask says where the bands together hold the values of no data."""
    notes: tuple[str, ...] = ()
    """What was found, one sentence each."""

    def __bool__(self) -> bool:
        """Tell whether anything but values says where there is no data."""
        return bool(self.alpha or self.masked or self.beside)

    def read(self, dataset: Any, window: Window) -> npt.NDArray[np.bool_]:
        """Tell which pixels (row, col) of a window hold data by alpha bands and masks."""
        held = np.ones((int(window.height), int(window.width)), dtype=bool)
        for number in self.alpha:
            held &= dataset.read(number, window=window) != 0
        for number in self.masked:
            held &= dataset.read_masks(number, window=window) != 0
        return held


def find_masks(dataset: Any, path: Path) -> Masks:
    """Find the alpha bands and masks of an open raster.

    Why it exists: a transparent pixel holds whatever lay below it, and an alpha band
    is no spectral band.  Of four bands of bytes GDAL calls the fourth alpha even where
    it is near infrared, so what is called alpha must also look like it.
    """
    called = [
        number
        for number, kind in enumerate(dataset.colorinterp, 1)
        if kind == ColorInterp.alpha or _name(dataset, number) == "alpha"
    ]
    alpha = [number for number in called if _is_alpha(dataset, number)]
    if len(alpha) == dataset.count:
        alpha = []
    others = set(range(1, dataset.count + 1)) - set(alpha)
    measured = sorted(others)
    masked = _masked(dataset, measured)
    besides = [path.with_name(path.name + suffix) for suffix in (".msk", ".MSK")]
    found = next((one for one in besides if one.is_file() and not masked), None)
    notes = [
        f"Band {number} is called alpha, but varies as a measured band does: taken as one."
        for number in called
        if number in measured
    ]
    notes += [
        f"Band {number} is an alpha band: where it is 0 there is no data."
        for number in alpha
    ]
    if masked:
        notes.append("The file holds a mask: where it is 0 there is no data.")
    if found is not None:
        notes.append(f"Mask: {found.name}; where it is 0 there is no data.")
    flags = dataset.mask_flag_enums[measured[0] - 1]
    joint = {MaskFlags.per_dataset, MaskFlags.nodata} <= set(flags)
    return Masks(tuple(measured), tuple(alpha), tuple(masked), found, joint, tuple(notes))


def _masked(dataset: Any, measured: list[int]) -> list[int]:
    """Return the bands whose masks count: one where the mask is that of all bands."""
    of_all = dataset.mask_flag_enums
    flags = {number: set(of_all[number - 1]) for number in measured}
    shared = [
        number
        for number, said in flags.items()
        if MaskFlags.per_dataset in said and MaskFlags.alpha not in said
    ]
    own = [number for number, said in flags.items() if not said]
    return shared[:1] + own


def _is_alpha(dataset: Any, number: int) -> bool:
    """Tell whether a band that is called alpha holds little but clear and opaque."""
    described = _name(dataset, number)
    if described and dataset.colorinterp[number - 1] == ColorInterp.alpha:
        return described in {"alpha", "mask", "transparency"}
    values = np.concatenate(
        [dataset.read(number, window=one).ravel() for one in _looked_at(dataset)]
    )
    seen = values[values != 0]
    return not len(seen) or bool((seen == seen.max()).mean() >= _OPAQUE)


def _name(dataset: Any, number: int) -> str:
    try:
        return (dataset.descriptions[number - 1] or "").strip().lower()
    except UnicodeDecodeError:
        return ""


def _looked_at(dataset: Any) -> Iterator[Window]:
    """Cut out pieces spread over an image, or all of a small one."""
    rows, cols = dataset.shape
    if rows * cols <= _SMALL:
        yield Window(0, 0, cols, rows)
        return
    high, wide = min(rows, _WINDOW), min(cols, _WINDOW)
    for top in np.linspace(0, rows - high, _ALONG).astype(int).tolist():
        for left in np.linspace(0, cols - wide, _ALONG).astype(int).tolist():
            yield Window(left, top, wide, high)
