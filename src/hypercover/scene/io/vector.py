"""Labels from vector files: the attribute that names the class, burnt into pixels."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from hypercover.errors import LabelError, counted
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_tables import Style, vector_style
from hypercover.scene.io.file_types import VECTOR_FORMATS, is_json
from hypercover.scene.io.gdal import GDAL_ERRORS, read_vector, vector_info, vector_layers
from hypercover.scene.io.geopackage import check_geopackage, is_sqlite
from hypercover.scene.labels import LabelMap, as_codes, listed
from hypercover.scene.legend import MAX_CODE

__all__ = ["check_geojson", "read_vector_area", "read_vector_labels"]

_LARGEST = 2**28
"""Bytes of a GeoJSON file, which is read whole."""

_LINKING = ("link", "url")


class _LinkError(ValueError):
    """The coordinate system is given by an address."""


def check_geojson(path: Path) -> None:
    """Refuse a GeoJSON file whose coordinate system is an address on a network.

    GeoJSON of 2008 may name its ``crs`` by a link, and GDAL fetches it on
    opening: a label file would tell a stranger who opens it.

    Raises
    ------
    LabelError
        If there is such a link, or the file is no JSON or too large to tell.
    """
    if path.stat().st_size > _LARGEST:
        raise LabelError(
            f"{path} is larger than {_LARGEST // 2**20} MiB; save the shapes as GeoPackage."
        )
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            # No deviation is forgiven: what is read here must be what GDAL reads.
            json.load(file, object_pairs_hook=_look)
    except _LinkError as error:
        raise LabelError(
            f"{path} gives its coordinate system as a network address, which is never "
            "followed; save it as GeoPackage, or as GeoJSON in WGS 84."
        ) from error
    except (ValueError, RecursionError) as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: it is no GeoJSON; save it as "
            "GeoPackage or GeoJSON."
        ) from error


def _look(pairs: list[tuple[str, Any]]) -> None:
    """Look at one object, and keep nothing of it."""
    keys = {key.lower() for key, _ in pairs}
    kinds = [value for key, value in pairs if key.lower() == "type"]
    links = any(
        isinstance(kind, str) and kind.lower().startswith(_LINKING) for kind in kinds
    )
    if links and "properties" in keys:
        raise _LinkError


_LARGEST_VECTOR = 2**31
"""Bytes of a vector file that is read whole."""

_MOST = 20_000_000
"""Shapes that are read, some gigabytes in memory."""

_LEAST = 8
"""Bytes that a shape takes at least; memory is taken for as many as a file says."""

_DRIVERS = {"GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"}
"""Formats that hold their shapes themselves: others can point to files and networks."""

_USUAL = {"class", "class_id", "class_name", "classname", "code", "label", "labels",
          "landcover", "land_cover", "category", "klasse", "type", "gt"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Shapes:
    """The geometries of a layer, the class attribute and the coordinate system."""

    geometries: npt.NDArray[np.object_]
    """Shapely geometries (n,)."""
    classes: npt.NDArray[Any]
    """Value of the class attribute of each (n,)."""
    field: str
    """Name of that attribute."""
    crs: str | None
    """Coordinate system as text, or None."""
    layer: str | None = None
    """Name of the layer."""


def read_vector_labels(
    path: Path, grid: Grid, field: str | None = None, layer: str | None = None
) -> LabelMap:
    """Burn the shapes of a vector file into a label map of this grid.

    A whole number is a code, also where it is written as text; other text is a
    name, and names are numbered in alphabetical order.  A pixel belongs to the
    shape its centre lies in; where shapes of two classes claim it, it stays
    unlabelled.  Shapes and classes that label no pixel are counted in ``losses``.

    Raises
    ------
    LabelError
        If the file is damaged, the layer or the attribute is ambiguous, the image has
        no georeference, or no shape lies on the image.
    """
    if not grid.placed:
        raise LabelError(
            f"The shapes of {path} cannot be laid on an image without a georeference; "
            "give labels as a raster of the image's size."
        )
    shapes = _read(path, field, layer)
    codes, names, nominal = _coded(shapes, path)
    usable = _usable(shapes)
    inside = (codes > 0) & usable
    geometries = _reprojected(shapes.geometries[inside], shapes.crs, grid, path)
    burnt, contested = _burn(geometries, codes[inside], grid)
    if not burnt.any():
        raise LabelError(
            f"No shape of {path} covers the centre of a pixel of the image; check that "
            f"both lie in the same place{_degrees(shapes, grid)}."
        )
    notes = [
        f"Labels: {counted(len(geometries), 'shape')} of {path.name}, attribute {shapes.field!r}."
    ]
    if shapes.crs is None:
        notes.append(f"{path.name} names no coordinate system; the image's was taken.")
    if contested:
        notes.append(
            f"{contested:,} pixels lie in shapes of more than one class and stay unlabelled."
        )
    losses = _left_out(shapes, usable, codes)
    on_top = _burnt(geometries, np.arange(1, len(geometries) + 1), grid, np.uint32)
    losses += _lost(geometries, codes[inside], burnt, on_top, names, grid)
    names, colors = _styled(vector_style(path, shapes.layer), shapes.field, names)
    return LabelMap(
        as_codes(burnt, path),
        names=names,
        colors=colors,
        notes=tuple(notes),
        losses=tuple(losses),
        nominal=nominal,
        shapes=on_top.astype(np.min_scalar_type(len(geometries))),
    )


def _styled(
    style: Style, field: str, names: dict[int, str]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return names and colours with those of a style of the class attribute."""
    if style.attribute and style.attribute.casefold() != field.casefold():
        return names, {}
    labels, colors = style.by_code()
    own = {name: code for code, name in names.items()}
    colors = {code: color for code, color in colors.items() if code not in names}
    colors |= {own[text]: color for text, color in style.colors.items() if text in own}
    labels = {code: label for code, label in labels.items() if label != str(code)}
    return labels | names, colors


