"""Parcels of simulated land: sections, roads, fields, a river, woods and farmsteads.

The pattern is that of the Public Land Survey System of the American Midwest: sections
of one mile between roads, cut into halves, quarters and strips.  Only the river, the
woods along it and the pasture around them do not follow it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hypercover.scene.tiling import strips
from hypercover.types import Floats, Mask

_AT_ONCE = 2**20
"""Pixels in a strip."""


@dataclass(frozen=True)
class Axis:
    """A linear coordinate of an image in pixels, computed on demand.

    Storing two coordinates of every pixel would take more memory than the land itself.

    Examples
    --------
    >>> Axis((2, 3), 1.0, 10.0, 0.5)[:, :]
    array([[ 0.5,  1.5,  2.5],
           [10.5, 11.5, 12.5]])
    """

    shape: tuple[int, int]
    """Rows and columns of the image."""
    per_col: float
    """Increment from one column to the next."""
    per_row: float
    """Increment from one row to the next."""
    start: float
    """Value at the first pixel."""

    def __getitem__(self, window: tuple[slice, slice]) -> Floats:
        """Return the coordinate of the pixels in some rows and columns."""
        y, x = (
            np.arange(*part.indices(size), dtype=np.float64)
            for part, size in zip(window, self.shape, strict=True)
        )
        return self.per_col * x + self.per_row * y[:, None] + self.start

    def at(self, row: int, col: int) -> float:
        """Return the coordinate of one pixel."""
        return self.per_col * col + self.per_row * row + self.start

    @property
    def corners(self) -> Floats:
        """The coordinate of the four corner pixels, which include its extremes."""
        rows, cols = self.shape
        return np.array([self.at(y, x) for y in (0, rows - 1) for x in (0, cols - 1)])


def land_strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Cut the rows of an image into strips."""
    rows, cols = shape
    return strips(rows, max(1, _AT_ONCE // cols))


HALO = 2
"""Pixels beyond the edge that the point-spread function reaches."""

SECTION = 80.0
"""Side of a section in pixels: one mile at 20 m."""

_CUTS = (0.5, 0.5, 0.5, 1 / 3, 2 / 3, 0.25, 0.75)


Rectangle = tuple[float, float, float, float]


@dataclass
class Parcels:
    """The parcel of each pixel, and the kind of each parcel."""

    number: npt.NDArray[np.int32]
    """Parcel of each pixel (row, col), from 0."""
    habitats: list[str]
    """Kind of each parcel."""
    u: Axis
    """Coordinate across north-south rows."""
    v: Axis
    """Coordinate across east-west rows."""

    def add(self, where: Mask, habitat: str, top: int = 0, left: int = 0) -> None:
        """Assign the marked pixels of a window to a new parcel."""
        if where.any():
            rows, cols = where.shape
            self.number[top : top + rows, left : left + cols][where] = len(self.habitats)
            self.habitats.append(habitat)


def lay_out(rows: int, cols: int, field: float, rng: np.random.Generator) -> Parcels:
    """Lay out the parcels of a scene.

    Parameters
    ----------
    rows, cols : int
        Size in pixels.
    field : float
        Mean area of a field in pixels.
    rng : numpy.random.Generator
    """
    # Along a survey grid that is slightly rotated and shifted.
    angle = np.deg2rad(rng.uniform(-2.0, 2.0))
    shift_u, shift_v = rng.uniform(0.25, 0.75, 2) * SECTION
    u = Axis((rows, cols), np.cos(angle), np.sin(angle), shift_u)
    v = Axis((rows, cols), -np.sin(angle), np.cos(angle), shift_v)
    parcels = Parcels(np.zeros((rows, cols), np.int32), ["field"], u, v)
    side = min(SECTION, 4 * field**0.5)
    across, down = u.corners // side, v.corners // side
    for i in range(int(across.min()), int(across.max()) + 1):
        for j in range(int(down.min()), int(down.max()) + 1):
            section = i * side, (i + 1) * side, j * side, (j + 1) * side
            for leaf in _leaves(section, field, rng):
                _stamp(parcels, leaf, "field")
    _grow_nature(parcels, min(12.0, 0.55 * field**0.5), rng)
    spacing = SECTION if side >= 40 else 2 * side
    _build_roads(parcels, spacing, rng)
    _place_farms(parcels, spacing, min(9.0, 0.5 * field**0.5), rng)
    return parcels


def _leaves(box: Rectangle, field: float, rng: np.random.Generator) -> Iterator[Rectangle]:
    """Cut a rectangle recursively into fields."""
    left, right, top, bottom = box
    width, height = right - left, bottom - top
    if width * height < field * rng.uniform(0.6, 3.0) or min(width, height) < 5:
        yield box
        return
    across = width > height if rng.random() < 0.85 else width <= height
    cut = rng.choice(_CUTS)
    if across:
        middle = left + cut * width
        parts = [(left, middle, top, bottom), (middle, right, top, bottom)]
    else:
        middle = top + cut * height
        parts = [(left, right, top, middle), (left, right, middle, bottom)]
    for part in parts:
        yield from _leaves(part, field, rng)


def _stamp(parcels: Parcels, box: Rectangle, habitat: str) -> None:
    """Make a parcel of the pixels in a rectangle."""
    left, right, top, bottom = box
    # Only rows and columns that contain it, with some slack.
    slack = 0.04 * max(parcels.number.shape) + 2
    x, y = parcels.u.at(0, 0), parcels.v.at(0, 0)
    ends = ((top - y, bottom - y), (left - x, right - x))
    rows, cols = (
        slice(
            *(min(max(end, 0), size) for end in (int(first - slack), int(last + slack) + 1))
        )
        for (first, last), size in zip(ends, parcels.number.shape, strict=True)
    )
    u, v = parcels.u[rows, cols], parcels.v[rows, cols]
    inside = (u >= left) & (u < right) & (v >= top) & (v < bottom)
    parcels.add(inside, habitat, rows.start, cols.start)


def _smooth(shape: tuple[int, int], length: float, rng: np.random.Generator) -> Floats:
    """Return noise of unit variance with a correlation length in pixels."""
    noise = rng.standard_normal(shape)
    ndimage.gaussian_filter(noise, length, mode="wrap", output=noise)
    noise /= max(noise.std(), 1e-12)
    return noise


def _river(parcels: Parcels, rng: np.random.Generator) -> Floats:
    """Return the distance in pixels from a winding river."""
    rows, cols = parcels.number.shape
    along, across = (parcels.v, parcels.u) if rows >= cols else (parcels.u, parcels.v)
    length, breadth = float(np.ptp(along.corners)), float(np.ptp(across.corners))
    lean, middle = rng.uniform(-0.3, 0.3), breadth * rng.uniform(0.2, 0.8)
    bends = []
    for wave, height in ((170.0, 0.12), (75.0, 0.09), (33.0, 0.05)):
        bend = min(wave * height * rng.uniform(0.6, 1.4), breadth / 6)
        bends.append((wave, bend, rng.uniform(0, 6.28)))
    far = np.empty((rows, cols))
    for part in land_strips((rows, cols)):
        s = along[part, :] - along.corners.min()
        course = across.corners.min() + middle + lean * (s - length / 2)
        for wave, bend, phase in bends:
            course = course + bend * np.sin(2 * np.pi * s / wave + phase)
        far[part] = np.abs(across[part, :] - course)
    return far


def _grow_nature(parcels: Parcels, rough: float, rng: np.random.Generator) -> None:
    """Place woods, meadows and a river on top of the fields."""
    shape = parcels.number.shape
    wild = _smooth(shape, rough, rng)
    wild += 0.35 * _smooth(shape, rough / 4, rng)
    woods = wild > np.quantile(wild, 0.915)
    meadow = (wild > np.quantile(wild, 0.86)) & ~woods
    del wild
    if min(shape) >= 64:
        far = _river(parcels, rng)
        belt = far + 1.8 * _smooth(shape, 5.0, rng)
        belt += 2.2 * _smooth(shape, 16.0, rng)
        woods |= belt < 3.5
        meadow |= (belt < 5.5) & ~woods
        del belt
    _parts(parcels, meadow, "meadow")
    _parts(parcels, woods, "woods")
    if min(shape) >= 64:
        width = 0.8 + 0.25 * _smooth(shape, 12.0, rng)
        parcels.add(far < width, "water")


def _parts(parcels: Parcels, where: Mask, habitat: str) -> None:
    """Make a parcel of each connected piece within a quarter section."""
    pieces, count = ndimage.label(where)
    side, keys = SECTION / 2, []
    for part in land_strips(where.shape):
        here = where[part]
        quarter = (parcels.u[part, :][here] // side) * 10_000
        quarter += parcels.v[part, :][here] // side
        keys.append(quarter.astype(np.int64) * (count + 1) + pieces[part][here])
    distinct, number = np.unique(np.concatenate(keys), return_inverse=True)
    parcels.number[where] = number + len(parcels.habitats)
    parcels.habitats.extend([habitat] * len(distinct))


def _build_roads(parcels: Parcels, spacing: float, rng: np.random.Generator) -> None:
    """Build roads on the section lines and, in large scenes, a highway across."""
    shape = parcels.number.shape
    road = np.zeros(shape, bool)
    for part in land_strips(shape):
        for axis in (parcels.u, parcels.v):
            along = axis[part, :]
            road[part] |= np.abs(along - spacing * np.round(along / spacing)) < 0.5
    parcels.add(road, "road")
    if min(shape) < 96:
        return
    slope = np.deg2rad(rng.uniform(25, 65)) * rng.choice([-1, 1])
    through_u = np.quantile(parcels.u[:, :], rng.uniform(0.2, 0.8), overwrite_input=True)
    through_v = np.quantile(parcels.v[:, :], 0.5, overwrite_input=True)
    highway = np.empty(shape, bool)
    for part in land_strips(shape):
        x, y = parcels.u[part, :] - through_u, parcels.v[part, :] - through_v
        highway[part] = np.abs(np.cos(slope) * x + np.sin(slope) * y) < 0.8
    parcels.add(highway, "highway")


def _place_farms(
    parcels: Parcels, spacing: float, size: float, rng: np.random.Generator
) -> None:
    """Place farmsteads and paved yards along the roads."""
    rows, cols = parcels.number.shape
    for habitat, each, scale in (("farm", 3400, 1.0), ("built", 8000, 0.8)):
        for _ in range(max(3, round(rows * cols / each))):
            row, col = int(rng.integers(rows)), int(rng.integers(cols))
            width, height = size * scale * rng.uniform(0.8, 1.5, 2)
            left = spacing * np.round(parcels.u.at(row, col) / spacing) + 0.6
            top = parcels.v.at(row, col) - height / 2
            if rng.random() < 0.5:
                left -= width + 1.2
            _stamp(parcels, (left, left + width, top, top + height), habitat)
