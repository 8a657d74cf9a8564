"""Labels from vector files: shapes with a class attribute, burnt into pixels."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import transform
from shapely import GeometryType

from hypercover.errors import LabelError, counted
from hypercover.files import find_ignoring_case
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_tables import Style, vector_style
from hypercover.scene.io.file_types import VECTOR_FORMATS, is_json, is_sqlite
from hypercover.scene.io.gdal import GDAL_ERRORS, offline_pyogrio
from hypercover.scene.io.safe_parsers import whole_number
from hypercover.scene.labels import LabelMap, as_codes, shortlist
from hypercover.scene.legend import MAX_CODE
from hypercover.types import Array, Codes, Floats, Ints, Mask

Geometries = npt.NDArray[np.object_]
"""Shapes of shapely (n,)."""

_MAX_GEOJSON_BYTES = 2**28
"""Bytes of a GeoJSON file, which is read whole."""

_MAX_FILE_BYTES = 2**31
"""Bytes of any vector file."""

_MAX_SHAPES = 20_000_000
"""Shapes that are read, some gigabytes in memory."""

_MIN_SHAPE_BYTES = 8
"""Bytes that a shape takes at least; GDAL allocates memory for as many as a file claims."""

_DRIVERS = {"GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"}
"""Formats that contain their shapes; others can point to files and networks."""

_USUAL_FIELDS = re.compile(
    "class(_id|_?name)?|code|labels?|land_?cover|category|klasse|type|gt", re.IGNORECASE
)


class _LinkError(ValueError):
    """The coordinate system is given by an address."""


def _check_geojson(path: Path) -> None:
    """Refuse a GeoJSON file whose coordinate system is a network address.

    GeoJSON of 2008 may give its ``crs`` by a link, which GDAL fetches on opening: a label
    file could report who opens it.

    Raises
    ------
    LabelError
        If there is such a link, or the file is not JSON or too large to check.
    """
    if path.stat().st_size > _MAX_GEOJSON_BYTES:
        raise LabelError(f"{path} is larger than 256 MiB; save the shapes as GeoPackage.")
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            # Strict: what is read here must be what GDAL reads.
            json.load(file, object_pairs_hook=_refuse_links)
    except _LinkError as error:
        raise LabelError(
            f"{path} gives its coordinate system as a network address, which is never "
            "followed; save it as GeoPackage, or as GeoJSON in WGS 84."
        ) from error
    except (ValueError, RecursionError) as error:
        raise LabelError(
            f"{path} cannot be read: it is not GeoJSON; save it as GeoPackage or GeoJSON."
        ) from error


def _refuse_links(pairs: list[tuple[str, Any]]) -> None:
    """Check one JSON object, and keep nothing of it."""
    types = [str(value).lower() for key, value in pairs if key.lower() == "type"]
    links = any(kind.startswith(("link", "url")) for kind in types)
    if links and any(key.lower() == "properties" for key, _ in pairs):
        raise _LinkError


@dataclass(frozen=True, eq=False)
class _Shapes:
    """The geometries of a layer, the class attribute and the coordinate system."""

    geometries: Geometries
    """Shapely geometries (n,)."""
    classes: Array
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

    Whole numbers are class codes, also as text; other text is a class name, and names are
    numbered in alphabetical order. A pixel belongs to the shape that covers its centre; if
    shapes of two classes do, it stays unlabelled. Shapes and classes that label no pixel are
    counted in ``losses``.

    Raises
    ------
    LabelError
        If the file is damaged, the layer or the attribute is ambiguous, the image has
        no georeference, or no shape lies on the image.
    """
    _check_placed(path, grid, "give labels as a raster of the image's size")
    shapes = _read(path, field, layer)
    codes, names, nominal = _coded(shapes, path)
    usable = _usable(shapes)
    inside = (codes > 0) & usable
    geometries = _reprojected(shapes.geometries[inside], shapes.crs, grid, path)
    burnt, contested = _burn(geometries, codes[inside], grid)
    if not burnt.any():
        raise _no_overlap(path, shapes, grid)
    number = counted(len(geometries), "shape")
    notes = [f"Labels: {number} of {path.name}, attribute {shapes.field!r}."]
    if shapes.crs is None:
        notes += [f"{path.name} has no coordinate system; that of the image was assumed."]
    if contested:
        where = "lie in shapes of more than one class and stay unlabelled"
        notes += [f"{contested:,} pixels {where}."]
    zero = "of code 0, which means unlabelled: left out; if it is a class, give it another number"
    left_out = {
        "without a geometry: left out": ~usable,
        "without a class: left out": codes < 0,
        f"{zero} or a name": usable & (codes == 0),
    }
    losses = [
        f"{counted(int(where.sum()), 'shape')} {reason}."
        for reason, where in left_out.items()
        if where.any()
    ]
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
    """Return names and colours, completed by a style of the class attribute."""
    if style.attribute and style.attribute.casefold() != field.casefold():
        return names, {}
    labels, colors = style.by_code()
    codes = {name: code for code, name in names.items()}
    colors = {code: color for code, color in colors.items() if code not in names}
    colors |= {codes[text]: color for text, color in style.colors.items() if text in codes}
    labels = {code: label for code, label in labels.items() if label != str(code)}
    return labels | names, colors


