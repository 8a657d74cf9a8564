"""The named arrays of a file, and which of them is the image and which the labels."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.errors import HypercoverError, LabelError, SceneError
from hypercover.scene import wavelengths
from hypercover.scene.io.axes import Sizes, axis_role
from hypercover.scene.labels import shortlist
from hypercover.scene.nodata import normalized_key
from hypercover.scene.tiling import Indices, LazyArray
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Array

Data = Array | LazyArray

_KINDS = (wavelengths.NUMBERS, wavelengths.CENTRES, wavelengths.WIDTHS, wavelengths.GOOD)
_BAND_LISTS = frozenset(name for names in _KINDS for name in names)
"""Names of lists with an entry for each band, in the spelling of `normalized_key`."""
_BAND_KEYS = _BAND_LISTS | {"scalefactor", "addoffset", "offset", "gains", "offsets"}


@contextmanager
def explain_damage(path: Path, kind: str, damage: str = "damaged") -> Iterator[None]:
    """Turn the errors of a reader on a damaged file into one that says what to do.

    Raises
    ------
    SceneError
    """
    try:
        yield
    except HypercoverError:
        raise
    # Libraries raise almost anything on bytes that were made to break them.
    except Exception as error:
        raise SceneError(
            f"{path} cannot be read as {kind}: it is {damage} or cut short; copy or "
            "download it again."
        ) from error


def plain_attributes(
    attrs: Any, max_count: int | None = None, max_length: int = 10_000
) -> dict[str, Any]:
    """Return the first attributes that are text, single numbers or lists of numbers.

    Parameters
    ----------
    attrs : mapping
        Those of an array, a group or a file; what cannot be read is skipped.
    max_count : int, optional
        How many are looked at.
    max_length : int
        Longest list; a list with a value for each band may have 10,000.
    """
    plain: dict[str, Any] = {}
    for key in list(attrs)[:max_count]:
        limit = 10_000 if normalized_key(key) in _BAND_KEYS else max_length
        with suppress(Exception):
            plain[str(key)] = _plain(attrs[key], limit)
    return {key: value for key, value in plain.items() if value is not None}


def _plain(value: Any, max_length: int) -> str | float | tuple[float, ...] | None:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.ndarray):
        usable = value.dtype.kind in "uif" and 1 < value.size <= max_length
        return tuple(value.reshape(-1).tolist()) if usable else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    value = value.item() if isinstance(value, np.integer | np.floating) else value
    return value if isinstance(value, str | int | float) else None


@dataclass(frozen=True, eq=False)
class NamedArray:
    """An array of a file, known by name and shape before it is read."""

    name: str
    """Name of the variable, after those of its groups."""
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
    """Attributes of its groups, the nearest first, and of the file."""
    note: str = ""
    """How the array was brought into this shape."""
    bands: tuple[str, ...] = ()
    """Names of its bands, where they were arrays of their own."""

    @property
    def basename(self) -> str:
        """The name without groups."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def key(self) -> str:
        """The name without groups, case and punctuation."""
        return normalized_key(self.basename)

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
    def map_shape(self) -> tuple[int, int] | None:
        """Rows and columns, if the array could be a label map."""
        shape = self.shape if len(self.shape) == 2 else self.flat_shape
        return (shape[0], shape[1]) if self.is_numeric and len(shape) == 2 else None

    @property
    def description(self) -> str:
        """The shape for messages, and why the array cannot be read where it cannot."""
        shape = " × ".join(map(str, self.shape)) or "a single value"
        if 0 in self.shape:
            return f"{shape}, empty"
        kind = "complex numbers" if self.kind == "c" else "no numbers"
        return shape if self.is_numeric else f"{shape}, {kind}"

    def attribute(self, *keys: str) -> Any:
        """Return its attribute of one of these names in any spelling, or None."""
        plain = set(map(normalized_key, keys))
        values = (text for key, text in self.attrs.items() if normalized_key(key) in plain)
        return next(values, None)

    def values(self) -> Array:
        """Read all values into memory."""
        data = self.read()
        return np.asarray(data.as_variable_data()) if isinstance(data, LazyArray) else data

    def squeezed(self) -> "NamedArray":
        """Drop axes of length 1 beyond three, such as a single time.

        An image may have one band, so axes named like those of an image stay, then the
        last ones.
        """
        roles = [axis_role(name) for name in self.dims] or [None] * len(self.shape)
        single = [axis for axis, size in enumerate(self.shape) if size == 1]
        # The axes of an image are dropped last.
        single.sort(key=lambda axis: roles[axis] is not None)
        dropped = sorted(single[: max(0, len(self.shape) - 3)])
        if not dropped:
            return self
        left = [axis for axis in range(len(self.shape)) if axis not in dropped]
        shape = tuple(self.shape[axis] for axis in left)
        dims = tuple(self.dims[axis] for axis in left) if self.dims else ()
        read = partial(self._read_without, dropped)
        return replace(self, shape=shape, dims=dims, read=read)

    def _read_without(self, axes: Sequence[int]) -> Data:
        data = self.read()
        if isinstance(data, LazyArray):
            return data.without(axes)
        return np.squeeze(data, tuple(axes))

    def unsigned(self) -> "NamedArray":
        """Return the array as unsigned numbers where the attribute ``_Unsigned`` says so.

        NetCDF 3 has no unsigned types. The no-data values among the attributes, stored as
        signed numbers too, are converted with it.
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

        attrs = {key: positive(value) for key, value in self.attrs.items()}
        viewed = data.viewed(dtype) if isinstance(data, LazyArray) else data.view(dtype)
        return replace(self, kind="u", read=lambda: viewed, attrs=attrs)


NamedArrays = Sequence[NamedArray]
"""The arrays of a file."""


def describe(arrays: Iterable[NamedArray]) -> str:
    """List arrays with their shapes for a message."""
    return shortlist((f"{array.name} ({array.description})" for array in arrays), 12)


def find_array(arrays: NamedArrays, name: str, path: object, option: str) -> NamedArray:
    """Return the array of a name; the last part of a grouped name is enough.

    Raises
    ------
    SceneError
        If there is none or more than one; ``option`` is named as the remedy.
    """
    matches = [array for array in arrays if array.name == name.strip("/")]
    matches = matches or [array for array in arrays if array.basename == name]
    if len(matches) == 1:
        return matches[0]
    raise SceneError(
        f"{path} holds {'more than one' if matches else 'no'} variable {name!r}; choose with "
        f"{option} one of: {describe(matches or arrays) or 'nothing'}."
    )


_ROWS = "nrows?|numrows|rows|n?lines|height|h"
_COLS = "ncols?|numcols|cols|columns|n?samples|width|w"
"""Names of the numbers of rows and columns of a table of pixels."""


def tables_to_images(
    arrays: NamedArrays, *, by_columns: bool, label_shapes: Sizes = ()
) -> list[NamedArray]:
    """Return the arrays of a file with tables of pixels reshaped to images.

    Files for unmixing hold (band, pixel) and the numbers of rows and columns, ``nRow`` and
    ``nCol``.

    Parameters
    ----------
    arrays : sequence of NamedArray
    by_columns : bool
        Whether pixels are ordered column by column, as in MATLAB, or row by row.
    label_shapes : sequence of (rows, cols)
        Sizes of the given labels. A table with as many pixels takes this size, if the file
        tells none and holds no image.
    """
    rows, cols = (_whole_number(arrays, names) for names in (_ROWS, _COLS))
    if rows * cols < 1:
        if len(set(label_shapes)) != 1 or any(array.is_image for array in arrays):
            return list(arrays)
        rows, cols = label_shapes[0]
    return [_table_to_image(array, rows, cols, by_columns) for array in arrays]


def _whole_number(arrays: NamedArrays, names: str) -> int:
    """Return the positive whole number stored under a name of this pattern, or 0."""
    for array in arrays:
        if re.fullmatch(names, array.key) and array.flat_shape == ():
            value = float(array.values().reshape(-1)[0]) if array.is_numeric else 0.0
            return int(value) if value.is_integer() and 0 < value < 2**31 else 0
    return 0


def _table_to_image(
    array: NamedArray, rows: int, cols: int, by_columns: bool
) -> NamedArray:
    if array.kind not in "uif" or len(array.shape) != 2 or 0 in array.shape:
        return array
    pixels = rows * cols
    if pixels not in array.shape or array.shape == (rows, cols):
        return array
    pixels_first = array.shape[0] == pixels and array.shape[1] != pixels
    bands = array.shape[int(pixels_first)]

    def read() -> Array:
        table = array.values() if pixels_first else array.values().T
        if by_columns:
            return table.reshape(cols, rows, bands).transpose(1, 0, 2)
        return table.reshape(rows, cols, bands)

    how = "column by column" if by_columns else "row by row"
    return replace(
        array,
        shape=(rows, cols, bands),
        read=read,
        dims=("row", "col", "band"),
        note=f"The {pixels:,} pixels of {array.name} were laid out {how}, {rows} × {cols}.",
    )


def choose_image(arrays: NamedArrays, path: object, name: str | None) -> NamedArray:
    """Find the image among the arrays of a file: the one named, or the only 3-D one.

    Several names with commas between them stack arrays of one band each.

    Raises
    ------
    SceneError
        If no array or more than one fits; the message lists the candidates.
    """
    if name is not None and "," in name and all(array.name != name for array in arrays):
        parts = [part.strip() for part in name.split(",")]
        bands = [find_array(arrays, part, path, "--variable") for part in parts]
        return _stack(bands, path)
    if name is not None:
        image = find_array(arrays, name, path, "--variable").squeezed()
        if image.is_image:
            return image
        raise SceneError(
            f"The image must be an array of numbers with three axes, but {image.name} of "
            f"{path} is {image.description}; name another with --variable."
        )
    candidates = [array for array in arrays if array.is_image]
    if not candidates:
        squeezed = [array.squeezed() for array in arrays if len(array.flat_shape) > 1]
        candidates = [array for array in squeezed if array.is_image]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        stack = f"; or all, if each is a band: {_stack_option(candidates)}"
        flat = all(len(array.flat_shape) == 2 for array in candidates)
        raise SceneError(
            f"{path} holds {len(candidates)} arrays that could be the image; name one "
            f"with --variable NAME: {describe(candidates)}{stack if flat else ''}."
        )
    raise SceneError(
        f"{path} must hold an image of numbers with three axes, found "
        f"{describe(arrays) or 'no array'}; {_remedy(arrays)}."
    )


_TABLE_RATIO = 8
"""A 2-D array that is so many times as long as wide looks like a table of pixels."""


def _remedy(arrays: NamedArrays) -> str:
    """Suggest what to do about a file that holds no image."""
    flat = [array for array in arrays if array.is_numeric and len(array.flat_shape) == 2]
    for array in flat:
        if max(array.flat_shape) >= _TABLE_RATIO * min(array.flat_shape):
            return (
                f"if {array.name} is a table of {max(array.flat_shape):,} pixels, as of unmixing, "
                "store their rows and columns beside it as nRow and nCol (in MATLAB: "
                "save(file, 'nRow', 'nCol', '-append')), or give labels of the image with "
                "--labels"
            )
    same = [band for band in flat if band.flat_shape == flat[0].flat_shape and band.dims]
    if len(same) > 1:
        return f"if these are its bands, name them with {_stack_option(same)}"
    if flat:
        return "a 2-D array can be given with --labels, the image first"
    for array in arrays:
        if array.kind == "c" and len(array.flat_shape) == 3:
            return f"store real numbers, such as abs({array.name})"
    if any(array.kind == "O" for array in arrays):
        return (
            "objects, structures and cells are not read; store the image as an array "
            "of numbers (in MATLAB: cube = S.field; save('cube.mat', 'cube'))"
        )
    return "give the file of the image"


_MAX_SHOWN = 20


def _stack_option(bands: NamedArrays) -> str:
    """Write the option that stacks arrays of one band each."""
    names = ",".join(array.basename for array in bands[:_MAX_SHOWN])
    return f"--variable {names}" + (",…" if len(bands) > _MAX_SHOWN else "")


def _stack(bands: NamedArrays, path: object) -> NamedArray:
    """Return arrays of one band each as an image, under their names."""
    wrong = [band for band in bands if band.kind not in "uif" or len(band.flat_shape) != 2]
    wrong += [band for band in bands if band.flat_shape != bands[0].flat_shape]
    if wrong:
        raise SceneError(
            f"The bands of an image must be arrays of one size with two axes, but in {path} "
            f"are {describe(dict.fromkeys([bands[0], *wrong]))}; name others with --variable."
        )
    first, (rows, cols) = bands[0], bands[0].flat_shape
    named = zip(first.dims, first.shape, strict=False)
    dims = tuple(name for name, size in named if size != 1) or ("row", "col")

    def read() -> Data:
        layers = [_layer(band.read()) for band in bands]
        dtype = np.result_type(*(layer.dtype for layer in layers))

        def fetch(indices: Indices) -> Array:
            down, across, chosen = indices
            blocks = (layers[at].block((down, across)) for at in chosen)
            return np.stack([block.astype(dtype) for block in blocks], axis=-1)

        return LazyArray((rows, cols, len(layers)), dtype, fetch)

    return replace(
        first,
        name=", ".join(array.name for array in bands),
        shape=(rows, cols, len(bands)),
        read=read,
        dims=(*dims, "band"),
        attrs=_shared([array.attrs for array in bands]),
        bands=tuple(array.basename for array in bands),
    )


def _layer(data: Data) -> LazyArray:
    """Return a band as a lazy array of two axes."""
    if isinstance(data, LazyArray):
        return data.without([axis for axis, size in enumerate(data.shape) if size == 1])
    flat = np.squeeze(data)
    return LazyArray(flat.shape, flat.dtype, lambda indices: flat[np.ix_(*indices)])


def _shared(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes that all bands have; numbers that differ become a tuple."""
    shared: dict[str, Any] = {}
    for key in every[0]:
        values = [attrs.get(key) for attrs in every]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        elif all(isinstance(value, int | float) for value in values):
            shared[key] = tuple(values)
    return shared


