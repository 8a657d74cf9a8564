"""The named arrays of a file, and which of them is the image and which the labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, SceneError
from hypercover.scene.io.axes import axis_role
from hypercover.scene.lazy import Indices, LazyArray
from hypercover.scene.nodata import plain_key
from hypercover.scene.wavelengths import (
    CENTRES,
    GOOD,
    NUMBERS,
    UNITS,
    WIDTHS,
    BandTable,
    band_numbers,
    first_of,
    to_nanometres,
    widths_in_nm,
)

__all__ = [
    "BAND_LISTS",
    "NamedArray",
    "attribute_lists",
    "band_table",
    "choose_image",
    "choose_labels",
    "describe",
    "find_array",
    "is_band_list",
    "tables_to_images",
]

Data = npt.NDArray[np.generic] | LazyArray


@dataclass(frozen=True, eq=False)
class NamedArray:
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
    bands: tuple[str, ...] = ()
    """Names of its bands, where they were arrays of their own."""

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
        lack = {"c": ", complex numbers"}.get(self.kind, ", no numbers")
        lack = "" if self.is_numeric else lack
        lack = ", empty" if 0 in self.shape else lack
        return (" × ".join(map(str, self.shape)) or "a single value") + lack

    def squeezed(self) -> "NamedArray":
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

    def unsigned(self) -> "NamedArray":
        """Return the array as unsigned numbers where it is stored as signed ones.

        NetCDF 3 has no unsigned types; ``_Unsigned`` marks numbers that are meant so, and
        the values for no data beside them, as in the files of many satellites.
        """
        if self.kind != "i" or str(self.attribute("_Unsigned")).lower() != "true":
            return self
        data = self.read()
        dtype = np.dtype(f"u{data.dtype.itemsize}")
        span = 2 ** (8 * dtype.itemsize)

        def positive(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(positive, value))
            return value + span if isinstance(value, int) and value < 0 else value

        read = partial(_viewed, data, dtype)
        attrs = {key: positive(value) for key, value in self.attrs.items()}
        return replace(self, kind="u", read=read, attrs=attrs)

    def values(self) -> npt.NDArray[np.generic]:
        """Read all values into memory."""
        data = self.read()
        if isinstance(data, LazyArray):
            return np.asarray(data.as_variable_data())
        return data


_SHOWN = 20
"""Names of bands that a message lists."""

_MANY = 8
"""A 2-D array that is so many times as long as wide looks like a table of pixels."""

_ROWS = frozenset({"nrow", "nrows", "numrows", "rows", "lines", "nlines", "height", "h"})

_COLS = frozenset({"ncol", "ncols", "numcols", "cols", "columns", "samples", "nsamples",
                   "width", "w"})  # fmt: skip


def tables_to_images(
    members: Sequence[NamedArray],
    *,
    by_columns: bool,
    label_shapes: Sequence[tuple[int, int]] = (),
) -> list[NamedArray]:
    """Return the arrays of a file, tables of pixels laid out as images.

    Why it exists: files for unmixing hold (band, pixel) with the numbers of rows and
    columns beside it, ``nRow`` and ``nCol``.

    Parameters
    ----------
    members : sequence of Member
    by_columns : bool
        Whether the pixels stand column by column, as MATLAB's do, or row by row.
    label_shapes : sequence of (rows, cols)
        Sizes of labels that were given: where the file does not tell the size and holds
        no image, a table of as many pixels has that of the labels.
    """
    rows, cols = (_whole(members, names) for names in (_ROWS, _COLS))
    if rows * cols < 1:
        if len(set(label_shapes)) != 1 or any(one.is_image for one in members):
            return list(members)
        rows, cols = label_shapes[0]
    return [_laid_out(one, rows, cols, by_columns) for one in members]


def _whole(members: Sequence[NamedArray], names: frozenset[str]) -> int:
    """Return the whole number of one of these names; 0 without it."""
    for one in members:
        if plain_key(one.name.rsplit("/", 1)[-1]) in names and one.flat_shape == ():
            value = (
                float(np.asarray(one.values()).reshape(-1)[0]) if one.is_numeric else 0.0
            )
            return int(value) if value.is_integer() and 0 < value < 2**31 else 0
    return 0


def _laid_out(member: NamedArray, rows: int, cols: int, by_columns: bool) -> NamedArray:
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


def _viewed(data: Data, dtype: np.dtype[np.generic]) -> Data:
    return data.viewed(dtype) if isinstance(data, LazyArray) else data.view(dtype)


def _squeezed(read: Callable[[], Data], gone: Sequence[int]) -> Data:
    data = read()
    return (
        data.without(gone) if isinstance(data, LazyArray) else np.squeeze(data, tuple(gone))
    )


def describe(members: Iterable[NamedArray]) -> str:
    """List variables with their shapes for a message."""
    listed = [f"{one.name} ({one.description})" for one in members]
    shown = ", ".join(listed[:12])
    return shown + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")


def find_array(
    members: Sequence[NamedArray], name: str, path: object, option: str
) -> NamedArray:
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


def choose_image(
    members: Sequence[NamedArray], path: object, name: str | None
) -> NamedArray:
    """Find the image among the arrays of a file: the one named, or the only 3-D one.

    Several names with commas between them stack arrays of one band each.

    Raises
    ------
    SceneError
        If none or more than one fits; the message lists what there is.
    """
    if name is not None and "," in name and all(one.name != name for one in members):
        parts = [part.strip() for part in name.split(",")]
        return _stacked(
            [find_array(members, part, path, "--variable") for part in parts], path
        )
    if name is not None:
        return _checked_image(
            find_array(members, name, path, "--variable").squeezed(), path
        )
    fitting = [one for one in members if one.is_image]
    if not fitting:
        squeezed = [one.squeezed() for one in members if len(one.flat_shape) > 1]
        fitting = [one for one in squeezed if one.is_image]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        flat = all(len(one.flat_shape) == 2 for one in fitting)
        raise SceneError(
            f"{path} holds {len(fitting)} arrays that could be the image; name one "
            f"with --variable NAME: {describe(fitting)}"
            + (f"; or all, if each is a band: {_together(fitting)}." if flat else ".")
        )
    raise SceneError(
        f"{path} must hold an image of numbers with three axes, found "
        f"{describe(members) or 'no array'}; {_instead(members)}."
    )


def _instead(members: Sequence[NamedArray]) -> str:
    """Say what could be done about a file that holds no image."""
    flat = [one for one in members if one.is_numeric and len(one.flat_shape) == 2]
    tables = [one for one in flat if max(one.flat_shape) >= _MANY * min(one.flat_shape)]
    if tables:
        name, pixels = tables[0].name, max(tables[0].flat_shape)
        return (
            f"if {name} is a table of {pixels:,} pixels, as of unmixing, store their rows and "
            "columns beside it as nRow and nCol (in MATLAB: save(file, 'nRow', 'nCol', "
            "'-append')), or give labels of the image with --labels"
        )
    same = [one for one in flat if one.flat_shape == flat[0].flat_shape and one.dims]
    if len(same) > 1:
        return f"if these are its bands, name them with {_together(same)}"
    if flat:
        return "a 2-D array can be given with --labels, the image first"
    cubes = [one for one in members if one.kind == "c" and len(one.flat_shape) == 3]
    if cubes:
        return f"store real numbers, such as abs({cubes[0].name})"
    if any(one.kind == "O" for one in members):
        return (
            "objects, structures and cells are not looked into; store the image as an array "
            "of numbers (in MATLAB: cube = S.field; save('cube.mat', 'cube'))"
        )
    return "give the file of the image"


def _together(bands: Sequence[NamedArray]) -> str:
    """Write the option that stacks arrays of one band each."""
    shown = [one.name.rsplit("/", 1)[-1] for one in bands[:_SHOWN]]
    return f"--variable {','.join(shown)}" + (",…" if len(bands) > _SHOWN else "")


def _stacked(bands: Sequence[NamedArray], path: object) -> NamedArray:
    """Return arrays of one band each as an image, under their names."""
    wrong = [one for one in bands if one.kind not in "uif" or len(one.flat_shape) != 2]
    wrong += [one for one in bands if one.flat_shape != bands[0].flat_shape]
    if wrong:
        raise SceneError(
            f"The bands of an image must be arrays of one size with two axes, but in {path} "
            f"are {describe(dict.fromkeys([bands[0], *wrong]))}; name others with --variable."
        )
    rows, cols = bands[0].flat_shape
    long = [axis for axis, size in enumerate(bands[0].shape) if size != 1]
    dims = tuple(bands[0].dims[axis] for axis in long) if bands[0].dims else ("row", "col")

    def read() -> Data:
        layers = [
            data.without([axis for axis, size in enumerate(data.shape) if size == 1])
            if isinstance(data, LazyArray)
            else LazyArray((rows, cols), data.dtype, partial(_picked, data))
            for data in (one.read() for one in bands)
        ]
        dtype = np.result_type(*(layer.dtype for layer in layers))

        def fetch(wanted: Indices) -> npt.NDArray[np.generic]:
            down, across, chosen = wanted
            return np.stack(
                [layers[at].block((down, across)).astype(dtype) for at in chosen], axis=-1
            )

        return LazyArray((rows, cols, len(layers)), dtype, fetch)

    return NamedArray(
        ", ".join(one.name for one in bands), (rows, cols, len(bands)), bands[0].kind, read,
        (*dims, "band"), _shared([one.attrs for one in bands]), bands[0].around,
        bands=tuple(one.name.rsplit("/", 1)[-1] for one in bands),
    )  # fmt: skip


def _picked(
    data: npt.NDArray[np.generic], wanted: tuple[npt.NDArray[np.intp], ...]
) -> npt.NDArray[np.generic]:
    return np.asarray(np.squeeze(data)[np.ix_(*wanted)])


def _shared(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return attributes that all have: the value, or a number of each as a list."""
    found: dict[str, Any] = {}
    for key in every[0]:
        values = [attrs.get(key) for attrs in every]
        if all(value == values[0] for value in values):
            found[key] = values[0]
        elif all(isinstance(value, int | float) for value in values):
            found[key] = tuple(values)
    return found


