"""Land cover of simulated parcels, and the labels of a survey."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hypercover.errors import CallError
from hypercover.scene.data_tables import read_table
from hypercover.scene.datasets.catalog import known_map
from hypercover.scene.simulation.parcels import HALO, Parcels
from hypercover.types import Codes, Mask

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

    def draw(self, rng: np.random.Generator) -> ParcelState:
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

_OPEN = {
    "meadow": "field",
    "woods": "meadow",
    "farm": "field",
    "built": "field",
    "water": "field",
}
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
    parcels: Parcels,
    classes: Sequence[Cover],
    share: float | None,
    rng: np.random.Generator,
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
        self, cover: Cover, target: float, rng: np.random.Generator, *, whole: bool
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

    def _choose(self, free: list[int], area: float, rng: np.random.Generator) -> int:
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


def _cover_unlabelled(land: Survey, rng: np.random.Generator) -> None:
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
