"""Label maps: class codes on the grid of an image, and how classes are named and matched."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError
from hypercover.scene.datasets.catalog import KnownMap, known_scene, recognise_labels
from hypercover.scene.grid import Grid
from hypercover.scene.legend import MAX_CODE, Legend, class_colors
from hypercover.scene.scene import Scene
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
        own_names, own_colors = dict(names or {}), dict(colors or {})
        zero_name, zero_color = own_names.pop(0, "").strip(), own_colors.pop(0, None)
        zero = _class_zero(values, nodata, zero_name)
        if zero is None:
            codes = as_codes(values, source, nodata)
            full = _full_note(codes, source, own_names) if nodata is None else ()
            return cls(codes, grid, own_names, own_colors, (*notes, *full))
        rest = values[~zero]
        most = int(as_codes(rest, source, nodata, empty=True).max(initial=0))
        code = most + 1
        if code > MAX_CODE:
            raise LabelError(
                f"{source} uses 0 as a class as well as {most}, so no code is left for it; "
                "give its classes smaller numbers."
            )
        whole = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        codes = as_codes(np.where(zero, code, whole), source, nodata)
        own_names[code] = zero_name or "Class 0"
        if zero_color is not None:
            own_colors[code] = zero_color
        note = (
            f"{source} declares {nodata:g} as no data, so 0 is a class; if 0 marks unlabelled "
            "pixels instead, declare that (gdal_edit.py -a_nodata 0)."
        )
        return cls(
            codes,
            grid,
            own_names,
            own_colors,
            (*notes, note),
            nominal=frozenset({code}),
            zero=code,
        )

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
    values: Array,
    source: object,
    nodata: float | None = None,
    *,
    empty: bool = False,
) -> Codes:
    """Convert the values of a label map to class codes.

    Integers from 0 to 65535 are codes, whatever their type.  NaN and the no-data value
    become 0, unlabelled.  ``empty`` allows a map without a labelled pixel.

    Raises
    ------
    LabelError
        If a value is not such a number, or no pixel is labelled.
    """
    numbers = (
        np.array(values, dtype=np.float64) if values.dtype.kind == "f" else values.copy()
    )
    if nodata is not None and np.isfinite(nodata):
        numbers[numbers == nodata] = 0
    if numbers.dtype.kind == "f":
        numbers[np.isnan(numbers)] = 0
        _check_whole(numbers, source)
    _check_range(numbers, source)
    codes: Codes = numbers.astype(np.uint8 if numbers.max(initial=0) <= 255 else np.uint16)
    if not codes.any() and not empty:
        raise LabelError(
            f"No pixel is labelled in {source}: all are 0; give a file with class codes."
        )
    return codes


def _check_whole(numbers: Array, source: object) -> None:
    odd = numbers[~np.isfinite(numbers) | (numbers != np.floor(numbers))]
    if odd.size:
        raise LabelError(
            f"Labels must be whole numbers, found {odd[0]:g} in {source}; give a map "
            "of class codes, not an image."
        )


def _check_range(numbers: Array, source: object) -> None:
    if numbers.dtype.kind == "b" or numbers.size == 0:
        return
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0 or high > MAX_CODE:
        wrong = low if low < 0 else high
        raise LabelError(
            f"Labels must be between 0 and {MAX_CODE}, found {wrong:g} in {source}; mark "
            "unlabelled pixels with 0."
        )


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


def check_placement(
    found: Grid | None, grid: Grid, source: object, what: str = "labels"
) -> None:
    """Refuse labels, or another layer, on another grid than the image, if both have one.

    Raises
    ------
    LabelError
        If the coordinate systems differ or the grids are shifted.
    """
    if found is None or not (found.placed and grid.placed):
        return
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
    if found is not None and found.placed and grid.placed:
        for axes in ((0,), (1,), (0, 1)):
            flipped = found.flipped(*axes)
            if grid_offset(flipped, grid) <= _APART:
                values, found = np.flip(values, axes), flipped
    check_placement(found, grid, source, what)
    return values


def _same_crs(one: str, other: str) -> bool:
    from rasterio.crs import CRS

    return one == other or bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def grid_offset(found: Grid, grid: Grid) -> float:
    """Return the largest distance between corners of two grids, in pixels of the second."""
    corners = np.array([[0, 0, 1], [grid.cols, 0, 1], [0, grid.rows, 1]], dtype=float).T
    here, there = (np.array(one.transform).reshape(2, 3) for one in (grid, found))
    pixel = float(np.sqrt(abs(np.linalg.det(here[:, :2])))) or 1.0
    return float(np.abs((there - here) @ corners).max() / pixel)


def legend_of(
    labels: LabelMap, given: Legend | None = None
) -> tuple[Legend, tuple[str, ...]]:
    """Make the legend of a label map, and notes on it.

    Names come from the user's table, then from the file, then from a recognised
    benchmark map; other classes are called ``Class 7``.
    """
    codes = [int(code) for code in np.unique(labels.codes) if code > 0]
    table = given or Legend()
    known = recognise_labels(labels.codes)
    names = dict(known.names) if known else {}
    names |= {code: name for code, name in labels.names.items() if name.strip()}
    names |= dict(zip(table.codes, table.names, strict=True))
    colors = dict(labels.colors) | {land.code: land.color for land in table}
    all_names = {code: names.get(code, f"Class {code}") for code in codes}
    legend = Legend.of(all_names, class_colors(all_names, colors))
    notes = [] if known is None else _known_notes(known)
    unnamed = [code for code in codes if code not in names]
    if unnamed and any(code != labels.zero for code in names):
        plural = "s" if len(unnamed) > 1 else ""
        notes.append(f"No class name is known for code{plural} {shortlist(unnamed)}.")
    notes += _empty_note({code: names[code] for code in sorted({*names} - {0, *codes})})
    notes += _alike_notes(legend.names)
    if labels.zero is not None and labels.zero in legend:
        notes.append(f"Code {labels.zero} ({legend[labels.zero].name}) is 0 in the labels.")
    return legend, tuple(notes)


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


def _empty_note(names: Mapping[int, str]) -> list[str]:
    """Note the classes of the legend that are not in the map."""
    if not names:
        return []
    shown = shortlist(f"{name} ({code})" for code, name in names.items())
    return [f"Classes of the legend without a labelled pixel: {shown}."]


def _known_notes(known: KnownMap) -> list[str]:
    """Note which published map and scene the labels are."""
    scene = known_scene(known.scene)
    notes = [
        f"Labels recognised by their content: {known.title}.",
        f"The scene they belong to: {scene.title}, {scene.sensor}.",
    ]
    return [*notes, known.note] if known.note else notes


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


@dataclass(frozen=True)
class _ClassMatch:
    """How the classes of a label map correspond to those of a legend."""

    codes: dict[int, int]
    """New code of each class by its old one."""
    by_name: tuple[int, ...]
    """Old codes of classes matched by name."""
    by_code: tuple[int, ...]
    """Old codes of classes matched by code."""
    new: tuple[int, ...]
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
    present = [int(code) for code in np.unique(labels.codes) if code > 0]
    match = _matched(present, labels, legend, renames=renames)
    if labels.nominal.issuperset(present) and len(match.new) == len(present):
        raise LabelError(
            f"No class of the labels ({shortlist(labels.names[code] for code in present)}) has "
            f"the name of one of {whose}, which are {shortlist(legend.names)}; give both the same "
            "names, name another attribute with --label-field, or give codes."
        )
    table = np.zeros(max(present) + 1, np.uint16)
    for code, taken in match.codes.items():
        table[code] = taken
    known = {land.code: land for land in legend}
    names = {code: land.name for code, land in known.items()}
    colors = {code: land.color for code, land in known.items()}
    for code in match.new:
        taken = match.codes[code]
        names[taken] = labels.names.get(code, f"Class {code}")
        if code in labels.colors:
            colors[taken] = labels.colors[code]
    codes = table[labels.codes]
    return replace(
        labels,
        codes=codes.astype(np.uint8) if codes.max(initial=0) <= 255 else codes,
        names=names,
        colors=colors,
        notes=(*labels.notes, *_match_notes(match, labels, legend, whose)),
        nominal=frozenset(
            match.codes[code] for code in match.new if code in labels.nominal
        ),
        zero=None if labels.zero is None else match.codes.get(labels.zero),
    )


def _matched(
    present: Sequence[int], labels: LabelMap, legend: Legend, *, renames: bool
) -> _ClassMatch:
    """Find the new code of each class: by name, by code, or a free one."""
    exact = {name: code for code, name in zip(legend.codes, legend.names, strict=True)}
    loose = {normalized_name(name): code for name, code in exact.items()}
    taken: dict[int, int] = {}
    for code in present:
        name = labels.names.get(code) or str(code)
        at = exact.get(name.strip(), loose.get(normalized_name(name)))
        if at is not None:
            taken[code] = at
    by_name = tuple(taken)
    named = {code: legend[code].name for code in legend.codes}
    moved = any(code != at for code, at in taken.items())
    for code in present:
        if code in taken or code in labels.nominal or code not in legend:
            continue
        silent = _is_nameless(code, labels.names.get(code)) or _is_nameless(
            code, named[code]
        )
        free = code not in taken.values()
        if free and (silent or not by_name or (renames and not moved)):
            taken[code] = code
    by_code = tuple(code for code in taken if code not in by_name)
    new = tuple(code for code in present if code not in taken)
    most = max([*present, *legend.codes])
    for code in new:
        used = {*legend.codes, *taken.values()}
        keeps = code not in labels.nominal and code not in used
        taken[code] = code if keeps else next(_free(used, most))
    return _ClassMatch(taken, by_name, by_code, new)


def _free(used: set[int], most: int) -> Iterator[int]:
    """Yield unused codes: after the largest, then from 1."""
    yield from (code for code in (*range(most + 1, MAX_CODE + 1), *range(1, most))
                if code not in used)  # fmt: skip


def _is_nameless(code: int, name: str | None) -> bool:
    return not name or name == f"Class {code}"


def _match_notes(
    match: _ClassMatch, labels: LabelMap, legend: Legend, whose: str
) -> list[str]:
    """Describe how classes were matched, and which are not in the legend."""
    taken = match.codes
    notes = []
    if match.by_name:
        codes = sorted({taken[code] for code in match.by_name})
        known = shortlist(f"{legend[code].name} ({code})" for code in codes)
        notes.append(f"Classes matched with {whose} by name: {known}.")
    if match.by_code:
        known = shortlist(_renamed(code, labels, legend) for code in match.by_code)
        notes.append(f"Classes matched with {whose} by code: {known}.")
    joined = [
        at for at in dict.fromkeys(taken.values()) if list(taken.values()).count(at) > 1
    ]
    for at in joined:
        own = shortlist(labels.names.get(code, code) for code in taken if taken[code] == at)
        notes.append(f"One class of {whose} for several of the labels: {own} = {at}.")
    if match.new:
        new = [f"{labels.names.get(c, f'Class {c}')} ({taken[c]})" for c in match.new]
        notes.append(f"Classes that {whose} lacks, with their new codes: {shortlist(new)}.")
    return notes


def _renamed(code: int, labels: LabelMap, legend: Legend) -> str:
    """Format a class that was matched by code, with the name that it loses."""
    name, here = legend[code].name, labels.names.get(code)
    return f"{name} ({code}{'' if _is_nameless(code, here) or here == name else f', here {here}'})"


def drop_classes(
    scene: Scene,
    *,
    codes: Iterable[int] = (),
    names: Iterable[str] = (),
    min_pixels: int = 0,
) -> Scene:
    """Make the pixels of some classes unlabelled.

    Parameters
    ----------
    scene : Scene
        With labels.
    codes : iterable of int
        Codes of classes to drop.
    names : iterable of str
        Names of classes to drop.
    min_pixels : int
        Classes with fewer labelled pixels are dropped as well.

    Raises
    ------
    LabelError
        If the scene has no labels or no such class, or no class remains.
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels; give a label file as well."
        )
    counts = np.bincount(scene.labels.ravel(), minlength=1)
    dropped = {_known_code(scene, code) for code in codes}
    dropped |= {_code_of(scene, name) for name in names}
    dropped |= {code for code in scene.legend.codes if counts[code] < min_pixels}
    if dropped and dropped >= set(scene.legend.codes):
        raise LabelError(
            f"No class of {scene.name} remains: the largest has {int(counts[1:].max()):,} "
            f"pixels, and {len(dropped)} classes were to be dropped; drop fewer."
        )
    if not dropped:
        return scene
    rest = np.where(np.isin(scene.labels, sorted(dropped)), 0, scene.labels)
    classes = ", ".join(
        f"{scene.legend[code].name} ({int(counts[code]):,} pixels)"
        for code in sorted(dropped)
    )
    changed = scene.with_labels(rest.astype(scene.labels.dtype))
    return changed.noting(f"Classes left out: {classes}.")


def _known_code(scene: Scene, code: int) -> int:
    if code in scene.legend:
        return int(code)
    raise LabelError(
        f"{scene.name} has no class with code {code}; its codes are "
        f"{', '.join(map(str, scene.legend.codes))}."
    )


def _code_of(scene: Scene, name: str) -> int:
    key = name.strip().casefold()
    codes = [land.code for land in scene.legend if land.name.casefold() == key]
    if len(codes) == 1:
        return codes[0]
    what = "no class" if not codes else "more than one class"
    raise LabelError(
        f"{scene.name} has {what} named {name!r}; its classes are "
        f"{', '.join(scene.legend.names)}."
    )
