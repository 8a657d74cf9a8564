"""Wavelengths, widths and bad bands: how files write them and how a cube keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

__all__ = ["BandTable", "Values", "band_numbers", "band_tags", "from_tags", "to_nanometres",
           "widths_in_nm"]  # fmt: skip

Values = npt.NDArray[np.float64]

_FACTORS = {
    "nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometers": 1e3, "micrometer": 1e3, "micrometres": 1e3, "micrometre": 1e3,
    "microns": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "millimeters": 1e6, "millimetres": 1e6, "mm": 1e6, "meters": 1e9, "metres": 1e9,
    "m": 1e9, "angstroms": 0.1, "angstrom": 0.1, "å": 0.1,
}  # fmt: skip
_NO_LENGTH = {"index", "wavenumber", "ghz", "mhz", "cm-1"}
_MOST_NUMBER = 2**31
"""Band numbers below this are believed."""
_MICROMETRES_BELOW = 100.0
"""Numbers below this are micrometres where no unit is given: 0.4 to 14 µm."""


@dataclass(frozen=True, eq=False)
class BandTable:
    """What a file says about its bands; None where it says nothing."""

    wavelengths: Values | None = None
    """Centre of each band in nm."""
    fwhm: Values | None = None
    """Full width at half maximum of each band in nm."""
    bad: npt.NDArray[np.bool_] | None = None
    """Whether each band is marked as bad."""
    numbers: npt.NDArray[np.int64] | None = None
    """Number of each band as counted by the instrument or the full image, from 1."""
    notes: tuple[str, ...] = ()
    """What had to be guessed or was left out."""

    def on(self, cube: xr.DataArray) -> xr.DataArray:
        """Return the cube with these values as coordinates of its bands."""
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
) -> tuple[Values | None, tuple[str, ...]]:
    """Turn wavelengths of any unit into nm, with a note where the unit was guessed.

    Examples
    --------
    >>> to_nanometres([0.4, 2.5], "Micrometers")[0].tolist()
    [400.0, 2500.0]
    >>> to_nanometres([0.4, 2.5], None)[1]
    ('Wavelengths carry no unit and were taken as micrometres.',)
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = (unit or "").strip().lower()
    if not np.isfinite(numbers).all() or (numbers <= 0).any():
        return None, ("Wavelengths that are not positive numbers were left out.",)
    if known in _NO_LENGTH:
        return None, (f"Band positions in the unit {unit!r} are no wavelengths.",)
    if known in _FACTORS:
        return _scaled(numbers, _FACTORS[known]), ()
    small = bool(numbers.max() < _MICROMETRES_BELOW)
    guessed = "micrometres" if small else "nm"
    note = f"Wavelengths carry no unit and were taken as {guessed}."
    return _scaled(numbers, 1e3 if small else 1.0), (note,)


def _scaled(numbers: Values, factor: float) -> Values:
    """Multiply without the tail of digits that 0.4 × 1000 would leave."""
    return numbers if factor == 1.0 else np.round(numbers * factor, 9)


def _numbers(text: str) -> Values | None:
    """Read ``{1, 2, 3}``; None where it is not a list of numbers."""
    parts = text.strip().strip("{}").replace("\n", " ").split(",")
    try:
        return np.array([float(part) for part in parts if part.strip()])
    except ValueError:
        return None


def from_tags(
    envi: Mapping[str, str], bands: Sequence[Mapping[str, str]], count: int
) -> BandTable:
    """Read the band table of a raster from the tags GDAL gives.

    Parameters
    ----------
    envi : mapping
        Dataset tags of the namespace ``ENVI``: whole lists in braces.
    bands : sequence of mappings
        For each band its tags, those of the namespace ``IMAGERY`` included.
    count : int
        Number of bands; lists of another length are left out with a note.
    """
    notes: list[str] = []
    unit = envi.get("wavelength_units")
    wavelengths = _listed(envi, "wavelength", count, notes)
    fwhm = _listed(envi, "fwhm", count, notes)
    bbl = _listed(envi, "bbl", count, notes)
    if wavelengths is None:
        wavelengths, fwhm, unit = _from_bands(bands)
    centres, more = (
        to_nanometres(wavelengths, unit) if wavelengths is not None else (None, ())
    )
    widths = None
    if fwhm is not None and centres is not None and wavelengths is not None:
        widths = widths_in_nm(fwhm, wavelengths, centres)
    bad = None if bbl is None else np.asarray(bbl == 0)
    numbers = band_numbers(_listed(envi, "band_numbers", count, notes))
    return BandTable(centres, widths, bad, numbers, (*notes, *more))


def band_numbers(values: npt.ArrayLike | None) -> npt.NDArray[np.int64] | None:
    """Return a list as band numbers, if it holds distinct whole numbers from 1.

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


def widths_in_nm(
    widths: npt.ArrayLike, wavelengths: npt.ArrayLike, centres: Values
) -> Values | None:
    """Scale widths as the wavelengths beside them became centres in nm.

    None where a width is no positive number.
    """
    values = np.asarray(widths, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        return None
    factor = float(centres[0] / np.asarray(wavelengths, dtype=np.float64)[0])
    return _scaled(values, 1.0 if abs(factor - 1) < 1e-9 else round(factor, 9))


def _listed(
    envi: Mapping[str, str], key: str, count: int, notes: list[str]
) -> Values | None:
    if key not in envi:
        return None
    values = _numbers(envi[key])
    if values is not None and len(values) == count:
        return values
    found = "no list of numbers" if values is None else f"{len(values)} entries"
    notes.append(f"The header's {key} holds {found} for {count} bands and was left out.")
    return None


def _from_bands(
    bands: Sequence[Mapping[str, str]],
) -> tuple[Values | None, Values | None, str | None]:
    """Wavelengths and widths from the tags of each band, and their unit."""
    for centre, width, unit in (
        ("CENTRAL_WAVELENGTH_UM", "FWHM_UM", "um"),
        ("wavelength", "fwhm", None),
    ):
        centres = _column(bands, centre)
        if centres is not None:
            found = unit or bands[0].get("wavelength_units") or bands[0].get("units")
            return centres, _column(bands, width), found
    return None, None, None


def _column(bands: Sequence[Mapping[str, str]], key: str) -> Values | None:
    if not bands or not all(key in tags for tags in bands):
        return None
    try:
        return np.array([float(tags[key]) for tags in bands])
    except ValueError:
        return None


def _braced(values: npt.NDArray[Any], *, whole: bool = False) -> str:
    listed = (str(int(value)) if whole else repr(float(value)) for value in values)
    return "{" + ", ".join(listed) + "}"


def band_tags(table: BandTable) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the ENVI tags of a dataset and the IMAGERY tags of each band.

    Written with ``dataset.update_tags(ns="ENVI", **tags)`` and
    ``dataset.update_tags(number, ns="IMAGERY", **tags)``; :func:`from_tags`
    reads both back.
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