def _lost(
    geometries: Geometries,
    codes: Ints,
    burnt: Codes,
    on_top: Codes,
    names: dict[int, str],
    grid: Grid,
) -> list[str]:
    """Count the shapes that label no pixel, and name the classes lost with them."""
    losses = []
    for reason, where in _invisible(geometries, on_top, grid).items():
        if where.any():
            found, numbers = np.unique(codes[where], return_counts=True)
            classes = [names.get(code, f"class {code}") for code in found.tolist()]
            listed = [f"{n:,} of {name}" for n, name in zip(numbers, classes, strict=True)]
            shapes = f"{counted(int(where.sum()), 'shape')} of {len(codes):,}"
            losses.append(f"{shapes} {reason}: {shortlist(listed)}.")
    if lost := sorted({*codes.tolist()} - {*np.unique(burnt).tolist()}):
        shown = shortlist(names.get(code, f"class {code}") for code in lost)
        losses.append(
            f"Classes lost, because none of their shapes labels a pixel: {shown}."
        )
    return losses


def _invisible(geometries: Geometries, on_top: Codes, grid: Grid) -> dict[str, Mask]:
    """Return masks of the shapes that label no pixel, by the reason.

    Shapes visible in ``on_top``, burnt one on another, need no further check.
    """
    count = len(geometries)
    invisible = ~np.isin(np.arange(1, count + 1), on_top)
    to_ground = np.array(grid.transform).reshape(2, 3)
    to_pixels = np.linalg.inv(to_ground[:, :2]).T

    def moved(points: Floats) -> Floats:
        return np.asarray((points - to_ground[:, 2]) @ to_pixels)

    in_pixels = shapely.transform(geometries, moved)
    image = shapely.box(0, 0, grid.cols, grid.rows)
    outside = invisible & ~shapely.intersects(in_pixels, image)
    covering = np.zeros(count, np.bool_)
    for at in np.flatnonzero(invisible & ~outside):
        covering[at] = _covers(in_pixels[at], grid)
    return {
        "outside the image": outside,
        "without the centre of a pixel in it": invisible & ~outside & ~covering,
        "wholly under other shapes": covering,
    }


def _check_placed(path: Path, grid: Grid, remedy: str) -> None:
    if not grid.placed:
        raise LabelError(
            f"{path} cannot be laid on an image without a georeference; {remedy}."
        )


