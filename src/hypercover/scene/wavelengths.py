"""Wavelengths, widths and bad bands: parsing the many ways in which files state them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hypercover.errors import shorten
from hypercover.scene.data_tables import attribute_names
from hypercover.scene.metadata import format_list
from hypercover.scene.nodata import normalized_key
from hypercover.types import Array, Floats, Ints, Mask

_T = TypeVar("_T")
InNanometres = tuple[Floats | None, tuple[str, ...]]
"""Wavelengths or widths in nm, None if there are none, and notes."""

CENTRES, WIDTHS = attribute_names("wavelength"), attribute_names("width")
_LENGTHS = attribute_names("wavelength unit")
UNITS = (*_LENGTHS, "units", "unit")
GOOD, NUMBERS = attribute_names("good band"), attribute_names("band number")
"""Keys of lists and flags in which 0 marks a bad band, such as ENVI's ``bbl``."""
_BAD = attribute_names("bad band")
"""Keys of flags in which 1 marks a bad band."""
_WIDTH_UNITS = attribute_names("width unit")

_FACTORS = {
    **dict.fromkeys(("nanometer", "nm", "millimicron"), 1.0),
    **dict.fromkeys(("micrometer", "micron", "um", "µm", "μm"), 1e3),
    **dict.fromkeys(("millimeter", "mm"), 1e6),
    **dict.fromkeys(("meter", "m"), 1e9),
    **dict.fromkeys(("angstrom", "å"), 0.1),
}
_READINGS = {
    1.0: "nm",
    1e3: "micrometres",
    1e9: "metres",
    1e-3: "picometres",
    1e6: "millimetres",
}
"""Units to try if none is given or the given one is impossible, by their factor to nm."""
_PER_NM = {
    **dict.fromkeys(("wavenumber", "cm-1", "cm^-1", "cm⁻¹", "1/cm", "percm"), 1e7),
    "mhz": 299_792_458e3,
    "ghz": 299_792_458.0,
    "thz": 299_792.458,
}
"""Wavelength in nm = this number / wavenumber, or / frequency in vacuum."""
_NO_LENGTH = {"index"}
_MOST_NUMBER = 2**31
"""Band numbers must be below this."""
_LEAST_NM, _MOST_NM = 100.0, 100_000.0
"""Range of the wavelengths of sensors, from ultraviolet to thermal infrared."""
_LEAST_WIDTH_NM = 0.05
"""Bands of imaging spectrometers are wider."""
_NARROW = 0.5
"""Widths below this, in nm, are doubted if the bands are fifty times as far apart."""
_UNIT_WORD = (
    r"(?P<unit>nanomet(?:er|re)s?|micromet(?:er|re)s?|microns?|nm|um|µm|μm|angstroms?|"
    r"[\u00c5\u212b]|cm(?:-1|\^-1|⁻¹)|thz|ghz)"
)
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_IN_NAME = re.compile(
    rf"(?<![\d.])(?:(?P<low>{_NUMBER})\s*[-–]\s*)?(?P<high>{_NUMBER})[\s_]*{_UNIT_WORD}"
    r"(?![a-z])",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"(?:[a-z]+[\s_]*\d+[\s_]*)?\(\s*({_NUMBER})\s*\)|"
    rf"(?:x|(?:wavelength|lambda|wl|wvl)[\s_:=]*)?({_NUMBER})",
    re.I,
)
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*{_UNIT_WORD}", re.IGNORECASE)
_COUNTED = re.compile(r"(?:band|b|channel|ch|layer)?[\s_#]*\d*[\s_:(),.\-]*", re.IGNORECASE)
_YEARS = (1900, 2100)
"""Integers in this range are years of a time series rather than wavelengths."""
_LONGEST_NAME = 200


def first_present(entries: Mapping[str, _T], names: Iterable[str]) -> tuple[str, _T] | None:
    """Return the first of several names that is in a mapping, and its value."""
    return next(((name, entries[name]) for name in names if name in entries), None)


def format_nm(value: float) -> str:
    """Format a wavelength in nm with up to three decimals.

    Examples
    --------
    >>> format_nm(379.027), format_nm(450.0), format_nm(1300 / 3)
    ('379.027', '450', '433.333')
    """
    return f"{value:.3f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, eq=False)
