"""The survey: what grows on each parcel, and which parcels somebody labelled."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hypercover.errors import CallError
from hypercover.scene.datasets.catalog import known_map
from hypercover.scene.simulation.parcels import HALO, Parcels

__all__ = [
    "Cover",
    "CrowdedError",
    "ParcelState",
    "Survey",
    "flight_line_covers",
    "land_covers",
    "survey",
]

Range = tuple[float, float]


@dataclass(frozen=True)
class ParcelState:
    """What one parcel draws: the state of its canopy and of the ground below."""

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
    """A kind of land cover and the ranges its parcels draw their state from."""

    name: str
    """Class name."""
    habitat: str
    """Kind of parcel it takes: field, meadow, woods, farm, built or water."""
    share: float
    """Weight in the class counts; the first 16 are those of Indian Pines.  Of a cover
    that imitates a published class: its labelled pixels."""
    rows: str
    """Direction of its rows: ns, ew, or - where it has none."""
    ranges: tuple[tuple[str, Range], ...]
    """Lowest and highest value of each part of the state."""

    def draw(self, rng: np.random.Generator) -> ParcelState:
        """Draw the state of one parcel."""
        return ParcelState(**{name: rng.uniform(*between) for name, between in self.ranges})


def _range(text: str) -> Range:
    low, high = text.split(":")
    return float(low), float(high)


def _cover(row: dict[str, str]) -> Cover:
    ranges = tuple((name, _range(row[name])) for name in _RANGES)
    return Cover(row["name"], row["habitat"], float(row["share"]), row["rows"], ranges)


def _rows(name: str) -> list[dict[str, str]]:
    table = files("hypercover.scene.datasets") / "tables" / name
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


@cache
def land_covers() -> tuple[Cover, ...]:
    """Return every known cover, in the order in which scenes take them as classes."""
    return tuple(_cover(row) for row in _rows("simulated-covers.csv"))


@cache
def flight_line_covers() -> tuple[Cover, ...]:
    """Return a cover for each class of the flight line of Indian Pines.

    Their names and numbers of pixels are published; what grows there is that of
    a cover of :func:`land_covers`.  Classes that differ in the surveyors' doubt
    alone grow the same.  The largest class lacks one pixel, so that no simulated map
    is ever taken for the published one.
    """
    known = {cover.name: cover for cover in land_covers()}
    line = known_map("Indian Pines flight line")
    pixels = {line.names[code]: count for code, count in line.counts.items()}
    pixels["Woods"] -= 1
    return tuple(
        replace(known[row["like"]], name=row["name"], share=pixels[row["name"]])
        for row in _rows("simulated-flight-line.csv")
    )


SINGLE = 60
"""Below this many pixels a class has one field, from here on at least two."""

SMALLEST = 12
"""Fewest labelled pixels of a parcel."""

_OPEN = {
    "meadow": "field",
    "woods": "meadow",
    "farm": "field",
    "built": "field",
    "water": "field",
}


@dataclass
class Survey:
    """Cover of every parcel and class codes of the labelled ones."""

    parcels: Parcels
    """Parcels, some of them cut in two for a small class."""
    classes: tuple[Cover, ...]
    """Classes by code, from 1."""
    covers: dict[int, Cover] = field(default_factory=dict)
    """Cover of each parcel; roads have none."""
    codes: dict[int, int] = field(default_factory=dict)
    """Class code of each labelled parcel."""
    surplus: dict[int, int] = field(default_factory=dict)
    """Pixels that stay unlabelled in the south of a parcel."""

    def labels(self) -> npt.NDArray[np.unsignedinteger]:
        """Return the class codes (row, col), 0 along the margins of parcels."""
        table = np.zeros(len(self.parcels.habitats), np.uint16)
        for parcel, code in self.codes.items():
            table[parcel] = code
        number = self.parcels.number
        labels = np.where(interior(number), table[number], 0)
        for parcel, count in self.surplus.items():
            own = (number == parcel) & (labels > 0) & _in_picture(number.shape)
            labels.flat[np.flatnonzero(own)[-count:]] = 0
        return labels.astype(np.uint8 if len(self.classes) < 256 else np.uint16)


def interior(number: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Tell which pixels have neighbours of their own parcel only."""
    low = ndimage.minimum_filter(number, 3, mode="nearest")
    return np.asarray(low == ndimage.maximum_filter(number, 3, mode="nearest"))