def _no_overlap(path: Path, shapes: _Shapes, grid: Grid) -> LabelError:
    """Explain that no shape covers a pixel, with a hint on coordinates in degrees."""
    hint = ""
    bounds = shapely.total_bounds(np.asarray(shapes.geometries, dtype=object))
    image_in_metres = max(map(abs, grid.transform[2::3])) > 360
    if shapes.crs is None and image_in_metres and (np.abs(bounds) <= 360).all():
        hint = (
            "; its coordinates look like degrees, and it has no coordinate system (ogr2ogr "
            "-a_srs EPSG:4326 writes a copy that does)"
        )
    return LabelError(
        f"No shape of {path} covers the centre of a pixel of the image; check that "
        f"both lie in the same place{hint}."
    )


def _covers(shape: Any, grid: Grid) -> bool:
    """Tell whether a shape, in pixel coordinates, covers the centre of a pixel."""
    left, top, right, bottom = shape.bounds
    row, col = max(int(top), 0), max(int(left), 0)
    high = min(int(np.ceil(bottom)) + 1, grid.rows) - row
    wide = min(int(np.ceil(right)) + 1, grid.cols) - col
    if high <= 0 or wide <= 0:
        return False
    window = Grid(high, wide, None, tuple(Affine.translation(col, row))[:6])
    return bool(_burnt([shape], np.ones(1, np.int64), window, np.uint8).any())


def read_vector_area(path: Path, grid: Grid, layer: str | None = None) -> Mask:
    """Return a mask (y, x) of the pixels whose centre lies in a shape of a vector file.

    Raises
    ------
    LabelError
        If the file is damaged, the layer is ambiguous, the image has no georeference, or no
        shape lies on it.
    """
    _check_placed(path, grid, "give a raster of the image's size")
    shapes = _read(path, None, layer, with_class=False)
    geometries = _reprojected(shapes.geometries[_usable(shapes)], shapes.crs, grid, path)
    inside, _ = _burn(geometries, np.ones(len(geometries), np.int64), grid)
    if not inside.any():
        raise _no_overlap(path, shapes, grid)
    return inside > 0


def _read(
    path: Path, field: str | None, layer: str | None = None, *, with_class: bool = True
) -> _Shapes:
    """Read shapes, and by default their class attribute."""
    _check_file(path)
    try:
        with offline_pyogrio(path) as pyogrio:
            file = path.absolute()
            layer = _layer(path, pyogrio.list_layers(file), layer)
            for encoding in _encodings(path):
                source: dict[str, Any] = {"layer": layer, "encoding": encoding}
                try:
                    info = pyogrio.read_info(file, **source)
                    _check_info(path, info)
                    fields = [_field(path, info, field)] if with_class else []
                    source |= {"columns": fields, "force_2d": True}
                    meta, _, wkb, columns = pyogrio.raw.read(file, **source)
                    break
                except UnicodeDecodeError:
                    continue
            else:
                raise LabelError(
                    f"The encoding of {path} is unknown; save it as GeoPackage."
                )
        geometries = shapely.from_wkb(wkb)
    except LabelError:
        raise
    # The errors of pyogrio are RuntimeErrors.
    except (RuntimeError, shapely.errors.ShapelyError, ValueError, IndexError) as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: it is damaged or of an unknown "
            "format; save it as GeoPackage or GeoJSON."
        ) from error
    # A GeoPackage stores the number separately, and some programs do not update it.
    expected = 1 if info["driver"] == "GPKG" else max(1, info["features"])
    if len(geometries) < expected:
        raise LabelError(
            f"{path} claims to hold {info['features']:,} shapes, of which "
            f"{len(geometries):,} can be read; it is damaged: save it again."
        )
    lines = (GeometryType.LINESTRING, GeometryType.LINEARRING, GeometryType.MULTILINESTRING)
    if np.isin(shapely.get_type_id(geometries), lines).any():
        raise LabelError(
            f"{path} holds lines, which contain no pixel centre; give them a width (a buffer)."
        )
    classes = np.asarray(columns[0]) if with_class else np.zeros(len(geometries))
    return _Shapes(geometries, classes, "".join(fields), meta["crs"], layer)