def _left_out(
    shapes: _Shapes, usable: npt.NDArray[np.bool_], codes: npt.NDArray[np.int64]
) -> list[str]:
    """Count the shapes without a class or geometry, and those of code 0."""
    told = []
    bare = int(np.count_nonzero(~usable))
    if bare:
        told.append(f"{counted(bare, 'shape')} without a geometry: left out.")
    nameless = int(np.count_nonzero(codes < 0))
    if nameless:
        told.append(f"{counted(nameless, 'shape')} without a class: left out.")
    zero = int(np.count_nonzero(usable & (codes == 0)))
    if zero:
        told.append(
            f"{counted(zero, 'shape')} of code 0, which means unlabelled: left out; if it is "
            "a class, give it another number or a name."
        )
    return told


def _lost(
    geometries: npt.NDArray[np.object_],
    codes: npt.NDArray[np.int64],
    burnt: npt.NDArray[np.uint16],
    on_top: npt.NDArray[np.uint32],
    names: Mapping[int, str],
    grid: Grid,
) -> list[str]:
    """Count the shapes that label no pixel, and name the classes that are lost with them."""
    beside, tiny, under = _unseen(geometries, on_top, grid)
    told = []
    for where, words in (
        (beside, "outside the image"),
        (tiny, "without the centre of a pixel in it"),
        (under, "wholly under other shapes"),
    ):
        if where.any():
            own = _per_class(codes[where], names)
            told.append(
                f"{counted(int(where.sum()), 'shape')} of {len(codes):,} {words}: {own}."
            )
    gone = sorted({*codes.tolist()} - {*np.unique(burnt).tolist()})
    if gone:
        told.append(
            f"Classes lost, because no shape of them labels a pixel: {_per_class(np.array(gone), names, count=False)}."
        )
    return told


def _per_class(
    codes: npt.NDArray[np.int64], names: Mapping[int, str], *, count: bool = True
) -> str:
    """List classes, with how many shapes each has."""
    found, numbers = np.unique(codes, return_counts=True)
    shown = [names.get(int(code), f"class {code}") for code in found]
    if count:
        shown = [f"{n:,} of {name}" for name, n in zip(shown, numbers, strict=True)]
    return listed(shown)


