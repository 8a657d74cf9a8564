"""Label maps: checked codes, and the legend that belongs to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.scene.catalog import recognise
from hypercover.scene.grid import Grid
from hypercover.scene.legend import MAX_CODE, Legend, default_color

__all__ = ["LabelMap", "as_codes", "check_placement", "check_size", "legend_of", "offset"]

Codes = npt.NDArray[np.unsignedinteger]
_APART = 0.01
"""Offset between two grids, in pixels, from which they are different grids."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels as a file gives them, before a legend is made."""

    codes: Codes
    """Class codes (y, x); 0 = unlabelled."""
    grid: Grid | None = None
    """Georeference of the file, where it has one."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Class names found in the file."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Class colours found in the file."""
    notes: tuple[str, ...] = ()
    """What was chosen or found."""


def as_codes(
    values: npt.NDArray[np.generic], source: object, nodata: float | None = None
) -> Codes:
    """Turn the values of a label map into codes, or say why they are none.

    Whole numbers from 0 to 65535 are codes whatever their type; NaN and the
    no-data value mean unlabelled.

    Raises
    ------
    LabelError
        If a value is no such number, or no pixel is labelled.
    """
    numbers = (
        np.array(values, dtype=np.float64) if values.dtype.kind == "f" else values.copy()
    )
    if nodata is not None and np.isfinite(nodata):
        numbers[numbers == nodata] = 0
    if numbers.dtype.kind == "f":
        numbers[np.isnan(numbers)] = 0
        _check_whole(numbers, source)
    _check_range(numbers, source)
    codes: Codes = numbers.astype(np.uint8 if numbers.max(initial=0) <= 255 else np.uint16)
    if not codes.any():
        raise LabelError(f"The labels {source} hold no labelled pixel: every pixel is 0.")
    return codes


def _check_whole(numbers: npt.NDArray[Any], source: object) -> None:
    odd = numbers[~np.isfinite(numbers) | (numbers != np.floor(numbers))]
    if odd.size:
        raise LabelError(
            f"Labels must be whole numbers, found {odd[0]:g} in {source}; give a map "
            "of class codes, not an image."
        )


def _check_range(numbers: npt.NDArray[Any], source: object) -> None:
    if numbers.dtype.kind == "b" or numbers.size == 0:
        return
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0 or high > MAX_CODE:
        wrong = low if low < 0 else high
        raise LabelError(
            f"Labels must lie between 0 and {MAX_CODE}, found {wrong:g} in {source}; "
            "mark unlabelled pixels with 0."
        )


def check_size(
    shape: tuple[int, ...], grid: Grid, source: object, what: str = "labels"
) -> None:
    """Refuse labels, or what else there is, of another size than the image.

    Raises
    ------
    LabelError
        If rows or columns differ.
    """
    if shape == grid.shape:
        return
    turned = " (rows and columns are swapped)" if shape == grid.shape[::-1] else ""
    raise LabelError(
        f"The {what} must have the size of the image, {grid.rows} rows × {grid.cols} "
        f"columns, but {source} has {' × '.join(map(str, shape))}{turned}; give {what} "
        "made for this image."
    )


def check_placement(
    found: Grid | None, grid: Grid, source: object, what: str = "labels"
) -> None:
    """Refuse labels, or what else there is, that lie elsewhere than the image, where both say where.

    Raises
    ------
    LabelError
        If the coordinate systems differ or the grids are shifted.
    """
    if found is None or not (found.placed and grid.placed):
        return
    if found.crs and grid.crs and not _same_crs(found.crs, grid.crs):
        raise LabelError(
            f"The image is in another coordinate system than the {what} {source}; "
            "reproject these to the grid of the image."
        )
    apart = offset(found, grid)
    if apart > _APART:
        raise LabelError(
            f"Pixels of the {what} {source} lie up to {apart:,.2f} pixels beside the image; "
            "resample them to its grid."
        )


def _same_crs(one: str, other: str) -> bool:
    from rasterio.crs import CRS

    return one == other or bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def offset(found: Grid, grid: Grid) -> float:
    """Largest distance between the corners of two grids, in pixels of the second."""
    corners = np.array([[0, 0, 1], [grid.cols, 0, 1], [0, grid.rows, 1]], dtype=float).T
    here, there = (np.array(one.transform).reshape(2, 3) for one in (grid, found))
    pixel = float(np.sqrt(abs(np.linalg.det(here[:, :2])))) or 1.0
    return float(np.abs((there - here) @ corners).max() / pixel)


def legend_of(
    labels: LabelMap, given: Legend | None = None
) -> tuple[Legend, tuple[str, ...]]:
    """Name and colour the classes of a label map.

    The user's table comes first, then what the file says, then what is known
    about a recognised benchmark map, then ``Class 7``.
    """
    codes = [int(code) for code in np.unique(labels.codes) if code > 0]
    table = given or Legend()
    known = recognise(labels.codes)
    names = dict(known.names) if known else {}
    names |= {code: name for code, name in labels.names.items() if name.strip()}
    names |= dict(zip(table.codes, table.names, strict=True))
    colors = dict(labels.colors) | {land.code: land.color for land in table}
    legend = Legend.of(
        {code: names.get(code, f"Class {code}") for code in codes},
        {code: colors.get(code, default_color(at)) for at, code in enumerate(codes)},
    )
    notes = [] if known is None else _known_notes(known.title, known.note)
    nameless = [code for code in codes if code not in names]
    if nameless and names:
        notes.append(f"No class name is known for {_few(nameless)}.")
    notes += _empty_note({code: names[code] for code in sorted({*names} - {0, *codes})})
    return legend, tuple(notes)


def _empty_note(names: Mapping[int, str]) -> list[str]:
    """Name the classes that the legend has and the map has not; nothing of none."""
    if not names:
        return []
    shown = [f"{name} ({code})" for code, name in list(names.items())[:8]]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return [f"Classes of the legend without a labelled pixel: {', '.join(shown)}{more}."]


def _known_notes(title: str, note: str) -> list[str]:
    found = [f"Labels recognised by their content: {title}."]
    return [*found, note] if note else found


def _few(codes: list[int]) -> str:
    shown = ", ".join(map(str, codes[:8]))
    more = f" and {len(codes) - 8} more" if len(codes) > 8 else ""
    return f"code{'s' if len(codes) > 1 else ''} {shown}{more}"
