"""Label maps: class codes on the grid of an image, and how classes are named and matched."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.scene.datasets.catalog import known_scene, recognise_labels
from hypercover.scene.grid import Grid
from hypercover.scene.legend import MAX_CODE, Legend, class_colors
from hypercover.types import Array, Codes, Mask

_T = TypeVar("_T", bound=np.generic)


_FULL = (255, 65535)
"""Largest values of the usual types of label rasters."""

_APART = 0.01
"""Grids that differ by more than this are different, in pixels."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels as read from a file, before a legend is made."""

    codes: Codes
    """Class codes (y, x); 0 = unlabelled."""
    grid: Grid | None = None
    """Georeference of the file, if it has one."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Class names in the file."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Class colours in the file."""
    notes: tuple[str, ...] = ()
    """Notes for people, one sentence each."""
    losses: tuple[str, ...] = ()
    """Shapes and classes of the file that label no pixel, one sentence each."""
    nominal: frozenset[int] = frozenset()
    """Codes that merely enumerate names of the file."""
    zero: int | None = None
    """Code given to a class 0 of the file; None if 0 means unlabelled."""
    shapes: Codes | None = None
    """Number of the shape (y, x) that labels each pixel, from 1; None for a raster."""

    @classmethod
    def of(
        cls,
        values: Array,
        source: object,
        *,
        nodata: float | None = None,
        names: Mapping[int, str] | None = None,
        colors: Mapping[int, str] | None = None,
        grid: Grid | None = None,
        notes: tuple[str, ...] = (),
    ) -> Self:
        """Build a label map from the values of a raster.

        0 means unlabelled, unless the raster declares another value for no data: then 0
        is a class, which gets the code after the largest and the name ``Class 0``.

        Parameters
        ----------
        values : array, shape (y, x)
        source : object
            Name of the values in messages.
        nodata : float, optional
            Value that the raster declares for no data.
        names, colors : mapping, optional
            Names and colours by value, 0 included.
        grid : Grid, optional
        notes : tuple of str

        Raises
        ------
        LabelError
            If a value is not a class code, or no pixel is labelled.

        Examples
        --------
        >>> labels = LabelMap.of(np.array([[0, 1, 255]], np.uint8), "a.tif", nodata=255)
        >>> labels.codes.tolist(), labels.names
        ([[2, 1, 0]], {2: 'Class 0'})
        """
        names, colors = dict(names or {}), dict(colors or {})
        zero_name, zero_color = names.pop(0, "").strip(), colors.pop(0, None)
        zero = _class_zero(values, nodata, zero_name)
        if zero is None:
            codes = as_codes(values, source, nodata)
            full = _full_note(codes, source, names) if nodata is None else ()
            return cls(codes, grid, names, colors, (*notes, *full))
        most = int(as_codes(values[~zero], source, nodata, empty=True).max(initial=0))
        code = most + 1
        if code > MAX_CODE:
            raise LabelError(
                f"{source} uses 0 as a class as well as {most}, so no code is left for it; "
                "give its classes smaller numbers."
            )
        whole = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        codes = as_codes(np.where(zero, code, whole), source, nodata)
        names[code] = zero_name or "Class 0"
        if zero_color is not None:
            colors[code] = zero_color
        note = (
            f"{source} declares {nodata:g} as no data, so 0 is a class; if 0 marks unlabelled "
            "pixels instead, declare that (gdal_edit.py -a_nodata 0)."
        )
        nominal = frozenset({code})
        return cls(codes, grid, names, colors, (*notes, note), nominal=nominal, zero=code)

    def naming_zero(self, name: str) -> "LabelMap":
        """Rename class 0, or make it unlabelled if the name says so."""
        if self.zero is None:
            return self
        if not is_unlabelled(name):
            return replace(self, names={**self.names, self.zero: name})
        codes = np.where(self.codes == self.zero, 0, self.codes).astype(self.codes.dtype)
        names = {code: own for code, own in self.names.items() if code != self.zero}
        notes = (*self.notes, f"The class table calls 0 {name!r}: unlabelled.")
        return replace(
            self, codes=codes, names=names, notes=notes, nominal=frozenset(), zero=None
        )


def _full_note(codes: Codes, source: object, names: Mapping[int, str]) -> tuple[str, ...]:
    """Note a class at the largest value of its type, far above the others: often no data."""
    present = np.unique(codes)
    top = int(present[-1])
    if top not in _FULL or top in names or len(present) < 2 or present[-2] > top // 2:
        return ()
    pixels = int(np.count_nonzero(codes == top))
    return (
        f"{pixels:,} pixels of {source} are {top}, which is taken as a class; if it marks no "
        f"data, declare that (gdal_edit.py -a_nodata {top}).",
    )


