"""No data: values and masks that files declare or users state, and the rule they make.

A cube stores its rule, which cropping and selecting bands preserve:

- ``attrs["nodata"]``: the value, or a tuple of values, that mean no data in every band;
  attributes of other common names (``_FillValue`` …) are understood, too;
- coordinate ``nodata`` (band): a value per band, NaN if a band has none;
- ``attrs["valid_range"]``: the smallest and the largest valid value;
- ``attrs["zero_is_nodata"]``: whether pixels that are zero in all bands have no data;
- coordinate ``has_data`` (y, x): False where a mask or an alpha band masks the pixel.

NaN and infinities are never data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from xarray import DataArray

from hypercover.errors import SceneError
from hypercover.scene.data_tables import attribute_names
from hypercover.types import Array, Mask

NodataSpec = float | str | Sequence[float | str]
"""No data as users state it: one or several values, as numbers or text."""

ALL_ZERO, _NONE = "all-zero", "none"
_VALUES = frozenset(attribute_names("no data"))
_RANGE, _LOWEST, _HIGHEST = "validrange", "validmin", "validmax"
_MOST = 16
"""Longest list of values in an attribute."""
_INTEGER_ENDS = (-(2**15), 1 - 2**15, 2**15 - 1, 2**16 - 1, -(2**31), 2**31 - 1, 2**32 - 1)
_USUAL = {-99999.0, -9999.0, -999.0, -99.0, 9999.0, *map(float, _INTEGER_ENDS)}
_HUGE = 1e19
"""Values from this size on are fill, not measurements."""
_UNDECLARED = "looks like no data that the file does not declare"
_FEW, _WHOLE, _SIDE, _ALONG = 8, 2**22, 32, 5
"""Search for undeclared fill: number of bands, largest number of values read as a whole,
side and number of the samples along each border of a larger image."""
_SHOWN = 3
"""Fill values listed in a note."""
_LEAST, _SHARE = 4, 0.01
"""Pixels of the border, in number and as a share, that are more than chance."""


def normalized_key(name: str) -> str:
    """Normalise the name of an attribute: letters and digits only, in lower case.

    Examples
    --------
    >>> normalized_key("Data_Ignore_Value"), normalized_key("_FillValue"), normalized_key("data ignore-value")
    ('dataignorevalue', 'fillvalue', 'dataignorevalue')
    """
    return "".join(char for char in name.lower() if char.isalnum())


def parse_numbers(value: object) -> list[float]:
    """Parse the numbers in an attribute; empty if it holds anything else.

    Examples
    --------
    >>> parse_numbers("{-9999, 0}"), parse_numbers([b"-9999"]), parse_numbers("none")
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


def declared_nodata(attrs: Mapping[str, object], dtype: npt.DTypeLike) -> dict[str, Any]:
    """Read no data from attributes, as attributes of a cube of a type.

    Names may have any spelling; values that do not fit the type are ignored.

    Examples
    --------
    >>> declared_nodata({"Data_Ignore_Value": "-9999", "_FillValue": -1}, "int16")
    {'nodata': (-9999.0, -1.0)}
    >>> declared_nodata({"missing_value": -9999, "valid_range": [0, 100]}, "uint8")
    {'valid_range': (0.0, 100.0)}
    """
    values: list[float] = []
    low, high = -np.inf, np.inf
    for name, value in attrs.items():
        key, numbers = normalized_key(name), parse_numbers(value)
        if key in _VALUES:
            values += [number for number in numbers if fits_dtype(number, dtype)]
        elif key == _RANGE and len(numbers) == 2:
            low, high = max(low, numbers[0]), min(high, numbers[1])
        elif key == _LOWEST and len(numbers) == 1:
            low = max(low, numbers[0])
        elif key == _HIGHEST and len(numbers) == 1:
            high = min(high, numbers[0])
    rule: dict[str, Any] = {}
    if values:
        rule["nodata"] = _one_or_all(values)
    if low <= high and (low, high) != (-np.inf, np.inf):
        rule["valid_range"] = (low, high)
    return rule


def _one_or_all(values: Iterable[float]) -> float | tuple[float, ...]:
    """Remove duplicates, and unpack a single value."""
    # By text, because NaN does not equal itself.
    each = tuple({repr(float(value)): float(value) for value in values}.values())
    return each[0] if len(each) == 1 else each


