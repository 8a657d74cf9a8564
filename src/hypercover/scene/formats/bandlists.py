"""Band numbers, wavelengths and widths that lie beside a cube as named lists."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hypercover.scene.formats.members import Member
from hypercover.scene.spectral import (
    BandTable,
    Values,
    band_numbers,
    to_nanometres,
    widths_in_nm,
)

__all__ = ["band_table", "is_band_list"]

_NUMBERS = {"band", "bands", "band_number", "band_numbers", "channel", "channels"}
_CENTRES = {"wavelength", "wavelengths", "wl", "wvl", "wave", "lambda", "wavelength_nm",
            "wavelengths_nm", "wavelength_um", "center_wavelength", "center_wavelengths",
            "centre_wavelength", "centre_wavelengths", "sensor_band_wavelengths"}  # fmt: skip
_WIDTHS = {"fwhm", "fwhms", "fwhm_nm", "bandwidth", "bandwidths"}
_GOOD = {"bbl", "good_wavelengths", "good_bands"}
_LOWEST_CENTRE = 300.0
"""A list called ``bands`` that starts above this holds wavelengths in nm."""


def _key(member: Member) -> str:
    return member.name.rsplit("/", 1)[-1].lower()


def is_band_list(member: Member) -> bool:
    """Tell whether an array is a list with one entry per band, by its name and shape."""
    return (
        member.is_numeric
        and (len(member.flat_shape) == 1 or member.shape == (1,))
        and _key(member) in _NUMBERS | _CENTRES | _WIDTHS | _GOOD
    )


def _lists(members: Sequence[Member], count: int) -> dict[str, Member]:
    return {
        _key(one): one
        for one in members
        if is_band_list(one) and (count,) in (one.flat_shape, one.shape)
    }


def _first(
    found: dict[str, Member], names: set[str]
) -> tuple[Member, npt.NDArray[np.generic]] | None:
    for key in sorted(names & set(found)):
        return found[key], found[key].values().reshape(-1)
    return None


def band_table(members: Sequence[Member], count: int) -> BandTable:
    """Read what the lists beside a cube of so many bands say about its bands."""
    found = _lists(members, count)
    numbers = _first(found, _NUMBERS)
    centres = _first(found, _CENTRES)
    widths, good = _first(found, _WIDTHS), _first(found, _GOOD)
    if centres is None and numbers is not None and _are_centres(numbers[1]):
        centres, numbers = numbers, None
    nm, notes = _in_nm(*centres) if centres else (None, ())
    counted = None if numbers is None else band_numbers(numbers[1])
    used = [pair[0].name for pair in (numbers, centres, widths, good) if pair]
    if used:
        listed = ", ".join(repr(name) for name in used)
        notes = (f"Band lists beside the image: {listed}.", *notes)
    return BandTable(
        nm,
        None if widths is None or nm is None or centres is None
        else _widths_in_nm(widths, centres[1], nm),
        None if good is None else np.asarray(good[1] == 0),
        counted,
        notes,
    )  # fmt: skip


def _are_centres(values: npt.NDArray[np.generic]) -> bool:
    return bool(np.asarray(values, dtype=np.float64).min() > _LOWEST_CENTRE)


def _unit(member: Member) -> str | None:
    key = _key(member)
    if key.endswith(("_nm", "_um")):
        return key[-2:]
    unit = member.attribute("units", "unit")
    return unit if isinstance(unit, str) else None


def _in_nm(
    member: Member, values: npt.NDArray[np.generic]
) -> tuple[Values | None, tuple[str, ...]]:
    return to_nanometres(values, _unit(member))


def _widths_in_nm(
    widths: tuple[Member, npt.NDArray[np.generic]],
    centres: npt.NDArray[np.generic],
    nm: Values,
) -> Values | None:
    """Widths in the unit named for them, else in that of the centres."""
    if _unit(widths[0]):
        return _in_nm(*widths)[0]
    return widths_in_nm(widths[1], centres, nm)
