"""The card of a model: what it was made for, as it stands in ``model.json``.

A card may come from a stranger, so what computes with it is typed and bounded here;
what a maker noted beside that is kept as it is.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from hypercover.errors import ModelError

__all__ = ["Card", "check_card"]

_MOST_BANDS = 1_000_000
_LARGEST = 1e30
"""No wavelength, scale or value of a pixel is larger."""

_Finite = Annotated[
    float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False, strict=True)
]
_Positive = Annotated[float, Field(gt=0, le=_LARGEST, allow_inf_nan=False, strict=True)]
_Number = Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]


def _each(kind: Any) -> Any:
    """Return the type of one entry for each band."""
    return Annotated[list[kind], Field(max_length=_MOST_BANDS)]


class Card(BaseModel):
    """What a card says of the image that its model was trained on; all may be left out."""

    model_config = ConfigDict(extra="allow", frozen=True)

    bands: _each(_Number) | None = None  # type: ignore[valid-type]
    """Numbers of the bands in their file, in the model's order."""
    wavelengths: _each(_Positive | None) | None = None  # type: ignore[valid-type]
    """Centre of each band in nm; None where it is not known."""
    fwhm: _each(_Finite | None) | None = None  # type: ignore[valid-type]
    """Width of each band in nm."""
    band_names: _each(str) | None = None  # type: ignore[valid-type]
    """Name of each band."""
    scale: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Quantity for each step of a band's numbers."""
    offset: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Quantity where a band's number is 0."""
    value_ranges: _each(tuple[_Finite, _Finite, _Finite]) | None = None  # type: ignore[valid-type]
    """Quantiles of 1, 50 and 99 % of the labelled pixels' numbers in each band."""
    window: Annotated[StrictInt, Field(ge=1, le=2**12)] | None = None
    """Side of the windows in pixels."""


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card whose entries are out of range or of another type.

    Raises
    ------
    ModelError
        It names the first entry that is.

    Examples
    --------
    >>> check_card({"bands": [10**19]})
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: The model's bands (entry 1) are out of range or of another type: input should be less than 2147483648; save the model again.
    """
    try:
        Card.model_validate(dict(card))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = [part for part in first["loc"] if isinstance(part, int | str)]
        entries = [part + 1 for part in place[1:] if isinstance(part, int)]
        where = f" (entry {entries[0]})" if entries else ""
        said = first["msg"][:80]
        raise ModelError(
            f"The model's {str(place[0])[:40]}{where} are out of range or of another type: "
            f"{said[0].lower()}{said[1:]}; save the model again."
        ) from error