def _unseen(
    geometries: npt.NDArray[np.object_], on_top: npt.NDArray[np.uint32], grid: Grid
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell which shapes lie outside, cover no centre of a pixel, or lie under others.

    A shape that is seen when all are burnt one on another needs no closer look.
    """
    import shapely

    count = len(geometries)
    seen = np.zeros(count + 1, np.bool_)
    seen[np.unique(on_top)] = True
    unseen = ~seen[1:]
    to_ground = np.array(grid.transform).reshape(2, 3)
    to_pixels = np.linalg.inv(to_ground[:, :2]).T

    def moved(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray((points - to_ground[:, 2]) @ to_pixels)

    places = shapely.transform(geometries, moved)
    image = shapely.box(0, 0, grid.cols, grid.rows)
    outside = unseen & ~shapely.intersects(places, image)
    covering = np.zeros(count, np.bool_)
    for at in np.flatnonzero(unseen & ~outside):
        covering[at] = _covers(places[at], grid)
    return outside, unseen & ~outside & ~covering, unseen & covering


def _degrees(shapes: _Shapes, grid: Grid) -> str:
    """Say of coordinates without a system that they are degrees where the image's are not."""
    import shapely

    bounds = shapely.total_bounds(np.asarray(shapes.geometries, dtype=object))
    far = max(map(abs, grid.transform[2::3])) > 360
    if shapes.crs is not None or not far or not (np.abs(bounds) <= 360).all():
        return ""
    return (
        "; its coordinates look like degrees, and it names no coordinate system (ogr2ogr -a_srs "
        "EPSG:4326 writes a copy that does)"
    )


def _covers(shape: Any, grid: Grid) -> bool:
    """Tell whether a shape, in pixels, covers the centre of one of the image."""
    left, top, right, bottom = shape.bounds
    row, col = max(int(top), 0), max(int(left), 0)
    high = min(int(np.ceil(bottom)) + 1, grid.rows) - row
    wide = min(int(np.ceil(right)) + 1, grid.cols) - col
    if high <= 0 or wide <= 0:
        return False
    window = Grid(high, wide, None, tuple(Affine.translation(col, row))[:6])
    return bool(_burnt([shape], np.ones(1, np.int64), window, np.uint8).any())


def read_vector_area(
    path: Path, grid: Grid, layer: str | None = None
) -> npt.NDArray[np.bool_]:
    """Tell which pixels (y, x) of a grid have their centre in a shape of a vector file.

    ``layer`` names one of several.

    Raises
    ------
    LabelError
        If the file is damaged, the image has no georeference, or no shape lies on it.
    """
    if not grid.placed:
        raise LabelError(
            f"The shapes of {path} cannot be laid on an image without a georeference; "
            "give a raster of the image's size."
        )
    shapes = _read(path, None, layer, bare=True)
    geometries = _reprojected(shapes.geometries[_usable(shapes)], shapes.crs, grid, path)
    inside, _ = _burn(geometries, np.ones(len(geometries), np.int64), grid)
    if not inside.any():
        raise LabelError(
            f"No shape of {path} covers the centre of a pixel of the image; check that "
            f"both lie in the same place{_degrees(shapes, grid)}."
        )
    return inside > 0


def _read(
    path: Path, field: str | None, asked: str | None = None, *, bare: bool = False
) -> _Shapes:
    """Read shapes and the attribute of their class, or none of all attributes."""
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    _check_file(path)
    try:
        layer = _layer(path, vector_layers(path), asked)
        for encoding in _encodings(path):
            try:
                info = _checked(path, vector_info(path, layer, encoding))
                chosen = [] if bare else [_field(path, info, field)]
                meta, _, wkb, columns = read_vector(path, layer, chosen, encoding)
                break
            except UnicodeDecodeError:
                continue
        else:
            raise LabelError(
                f"The text of {path} is in no encoding that is read; save it as GeoPackage."
            )
        geometries = shapely.from_wkb(wkb)
    except LabelError:
        raise
    except (
        DataSourceError,
        DataLayerError,
        shapely.errors.ShapelyError,
        ValueError,
        IndexError,
    ) as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: it is damaged or of an unknown "
            "format; save it as GeoPackage or GeoJSON."
        ) from error
    # A GeoPackage keeps the number beside the shapes, and other programs let it grow old.
    stated = 1 if info["driver"] == "GPKG" else max(1, info["features"])
    if len(geometries) < stated:
        raise LabelError(
            f"{path} says that it holds {info['features']:,} shapes, of which "
            f"{len(geometries):,} can be read; it is damaged: save it again."
        )
    _refuse_lines(path, geometries)
    classes = np.zeros(len(geometries)) if bare else np.asarray(columns[0])
    return _Shapes(geometries, classes, "".join(chosen), meta["crs"], layer)


def _encodings(path: Path) -> tuple[str | None, str]:
    """Return the encodings to try in turn; None is what the file states.

    A Shapefile without a ``.cpg`` and a language in its ``.dbf`` states none, and GDAL
    would take UTF-8 for Latin-1; text in Latin-1 is hardly ever valid UTF-8.
    """
    table = next((one for one in (path.with_suffix(".dbf"), path.with_suffix(".DBF"))
                  if one.is_file()), None)  # fmt: skip
    if path.suffix.lower() != ".shp" or table is None:
        return None, "cp1252"
    stated = any(path.with_suffix(suffix).is_file() for suffix in (".cpg", ".CPG"))
    with table.open("rb") as file:
        language = file.read(30)[29:30]
    return (None if stated or language not in (b"", b"\0") else "UTF-8"), "cp1252"


