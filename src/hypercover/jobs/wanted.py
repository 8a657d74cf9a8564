"""What is asked of a batch system for each element of a job array."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from hypercover.memory import bytes_of

__all__ = ["Wanted", "clock", "seconds_of"]

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SPOKEN = re.compile(r"(\d{1,6}) ?(s|min|h|d)")
_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,5}):(\d{1,2})(?::(\d{1,2}))?")


def seconds_of(text: Any) -> int:
    """Return the seconds of a time limit as people and batch systems write it.

    Raises
    ------
    ValueError
        If it is none of those, or nothing.

    Examples
    --------
    >>> [seconds_of(text) for text in ("30min", "2 h", "01:30:00", "1-12:00", "90")]
    [1800, 7200, 5400, 129600, 5400]
    """
    # A number is refused: YAML reads 2:00:00 as one, and means seconds.
    given = text if isinstance(text, str) else ""
    spoken, read = _SPOKEN.fullmatch(given), _CLOCK.fullmatch(given)
    if given.isdecimal() and len(given) < 8:
        seconds = int(given) * 60
    elif spoken is not None:
        seconds = int(spoken[1]) * _UNITS[spoken[2]]
    elif read is not None:
        days, hours, minutes, rest = (int(part or 0) for part in read.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    else:
        seconds = 0
    if seconds < 1:
        raise ValueError(
            f"must be a text such as 30min, 2h or '01:30:00', not {str(text)[:40]!r}"
        )
    return seconds


def clock(seconds: int) -> str:
    """Write a time limit as every batch system reads it.

    Examples
    --------
    >>> clock(129_600), clock(90)
    ('36:00:00', '00:01:30')
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _bytes(text: Any) -> int:
    """Return the bytes of a size such as 4GiB."""
    return bytes_of(text if isinstance(text, str) else str(text))


def _one_line(text: str) -> str:
    """Refuse what could end a comment and begin a command."""
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("must be one line")
    return text


_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,@:+/-]{0,100}$")]
_Line = Annotated[str, Field(max_length=200, pattern="^-"), AfterValidator(_one_line)]
_Limit = Annotated[int, BeforeValidator(seconds_of), PlainSerializer(clock)]
_Memory = Annotated[int, BeforeValidator(_bytes), PlainSerializer(lambda size: f"{size}B")]


class Wanted(BaseModel):
    """What each element of a job array is given, and how it is sent.

    Why it exists: one description for every batch system, kept beside the scripts
    so that what is missing can be sent again in the same way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: _Word | None = None
    """Partition (Slurm) or queue (PBS)."""
    account: _Word | None = None
    """Account that is charged."""
    time: Annotated[_Limit, Field(ge=60, le=10**8)] | None = None
    """Time limit of an element in seconds."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs of a machine, for what trains and maps with networks."""
    cpus: Annotated[int, Field(ge=1, le=4096)] = 1
    """Cores of a machine."""
    memory: Annotated[_Memory, Field(ge=2**20)] | None = None
    """Bytes of memory of a machine."""
    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines that train a network together."""
    array_chunk: Annotated[int, Field(ge=1)] | None = None
    """Tasks of an element; None: as many as take some minutes."""
    modules: tuple[_Word, ...] = ()
    """Environment modules to load."""
    directives: tuple[_Line, ...] = ()
    """More options of the batch system, as they stand in a script."""
