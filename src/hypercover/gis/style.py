"""QGIS styles (``.qml``) of class maps, polygons and maps of fractions."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from hypercover.scene.io.class_tables import printable, sidecar
from hypercover.scene.legend import Legend

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_VIRIDIS = {
    0.0: "#440154",
    0.25: "#3b528b",
    0.5: "#21918c",
    0.75: "#5ec962",
    1.0: "#fde725",
}


def _root() -> Element:
    return Element("qgis", version="3.22", styleCategories="Symbology")


def _raster_renderer(root: Element, **attributes: str) -> Element:
    """Add the renderer of a raster to a style."""
    fixed = {"opacity": "1", "alphaBand": "-1", "band": "1", "nodataColor": ""}
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", fixed | attributes)
    SubElement(renderer, "rasterTransparency")
    return renderer


def _text(root: Element) -> str:
    indent(root)
    return f"{_DOCTYPE}{tostring(root, encoding='unicode')}\n"


def palette_style(legend: Legend) -> str:
    """Return the QGIS style of a class map: a colour and name per class."""
    root = _root()
    palette = SubElement(_raster_renderer(root, type="paletted"), "colorPalette")
    for entry in legend:
        color, name = "#" + entry.color.removeprefix("#").lower(), printable(entry.name)
        fill = {"value": str(entry.code), "color": color, "alpha": "255", "label": name}
        SubElement(palette, "paletteEntry", fill)
    return _text(root)


def category_style(legend: Legend, field: str = "class_name") -> str:
    """Return the QGIS style of polygons: a colour and name per class, without outlines."""
    root = _root()
    renderer = SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=field, enableorderby="0"
    )
    categories, symbols = (SubElement(renderer, tag) for tag in ("categories", "symbols"))
    for index, entry in enumerate(legend):
        name, number = printable(entry.name), str(index)
        shown = {"value": name, "label": name, "symbol": number}
        SubElement(categories, "category", shown, render="true", type="string")
        symbol = SubElement(symbols, "symbol", name=number, type="fill", alpha="1")
        fill = {"class": "SimpleFill", "enabled": "1", "pass": "0"}
        options = SubElement(SubElement(symbol, "layer", fill), "Option", type="Map")
        rgb = ",".join(map(str, (*entry.rgb, 255)))
        for key, value in (("color", rgb), ("style", "solid"), ("outline_style", "no")):
            SubElement(options, "Option", name=key, value=value, type="QString")
    return _text(root)


def fraction_style() -> str:
    """Return the QGIS style of a map of fractions from 0 to 1, with interpolated colours."""
    root, low, high = _root(), "0.0", "1.0"
    limits = {"classificationMin": low, "classificationMax": high}
    renderer = _raster_renderer(root, type="singlebandpseudocolor", **limits)
    ramp = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0"}
    limits = {"minimumValue": low, "maximumValue": high}
    shader = SubElement(
        SubElement(renderer, "rastershader"), "colorrampshader", ramp | limits
    )
    for value, color in _VIRIDIS.items():
        shown = {"value": str(value), "color": color, "alpha": "255", "label": f"{value:g}"}
        SubElement(shader, "item", shown)
    return _text(root)


def sidecar_paths(path: Path) -> tuple[Path, Path]:
    """Return the paths of the class names and the style of a map."""
    return sidecar(path), path.with_suffix(".qml")