class BandTable:
    """Wavelengths, widths, bad bands and numbers of bands; None if unknown."""

    wavelengths: Floats | None = None
    """Centre of each band in nm."""
    fwhm: Floats | None = None
    """Full width at half maximum of each band in nm."""
    bad: Mask | None = None
    """Whether each band is marked as bad."""
    numbers: Ints | None = None
    """Number of each band in the instrument or the full image, from 1."""
    notes: tuple[str, ...] = ()
    """What was guessed or left out, one sentence each."""

    def on(self, cube: xr.DataArray) -> xr.DataArray:
        """Assign the table to a cube as coordinates of its bands."""
        count = cube.sizes["band"]
        numbers = np.arange(1, count + 1) if self.numbers is None else self.numbers
        columns = {
            "band": numbers,
            "wavelength": self.wavelengths,
            "fwhm": self.fwhm,
            "bad": self.bad,
        }
        return cube.assign_coords(
            {name: ("band", each) for name, each in columns.items() if each is not None}
        )


def to_nanometres(values: ArrayLike, unit: str | None) -> InNanometres:
    """Convert wavelengths of any unit to nm, with a note if the unit was guessed.

    If the unit puts them outside 100 nm to 100 µm, the first one that does not is used.

    Examples
    --------
    >>> to_nanometres([0.4, 2.5], "Micrometers")[0].tolist()
    [400.0, 2500.0]
    >>> to_nanometres([0.4, 2.5], None)[1]
    ('Wavelengths have no unit and were taken as micrometres.',)
    >>> to_nanometres([450.5, 2200], "Micrometers")[0].tolist()
    [450.5, 2200.0]
    >>> to_nanometres([25000, 10000], "Wavenumber")[0].tolist()
    [400.0, 1000.0]
    """
    numbers = np.asarray(values, dtype=np.float64)
    plain = _plain_unit(unit)
    if not np.isfinite(numbers).all() or (numbers <= 0).any():
        return None, ("Wavelengths that are not positive numbers were left out.",)
    if plain in _NO_LENGTH:
        name = shorten(unit or "", 40)
        return None, (f"Band positions in the unit {name!r} are not wavelengths.",)
    nm = _by_unit(numbers, plain)
    if nm is not None and _possible(nm):
        return nm, ()
    return _guessed(numbers, shorten(unit or "", 40) if nm is not None else None)


def _by_unit(numbers: Floats, unit: str) -> Floats | None:
    """Convert wavelengths, wavenumbers or frequencies to nm; None if the unit is unknown."""
    unit = _singular(unit)
    if unit in _PER_NM:
        return np.asarray(np.round(_PER_NM[unit] / numbers, 6))
    factor = _FACTORS.get(unit)
    return None if factor is None else _scaled(numbers, factor)


def _guessed(numbers: Floats, unit: str | None) -> InNanometres:
    """Convert wavelengths by the first unit that makes them possible."""
    span = f"{numbers.min():.10g} to {numbers.max():.10g}"
    if len(numbers) > 1 and np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        return None, ("Wavelengths that only count the bands were left out.",)
    reason = "Wavelengths have no unit"
    if unit is not None:
        reason = f"Wavelengths from {span} cannot be in the unit {unit!r}"
    for factor, name in _READINGS.items():
        if _possible(numbers * factor):
            return _scaled(numbers, factor), (f"{reason} and were taken as {name}.",)
    mixed = np.where(numbers < _LEAST_NM, 1e3, 1.0)
    if _possible(numbers * mixed):
        note = (
            f"Wavelengths from {span} are in two units; those below {_LEAST_NM:g} were taken "
            "as micrometres, the others as nm."
        )
        return _scaled(numbers, mixed), (note,)
    return None, (
        f"Wavelengths from {span} are outside 100 nm to 100 micrometres in every unit and "
        "were left out.",
    )


def _plain_unit(unit: str | None) -> str:
    return re.sub(r"[\s._]+", "", (unit or "").strip(" \t{}()[]\"'")).lower()


def _singular(unit: str) -> str:
    """Return a unit in the singular and in American spelling."""
    return unit.removesuffix("s").replace("metre", "meter")


