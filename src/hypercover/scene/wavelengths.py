"""Wavelengths, widths and bad bands: parsing the many ways in which files state them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import shorten
from hypercover.scene.nodata import normalized_key
from hypercover.types import Array, Floats, Ints, Mask

_T = TypeVar("_T")

CENTRES = ("wavelength", "wavelengths", "wavelengthnm", "wavelengthsnm", "wavelengthum",
           "centralwavelengthum", "centralwavelengthnm", "centralwavelength",
           "centerwavelength", "centerwavelengths", "centrewavelength", "centrewavelengths",
           "wavelengthcenter", "wavelengthcenters", "bandwavelength", "bandwavelengths",
           "sensorbandwavelengths", "wl", "wls", "wvl", "wave", "waves", "lambda",
           "cwl")  # fmt: skip
WIDTHS = ("fwhm", "fwhms", "fwhmnm", "fwhmum", "bandwidth", "bandwidths", "bandwidthnm",
          "bandwidthum")  # fmt: skip
_LENGTHS = ("wavelengthunits", "wavelengthunit", "wavelengthsunits", "wavelengthsunit",
            "unitswavelength")  # fmt: skip
UNITS = (*_LENGTHS, "units", "unit")
GOOD = ("bbl", "badbandlist", "badbandslist", "goodwavelengths", "goodbands", "goodband")
"""Keys of lists and flags in which 0 marks a bad band, such as ENVI's ``bbl``."""
_BAD = ("badband", "isbad", "bad")
"""Keys of flags in which 1 marks a bad band."""
NUMBERS = ("bandnumbers", "bandnumber", "band", "bands", "channel", "channels")
_WIDTH_UNITS = ("fwhmunits", "fwhmunit")

_FACTORS = {
    "nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nanometre": 1.0, "nm": 1.0,
    "nms": 1.0, "millimicrons": 1.0,
    "micrometers": 1e3, "micrometer": 1e3, "micrometres": 1e3, "micrometre": 1e3,
    "microns": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "millimeters": 1e6, "millimetres": 1e6, "mm": 1e6, "meters": 1e9, "metres": 1e9,
    "meter": 1e9, "metre": 1e9, "m": 1e9, "angstroms": 0.1, "angstrom": 0.1, "å": 0.1,
}  # fmt: skip
_READINGS = {1.0: "nm", 1e3: "micrometres", 1e9: "metres", 1e-3: "picometres",
             1e6: "millimetres"}  # fmt: skip
"""Units to try if none is given or the given one is impossible, by their factor to nm."""
_PER_NM = {
    **dict.fromkeys(("wavenumber", "wavenumbers", "cm-1", "cm^-1", "cm⁻¹", "1/cm", "percm"), 1e7),
    "mhz": 299_792_458e3, "ghz": 299_792_458.0, "thz": 299_792.458,
}  # fmt: skip
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
    rf"(?:x|(?:wavelength|lambda|wl|wvl)[\s_:=]*)?({_NUMBER})", re.I,
)  # fmt: skip
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
        known = {
            name: ("band", values) for name, values in columns.items() if values is not None
        }
        return cube.assign_coords(known)


def to_nanometres(
    values: npt.ArrayLike, unit: str | None
) -> tuple[Floats | None, tuple[str, ...]]:
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
    known = _plain_unit(unit)
    if not np.isfinite(numbers).all() or (numbers <= 0).any():
        return None, ("Wavelengths that are not positive numbers were left out.",)
    if known in _NO_LENGTH:
        name = shorten(unit or "", 40)
        return None, (f"Band positions in the unit {name!r} are not wavelengths.",)
    nm = _known_nm(numbers, known)
    if nm is not None and _possible(nm):
        return nm, ()
    return _guessed(numbers, shorten(unit or "", 40) if nm is not None else None)


def _known_nm(numbers: Floats, unit: str) -> Floats | None:
    """Convert wavelengths, wavenumbers or frequencies to nm; None if the unit is unknown."""
    if unit in _PER_NM:
        return np.asarray(np.round(_PER_NM[unit] / numbers, 6))
    factor = _FACTORS.get(unit)
    return None if factor is None else _scaled(numbers, factor)


