"""GDAL's auxiliary metadata, ``<file>.aux.xml``: the only place where a GeoTIFF keeps class names."""

import xml.etree.ElementTree as ET
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.scene.io.safe_parsers import parse_xml
from hypercover.scene.legend import Legend


def sidecar(path: Path) -> Path:
    """Return the path of the ``.aux.xml`` of a raster."""
    return path.with_name(path.name + ".aux.xml")


def read_category_names(path: Path) -> dict[int, str]:
    """Read the class names by value, 0 included, from the ``.aux.xml`` of a raster.

    Both category names and attribute tables are read. Without a readable file there are
    no names.
    """
    if not sidecar(path).is_file():
        return {}
    try:
        band = parse_xml(sidecar(path)).find("PAMRasterBand[@band='1']")
    except SceneError:
        return {}
    if band is None:
        return {}
    names = [(one.text or "").strip() for one in band.findall("CategoryNames/Category")]
    return {code: name for code, name in enumerate(names) if name} or _table_names(band)


_VALUE_COLUMNS = {"value", "classvalue", "code"}
_NAME_COLUMNS = {"class", "classname", "name", "label"}
"""Columns of an attribute table by name, for tables without column usages."""


def _table_names(band: ET.Element) -> dict[int, str]:
    """Read class names by value from the raster attribute table of a band."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    columns = table.findall("FieldDefn")
    usages = [(one.findtext("Usage") or "").strip() for one in columns]
    heads = [
        (one.findtext("Name") or "").lower().replace("_", "").strip() for one in columns
    ]
    value = _column(usages, heads, "5", _VALUE_COLUMNS)
    name = _column(usages, heads, "2", _NAME_COLUMNS)
    names: dict[int, str] = {}
    if value is None or name is None:
        return names
    for row in table.findall("Row"):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        number = cells[value].removesuffix(".0") if len(cells) == len(heads) else ""
        if number.isascii() and number.isdigit() and len(number) < 7 and cells[name]:
            names[int(number)] = cells[name]
    return names


def _column(usages: list[str], heads: list[str], usage: str, known: set[str]) -> int | None:
    """Find a column by its usage (5: value, 2: name), or else by its head."""
    if usage in usages:
        return usages.index(usage)
    return next((at for at, head in enumerate(heads) if head in known), None)


_INTEGER, _STRING = ("0", "Integer"), ("2", "String")
_COLUMNS = [
    ("Value", _INTEGER, ("5", "MinMax")),
    ("Class", _STRING, ("2", "Name")),
    ("Red", _INTEGER, ("6", "Red")),
    ("Green", _INTEGER, ("7", "Green")),
    ("Blue", _INTEGER, ("8", "Blue")),
    ("Alpha", _INTEGER, ("9", "Alpha")),
]
_CLEAR = (0, 0, 0, 0)


def category_xml(
    legend: Legend, zero: str = "no data", zero_rgb: tuple[int, int, int] | None = None
) -> str:
    """Return the ``.aux.xml`` of a class raster: category names and an attribute table.

    Both list every code from 0 on, so that readers that go by position and readers that go
    by value agree. Codes without a class get an empty name.

    Parameters
    ----------
    legend : Legend
    zero, zero_rgb : str and tuple
        Name and colour of code 0; transparent without a colour.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, (kind, kind_name), (usage, usage_name)) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(column, "Name").text = name
        ET.SubElement(column, "Type", typeAsString=kind_name).text = kind
        ET.SubElement(column, "Usage", usageAsString=usage_name).text = usage
    classes = {land.code: (land.name, (*land.rgb, 255)) for land in legend}
    classes[0] = (zero, _CLEAR if zero_rgb is None else (*zero_rgb, 255))
    for code in range(max(classes) + 1):
        name, rgba = classes.get(code, ("", _CLEAR))
        ET.SubElement(names, "Category").text = printable(name)
        row = ET.SubElement(table, "Row", index=str(code))
        for value in (code, printable(name), *rgba):
            ET.SubElement(row, "F").text = str(value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def printable(name: str) -> str:
    r"""Return a name on one line without the characters that XML cannot hold.

    Examples
    --------
    >>> printable("Corn\nno\x00till <b>")
    'Corn notill <b>'
    """
    return "".join(sign for sign in " ".join(name.split()) if _in_xml(ord(sign)))


def _in_xml(point: int) -> bool:
    """Tell whether XML 1.0 allows a character."""
    return 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD or point >= 0x10000
