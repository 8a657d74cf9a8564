"""Simulated land: its parcels, their cover, and the labels of a survey.

The pattern is that of the Public Land Survey System of the American Midwest: sections
of one mile between roads, cut into halves, quarters and strips.  Only the river, the
woods along it and the pasture around them do not follow it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from scipy import ndimage

from hypercover.errors import CallError
from hypercover.scene.data_tables import read_table
from hypercover.scene.datasets.catalog import known_map
from hypercover.scene.tiling import strips
from hypercover.types import Codes, Floats, Mask

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


def lay_out(rows: int, cols: int, field: float, rng: Generator) -> Parcels:
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


def _leaves(box: Rectangle, field: float, rng: Generator) -> Iterator[Rectangle]:
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


def _smooth(shape: tuple[int, int], length: float, rng: Generator) -> Floats:
    """Return noise of unit variance with a correlation length in pixels."""
    noise = rng.standard_normal(shape)
    ndimage.gaussian_filter(noise, length, mode="wrap", output=noise)
    noise /= max(noise.std(), 1e-12)
    return noise


def _river(parcels: Parcels, rng: Generator) -> Floats:
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


def _grow_nature(parcels: Parcels, rough: float, rng: Generator) -> None:
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


def _build_roads(parcels: Parcels, spacing: float, rng: Generator) -> None:
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


def _place_farms(parcels: Parcels, spacing: float, size: float, rng: Generator) -> None:
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


Range = tuple[float, float]


@dataclass(frozen=True)
class ParcelState:
    """The state of the canopy and the ground of a parcel."""

    lai: float
    """Leaf area index, m² of leaf per m² of ground."""
    cab: float
    """Leaf chlorophyll a and b, µg cm⁻²."""
    cw: float
    """Leaf water thickness, cm."""
    cm: float
    """Leaf dry matter, g cm⁻²."""
    brown: float
    """Brown pigment, from 0 (green) to 1 (dead)."""
    angle: float
    """Mean leaf inclination, degrees."""
    residue: float
    """Share of the ground under dead plant matter, 0 to 1."""
    moisture: float
    """Moisture of the soil's surface, from 0 (dry) to 1 (wet)."""
    albedo: float
    """Brightness of the soil, 1 = average."""


_RANGES = tuple(ParcelState.__annotations__)


@dataclass(frozen=True)
class Cover:
    """A kind of land cover, with ranges for the state of its parcels."""

    name: str
    """Class name."""
    habitat: str
    """Kind of its parcels: field, meadow, woods, farm, built or water."""
    share: float
    """Weight in the class counts, of Indian Pines for the first 16; for a cover that
    imitates a published class, its labelled pixels."""
    rows: str
    """Direction of crop rows: ns, ew, or - for none."""
    ranges: tuple[tuple[str, Range], ...]
    """Lowest and highest value of each field of the state."""

    def draw(self, rng: Generator) -> ParcelState:
        """Draw the state of one parcel."""
        return ParcelState(**{name: rng.uniform(*between) for name, between in self.ranges})


def _cover(row: dict[str, str]) -> Cover:
    limits = {name: tuple(map(float, row[name].split(":"))) for name in _RANGES}
    ranges = tuple((name, (low, high)) for name, (low, high) in limits.items())
    return Cover(row["name"], row["habitat"], float(row["share"]), row["rows"], ranges)


@cache
def land_covers() -> tuple[Cover, ...]:
    """Return all covers, in the order in which scenes use them as classes."""
    return tuple(_cover(row) for row in read_table("simulated-covers.csv"))


@cache
def flight_line_covers() -> tuple[Cover, ...]:
    """Return a cover for each class of the flight line of Indian Pines.

    Names and numbers of pixels are published; the states are those of a similar cover of
    :func:`land_covers`.  The largest class lacks one pixel, so that a simulated map is
    never taken for the published one.
    """
    covers = {cover.name: cover for cover in land_covers()}
    line = known_map("Indian Pines flight line")
    pixels = {line.names[code]: count for code, count in line.counts.items()}
    pixels["Woods"] -= 1
    return tuple(
        replace(covers[row["like"]], name=row["name"], share=pixels[row["name"]])
        for row in read_table("simulated-flight-line.csv")
    )