def _guessed(numbers: Floats, unit: str | None) -> tuple[Floats | None, tuple[str, ...]]:
    """Convert wavelengths by the first unit that makes them possible."""
    span = f"{numbers.min():.10g} to {numbers.max():.10g}"
    if len(numbers) > 1 and np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        return None, ("Wavelengths that only count the bands were left out.",)
    if unit is None:
        reason = "Wavelengths have no unit"
    else:
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
    widths: npt.ArrayLike,
    wavelengths: npt.ArrayLike,
    centres: Floats,
    unit: str | None = None,
) -> tuple[Floats | None, tuple[str, ...]]:
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
    own = _FACTORS.get(_plain_unit(unit))
    if own is not None:
        nm = _scaled(values, own)
    else:
        factor = centres / np.asarray(wavelengths, dtype=np.float64)
        nm = values if (np.round(factor, 9) == 1.0).all() else _scaled(values, factor)
    return _possible_widths(nm, centres)


def _possible_widths(nm: Floats, centres: Floats) -> tuple[Floats | None, tuple[str, ...]]:
    """Multiply or divide widths by 1000 if only that makes them possible."""
    gaps = np.diff(np.sort(centres))
    apart = float(np.median(gaps)) if len(gaps) else 0.0
    least = max(_LEAST_WIDTH_NM, min(apart / 50, _NARROW))
    narrow = nm < (least if np.median(nm) < least else _LEAST_WIDTH_NM)
    wide = nm > centres
    read = np.where(narrow, nm * 1e3, np.where(wide, nm / 1e3, nm))
    if not (narrow | wide).any():
        return nm, ()
    stated = " to ".join(dict.fromkeys(f"{one:.6g}" for one in (nm.min(), nm.max())))
    if ((read < _LEAST_WIDTH_NM) | (read > centres)).any():
        if (nm >= _LEAST_WIDTH_NM).all() and not wide.any():
            return nm, ()
        return None, (f"Widths (FWHM) of {stated} nm are impossible and were left out.",)
    read = np.asarray(np.round(read, 9), dtype=np.float64)
    taken = " to ".join(dict.fromkeys(f"{one:.6g}" for one in (read.min(), read.max())))
    return read, (
        f"Widths (FWHM) of {stated} nm are impossible and were taken as {taken} nm.",
    )


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


def _source(
    place: str,
    texts: Sequence[str],
    unit: str | Sequence[str | None] | None,
    widths: Floats | None = None,
    width_unit: str | None = None,
) -> tuple[_Source | None, tuple[str, ...]]:
    """Parse the wavelengths of one place; None if they are unusable, with notes."""
    written = [_decimal(text) for text in texts]
    numbers = np.array([float(one) for one in written], dtype=np.float64)
    if isinstance(unit, str) or unit is None:
        centres, notes = to_nanometres(numbers, unit)
    else:
        each = [
            _known_nm(number, _plain_unit(one))
            for number, one in zip(numbers, unit, strict=True)
        ]
        known = [
            number if nm is None else nm for number, nm in zip(numbers, each, strict=True)
        ]
        centres, notes = to_nanometres(known, "nm")
    if centres is None:
        return None, notes
    steps = [10.0 ** int(one.as_tuple().exponent) for one in written if one.is_finite()]
    factor = centres / numbers
    exact = float((np.array(steps) * factor).min())
    digits = max(len(one.as_tuple().digits) for one in written)
    with np.errstate(divide="ignore"):
        last = 10.0 ** (np.floor(np.log10(np.abs(numbers))) - digits + 1)
    width, more = (
        (None, ()) if widths is None else widths_in_nm(widths, numbers, centres, width_unit)
    )
    rounded = np.maximum(exact, last * factor)
    return _Source(place, centres, exact, rounded, width, (*notes, *more)), ()


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("nan")


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
    notes: list[str] = []
    whole = {normalized_key(key): text for key, text in envi.items()}
    each = [{normalized_key(key): text for key, text in tags.items()} for tags in bands]
    sources: list[_Source] = []
    useless: list[str] = []
    for source, source_notes in _places(whole, each, names, count, notes):
        useless += source_notes
        sources += [source] if source is not None else []
    chosen, more = _most_exact(sources)
    bbl = _listed(whole, GOOD, count, notes)
    bad = _flagged(each) if bbl is None else np.asarray(bbl == 0)
    numbers = band_numbers(_listed(whole, NUMBERS[:2], count, notes))
    if chosen is None:
        return BandTable(None, None, bad, numbers, tuple(dict.fromkeys(notes + useless)))
    widths = next((one.widths for one in sources if one.widths is not None), None)
    widths = widths if chosen.widths is None else chosen.widths
    return BandTable(chosen.centres, widths, bad, numbers, (*notes, *chosen.notes, *more))