def _check_file(path: Path) -> None:
    """Refuse what must not be handed to GDAL."""
    if path.stat().st_size > _LARGEST_VECTOR:
        raise LabelError(
            f"{path} is larger than 2 GiB; give the shapes that are needed alone."
        )
    if is_json(path):
        check_geojson(path)
    if path.suffix.lower() == ".shp":
        _check_parts(path)
    elif is_sqlite(path):
        check_geopackage(path)


def _check_parts(path: Path) -> None:
    """Name the parts of a shapefile that are not beside it."""
    there = {one.name.lower() for one in path.parent.iterdir()}
    parts = {".shx": "the index of the shapes", ".dbf": "their attributes"}
    lacking = [
        f"{path.stem}{suffix} ({what})"
        for suffix, what in parts.items()
        if f"{path.stem}{suffix}".lower() not in there
    ]
    if lacking:
        raise LabelError(
            f"The shapefile {path} lacks {' and '.join(lacking)}; copy all files of that name "
            "into one folder, or save the shapes as GeoPackage."
        )


def _refuse_lines(path: Path, geometries: npt.NDArray[np.object_]) -> None:
    """Refuse lines: the pixels that one touches are not land it marks."""
    import shapely

    kinds = np.unique(shapely.get_type_id(geometries))
    lines = {"LINESTRING", "LINEARRING", "MULTILINESTRING"}
    if lines & {shapely.GeometryType(kind).name for kind in kinds.tolist()}:
        raise LabelError(
            f"{path} holds lines, in which the centre of no pixel lies; give polygons or "
            "points, such as lines with a width (a buffer)."
        )


def _layer(path: Path, layers: npt.NDArray[np.object_], asked: str | None) -> str | None:
    """Return the layer with shapes, or None of none: tables such as styles are no rivals."""
    found = [str(name) for name, kind in layers if kind is not None]
    if asked is not None:
        if asked in found:
            return asked
        raise LabelError(
            f"{path} has no layer {asked!r} of shapes; choose with --label-layer one of: "
            f"{listed(found) or 'none'}."
        )
    if len(found) > 1:
        raise LabelError(
            f"{path} holds {len(found)} layers with shapes; name the one that is meant with "
            f"--label-layer NAME (scene.label_layer): {listed(found, 40)}."
        )
    return found[0] if found else None


