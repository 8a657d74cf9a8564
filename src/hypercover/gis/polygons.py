"""Class maps as polygons: one per region, with its class."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError, LabelError, OutputError, counted
from hypercover.files import atomic, write_text
from hypercover.gis.cleaning import Outlines, Regions, sieve, sieve_area
from hypercover.gis.style import category_style
from hypercover.scene.class_map import ClassMap
from hypercover.scene.grid import ground_coordinates, has_equal_pixels
from hypercover.scene.io.gdal import offline_pyogrio
from hypercover.types import Array, Mask, Progress

Part = tuple[npt.NDArray[np.object_], dict[str, Array]]
"""Shapes, and their attributes by name."""

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
"""Formats by the suffix of the file."""
_CRS84 = "urn:ogc:def:crs:OGC:1.3:CRS84"
"""EPSG:4326 with longitude first, as in GeoJSON."""


def write_geojson(path: Path, crs: str, parts: Iterable[Part]) -> None:
    """Write shapes as GeoJSON, one feature per line.

    Parameters
    ----------
    crs : str
        Authority and code of the coordinate system, such as ``EPSG:32633``, written
        as in GeoJSON 2008, which GDAL and QGIS read.
    """
    import shapely

    authority, code = crs.split(":")
    urn = f"urn:ogc:def:crs:{authority}::{code}" if crs != "EPSG:4326" else _CRS84
    system = {"type": "name", "properties": {"name": urn}}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection",\n"crs": ' + json.dumps(system))
        file.write(',\n"features": [')
        separator = "\n"
        for shapes, attributes in parts:
            rows = zip(*(column.tolist() for column in attributes.values()), strict=True)
            for text, row in zip(shapely.to_geojson(shapes), rows, strict=True):
                named = dict(zip(attributes, row, strict=True))
                properties = json.dumps(named, ensure_ascii=False)
                file.write(f'{separator}{{"type": "Feature", "properties": {properties}, ')
                file.write(f'"geometry": {text}}}')
                separator = ",\n"
        file.write("\n]}\n")


def write_polygons(
    class_map: ClassMap,
    path: str | Path,
    *,
    minimum_area: float = 0.0,
    progress: Progress | None = None,
) -> tuple[int, str]:
    """Write the regions of a class map as polygons, with code, name, colour and area.

    A QGIS style is written next to the file, ``<stem>.qml``.

    Parameters
    ----------
    class_map : ClassMap
    path : path
        ``.gpkg`` (GeoPackage) or ``.geojson``.
    minimum_area : float
        Minimum mapping unit in hectares: smaller regions are merged into their
        largest neighbour, or left out if they have none.
    progress : callable, optional
        Called with the polygons written and the polygons in all.

    Returns
    -------
    int
        Polygons written.
    str
        What was merged and left out, as a sentence; empty without a minimum.

    Raises
    ------
    CallError
        If the suffix is unknown.
    LabelError
        If the map has no georeference or polygon, no coordinate system to compute hectares
        with, or one that GeoJSON cannot name.
    OutputError
        If the file cannot be written.
    """
    target = Path(path)
    driver = DRIVERS.get(target.suffix.lower())
    if driver is None:
        raise CallError(
            f"Polygons are GeoPackage or GeoJSON, got {target.name!r}; name it .gpkg or .geojson."
        )
    if not class_map.grid.placed:
        raise LabelError(
            "Polygons need coordinates, and the map has no georeference; give a map of an "
            "image that has one."
        )
    crs = _crs_code(class_map.grid.crs, driver)
    regions, chosen, summary = _merge_small_regions(class_map, minimum_area)
    total = int(np.count_nonzero(chosen))
    if not total:
        raise LabelError(
            "The map holds no region of that size; give a smaller minimum area."
        )

    def parts() -> Iterator[Part]:
        done = 0
        for part in regions.outlines(class_map.grid.transform, chosen):
            if len(part.shapes):
                yield part.shapes, _columns(part, class_map)
            done += len(part.shapes)
            if progress is not None:
                progress(done, total)

    with atomic(target) as draft:
        if driver == "GeoJSON":
            write_geojson(draft, str(crs), parts())
        else:
            _write_geopackage(draft, target, crs, parts())
    write_text(target.with_suffix(".qml"), category_style(class_map.legend))
    return total, summary


def _merge_small_regions(
    class_map: ClassMap, minimum_area: float
) -> tuple[Regions, Mask, str]:
    """Return the regions after merging, which of them are large enough, and a summary."""
    if minimum_area < 0 or not np.isfinite(minimum_area):
        raise CallError(
            f"The minimum area must be 0 or more hectares, got {minimum_area:g}; leave it out."
        )
    codes, areas, unit = class_map.codes, class_map.pixel_areas, 1
    if minimum_area and areas is None:
        raise LabelError(
            "The minimum area is in hectares, and the map has no coordinate system to "
            "compute the size of its pixels; give --sieve with pixels."
        )
    if minimum_area and areas is not None and areas.size > 1:
        codes, regions, sizes = sieve_area(codes, minimum_area, areas)
        chosen, least = sizes >= minimum_area * (1 - 1e-9), f"less than {minimum_area:g} ha"
    else:
        if minimum_area and areas is not None:
            unit = max(1, int(np.ceil(minimum_area / float(areas[0, 0]) - 1e-9)))
        codes = sieve(codes, unit)
        regions = Regions.of(codes)
        chosen, least = regions.pixels >= unit, f"fewer than {unit}"
        if unit == 1:
            return regions, chosen, ""
    changed = int(np.count_nonzero(codes != class_map.codes))
    text = f"{counted(changed, 'pixel')} changed class in regions of {least}."
    isolated = regions.pixels[(regions.pixels > 0) & ~chosen]
    if len(isolated):
        pixels = counted(int(isolated.sum()), "pixel")
        text += f" Left out for lack of a neighbour: {counted(len(isolated), 'region')} with {pixels}."
    return regions, chosen, text


def _crs_code(wkt: str | None, driver: str) -> str | None:
    """Return the code of a coordinate system, which GeoJSON needs, or else its WKT."""
    from rasterio.crs import CRS

    code = CRS.from_wkt(wkt).to_authority() if wkt else None
    if code is None and driver == "GeoJSON":
        raise LabelError(
            "GeoJSON names a coordinate system by its code, and that of the map has none: "
            "metres would be read as degrees; write GeoPackage (.gpkg)."
        )
    return ":".join(code) if code else wkt


def _write_geopackage(
    draft: Path, target: Path, crs: str | None, parts: Iterable[Part]
) -> None:
    import shapely
    from pyogrio.errors import DataSourceError, FieldError, GeometryError

    try:
        for number, (shapes, columns) in enumerate(parts):
            with offline_pyogrio(draft) as pyogrio:
                pyogrio.raw.write(
                    str(draft.absolute()),
                    driver="GPKG",
                    layer=target.stem,
                    crs=crs,
                    append=number > 0,
                    geometry=shapely.to_wkb(shapes),
                    field_data=list(columns.values()),
                    fields=list(columns),
                    geometry_type="Polygon",
                )
    except (DataSourceError, FieldError, GeometryError, RuntimeError) as error:
        raise OutputError(
            f"Cannot write {target}: not all of it reached the disk, perhaps because "
            "the disk is full; free some space or choose another folder."
        ) from error


def _columns(part: Outlines, class_map: ClassMap) -> dict[str, Array]:
    """Return the attributes of some shapes; area in the map's unit, or m² for degrees."""
    import shapely

    crs, measured = class_map.grid.crs, part.shapes
    if crs is not None and not has_equal_pixels(crs):
        measured = shapely.transform(measured, ground_coordinates(crs))
    entries = [class_map.legend[code] for code in part.codes.tolist()]
    return {
        "class_id": part.codes,
        "class_name": np.array([str(entry.name) for entry in entries], dtype=object),
        "color": np.array([str(entry.color) for entry in entries], dtype=object),
        "area": shapely.area(measured),
    }
