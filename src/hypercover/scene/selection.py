"""Selection of parts of a scene: rectangles, areas, bands and classes."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hypercover.errors import LabelError, SceneError, counted
from hypercover.scene.datasets.catalog import aviris_bands
from hypercover.scene.encoding import with_fill_value
from hypercover.scene.grid import Grid
from hypercover.scene.io.array_files import ARRAY_READERS, ArrayFile
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.named_arrays import describe
from hypercover.scene.labels import flip_to_grid, replaced_options
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import bounding_slice
from hypercover.scene.wavelengths import format_nm
from hypercover.types import Floats, Ints, Mask

_RECTANGLE = re.compile(r"\s*(\d{0,9}):(\d{0,9})\s*,\s*(\d{0,9}):(\d{0,9})\s*")


def crop(scene: Scene, part: str) -> Scene:
    """Crop a scene and its labels to a rectangle; the cube stays in its file.

    Parameters
    ----------
    scene : Scene
    part : str
        Slices of rows and columns as in NumPy: ``"0:1417,0:617"`` or ``":1417,:"``.

    Raises
    ------
    SceneError
        If the part cannot be parsed, is empty, or exceeds the image.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> scene = Scene(xr.DataArray(np.ones((2, 9, 5)), dims=("band", "y", "x")))
    >>> crop(scene, "2:6,:4").shape
    (4, 4)
    """
    rows, cols = _slices(part, scene)
    cut = scene.isel(y=rows, x=cols)
    return cut.noting(
        f"Cropped to rows {rows.start} to {rows.stop - 1} and columns {cols.start} to "
        f"{cols.stop - 1} of {scene.shape[0]} × {scene.shape[1]}."
    )


def _slices(part: str, scene: Scene) -> tuple[slice, slice]:
    """Parse the rows and columns of a part."""
    match = _RECTANGLE.fullmatch(part)
    ends = [int(text) if text else None for text in match.groups()] if match else []
    if ends:
        rows = slice(ends[0] or 0, scene.shape[0] if ends[1] is None else ends[1])
        cols = slice(ends[2] or 0, scene.shape[1] if ends[3] is None else ends[3])
        inside = rows.stop <= scene.shape[0] and cols.stop <= scene.shape[1]
        if rows.start < rows.stop and cols.start < cols.stop and inside:
            return rows, cols
    raise SceneError(
        f"A crop must be rows and columns of the image, {scene.shape[0]} × "
        f"{scene.shape[1]}, such as '0:{scene.shape[0]},0:{scene.shape[1]}', got {part!r}."
    )


def read_area(
    path: str | Path, grid: Grid, layer: str | None = None, option: str = "--within-layer"
) -> Mask:
    """Read an area from a file as a mask (y, x) on a grid.

    The file holds shapes in any coordinate system, or a raster on the grid with
    nonzero pixels inside the area.

    Parameters
    ----------
    path : path
    grid : Grid
    layer : str, optional
        Layer of a vector file, if it has several.
    option : str
        Name of the option for the layer in messages.

    Raises
    ------
    LabelError
        If it does not fit the grid, or contains no pixel.
    SceneError
        If it cannot be read.
    """
    file = local_file(path)
    kind = detect_type(file)
    if kind is FileType.VECTOR:
        from hypercover.scene.io.vector import read_vector_area

        own = {"--label-layer NAME (scene.label_layer)": f"{option} NAME"}
        with replaced_options(own | {"--label-layer": option}):
            return read_vector_area(file, grid, layer)
    nodata = None
    if kind in ARRAY_READERS:
        members = ArrayFile(file, kind).members
        fitting = [each for each in members if each.is_numeric and each.shape == grid.shape]
        if len(fitting) != 1:
            raise LabelError(
                f"An area must be one array of the size of the image, {grid.rows} rows × "
                f"{grid.cols} columns, found in {file} {describe(members) or 'no array'}; give "
                "a file with that array alone, or polygons."
            )
        values = np.asarray(fitting[0].values())
    else:
        from hypercover.scene.io.raster import read_band

        raster = read_band(file, what="area")
        values = flip_to_grid(raster.values, raster.grid, grid, file, what="area")
        nodata = raster.nodata
    inside: Mask = np.isfinite(values) & (values != 0)
    if nodata is not None:
        inside &= np.asarray(values != nodata)
    if not inside.any():
        raise LabelError(
            f"All pixels of {file} are zero; give an area with at least one nonzero pixel."
        )
    return inside


def clip(scene: Scene, area: Mask | str | Path) -> Scene:
    """Clip a scene to an area and crop it to the bounding rectangle.

    Pixels outside the area have no data and no label.  The cube stays in its file
    until it is read; see :func:`~hypercover.scene.encoding.with_fill_value` for the value of
    no data.

    Parameters
    ----------
    scene : Scene
    area : array of bool (y, x), or path
        See :func:`~hypercover.scene.selection.read_area`.

    Raises
    ------
    LabelError
        If the area has another size, cannot be read, or is empty.

    Examples
    --------
    >>> import xarray as xr
    >>> cube = xr.DataArray(np.ones((2, 4, 5)), dims=("band", "y", "x"))
    >>> area = np.zeros((4, 5), bool)
    >>> area[1:3, 1:4] = area[0, 2] = True
    >>> part = clip(Scene(cube), area)
    >>> part.shape, part.valid.astype(int).tolist()
    ((3, 3), [[0, 1, 0], [1, 1, 1], [1, 1, 1]])
    """
    inside = area if isinstance(area, np.ndarray) else read_area(area, scene.grid)
    if inside.shape != scene.shape or not inside.any():
        raise LabelError(
            "An area must have the size of the image and at least one pixel, got "
            f"{' × '.join(map(str, inside.shape))} for {scene.shape[0]} × {scene.shape[1]}."
        )
    rows, cols = (bounding_slice(np.flatnonzero(inside.any(axis=axis))) for axis in (1, 0))
    part, mask = scene.isel(y=rows, x=cols), inside[rows, cols]
    if part.labels is not None:
        codes = np.where(mask, part.labels, 0).astype(part.labels.dtype)
        part = part.with_labels(codes)
    return with_fill_value(part, mask)


BandSpec = str | int | Sequence[int | str]

_AVIRIS_WATER = (*range(104, 109), *range(150, 164), 220)
"""Bands of AVIRIS in 1992, of 220, that water vapour makes opaque."""
_WATER_NM = ((1350.0, 1430.0), (1800.0, 1960.0))
"""The two water vapour bands of the atmosphere, for other sensors."""
_NUMBERS = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*(nm|um|µm)")
_HOW = (
    "write band numbers such as 1-10,15, wavelengths such as 400-900nm, "
    "'water-absorption' or 'bad'"
)


def select_bands(
    scene: Scene, *, keep: BandSpec | None = None, drop: BandSpec | None = None
) -> Scene:
    """Select bands of a scene.

    Parameters
    ----------
    scene : Scene
    keep, drop : str, int or sequence, optional
        Bands to keep and to drop; those in both are dropped.  Parts are separated by
        commas: numbers as in ``scene.bands`` (from 1, both ends of a range included),
        ranges of wavelengths such as ``"400-900nm"`` or ``"0.4-0.9um"``, and the names
        ``"water-absorption"`` and ``"bad"`` (bands the file marks as bad).

    Examples
    --------
    >>> import xarray as xr
    >>> scene = Scene(xr.DataArray(np.ones((5, 2, 2)), dims=("band", "y", "x")))
    >>> select_bands(scene, keep="1-3,5", drop=2).bands.tolist()
    [1, 3, 5]

    Raises
    ------
    SceneError
        If a part cannot be parsed or matches no band, or no band remains.
    """
    chosen = np.ones(scene.n_bands, dtype=bool)
    rules: list[str] = []
    for spec, keeps in ((keep, True), (drop, False)):
        if spec is None:
            continue
        selected = np.zeros(scene.n_bands, dtype=bool)
        for part in _parts(spec):
            bands, rule = _select(scene, part)
            selected |= bands
            rules += [rule] if rule else []
        chosen &= selected if keeps else ~selected
    if not chosen.any():
        raise SceneError(
            f"None of the {scene.n_bands} bands of {scene.name} remains; keep more or drop "
            "fewer."
        )
    if chosen.all():
        return scene.noting(*rules)
    note = (
        f"{int(chosen.sum())} of {scene.n_bands} bands are used; left out: "
        f"{_ranges(scene.bands[~chosen])}."
    )
    return scene.take_bands(np.flatnonzero(chosen).tolist()).noting(*rules, note)


def _ranges(numbers: Ints) -> str:
    """Format band numbers as ranges.

    Examples
    --------
    >>> _ranges(np.array([1, 2, 3, 7]))
    '1-3, 7'
    """
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    shown = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(shown[:40]) + (" …" if len(shown) > 40 else "")


def _parts(spec: BandSpec) -> list[str]:
    """Split a specification into its parts."""
    items = [spec] if isinstance(spec, str | int) else list(spec)
    parts = [part.strip() for item in items for part in str(item).split(",")]
    if not parts or not all(parts):
        raise SceneError(f"The specification {spec!r} contains no band; {_HOW}.")
    return parts


def _select(scene: Scene, part: str) -> tuple[Mask, str]:
    """Return which bands a part selects, and a note on how a name was understood."""
    if part.lower() == "water-absorption":
        return _water(scene)
    if part.lower() == "bad":
        count = int(scene.bad.sum())
        return scene.bad, f"The file marks {counted(count, 'band')} as bad."
    if numbers := _NUMBERS.fullmatch(part):
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        chosen = (scene.bands >= first) & (scene.bands <= last)
        named = f"no band {first}" if first == last else f"no band {first}-{last}"
        held = f"bands are numbered {scene.bands.min()} to {scene.bands.max()}"
    elif span := _RANGE.fullmatch(part.lower()):
        centres = _wavelengths(scene, part)
        low, high = (float(span[at]) * (1.0 if span[3] == "nm" else 1e3) for at in (1, 2))
        chosen = (centres >= low) & (centres <= high)
        named = f"no band in {part}"
        ends = format_nm(centres.min()), format_nm(centres.max())
        held = f"wavelengths range from {ends[0]} to {ends[1]} nm"
    else:
        raise SceneError(f"The bands {part!r} are not understood; {_HOW}.")
    if not chosen.any():
        raise SceneError(f"{scene.name} has {named}; its {held}.")
    return chosen, ""


def _wavelengths(scene: Scene, part: str) -> Floats:
    if scene.wavelengths is None:
        raise SceneError(
            f"The bands {part!r} need wavelengths, and {scene.name} has none; select bands "
            "by number, for example 1-10,15."
        )
    return scene.wavelengths


def _is_aviris(scene: Scene) -> bool:
    """Tell whether the band numbers are those of the 220 AVIRIS bands of 1992."""
    aviris = np.asarray(aviris_bands().wavelengths)
    if scene.bands.max() > len(aviris):
        return False
    if scene.wavelengths is None:
        return scene.n_bands == len(aviris)
    return bool(np.abs(aviris[scene.bands - 1] - scene.wavelengths).max() < 1.0)


def _water(scene: Scene) -> tuple[Mask, str]:
    if _is_aviris(scene):
        chosen = np.isin(scene.bands, _AVIRIS_WATER)
        rule = "bands 104-108, 150-163 and 220 of the 220 of AVIRIS"
    else:
        centres = _wavelengths(scene, "water-absorption")
        chosen = np.zeros(scene.n_bands, dtype=bool)
        for low, high in _WATER_NM:
            chosen |= (centres >= low) & (centres <= high)
        rule = "wavelengths of 1350-1430 nm and 1800-1960 nm"
    count = f"{int(chosen.sum())} of them are" if chosen.any() else "none of them is"
    return chosen, f"Water absorption means {rule}; {count} in this image."


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

    Examples
    --------
    >>> labels = [[1, 1], [2, 0]]
    >>> scene = Scene.from_array(np.ones((3, 2, 2)), labels, {1: "Corn", 2: "Oats"})
    >>> drop_classes(scene, names=["oats"]).labels.tolist()
    [[1, 1], [0, 0]]
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels; give a label file as well."
        )
    legend, counts = scene.legend, np.bincount(scene.labels.ravel(), minlength=1)
    dropped = {_code_of(scene, code) for code in codes}
    dropped |= {_code_of(scene, name) for name in names}
    dropped |= {code for code in legend.codes if counts[code] < min_pixels}
    if dropped and dropped >= set(legend.codes):
        raise LabelError(
            f"No class of {scene.name} remains: the largest has {int(counts[1:].max()):,} "
            f"pixels, and {len(dropped)} classes were to be dropped; drop fewer."
        )
    if not dropped:
        return scene
    rest = np.where(np.isin(scene.labels, sorted(dropped)), 0, scene.labels)
    classes = (f"{legend[code].name} ({counts[code]:,} pixels)" for code in sorted(dropped))
    changed = scene.with_labels(rest.astype(scene.labels.dtype))
    return changed.noting(f"Classes left out: {', '.join(classes)}.")


def _code_of(scene: Scene, class_: int | str) -> int:
    """Return the code of a class of a scene, given its code or its name."""
    legend = scene.legend
    if not isinstance(class_, str):
        if class_ in legend:
            return int(class_)
        raise LabelError(
            f"{scene.name} has no class with code {class_}; its codes are "
            f"{', '.join(map(str, legend.codes))}."
        )
    key = class_.strip().casefold()
    codes = [item.code for item in legend if item.name.casefold() == key]
    if len(codes) == 1:
        return codes[0]
    raise LabelError(
        f"{scene.name} has {'more than one' if codes else 'no'} class named {class_!r}; its "
        f"classes are {', '.join(legend.names)}."
    )
