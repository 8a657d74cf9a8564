"""The kinds of task that a plan may hold: a closed list that code makes and no file extends.

A plan is read from a run folder, which may come from a stranger.  So a task
names no function; it names a kind, and only the registry of this installation
knows which function that is and which arguments it takes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hypercover.errors import CallError

__all__ = ["Arguments", "Registry", "TaskKind"]

_SHOWN = 60
"""Letters of a hostile file that a message repeats at most."""


class Arguments(BaseModel):
    """The arguments of a kind of task; as it stands, none.

    A subclass adds fields.  They are JSON values that are taken as they are:
    nothing is converted, and an argument that is not named is an error.

    Examples
    --------
    >>> class Square(Arguments):
    ...     number: int
    >>> Square.model_validate({"number": 3})
    Square(number=3)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class TaskKind:
    """What a task of one kind does, and what it is given."""

    function: str
    """``package.module:function``; imported when the first such task is done."""
    arguments: type[Arguments] = Arguments
    """What the function is given besides the run folder."""

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, name = self.function.split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


class Registry:
    """The kinds of task that plans may hold, by name.

    Why it exists: a plan is data, and data of a stranger must not choose what
    code runs.

    Parameters
    ----------
    home : str
        ``package.module:NAME`` by which other processes import this registry.
    kinds : mapping of str to TaskKind

    Examples
    --------
    >>> kinds = Registry("shop:KINDS", {"tidy": TaskKind("shop.work:tidy")})
    >>> kinds.check("tidy", {})
    >>> kinds.check("os.system", {})
    Traceback (most recent call last):
    ...
    hypercover.errors.CallError: There is no kind of task 'os.system'; known are tidy.
    """

    def __init__(self, home: str, kinds: Mapping[str, TaskKind]) -> None:
        self.home = home
        self._kinds = dict(kinds)

    @classmethod
    def at(cls, home: str) -> "Registry":
        """Import a registry by its `home`, which comes from a caller and never from a file.

        Raises
        ------
        CallError
            If there is none.
        """
        module, _, name = home.partition(":")
        try:
            found = getattr(import_module(module), name, None)
        except (ImportError, ValueError):
            found = None
        if not isinstance(found, cls):
            raise CallError(
                f"{home!r} is no registry of tasks; give one such as "
                "hypercover.experiment.task_kinds:REGISTRY."
            )
        return found

    def __getitem__(self, kind: str) -> TaskKind:
        """Return a kind of task by its name.

        Raises
        ------
        CallError
            If there is none of that name.
        """
        found = self._kinds.get(kind)
        if found is None:
            raise CallError(
                f"There is no kind of task {kind[:_SHOWN]!r}; known are "
                f"{', '.join(sorted(self._kinds))}."
            )
        return found

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the kinds."""
        return iter(self._kinds)

    def check(self, kind: str, arguments: Mapping[str, Any]) -> None:
        """Refuse a kind that is not listed, and arguments it does not take.

        Raises
        ------
        CallError
        """
        try:
            self[kind].arguments.model_validate(dict(arguments))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))[:_SHOWN]
            said = fault["msg"].removeprefix("Value error, ").rstrip(".")[:200]
            raise CallError(
                f"A task of the kind {kind} takes other arguments ({where!r}: {said})."
            ) from None
