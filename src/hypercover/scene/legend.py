"""The legend of a label map: which code is which class, in which colour."""

import colorsys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError

__all__ = ["LandClass", "Legend", "default_color"]

_PALETTE = [
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#42d4f4",
    "#f032e6",
    "#bfef45",
    "#fabed4",
    "#469990",
    "#dcbeff",
    "#9a6324",
    "#fffac8",
    "#800000",
    "#aaffc3",
    "#808000",
    "#ffd8b1",
    "#000075",
    "#a9a9a9",
]
_GOLDEN = 0.618033988749895
MAX_CODE = 65535
"""Largest class code: label maps are written as 8- or 16-bit images."""


def default_color(position: int) -> str:
    """Colour of the class at this position (from 0), distinct from its neighbours."""
    if position < len(_PALETTE):
        return _PALETTE[position]
    value = 0.95 if position % 2 else 0.65
    rgb = colorsys.hsv_to_rgb(position * _GOLDEN % 1.0, 0.75, value)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


@dataclass(frozen=True)
class LandClass:
    """One land-cover class."""

    code: int
    """Value in the label map, from 1; 0 stands for unlabelled."""
    name: str
    """Name shown to people."""
    color: str
    """Colour as ``#rrggbb``."""

    def __post_init__(self) -> None:
        """Refuse codes and colours that no map could hold."""
        if not 1 <= self.code <= MAX_CODE:
            raise LabelError(
                f"A class code must lie between 1 and {MAX_CODE} (0 is unlabelled), "
                f"got {self.code} for {self.name!r}; give the class another code."
            )
        digits = self.color.removeprefix("#")
        if len(digits) != 6 or not set(digits.lower()) <= set("0123456789abcdef"):
            raise LabelError(
                f"A class colour must look like #3cb44b, got {self.color!r} for "
                f"{self.name!r}; write it with six hexadecimal digits."
            )

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, each from 0 to 255."""
        red, green, blue = bytes.fromhex(self.color.removeprefix("#"))
        return red, green, blue


@dataclass(frozen=True)
class Legend:
    """The classes of a label map, in ascending order of their codes.

    Examples
    --------
    >>> legend = Legend.of({2: "Corn", 5: "Woods"})
    >>> legend.codes, legend[5].name
    ((2, 5), 'Woods')
    >>> [land.name for land in legend.covering([[0, 5], [7, 5]])]
    ['Woods', 'Class 7']
    """

    classes: tuple[LandClass, ...] = ()
    zero: tuple[str, str | None] | None = field(default=None, compare=False)
    """Name and colour that a class table gives to 0, a class only where labels declare
    another value for no data."""

    def __post_init__(self) -> None:
        """Sort by code and refuse a code that stands twice."""
        ordered = tuple(sorted(self.classes, key=lambda land: land.code))
        codes = [land.code for land in ordered]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise LabelError(
                f"A legend must give each code once, got {twice} more than once; "
                "remove the repeated classes."
            )
        object.__setattr__(self, "classes", ordered)

    @classmethod
    def of(
        cls, names: Mapping[int, str], colors: Mapping[int, str] | None = None
    ) -> "Legend":
        """Build a legend from names by code, with default colours where none is given."""
        given = colors or {}
        return cls(
            tuple(
                LandClass(code, names[code], given.get(code, default_color(position)))
                for position, code in enumerate(sorted(names))
            )
        )

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> "Legend":
        """Read what :meth:`to_json` wrote."""
        return cls(
            tuple(
                LandClass(int(row["code"]), str(row["name"]), str(row["color"]))
                for row in rows
            )
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the classes as plain values for a JSON file."""
        return [
            {"code": land.code, "name": land.name, "color": land.color} for land in self
        ]

    def __iter__(self) -> Iterator[LandClass]:
        """Go through the classes by ascending code."""
        return iter(self.classes)

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.classes)

    def __contains__(self, code: object) -> bool:
        """Tell whether a code has a class."""
        return code in self.codes

    def __getitem__(self, code: int) -> LandClass:
        """Return the class of a code."""
        for land in self.classes:
            if land.code == code:
                return land
        raise KeyError(code)

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes in ascending order."""
        return tuple(land.code for land in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the codes."""
        return tuple(land.name for land in self.classes)

    def covering(self, labels: npt.ArrayLike) -> "Legend":
        """Return a legend of exactly the classes that occur, naming unknown ones."""
        codes = [int(code) for code in np.unique(np.asarray(labels)) if code > 0]
        return Legend(
            tuple(
                self[code]
                if code in self
                else LandClass(code, f"Class {code}", default_color(position))
                for position, code in enumerate(codes)
            )
        )
