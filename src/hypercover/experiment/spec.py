"""What every part of an experiment file is made of."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Count", "Digest", "Name", "Positive", "Share", "Spec"]


def _name(text: str) -> str:
    """Refuse what would not do as a part of a file name on every system."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError(
            "must be made of 1 to 64 letters from A to Z, digits, dots, dashes and "
            "underscores, the first a letter or a digit"
        )
    return text


def _digest(text: str) -> str:
    """Refuse what is no SHA-256 in hexadecimal."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be a SHA-256: 64 digits from 0 to 9 and a to f")
    return text


Name = Annotated[str, AfterValidator(_name)]
Digest = Annotated[str, AfterValidator(_digest)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spec(BaseModel):
    """A part of an experiment file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
