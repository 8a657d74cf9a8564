"""No data: what a file declares, what a user states, and the one rule that masks pixels.

A cube carries its rule itself, so that cutting and selecting bands keep it:

- ``attrs["nodata"]``: the value, or a tuple of values, that stand for no data in every
  band; the attribute of any other usual name (``_FillValue`` …) is understood too;
- coordinate ``nodata`` (band): a value of each band's own, NaN where it has none;
- ``attrs["valid_range"]``: the least and the greatest value that is data;
- ``attrs["zero_is_nodata"]``: whether pixels that are zero in all bands hold no data;
- coordinate ``has_data`` (y, x): False where a mask or an alpha band of the file says so.

NaN and infinities are never data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import SceneError

__all__ = [
    "ALL_ZERO",
    "Given",
    "NoData",
    "declared",
    "declares_nodata",
    "fill_note",
    "fill_notes",
    "holdable",
    "numbers_of",
    "parse_nodata",
    "plain_key",
    "valid_pixels",
    "with_nodata",
    "without_nodata",
]

Mask = npt.NDArray[np.bool_]
Given = float | str | Sequence[float | str]
"""No data as a user states it: a value or several, as numbers or text."""

ALL_ZERO, _NONE = "all-zero", "none"
_VALUES = frozenset({
    "fillvalue", "missingvalue", "missing", "nodata", "nodatavalue", "nodatavalues",
    "nodataval", "dataignorevalue", "ignorevalue", "nullvalue", "novalue", "invalidvalue",
    "nodatum", "missingdata", "missingdatavalue", "backgroundvalue", "fill", "fillval",
    "datafillvalue", "badvalue", "badpixelvalue", "undefinedvalue", "undefvalue",
})  # fmt: skip
_RANGES, _LOWEST, _HIGHEST = frozenset({"validrange"}), "validmin", "validmax"
_MOST = 16
"""Values that one attribute may list."""
_USUAL = frozenset({-9999.0, -999.0, -99.0, -32768.0, -32767.0, 65535.0, 32767.0, 9999.0,
                    -99999.0, -2147483648.0, 2147483647.0, 4294967295.0})  # fmt: skip
_HUGE = 1e19
"""Values that many files hold where nothing was measured; none of that size was."""
_UNDECLARED = "looks like no data that the file does not declare"
_FEW, _WHOLE, _SIDE, _ALONG = 8, 2**22, 32, 5
"""Bands that are looked at for undeclared fill; values that are read for it at once; side
and number of the pieces along each border of a larger image."""
_SHOWN = 3
"""Values that a note names."""
_LEAST, _SHARE = 4, 0.01
"""Pixels of the border, in number and as a share, that look like fill and not like chance."""


def plain_key(name: str) -> str:
    """Return a name without what programs spell differently: case, ``_``, blanks, hyphens.

    Examples
    --------
    >>> plain_key("Data_Ignore_Value"), plain_key("_FillValue"), plain_key("data ignore-value")
    ('dataignorevalue', 'fillvalue', 'dataignorevalue')
    """
    return "".join(sign for sign in name.lower() if sign.isalnum())


def numbers_of(value: object) -> list[float]:
    """Return the numbers that an attribute holds; none where it is blank or no number.

    Examples
    --------
    >>> numbers_of("{-9999, 0}"), numbers_of([b"-9999"]), numbers_of("none")
    ([-9999.0, 0.0], [-9999.0], [])
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        parts: Iterable[Any] = value.strip("{}[]() ").replace(",", " ").split()[:_MOST]
    else:
        try:
            parts = np.asarray(value).reshape(-1)[:_MOST].tolist()
        except (TypeError, ValueError):
            return []
    try:
        return [float(part) for part in parts if not isinstance(part, bool)]
    except (TypeError, ValueError):
        return []


