"""What every part of an experiment file is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Count", "Name", "Positive", "Share", "Spec"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spec(BaseModel):
    """A part of an experiment file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
