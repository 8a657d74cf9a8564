"""Names and colours of classes from styles: QGIS's ``.qml``, a GeoPackage's table, ``.clr``.

People colour their classes in a GIS, and the map that is made of them should look the
same.  Of a style nothing is taken but names and colours by value; expressions, ranges
and symbols of other kinds are passed over.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypercover.scene.formats.gdal import read_table
from hypercover.scene.formats.geopackage import is_sqlite
from hypercover.scene.legend import MAX_CODE

__all__ = ["Style", "clr_style", "qml_style", "raster_style", "style_files", "vector_style"]

_LARGEST = 4 * 2**20
_MOST = 70_000
"""Classes that are taken from a style."""
_MOST_STYLES = 50
_DOCTYPE = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?<!DOCTYPE[^\[<>]*>", re.IGNORECASE)
"""The declaration of QGIS, which holds no entity of its own."""
_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
_HEX = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Style:
    """Labels and colours by the value that a class has in its file, as text."""

    labels: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    attribute: str = ""
    """Attribute of a vector file that the values are of."""

    def by_code(self) -> tuple[dict[int, str], dict[int, str]]:
        """Return labels and colours by class code, of those values that are one.

        Examples
        --------
        >>> Style({"2": "Corn", "x": "y"}, {"2.0": "#112233"}).by_code()
        ({2: 'Corn'}, {2: '#112233'})
        """
        labels, colors = (
            {
                code: text
                for value, text in by_value.items()
                if (code := _code(value)) is not None
            }
            for by_value in (self.labels, self.colors)
        )
        return labels, colors


def _code(value: str) -> int | None:
    if not re.fullmatch(r"\d{1,6}(\.0*)?", value.strip(), re.ASCII):
        return None
    code = int(value.strip().split(".")[0])
    return code if code <= MAX_CODE else None


def style_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside labels that may hold their style, whether or not they are there.

    Of ENVI either the header or the pixels may be given.
    """
    return (
        path.with_suffix(".qml"),
        path.with_suffix(".clr"),
        path.with_name(path.name + ".clr"),
    )


def raster_style(path: Path) -> Style:
    """Return the style that lies beside a raster: ``.qml``, or else ``.clr``."""
    for beside in style_files(path):
        read = qml_style if beside.suffix == ".qml" else clr_style
        found = read(_text(beside))
        if found.colors:
            return found
    return Style()


def vector_style(path: Path, layer: str | None) -> Style:
    """Return the style of a layer: of a GeoPackage its own table's, or else ``.qml`` beside it."""
    for text in _layer_styles(path, layer):
        found = qml_style(text)
        if found.colors:
            return found
    return qml_style(_text(path.with_suffix(".qml")))


def _text(path: Path) -> str:
    """Read a small text file; nothing of one that is missing, large or in no encoding."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return ""
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def _layer_styles(path: Path, layer: str | None) -> list[str]:
    """Return the styles that QGIS keeps in a GeoPackage for a layer, the default first."""
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.is_file() or not is_sqlite(path):
        return []
    wanted = ["f_table_name", "styleQML", "useAsDefault"]
    try:
        table = read_table(path, "layer_styles", wanted, _MOST_STYLES)
    except (DataSourceError, DataLayerError, ValueError, IndexError):
        return []
    if set(wanted) - set(table):
        return []
    own = [
        (not default, str(text))
        for name, text, default in zip(*(table[one] for one in wanted), strict=True)
        if layer in (None, name) and text is not None and len(str(text)) <= _LARGEST
    ]
    return [text for _, text in sorted(own, key=lambda one: one[0])]


def qml_style(text: str) -> Style:
    """Read the categories of a QGIS style: of a raster's palette, or of symbols by value.

    Examples
    --------
    >>> qml_style('<qgis><paletteEntry value="2" color="#112233" label="Corn"/></qgis>').labels
    {'2': 'Corn'}
    """
    plain = _DOCTYPE.sub("", text, count=1)
    if not plain.strip() or _DECLARATION.search(plain):
        return Style()
    try:
        root = ET.fromstring(plain)  # noqa: S314  (small, and no DTD or entity is in it)
    except (ET.ParseError, ValueError, RecursionError):
        return Style()
    entries = [*root.iter("paletteEntry")][:_MOST]
    if not entries:
        shader = root.find(".//colorrampshader[@colorRampType='EXACT']")
        entries = [] if shader is None else [*shader.iter("item")][:_MOST]
    if entries:
        return _of_entries(entries)
    renderer = root.find(".//renderer-v2[@type='categorizedSymbol']")
    return Style() if renderer is None else _of_categories(renderer)


def _of_entries(entries: list[ET.Element]) -> Style:
    shown = [one for one in entries if one.get("value") and one.get("alpha", "255") != "0"]
    labels = {one.get("value", ""): one.get("label", "").strip() for one in shown}
    colors = {
        one.get("value", ""): one.get("color", "").lower()
        for one in shown
        if _HEX.fullmatch(one.get("color", ""))
    }
    return Style({value: label for value, label in labels.items() if label}, colors)


def _of_categories(renderer: ET.Element) -> Style:
    """Read the classes of a vector layer: each category names its symbol."""
    by_symbol = {
        symbol.get("name", ""): color
        for symbol in renderer.findall("symbols/symbol")[:_MOST]
        if (color := _symbol_color(symbol))
    }
    labels, colors = {}, {}
    for one in renderer.findall("categories/category")[:_MOST]:
        value, symbol = one.get("value", "").strip(), one.get("symbol", "")
        if value and symbol in by_symbol:
            colors[value] = by_symbol[symbol]
            labels[value] = one.get("label", "").strip() or value
    return Style(labels, colors, renderer.get("attr", "").strip('"'))


_COLOR_KEYS = ("color", "fill_color", "line_color")


def _symbol_color(symbol: ET.Element) -> str:
    """Return the fill of a symbol, in the ways of QGIS 3 (Option) and before (prop)."""
    for tag, key, value in (("Option", "name", "value"), ("prop", "k", "v")):
        found = {one.get(key): one.get(value, "") for one in symbol.iter(tag)}
        for name in _COLOR_KEYS:
            parts = re.match(r"\s*(\d{1,3}),(\d{1,3}),(\d{1,3})", found.get(name) or "")
            if parts and all(int(part) <= 255 for part in parts.groups()):
                return "#" + "".join(f"{int(part):02x}" for part in parts.groups())
            if _HEX.fullmatch(found.get(name) or ""):
                return str(found[name]).lower()
    return ""


def clr_style(text: str) -> Style:
    """Read a colour file of ESRI or GDAL: value, red, green, blue, and perhaps a name.

    Examples
    --------
    >>> clr_style("1 0 100 200 Water").labels, clr_style("1,0,100,200").colors
    ({'1': 'Water'}, {'1': '#0064c8'})
    """
    labels, colors = {}, {}
    for line in text.splitlines()[:_MOST]:
        found = re.match(
            r"\s*(\d{1,6})((?:[\s,:]+\d{1,3}){3})(?:[\s,:]+\d{1,3})?\s*(.*)", line
        )
        if found is None:
            continue
        levels = [int(part) for part in re.findall(r"\d+", found[2])]
        if max(levels) <= 255:
            colors[found[1]] = "#" + "".join(f"{level:02x}" for level in levels)
            if found[3].strip():
                labels[found[1]] = found[3].strip()
    return Style(labels, colors)
