"""The named arrays of a file, and which of them is the image and which the labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError
from hypercover.scene.formats.axes import axis_role
from hypercover.scene.lazy import LazyArray
from hypercover.scene.nodata import plain_key

__all__ = ["Member", "choose_image", "choose_labels", "describe", "laid_out", "named"]

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
    note: str = ""
    """What was done to show it in this shape."""

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

    def squeezed(self) -> "Member":
        """Return the array without axes of length 1 beyond three, such as a single time.

        Where fewer than three would be left, axes that are named as those of an image
        stay, then the last ones: an image may have one band.
        """
        spare = [axis for axis, size in enumerate(self.shape) if size == 1]
        # The axes that an image has are the last to go.
        spare.sort(
            key=lambda axis: bool(self.dims) and axis_role(self.dims[axis]) is not None
        )
        gone = sorted(spare[: max(0, len(self.shape) - 3)])
        if not gone:
            return self
        kept = [axis for axis in range(len(self.shape)) if axis not in gone]
        return replace(
            self,
            shape=tuple(self.shape[axis] for axis in kept),
            dims=tuple(self.dims[axis] for axis in kept) if self.dims else (),
            read=partial(_squeezed, self.read, gone),
        )

    def values(self) -> npt.NDArray[np.generic]:
        """Read all values into memory."""
        data = self.read()
        if isinstance(data, LazyArray):
            return np.asarray(data.as_variable_data())
        return data


_ROWS = frozenset({"nrow", "nrows", "numrows", "rows", "lines", "nlines", "height", "h"})
_COLS = frozenset({"ncol", "ncols", "numcols", "cols", "columns", "samples", "nsamples",
                   "width", "w"})  # fmt: skip


def laid_out(members: Sequence[Member], *, by_columns: bool) -> list[Member]:
    """Return the arrays of a file, tables of pixels laid out as images.

    Why it exists: files for unmixing hold (band, pixel) with the numbers of rows and
    columns beside it, ``nRow`` and ``nCol``.

    Parameters
    ----------
    members : sequence of Member
    by_columns : bool
        Whether the pixels stand column by column, as MATLAB's do, or row by row.
    """
    rows, cols = (_whole(members, names) for names in (_ROWS, _COLS))
    if rows * cols < 1:
        return list(members)
    return [_laid_out(one, rows, cols, by_columns) for one in members]


def _whole(members: Sequence[Member], names: frozenset[str]) -> int:
    """Return the whole number of one of these names; 0 without it."""
    for one in members:
        if plain_key(one.name.rsplit("/", 1)[-1]) in names and one.flat_shape == ():
            value = (
                float(np.asarray(one.values()).reshape(-1)[0]) if one.is_numeric else 0.0
            )
            return int(value) if value.is_integer() and 0 < value < 2**31 else 0
    return 0


def _laid_out(member: Member, rows: int, cols: int, by_columns: bool) -> Member:
    if member.kind not in "uif" or len(member.shape) != 2 or 0 in member.shape:
        return member
    pixels = rows * cols
    if pixels not in member.shape or member.shape == (rows, cols):
        return member
    first = member.shape[0] == pixels and member.shape[1] != pixels
    bands = member.shape[1 if first else 0]

    def read() -> npt.NDArray[np.generic]:
        table = member.values() if first else member.values().T
        if by_columns:
            return table.reshape(cols, rows, bands).transpose(1, 0, 2)
        return table.reshape(rows, cols, bands)

    how = "column by column" if by_columns else "row by row"
    said = f"The {pixels:,} pixels of {member.name} were laid out {how}, {rows} × {cols}."
    return replace(
        member,
        shape=(rows, cols, bands), read=read, dims=("row", "col", "band"), note=said,
    )  # fmt: skip


def _squeezed(read: Callable[[], Data], gone: Sequence[int]) -> Data:
    data = read()
    return (
        data.without(gone) if isinstance(data, LazyArray) else np.squeeze(data, tuple(gone))
    )


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
        return _checked_image(named(members, name, path, "--variable").squeezed(), path)
    fitting = [one for one in members if one.is_image]
    if not fitting:
        squeezed = [one.squeezed() for one in members if len(one.flat_shape) > 1]
        fitting = [one for one in squeezed if one.is_image]
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
