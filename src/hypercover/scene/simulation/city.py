"""A simulated city from above: streets, plots and what stands on them.

Land is cut into plots by straight streets; each plot is one cover, of its own
brightness, with a roof's lit and shaded half.  It stands for the Quickbird scene of
Rome, which nobody may pass on: the classes and their numbers of labelled pixels
are the published ones, the land is not Rome.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.scene.legend import Legend

__all__ = ["ROME_COUNTS", "City", "city_legend", "lay_out_city"]

ROME_COUNTS = {
    "Buildings": 181_255,
    "Blocks": 109_816,
    "Roads": 163_529,
    "Light Train": 16_060,
    "Vegetation": 69_617,
    "Trees": 90_880,
    "Bare Soil": 81_271,
    "Soil": 15_057,
    "Tower": 47_916,
}
"""Labelled pixels of each class in the order of their codes (Cavallaro et al., JSTARS
8(10), 2015): a tenth of them trained there."""
_COLORS = ("#c05a3c", "#e0a070", "#606060", "#30307a", "#a0d860", "#207030", "#d8c080",
           "#8a6a40", "#d04090")  # fmt: skip
_ROADS, _TRAIN = 3, 4
_STREET = 10
"""Width of a street in pixels of 0.6 m."""
_RAILS = 14
"""Width of the railway in pixels."""
_LONGEST, _SHORTEST = 130, 36
"""Sides of plots in pixels: longer ones are cut, no shorter ones are made."""
_PIECE = 50
"""Side of the squares in which streets and rails are labelled."""


@dataclass(frozen=True, eq=False)
class City:
    """What lies at every fine pixel (row, col)."""

    cover: npt.NDArray[np.uint8]
    """Code of the class."""
    plot: npt.NDArray[np.int32]
    """Number of the plot, 0 = street."""
    lit: npt.NDArray[np.int8]
    """1 on the lit side of a roof, -1 on the other, 0 on flat land."""

    def labels(
        self, counts: dict[str, int], random: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Label exactly so many pixels of each class, plot by plot; 0 = unlabelled.

        Where a class has fewer pixels than that, all of them.
        """
        marked = np.zeros(self.cover.shape, np.uint8)
        region = self._regions()
        for code, wanted in enumerate(counts.values(), 1):
            at = np.flatnonzero(self.cover == code)
            numbers = region.ravel()[at]
            _, plain = np.unique(numbers, return_inverse=True)
            turn = random.permutation(plain.max(initial=0) + 1)[plain]
            chosen = at[np.argsort(turn, kind="stable")[:wanted]]
            marked.ravel()[chosen] = code
        return marked

    def _regions(self) -> npt.NDArray[np.int64]:
        """Return numbers of plots, and of squares of the streets and rails."""
        down, across = (np.arange(size) // _PIECE for size in self.cover.shape)
        squares = down[:, None] * 10_000 + across + 1
        lines = np.isin(self.cover, (_ROADS, _TRAIN))
        return np.where(lines, -squares, self.plot)


def city_legend() -> Legend:
    """Return the nine classes with their colours."""
    return Legend.of(dict(enumerate(ROME_COUNTS, 1)), colors=dict(enumerate(_COLORS, 1)))


def lay_out_city(rows: int, cols: int, random: np.random.Generator) -> City:
    """Lay out a city of so many fine pixels; every class gets its published share.

    Examples
    --------
    >>> city = lay_out_city(400, 500, np.random.default_rng(0))
    >>> sorted(np.unique(city.cover).tolist())
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    cover = np.full((rows, cols), _ROADS, np.uint8)
    plot = np.zeros((rows, cols), np.int32)
    lit = np.zeros((rows, cols), np.int8)
    plots = list(_plots(0, 0, rows, cols, random))
    shares = _shares()
    given = dict.fromkeys(shares, 0)
    for number, at in enumerate(random.permutation(len(plots)), 1):
        top, left, high, wide = plots[at]
        block = slice(top, top + high), slice(left, left + wide)
        code = min(shares, key=lambda one: given[one] / shares[one])
        given[code] += high * wide
        cover[block], plot[block] = code, number
        if code in _ROOFED:
            lit[block] = _roof(high, wide, random)
    rails = slice(int(0.55 * rows), int(0.55 * rows) + _RAILS)
    cover[rails], plot[rails], lit[rails] = _TRAIN, 0, 0
    return City(cover, plot, lit)


_ROOFED = (1, 2, 9)


def _shares() -> dict[int, int]:
    """Return the wanted pixels of the classes that fill plots."""
    return {
        code: wanted
        for code, wanted in enumerate(ROME_COUNTS.values(), 1)
        if code not in (_ROADS, _TRAIN)
    }


def _roof(high: int, wide: int, random: np.random.Generator) -> npt.NDArray[np.int8]:
    """Return the two sides of a roof along the longer side of its plot."""
    sides = np.ones((high, wide), np.int8)
    if high > wide:
        sides[:, wide // 2 :] = -1
    else:
        sides[high // 2 :] = -1
    return sides if random.random() < 0.5 else -sides


def _plots(
    top: int, left: int, high: int, wide: int, random: np.random.Generator
) -> Iterator[tuple[int, int, int, int]]:
    """Cut land by streets until no plot is too long; yield corner and sides of each."""
    waiting = [(top, left, high, wide)]
    while waiting:
        top, left, high, wide = waiting.pop()
        longer = max(high, wide)
        room = longer - _STREET - 2 * _SHORTEST
        if (longer <= _LONGEST and (room < 0 or random.random() < 0.3)) or room < 0:
            yield top, left, high, wide
            continue
        cut = _SHORTEST + int(random.integers(room + 1))
        rest = longer - cut - _STREET
        if high >= wide:
            waiting += [(top, left, cut, wide), (top + cut + _STREET, left, rest, wide)]
        else:
            waiting += [(top, left, high, cut), (top, left + cut + _STREET, high, rest)]
