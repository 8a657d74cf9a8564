"""What a file says of its image as a whole: sensor, moment, scale of the values, and the rest.

Keys and values are those of an ENVI header: small letters, lists in braces.  They lie in
``cube.attrs["header"]``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, TypedDict

import xarray as xr

__all__ = [
    "GAINS",
    "OFFSETS",
    "Origin",
    "factors",
    "header_of",
    "kept",
    "mark",
    "marked",
    "numbered",
    "of_bands",
    "of_land",
    "product_header",
    "with_header",
]


class Origin(TypedDict, total=False):
    """What an image and all that is made of it must say of themselves."""

    simulated: bool
    """The values were computed from a model of land."""
    stand_in: bool
    """The values were rebuilt to stand in for a measured image that is not at hand."""


def mark(origin: Mapping[str, Any]) -> str:
    """Return what a title must say of an image that was not measured; else nothing.

    Why it exists: a figure from a stand-in must never be read as one of the
    image it stands in for, wherever it is carried.

    Examples
    --------
    >>> mark({"simulated": True}), mark({"stand_in": True}), mark({"simulated": False})
    ('simulated scene', 'stand-in', '')
    """
    if origin.get("stand_in"):
        return "stand-in"
    return "simulated scene" if origin.get("simulated") else ""


def marked(name: str, origin: Mapping[str, Any]) -> str:
    """Return the name of a scene with its mark, where the name does not say it already.

    Examples
    --------
    >>> marked("Indian Pines stand-in", {"stand_in": True}), marked("a", {"simulated": True})
    ('Indian Pines stand-in', 'a (simulated scene)')
    """
    said = mark(origin)
    return name if said.partition(" ")[0] in name.lower() else f"{name} ({said})"


GAINS, OFFSETS = "data gain values", "data offset values"
"""For each band: value × gain + offset is the quantity; GDAL calls them scale and offset."""

_FIRST = ("reflectance scale factor", "sensor type", "acquisition time", "description",
          GAINS, OFFSETS, "default bands")  # fmt: skip
"""Keys that are kept before others where there are too many."""

_LAND = ("sensor type", "acquisition time")

_HELD = frozenset({
    "samples", "lines", "bands", "header offset", "file type", "data type", "interleave",
    "byte order", "file compression", "x start", "y start", "major frame offsets",
    "minor frame offsets", "map info", "projection info", "coordinate system string",
    "geo points", "rpc info", "pixel size", "pseudo projection info", "classes",
    "class lookup", "class names", "band names", "wavelength", "wavelength units", "fwhm",
    "bbl", "band numbers", "data ignore value", "data units",
})  # fmt: skip
"""What a scene holds elsewhere, or what is true of one file only."""

_OWN = "hypercover"

_KEY = re.compile(r"[a-z][a-z0-9.-]*( [a-z0-9.-]+)*")

_MOST, _LONGEST_KEY, _LONGEST_LIST, _LONGEST = 100, 60, 2**14, 2**11
"""Entries, letters of a key, of a list (those of 1,000 bands fit) and of another value that
are kept: one of 10,000 bytes that is no list would end an ENVI header."""

_ROUND = str.maketrans("{}", "()")


def kept(said: Mapping[str, object]) -> dict[str, str]:
    r"""Return the entries that are worth carrying along, as bounded, printable text.

    Why it exists: what a stranger's file says of itself goes into files that are
    written, and must neither be lost nor break them.

    Examples
    --------
    >>> kept({"Sensor_Type": "HyMap", "samples": 5, "z plot titles": "{a,  b\n}"})
    {'sensor type': 'HyMap', 'z plot titles': '{a, b}'}
    """
    clean = (_entry(str(key), str(text)) for key, text in said.items())
    usable = {
        key: text
        for key, text in clean
        if len(key) <= _LONGEST_KEY
        and _KEY.fullmatch(key)
        and key not in _HELD
        and not key.startswith(_OWN)
        and text.strip("{} ")
        and len(text) <= (_LONGEST_LIST if text.startswith("{") else _LONGEST)
    }
    order = sorted(usable, key=lambda key: (key not in _FIRST, key))
    return {key: usable[key] for key in order[:_MOST]}


def _entry(key: str, text: str) -> tuple[str, str]:
    name, value = " ".join(key.lower().replace("_", " ").split()), _value(text)
    # A description stands in braces in ENVI and is no list.
    return name, value.strip("{} ") if name == "description" else value


def _value(text: str) -> str:
    """Return one line of printable signs; braces only around a list."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    line = " ".join(line.split())
    if line.startswith("{") and line.endswith("}"):
        return "{" + line[1:-1].translate(_ROUND).strip() + "}"
    return line.translate(_ROUND)