def is_unlabelled(name: str) -> bool:
    """Tell whether a name means unlabelled or no data.

    Examples
    --------
    >>> is_unlabelled("Unclassified"), is_unlabelled("No_Data"), is_unlabelled("Water")
    (True, True, False)
    """
    return _UNLABELLED.fullmatch(name.strip().replace("_", " ")) is not None


_UNLABELLED = re.compile(
    r"un(labell?ed|classified|known|defined)|no ?(data|value|class)|background|none|null|"
    r"nodata|masked( pixels?)?|unklassifiziert|keine daten|hintergrund|sans donn[ée]es?",
    re.IGNORECASE,
)
"""Names that mean unlabelled or no data."""


def _class_zero(values: Array, nodata: float | None, name: str) -> Mask | None:
    """Return the pixels of a class 0; None if 0 means unlabelled."""
    if nodata is None or nodata == 0 or is_unlabelled(name):
        return None
    zero: Mask = values == 0
    if not zero.any() or recognise_labels(np.where(zero | (values == nodata), 0, values)):
        return None
    return zero


def as_codes(
    values: Array, source: object, nodata: float | None = None, *, empty: bool = False
) -> Codes:
    """Convert the values of a label map to class codes.

    Integers from 0 to 65535 are codes, whatever their type.  NaN and the no-data value
    become 0, unlabelled.  ``empty`` allows a map without a labelled pixel.

    Raises
    ------
    LabelError
        If a value is not such a number, or no pixel is labelled.
    """
    floating = values.dtype.kind == "f"
    numbers = np.array(values, dtype=np.float64 if floating else values.dtype)
    if nodata is not None and np.isfinite(nodata):
        numbers[numbers == nodata] = 0
    if floating:
        numbers[np.isnan(numbers)] = 0
        odd = numbers[~np.isfinite(numbers) | (numbers != np.floor(numbers))]
        if odd.size:
            raise LabelError(
                f"Labels must be whole numbers, found {odd[0]:g} in {source}; give a map "
                "of class codes, not an image."
            )
    low, high = float(numbers.min(initial=0)), float(numbers.max(initial=0))
    if low < 0 or high > MAX_CODE:
        raise LabelError(
            f"Labels must be between 0 and {MAX_CODE}, found {low or high:g} in {source}; mark "
            "unlabelled pixels with 0."
        )
    codes: Codes = numbers.astype(np.uint8 if high <= 255 else np.uint16)
    if not codes.any() and not empty:
        raise LabelError(
            f"No pixel is labelled in {source}: all are 0; give a file with class codes."
        )
    return codes


def check_size(
    shape: tuple[int, ...], grid: Grid, source: object, what: str = "labels"
) -> None:
    """Refuse labels, or another layer, whose size differs from that of the image.

    Raises
    ------
    LabelError
        If rows or columns differ.
    """
    if shape == grid.shape:
        return
    swapped = " (rows and columns are swapped)" if shape == grid.shape[::-1] else ""
    raise LabelError(
        f"The {what} must have the size of the image, {grid.rows} rows × {grid.cols} "
        f"columns, but {source} has {' × '.join(map(str, shape))}{swapped}; give {what} "
        "made for this image."
    )


@contextmanager
def replaced_options(names: Mapping[str, str]) -> Iterator[None]:
    """Replace the names of options in messages about labels that are raised in the block.

    Examples
    --------
    >>> try:
    ...     with replaced_options({"--label-": "--strata-"}):
    ...         raise LabelError("name it with --label-field NAME.")
    ... except LabelError as error:
    ...     print(error)
    name it with --strata-field NAME.
    """
    try:
        yield
    except LabelError as error:
        text = str(error)
        for own, other in names.items():
            text = text.replace(own, other)
        raise LabelError(text) from error


def flip_to_grid(
    values: npt.NDArray[_T],
    found: Grid | None,
    grid: Grid,
    source: object,
    what: str = "labels",
) -> npt.NDArray[_T]:
    """Flip a raster if needed to match the grid of an image.

    Raises
    ------
    LabelError
        If the raster has another size or grid.
    """
    check_size(values.shape, grid, source, what)
    if found is None or not (found.placed and grid.placed):
        return values
    for axes in ((0,), (1,), (0, 1)):
        flipped = found.flipped(*axes)
        if grid_offset(flipped, grid) <= _APART:
            values, found = np.flip(values, axes), flipped
    if found.crs and grid.crs and not _same_crs(found.crs, grid.crs):
        raise LabelError(
            f"The image is in another coordinate system than the {what} {source}; "
            "reproject these to the grid of the image."
        )
    apart = grid_offset(found, grid)
    if apart > _APART:
        raise LabelError(
            f"Pixels of the {what} {source} are up to {apart:,.2f} pixels off those of the "
            "image; resample them to its grid."
        )
    return values