def declares_nodata(name: str) -> bool:
    """Tell whether a name is a common one for the no-data value."""
    return normalized_key(name) in _VALUES


def fits_dtype(value: float, dtype: npt.DTypeLike) -> bool:
    """Tell whether a type can hold a value."""
    kind = np.dtype(dtype)
    if kind.kind not in "ui":
        return True
    limits = np.iinfo(kind)
    return float(value).is_integer() and limits.min <= value <= limits.max


@dataclass(frozen=True)
class NodataRule:
    """The rule that decides which pixels of an image have no data.

    A pixel is masked if any band is NaN, infinite, one of the values or outside the
    valid range; optionally also if all bands are zero.
    """

    values: tuple[float, ...] = ()
    """Values that mean no data in every band."""
    by_band: tuple[float, ...] = ()
    """One value per band, NaN for bands without one; may be empty."""
    valid_range: tuple[float, float] | None = None
    """Smallest and largest valid value."""
    zero: bool = False
    """Whether pixels that are zero in all bands have no data."""

    @classmethod
    def of(cls, cube: DataArray) -> "NodataRule":
        """Read the rule from the attributes and coordinates of a cube."""
        attrs = cube.attrs
        own = {key: attrs[key] for key in ("nodata", "valid_range") if key in attrs}
        rule = declared_nodata(own if "nodata" in own else attrs, cube.dtype)
        by_band = cube.coords.get("nodata")
        values = rule.get("nodata", ())
        return cls(
            values if isinstance(values, tuple) else (values,),
            ()
            if by_band is None or by_band.dims != ("band",)
            else tuple(by_band.values.astype(float).tolist()),
            rule.get("valid_range"),
            bool(attrs.get("zero_is_nodata", False)),
        )

    @classmethod
    def first_of(cls, attrs: Mapping[str, object], dtype: npt.DTypeLike) -> float | None:
        """Return the first no-data value that attributes declare, or None."""
        values = declared_nodata(attrs, dtype).get("nodata")
        return values[0] if isinstance(values, tuple) else values

    @property
    def primary(self) -> float | None:
        """The value to declare in files, or None."""
        return self.values[0] if self.values else None

    def absent(self, band: int) -> list[float]:
        """Return the finite no-data values of the band at a position."""
        own = self.by_band[band : band + 1]
        return [value for value in (*self.values, *own) if np.isfinite(value)]

    def valid(self, values: Array, has_data: Mask | None = None) -> Mask:
        """Return which pixels (y, x) have data.

        Parameters
        ----------
        values : array, shape (band, y, x)
        has_data : array of bool, shape (y, x), optional
            False where a separate mask excludes the pixel.
        """
        # Band by band, because masks of the whole array would take half its memory.
        valid = np.ones(values.shape[1:], bool) if has_data is None else has_data.copy()
        if self.zero:
            valid &= values.any(axis=0)
        for position, band in enumerate(values):
            if values.dtype.kind == "f":
                valid &= np.isfinite(band)
            for value in self.absent(position):
                if fits_dtype(value, values.dtype):
                    valid &= band != np.asarray(value).astype(values.dtype)
            if self.valid_range is not None:
                valid &= (band >= self.valid_range[0]) & (band <= self.valid_range[1])
        return valid

    def __bool__(self) -> bool:
        """Return whether any value means no data."""
        return bool(str(self))

    def __str__(self) -> str:
        """Describe the rule, such as ``-9999, all-zero``."""
        own = [value for value in dict.fromkeys(self.by_band) if np.isfinite(value)]
        parts = [f"{value:.10g}" for value in self.values]
        if own:
            parts.append(f"{', '.join(f'{value:.10g}' for value in own)} by band")
        if self.valid_range is not None:
            parts.append("outside {:.10g} to {:.10g}".format(*self.valid_range))
        return ", ".join(parts + [ALL_ZERO] * self.zero)


def valid_pixels(cube: DataArray, values: Array | None = None) -> Mask:
    """Return which pixels (y, x) of a cube (band, y, x) have data.

    Parameters
    ----------
    cube : DataArray
        The image or a part of it, selected with ``isel``.
    values : array, shape (band, y, x), optional
        Its values, if they have been read already.

    Examples
    --------
    >>> cube = DataArray([[[1, 0, -9]]], dims=("band", "y", "x"), attrs={"nodata": -9})
    >>> valid_pixels(cube).tolist()
    [[True, True, False]]
    """
    has_data = None
    if "has_data" in cube.coords:
        has_data = np.asarray(cube.coords["has_data"].values, dtype=bool)
    return NodataRule.of(cube).valid(cube.values if values is None else values, has_data)


