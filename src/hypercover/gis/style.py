"""QGIS styles (``.qml``) of class maps, polygons and continuous maps."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from hypercover.scene.io.geotiff import printable, sidecar
from hypercover.scene.legend import Legend


def _document(root: ElementTree.Element, doctype: str = "") -> str:
    ElementTree.indent(root)
    return doctype + ElementTree.tostring(root, encoding="unicode") + "\n"


def _child(
    parent: ElementTree.Element,
    tag: str,
    text: str | Mapping[str, str] = "",
    **attributes: str,
) -> ElementTree.Element:
    """Add a child with a text, or with a mapping of attributes (for names like ``class``)."""
    more = {} if isinstance(text, str) else dict(text)
    child = ElementTree.SubElement(parent, tag, more | attributes)
    child.text = text if isinstance(text, str) and text else None
    return child


def _style(renderer: dict[str, str]) -> tuple[ElementTree.Element, ElementTree.Element]:
    """Return the root and the renderer of a new QGIS style."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    fixed = {"opacity": "1", "alphaBand": "-1", "band": "1", "nodataColor": ""}
    drawn = _child(_child(root, "pipe"), "rasterrenderer", **fixed, **renderer)
    _child(drawn, "rasterTransparency")
    return root, drawn


_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def palette_style(legend: Legend) -> str:
    """Return the QGIS style of a class map: a colour and name per class."""
    root, drawn = _style({"type": "paletted"})
    palette = _child(drawn, "colorPalette")
    for land in legend:
        _child(
            palette,
            "paletteEntry",
            value=str(land.code),
            color="#" + land.color.removeprefix("#").lower(),
            alpha="255",
            label=printable(land.name),
        )
    return _document(root, _DOCTYPE)


def category_style(legend: Legend, field: str = "class_name") -> str:
    """Return the QGIS style of polygons: a colour and name per class, without outlines."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    drawn = _child(
        root, "renderer-v2", type="categorizedSymbol", attr=field, enableorderby="0"
    )
    categories, symbols = _child(drawn, "categories"), _child(drawn, "symbols")
    for index, land in enumerate(legend):
        name, number = printable(land.name), str(index)
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
    """Return the QGIS style of a continuous map, with colours interpolated by value."""
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


def sidecar_paths(path: Path) -> tuple[Path, Path]:
    """Return the paths of the class names and the style of a map."""
    return sidecar(path), path.with_suffix(".qml")
