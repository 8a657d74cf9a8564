"""GDAL's sidecar ``<file>.aux.xml``: the only place where a GeoTIFF keeps class names."""

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

from hypercover.scene.legend import Legend

__all__ = ["read_names", "sidecar", "to_xml"]

_LARGEST = 4 * 2**20
"""Bytes of a sidecar that are read; names of 65,535 classes fit."""


def sidecar(path: Path) -> Path:
    """Return the path of the sidecar of a raster."""
    return path.with_name(path.name + ".aux.xml")


def _root(path: Path) -> ET.Element | None:
    """Parse the sidecar if it is plain, small XML without entities."""
    beside = sidecar(path)
    if not beside.is_file() or beside.stat().st_size > _LARGEST:
        return None
    try:
        text = beside.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    if "<!" in text.replace("<!--", ""):
        return None
    try:
        return ET.fromstring(text)  # noqa: S314  (small, and no DTD or entity is in it)
    except (ET.ParseError, ValueError):
        return None


def read_names(path: Path) -> dict[int, str]:
    """Return class names by value from the sidecar of a raster, 0 included; empty without one."""
    root = _root(path)
    if root is None:
        return {}
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return {}
    names = [one.text or "" for one in band.findall("CategoryNames/Category")]
    listed = {code: name.strip() for code, name in enumerate(names) if name.strip()}
    return listed or _attribute_names(band)


_VALUES, _NAMES = {"value", "classvalue", "code"}, {"class", "classname", "name", "label"}
"""Columns of an attribute table by their names, where their usage is not said."""


def _attribute_names(band: ET.Element) -> dict[int, str]:
    """Return class names by value from the attribute table of a raster, as GIS write it."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    usages, heads = [], []
    for column in table.findall("FieldDefn"):
        usages.append((column.findtext("Usage") or "").strip())
        heads.append((column.findtext("Name") or "").lower().replace("_", "").strip())
    value = _column(usages, heads, "5", _VALUES)
    name = _column(usages, heads, "2", _NAMES)
    found: dict[int, str] = {}
    if value is None or name is None:
        return found
    for row in table.findall("Row"):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        number = cells[value].removesuffix(".0") if len(cells) == len(heads) else ""
        if number.isascii() and number.isdigit() and len(number) < 7 and cells[name]:
            found[int(number)] = cells[name]
    return found


def _column(usages: list[str], heads: list[str], usage: str, names: set[str]) -> int | None:
    """Return the position of a column by its usage (5: value, 2: name), or by its name."""
    if usage in usages:
        return usages.index(usage)
    return next((at for at, head in enumerate(heads) if head in names), None)


def to_xml(legend: Legend, unlabelled: str = "Unlabelled") -> str:
    """Write the names of a legend as a sidecar that GDAL and QGIS read.

    Category names are counted from 0, so codes without a class get an empty name.
    """
    names = dict(zip(legend.codes, legend.names, strict=True)) | {0: unlabelled}
    listed = (names.get(code, "") for code in range(max(names) + 1))
    rows = "".join(
        f"      <Category>{escape(_plain(name))}</Category>\n" for name in listed
    )
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{rows}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )


def _plain(name: str) -> str:
    """Leave out control characters, which no XML may hold."""
    return "".join(sign for sign in name if sign.isprintable())
