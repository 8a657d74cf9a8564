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
    from rasterio.warp import transform

    rows, cols = class_map.grid.shape
    corners = [(0, 0), (0, rows), (cols, rows), (cols, 0), (0, 0)]
    a, b, c, d, e, f = class_map.grid.transform
    x = [a * col + b * row + c for col, row in corners]
    y = [d * col + e * row + f for col, row in corners]
    source = CRS.from_wkt(class_map.grid.crs)
    lon, lat = transform(source, CRS.from_epsg(4326), x, y)
    ring = [[round(at, 7) for at in corner] for corner in zip(lon, lat, strict=True)]
    box = [min(lon), min(lat), max(lon), max(lat)]
    return {
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [round(one, 7) for one in box],
    }
