"""What a GeoTIFF cannot say itself: class names for GDAL, colours for QGIS.

GDAL and QGIS read class names only from the file beside the image,
``map.tif.aux.xml`` (the persistent auxiliary metadata of GDAL), and QGIS takes
its drawing style from ``map.qml``.  Both are plain text made here.
"""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from hypercover.scene.legend import LandClass, Legend

__all__ = [
    "category_style",
    "category_text",
    "palette_style",
    "ramp_style",
    "readable",
    "remove_sidecars",
    "sidecars",
    "sidecars_of",
]

_INTEGER, _TEXT = ("0", "Integer"), ("2", "String")
_COLUMNS = [
    ("Value", _INTEGER, ("5", "MinMax")),
    ("Class", _TEXT, ("2", "Name")),
    ("Red", _INTEGER, ("6", "Red")),
    ("Green", _INTEGER, ("7", "Green")),
    ("Blue", _INTEGER, ("8", "Blue")),
    ("Alpha", _INTEGER, ("9", "Alpha")),
]
_STALE = ("{name}.aux.xml", "{name}.ovr", "{name}.msk", "{stem}.qml")


def readable(name: str) -> str:
    r"""Return a name on one line without the characters that XML cannot hold.

    Examples
    --------
    >>> readable("Corn\nno\x00till <b>")
    'Corn notill <b>'
    """
    one_line = " ".join(name.split())
    return "".join(mark for mark in one_line if _allowed(ord(mark)))


def _allowed(point: int) -> bool:
    """Tell whether XML 1.0 allows a character."""
    return 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD or point >= 0x10000


def _document(root: ElementTree.Element, doctype: str = "") -> str:
    ElementTree.indent(root)
    return doctype + ElementTree.tostring(root, encoding="unicode") + "\n"


def _child(
    parent: ElementTree.Element,
    tag: str,
    text: str | Mapping[str, str] = "",
    **attributes: str,
) -> ElementTree.Element:
    """Add a child with a text, or with attributes of which one is called class."""
    more = {} if isinstance(text, str) else dict(text)
    child = ElementTree.SubElement(parent, tag, more | attributes)
    child.text = text if isinstance(text, str) and text else None
    return child


def _dense(legend: Legend) -> list[LandClass | None]:
    """List the classes by code from 0, with None where no class has the code."""
    by_code = {land.code: land for land in legend}
    return [by_code.get(code) for code in range(max(by_code, default=0) + 1)]


def category_text(legend: Legend) -> str:
    """Return the ``.aux.xml`` of a class map: category names and attribute table.

    Both list every code from 0 on, so that the position of a row is its code:
    readers that go by position and readers that go by value agree.
    """
    root = ElementTree.Element("PAMDataset")
    band = _child(root, "PAMRasterBand", band="1")
    names = _child(band, "CategoryNames")
    table = _child(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, (kind, kind_name), (usage, usage_name)) in enumerate(_COLUMNS):
        column = _child(table, "FieldDefn", index=str(index))
        _child(column, "Name", name)
        _child(column, "Type", kind, typeAsString=kind_name)
        _child(column, "Usage", usage, usageAsString=usage_name)
    for code, land in enumerate(_dense(legend)):
        name = readable(land.name) if land else ("" if code else "no data")
        _child(names, "Category", name)
        row = _child(table, "Row", index=str(code))
        rgba = (*land.rgb, 255) if land else (0, 0, 0, 0)
        for value in (code, name, *rgba):
            _child(row, "F", str(value))
    return _document(root)


def _style(renderer: dict[str, str]) -> tuple[ElementTree.Element, ElementTree.Element]:
    """Begin a QGIS style and return its root and its renderer."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    fixed = {"opacity": "1", "alphaBand": "-1", "band": "1", "nodataColor": ""}
    drawn = _child(_child(root, "pipe"), "rasterrenderer", **fixed, **renderer)
    _child(drawn, "rasterTransparency")
    return root, drawn


_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def palette_style(legend: Legend) -> str:
    """Return the QGIS style (``.qml``) of a class map: one colour and name per class."""
    root, drawn = _style({"type": "paletted"})
    palette = _child(drawn, "colorPalette")
    for land in legend:
        _child(
            palette,
            "paletteEntry",
            value=str(land.code),
            color="#" + land.color.removeprefix("#").lower(),
            alpha="255",
            label=readable(land.name),
        )
    return _document(root, _DOCTYPE)


def category_style(legend: Legend, field: str = "class_name") -> str:
    """Return the QGIS style of polygons: one colour and name per class, without outlines."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    drawn = _child(
        root, "renderer-v2", type="categorizedSymbol", attr=field, enableorderby="0"
    )
    categories, symbols = _child(drawn, "categories"), _child(drawn, "symbols")
    for index, land in enumerate(legend):
        name, number = readable(land.name), str(index)
        _child(
            categories,
            "category",
            value=name,
            label=name,
            symbol=number,
            render="true",
            type="string",
        )
        symbol = _child(symbols, "symbol", name=number, type="fill", alpha="1")
        layer = _child(
            symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"}
        )
        options = _child(layer, "Option", {"type": "Map"})
        rgb = ",".join(map(str, (*land.rgb, 255)))
        for key, value in (("color", rgb), ("style", "solid"), ("outline_style", "no")):
            _child(options, "Option", name=key, value=value, type="QString")
    return _document(root, _DOCTYPE)


def ramp_style(colors: dict[float, str]) -> str:
    """Return the QGIS style of a continuous map: colours by value, between them blended."""
    low, high = str(min(colors)), str(max(colors))
    root, drawn = _style(
        {
            "type": "singlebandpseudocolor",
            "classificationMin": low,
            "classificationMax": high,
        }
    )
    shader = _child(
        _child(drawn, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=low,
        maximumValue=high,
    )
    for value, color in sorted(colors.items()):
        _child(
            shader, "item", value=str(value), color=color, alpha="255", label=f"{value:g}"
        )
    return _document(root, _DOCTYPE)


def remove_sidecars(path: Path) -> None:
    """Remove what an older image of the same name left beside it.

    A stale file would give the new image the names, statistics or overviews
    of the old one.
    """
    for pattern in _STALE:
        path.with_name(pattern.format(name=path.name, stem=path.stem)).unlink(
            missing_ok=True
        )


def sidecars(path: Path, legend: Legend) -> dict[Path, str]:
    """Return what stands beside a class map: names and style."""
    names, style = sidecars_of(path)
    return {names: category_text(legend), style: palette_style(legend)}


def sidecars_of(path: Path) -> tuple[Path, Path]:
    """Return the files of names and of style that stand beside a map."""
    return path.with_name(f"{path.name}.aux.xml"), path.with_suffix(".qml")