def declared(attrs: Mapping[str, object], dtype: npt.DTypeLike) -> dict[str, Any]:
    """Return what attributes say of no data, as attributes of a cube of this type.

    Names are understood in any spelling; values that the type cannot hold say nothing.

    Examples
    --------
    >>> declared({"Data_Ignore_Value": "-9999", "_FillValue": -1}, "int16")
    {'nodata': (-9999.0, -1.0)}
    >>> declared({"missing_value": -9999, "valid_range": [0, 100]}, "uint8")
    {'valid_range': (0.0, 100.0)}
    """
    values: list[float] = []
    low, high = -np.inf, np.inf
    for name, value in attrs.items():
        key, numbers = plain_key(name), numbers_of(value)
        if key in _VALUES:
            values += [one for one in numbers if holdable(one, dtype)]
        elif key in _RANGES and len(numbers) == 2:
            low, high = max(low, numbers[0]), min(high, numbers[1])
        elif key == _LOWEST and len(numbers) == 1:
            low = max(low, numbers[0])
        elif key == _HIGHEST and len(numbers) == 1:
            high = min(high, numbers[0])
    found: dict[str, Any] = {}
    if values:
        found["nodata"] = _one_or_all(values)
    if low <= high and (low, high) != (-np.inf, np.inf):
        found["valid_range"] = (low, high)
    return found


def _one_or_all(values: Iterable[float]) -> float | tuple[float, ...]:
    """Return values each once, and a single one as a number."""
    # NaN does not equal itself, so the text tells repeated ones apart.
    each = tuple({repr(float(value)): float(value) for value in values}.values())
    return each[0] if len(each) == 1 else each


def declares_nodata(name: str) -> bool:
    """Tell whether a name is a usual one for the value that stands for no data."""
    return plain_key(name) in _VALUES


def holdable(value: float, dtype: npt.DTypeLike) -> bool:
    """Tell whether pixels of this type can hold a value."""
    kind = np.dtype(dtype)
    if kind.kind not in "ui":
        return True
    limits = np.iinfo(kind)
    return float(value).is_integer() and limits.min <= value <= limits.max


@dataclass(frozen=True)
class NoData:
    """Which values of an image hold no data: one rule for every reader and command.

    A pixel is masked where any band is NaN, infinite, one of the values or outside
    the valid range; where the rule says so, also where all bands are zero.
    """

    values: tuple[float, ...] = ()
    """Values that stand for no data in every band."""
    by_band: tuple[float, ...] = ()
    """A value of each band's own, NaN without one; empty where no band has one."""
    valid_range: tuple[float, float] | None = None
    """Least and greatest value that is data."""
    zero: bool = False
    """Whether pixels that are zero in all bands hold no data."""

    @classmethod
    def of(cls, cube: xr.DataArray) -> "NoData":
        """Return the rule that a cube carries in its attributes and coordinates."""
        own = {
            key: cube.attrs[key] for key in ("nodata", "valid_range") if key in cube.attrs
        }
        said = declared(own if "nodata" in own else cube.attrs, cube.dtype)
        by_band: tuple[float, ...] = ()
        if "nodata" in cube.coords and cube.coords["nodata"].dims == ("band",):
            by_band = tuple(map(float, cube.coords["nodata"].values))
        found = said.get("nodata", ())
        return cls(
            found if isinstance(found, tuple) else (found,),
            by_band,
            said.get("valid_range"),
            bool(cube.attrs.get("zero_is_nodata", False)),
        )

    @classmethod
    def first_of(cls, attrs: Mapping[str, object], dtype: npt.DTypeLike) -> float | None:
        """Return the first value that attributes declare as no data, or None."""
        found = declared(attrs, dtype).get("nodata")
        return found[0] if isinstance(found, tuple) else found

    @property
    def primary(self) -> float | None:
        """The value to write into files, where one stands for all bands."""
        return self.values[0] if self.values else None

    def absent(self, band: int) -> list[float]:
        """Return the finite values that stand for no data in a band, by position."""
        own = self.by_band[band : band + 1]
        return [value for value in (*self.values, *own) if np.isfinite(value)]

    def valid(self, values: npt.NDArray[np.generic], has_data: Mask | None = None) -> Mask:
        """Tell which pixels (y, x) of values (band, y, x) hold data.

        Parameters
        ----------
        values : array of shape (band, y, x)
        has_data : array of bool (y, x), optional
            False where a mask beside the values denies it.
        """
        # Band by band: masks of the whole array would be half as large as the array itself.
        shape = values.shape[1:]
        valid = np.ones(shape, dtype=bool) if has_data is None else has_data.copy()
        if self.zero:
            any_value = np.zeros(shape, dtype=bool)
            for band in values:
                any_value |= band != 0
            valid &= any_value
        floating = values.dtype.kind == "f"
        for position, band in enumerate(values):
            if floating:
                valid &= np.isfinite(band)
            for value in self.absent(position):
                if holdable(value, values.dtype):
                    valid &= band != np.asarray(value).astype(values.dtype)
            if self.valid_range is not None:
                valid &= (band >= self.valid_range[0]) & (band <= self.valid_range[1])
        return valid

    def __bool__(self) -> bool:
        """Tell whether any value stands for no data."""
        return bool(str(self))

    def __str__(self) -> str:
        """Name the values for people, such as ``-9999, all-zero``."""
        own = [value for value in dict.fromkeys(self.by_band) if np.isfinite(value)]
        parts = [f"{value:.10g}" for value in self.values]
        if own:
            parts.append(f"{', '.join(f'{value:.10g}' for value in own)} by band")
        if self.valid_range is not None:
            parts.append("outside {:.10g} to {:.10g}".format(*self.valid_range))
        return ", ".join(parts + [ALL_ZERO] * self.zero)