def _same_crs(first: str, second: str) -> bool:
    from rasterio.crs import CRS

    return first == second or bool(CRS.from_wkt(first) == CRS.from_wkt(second))


def grid_offset(found: Grid, grid: Grid) -> float:
    """Return the largest distance between corners of two grids, in pixels of the second."""
    corners = np.array([[0, 0, 1], [grid.cols, 0, 1], [0, grid.rows, 1]], dtype=float).T
    own, other = (np.array(each.transform).reshape(2, 3) for each in (grid, found))
    pixel = float(np.sqrt(abs(np.linalg.det(own[:, :2])))) or 1.0
    return float(np.abs((other - own) @ corners).max() / pixel)


def legend_of(
    labels: LabelMap, given: Legend | None = None
) -> tuple[Legend, tuple[str, ...]]:
    """Make the legend of a label map, and notes on it.

    Names come from the user's table, then from the file, then from a recognised
    benchmark map; other classes are called ``Class 7``.
    """
    codes = _present(labels.codes)
    table = given or Legend()
    published = recognise_labels(labels.codes)
    names = dict(published.names) if published else {}
    names |= {code: name for code, name in labels.names.items() if name.strip()}
    names |= {item.code: item.name for item in table}
    colors = dict(labels.colors) | {item.code: item.color for item in table}
    all_names = {code: names.get(code, f"Class {code}") for code in codes}
    legend = Legend.of(all_names, class_colors(all_names, colors))
    notes = []
    if published is not None:
        scene = known_scene(published.scene)
        notes = [
            f"Labels recognised by their content: {published.title}.",
            f"The scene they belong to: {scene.title}, {scene.sensor}.",
        ]
        notes += [published.note] if published.note else []
    unnamed = [code for code in codes if code not in names]
    if unnamed and any(code != labels.zero for code in names):
        plural = "s" if len(unnamed) > 1 else ""
        notes.append(f"No class name is known for code{plural} {shortlist(unnamed)}.")
    empty = [f"{names[code]} ({code})" for code in sorted({*names} - {0, *codes})]
    if empty:
        notes.append(f"Classes of the legend without a labelled pixel: {shortlist(empty)}.")
    notes += _alike_notes(legend.names)
    if labels.zero is not None and labels.zero in legend:
        notes.append(f"Code {labels.zero} ({legend[labels.zero].name}) is 0 in the labels.")
    return legend, tuple(notes)


def _present(codes: Codes) -> list[int]:
    return [int(code) for code in np.unique(codes) if code > 0]


def _alike_notes(names: Sequence[str]) -> list[str]:
    """Note classes whose names differ only in case, spaces or hyphens."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(normalized_name(name), []).append(name)
    return [
        f"Classes whose names differ in case or spaces only: {shortlist(map(repr, group))}; if "
        "they are one class, give it one name."
        for group in groups.values()
        if len(group) > 1
    ]


def normalized_name(name: str) -> str:
    """Normalise a name for comparison: without case, spaces, hyphens and underscores.

    Examples
    --------
    >>> normalized_name("Bare Soil") == normalized_name(" bare-soil"), normalized_name("A1") == normalized_name("A2")
    (True, False)
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in plain if not (char.isspace() or char in "-_"))


