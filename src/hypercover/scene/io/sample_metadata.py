"""Metadata of samples: the typed entries that window files and LIBSVM positions files share."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
from pydantic import AfterValidator, BaseModel, Field, PlainSerializer, PlainValidator

from hypercover.errors import CallError
from hypercover.scene.grid import Grid
from hypercover.scene.io.gdal import crs_wkt
from hypercover.scene.legend import Legend
from hypercover.types import Floats, Ints

_MAX_BANDS = 2**20


def check_crs(text: str) -> str:
    """Return a coordinate reference system; raise ValueError unless it is WKT."""
    if crs_wkt(text) is None:
        raise ValueError(f"the coordinate system {text[:40]!r} is not WKT")
    return text


def _legend(value: Any) -> Legend:
    try:
        return value if isinstance(value, Legend) else Legend.from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError("it is not a list of classes with code, name and color") from error


_Number = Annotated[float, Field(gt=-1e300, lt=1e300, allow_inf_nan=False)]
_Band = Annotated[int, Field(ge=1, lt=2**63)]

Text = Annotated[str, Field(max_length=2**16)]
Texts = Annotated[tuple[Text, ...], Field(max_length=_MAX_BANDS)]
Numbers = Annotated[tuple[_Number, ...], Field(max_length=_MAX_BANDS)]
"""One finite number for each band."""
BandNumbers = Annotated[tuple[_Band, ...], Field(min_length=1, max_length=_MAX_BANDS)]
"""Numbers of the bands in the source of the scene, from 1."""
Side = Annotated[int, Field(ge=1, le=2**24)]
"""Rows or columns of a scene."""
Crs = Annotated[Text, AfterValidator(check_crs)]
"""Coordinate reference system as WKT."""
Transform = tuple[_Number, _Number, _Number, _Number, _Number, _Number]
ValueType = Annotated[str, Field(pattern="^(u?int(8|16|32|64)|float(16|32|64))$")]
"""Name of a NumPy type."""
LegendEntry = Annotated[
    Legend, PlainValidator(_legend), PlainSerializer(lambda legend: legend.to_json())
]

_Model = TypeVar("_Model", bound=BaseModel)


def unusable(
    file: Path, what: str, why: str, remedy: str, error: type[CallError] = CallError
) -> CallError:
    """Return the error of a damaged or contradictory file."""
    return error(f"The {what} {file} cannot be used: {why}; {remedy}.")


def validated(model: type[_Model], entries: Mapping[str, Any] | str) -> _Model:
    """Validate the entries of a file, or its JSON; the error names the entry and the fault.

    Raises
    ------
    ValueError
    """
    try:
        if isinstance(entries, str):
            return model.model_validate_json(entries)
        return model.model_validate(entries)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = str(first.get("ctx", {}).get("error", first["msg"]))
        if not first["loc"]:
            raise ValueError(why) from error
        why = f"{why[0].lower()}{why[1:100]}"
        raise ValueError(f"its entry {str(first['loc'][0])!r} is wrong: {why}") from error


def check_lengths(count: int, of: str, columns: Iterable[tuple[str, Any]]) -> None:
    """Raise ValueError for a named column that is known but not of this length."""
    for name, column in columns:
        if column is not None and len(column) != count:
            found = len(column)
            raise ValueError(f"its entry {name!r} has {found} values for {count} {of}")


def check_pixels(rows: Ints, cols: Ints, grid: Grid) -> None:
    """Raise ValueError unless rows and columns (n,) are distinct pixels of the grid."""
    for key, given, side in (("rows", rows, grid.rows), ("cols", cols, grid.cols)):
        if len(given) and not 0 <= given.min() <= given.max() < side:
            raise ValueError(f"its {key} are not whole numbers below {side}")
    if len(np.unique(rows * grid.cols + cols)) < len(rows):
        raise ValueError("two samples lie on one pixel")


def known_values(values: Floats | None) -> tuple[float, ...] | None:
    """Return the value of every band, or None unless all of them are known."""
    if values is None or not np.isfinite(values).all():
        return None
    return tuple(values.tolist())
