"""Polygons as GeoJSON, one after another, so that a file of any size takes little memory.

GDAL reads the whole file again for each part that is put behind another, and takes a
text that looks like a date for one.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Part", "write_geojson"]

Part = tuple[npt.NDArray[np.object_], dict[str, npt.NDArray[Any]]]
"""Shapes, and for each of them what is said of it, by name."""
_CRS84 = "urn:ogc:def:crs:OGC:1.3:CRS84"
"""EPSG:4326 with the longitude first, as GeoJSON has it."""


def write_geojson(path: Path, crs: str, parts: Iterable[Part]) -> None:
    """Write shapes into a file, each on a line.

    Parameters
    ----------
    crs : str
        Authority and code of the coordinate system, such as ``EPSG:32633``.  It is
        named as GeoJSON did in 2008, which GDAL and QGIS read.
    """
    import shapely

    system = {"type": "name", "properties": {"name": _urn(crs)}}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection",\n"crs": ' + json.dumps(system))
        file.write(',\n"features": [')
        before = "\n"
        for shapes, said in parts:
            columns = [column.tolist() for column in said.values()]
            rows = zip(*columns, strict=True)
            for text, row in zip(shapely.to_geojson(shapes), rows, strict=True):
                about = json.dumps(dict(zip(said, row, strict=True)), ensure_ascii=False)
                file.write(f'{before}{{"type": "Feature", "properties": {about}, ')
                file.write(f'"geometry": {text}}}')
                before = ",\n"
        file.write("\n]}\n")


def _urn(crs: str) -> str:
    authority, code = crs.split(":")
    return _CRS84 if crs == "EPSG:4326" else f"urn:ogc:def:crs:{authority}::{code}"