def _checked_image(member: NamedArray, path: object) -> NamedArray:
    if member.is_image:
        return member
    raise SceneError(
        f"The image must be an array of numbers with three axes, but {member.name} of "
        f"{path} is {member.description}; name another with --variable."
    )


def choose_labels(
    members: Sequence[NamedArray], path: object, shape: tuple[int, int], name: str | None
) -> NamedArray:
    """Find the label map of this size: the one named, or the only 2-D one that fits.

    Raises
    ------
    LabelError
        If none or more than one fits; the message lists what there is.
    """
    if name is not None:
        return find_array(members, name, path, "--label-variable")
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


BAND_LISTS = frozenset({*NUMBERS, *CENTRES, *WIDTHS, *GOOD})
"""Names of lists with an entry for each band, in the spelling of `plain_key`."""

_LOWEST_CENTRE = 300.0
"""A list called ``bands`` that starts above this holds wavelengths in nm."""


def _key(member: NamedArray) -> str:
    return plain_key(member.name.rsplit("/", 1)[-1])


def is_band_list(member: NamedArray) -> bool:
    """Tell whether an array is a list with one entry per band, by its name and shape."""
    return (
        member.is_numeric
        and (len(member.flat_shape) == 1 or member.shape == (1,))
        and _key(member) in BAND_LISTS
    )