def choose_labels(
    arrays: NamedArrays, path: object, shape: tuple[int, int], name: str | None
) -> NamedArray:
    """Find the label map of this size: the one named, or the only 2-D one that fits.

    Raises
    ------
    LabelError
        If no array or more than one fits; the message lists the candidates.
    """
    if name is not None:
        return find_array(arrays, name, path, "--label-variable")
    maps = [array for array in arrays if array.map_shape is not None]
    fitting = [array for array in maps if array.map_shape == shape]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise LabelError(
            f"{path} holds {len(fitting)} arrays that could be the labels; name one "
            f"with --label-variable NAME: {describe(fitting)}."
        )
    raise LabelError(
        f"The labels must have the size of the image, {shape[0]} rows × {shape[1]} columns, "
        f"found in {path} {describe(maps or arrays) or 'no array'}; give labels made for it."
    )


_LOWEST_CENTRE = 300.0
"""A list called ``bands`` that starts above this holds wavelengths in nm."""


def is_band_list(array: NamedArray) -> bool:
    """Tell by name and shape whether an array is a list with one entry per band."""
    return (
        array.is_numeric
        and (len(array.flat_shape) == 1 or array.shape == (1,))
        and array.key in _BAND_LISTS
    )


def attribute_lists(image: NamedArray) -> list[NamedArray]:
    """Return the band lists among the attributes of an image, its groups and its file."""
    attrs = {**image.around, **image.attrs}
    # The unit of the values is not that of the wavelengths.
    own = {"unit", "units"}
    units = {key: text for key, text in attrs.items() if normalized_key(key) not in own}
    lists = {key: value for key, value in attrs.items() if isinstance(value, tuple)}
    return [
        NamedArray(key, (len(value),), "f", partial(np.asarray, value, float), attrs=units)
        for key, value in lists.items()
        if normalized_key(key) in _BAND_LISTS
    ]