def _encodings(path: Path) -> tuple[str | None, str]:
    """Return the encodings to try in turn; None is the one that the file declares.

    A Shapefile without a ``.cpg`` and without a language in its ``.dbf`` declares none, and
    GDAL would take UTF-8 for Latin-1; Latin-1 text is hardly ever valid UTF-8.
    """
    table = find_ignoring_case(path.with_suffix(".dbf"))
    if path.suffix.lower() != ".shp" or table is None:
        return None, "cp1252"
    declared = find_ignoring_case(path.with_suffix(".cpg")) is not None
    with table.open("rb") as file:
        language = file.read(30)[29:30]
    return (None if declared or language not in (b"", b"\0") else "UTF-8"), "cp1252"


def _check_file(path: Path) -> None:
    """Refuse files that GDAL must not open."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise LabelError(f"{path} is larger than 2 GiB; save only the shapes needed.")
    if is_json(path):
        _check_geojson(path)
    if is_sqlite(path):
        _check_geopackage(path)
    elif path.suffix.lower() == ".shp":
        parts = {".shx": "the index of the shapes", ".dbf": "their attributes"}
        missing = [
            f"{path.stem}{suffix} ({what})"
            for suffix, what in parts.items()
            if find_ignoring_case(path.with_suffix(suffix)) is None
        ]
        if missing:
            raise LabelError(
                f"{path} lacks {' and '.join(missing)}; copy all its files into one folder."
            )


def _layer(path: Path, layers: Geometries, name: str | None) -> str | None:
    """Return the layer of this name, or the only one with shapes; tables do not count."""
    names = [str(layer) for layer, geometry_type in layers if geometry_type is not None]
    if name is not None and name not in names:
        raise LabelError(
            f"{path} has no layer {name!r} of shapes; choose with --label-layer one of: "
            f"{shortlist(names) or 'none'}."
        )
    if name is not None:
        return name
    if len(names) > 1:
        raise LabelError(
            f"{path} holds {len(names)} layers with shapes; choose one with "
            f"--label-layer NAME (scene.label_layer): {shortlist(names, 40)}."
        )
    return names[0] if names else None


def _check_info(path: Path, info: dict[str, Any]) -> None:
    """Refuse unsupported formats, false claims, and tables without shapes."""
    if info["driver"] not in _DRIVERS:
        raise LabelError(
            f"Shapes are read from {VECTOR_FORMATS}, but {path} is in the format "
            f"{info['driver']}; save it as GeoPackage."
        )
    if info["features"] > path.stat().st_size // _MIN_SHAPE_BYTES:
        raise LabelError(
            f"{path} claims {info['features']:,} shapes, too many for its size; save it again."
        )
    if info["features"] > _MAX_SHAPES:
        raise LabelError(
            f"{path} holds {info['features']:,} shapes, more than the {_MAX_SHAPES:,} that are "
            "read; save only those that are needed."
        )
    if info["features"] == 0:
        raise LabelError(f"{path} holds no shape; give one that has some.")
    if info["geometry_type"] is None:
        raise LabelError(f"{path} holds a table without shapes; give a layer of shapes.")


def _field(path: Path, info: dict[str, Any], name: str | None) -> str:
    """Return the attribute of this name, or the one that holds the class."""
    names = [str(name) for name in info["fields"]]
    choices = ", ".join(names) or "none"
    if name is not None:
        if name in names:
            return name
        raise LabelError(
            f"{path} has no attribute {name!r}; choose with --label-field one of: {choices}."
        )
    usual = [name for name in names if _USUAL_FIELDS.fullmatch(name)]
    for candidates in (names, usual):
        if len(candidates) == 1:
            return candidates[0]
    raise LabelError(
        f"It is not clear which attribute of {path} holds the class; name it with "
        f"--label-field NAME, one of: {choices}."
    )


def _usable(shapes: _Shapes) -> Mask:
    """Return which shapes have a geometry that is not empty."""
    missing = shapely.is_missing(shapes.geometries)
    return np.asarray(~(missing | shapely.is_empty(shapes.geometries)))


def _coded(shapes: _Shapes, path: Path) -> tuple[Ints, dict[int, str], frozenset[int]]:
    """Return the code of each shape (-1: none), class names, and the codes given to names."""
    if shapes.classes.dtype.kind not in "OUS":
        return _from_numbers(shapes, path), {}, frozenset()
    texts = ["" if value is None else str(value).strip() for value in shapes.classes]
    # Numbers that are too large are names.
    numbers = {text: whole_number(text) for text in {*texts} - {""}}
    by_text = {text: n for text, n in numbers.items() if n is not None and n <= MAX_CODE}
    used = set(by_text.values())
    if min(used, default=0) < 0:
        raise _invalid_code(shapes, path, min(used))
    class_names = sorted({*numbers} - {*by_text})
    if len(class_names) > MAX_CODE - len(used):
        raise LabelError(
            f"The attribute {shapes.field!r} of {path} holds {len(class_names):,} different "
            "texts; name the one that holds the class with --label-field."
        )
    first = max(used, default=0) + 1
    every = (*range(first, MAX_CODE + 1), *range(1, first))
    free = (code for code in every if code not in used)
    names = dict(zip(free, class_names, strict=False))
    by_text |= {name: code for code, name in names.items()}
    codes = np.array([by_text.get(text, -1) for text in texts], dtype=np.int64)
    return codes, names, frozenset(names)


def _from_numbers(shapes: _Shapes, path: Path) -> Ints:
    values = shapes.classes
    if values.dtype.kind not in "uifb":
        raise LabelError(
            f"{shapes.field!r} of {path} is neither number nor text; name another."
        )
    stated = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    numbers = np.where(stated, values, 0).astype(np.float64)
    odd = numbers[(numbers != np.floor(numbers)) | (numbers < 0) | (numbers > MAX_CODE)]
    if odd.size:
        raise _invalid_code(shapes, path, odd[0])
    return np.where(stated, numbers, -1).astype(np.int64)


def _invalid_code(shapes: _Shapes, path: Path, value: float) -> LabelError:
    return LabelError(
        f"The attribute {shapes.field!r} of {path} must hold class codes from 0 to "
        f"{MAX_CODE}, found {value:g}; name another with --label-field."
    )


def _reprojected(
    geometries: Geometries, crs: str | None, grid: Grid, path: Path
) -> Geometries:
    """Transform the shapes to the coordinate system of the image."""
    if crs is None or grid.crs is None:
        return geometries
    try:
        source, target = CRS.from_user_input(crs), CRS.from_wkt(grid.crs)
        if source == target:
            return geometries

        def moved(points: Floats) -> Floats:
            x, y = transform(source, target, points[:, 0], points[:, 1])
            return np.column_stack([x, y])

        reprojected = shapely.transform(geometries, moved)
    except (*GDAL_ERRORS, ValueError) as error:
        raise LabelError(
            f"{path} cannot be transformed to the image's coordinates; reproject it first."
        ) from error
    return np.asarray(reprojected, dtype=object)


def _burn(geometries: Geometries, codes: Ints, grid: Grid) -> tuple[Codes, int]:
    """Burn with the lowest and the highest code on top; they differ where classes overlap."""
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
    geometries: Sequence[Any] | Geometries,
    values: Ints,
    grid: Grid,
    dtype: type[np.unsignedinteger[Any]],
) -> Array:
    """Burn shapes on one another: a pixel takes the value of the last that has its centre."""
    if not len(values):
        return np.zeros(grid.shape, dtype)
    burnt: Array = rasterize(
        zip(geometries, values.tolist(), strict=True),
        out_shape=grid.shape,
        transform=Affine(*grid.transform),
        dtype=dtype,
    )
    return burnt


_SECONDS = 10.0
"""Time limit of the check."""
_MAX_OBJECTS = 10_000
_STEPS = 10_000
"""Instructions of SQLite between two checks of the time."""
_MAX_SQL = 2000
_CONTENTS = "gpkg_contents"
_SYSTEM_TABLES = ("gpkg_", "gpkgext_", "ogr_", "layer_styles")
"""First letters of the tables that GDAL reads on opening."""


def _check_geopackage(path: Path) -> None:
    """Refuse a GeoPackage whose layers are computed instead of stored.

    A view is a program, which may never end, and a generated column may fill all memory; GDAL
    evaluates both on opening. Triggers, such as those of the R-tree that the standard asks
    for, only run on writing. Views that are not layers are never evaluated.

    Raises
    ------
    LabelError
        If the file is damaged or not a GeoPackage, or a layer is a view, a virtual table or
        has generated columns.

    Source: OGC 12-128r18 (GeoPackage 1.3), 1.1.3 and 2.1.
    """
    try:
        with _reading(path) as database:
            _check_tables(path, database)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LabelError(
            f"{path} cannot be read as a GeoPackage: it is damaged, or listing its tables "
            "takes too long; save the shapes as a new GeoPackage or as GeoJSON."
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database read-only, for a limited time, without trusting its functions."""
    # GDAL will also see the latest changes, which are in files of their own.
    pending = any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))
    mode = "mode=ro" if pending else "mode=ro&immutable=1"
    ends = time.monotonic() + _SECONDS
    address = f"file:{quote(str(path.absolute()))}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=_SECONDS)) as database:
        database.set_progress_handler(lambda: int(time.monotonic() > ends), _STEPS)
        database.execute("PRAGMA trusted_schema = OFF")
        yield database


