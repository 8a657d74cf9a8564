"""Land covers of the simulated scene: what grows or stands there, and how it varies."""

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from hypercover.scene.catalog import known_map

__all__ = ["Cover", "State", "flight_line_covers", "land_covers"]

Range = tuple[float, float]


@dataclass(frozen=True)
class State:
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


_RANGES = tuple(State.__annotations__)


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

    def draw(self, rng: np.random.Generator) -> State:
        """Draw the state of one parcel."""
        return State(**{name: rng.uniform(*between) for name, between in self.ranges})


def _range(text: str) -> Range:
    low, high = text.split(":")
    return float(low), float(high)


def _cover(row: dict[str, str]) -> Cover:
    ranges = tuple((name, _range(row[name])) for name in _RANGES)
    return Cover(row["name"], row["habitat"], float(row["share"]), row["rows"], ranges)


def _rows(name: str) -> list[dict[str, str]]:
    table = files("hypercover.scene") / "tables" / name
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