def _checked(path: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Refuse formats other than those offered, and tables without shapes."""
    if info["driver"] not in _DRIVERS:
        raise LabelError(
            f"Shapes are read from {VECTOR_FORMATS}, but {path} is of the format {info['driver']}; "
            "save it as GeoPackage."
        )
    if info["features"] > path.stat().st_size // _LEAST:
        raise LabelError(
            f"{path} says that it holds {info['features']:,} shapes, more than its bytes can "
            "be; it is damaged: save it again."
        )
    if info["features"] > _MOST:
        raise LabelError(
            f"{path} holds {info['features']:,} shapes, more than the {_MOST:,} that are read; "
            "give those that are needed alone."
        )
    if info["features"] == 0:
        raise LabelError(f"{path} holds no shape; give one that has some.")
    if info["geometry_type"] is None:
        raise LabelError(
            f"{path} holds a table without shapes; give the layer of shapes alone."
        )
    return info


def _field(path: Path, info: dict[str, Any], asked: str | None) -> str:
    """Find the attribute that holds the class, or ask for it."""
    names = [str(name) for name in info["fields"]]
    listed = ", ".join(names) or "none"
    if asked is not None:
        if asked in names:
            return asked
        raise LabelError(
            f"{path} has no attribute {asked!r}; choose with --label-field one of: {listed}."
        )
    usual = [name for name in names if name.lower() in _USUAL]
    for found in (names, usual):
        if len(found) == 1:
            return found[0]
    raise LabelError(
        f"The attribute of {path} that holds the class is not clear; name it with "
        f"--label-field NAME, one of: {listed}."
    )


def _usable(shapes: _Shapes) -> npt.NDArray[np.bool_]:
    """Tell which shapes cover anything."""
    there = [one is not None and not one.is_empty for one in shapes.geometries]
    return np.array(there, dtype=np.bool_)


def _coded(
    shapes: _Shapes, path: Path
) -> tuple[npt.NDArray[np.int64], dict[int, str], frozenset[int]]:
    """Return the code of each shape (-1: none), class names, and codes that number a name."""
    if shapes.classes.dtype.kind not in "OUS":
        return _from_numbers(shapes, path), {}, frozenset()
    texts = ["" if value is None else str(value).strip() for value in shapes.classes]
    known = {text: _whole_number(text) for text in {*texts} - {""}}
    taken = {number for number in known.values() if number is not None}
    if any(number < 0 for number in taken):
        raise _no_code(shapes, path, min(taken))
    after = max(taken, default=0) + 1
    every = (*range(after, MAX_CODE + 1), *range(1, after))
    free = (code for code in every if code not in taken)
    plain = sorted(text for text, number in known.items() if number is None)
    if len(plain) > MAX_CODE - len(taken):
        raise LabelError(
            f"The attribute {shapes.field!r} of {path} holds {len(plain):,} different texts; "
            "name the one that holds the class with --label-field."
        )
    names = dict(zip(free, plain, strict=False))
    code = {text: number for text, number in known.items() if number is not None}
    code |= {name: number for number, name in names.items()}
    codes = np.array([code.get(text, -1) for text in texts], dtype=np.int64)
    return codes, names, frozenset(names)


_WHOLE = re.compile(r"[+-]?\d{1,9}([.,]0*)?", re.ASCII)


def _whole_number(text: str) -> int | None:
    """Return the class code that a text is; None of a name, and of numbers too large for one.

    Examples
    --------
    >>> [_whole_number(text) for text in ("10", "1.0", "07", "A1", "80331", "1.5")]
    [10, 1, 7, None, None, None]
    """
    if not _WHOLE.fullmatch(text):
        return None
    number = int(re.split(r"[.,]", text)[0])
    return number if number <= MAX_CODE else None


def _from_numbers(shapes: _Shapes, path: Path) -> npt.NDArray[np.int64]:
    values = shapes.classes
    if values.dtype.kind not in "uifb":
        raise LabelError(
            f"The attribute {shapes.field!r} of {path} is neither a number nor text; "
            "name another with --label-field."
        )
    known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    numbers = np.where(known, values, 0).astype(np.float64)
    odd = numbers[(numbers != np.floor(numbers)) | (numbers < 0) | (numbers > MAX_CODE)]
    if odd.size:
        raise _no_code(shapes, path, odd[0])
    return np.where(known, numbers, -1).astype(np.int64)


def _no_code(shapes: _Shapes, path: Path, value: float) -> LabelError:
    return LabelError(
        f"The attribute {shapes.field!r} of {path} must hold class codes from 0 to "
        f"{MAX_CODE}, found {value:g}; name another with --label-field."
    )


def _reprojected(
    geometries: npt.NDArray[np.object_], crs: str | None, grid: Grid, path: Path
) -> npt.NDArray[np.object_]:
    """Bring the shapes into the coordinate system of the image."""
    import shapely
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if crs is None or grid.crs is None:
        return geometries
    try:
        source, target = CRS.from_user_input(crs), CRS.from_wkt(grid.crs)
        if source == target:
            return geometries

        def moved(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            x, y = transform(source, target, points[:, 0], points[:, 1])
            return np.column_stack([x, y])

        there = shapely.transform(geometries, moved)
    except (*GDAL_ERRORS, ValueError) as error:
        raise LabelError(
            f"The shapes of {path} cannot be brought into the coordinate system of the "
            "image; reproject them first."
        ) from error
    return np.asarray(there, dtype=object)


def _burn(
    geometries: npt.NDArray[np.object_], codes: npt.NDArray[np.int64], grid: Grid
) -> tuple[npt.NDArray[np.uint16], int]:
    """Burn twice, the lowest and the highest code on top: where they differ, two claim it."""
    if not len(codes):
        return np.zeros(grid.shape, np.uint16), 0
    ascending = np.argsort(codes, kind="stable")
    low, high = (
        _burnt(geometries[order], codes[order], grid, np.uint16)
        for order in (ascending[::-1], ascending)
    )
    contested = low != high
    return np.where(contested, 0, high), int(np.count_nonzero(contested))


def _burnt(
    geometries: Sequence[Any] | npt.NDArray[np.object_],
    values: npt.NDArray[np.int64],
    grid: Grid,
    dtype: type[np.unsignedinteger[Any]],
) -> npt.NDArray[Any]:
    """Burn shapes one on another: each pixel takes the value of the last with its centre."""
    from rasterio.features import rasterize

    if not len(values):
        return np.zeros(grid.shape, dtype)
    burnt: npt.NDArray[Any] = rasterize(
        zip(geometries, values.tolist(), strict=True),
        out_shape=grid.shape,
        transform=Affine(*grid.transform),
        dtype=dtype,
    )
    return burnt
