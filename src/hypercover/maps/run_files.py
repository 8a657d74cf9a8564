"""Files that a run leaves, read back and checked."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypercover.errors import CallError
from hypercover.files import DamageError, read_sealed

__all__ = ["LENIENT", "Range", "Share", "Whole", "read_part"]

_BIGGEST = 64 * 2**20
"""Bytes of the largest file that is read."""
Share = float | None
Range = tuple[float, float] | None
"""Lower and upper end, where both are known."""
Whole = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""A whole number that a float holds exactly, as everything that formats it expects."""
LENIENT = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
"""How the objects of a file are read: unknown keys are left alone, no value is NaN."""

Part = TypeVar("Part", bound=BaseModel)


def read_part(path: Path, part: type[Part], *, again: str) -> Part:
    """Read a JSON file that a run leaves.

    Raises
    ------
    CallError
        If it is too large, no JSON, or not what a run leaves; the sentence ends
        with what to do ``again``.
    """
    if path.stat().st_size > _BIGGEST:
        raise CallError(
            f"{path} is larger than {_BIGGEST // 2**20} MiB, which no run leaves; give "
            "the folder of a run."
        )
    try:
        return part.model_validate(read_sealed(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        reason = f"{first['msg']} at {place}"
    except DamageError as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"it is not JSON ({error})"
    raise CallError(f"{path} is not what a run leaves: {reason}; {again}.")
