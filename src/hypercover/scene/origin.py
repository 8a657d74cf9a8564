"""Where the values of an image come from, where they were not measured."""

from collections.abc import Mapping
from typing import Any, TypedDict

__all__ = ["Origin", "mark", "marked"]


class Origin(TypedDict, total=False):
    """What an image and all that is made of it must say of themselves."""

    simulated: bool
    """The values were computed from a model of land."""
    stand_in: bool
    """The values were rebuilt to stand in for a measured image that is not at hand."""


def mark(origin: Mapping[str, Any]) -> str:
    """Return what a title must say of an image that was not measured; else nothing.

    Why it exists: a figure from a stand-in must never be read as one of the
    image it stands in for, wherever it is carried.

    Examples
    --------
    >>> mark({"simulated": True}), mark({"stand_in": True}), mark({"simulated": False})
    ('simulated scene', 'stand-in', '')
    """
    if origin.get("stand_in"):
        return "stand-in"
    return "simulated scene" if origin.get("simulated") else ""


def marked(name: str, origin: Mapping[str, Any]) -> str:
    """Return the name of a scene with its mark, where the name does not say it already.

    Examples
    --------
    >>> marked("Indian Pines stand-in", {"stand_in": True}), marked("a", {"simulated": True})
    ('Indian Pines stand-in', 'a (simulated scene)')
    """
    said = mark(origin)
    return name if said.partition(" ")[0] in name.lower() else f"{name} ({said})"
