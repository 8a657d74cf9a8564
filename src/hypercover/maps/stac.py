"""A class map as a STAC item: what a catalogue must know of it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypercover.errors import CallError
from hypercover.files import write_text
from hypercover.scene.classmap import ClassMap
from hypercover.scene.legend import LandClass

__all__ = ["stac_item", "write_stac_item"]

_EXTENSIONS = [
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def stac_item(class_map: ClassMap, file: str | Path, when: str) -> dict[str, Any]:
    """Describe a class map as an item of a SpatioTemporal Asset Catalog (STAC 1.1).

    The classes stand in ``classification:classes`` with value, name, title and
    colour, 0 as no data; footprint and box in WGS 84, where the map has a place.

    Parameters
    ----------
    class_map : ClassMap
    file : path
        The map; the item names it beside itself.
    when : str
        Day or moment the image was taken, such as ``1992-06-12``.

    Raises
    ------
    CallError
        If the moment is not understood.
    """
    path = Path(file)
    footprint = _footprint(class_map)
    properties: dict[str, Any] = {
        "datetime": _moment(when),
        "title": path.stem,
        "proj:shape": list(class_map.grid.shape),
        "proj:transform": [*class_map.grid.transform],
    }
    if class_map.made_from:
        properties["description"] = f"Made from a {class_map.made_from}."
    if class_map.grid.crs:
        properties |= _projection(class_map.grid.crs)
    asset = {
        "href": f"./{path.name}",
        "type": _COG,
        "roles": ["data"],
        "classification:classes": [_NO_DATA, *map(_class, class_map.legend)],
    }
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": path.stem,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"classes": asset},
    }
    return item | footprint


_NO_DATA = {"value": 0, "name": "no_data", "title": "no data", "nodata": True}


def write_stac_item(class_map: ClassMap, file: Path, path: Path, when: str) -> None:
    """Write the item of a class map beside it."""
    text = json.dumps(stac_item(class_map, file, when), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def _class(land: LandClass) -> dict[str, Any]:
    """Return one class; STAC allows letters, digits, - and _ in a name."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", land.name).strip("_") or f"class_{land.code}"
    return {
        "value": land.code,
        "name": name,
        "title": land.name,
        "color_hint": land.color.removeprefix("#").upper(),
    }


def _moment(when: str) -> str:
    try:
        moment = datetime.fromisoformat(when)
    except ValueError as error:
        raise CallError(
            f"The day the image was taken must be written as 1992-06-12, got {when!r}; give "
            "it with --datetime."
        ) from error
    known = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return known.strftime("%Y-%m-%dT%H:%M:%SZ")


def _projection(wkt: str) -> dict[str, Any]:
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt)
    if code := crs.to_epsg():
        return {"proj:code": f"EPSG:{code}"}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt(version="WKT2_2019")}


def _footprint(class_map: ClassMap) -> dict[str, Any]:
    """Return outline and box in longitude and latitude; nothing without a place."""
    if not class_map.grid.placed or not class_map.grid.crs:
        return {}
    from rasterio.crs import CRS
    from rasterio.warp import transform_geom

    rows, cols = class_map.grid.shape
    corners = [(0, 0), (0, rows), (cols, rows), (cols, 0), (0, 0)]
    a, b, c, d, e, f = class_map.grid.transform
    ring = [(a * col + b * row + c, d * col + e * row + f) for col, row in corners]
    outline = {"type": "Polygon", "coordinates": [ring]}
    source, target = CRS.from_wkt(class_map.grid.crs), CRS.from_epsg(4326)
    # GDAL cuts it where it crosses the 180th meridian, and takes in a pole.
    geometry = transform_geom(source, target, outline, precision=7)
    return {"geometry": geometry, "bbox": _box(geometry)}


def _box(geometry: dict[str, Any]) -> list[float]:
    """Return west, south, east, north; over the 180th meridian west is above east."""
    whole = geometry["type"] == "Polygon"
    parts = [geometry["coordinates"]] if whole else geometry["coordinates"]
    lons, lats = zip(*(zip(*part[0], strict=True) for part in parts), strict=True)
    west, east = max(map(min, lons)), min(map(max, lons))
    return [west, min(map(min, lats)), east, max(map(max, lats))]