def attribute_lists(image: NamedArray) -> list[NamedArray]:
    """Return the band lists that stand in attributes of an image, its groups or its file."""
    said = {**image.around, **image.attrs}
    # The unit of the values is none of the wavelengths.
    units = {
        key: text for key, text in said.items() if plain_key(key) not in {"unit", "units"}
    }
    return [
        NamedArray(
            key, (len(value),), "f", partial(np.asarray, value, np.float64), attrs=units
        )
        for key, value in said.items()
        if isinstance(value, tuple) and plain_key(key) in BAND_LISTS
    ]


def _lists(members: Sequence[NamedArray], count: int) -> dict[str, NamedArray]:
    return {
        _key(one): one
        for one in members
        if is_band_list(one) and (count,) in (one.flat_shape, one.shape)
    }


_Found = tuple[NamedArray, npt.NDArray[np.generic]]


def _first(found: dict[str, NamedArray], names: Sequence[str]) -> _Found | None:
    member = first_of(found, names)
    return None if member is None else (member[1], member[1].values().reshape(-1))


def band_table(members: Sequence[NamedArray], count: int) -> BandTable:
    """Read what the lists beside a cube of so many bands say about its bands."""
    found = _lists(members, count)
    numbers, centres = _first(found, NUMBERS), _first(found, CENTRES)
    widths, good = _first(found, WIDTHS), _first(found, GOOD)
    if centres is None and numbers is not None and _are_centres(numbers[1]):
        centres, numbers = numbers, None
    counted = None if numbers is None else band_numbers(numbers[1])
    bad = None if good is None else np.asarray(good[1] == 0)
    used = [pair[0].name for pair in (numbers, centres, widths, good) if pair]
    listed = ", ".join(repr(name) for name in used)
    notes = (f"Band lists beside the image: {listed}.",) if used else ()
    if centres is None:
        return BandTable(None, None, bad, counted, notes)
    nm, more = to_nanometres(centres[1], _unit(centres[0]))
    width = None
    if widths is not None and nm is not None:
        width, said = widths_in_nm(widths[1], centres[1], nm, _unit(widths[0]))
        more = (*more, *said)
    return BandTable(nm, width, bad, counted, (*notes, *more))


def _are_centres(values: npt.NDArray[np.generic]) -> bool:
    return bool(np.asarray(values, dtype=np.float64).min() > _LOWEST_CENTRE)


def _unit(member: NamedArray) -> str | None:
    key = _key(member)
    if key.endswith(("nm", "um")):
        return key[-2:]
    unit = member.attribute(*UNITS)
    return unit if isinstance(unit, str) else None