def _in_picture(shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Tell the pixels of the picture from the halo around it."""
    inside = np.zeros(shape, bool)
    inside[HALO:-HALO, HALO:-HALO] = True
    return inside


class CrowdedError(CallError):
    """The land has too few parcels for the classes."""


def survey(
    parcels: Parcels,
    classes: Sequence[Cover],
    share: float | None,
    rng: np.random.Generator,
) -> Survey:
    """Give every parcel a cover and label a share of the pixels.

    Without a share each class gets as many pixels as its own share says, to the
    pixel, where the land has room for them.

    The smallest class is served first and takes the smallest parcels, cut down
    to its size, so that every class stands on at least two of them where it is
    large enough, however unequal the classes are.

    Raises
    ------
    CrowdedError
        If the land has too few parcels for the classes.
    """
    found = Survey(parcels, tuple(sorted(classes, key=lambda cover: cover.name)))
    land = _Land(parcels)
    total = 1.0
    if share is not None:
        total = share * parcels.number.size / sum(cover.share for cover in classes)
    for cover in sorted(classes, key=lambda cover: cover.share):
        code = found.classes.index(cover) + 1
        target = max(SMALLEST, total * cover.share)
        taken, left = land.take(cover, target, rng, whole=share is None)
        for parcel in taken:
            found.covers[parcel], found.codes[parcel] = cover, code
        if left < 0 and share is None:
            found.surplus[taken[-1]] = round(-left)
    _cover_the_rest(found, rng)
    return found


class _Land:
    """The parcels nobody has taken yet, with their areas."""

    def __init__(self, parcels: Parcels) -> None:
        self.parcels = parcels
        self.areas: dict[int, int] = {}
        self.boxes = ndimage.find_objects(parcels.number + 1)
        self.shown = _in_picture(parcels.number.shape)
        self.inside = interior(parcels.number) & self.shown
        self.mean = 1.0
        self._measure()

    def _measure(self) -> None:
        number = self.parcels.number[self.inside]
        counts = np.bincount(number, minlength=len(self.parcels.habitats))
        self.areas = {
            parcel: int(count) for parcel, count in enumerate(counts) if count >= SMALLEST
        }
        fields = [area for parcel, area in self.areas.items() if self._is(parcel, "field")]
        self.mean = float(np.mean(fields)) if fields else 1.0

    def _is(self, parcel: int, habitat: str) -> bool:
        return self.parcels.habitats[parcel] == habitat

    def _free(self, habitat: str) -> list[int]:
        return [parcel for parcel in self.areas if self._is(parcel, habitat)]

    def take(
        self, cover: Cover, target: float, rng: np.random.Generator, *, whole: bool
    ) -> tuple[list[int], float]:
        """Take parcels for a class until it has the pixels it should have, or about so.

        Where its own kind of land runs out, it goes on with the next kind.  The
        second value says how many pixels are still missing.
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
            wanted = max(SMALLEST, left / max(1, pieces - len(taken)))
            parcel = self._choose(free, wanted, rng)
            if self.areas[parcel] > 1.4 * wanted:
                self._cut(parcel, wanted)
            taken.append(parcel)
            left -= self.areas.pop(parcel)
        return taken, left

    def _choose(self, free: list[int], wanted: float, rng: np.random.Generator) -> int:
        """Choose a parcel that is about as large as wanted."""
        if not free:
            raise CrowdedError("No parcel is left; label a smaller share of the land.")
        wish = wanted * rng.uniform(0.7, 1.5, len(free))
        misfit = np.abs(np.log([self.areas[parcel] for parcel in free]) - np.log(wish))
        return free[int(np.argmin(misfit))]

    def _cut(self, parcel: int, wanted: float) -> None:
        """Cut a parcel across its length; it keeps about the wanted area."""
        box = self.boxes[parcel]
        number = self.parcels.number[box]
        mine = number == parcel
        core = mine & self.inside[box]
        along = (
            self.parcels.u[box] if mine.shape[1] >= mine.shape[0] else self.parcels.v[box]
        )
        places = np.sort(along[core])
        line = places[min(len(places) - 1, round(wanted))] + 1.0
        beyond = mine & (along > line)
        rows, cols = box
        new = len(self.parcels.habitats)
        self.parcels.add(beyond, self.parcels.habitats[parcel], rows.start, cols.start)
        if beyond.any():
            self.boxes.append(box)
            self.inside[box] &= _apart(mine, beyond)
            self._count(parcel, new)

    def _count(self, *parcels: int) -> None:
        """Measure parcels again after a cut."""
        for parcel in parcels:
            box = self.boxes[parcel]
            own = (self.parcels.number[box] == parcel) & self.inside[box]
            self.areas[parcel] = int(own.sum())
            if self.areas[parcel] < SMALLEST and parcel == parcels[-1]:
                del self.areas[parcel]


def _apart(
    mine: npt.NDArray[np.bool_], beyond: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Tell the pixels that do not touch a new boundary between two parts."""
    kept = mine & ~beyond
    touch = (ndimage.maximum_filter(kept, 3) & beyond) | (
        ndimage.maximum_filter(beyond, 3) & kept
    )
    return np.asarray(~touch)


def _cover_the_rest(found: Survey, rng: np.random.Generator) -> None:
    """Let something grow on every parcel that nobody labelled."""
    chosen = {cover.name for cover in found.classes}
    by_habitat: dict[str, list[Cover]] = {}
    for cover in land_covers():
        by_habitat.setdefault(cover.habitat, []).append(cover)
    for parcel, habitat in enumerate(found.parcels.habitats):
        if parcel in found.covers or habitat not in by_habitat:
            continue
        options = by_habitat[habitat]
        known = [cover for cover in options if cover.name in chosen] or options[:1]
        weights = np.array([cover.share for cover in known])
        found.covers[parcel] = known[rng.choice(len(known), p=weights / weights.sum())]