def band_table(arrays: NamedArrays, count: int) -> BandTable:
    """Read the wavelengths, widths, bad bands and numbers of this many bands from lists."""
    lists = {
        array.key: array
        for array in arrays
        if is_band_list(array) and (count,) in (array.flat_shape, array.shape)
    }

    def first(names: Sequence[str]) -> tuple[NamedArray, Array] | None:
        array = next((lists[name] for name in names if name in lists), None)
        return None if array is None else (array, array.values().reshape(-1))

    numbers, centres, widths, good = map(first, _KINDS)
    if centres is None and numbers is not None and float(numbers[1].min()) > _LOWEST_CENTRE:
        centres, numbers = numbers, None
    counted = None if numbers is None else wavelengths.band_numbers(numbers[1])
    bad = None if good is None else np.asarray(good[1] == 0)
    used = [repr(found[0].name) for found in (numbers, centres, widths, good) if found]
    notes = [f"Band lists next to the image: {', '.join(used)}."] if used else []
    nm = width = None
    if centres is not None:
        nm, more = wavelengths.to_nanometres(centres[1], _unit(centres[0]))
        notes += more
        if widths is not None and nm is not None:
            unit = _unit(widths[0])
            width, more = wavelengths.widths_in_nm(widths[1], centres[1], nm, unit)
            notes += more
    return BandTable(nm, width, bad, counted, tuple(notes))


def _unit(array: NamedArray) -> str | None:
    if array.key.endswith(("nm", "um")):
        return array.key[-2:]
    unit = array.attribute(*wavelengths.UNITS)
    return unit if isinstance(unit, str) else None