def _places(
    whole: Mapping[str, str],
    each: Sequence[Mapping[str, str]],
    names: Sequence[str | None],
    count: int,
    notes: list[str],
) -> Iterable[tuple[_Source | None, tuple[str, ...]]]:
    """Yield the places that give wavelengths, the usual one first."""
    widths = _listed(whole, WIDTHS, count, notes)
    if _listed(whole, CENTRES, count, notes) is not None:
        key, text = first_present(whole, CENTRES) or ("", "")
        texts, beside = _without_unit(_parts(text))
        unit = beside or (first_present(whole, _LENGTHS) or ("", _unit_of(key)))[1]
        own = first_present(whole, _WIDTH_UNITS)
        yield _source("the header", texts, unit, widths, own[1] if own else None)
    yield from _from_bands(each, notes)
    in_names = _from_names(names)
    if in_names is not None:
        yield in_names


def _most_exact(sources: Sequence[_Source]) -> tuple[_Source | None, tuple[str, ...]]:
    """Return the source with most digits among those that agree with the first."""
    if not sources:
        return None, ()
    first, notes = sources[0], []
    best = first
    for other in sources[1:]:
        apart = np.abs(other.centres - first.centres)
        if (apart > 0.51 * (other.rounded + first.rounded)).any():
            notes.append(
                f"Wavelengths in {other.place} differ from those in {first.place}, which were "
                "taken."
            )
        elif other.exact < 0.5 * best.exact:
            best = other
    if best is not first:
        notes.append(
            f"Wavelengths were taken from {best.place}: {first.place} gives fewer digits."
        )
    return best, tuple(notes)


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
    units = {_plain_unit(one["unit"]) for one in matches if one}
    if not all(matches) or len(units) != 1:
        return list(texts), None
    return [one[1] for one in matches if one], units.pop()


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


def band_numbers(values: npt.ArrayLike | None) -> Ints | None:
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


def _listed(
    whole: Mapping[str, str], names: Iterable[str], count: int, notes: list[str]
) -> Floats | None:
    entry = first_present(whole, names)
    if entry is None:
        return None
    key, text = entry
    values = _flags(text) if key in GOOD else _numbers(text)
    if values is not None and len(values) == count:
        return values
    content = "no list of numbers" if values is None else f"{len(values)} entries"
    note = f"The header's {key} has {content} for {count} bands and was left out."
    if note not in notes:
        notes.append(note)
    return None


def _from_bands(
    bands: Sequence[Mapping[str, str]], notes: list[str]
) -> Iterable[tuple[_Source | None, tuple[str, ...]]]:
    """Yield wavelengths and widths from the tags of the bands, for each key they may have."""
    for name in CENTRES:
        texts = _column(bands, name)
        if texts is None:
            tagged = sum(name in tags for tags in bands)
            if 0 < tagged < len(bands):
                notes.append(
                    f"Only {tagged} of {len(bands)} bands have {name!r}, which was left out."
                )
            continue
        ending = _unit_of(name)
        texts, beside = _without_unit(texts)
        stated = [first_present(tags, UNITS) for tags in bands]
        units = [beside or (one[1] if one and ending is None else ending) for one in stated]
        unit = units[0] if len(set(map(_plain_unit, units))) == 1 else units
        columns = (_column(bands, one) for one in WIDTHS if _unit_of(one) == ending)
        column = next((one for one in columns if one is not None), None)
        widths, in_unit = (None, None) if column is None else _without_unit(column)
        own = first_present(bands[0], _WIDTH_UNITS)
        yield _source(
            "the tags of the bands" if ending is None else f"the tags {name.upper()}",
            texts, unit, None if widths is None else np.array([float(one) for one in widths]),
            in_unit or (own[1] if own else None),
        )  # fmt: skip


def _column(bands: Sequence[Mapping[str, str]], key: str) -> list[str] | None:
    """Return the numbers that all bands have under a key, as text."""
    if not bands or not all(key in tags for tags in bands):
        return None
    texts = [tags[key].strip().strip("{}").strip() for tags in bands]
    try:
        [float(text) for text in _without_unit(texts)[0]]
    except ValueError:
        return None
    return texts


_NO = {"0", "0.0", "false", "no", "bad"}
_YES = {"1", "1.0", "true", "yes", "good"}