def valid_pixels(cube: xr.DataArray, values: npt.NDArray[np.generic] | None = None) -> Mask:
    """Tell which pixels (y, x) of a cube (band, y, x) hold data, by the rule it carries.

    Why it exists: whoever reads an image, whole or a piece at a time, must mask the
    same pixels.

    Parameters
    ----------
    cube : DataArray
        The image or a piece of it, cut out with ``isel``.
    values : array of shape (band, y, x), optional
        Its values, where they have been read already.

    Examples
    --------
    >>> cube = xr.DataArray([[[1, 0, -9]]], dims=("band", "y", "x"), attrs={"nodata": -9})
    >>> valid_pixels(cube).tolist()
    [[True, True, False]]
    """
    has_data = None
    if "has_data" in cube.coords:
        has_data = np.asarray(cube.coords["has_data"].values, dtype=bool)
    return NoData.of(cube).valid(cube.values if values is None else values, has_data)


def without_nodata(cube: xr.DataArray) -> xr.DataArray:
    """Return a cube that carries no rule: every finite value in it is data."""
    bare = cube.drop_vars(["nodata", "has_data"], errors="ignore").copy(deep=False)
    known = _VALUES | _RANGES | {_LOWEST, _HIGHEST, "zeroisnodata"}
    bare.attrs = {
        name: value for name, value in cube.attrs.items() if plain_key(name) not in known
    }
    return bare


def parse_nodata(given: Given) -> tuple[float | str, ...]:
    """Read no data as a user states it: numbers, ``all-zero`` and ``none``.

    Raises
    ------
    SceneError
        If a part is neither a number nor one of these words.

    Examples
    --------
    >>> parse_nodata("-9999,0"), parse_nodata(-1), parse_nodata(["none", "all-zero"])
    ((-9999.0, 0.0), (-1.0,), ('none', 'all-zero'))
    """
    if isinstance(given, str):
        parts: list[float | str] = list(given.replace(",", " ").split())
    elif isinstance(given, Sequence):
        return tuple(one for part in given for one in parse_nodata(part))
    else:
        parts = [given]
    found: list[float | str] = []
    for part in parts:
        if isinstance(part, str) and part.lower() in (ALL_ZERO, _NONE):
            found.append(part.lower())
            continue
        try:
            found.append(float(part))
        except (TypeError, ValueError):
            raise SceneError(
                f"No data is stated as numbers, as {ALL_ZERO} or as {_NONE}, got "
                f"{str(part)[:40]!r}; write for example --nodata -9999."
            ) from None
    return tuple(found)


