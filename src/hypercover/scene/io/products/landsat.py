"""Landsat 4 to 9, any collection: a GeoTIFF for each band, and metadata (``_MTL``)."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.io.products.band_files import BandFile, stack_bands
from hypercover.scene.io.safe_parsers import parse_xml
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.scene import Scene

_LARGEST = 2**22
_LINE = re.compile(r'^\s*([A-Z0-9_]+)\s*=\s*"?([^"\n]*)"?\s*$', re.MULTILINE)
_OLI = {
    "1": 443.0,
    "2": 482.0,
    "3": 561.4,
    "4": 654.6,
    "5": 864.7,
    "6": 1608.9,
    "7": 2200.7,
}
_TM = {"1": 485.0, "2": 560.0, "3": 660.0, "4": 830.0, "5": 1650.0, "7": 2215.0}
_CENTRES = {"4": _TM, "5": _TM, "7": _TM, "8": _OLI, "9": _OLI}
"""Centres of the reflective 30 m bands in nm, by satellite (USGS)."""


def read_landsat(metadata: Path, variable: str | None = None) -> Scene:
    """Open the reflective 30 m bands of a Landsat image.

    Values are those of the files; the notes tell how to convert them to reflectance. The
    panchromatic band 8 of 15 m has a grid of its own: open its file for
    :func:`~hypercover.scene.pansharpen.fusion.pansharpen`.

    Raises
    ------
    SceneError
        If files are missing or damaged, or the satellite is unknown.
    """
    if variable is not None:
        raise SceneError("A Landsat image has one variable; leave --variable out.")
    values = _values(metadata)
    satellite = re.sub(r"\D", "", values.get("SPACECRAFT_ID", ""))
    if satellite not in _CENTRES:
        raise SceneError(
            f"{metadata} must be from Landsat 4, 5, 7, 8 or 9, found "
            f"{values.get('SPACECRAFT_ID', 'no satellite')!r}; open the bands one by one."
        )
    files = [
        BandFile(_band_path(metadata, name), f"B{number}", centre)
        for number, centre in _CENTRES[satellite].items()
        if (name := _file_name(values, number))
    ]
    if not files:
        raise SceneError(f"{metadata} names no band of 30 m; download the product again.")
    listed = ", ".join(file.name for file in files)
    name = re.sub(r"_MTL$", "", metadata.stem, flags=re.IGNORECASE)
    scales = [_scale(values, file.name.removeprefix("B")) for file in files]
    return Scene(
        with_header(stack_bands(files, 0.0), _header(values, scales)),
        name=name,
        source=str(metadata),
        notes=(
            f"Landsat {satellite}: bands {listed}, centres by the table of the USGS.",
            *_scale_note(values, scales[0]),
        ),
    )


def _file_name(values: dict[str, str], number: str) -> str:
    """Return the file of a band by its current key or that from before 2012, or ""."""
    return values.get(f"FILE_NAME_BAND_{number}") or values.get(
        f"BAND{number}_FILE_NAME", ""
    )


def _scale(values: dict[str, str], number: str) -> tuple[float, float] | None:
    """Return gain and offset of the reflectance in a band."""
    try:
        gain, offset = (
            float(values[f"REFLECTANCE_{what}_BAND_{number}"]) for what in ("MULT", "ADD")
        )
    except (KeyError, ValueError):
        return None
    return gain, offset


def _scale_note(
    values: dict[str, str], scale: tuple[float, float] | None
) -> tuple[str, ...]:
    """Tell how to convert values to reflectance at the surface or at the top of atmosphere."""
    if scale is None:
        return ()
    formula = f"number × {scale[0]:g} + {scale[1]:g}"
    # Before the collections the level was the data type, and always the first.
    level = values.get("PROCESSING_LEVEL") or values.get("DATA_TYPE") or "L2"
    if level.startswith("L2"):
        return (f"Reflectance: {formula}.",)
    return (f"Top-of-atmosphere reflectance: ({formula}) / sine of the sun's elevation.",)


def _header(
    values: dict[str, str], scales: Sequence[tuple[float, float] | None]
) -> dict[str, str]:
    known = [one for one in scales if one is not None]
    if len(known) < len(scales):
        known = []
    sensor = f"{values.get('SPACECRAFT_ID', '')} {values.get('SENSOR_ID', '')}"
    day, hour = values.get("DATE_ACQUIRED"), values.get("SCENE_CENTER_TIME")
    return product_header(
        sensor,
        f"{day}T{hour}" if day and hour else day,
        (gain for gain, _ in known),
        (offset for _, offset in known),
    )


def _band_path(metadata: Path, name: str) -> Path:
    """Return a file of the product, refusing names that lead elsewhere."""
    if Path(name).name != name or name in {"", ".", ".."}:
        raise SceneError(
            f"{metadata} names the file {name[:60]!r}, which is not next to it and is never "
            "opened; download the product again."
        )
    path = find_ignoring_case(metadata.with_name(name))
    if path is None or not path.is_file():
        raise SceneError(
            f"There is no {name} next to {metadata}; put the files of the product into one "
            "folder."
        )
    return path


def _values(metadata: Path) -> dict[str, str]:
    """Return the values of the metadata by name, from XML, JSON or text."""
    suffix = metadata.suffix.lower()
    if suffix == ".xml":
        root = parse_xml(metadata)
        leaves = [one for one in root.iter() if not len(one)]
        return {one.tag: (one.text or "").strip() for one in reversed(leaves)}
    if metadata.stat().st_size > _LARGEST:
        raise SceneError(
            f"{metadata} is too large for Landsat metadata; download it again."
        )
    text = metadata.read_text(encoding="utf-8", errors="replace")
    if suffix == ".json":
        return _from_json(text, metadata)
    # Several groups repeat a name; the first is that of the product.
    return dict(reversed(_LINE.findall(text)))


def _from_json(text: str, metadata: Path) -> dict[str, str]:
    try:
        groups = next(iter(json.loads(text).values()))
        return {
            key: str(value)
            for group in reversed(groups.values())
            for key, value in group.items()
        }
    except (ValueError, AttributeError, StopIteration, RecursionError) as error:
        raise SceneError(
            f"{metadata} is not Landsat metadata; download it again."
        ) from error