def _flagged(bands: Sequence[Mapping[str, str]]) -> Mask | None:
    """Return which bands are marked as bad by their tags; None if no band has a mark."""
    good = [first_present(tags, GOOD) for tags in bands]
    flags = [first_present(tags, _BAD) for tags in bands]
    if not any(good) and not any(flags):
        return None
    not_good = [one is not None and _is_no(one[1]) for one in good]
    bad = [one is not None and not _is_no(one[1]) for one in flags]
    return np.array([one or other for one, other in zip(not_good, bad, strict=True)])


def _is_no(text: str) -> bool:
    word = text.strip().strip("{}").strip().lower()
    try:
        return float(word) == 0
    except ValueError:
        return word in _NO


def _from_names(
    names: Sequence[str | None],
) -> tuple[_Source | None, tuple[str, ...]] | None:
    """Parse wavelengths in the names of all bands, such as ``Band 1 (450.5 Nanometers)``."""
    if len(names) < 2 or not all(names):
        return None
    cut = [str(name)[:_LONGEST_NAME] for name in names]
    matches = [_IN_NAME.search(name) for name in cut]
    units: list[str | None]
    if all(matches):
        texts = [_middle(one) for one in matches if one]
        units = [one["unit"] for one in matches if one]
    else:
        bare = [_BARE.fullmatch(name.strip()) for name in cut]
        if not all(bare):
            return None
        texts = [one[1] or one[2] for one in bare if one]
        units = [None] * len(texts)
        if not _are_wavelengths(np.array([float(text) for text in texts])):
            return None
    if len(set(texts)) < len(texts):
        return None
    unit = units[0] if len(set(map(_plain_unit, units))) == 1 else units
    source, notes = _source("the names of the bands", texts, unit)
    if source is not None:
        note = "Wavelengths were taken from the names of the bands."
        source = replace(source, notes=(note, *source.notes))
    return source, notes


def _middle(match: re.Match[str]) -> str:
    """Return the number in a name, or the middle of a range such as ``450-520 nm``."""
    if not match["low"]:
        return match["high"]
    return str((Decimal(match["low"]) + Decimal(match["high"])) / 2)


def _are_wavelengths(numbers: Floats) -> bool:
    """Tell whether bare numbers are wavelengths rather than counts, years or dates."""
    steps = np.diff(numbers)
    whole = bool((numbers == np.floor(numbers)).all())
    years = whole and _YEARS[0] <= numbers.min() and numbers.max() <= _YEARS[1]
    ordered = bool((steps > 0).all() or (steps < 0).all())
    nm = bool((numbers >= 300).all() and (numbers <= 15_000).all())
    micrometres = not whole and bool((numbers >= 0.3).all() and (numbers <= 15).all())
    return ordered and not years and (nm or micrometres)


def only_wavelengths(names: Sequence[str | None]) -> bool:
    """Tell whether names of bands consist only of a number and a wavelength.

    Examples
    --------
    >>> only_wavelengths(["450.5 nm", "Band 2 (550 nm)"]), only_wavelengths(["red (650 nm)"])
    (True, False)
    """
    cut = [str(name or "")[:_LONGEST_NAME] for name in names]
    rest = (_IN_NAME.sub("", name).strip() for name in cut)
    return all(map(_IN_NAME.search, cut)) and all(map(_COUNTED.fullmatch, rest))


def _braced(values: Array, *, whole: bool = False) -> str:
    listed = (str(int(value)) if whole else repr(float(value)) for value in values)
    return "{" + ", ".join(listed) + "}"


def band_tags(table: BandTable) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the ENVI tags of a dataset and the IMAGERY tags of each band.

    Write them with ``dataset.update_tags(ns="ENVI", **tags)`` and
    ``dataset.update_tags(number, ns="IMAGERY", **tags)``; :func:`bands_from_tags` reads them.
    """
    envi: dict[str, str] = {}
    bands: list[dict[str, str]] = []
    if table.wavelengths is not None:
        envi |= {"wavelength": _braced(table.wavelengths), "wavelength_units": "Nanometers"}
        bands = [{"CENTRAL_WAVELENGTH_UM": f"{x / 1e3:.9g}"} for x in table.wavelengths]
    if table.fwhm is not None:
        envi["fwhm"] = _braced(table.fwhm)
        for tags, width in zip(bands, table.fwhm, strict=False):
            tags["FWHM_UM"] = f"{width / 1e3:.9g}"
    if table.bad is not None:
        envi["bbl"] = _braced(~table.bad, whole=True)
    if table.numbers is not None:
        envi["band_numbers"] = _braced(table.numbers, whole=True)
    return envi, bands