def with_nodata(cube: xr.DataArray, given: Given, name: str) -> xr.DataArray:
    """Return a cube in which what a user states is no data as well.

    Values join those that the file declares; ``none`` first forgets all that it
    declares, masks and alpha bands included; ``all-zero`` stands for pixels that are
    zero in all bands.

    Raises
    ------
    SceneError
        If a value is no number, or one that the pixels cannot hold.
    """
    stated = parse_nodata(given)
    if _NONE in stated:
        cube = without_nodata(cube)
    values = [value for value in stated if isinstance(value, float)]
    for value in values:
        if not holdable(value, cube.dtype):
            raise SceneError(
                f"No pixel of {name} can be {value:.10g}, which was given as no data: its "
                f"values are {cube.dtype}; give another value, or leave --nodata out."
            )
    rule = NoData.of(cube)
    changed = cube.copy(deep=False)
    changed.attrs = dict(cube.attrs)
    if values:
        changed.attrs["nodata"] = _one_or_all((*values, *rule.values))
        if rule.valid_range is not None:
            changed.attrs["valid_range"] = rule.valid_range
    if ALL_ZERO in stated:
        changed.attrs["zero_is_nodata"] = True
    return changed


def fill_notes(notes: Iterable[str]) -> list[str]:
    """Return those of several notes that :func:`fill_note` made."""
    return [note for note in notes if _UNDECLARED in note]


def fill_note(cube: xr.DataArray) -> str | None:
    """Say of a cube that it holds values that look like no data which nothing declares.

    Why it exists: fill that is learnt as a measurement gives a map and figures that
    look right.  Looked for are pixels at the border with one value in all bands that is
    0 or far from all others, and the usual -9999, 65535 and so on anywhere.  A few
    bands are read, of a large image only pieces along its border.

    Examples
    --------
    >>> values = np.full((2, 5, 6), 7.0)
    >>> values[:, 2:] += np.arange(18.0).reshape(3, 6)
    >>> values[:, :, :2] = -9999
    >>> fill_note(xr.DataArray(values, dims=("band", "y", "x")))[:34]
    'Of 30 pixels 10 hold -9999 in all '
    """
    count, rows, cols = cube.shape
    few = np.unique(np.linspace(0, count - 1, min(count, _FEW)).astype(int))
    whole = len(few) * rows * cols <= _WHOLE
    spectra, border = [], []
    for down, across in (
        [(slice(rows), slice(cols))] if whole else _along_border(rows, cols)
    ):
        piece = cube.isel(band=few, y=down, x=across)
        # Band by band: readers hold all that lies between the bands they are asked for.
        values = np.stack([piece[band].values for band in range(len(few))])
        valid = valid_pixels(piece, values)
        edge = np.ones(valid.shape, dtype=bool)
        if whole:
            edge[1:-1, 1:-1] = False
        spectra.append(values[:, valid])
        border.append(edge[valid])
    found = _fill(np.concatenate(spectra, axis=1), np.concatenate(border))
    if not found:
        return None
    told = [
        f"{one.pixels:,} hold {_text(one.value)} in "
        + ("all bands that were looked at" if one.everywhere else "a band")
        for one in found
    ]
    stated = ",".join(ALL_ZERO if one.value == 0 else _text(one.value) for one in found)
    seen = "" if whole else " that were looked at along the border"
    return (
        f"Of {sum(map(len, border)):,} pixels{seen} {', '.join(told)}, which {_UNDECLARED}; "
        f"they are taken as measured unless --nodata {stated} (scene.nodata: {stated}) is "
        "given."
    )


