"""The named arrays of a file, and which of them is the image and which the labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError
from hypercover.scene.lazy import LazyArray
from hypercover.scene.nodata import plain_key

__all__ = ["Member", "choose_image", "choose_labels", "describe", "named"]

Data = npt.NDArray[np.generic] | LazyArray


@dataclass(frozen=True, eq=False)
class Member:
    """One array of a file, known by name and shape before it is read."""

    name: str
    """Name of the variable, with its groups in front where the file has groups."""
    shape: tuple[int, ...]
    """Lengths of the axes, as the program that wrote the file showed them."""
    kind: str
    """NumPy's letter: u, i and f can be images, b also labels; O is never read."""
    read: Callable[[], Data]
    """Reads the array, or opens it lazily."""
    dims: tuple[str, ...] = ()
    """Names of the axes where the file gives them, else empty."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the variable, plain values only."""
    around: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the groups it lies in and of the file; the nearest group's first."""

    def attribute(self, *keys: str) -> Any:
        """Return its attribute of one of these names, in any spelling; None without it."""
        wanted = set(map(plain_key, keys))
        return next(
            (value for key, value in self.attrs.items() if plain_key(key) in wanted), None
        )

    @property
    def is_numeric(self) -> bool:
        """Whether the values are real numbers."""
        return self.kind in "uifb"

    @property
    def is_image(self) -> bool:
        """Whether the array could be an image cube."""
        return self.kind in "uif" and len(self.shape) == 3 and 0 not in self.shape

    @property
    def flat_shape(self) -> tuple[int, ...]:
        """The shape without axes of length 1."""
        return tuple(size for size in self.shape if size != 1)

    @property
    def description(self) -> str:
        """The shape in words, and why nothing can be read where nothing can."""
        lack = "" if self.is_numeric else ", no numbers"
        lack = ", empty" if 0 in self.shape else lack
        return (" × ".join(map(str, self.shape)) or "a single value") + lack

    def values(self) -> npt.NDArray[np.generic]:
        """Read all values into memory."""
        data = self.read()
        if isinstance(data, LazyArray):
            return np.asarray(data.as_variable_data())
        return data


def describe(members: Iterable[Member]) -> str:
    """List variables with their shapes for a message."""
    listed = [f"{one.name} ({one.description})" for one in members]
    shown = ", ".join(listed[:12])
    return shown + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")


def named(members: Sequence[Member], name: str, path: object, option: str) -> Member:
    """Return the variable of a name; the last part of a grouped name is enough."""
    found = [one for one in members if one.name == name.strip("/")]
    found = found or [one for one in members if one.name.rsplit("/", 1)[-1] == name]
    if len(found) == 1:
        return found[0]
    what = "no" if not found else "more than one"
    raise SceneError(
        f"{path} holds {what} variable {name!r}; choose with {option} one of: "
        f"{describe(found or members) or 'nothing'}."
    )


def choose_image(members: Sequence[Member], path: object, name: str | None) -> Member:
    """Find the image among the arrays of a file: the one named, or the only 3-D one.

    Raises
    ------
    SceneError
        If none or more than one fits; the message lists what there is.
    """
    if name is not None:
        return _checked_image(named(members, name, path, "--variable"), path)
    fitting = [one for one in members if one.is_image]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SceneError(
            f"{path} holds {len(fitting)} arrays that could be the image; name one "
            f"with --variable NAME: {describe(fitting)}."
        )
    flat = [one for one in members if one.is_numeric and len(one.flat_shape) == 2]
    hint = "a 2-D array can be given with --labels, the image first"
    raise SceneError(
        f"{path} must hold an image of numbers with three axes, found "
        f"{describe(members) or 'no array'}; {hint if flat else 'give the file of the image'}."
    )


def _checked_image(member: Member, path: object) -> Member:
    if member.is_image:
        return member
    raise SceneError(
        f"The image must be an array of numbers with three axes, but {member.name} of "
        f"{path} is {member.description}; name another with --variable."
    )


def choose_labels(
    members: Sequence[Member], path: object, shape: tuple[int, int], name: str | None
) -> Member:
    """Find the label map of this size: the one named, or the only 2-D one that fits.

    Raises
    ------
    LabelError
        If none or more than one fits; the message lists what there is.
    """
    if name is not None:
        return named(members, name, path, "--label-variable")
    flat = [
        one
        for one in members
        if one.is_numeric and one.shape and _as_map(one.shape, shape) is not None
    ]
    fitting = [one for one in flat if _as_map(one.shape, shape) == shape]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise LabelError(
            f"{path} holds {len(fitting)} arrays that could be the labels; name one "
            f"with --label-variable NAME: {describe(fitting)}."
        )
    raise LabelError(
        f"The labels must have the size of the image, {shape[0]} rows × {shape[1]} "
        f"columns, found in {path} {describe(flat or members) or 'no array'}; give "
        "labels made for this image."
    )


def _as_map(shape: tuple[int, ...], wanted: tuple[int, int]) -> tuple[int, ...] | None:
    """Shape as a label map: as it is, or without axes of length 1; None if not 2-D."""
    if len(shape) == 2 or shape == wanted:
        return shape
    without = tuple(size for size in shape if size != 1)
    return without if len(without) == 2 else None