SINGLE = 60
"""Classes with fewer pixels have one field, others at least two."""

SMALLEST = 12
"""Fewest labelled pixels of a parcel."""

_OPEN = {"woods": "meadow", **dict.fromkeys(("meadow", "farm", "built", "water"), "field")}
"""The kind of parcel that is taken where one is used up."""


@dataclass
class Survey:
    """The cover of every parcel, and class codes of the labelled ones."""

    parcels: Parcels
    """Parcels, some of which were cut for a small class."""
    classes: tuple[Cover, ...]
    """Classes by code, from 1."""
    covers: dict[int, Cover] = field(default_factory=dict)
    """Cover of each parcel, except roads."""
    codes: dict[int, int] = field(default_factory=dict)
    """Class code of each labelled parcel."""
    surplus: dict[int, int] = field(default_factory=dict)
    """Number of pixels in the south of a parcel that stay unlabelled."""

    def labels(self) -> Codes:
        """Return class codes (row, col), with 0 along the margins of parcels."""
        table = np.zeros(len(self.parcels.habitats), np.uint16)
        for parcel, code in self.codes.items():
            table[parcel] = code
        number = self.parcels.number
        labels = np.where(interior(number), table[number], 0)
        for parcel, count in self.surplus.items():
            own = (number == parcel) & (labels > 0) & _inside_halo(number.shape)
            labels.flat[np.flatnonzero(own)[-count:]] = 0
        return labels.astype(np.uint8 if len(self.classes) < 256 else np.uint16)


def interior(number: npt.NDArray[np.int32]) -> Mask:
    """Return the pixels whose neighbours all belong to the same parcel."""
    low = ndimage.minimum_filter(number, 3, mode="nearest")
    return np.asarray(low == ndimage.maximum_filter(number, 3, mode="nearest"))


def _inside_halo(shape: tuple[int, int]) -> Mask:
    """Return the pixels of the image without the halo around it."""
    inside = np.zeros(shape, bool)
    inside[HALO:-HALO, HALO:-HALO] = True
    return inside


class CrowdedError(CallError):
    """There are too few parcels for the classes."""


def survey(
    parcels: Parcels, classes: Sequence[Cover], share: float | None, rng: Generator
) -> Survey:
    """Assign a cover to every parcel, and label a share of the pixels.

    Without a share each class gets exactly the number of pixels in its cover, if
    there is room.

    Classes choose parcels in the order of their sizes, the smallest first, and parcels
    are cut to size.  So every class that is large enough has at least two, however
    unequal the classes are.

    Raises
    ------
    CrowdedError
        If there are too few parcels for the classes.
    """
    result = Survey(parcels, tuple(sorted(classes, key=lambda cover: cover.name)))
    land = _FreeLand(parcels)
    total = 1.0
    if share is not None:
        total = share * parcels.number.size / sum(cover.share for cover in classes)
    for cover in sorted(classes, key=lambda cover: cover.share):
        code = result.classes.index(cover) + 1
        target = max(SMALLEST, total * cover.share)
        taken, left = land.take(cover, target, rng, whole=share is None)
        for parcel in taken:
            result.covers[parcel], result.codes[parcel] = cover, code
        if left < 0 and share is None:
            result.surplus[taken[-1]] = round(-left)
    _cover_unlabelled(result, rng)
    return result