@dataclass(frozen=True)
class _Fill:
    """A value that looks like undeclared fill."""

    value: Any
    """As a scalar of NumPy."""
    pixels: int
    """Pixels that hold it."""
    everywhere: bool
    """Whether in all bands."""


def _text(value: Any) -> str:
    """Write a value in as few digits as tell it in its type."""
    if value.dtype.kind in "iub":
        return str(int(value))
    digits = [f"{float(value):.{count}g}" for count in range(6, 18)]
    with np.errstate(over="ignore"):
        return next(text for text in digits if type(value)(float(text)) == value)


def _along_border(rows: int, cols: int) -> list[tuple[slice, slice]]:
    """Cut pieces along the border of an image."""
    tops = np.linspace(0, max(rows - _SIDE, 0), _ALONG).astype(int).tolist()
    lefts = np.linspace(0, max(cols - _SIDE, 0), _ALONG).astype(int).tolist()
    return [
        (slice(top, min(top + _SIDE, rows)), slice(left, min(left + _SIDE, cols)))
        for at, top in enumerate(tops)
        for beside, left in enumerate(lefts)
        if at in (0, _ALONG - 1) or beside in (0, _ALONG - 1)
    ]


def _fill(spectra: npt.NDArray[Any], border: Mask) -> list[_Fill]:
    """Return the values that look like fill, the commonest at the border first.

    Parameters
    ----------
    spectra : array of shape (band, n)
    border : array of bool (n,)
    """
    if not border.size:
        return []
    same = (spectra == spectra[0]).all(axis=0)
    values, counts = np.unique(spectra[0, same & border], return_counts=True)
    enough = max(_LEAST, _SHARE * int(border.sum()))
    found = []
    for at in np.argsort(-counts)[:_MOST]:
        held, often = same & (spectra[0] == values[at]), bool(counts[at] >= enough)
        if _looks_odd(values[at], spectra[:, ~held], often=often):
            found.append(_Fill(values[at], int(held.sum()), everywhere=True))
    usual = np.isin(spectra, list(_USUAL)) | _huge(spectra)
    for value in np.unique(spectra[usual])[:_MOST]:
        held = (spectra == value).any(axis=0)
        known = any(one.value == value for one in found)
        if not known and _looks_odd(value, spectra[:, ~held], often=False):
            found.append(_Fill(value, int(held.sum()), everywhere=False))
    return found[:_SHOWN]


def _huge(values: npt.NDArray[Any]) -> Mask:
    return np.asarray(np.abs(values.astype(np.float64)) >= _HUGE)


def _looks_odd(value: Any, rest: npt.NDArray[Any], *, often: bool) -> bool:
    """Tell whether a value is far from the rest, as no measurement is.

    ``often`` says that it stands at the border more often than by chance; then zero
    does too, and any value apart from the rest by more than the rest is wide.
    """
    if not rest.size:
        return False
    low, high = (float(one) for one in np.percentile(rest.astype(np.float64), (1, 99)))
    number, width = float(value), high - low
    away = max(low - number, number - high)
    if number == 0:
        return often and (len(rest) > 1 or away > 0)
    usual = number in _USUAL or abs(number) >= _HUGE
    if not width and not usual:
        # Two values and no more are a map or a mask.
        return False
    if rest.dtype.kind in "ui":
        # A collar is often white; single bright pixels are too.
        limits = np.iinfo(rest.dtype)
        usual |= often and len(rest) > 1 and value in (limits.min, limits.max)
    # A single value below zero beside none other is no dark pixel.
    usual |= len(rest) > 1 and number < 0 <= rest.min()
    if often:
        return away > (0 if usual else width)
    return usual and away > (width / 2 if number < 0 else 2 * width)
