"""Labels from vector files: the attribute that names the class, burnt into pixels."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import LabelError, counted
from hypercover.scene.formats.gdal import (
    GDAL_ERRORS,
    read_vector,
    vector_info,
    vector_layers,
)
from hypercover.scene.formats.geopackage import check_geopackage, is_sqlite
from hypercover.scene.formats.links import refuse_links
from hypercover.scene.formats.signature import SHAPES, is_json
from hypercover.scene.grid import Grid
from hypercover.scene.labels import LabelMap, as_codes
from hypercover.scene.legend import MAX_CODE

__all__ = ["read_vector_area", "read_vector_labels"]

_LARGEST = 2**31
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


def read_vector_labels(path: Path, grid: Grid, field: str | None = None) -> LabelMap:
    """Burn the shapes of a vector file into a label map of this grid.

    A whole-number attribute holds codes; a text attribute holds names, which
    are numbered in alphabetical order.  A pixel belongs to the shape its centre
    lies in; where shapes of two classes claim it, it stays unlabelled.

    Raises
    ------
    LabelError
        If the file is damaged, the attribute is ambiguous, the image has no
        georeference, or no shape lies on the image.
    """
    if not grid.placed:
        raise LabelError(
            f"The shapes of {path} cannot be laid on an image without a georeference; "
            "give labels as a raster of the image's size."
        )
    shapes = _read(path, field)
    codes, names, left_out = _coded(shapes, path)
    inside = codes > 0
    geometries = _reprojected(shapes.geometries[inside], shapes.crs, grid, path)
    burnt, contested = _burn(geometries, codes[inside], grid)
    if not burnt.any():
        raise LabelError(
            f"No shape of {path} covers the centre of a pixel of the image; check that "
            "both lie in the same place."
        )
    notes = [
        f"Labels: {counted(len(geometries), 'shape')} of {path.name}, attribute {shapes.field!r}."
    ]
    if shapes.crs is None:
        notes.append(f"{path.name} names no coordinate system; the image's was taken.")
    if left_out:
        notes.append(f"Left out: {counted(left_out, 'shape')} without a class or geometry.")
    if contested:
        notes.append(
            f"{contested:,} pixels lie in shapes of more than one class and stay unlabelled."
        )
    return LabelMap(as_codes(burnt, path), names=names, notes=tuple(notes))


def read_vector_area(path: Path, grid: Grid) -> npt.NDArray[np.bool_]:
    """Tell which pixels (y, x) of a grid have their centre in a shape of a vector file.

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
    shapes = _read(path, None, bare=True)
    geometries = _reprojected(shapes.geometries[_usable(shapes)], shapes.crs, grid, path)
    inside, _ = _burn(geometries, np.ones(len(geometries), np.int64), grid)
    if not inside.any():
        raise LabelError(
            f"No shape of {path} covers the centre of a pixel of the image; check that "
            "both lie in the same place."
        )
    return inside > 0


def _read(path: Path, field: str | None, *, bare: bool = False) -> _Shapes:
    """Read shapes and the attribute of their class, or none of all attributes."""
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    _check_file(path)
    try:
        layer = _layer(path, vector_layers(path))
        info = _checked(path, vector_info(path, layer))
        chosen = [] if bare else [_field(path, info, field)]
        meta, _, wkb, columns = read_vector(path, layer, chosen)
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
    _refuse_lines(path, geometries)
    classes = np.zeros(len(geometries)) if bare else np.asarray(columns[0])
    return _Shapes(geometries, classes, "".join(chosen), meta["crs"])


def _check_file(path: Path) -> None:
    """Refuse what must not be handed to GDAL."""
    if path.stat().st_size > _LARGEST:
        raise LabelError(
            f"{path} is larger than 2 GiB; give the shapes that are needed alone."
        )
    if is_json(path):
        refuse_links(path)
    elif is_sqlite(path):
        check_geopackage(path)


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


def _layer(path: Path, layers: npt.NDArray[np.object_]) -> str | None:
    """Return the layer with shapes, or None of none: tables such as styles are no rivals."""
    found = [str(name) for name, kind in layers if kind is not None]
    if len(found) > 1:
        own = shlex.join(["ogr2ogr", "one.gpkg", str(path), found[0]])
        raise LabelError(
            f"{path} holds {len(found)} layers with shapes ({', '.join(found[:8])}); save "
            f"the one that is meant as a file of its own ({own})."
        )
    return found[0] if found else None


def _checked(path: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Refuse formats other than those offered, and tables without shapes."""
    if info["driver"] not in _DRIVERS:
        raise LabelError(
            f"Shapes are read from {SHAPES}, but {path} is of the format {info['driver']}; "
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
) -> tuple[npt.NDArray[np.int64], dict[int, str], int]:
    """Return the code of each shape (0 = leave out), class names, and how many are left out."""
    usable = _usable(shapes)
    if shapes.classes.dtype.kind in "OUS":
        codes, names = _from_text(shapes.classes)
    else:
        codes, names = _from_numbers(shapes, path), {}
    codes = np.where(usable, codes, 0)
    return codes, names, int(np.count_nonzero(codes == 0))


def _from_text(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
    texts = ["" if value is None else str(value).strip() for value in values]
    names = dict(enumerate(sorted(set(texts) - {""}), 1))
    code = {name: number for number, name in names.items()}
    return np.array([code.get(text, 0) for text in texts], dtype=np.int64), names


def _from_numbers(shapes: _Shapes, path: Path) -> npt.NDArray[np.int64]:
    values = shapes.classes
    if values.dtype.kind not in "uifb":
        raise LabelError(
            f"The attribute {shapes.field!r} of {path} is neither a number nor text; "
            "name another with --label-field."
        )
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0)
    odd = numbers[(numbers != np.floor(numbers)) | (numbers < 0) | (numbers > MAX_CODE)]
    if odd.size:
        raise LabelError(
            f"The attribute {shapes.field!r} of {path} must hold class codes from 0 to "
            f"{MAX_CODE}, found {odd[0]:g}; name another with --label-field."
        )
    return numbers.astype(np.int64)


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
    geometries: Sequence[Any] | npt.NDArray[np.object_],
    codes: npt.NDArray[np.int64],
    grid: Grid,
) -> tuple[npt.NDArray[np.uint16], int]:
    """Burn twice, the lowest and the highest code on top: where they differ, two claim it."""
    from affine import Affine
    from rasterio.features import rasterize

    if not len(codes):
        return np.zeros(grid.shape, np.uint16), 0
    ascending = np.argsort(codes, kind="stable")
    low, high = (
        rasterize(
            [(geometries[at], int(codes[at])) for at in order],
            out_shape=grid.shape,
            transform=Affine(*grid.transform),
            dtype=np.uint16,
        )
        for order in (ascending[::-1], ascending)
    )
    contested = low != high
    return np.where(contested, 0, high), int(np.count_nonzero(contested))
