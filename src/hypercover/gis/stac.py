"""STAC items of class maps."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

from hypercover.errors import CallError
from hypercover.files import write_text
from hypercover.gis.map_writing import media_type
from hypercover.scene.grid import Grid
from hypercover.scene.legend import LandClass, Legend
from hypercover.scene.metadata import Origin, origin_label

_EXTENSIONS = [
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
]
_EARLIEST = 1900
"""Acquisition times before this year are taken as placeholders."""


class MapFacts(TypedDict):
    """What an item says about a class map besides its file and time."""

    legend: Legend
    grid: Grid
    origin: NotRequired[Origin]
    """Whether the image was simulated or a stand-in."""
    made_by: NotRequired[Mapping[str, Any]]
    """How the map was made, as plain values: stored as properties ``hypercover:…``."""


def stac_item(file: str | Path, when: str, **facts: Unpack[MapFacts]) -> dict[str, Any]:
    """Describe a class map as an item of a SpatioTemporal Asset Catalog (STAC 1.1).

    Classes are listed in ``classification:classes`` with value, name, title and colour,
    0 as no data; footprint and bounding box are in WGS 84, if the map is georeferenced.
    The media type says cloud-optimised if the file is
    (:func:`~hypercover.gis.map_writing.is_cog`).

    Parameters
    ----------
    file : path
        The map; the item must be in the same folder.
    when : str
        Date or time the image was taken, such as ``1992-06-12``.
    **facts : MapFacts
        Legend and grid; origin and method where they are known.

    Raises
    ------
    CallError
        If the date cannot be parsed.
    """
    path, grid = Path(file), facts["grid"]
    properties: dict[str, Any] = {
        **{f"hypercover:{key}": value for key, value in facts.get("made_by", {}).items()},
        "datetime": _utc_time(when),
        "title": path.stem,
        "proj:shape": list(grid.shape),
        "proj:transform": [*grid.transform],
    }
    if made_from := origin_label(facts.get("origin", {})):
        properties["description"] = f"Made from a {made_from}."
    if grid.crs:
        properties |= _projection(grid.crs)
    kind = media_type(path)
    asset = {
        "href": f"./{path.name}",
        **({"type": kind} if kind else {}),
        "roles": ["data"],
        "classification:classes": [_NO_DATA, *map(_class, facts["legend"])],
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": path.stem,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"classes": asset},
        **_footprint(grid),
    }


_NO_DATA = {"value": 0, "name": "no_data", "title": "no data", "nodata": True}


def stac_item_path(file: Path) -> Path:
    """Return the path of the item of a map.

    Examples
    --------
    >>> stac_item_path(Path("maps/cnn.tif")).name
    'cnn.stac.json'
    """
    return file.with_suffix(".stac.json")


def write_stac_item(path: Path, file: Path, when: str, **facts: Unpack[MapFacts]) -> None:
    """Write the item of a class map."""
    text = json.dumps(stac_item(file, when, **facts), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def write_stac_item_of_map(
    file: Path, header: Mapping[str, str], **facts: Unpack[MapFacts]
) -> Path | None:
    """Write the item of a class map next to it, if the image header has a time.

    An item without a time would be invalid, so none is written then, and an older one
    is removed.
    """
    path, when = stac_item_path(file), _acquisition_time(header)
    if when is None:
        path.unlink(missing_ok=True)
        return None
    write_stac_item(path, file, when, **facts)
    return path


def _acquisition_time(header: Mapping[str, str]) -> str | None:
    """Return the time stated by a header, or None if it is missing or implausible."""
    text = header.get("acquisition time", "").strip("{} ")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return text if _EARLIEST <= moment.year <= datetime.now(UTC).year + 1 else None


def _class(entry: LandClass) -> dict[str, Any]:
    """Describe a class; STAC allows letters, digits, - and _ in a name."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", entry.name).strip("_") or f"class_{entry.code}"
    color = entry.color.removeprefix("#").upper()
    return {"value": entry.code, "name": name, "title": entry.name, "color_hint": color}


def _utc_time(when: str) -> str:
    try:
        moment = datetime.fromisoformat(when)
    except ValueError as error:
        raise CallError(
            f"The date of the image must be written as 1992-06-12, got {when!r}; give it with "
            "--datetime."
        ) from error
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _projection(wkt: str) -> dict[str, Any]:
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt)
    if code := crs.to_epsg():
        return {"proj:code": f"EPSG:{code}"}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt(version="WKT2_2019")}


def _footprint(grid: Grid) -> dict[str, Any]:
    """Return outline and bounding box in degrees; nothing without a georeference."""
    if not grid.placed or not grid.crs:
        return {}
    from rasterio.crs import CRS
    from rasterio.warp import transform_geom

    rows, cols = grid.shape
    corners = [(0, 0), (0, rows), (cols, rows), (cols, 0), (0, 0)]
    a, b, c, d, e, f = grid.transform
    ring = [(a * col + b * row + c, d * col + e * row + f) for col, row in corners]
    outline = {"type": "Polygon", "coordinates": [ring]}
    source, target = CRS.from_wkt(grid.crs), CRS.from_epsg(4326)
    # GDAL splits it at the 180th meridian and includes a pole.
    geometry = transform_geom(source, target, outline, precision=7)
    return {"geometry": geometry, "bbox": _box(geometry)}


def _box(geometry: dict[str, Any]) -> list[float]:
    """Return west, south, east, north; across the 180th meridian west exceeds east."""
    whole = geometry["type"] == "Polygon"
    parts = [geometry["coordinates"]] if whole else geometry["coordinates"]
    lons, lats = zip(*(zip(*part[0], strict=True) for part in parts), strict=True)
    west, east = max(map(min, lons)), min(map(max, lons))
    return [west, min(map(min, lats)), east, max(map(max, lats))]