def shortlist(words: Iterable[object], most: int = 8) -> str:
    """List words, the first ones of many.

    Examples
    --------
    >>> shortlist(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    every = [str(word) for word in words]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


class _ClassMatch(NamedTuple):
    """How the classes of a label map correspond to those of a legend."""

    codes: dict[int, int]
    """New code of each class by its old one."""
    by_name: list[int]
    """Old codes of classes matched by name."""
    by_code: list[int]
    """Old codes of classes matched by code."""
    new: list[int]
    """Old codes of classes that are not in the legend."""


def match_classes(
    labels: LabelMap, legend: Legend, whose: str, *, renames: bool = False
) -> LabelMap:
    """Give the classes of a label map the codes, names and colours of a legend.

    Classes are matched by name, whatever its case and spaces, and otherwise by code if
    one of the two has no name, or no name occurs in both.  A class that is not in the
    legend keeps its name, and its code if that is free.

    Parameters
    ----------
    labels : LabelMap
    legend : Legend
    whose : str
        Owner of the legend, for notes: "the class table", "the map".
    renames : bool
        Whether the legend may also rename classes of the same code.

    Raises
    ------
    LabelError
        If the classes have names but no codes, and the legend has none of the names.

    Examples
    --------
    >>> labels = LabelMap(np.array([[1, 2]], np.uint8), names={1: "forest", 2: "water"})
    >>> matched = match_classes(labels, Legend.of({1: "Water", 2: "Forest"}), "the table")
    >>> matched.codes.tolist(), matched.names[2], matched.notes
    ([[2, 1]], 'Forest', ('Classes matched with the table by name: Water (1), Forest (2).',))
    """
    present = _present(labels.codes)
    match = _matched(present, labels, legend, renames=renames)
    if labels.nominal.issuperset(present) and len(match.new) == len(present):
        raise LabelError(
            f"No class of the labels ({shortlist(labels.names[code] for code in present)}) has "
            f"the name of one of {whose}, which are {shortlist(legend.names)}; give both the same "
            "names, name another attribute with --label-field, or give codes."
        )
    table = np.zeros(max(present) + 1, np.uint16)
    table[list(match.codes)] = list(match.codes.values())
    names = {item.code: item.name for item in legend}
    colors = {item.code: item.color for item in legend}
    for code in match.new:
        names[match.codes[code]] = labels.names.get(code, f"Class {code}")
        if code in labels.colors:
            colors[match.codes[code]] = labels.colors[code]
    codes = table[labels.codes]
    nominal = (match.codes[code] for code in match.new if code in labels.nominal)
    return replace(
        labels,
        codes=codes.astype(np.uint8) if codes.max(initial=0) <= 255 else codes,
        names=names,
        colors=colors,
        notes=(*labels.notes, *_match_notes(match, labels, legend, whose)),
        nominal=frozenset(nominal),
        zero=None if labels.zero is None else match.codes.get(labels.zero),
    )


def _matched(
    present: Sequence[int], labels: LabelMap, legend: Legend, *, renames: bool
) -> _ClassMatch:
    """Find the new code of each class: by name, by code, or a free one."""
    exact = {item.name: item.code for item in legend}
    loose = {normalized_name(name): code for name, code in exact.items()}
    matched: dict[int, int] = {}
    for code in present:
        name = labels.names.get(code) or str(code)
        new = exact.get(name.strip(), loose.get(normalized_name(name)))
        if new is not None:
            matched[code] = new
    by_name = list(matched)
    moved = any(code != new for code, new in matched.items())
    for code in present:
        if code in matched or code in labels.nominal or code not in legend:
            continue
        names = labels.names.get(code), legend[code].name
        nameless = any(_is_nameless(code, name) for name in names)
        usable = nameless or not by_name or (renames and not moved)
        if usable and code not in matched.values():
            matched[code] = code
    by_code = [code for code in matched if code not in by_name]
    new_codes = [code for code in present if code not in matched]
    most = max([*present, *legend.codes])
    for code in new_codes:
        used = {*legend.codes, *matched.values()}
        # Else the first free code: after the largest, or from 1.
        free = (*range(most + 1, MAX_CODE + 1), *range(1, most))
        keeps = code not in labels.nominal and code not in used
        matched[code] = (
            code if keeps else next(other for other in free if other not in used)
        )
    return _ClassMatch(matched, by_name, by_code, new_codes)


def _is_nameless(code: int, name: str | None) -> bool:
    return not name or name == f"Class {code}"


def _match_notes(
    match: _ClassMatch, labels: LabelMap, legend: Legend, whose: str
) -> list[str]:
    """Describe how classes were matched, and which are not in the legend."""
    notes = []
    if match.by_name:
        codes = sorted({match.codes[code] for code in match.by_name})
        classes = shortlist(f"{legend[code].name} ({code})" for code in codes)
        notes.append(f"Classes matched with {whose} by name: {classes}.")
    if match.by_code:
        classes = shortlist(_renamed(code, labels, legend) for code in match.by_code)
        notes.append(f"Classes matched with {whose} by code: {classes}.")
    joined: dict[int, list[int]] = {}
    for code, new in match.codes.items():
        joined.setdefault(new, []).append(code)
    for new, several in joined.items():
        if len(several) > 1:
            names = shortlist(labels.names.get(code, code) for code in several)
            notes.append(
                f"One class of {whose} for several of the labels: {names} = {new}."
            )
    if match.new:
        classes = shortlist(
            f"{labels.names.get(code, f'Class {code}')} ({match.codes[code]})"
            for code in match.new
        )
        notes.append(f"Classes that {whose} lacks, with their new codes: {classes}.")
    return notes


def _renamed(code: int, labels: LabelMap, legend: Legend) -> str:
    """Format a class that was matched by code, with the name that it loses."""
    name, lost = legend[code].name, labels.names.get(code)
    return f"{name} ({code}{'' if _is_nameless(code, lost) or lost == name else f', here {lost}'})"
