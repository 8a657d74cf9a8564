"""The resources of an element of a job array: time, memory, cores, GPUs."""

import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from hypercover.errors import CallError
from hypercover.memory import parse_size

_MIN_SECONDS, _MAX_SECONDS = 60, 10**8
"""Bounds of a time limit."""
_MIN_MEMORY = 2**20
"""Bytes."""
_MAX_DIRECTIVE = 200
"""Characters of a directive."""
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_NUMBER_AND_UNIT = re.compile(r"(\d{1,6}) ?(s|min|h|d)")
_CLOCK = re.compile(r"(?:(\d{1,3})-|(?=\d+:\d+:))(\d{1,5}):(\d{1,2})(?::(\d{1,2}))?")
"""Hours and minutes alone are refused: batch systems read 2:30 as minutes and seconds."""
_RESOURCES = re.compile(
    r"--(begin|clusters|cluster-constraint|comment|constraint|cpu-bind|deadline|distribution|"
    r"exclude|exclusive|gpu-bind|gres|hint|licenses|mail-type|mail-user|mem-bind|nice|"
    r"nodelist|no-requeue|ntasks-per-[a-z]+|priority|qos|requeue|reservation|"
    r"sockets-per-node|switches|threads-per-core|time-min|tmp)([ =][^ /]*)?"
    r"|-[ACLMPaqlmpx]( [^ /]*)?|-W group_list=[^ /]*|-[hr]( [yn])?"
)
"""Directives that request resources or notifications, without paths and programs."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,@:+/-]{0,100}")


def parse_time(text: Any) -> int:
    """Return the seconds of a time limit as users and batch systems write it.

    Raises
    ------
    ValueError
        If the text is not a time, or the time is 0.

    Examples
    --------
    >>> [parse_time(text) for text in ("30min", "2 h", "01:30:00", "1-12:00", "90")]
    [1800, 7200, 5400, 129600, 5400]
    """
    # Numbers are refused: YAML reads 2:00:00 as a number of seconds.
    given = text if isinstance(text, str) else ""
    unit, clock = _NUMBER_AND_UNIT.fullmatch(given), _CLOCK.fullmatch(given)
    if given.isdecimal() and len(given) < 8:
        seconds = int(given) * 60
    elif unit is not None:
        seconds = int(unit[1]) * _UNITS[unit[2]]
    elif clock is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    else:
        seconds = 0
    if seconds < 1:
        raise ValueError(
            f"must be a text such as 30min, 2h or '01:30:00', not {str(text)[:40]!r}"
        )
    return seconds


def format_time(seconds: int) -> str:
    """Write a time limit in the form that every batch system reads.

    Examples
    --------
    >>> format_time(129_600), format_time(90)
    ('36:00:00', '00:01:30')
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def warning_seconds(limit: int) -> int:
    """Return how many seconds before its time limit a job is warned.

    Examples
    --------
    >>> warning_seconds(3600), warning_seconds(60)
    (120, 15)
    """
    return min(120, limit // 4)


def _bytes(text: Any) -> int:
    """Return the bytes of a size such as 4GiB; 0 for ``none``, which requests no memory."""
    size = 0 if text == "none" else parse_size(str(text))
    if 0 < size < _MIN_MEMORY:
        raise ValueError(f"must be 1MiB at least, or none, got {str(text)[:40]!r}")
    return size


def _limit(text: Any) -> int:
    """Return the seconds of a time limit within bounds."""
    seconds = parse_time(text)
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise ValueError("must be a minute at least and three years at most")
    return seconds


def _word(text: str) -> str:
    """Refuse what a shell or a batch system would not read as a single name."""
    if not _WORD.fullmatch(text):
        raise ValueError(
            "must be one word that begins with a letter or digit, of those and _ . , @ : + / -"
        )
    return text


def _option(text: str) -> str:
    """Refuse what is not an option, or could end a comment and begin a command."""
    if not text.startswith("-") or len(text) > _MAX_DIRECTIVE or not text.isprintable():
        raise ValueError(
            f"must be an option of one line that begins with -, of {_MAX_DIRECTIVE} letters at most"
        )
    return text


def check_directives(directives: Sequence[str], source: str) -> None:
    """Refuse directives of a file that could do more than request resources.

    A run folder may come from a stranger, and a directive can name a shell (``-S``), a
    file to overwrite (``--output``), or files to copy.

    Parameters
    ----------
    source : the file, for the message

    Raises
    ------
    CallError
    """
    for directive in directives:
        if not _RESOURCES.fullmatch(directive):
            raise CallError(
                f"{source} holds the directive {directive!r}, which is not accepted from a "
                f"file; if it is yours, repeat it: --directive {shlex.quote(directive)}."
            )


_Word = Annotated[str, AfterValidator(_word)]
_Line = Annotated[str, AfterValidator(_option)]
_Limit = Annotated[int, BeforeValidator(_limit), PlainSerializer(format_time)]
_Memory = Annotated[
    int,
    BeforeValidator(_bytes),
    PlainSerializer(lambda size: f"{size}B" if size else "none"),
]


class JobResources(BaseModel):
    """The resources of each element of a job array, for any batch system.

    They are kept next to the scripts, so that missing tasks are submitted again alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: _Word | None = None
    """Partition (Slurm) or queue (PBS)."""
    account: _Word | None = None
    """Account that is charged."""
    time: _Limit | None = None
    """Time limit of an element in seconds."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs of a machine, for tasks that train or map with networks."""
    cpus: Annotated[int, Field(ge=1, le=4096)] = 1
    """Cores of a machine."""
    memory: _Memory | None = None
    """Bytes of memory of a machine; 0, written ``none``: left to the site."""
    memory_per_cpu: Annotated[_Memory, Field(ge=_MIN_MEMORY)] | None = None
    """Bytes of memory per core, instead of ``memory``."""
    gpu_partition: _Word | None = None
    """Partition or queue of tasks with GPUs; None: ``partition``."""
    gpu_cpus: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Cores of tasks with GPUs; None: ``cpus``."""
    gpu_memory: _Memory | None = None
    """Bytes of memory of tasks with GPUs; None: ``memory``."""
    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines that train a network together."""
    array_chunk: Annotated[int, Field(ge=1)] | None = None
    """Tasks per element; None: as many as take some minutes."""
    modules: tuple[_Word, ...] = ()
    """Environment modules to load."""
    directives: tuple[_Line, ...] = ()
    """More options of the batch system, as written in a script."""

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        """Refuse memory per machine and per core together: systems take one of them."""
        if self.memory and self.memory_per_cpu:
            raise ValueError("memory is given twice; keep one of memory and memory_per_cpu")
        return self

    def share(self, *, gpus: bool) -> "JobResources":
        """Return the resources of tasks with or without GPUs.

        Examples
        --------
        >>> resources = JobResources(partition="main", gpu_partition="gpus", gpus=2, gpu_cpus=8)
        >>> with_gpus = resources.share(gpus=True)
        >>> resources.share(gpus=False).partition, with_gpus.partition, with_gpus.cpus
        ('main', 'gpus', 8)
        """
        if not (gpus and self.gpus):
            return self.model_copy(update={"gpus": 0})
        own = {"partition": self.gpu_partition, "cpus": self.gpu_cpus}
        given: dict[str, Any] = {key: value for key, value in own.items() if value}
        if self.gpu_memory is not None:
            given |= {"memory": self.gpu_memory, "memory_per_cpu": None}
        return self.model_copy(update=given)
