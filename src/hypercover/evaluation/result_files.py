"""JSON files of results: the base of their models, the types of their fields, and a reader."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from hypercover.errors import CallError
from hypercover.files import DamageError, read_checksummed

_MAX_BYTES = 64 * 2**20


def _keep_integer(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate a number without turning a count of 3 into 3.0."""
    checked = validate(value)
    return value if type(value) is int else checked


Integer = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""An integer that a float represents exactly."""
_AS_IT_IS = PlainSerializer(lambda value: value, return_type=Any)
Number = Annotated[float, WrapValidator(_keep_integer), _AS_IT_IS]
"""A finite number; integers stay integers."""
NonNegative = Annotated[float, Field(ge=0), WrapValidator(_keep_integer), _AS_IT_IS]
"""A finite number of at least 0."""
Share = float | None
"""A share from 0 to 1; None where it is undefined."""
Range = tuple[float, float] | None
"""Lower and upper end; None where they are unknown."""


class ResultModel(BaseModel):
    """One object of a result file.

    Reading is lenient: unknown keys are ignored and missing ones take defaults, so files
    of other versions still open.  Values are checked, and NaN and infinity are refused.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return the object as plain values, with the keys that were set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


Model = TypeVar("Model", bound=ResultModel)


def read_result_file(path: Path, model: type[Model], *, remedy: str) -> Model:
    """Read and check a JSON file that a run wrote.

    Raises
    ------
    CallError
        If the file is too large, is not JSON, was changed, or does not fit the model;
        the message ends with the ``remedy``.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise CallError(
            f"{path} is larger than {_MAX_BYTES // 2**20} MiB, which no run writes; give "
            "the folder of a run."
        )
    try:
        return model.model_validate(read_checksummed(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        reason = f"{first['msg']} at {place}"
    except DamageError as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"it is not JSON ({error})"
    raise CallError(f"{path} is not a valid result file: {reason}; {remedy}.")
