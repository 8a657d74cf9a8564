"""Metadata of an image: sensor, acquisition time, scale of the values, and more.

Keys and values are those of an ENVI header: lower case, lists in braces.  They are
stored in ``cube.attrs["header"]``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, TypedDict

from xarray import DataArray

from hypercover.scene.data_tables import attribute_names


class Origin(TypedDict, total=False):
    """Whether an image was measured; inherited by everything made from it."""

    simulated: bool
    """The values were simulated."""
    stand_in: bool
    """The values were reconstructed to stand in for an unavailable measured image."""


def origin_label(origin: Mapping[str, Any]) -> str:
    """Return the label of an image that was not measured, else an empty string.

    It belongs in every title, so that a result on a stand-in is never taken for one on
    the measured image.

    Examples
    --------
    >>> origin_label({"simulated": True}), origin_label({"stand_in": True}), origin_label({"simulated": False})
    ('simulated scene', 'stand-in', '')
    """
    if origin.get("stand_in"):
        return "stand-in"
    return "simulated scene" if origin.get("simulated") else ""


def labelled_name(name: str, origin: Mapping[str, Any]) -> str:
    """Append the label of an image that was not measured to a name that lacks it.

    Examples
    --------
    >>> labelled_name("Indian Pines stand-in", {"stand_in": True}), labelled_name("a", {"simulated": True})
    ('Indian Pines stand-in', 'a (simulated scene)')
    """
    label = origin_label(origin)
    return name if label.partition(" ")[0] in name.lower() else f"{name} ({label})"


GAINS, OFFSETS = "data gain values", "data offset values"
"""Per band, quantity = value × gain + offset; GDAL calls them scale and offset."""

_FIRST = attribute_names("kept first")
"""Keys that are kept first if there are too many."""

_HELD = attribute_names("stored elsewhere")
"""Keys that a scene stores elsewhere, or that apply to one file only."""

_OWN = "hypercover"

_KEY = re.compile(r"[a-z][a-z0-9.-]*( [a-z0-9.-]+)*")

_MOST, _LONGEST_KEY, _LONGEST_LIST, _LONGEST = 100, 60, 2**14, 2**11
"""Limits: entries, and characters of a key, a list (1,000 bands fit) and another value.  A
value of 10,000 bytes that is not a list would end an ENVI header."""

_ROUND = str.maketrans("{}", "()")


def clean_header(entries: Mapping[str, object]) -> dict[str, str]:
    r"""Clean the metadata of a file: useful entries only, as bounded, printable text.

    Metadata of untrusted files is copied into the files that are written.

    Examples
    --------
    >>> clean_header({"Sensor_Type": "HyMap", "samples": 5, "z plot titles": "{a,  b\n}"})
    {'sensor type': 'HyMap', 'z plot titles': '{a, b}'}
    """
    usable = {}
    for name, content in entries.items():
        key = " ".join(str(name).lower().replace("_", " ").split())
        text = _value(str(content))
        if key == "description":
            # ENVI puts a description in braces, too.
            text = text.strip("{} ")
        named = len(key) <= _LONGEST_KEY and _KEY.fullmatch(key)
        own = key in _HELD or key.startswith(_OWN)
        longest = _LONGEST_LIST if text.startswith("{") else _LONGEST
        if named and not own and text.strip("{} ") and len(text) <= longest:
            usable[key] = text
    order = sorted(usable, key=lambda key: (key not in _FIRST, key))
    return {key: usable[key] for key in order[:_MOST]}


def _value(text: str) -> str:
    """Return one line of printable characters, with braces only around a list."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    line = " ".join(line.split())
    if line.startswith("{") and line.endswith("}"):
        return "{" + line[1:-1].translate(_ROUND).strip() + "}"
    return line.translate(_ROUND)


def header_of(cube: DataArray) -> dict[str, str]:
    """Return the header of a cube."""
    return dict(cube.attrs.get("header", {}))


def with_header(cube: DataArray, header: Mapping[str, str]) -> DataArray:
    """Return the cube with another header."""
    attrs = {key: value for key, value in cube.attrs.items() if key != "header"}
    bare = cube.copy(deep=False)
    bare.attrs = attrs | ({"header": dict(header)} if header else {})
    return bare


def _listed(text: str) -> list[str] | None:
    if not text.startswith("{"):
        return None
    return [part.strip() for part in text.strip("{}").split(",")]


def select_header_bands(
    header: Mapping[str, str], places: Sequence[int], count: int
) -> dict[str, str]:
    """Select the bands at some positions (from 0), out of a number of bands, in a header.

    Lists with an entry per band are subset.  Default bands are renumbered, or
    dropped if one of them is not selected.

    Examples
    --------
    >>> select_header_bands({"data gain values": "{0.1, 0.2, 0.3}", "sensor type": "a"}, [0, 2], 3)
    {'data gain values': '{0.1, 0.3}', 'sensor type': 'a'}
    """
    new = {str(old + 1): str(at) for at, old in enumerate(places, 1)}
    selected = {}
    for key, text in header.items():
        parts = _listed(text)
        if key == "default bands":
            if parts is None or not all(part in new for part in parts):
                continue
            parts = [new[part] for part in parts]
        elif parts is not None and len(parts) == count:
            parts = [parts[place] for place in places]
        selected[key] = text if parts is None else "{" + ", ".join(parts) + "}"
    return selected


def header_numbers(header: Mapping[str, str], key: str, count: int) -> list[float] | None:
    """Return a list of one number per band from a header, or None.

    Examples
    --------
    >>> header_numbers({"data gain values": "{0.1, 2}"}, GAINS, 2), header_numbers({}, GAINS, 2)
    ([0.1, 2.0], None)
    """
    try:
        numbers = [float(part) for part in _listed(header.get(key, "")) or ()]
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(isfinite, numbers)) else None


def acquisition_header(header: Mapping[str, str]) -> dict[str, str]:
    """Return the entries that do not depend on the values: sensor and acquisition time.

    Examples
    --------
    >>> acquisition_header({"reflectance scale factor": "10000", "sensor type": "HyMap"})
    {'sensor type': 'HyMap'}
    """
    keys = ("sensor type", "acquisition time")
    return {key: header[key] for key in keys if key in header}


def product_header(
    sensor: str, moment: object, gains: Iterable[float] = (), offsets: Iterable[float] = ()
) -> dict[str, str]:
    """Build the header of a satellite product from what is known.

    Examples
    --------
    >>> product_header("EMIT", "2024-06-01T10:10:10Z")
    {'acquisition time': '2024-06-01T10:10:10Z', 'sensor type': 'EMIT'}
    """
    times = {"acquisition time": "" if moment is None else moment}
    return clean_header({"sensor type": sensor} | times | scale_header(gains, offsets))


def scale_header(gains: Iterable[float], offsets: Iterable[float]) -> dict[str, str]:
    """Build the entries of a header that hold scale and offset of each band.

    Examples
    --------
    >>> scale_header([0.1], [2])
    {'data gain values': '{0.1}', 'data offset values': '{2.0}'}
    """
    return {GAINS: format_list(gains), OFFSETS: format_list(offsets)}


def format_list(values: Iterable[float]) -> str:
    """Format numbers as a list in a header.

    Examples
    --------
    >>> format_list([0.1, 2])
    '{0.1, 2.0}'
    """
    return "{" + ", ".join(repr(float(value)) for value in values) + "}"