def _check_tables(path: Path, database: sqlite3.Connection) -> None:
    objects = database.execute(
        "SELECT type, name, substr(sql, 1, ?) FROM sqlite_master "
        "WHERE type IN ('table', 'view') LIMIT ?",
        (_MAX_SQL, _MAX_OBJECTS + 1),
    ).fetchall()
    if len(objects) > _MAX_OBJECTS:
        raise LabelError(f"{path} holds more than 10,000 tables; save the labels alone.")
    views = [str(name) for kind, name, _ in objects if kind == "view"]
    if system := [name for name in views if name.lower().startswith(_SYSTEM_TABLES)]:
        raise _computed(path, system[0], "is a view")
    sql = {str(n).lower(): str(text or "") for kind, n, text in objects if kind == "table"}
    if _CONTENTS not in sql:
        raise LabelError(f"{path} is not a GeoPackage; save the shapes as GeoPackage.")
    begins = {name: text.lstrip().upper() for name, text in sql.items()}
    virtual = {name for name, text in begins.items() if text.startswith("CREATE VIRTUAL")}
    if system := [name for name in virtual if name.startswith("gpkg_")]:
        raise _computed(path, system[0], "is a virtual table")
    contents = "SELECT table_name FROM gpkg_contents LIMIT ?"
    listed = database.execute(contents, (_MAX_OBJECTS,)).fetchall()
    for layer in (_CONTENTS, *(str(name) for (name,) in listed if name is not None)):
        if layer.lower() not in sql:
            raise _computed(path, layer, "is a view or missing")
        if layer.lower() in virtual:
            raise _computed(path, layer, "is a virtual table")
        # SQLite marks generated columns as hidden by 2 and 3.
        columns = database.execute("SELECT hidden FROM pragma_table_xinfo(?)", (layer,))
        if any(hidden in (2, 3) for (hidden,) in columns.fetchall()):
            raise _computed(path, layer, "has generated columns")


def _computed(path: Path, name: str, why: str) -> LabelError:
    return LabelError(
        f"{name[:80]} of {path} {why}, but only layers stored as tables are read; export it "
        "as a GeoPackage of its own."
    )
