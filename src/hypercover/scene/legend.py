"""Legends: codes, names and colours of land-cover classes."""

import colorsys
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.scene.data_tables import read_table
from hypercover.types import Floats

_APART = 12.0
"""Distance in L*a*b* at which map colours are easy to tell apart."""

_LEAST = 7.0
"""Smallest acceptable distance of a lighter or darker variant."""

_STEPS = (12, -12, 22, -22, 32, -32, 42, -42, 52)
"""Changes of lightness that are tried for a variant."""

_STEM = 4
"""Shortest part of a compound that is looked up: Nadelwald, grassland."""

_MOST_WORDS = 12

_PALETTE = 40

_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)

_WHITE = np.array([0.95047, 1.0, 1.08883])

_SEEN_AS = (
    np.eye(3),
    np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
)
"""Linear RGB as seen with full colour vision, protanopia and deuteranopia."""


def class_colors(
    names: Mapping[int, str], given: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Choose distinct colours for classes by their names.

    A class with a known name gets the usual colour of that land cover, or a lighter or
    darker variant if another class has it; other classes get colours of a palette.

    Parameters
    ----------
    names : mapping
        Class names by code.
    given : mapping, optional
        Fixed colours by code, ``#rrggbb``.

    Examples
    --------
    >>> class_colors({1: "Water", 2: "Nadelwald", 3: "plot 17"})
    {1: '#0064c8', 2: '#00a600', 3: '#ffe119'}
    """
    colors = {code: color for code, color in (given or {}).items() if code in names}
    usual = {code: cover_color(name) for code, name in names.items() if code not in colors}
    if not any(usual.values()) and not colors:
        return {code: default_color(at) for at, code in enumerate(sorted(names))}
    # Main covers get their colours before finer ones.
    order = sorted((not _is_main(color), code) for code, color in usual.items() if color)
    for _, code in order:
        colors[code] = _apart(_variants(str(usual[code])), colors)
    for at, code in enumerate(sorted(names)):
        if code not in colors:
            colors[code] = _apart(_palette(at), colors)
    return {code: colors[code] for code in sorted(names)}


def _variants(color: str) -> Iterator[str]:
    """Yield a colour, then lighter, darker and paler variants."""
    yield color
    lightness, a, b = _to_lab(_linear(color))
    for chroma in (1.0, 0.55):
        for step in _STEPS:
            if 12 <= lightness + step <= 95:
                yield _hex(np.array([lightness + step, chroma * a, chroma * b]))


def _palette(first: int) -> Iterator[str]:
    return (default_color(first + at) for at in range(_PALETTE))


def _apart(candidates: Iterator[str], taken: Mapping[int, str]) -> str:
    """Return the first colour that is distinct from those taken, or else the farthest."""
    best, farthest = "", -1.0
    for choices in (candidates, _palette(0)):
        for color in choices:
            distances = (color_distance(color, other) for other in taken.values())
            distance = min(distances, default=100.0)
            if distance >= _APART:
                return color
            if distance > farthest:
                best, farthest = color, distance
        if farthest >= _LEAST:
            break
    return best


def cover_color(name: str) -> str | None:
    """Return the usual colour of a land cover by its name; None if unknown.

    Examples
    --------
    >>> cover_color("Forêt de feuillus"), cover_color("Corn-notill"), cover_color("B 12")
    ('#80c800', '#f096ff', None)
    """
    words = _words(name)[:_MOST_WORDS]
    ranked = []
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            color, letters = _look_up(" ".join(words[start:stop]))
            if color is not None:
                # Phrases take precedence over words, and finer covers over main ones.
                ranked.append((stop - start, not _is_main(color), letters, -start, color))
    return max(ranked)[-1] if ranked else None


def _is_main(color: str | None) -> bool:
    """Tell whether a colour is that of a main cover, a class of WorldCover."""
    return color in _covers()[1]


def _look_up(phrase: str) -> tuple[str | None, int]:
    """Return the colour of a phrase, or of an end of a compound, and the matched length."""
    covers = _covers()[0]
    if phrase in covers:
        return covers[phrase], len(phrase)
    if " " in phrase:
        return None, 0
    sizes = range(len(phrase) - 1, _STEM - 1, -1)
    # The last part of a compound is its head, in English and German.
    parts = [phrase[-size:] for size in sizes] + [phrase[:size] for size in sizes]
    part = next((part for part in parts if part in covers), "")
    return covers.get(part), len(part)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case without accents."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    letters = "".join(char for char in plain if not unicodedata.combining(char)).casefold()
    return re.findall(r"[^\W\d_]+", letters)


@cache
def _covers() -> tuple[dict[str, str], set[str]]:
    """Return the colours of land covers by phrase, and those of main covers."""
    rows = read_table("class-colors.csv")
    phrases = [
        (" ".join(_words(phrase)), row["color"])
        for row in rows
        for phrase in row["words"].split("|")
    ]
    main = {row["color"] for row in rows if re.fullmatch(r"WorldCover \d+", row["source"])}
    # Of several rows with one phrase, the first counts.
    return dict(reversed(phrases)), main


def color_distance(color: str, other: str) -> float:
    """Return the perceived distance of two colours, also for colour-blind people.

    Returns
    -------
    float
        Smallest distance in L*a*b* over full colour vision, protanopia and deuteranopia.

    Examples
    --------
    >>> round(color_distance("#000000", "#ffffff")), color_distance("#112233", "#112233")
    (100, 0.0)
    """
    first, second = _views(color), _views(other)
    return float(np.sqrt(((first - second) ** 2).sum(axis=1)).min())


@cache
def _views(color: str) -> Floats:
    """Return L*a*b* (view, 3) of a colour as people with and without a pigment see it."""
    return np.stack([_to_lab(np.clip(view @ _linear(color), 0, 1)) for view in _SEEN_AS])


def _linear(color: str) -> Floats:
    levels = np.frombuffer(bytes.fromhex(color.removeprefix("#")), np.uint8) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _to_lab(linear: Floats) -> Floats:
    ratio = _TO_XYZ @ linear / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _hex(lab: Floats) -> str:
    """Convert L*a*b* to a colour, with less chroma if it is out of gamut."""
    for share in (1.0, 0.85, 0.7, 0.5, 0.3, 0.0):
        linear = _from_lab(np.array([lab[0], share * lab[1], share * lab[2]]))
        if (linear >= -1e-3).all() and (linear <= 1 + 1e-3).all():
            break
    linear = np.clip(linear, 0, 1)
    low, high = 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    return _rgb_hex(np.where(linear <= 0.0031308, low, high))


def _rgb_hex(levels: Iterable[float]) -> str:
    """Format red, green and blue, each from 0 to 1."""
    return "#" + "".join(f"{round(255 * float(level)):02x}" for level in levels)


def _from_lab(lab: Floats) -> Floats:
    y = (lab[0] + 16) / 116
    root = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    cubed = root**3
    ratio = np.where(cubed > 216 / 24389, cubed, (116 * root - 16) * 27 / 24389)
    return np.asarray(np.linalg.solve(_TO_XYZ, ratio * _WHITE))


_GOLDEN = 0.618033988749895

MAX_CODE = 65535
"""Largest class code: label maps are written as 8- or 16-bit images."""


@cache
def _distinct_colors() -> list[str]:
    return [row["color"] for row in read_table("distinct-colors.csv")]


def default_color(position: int) -> str:
    """Return the default colour of the class at a position (from 0)."""
    distinct = _distinct_colors()
    if position < len(distinct):
        return distinct[position]
    value = 0.95 if position % 2 else 0.65
    return _rgb_hex(colorsys.hsv_to_rgb(position * _GOLDEN % 1.0, 0.75, value))


@dataclass(frozen=True)
class LandClass:
    """One land-cover class."""

    code: int
    """Value in the label map, from 1; 0 means unlabelled."""
    name: str
    """Name shown to people."""
    color: str
    """Colour as ``#rrggbb``."""

    def __post_init__(self) -> None:
        """Refuse codes and colours that a map cannot hold."""
        if not 1 <= self.code <= MAX_CODE:
            raise LabelError(
                f"A class code must be between 1 and {MAX_CODE} (0 is unlabelled), got "
                f"{self.code} for {self.name!r}; give the class another code."
            )
        if not re.fullmatch("#?[0-9a-fA-F]{6}", self.color):
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
    >>> [item.name for item in legend.covering([[0, 5], [7, 5]])]
    ['Woods', 'Class 7']
    """

    classes: tuple[LandClass, ...] = ()
    zero: tuple[str, str | None] | None = field(default=None, compare=False)
    """Name and colour of 0 in a class table; 0 is a class only if the labels declare
    another value for no data."""

    def __post_init__(self) -> None:
        """Sort by code and refuse duplicate codes."""
        ordered = tuple(sorted(self.classes, key=lambda item: item.code))
        codes = [item.code for item in ordered]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise LabelError(
                f"A legend must have each code once, got {twice} more than once; remove the "
                "duplicate classes."
            )
        object.__setattr__(self, "classes", ordered)

    @classmethod
    def of(cls, names: Mapping[int, str], colors: Mapping[int, str] | None = None) -> Self:
        """Build a legend from names and colours by code; missing colours get defaults."""
        default = {code: default_color(at) for at, code in enumerate(sorted(names))}
        colors = default | dict(colors or {})
        return cls(tuple(LandClass(code, names[code], colors[code]) for code in names))

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> "Legend":
        """Read what :meth:`to_json` wrote."""
        values = ((int(row["code"]), str(row["name"]), str(row["color"])) for row in rows)
        return cls(tuple(LandClass(*value) for value in values))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the classes as plain values for JSON."""
        return [asdict(item) for item in self]

    def __iter__(self) -> Iterator[LandClass]:
        """Iterate over the classes by ascending code."""
        return iter(self.classes)

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    def __contains__(self, code: object) -> bool:
        """Tell whether a code has a class."""
        return code in self.codes

    def __getitem__(self, code: int) -> LandClass:
        """Return the class of a code."""
        for item in self:
            if item.code == code:
                return item
        raise KeyError(code)

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes in ascending order."""
        return tuple(item.code for item in self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the codes."""
        return tuple(item.name for item in self)

    def covering(self, labels: npt.ArrayLike) -> "Legend":
        """Return a legend of exactly the classes in labels; unknown ones are named by code."""
        codes = [int(code) for code in np.unique(np.asarray(labels)) if code > 0]
        unknown = Legend.of({code: f"Class {code}" for code in codes})
        return Legend(tuple((self if code in self else unknown)[code] for code in codes))