def without_nodata(cube: DataArray) -> DataArray:
    """Remove the rule of a cube, so that every finite value is data."""
    bare = cube.drop_vars(["nodata", "has_data"], errors="ignore").copy(deep=False)
    own = _VALUES | {_RANGE, _LOWEST, _HIGHEST, "zeroisnodata"}
    kept = (name for name in cube.attrs if normalized_key(name) not in own)
    bare.attrs = {name: cube.attrs[name] for name in kept}
    return bare


def parse_nodata(given: NodataSpec) -> tuple[float | str, ...]:
    """Parse no data as users state it: numbers, ``all-zero`` and ``none``.

    Raises
    ------
    SceneError
        If a part is something else.

    Examples
    --------
    >>> parse_nodata("-9999,0"), parse_nodata(-1), parse_nodata(["none", "all-zero"])
    ((-9999.0, 0.0), (-1.0,), ('none', 'all-zero'))
    """
    if not isinstance(given, str) and isinstance(given, Sequence):
        return tuple(value for part in given for value in parse_nodata(part))
    parsed: list[float | str] = []
    for part in given.replace(",", " ").split() if isinstance(given, str) else [given]:
        if isinstance(part, str) and part.lower() in (ALL_ZERO, _NONE):
            parsed.append(part.lower())
            continue
        try:
            parsed.append(float(part))
        except (TypeError, ValueError):
            raise SceneError(
                f"No data must be numbers, {ALL_ZERO} or {_NONE}, got {str(part)[:40]!r}; "
                "write for example --nodata -9999."
            ) from None
    return tuple(parsed)


def with_nodata(cube: DataArray, given: NodataSpec, name: str) -> DataArray:
    """Add no data that a user states to the rule of a cube.

    Values are added to those that the file declares.  ``none`` first removes everything
    that it declares, masks and alpha bands included.  ``all-zero`` means pixels that are
    zero in all bands.

    Raises
    ------
    SceneError
        If a value is not a number or does not fit the type of the pixels.
    """
    stated = parse_nodata(given)
    if _NONE in stated:
        cube = without_nodata(cube)
    values = [value for value in stated if isinstance(value, float)]
    for value in values:
        if not fits_dtype(value, cube.dtype):
            raise SceneError(
                f"No pixel of {name} can be {value:.10g}, the given value for no data, because "
                f"its type is {cube.dtype}; give another value, or omit --nodata."
            )
    rule = NodataRule.of(cube)
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
    """Select the notes that :func:`fill_note` made."""
    return [note for note in notes if _UNDECLARED in note]


def fill_note(cube: DataArray) -> str | None:
    """Detect undeclared fill values in a cube; return a note, or None.

    Training on fill as if it were measured gives maps and accuracies that look right.
    The search covers pixels at the border with one value in all bands that is 0 or far
    from all others, and common fill values such as -9999 and 65535 anywhere.  It reads a
    few bands, and of large images only samples along the border.

    Examples
    --------
    >>> values = np.full((2, 5, 6), 7.0)
    >>> values[:, 2:] += np.arange(18.0).reshape(3, 6)
    >>> values[:, :, :2] = -9999
    >>> fill_note(DataArray(values, dims=("band", "y", "x")))[:34]
    'Of 30 pixels, 10 are -9999 in all '
    """
    count, rows, cols = cube.shape
    few = np.unique(np.linspace(0, count - 1, min(count, _FEW)).astype(int))
    whole = len(few) * rows * cols <= _WHOLE
    spectra, border = [], []
    for down, across in (
        [(slice(rows), slice(cols))] if whole else _along_border(rows, cols)
    ):
        piece = cube.isel(band=few, y=down, x=across)
        # Band by band, because readers load all bands between the selected ones.
        values = np.stack([piece[band].values for band in range(len(few))])
        valid = valid_pixels(piece, values)
        edge = np.ones(valid.shape, dtype=bool)
        if whole:
            edge[1:-1, 1:-1] = False
        spectra.append(values[:, valid])
        border.append(edge[valid])
    fills = _find_fill(np.concatenate(spectra, axis=1), np.concatenate(border))
    if not fills:
        return None
    counts = ", ".join(
        f"{fill.pixels:,} are {_text(fill.value)} in "
        f"{'all bands examined' if fill.everywhere else 'a band'}"
        for fill in fills
    )
    option = ",".join(ALL_ZERO if fill.value == 0 else _text(fill.value) for fill in fills)
    where = "" if whole else " examined along the border"
    return (
        f"Of {sum(map(len, border)):,} pixels{where}, {counts}, which {_UNDECLARED}; they are "
        f"taken as measured unless --nodata {option} (scene.nodata: {option}) is given."
    )


