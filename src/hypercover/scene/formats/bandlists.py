"""Band numbers, wavelengths and widths that lie beside a cube as named lists."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hypercover.scene.formats.members import Member
from hypercover.scene.nodata import plain_key
from hypercover.scene.spectral import (
    CENTRES,
    GOOD,
    NUMBERS,
    UNITS,
    WIDTHS,
    BandTable,
    band_numbers,
    first_of,
    to_nanometres,
    widths_in_nm,
)

__all__ = ["BAND_LISTS", "attribute_lists", "band_table", "is_band_list"]

BAND_LISTS = frozenset({*NUMBERS, *CENTRES, *WIDTHS, *GOOD})
"""Names of lists with an entry for each band, in the spelling of `plain_key`."""
_LOWEST_CENTRE = 300.0
"""A list called ``bands`` that starts above this holds wavelengths in nm."""


def _key(member: Member) -> str:
    return plain_key(member.name.rsplit("/", 1)[-1])


def is_band_list(member: Member) -> bool:
    """Tell whether an array is a list with one entry per band, by its name and shape."""
    return (
        member.is_numeric
        and (len(member.flat_shape) == 1 or member.shape == (1,))
        and _key(member) in BAND_LISTS
    )


def attribute_lists(image: Member) -> list[Member]:
    """Return the band lists that stand in attributes of an image, its groups or its file."""
    said = {**image.around, **image.attrs}
    # The unit of the values is none of the wavelengths.
    units = {
        key: text for key, text in said.items() if plain_key(key) not in {"unit", "units"}
    }
    return [
        Member(key, (len(value),), "f", partial(np.asarray, value, np.float64), attrs=units)
        for key, value in said.items()
        if isinstance(value, tuple) and plain_key(key) in BAND_LISTS
    ]


def _lists(members: Sequence[Member], count: int) -> dict[str, Member]:
    return {
        _key(one): one
        for one in members
        if is_band_list(one) and (count,) in (one.flat_shape, one.shape)
    }


_Found = tuple[Member, npt.NDArray[np.generic]]


def _first(found: dict[str, Member], names: Sequence[str]) -> _Found | None:
    member = first_of(found, names)
    return None if member is None else (member[1], member[1].values().reshape(-1))


def band_table(members: Sequence[Member], count: int) -> BandTable:
    """Read what the lists beside a cube of so many bands say about its bands."""
    found = _lists(members, count)
    numbers, centres = _first(found, NUMBERS), _first(found, CENTRES)
    widths, good = _first(found, WIDTHS), _first(found, GOOD)
    if centres is None and numbers is not None and _are_centres(numbers[1]):
        centres, numbers = numbers, None
    counted = None if numbers is None else band_numbers(numbers[1])
    bad = None if good is None else np.asarray(good[1] == 0)
    used = [pair[0].name for pair in (numbers, centres, widths, good) if pair]
    listed = ", ".join(repr(name) for name in used)
    notes = (f"Band lists beside the image: {listed}.",) if used else ()
    if centres is None:
        return BandTable(None, None, bad, counted, notes)
    nm, more = to_nanometres(centres[1], _unit(centres[0]))
    width = None
    if widths is not None and nm is not None:
        width, said = widths_in_nm(widths[1], centres[1], nm, _unit(widths[0]))
        more = (*more, *said)
    return BandTable(nm, width, bad, counted, (*notes, *more))


def _are_centres(values: npt.NDArray[np.generic]) -> bool:
    return bool(np.asarray(values, dtype=np.float64).min() > _LOWEST_CENTRE)


def _unit(member: Member) -> str | None:
    key = _key(member)
    if key.endswith(("nm", "um")):
        return key[-2:]
    unit = member.attribute(*UNITS)
    return unit if isinstance(unit, str) else None