def header_of(cube: xr.DataArray) -> dict[str, str]:
    """Return the entries that a cube carries."""
    return dict(cube.attrs.get("header", {}))


def with_header(cube: xr.DataArray, header: Mapping[str, str]) -> xr.DataArray:
    """Return the cube with these entries in the place of its own."""
    attrs = {key: value for key, value in cube.attrs.items() if key != "header"}
    bare = cube.copy(deep=False)
    bare.attrs = attrs | ({"header": dict(header)} if header else {})
    return bare


def _listed(text: str) -> list[str] | None:
    if not text.startswith("{"):
        return None
    return [part.strip() for part in text.strip("{}").split(",")]


def of_bands(
    header: Mapping[str, str], places: Sequence[int], count: int
) -> dict[str, str]:
    """Return the header of the bands at some places (from 0) of so many.

    Lists with an entry for each band keep those of the bands that stay; the bands
    to be shown are counted anew, and forgotten where one of them is gone.

    Examples
    --------
    >>> of_bands({"data gain values": "{0.1, 0.2, 0.3}", "sensor type": "a"}, [0, 2], 3)
    {'data gain values': '{0.1, 0.3}', 'sensor type': 'a'}
    """
    new = {str(old + 1): str(at) for at, old in enumerate(places, 1)}
    found = {}
    for key, text in header.items():
        parts = _listed(text)
        if key == "default bands":
            if parts is None or not all(part in new for part in parts):
                continue
            parts = [new[part] for part in parts]
        elif parts is not None and len(parts) == count:
            parts = [parts[place] for place in places]
        found[key] = text if parts is None else "{" + ", ".join(parts) + "}"
    return found


def factors(header: Mapping[str, str], key: str, count: int) -> list[float] | None:
    """Return the number of each band that a list holds, or None where it holds no such.

    Examples
    --------
    >>> factors({"data gain values": "{0.1, 2}"}, GAINS, 2), factors({}, GAINS, 2)
    ([0.1, 2.0], None)
    """
    try:
        numbers = [float(part) for part in _listed(header.get(key, "")) or ()]
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(isfinite, numbers)) else None


def of_land(header: Mapping[str, str]) -> dict[str, str]:
    """Return what stays true when the values are others: sensor and moment.

    Examples
    --------
    >>> of_land({"reflectance scale factor": "10000", "sensor type": "HyMap"})
    {'sensor type': 'HyMap'}
    """
    return {key: header[key] for key in _LAND if key in header}


def product_header(
    sensor: str,
    moment: object,
    gains: Iterable[float] = (),
    offsets: Iterable[float] = (),
) -> dict[str, str]:
    """Return the entries of a product; what is not known of it is left out.

    Examples
    --------
    >>> product_header("EMIT", "2024-06-01T10:10:10Z")
    {'acquisition time': '2024-06-01T10:10:10Z', 'sensor type': 'EMIT'}
    """
    said = {"sensor type": sensor, "acquisition time": "" if moment is None else moment}
    return kept(said | {GAINS: numbered(gains), OFFSETS: numbered(offsets)})


def numbered(values: Iterable[float]) -> str:
    """Write numbers as a list of a header.

    Examples
    --------
    >>> numbered([0.1, 2])
    '{0.1, 2.0}'
    """
    return "{" + ", ".join(repr(float(value)) for value in values) + "}"