class _FreeLand:
    """The parcels without a class so far, with their areas."""

    def __init__(self, parcels: Parcels) -> None:
        self.parcels = parcels
        self.boxes = ndimage.find_objects(parcels.number + 1)
        self.inside = interior(parcels.number) & _inside_halo(parcels.number.shape)
        number = parcels.number[self.inside]
        counts = np.bincount(number, minlength=len(parcels.habitats)).tolist()
        self.areas = {
            parcel: count for parcel, count in enumerate(counts) if count >= SMALLEST
        }
        fields = [self.areas[parcel] for parcel in self._free("field")]
        self.mean = float(np.mean(fields)) if fields else 1.0

    def _free(self, habitat: str) -> list[int]:
        habitats = self.parcels.habitats
        return [parcel for parcel in self.areas if habitats[parcel] == habitat]

    def take(
        self, cover: Cover, target: float, rng: Generator, *, whole: bool
    ) -> tuple[list[int], float]:
        """Take parcels for a class until it has about its target number of pixels.

        If its kind of land is used up, the next kind is used.  Also return the number of
        pixels that are missing.
        """
        enough = 0.0 if whole else 0.12 * target
        least = 1 if target < SINGLE else 2
        pieces = max(least, round(target / self.mean))
        habitat = cover.habitat
        taken: list[int] = []
        left = target
        while left > enough or len(taken) < least:
            free = self._free(habitat)
            if not free and habitat != "field":
                habitat = _OPEN[habitat]
                continue
            if not free and len(taken) >= least:
                break
            area = max(SMALLEST, left / max(1, pieces - len(taken)))
            parcel = self._choose(free, area, rng)
            if self.areas[parcel] > 1.4 * area:
                self._cut(parcel, area)
            taken.append(parcel)
            left -= self.areas.pop(parcel)
        return taken, left

    def _choose(self, free: list[int], area: float, rng: Generator) -> int:
        """Choose a parcel of about a given area."""
        if not free:
            raise CrowdedError("No parcel remains; label a smaller share of the land.")
        targets = area * rng.uniform(0.7, 1.5, len(free))
        misfit = np.abs(np.log([self.areas[parcel] for parcel in free]) - np.log(targets))
        return free[int(np.argmin(misfit))]

    def _cut(self, parcel: int, area: float) -> None:
        """Cut a parcel across its length, so that it keeps about a given area."""
        box = self.boxes[parcel]
        mine = self.parcels.number[box] == parcel
        axis = self.parcels.u if mine.shape[1] >= mine.shape[0] else self.parcels.v
        along = axis[box]
        places = np.sort(along[mine & self.inside[box]])
        line = places[min(len(places) - 1, round(area))] + 1.0
        beyond = mine & (along > line)
        if not beyond.any():
            return
        new, (rows, cols) = len(self.parcels.habitats), box
        self.parcels.add(beyond, self.parcels.habitats[parcel], rows.start, cols.start)
        self.boxes.append(box)
        # Pixels that touch the new boundary between the two parts are margins.
        rest = mine & ~beyond
        touch = ndimage.maximum_filter(rest, 3) & beyond
        touch |= ndimage.maximum_filter(beyond, 3) & rest
        self.inside[box] &= ~touch
        for part in (parcel, new):
            own = (self.parcels.number[box] == part) & self.inside[box]
            self.areas[part] = int(own.sum())
        if self.areas[new] < SMALLEST:
            del self.areas[new]


def _cover_unlabelled(land: Survey, rng: Generator) -> None:
    """Assign a cover to every unlabelled parcel."""
    chosen = {cover.name for cover in land.classes}
    by_habitat: dict[str, list[Cover]] = {}
    for cover in land_covers():
        by_habitat.setdefault(cover.habitat, []).append(cover)
    for parcel, habitat in enumerate(land.parcels.habitats):
        if parcel in land.covers or habitat not in by_habitat:
            continue
        options = [cover for cover in by_habitat[habitat] if cover.name in chosen]
        options = options or by_habitat[habitat][:1]
        weights = np.array([cover.share for cover in options])
        at = rng.choice(len(options), p=weights / weights.sum())
        land.covers[parcel] = options[at]