class _Fill(NamedTuple):
    """A value that looks like undeclared fill."""

    value: Any
    """As a scalar of NumPy."""
    pixels: int
    """Number of pixels with the value."""
    everywhere: bool
    """Whether in all bands."""


def _text(value: Any) -> str:
    """Format a value with the fewest digits that are exact in its type."""
    if value.dtype.kind in "iub":
        return str(int(value))
    digits = [f"{float(value):.{count}g}" for count in range(6, 18)]
    with np.errstate(over="ignore"):
        return next(text for text in digits if type(value)(float(text)) == value)


def _along_border(rows: int, cols: int) -> list[tuple[slice, slice]]:
    """Return samples along the border of an image."""
    tops, lefts = (
        np.linspace(0, max(size - _SIDE, 0), _ALONG).astype(int).tolist()
        for size in (rows, cols)
    )
    ends = (0, _ALONG - 1)
    return [
        (slice(top, min(top + _SIDE, rows)), slice(left, min(left + _SIDE, cols)))
        for row, top in enumerate(tops)
        for col, left in enumerate(lefts)
        if row in ends or col in ends
    ]


def _find_fill(spectra: Array, border: Mask) -> list[_Fill]:
    """Find values that look like fill, the most frequent at the border first.

    Parameters
    ----------
    spectra : array, shape (band, n)
    border : array of bool, shape (n,)
    """
    if not border.size:
        return []
    same = (spectra == spectra[0]).all(axis=0)
    values, counts = np.unique(spectra[0, same & border], return_counts=True)
    enough = max(_LEAST, _SHARE * int(border.sum()))
    fills: list[_Fill] = []
    for at in np.argsort(-counts)[:_MOST]:
        pixels, often = same & (spectra[0] == values[at]), bool(counts[at] >= enough)
        if _looks_odd(values[at], spectra[:, ~pixels], often=often):
            fills.append(_Fill(values[at], int(pixels.sum()), everywhere=True))
    usual = np.isin(spectra, list(_USUAL)) | (np.abs(spectra.astype(np.float64)) >= _HUGE)
    for value in np.unique(spectra[usual])[:_MOST]:
        pixels = (spectra == value).any(axis=0)
        found = any(fill.value == value for fill in fills)
        if not found and _looks_odd(value, spectra[:, ~pixels], often=False):
            fills.append(_Fill(value, int(pixels.sum()), everywhere=False))
    return fills[:_SHOWN]


def _looks_odd(value: Any, rest: Array, *, often: bool) -> bool:
    """Tell whether a value is farther from the rest than a measurement would be.

    ``often`` means that it is more frequent at the border than by chance.  Then zero
    counts as well, and any value whose distance from the rest exceeds their range.
    """
    if not rest.size:
        return False
    low, high = np.percentile(rest.astype(np.float64), (1, 99)).tolist()
    number, width = float(value), high - low
    away = max(low - number, number - high)
    if number == 0:
        return often and (len(rest) > 1 or away > 0)
    usual = number in _USUAL or abs(number) >= _HUGE
    if not width and not usual:
        # An image of two values is a map or a mask.
        return False
    if rest.dtype.kind in "ui":
        # Collars are often white, but so are single bright pixels.
        limits = np.iinfo(rest.dtype)
        usual |= often and len(rest) > 1 and value in (limits.min, limits.max)
    # A single negative value is not a dark pixel if all others are positive.
    usual |= len(rest) > 1 and number < 0 <= rest.min()
    if often:
        return bool(away > (0 if usual else width))
    return bool(usual and away > (width / 2 if number < 0 else 2 * width))