def _possible(nm: Floats) -> bool:
    """Tell whether wavelengths are in the range of sensors."""
    near = 1e-9
    return bool(((nm >= _LEAST_NM * (1 - near)) & (nm <= _MOST_NM * (1 + near))).all())


def _scaled(numbers: Floats, factor: float | Floats) -> Floats:
    """Multiply, and round off the error of 0.4 × 1000."""
    if np.ndim(factor) == 0 and factor == 1.0:
        return numbers
    return np.asarray(np.round(numbers * factor, 9))


def widths_in_nm(
    widths: ArrayLike, wavelengths: ArrayLike, centres: Floats, unit: str | None = None
) -> InNanometres:
    """Convert widths to nm by the factor of the wavelengths, with notes.

    None if a width is not a positive number.  Impossible widths, such as 0.01 nm, are
    taken to be in another unit, with a note.

    Parameters
    ----------
    widths, wavelengths : array of float, shape (band,)
        As in the file.
    centres : array of float, shape (band,)
        The wavelengths in nm.
    unit : str, optional
        Unit of the widths, if the file states it separately.

    Examples
    --------
    >>> nm = np.array([450.0, 460.0, 470.0])
    >>> widths_in_nm([0.01] * 3, nm, nm)[0].tolist()
    [10.0, 10.0, 10.0]
    """
    values = np.asarray(widths, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        return None, ("Widths (FWHM) that are not positive numbers were left out.",)
    own = _FACTORS.get(_singular(_plain_unit(unit)))
    if own is not None:
        nm = _scaled(values, own)
    else:
        factor = centres / np.asarray(wavelengths, dtype=np.float64)
        nm = values if (np.round(factor, 9) == 1.0).all() else _scaled(values, factor)
    return _possible_widths(nm, centres)


def _possible_widths(nm: Floats, centres: Floats) -> InNanometres:
    """Multiply or divide widths by 1000 if only that makes them possible."""
    gaps = np.diff(np.sort(centres))
    apart = float(np.median(gaps)) if len(gaps) else 0.0
    least = max(_LEAST_WIDTH_NM, min(apart / 50, _NARROW))
    narrow = nm < (least if np.median(nm) < least else _LEAST_WIDTH_NM)
    wide = nm > centres
    if not (narrow | wide).any():
        return nm, ()
    read = np.where(narrow, nm * 1e3, np.where(wide, nm / 1e3, nm))
    if ((read < _LEAST_WIDTH_NM) | (read > centres)).any():
        if (nm >= _LEAST_WIDTH_NM).all() and not wide.any():
            return nm, ()
        return None, (f"Widths (FWHM) of {_span(nm)} nm are impossible and were left out.",)
    read = np.asarray(np.round(read, 9), dtype=np.float64)
    return read, (
        f"Widths (FWHM) of {_span(nm)} nm are impossible and were taken as {_span(read)} nm.",
    )


def _span(values: Floats) -> str:
    ends = (f"{end:.6g}" for end in (values.min(), values.max()))
    return " to ".join(dict.fromkeys(ends))


@dataclass(frozen=True, eq=False)
class _Source:
    """Wavelengths from one place in a file."""

    place: str
    """Description of the place."""
    centres: Floats
    """In nm (band,)."""
    exact: float
    """Unit of the last written digit, in nm."""
    rounded: Floats
    """Largest rounding error of each at its number of significant digits, in nm (band,)."""
    widths: Floats | None = None
    """In nm (band,)."""
    notes: tuple[str, ...] = ()


def bands_from_tags(
    envi: Mapping[str, str],
    bands: Sequence[Mapping[str, str]],
    count: int,
    names: Sequence[str | None] = (),
) -> BandTable:
    """Read the band table of a raster from GDAL's tags, in any spelling of the keys.

    If several places give wavelengths that agree, the one with most digits is used.

    Parameters
    ----------
    envi : mapping
        Tags of the dataset, with lists in braces.
    bands : sequence of mappings
        Tags of each band, including those of the namespace ``IMAGERY``.
    count : int
        Number of bands; lists of another length are left out with a note.
    names : sequence of str, optional
        Names of the bands, which may contain wavelengths.
    """
    tags = _Tags(envi, bands, count)
    sources = tags.sources(names)
    good = tags.listed(GOOD)
    bad = tags.flagged() if good is None else np.asarray(good == 0)
    numbers = band_numbers(tags.listed(NUMBERS[:2]))
    chosen = _most_exact(sources, tags.notes)
    if chosen is None:
        notes = tuple(dict.fromkeys(tags.notes + tags.useless))
        return BandTable(None, None, bad, numbers, notes)
    widths = (source.widths for source in (chosen, *sources) if source.widths is not None)
    return BandTable(chosen.centres, next(widths, None), bad, numbers, tuple(tags.notes))


class _Tags:
    """The tags of a raster, with notes on what cannot be used."""

    def __init__(
        self, envi: Mapping[str, str], bands: Sequence[Mapping[str, str]], count: int
    ) -> None:
        self.whole = {normalized_key(key): text for key, text in envi.items()}
        self.bands = [
            {normalized_key(key): text for key, text in tags.items()} for tags in bands
        ]
        self.count = count
        self.notes: list[str] = []
        self.useless: list[str] = []
        """Notes on wavelengths left out, for rasters that have no others."""

    def sources(self, names: Sequence[str | None]) -> list[_Source]:
        """Return the wavelengths of all places, the usual one first."""
        found = (self._from_header(), *self._from_bands(), self._from_names(names))
        return [source for source in found if source is not None]

    def listed(self, names: Iterable[str]) -> Floats | None:
        """Return the list of a number for each band under the first of some keys."""
        entry = first_present(self.whole, names)
        if entry is None:
            return None
        key, text = entry
        values = _flags(text) if key in GOOD else _numbers(text)
        if values is not None and len(values) == self.count:
            return values
        content = "no list of numbers" if values is None else f"{len(values)} entries"
        note = f"The header's {key} has {content} for {self.count} bands and was left out."
        if note not in self.notes:
            self.notes.append(note)
        return None

    def flagged(self) -> Mask | None:
        """Return which bands are marked as bad by their tags; None if no band has a mark."""
        good = [first_present(tags, GOOD) for tags in self.bands]
        bad = [first_present(tags, _BAD) for tags in self.bands]
        if not any(good) and not any(bad):
            return None
        marked = [entry is not None and _is_no(entry[1]) for entry in good]
        return np.array(marked) | [
            entry is not None and not _is_no(entry[1]) for entry in bad
        ]

    def _source(
        self,
        place: str,
        texts: Sequence[str],
        units: Sequence[str | None],
        widths: Floats | None = None,
        width_unit: str | None = None,
        note: str = "",
    ) -> _Source | None:
        """Parse the wavelengths of one place, with one unit or one each; None if unusable."""
        written = [_decimal(text) for text in texts]
        numbers = np.array([float(number) for number in written], dtype=np.float64)
        if len(set(map(_plain_unit, units))) == 1:
            centres, notes = to_nanometres(numbers, units[0])
        else:
            nm = [
                number if (own := _by_unit(number, _plain_unit(unit))) is None else own
                for number, unit in zip(numbers, units, strict=True)
            ]
            centres, notes = to_nanometres(nm, "nm")
        if centres is None:
            self.useless += notes
            return None
        steps = [10.0 ** int(number.as_tuple().exponent) for number in written]
        factor = centres / numbers
        exact = float((np.array(steps) * factor).min())
        digits = max(len(number.as_tuple().digits) for number in written)
        with np.errstate(divide="ignore"):
            last = 10.0 ** (np.floor(np.log10(np.abs(numbers))) - digits + 1)
        if widths is not None:
            widths, more = widths_in_nm(widths, numbers, centres, width_unit)
            notes += more
        notes = (note, *notes) if note else notes
        rounded = np.maximum(exact, last * factor)
        return _Source(place, centres, exact, rounded, widths, notes)

    def _from_header(self) -> _Source | None:
        widths = self.listed(WIDTHS)
        if self.listed(CENTRES) is None:
            return None
        key, text = first_present(self.whole, CENTRES) or ("", "")
        texts, beside = _without_unit(_parts(text))
        unit = beside or (first_present(self.whole, _LENGTHS) or ("", _unit_of(key)))[1]
        own = first_present(self.whole, _WIDTH_UNITS)
        return self._source("the header", texts, [unit], widths, own[1] if own else None)

    def _from_bands(self) -> Iterator[_Source | None]:
        """Yield wavelengths and widths from the tags of the bands, for each key they may have."""
        for name in CENTRES:
            texts = self._column(name)
            if texts is None:
                tagged = sum(name in tags for tags in self.bands)
                if 0 < tagged < len(self.bands):
                    self.notes.append(
                        f"Only {tagged} of {len(self.bands)} bands have {name!r}, which was "
                        "left out."
                    )
                continue
            ending = _unit_of(name)
            texts, beside = _without_unit(texts)
            stated = [first_present(tags, UNITS) for tags in self.bands]
            units = [
                beside or (unit_tag[1] if unit_tag and ending is None else ending)
                for unit_tag in stated
            ]
            columns = (self._column(key) for key in WIDTHS if _unit_of(key) == ending)
            column = next((each for each in columns if each is not None), None)
            widths, width_unit = (None, None) if column is None else _without_unit(column)
            own = first_present(self.bands[0], _WIDTH_UNITS)
            yield self._source(
                "the tags of the bands" if ending is None else f"the tags {name.upper()}",
                texts,
                units,
                None if widths is None else np.array([float(text) for text in widths]),
                width_unit or (own[1] if own else None),
            )

    def _column(self, key: str) -> list[str] | None:
        """Return the numbers that all bands have under a key, as text."""
        if not self.bands or not all(key in tags for tags in self.bands):
            return None
        texts = [tags[key].strip().strip("{}").strip() for tags in self.bands]
        try:
            [float(text) for text in _without_unit(texts)[0]]
        except ValueError:
            return None
        return texts

    def _from_names(self, names: Sequence[str | None]) -> _Source | None:
        """Parse wavelengths in the names of all bands, such as ``Band 1 (450.5 Nanometers)``."""
        if len(names) < 2 or not all(names):
            return None
        short = [str(name)[:_LONGEST_NAME] for name in names]
        units: list[str | None] = [None]
        if all(matches := [_IN_NAME.search(name) for name in short]):
            texts = [_middle(match) for match in matches if match]
            units = [match["unit"] for match in matches if match]
        elif all(matches := [_BARE.fullmatch(name.strip()) for name in short]):
            texts = [match[1] or match[2] for match in matches if match]
            if not _are_wavelengths(np.array([float(text) for text in texts])):
                return None
        else:
            return None
        if len(set(texts)) < len(texts):
            return None
        note = "Wavelengths were taken from the names of the bands."
        return self._source("the names of the bands", texts, units, note=note)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("nan")


def _most_exact(sources: Sequence[_Source], notes: list[str]) -> _Source | None:
    """Return the source with most digits among those that agree with the first; add notes."""
    if not sources:
        return None
    best = first = sources[0]
    more = []
    for other in sources[1:]:
        apart = np.abs(other.centres - first.centres)
        if (apart > 0.51 * (other.rounded + first.rounded)).any():
            more.append(
                f"Wavelengths in {other.place} differ from those in {first.place}, which were "
                "taken."
            )
        elif other.exact < 0.5 * best.exact:
            best = other
    if best is not first:
        more.append(
            f"Wavelengths were taken from {best.place}: {first.place} gives fewer digits."
        )
    notes += (*best.notes, *more)
    return best


def _parts(text: str) -> list[str]:
    """Split a list at commas, or else at semicolons or blanks."""
    inner = text.strip().strip("{}").replace("\n", " ")
    sign = next((sign for sign in ",;" if sign in inner), None)
    if sign is None and _WITH_UNIT.fullmatch(inner.strip()):
        return [inner.strip()]
    return [part.strip() for part in inner.split(sign) if part.strip()]


def _without_unit(texts: Sequence[str]) -> tuple[list[str], str | None]:
    """Strip the unit from numbers that share one, such as ``450 nm``."""
    matches = [_WITH_UNIT.fullmatch(text) for text in texts]
    units = {_plain_unit(match["unit"]) for match in matches if match}
    if not all(matches) or len(units) != 1:
        return list(texts), None
    return [match[1] for match in matches if match], units.pop()


def _numbers(text: str) -> Floats | None:
    """Parse ``{1, 2, 3}``, with or without units; None if it is not a list of numbers."""
    try:
        return np.array([float(part) for part in _without_unit(_parts(text))[0]])
    except ValueError:
        return None


def _flags(text: str) -> Floats | None:
    """Parse a list of flags, as numbers or words."""
    numbers = _numbers(text)
    if numbers is not None:
        return numbers
    words = [part.strip("\"'").lower() for part in _parts(text)]
    if not set(words) <= _YES | _NO:
        return None
    return np.array([float(word in _YES) for word in words])


def _unit_of(key: str) -> str | None:
    """Return the unit at the end of a key, such as ``fwhmum``."""
    return key[-2:] if key.endswith(("nm", "um")) else None


def band_numbers(values: ArrayLike | None) -> Ints | None:
    """Return a list as band numbers if it has distinct integers from 1, else None.

    Examples
    --------
    >>> band_numbers([1, 2, 5]), band_numbers([0.4, 0.5])
    (array([1, 2, 5]), None)
    """
    if values is None:
        return None
    numbers = np.asarray(values, dtype=np.float64)
    whole = (np.abs(numbers) < _MOST_NUMBER) & (numbers == np.floor(numbers))
    if not whole.all() or numbers.min() < 1 or len(np.unique(numbers)) < len(numbers):
        return None
    return numbers.astype(np.int64)


_NO = {"0", "0.0", "false", "no", "bad"}
_YES = {"1", "1.0", "true", "yes", "good"}


def _is_no(text: str) -> bool:
    word = text.strip().strip("{}").strip().lower()
    try:
        return float(word) == 0
    except ValueError:
        return word in _NO


def _middle(match: re.Match[str]) -> str:
    """Return the number in a name, or the middle of a range such as ``450-520 nm``."""
    if not match["low"]:
        return match["high"]
    return str((Decimal(match["low"]) + Decimal(match["high"])) / 2)


def _are_wavelengths(numbers: Floats) -> bool:
    """Tell whether bare numbers are wavelengths rather than counts, years or dates."""
    steps, low, high = np.diff(numbers), numbers.min(), numbers.max()
    whole = bool((numbers == np.floor(numbers)).all())
    years = whole and _YEARS[0] <= low and high <= _YEARS[1]
    ordered = bool((steps > 0).all() or (steps < 0).all())
    nm, micrometres = low >= 300 and high <= 15_000, low >= 0.3 and high <= 15
    return ordered and not years and bool(nm or (micrometres and not whole))


def only_wavelengths(names: Sequence[str | None]) -> bool:
    """Tell whether names of bands consist only of a number and a wavelength.

    Examples
    --------
    >>> only_wavelengths(["450.5 nm", "Band 2 (550 nm)"]), only_wavelengths(["red (650 nm)"])
    (True, False)
    """
    short = [str(name or "")[:_LONGEST_NAME] for name in names]
    rest = (_IN_NAME.sub("", name).strip() for name in short)
    return all(map(_IN_NAME.search, short)) and all(map(_COUNTED.fullmatch, rest))


def band_tags(table: BandTable) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the ENVI tags of a dataset and the IMAGERY tags of each band.

    Write them with ``dataset.update_tags(ns="ENVI", **tags)`` and
    ``dataset.update_tags(number, ns="IMAGERY", **tags)``; :func:`bands_from_tags` reads them.
    """
    envi: dict[str, str] = {}
    bands: list[dict[str, str]] = []
    if table.wavelengths is not None:
        envi["wavelength"] = format_list(table.wavelengths)
        envi["wavelength_units"] = "Nanometers"
        bands = [{"CENTRAL_WAVELENGTH_UM": f"{x / 1e3:.9g}"} for x in table.wavelengths]
    if table.fwhm is not None:
        envi["fwhm"] = format_list(table.fwhm)
        for tags, width in zip(bands, table.fwhm, strict=False):
            tags["FWHM_UM"] = f"{width / 1e3:.9g}"
    if table.bad is not None:
        envi["bbl"] = _format_integers(~table.bad)
    if table.numbers is not None:
        envi["band_numbers"] = _format_integers(table.numbers)
    return envi, bands


def _format_integers(values: Array) -> str:
    return "{" + ", ".join(str(int(value)) for value in values) + "}"
