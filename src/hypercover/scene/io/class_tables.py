"""Class names and colours in files of their own: class tables, styles and ``.aux.xml``."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hypercover.errors import LabelError, SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.io import safe_parsers
from hypercover.scene.io.file_types import is_sqlite
from hypercover.scene.io.gdal import offline_pyogrio
from hypercover.scene.labels import normalized_name
from hypercover.scene.legend import MAX_CODE, LandClass, Legend, class_colors

_MAX_STYLE_BYTES = 4 * 2**20

_MAX_CLASSES = 70_000
"""Classes that are read from a style."""

_MAX_STYLES = 50

_DOCTYPE = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?<!DOCTYPE[^\[<>]*>", re.IGNORECASE)
"""The declaration that QGIS writes, without entities."""


@dataclass(frozen=True)
class Style:
    """Names and colours of classes by their value in the file, as text."""

    labels: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    attribute: str = ""
    """Attribute of a vector file that holds the values."""

    def by_code(self) -> tuple[dict[int, str], dict[int, str]]:
        """Return names and colours by class code; values that are not codes are skipped.

        Examples
        --------
        >>> Style({"2": "Corn", "x": "y"}, {"2.0": "#112233"}).by_code()
        ({2: 'Corn'}, {2: '#112233'})
        """
        return _by_code(self.labels), _by_code(self.colors)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str]], attribute: str = "") -> "Style":
        """Return the style of rows of value, label and colour; the last two may be empty."""
        listed = [*rows]
        labels = {value: label for value, label, _ in listed if label}
        return cls(labels, {value: color for value, _, color in listed if color}, attribute)


def _by_code(by_value: Mapping[str, str]) -> dict[int, str]:
    codes = {
        safe_parsers.whole_number(value.strip()): text for value, text in by_value.items()
    }
    return {
        code: text
        for code, text in codes.items()
        if code is not None and 0 <= code <= MAX_CODE
    }


def style_files(path: Path) -> tuple[Path, ...]:
    """Return the possible style files of a label raster, whether or not they exist."""
    beside = path.with_name(path.name + ".clr")
    return path.with_suffix(".qml"), path.with_suffix(".clr"), beside


def raster_style(path: Path) -> Style:
    """Return the style of a raster: that of its ``.qml``, or else of its ``.clr``."""
    for file in style_files(path):
        style = (parse_qml if file.suffix == ".qml" else parse_clr)(_text(file))
        if style.colors:
            return style
    return Style()


def vector_style(path: Path, layer: str | None) -> Style:
    """Return the style of a layer: that stored in a GeoPackage, or else of the ``.qml``."""
    for text in _layer_styles(path, layer):
        style = parse_qml(text)
        if style.colors:
            return style
    return parse_qml(_text(path.with_suffix(".qml")))


def _text(path: Path) -> str:
    """Read a small text file; empty if it is missing, too large or not UTF-8."""
    if not path.is_file():
        return ""
    try:
        return safe_parsers.read_bounded(path, _MAX_STYLE_BYTES).decode("utf-8-sig")
    except (SceneError, UnicodeDecodeError):
        return ""


def _layer_styles(path: Path, layer: str | None) -> list[str]:
    """Return the styles that QGIS stored in a GeoPackage for a layer, the default first."""
    if not path.is_file() or not is_sqlite(path):
        return []
    columns = ["f_table_name", "styleQML", "useAsDefault"]
    options = {"columns": columns, "read_geometry": False, "max_features": _MAX_STYLES}
    try:
        with offline_pyogrio(path) as pyogrio:
            source = path.absolute()
            meta, _, _, data = pyogrio.raw.read(source, layer="layer_styles", **options)
    # The errors of pyogrio are RuntimeErrors.
    except (RuntimeError, ValueError, IndexError):
        return []
    table = dict(zip(map(str, meta["fields"]), data, strict=True))
    if set(columns) - set(table):
        return []
    rows = sorted(zip(*map(table.get, columns), strict=True), key=lambda row: not row[2])
    return [
        str(text)
        for name, text, _ in rows
        if layer in (None, name) and text is not None and len(str(text)) <= _MAX_STYLE_BYTES
    ]


def parse_qml(text: str) -> Style:
    """Read the classes of a QGIS style: a raster palette, or categorised symbols.

    Examples
    --------
    >>> parse_qml('<qgis><paletteEntry value="2" color="#112233" label="Corn"/></qgis>').labels
    {'2': 'Corn'}
    """
    plain = _DOCTYPE.sub("", text, count=1)
    try:
        root = safe_parsers.parse_xml_text(plain, "The style")
    except SceneError:
        return Style()
    entries = [*root.iter("paletteEntry")][:_MAX_CLASSES]
    if not entries:
        shader = root.find(".//colorrampshader[@colorRampType='EXACT']")
        entries = [] if shader is None else [*shader.iter("item")][:_MAX_CLASSES]
    if entries:
        return _raster_classes(entries)
    renderer = root.find(".//renderer-v2[@type='categorizedSymbol']")
    return Style() if renderer is None else _vector_classes(renderer)


def _raster_classes(entries: list[ET.Element]) -> Style:
    rows = (
        {"alpha": "255", "value": "", "label": "", "color": ""} | item.attrib
        for item in entries
    )
    return Style.of(
        (row["value"], row["label"].strip(), _hex_color(row["color"]))
        for row in rows
        if row["value"] and row["alpha"] != "0"
    )


def _vector_classes(renderer: ET.Element) -> Style:
    """Read the classes of a vector layer, where each category names its symbol."""
    symbols = renderer.findall("symbols/symbol")[:_MAX_CLASSES]
    by_symbol = {symbol.get("name", ""): _symbol_color(symbol) for symbol in symbols}
    rows = []
    for item in renderer.findall("categories/category")[:_MAX_CLASSES]:
        value = item.get("value", "").strip()
        color = by_symbol.get(item.get("symbol", ""))
        if value and color:
            rows.append((value, item.get("label", "").strip() or value, color))
    return Style.of(rows, renderer.get("attr", "").strip('"'))


def _hex_color(text: str) -> str:
    """Return a colour such as ``#3cb44b`` in lower case; empty for anything else."""
    return text.lower() if re.fullmatch("#[0-9a-fA-F]{6}", text) else ""


def _symbol_color(symbol: ET.Element) -> str:
    """Return the fill colour of a symbol, as QGIS 3 (Option) or 2 (prop) writes it."""
    for tag, key, value in (("Option", "name", "value"), ("prop", "k", "v")):
        properties = {item.get(key): item.get(value, "") for item in symbol.iter(tag)}
        for name in ("color", "fill_color", "line_color"):
            text = properties.get(name) or ""
            levels = re.match(r"\s*(\d{1,3}),(\d{1,3}),(\d{1,3})", text)
            if color := _hex_color(text) or _hex(levels.groups() if levels else ()):
                return color
    return ""


def _hex(levels: Sequence[str]) -> str:
    """Write red, green and blue from 0 to 255 as ``#rrggbb``; empty for anything else."""
    numbers = [int(level) for level in levels]
    usable = len(numbers) > 0 and max(numbers) < 256
    return "#{:02x}{:02x}{:02x}".format(*numbers) if usable else ""


_CLR = re.compile(r"\s*(\d{1,6})((?:[\s,:]+\d{1,3}){3})(?:[\s,:]+\d{1,3})?\s*(.*)")


def parse_clr(text: str) -> Style:
    """Read a colour file of ESRI or GDAL: value, red, green, blue, and an optional name.

    Examples
    --------
    >>> parse_clr("1 0 100 200 Water").labels, parse_clr("1,0,100,200").colors
    ({'1': 'Water'}, {'1': '#0064c8'})
    """
    lines = filter(None, map(_CLR.match, text.splitlines()[:_MAX_CLASSES]))
    rows = [(line[1], line[3].strip(), _hex(re.findall(r"\d+", line[2]))) for line in lines]
    return Style.of(row for row in rows if row[2])


_NAMES_AT = 16 * 128
"""Offset of the names: a head, six records of colours, a head, eight records of counts."""

_NAME = 32

_MAX_TRAILER_NAMES = 256

_HEADS = (b"TRAIL74", b"TRAILER")


def read_trailer_names(path: Path) -> dict[int, str]:
    """Return class names by code from the ERDAS trailer (``.trl``) of a raster, if any.

    Each name has 32 bytes and ends with ``~``; the first is that of code 0.
    """
    trailer = find_ignoring_case(path.with_suffix(".trl"))
    if trailer is None or not trailer.is_file():
        return {}
    with trailer.open("rb") as file:
        content = file.read(_NAMES_AT + _MAX_TRAILER_NAMES * _NAME)
    if not content.startswith(_HEADS):
        return {}
    listed = content[_NAMES_AT:]
    entries = [listed[at : at + _NAME] for at in range(0, len(listed), _NAME)]
    names = [re.split(b"[~\0]", raw)[0].decode("latin-1").strip() for raw in entries]
    return {code: name for code, name in enumerate(names) if name and name.isprintable()}


_MAX_TABLE_BYTES = 8 * 2**20

_HOW = (
    "give a table with the columns code, name and, optionally, color, for example "
    "'code,name,color' and '1,Water,#4363d8'"
)

_COLUMN_NAMES = {
    "code": "code classcode classid value gridcode dn pixelvalue id number nr no kode "
    "klassenid klassennummer nummer wert codigo código valor número numero codice "
    "valore valeur numéro class klasse classe clase label",
    "name": "name classname class label category description landcover landuse text klasse "
    "klassenname bezeichnung beschreibung nutzung nom libellé libelle classe "
    "désignation nombre clase descripción descripcion nome descrizione descrição "
    "descricao",
    "color": "color colour hex rgb hexcolor hexcolour farbe couleur colore cor",
    "red": "red r rot rouge rojo rosso vermelho",
    "green": "green g grün gruen vert verde",
    "blue": "blue b blau bleu azul blu",
}
"""Heads of columns as programs and people write them, without case and spaces. The first
of each line that occurs in a table counts, and no column counts twice."""

_BROKEN = (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error)


def read_legend(source: Legend | str | Path | None) -> Legend | None:
    """Read a legend from a CSV, YAML or JSON file; a legend is returned as it is.

    CSV files may be as spreadsheets save them: in UTF-8, UTF-16 or Windows-1252, with
    commas, semicolons or tabs, with empty rows, and with heads such as ``Value``,
    ``Klasse`` or ``nombre``. A YAML or JSON file holds a list of rows with code, name
    and color, or a mapping from code to name. A row of code 0 only applies to labels in
    which 0 is a class.

    Raises
    ------
    LabelError
        If the file is missing or not such a table.
    """
    if source is None or isinstance(source, Legend):
        return source
    path = Path(source)
    text = _table_text(path)
    try:
        rows = _rows(path.suffix.lower(), text)
        entries = [_class(row, where) for where, row in rows]
        zero = next(((name, color) for code, name, color in entries if code == 0), None)
        named = [entry for entry in entries if entry[0]]
        given = {code: color for code, _, color in named if color}
        colors = class_colors({code: name for code, name, _ in named}, given)
        classes = tuple(LandClass(code, name, colors[code]) for code, name, _ in named)
        legend = Legend(classes, zero)
    except LabelError as error:
        raise LabelError(f"In the class table {path}: {error}") from error
    except _BROKEN as error:
        raise LabelError(f"{path} is not a class table; {_HOW}.") from error
    if not classes:
        raise LabelError(f"The class table {path} holds no class from code 1 on; {_HOW}.")
    return legend


def _table_text(path: Path) -> str:
    """Read a table in the encoding it was saved in."""
    try:
        raw = safe_parsers.read_bounded(path, _MAX_TABLE_BYTES)
    except SceneError as error:
        raise LabelError(f"The class table {path} cannot be read; {_HOW}.") from error
    try:
        return safe_parsers.decode_text(raw)[0]
    except UnicodeDecodeError as error:
        raise LabelError(
            f"The encoding of the class table {path} is none of UTF-8, UTF-16 and Windows-1252; "
            "save it as UTF-8."
        ) from error


def _rows(suffix: str, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return each row with a description of its place."""
    if suffix not in {".json", ".yaml", ".yml"}:
        return _cells(text)
    try:
        table = json.loads(text) if suffix == ".json" else safe_parsers.parse_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error
    if isinstance(table, Mapping) and set(table) == {"classes"}:
        table = table["classes"]
    if isinstance(table, Mapping):
        table = [{"code": code, "name": name} for code, name in table.items()]
    rows = (_by_head([*row], [*row.values()]) for row in table)
    return [(f"entry {at}", row) for at, row in enumerate(rows, 1)]


def _cells(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a CSV file that are not empty."""
    # Excel's "CSV (Macintosh)" ends lines with a carriage return alone.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.splitlines()
    # Excel writes the delimiter like this.
    stated = re.fullmatch(r"sep=(.)", lines[0]) if lines else None
    first = next((line for line in lines[1 if stated else 0 :] if line.strip()), "")
    delimiter = stated[1] if stated else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    heads: list[str] | None = None
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or (stated and reader.line_num == 1):
            continue
        if heads is None and safe_parsers.whole_number(cells[0]) is None:
            heads = cells
            if missing := sorted({"code", "name"} - _columns(heads).keys()):
                shown = ", ".join(repr(head[:40]) for head in heads[:12])
                raise LabelError(
                    f"no column is the {' or the '.join(missing)} among {shown}; {_HOW}."
                )
            continue
        # A table without heads begins with a code.
        heads = heads or ["code", "name", "color"]
        yield f"line {reader.line_num}", _by_head(heads, cells)


def _columns(heads: list[Any]) -> dict[str, int]:
    """Find the position of each known column by its head."""
    plain = [normalized_name(str(head)).strip(".:#") for head in heads]
    columns: dict[str, int] = {}
    for name, titles in _COLUMN_NAMES.items():
        positions = [plain.index(title) for title in titles.split() if title in plain]
        if free := [at for at in positions if at not in columns.values()]:
            columns[name] = free[0]
    return columns


def _by_head(heads: list[Any], cells: list[Any]) -> Mapping[str, Any]:
    return {name: cells[at] for name, at in _columns(heads).items() if at < len(cells)}


def _class(row: Mapping[str, Any], where: str) -> tuple[int, str, str | None]:
    """Read code, name and colour of a row."""
    text, name = _text_of(row.get("code", "")), _text_of(row.get("name", ""))
    code = safe_parsers.whole_number(text)
    if code is None or code < 0:
        raise LabelError(f"{where} has {text[:40]!r} instead of a class code; {_HOW}.")
    if not name:
        raise LabelError(f"{where} has no name for code {code}; {_HOW}.")
    return code, name, _color(row, where)


_LEVELS = re.compile(r"(?:rgb)?\(?\s*(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})\s*\)?")


def _color(row: Mapping[str, Any], where: str) -> str | None:
    """Read a colour: #3cb44b, 3cb44b, or three numbers from 0 to 255; None without one."""
    parts = [_text_of(row.get(name, "")) for name in ("red", "green", "blue")]
    text = _text_of(row.get("color") or "") or ",".join(filter(None, parts))
    if not text:
        return None
    numbers = _LEVELS.fullmatch(text)
    color = _hex(numbers.groups() if numbers else ()) or _hex_color(
        f"#{text.removeprefix('#')}"
    )
    if not color:
        raise LabelError(
            f"{where} has the colour {text[:40]!r}; write #3cb44b or 60, 180, 75."
        )
    return color


def _text_of(cell: object) -> str:
    """Return a cell as text; a list inside one could unfold to any length."""
    if not isinstance(cell, str | int | float):
        raise TypeError("a cell must be text or a number")
    return str(cell).strip()


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
        band = safe_parsers.parse_xml(sidecar(path)).find("PAMRasterBand[@band='1']")
    except SceneError:
        return {}
    if band is None:
        return {}
    names = [(item.text or "").strip() for item in band.findall("CategoryNames/Category")]
    return {code: name for code, name in enumerate(names) if name} or _table_names(band)


def _table_names(band: ET.Element) -> dict[int, str]:
    """Read class names by value from the raster attribute table of a band."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    columns = table.findall("FieldDefn")
    usages = [(column.findtext("Usage") or "").strip() for column in columns]
    heads = [(column.findtext("Name") or "").lower() for column in columns]
    heads = [head.replace("_", "").strip() for head in heads]
    value = _column(usages, heads, "5", {"value", "classvalue", "code"})
    name = _column(usages, heads, "2", {"class", "classname", "name", "label"})
    names: dict[int, str] = {}
    if value is None or name is None:
        return names
    for row in table.findall("Row"):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        number = (
            safe_parsers.whole_number(cells[value]) if len(cells) == len(heads) else None
        )
        if number is not None and 0 <= number < 10**6 and cells[name]:
            names[number] = cells[name]
    return names


def _column(usages: list[str], heads: list[str], usage: str, names: set[str]) -> int | None:
    """Find a column by its usage (5: value, 2: name), or else by its head."""
    if usage in usages:
        return usages.index(usage)
    return next((at for at, head in enumerate(heads) if head in names), None)


_INTEGER, _STRING = ("0", "Integer"), ("2", "String")
_COLUMNS = {"Value": ("5", "MinMax"), "Class": ("2", "Name")} | {
    name: (str(usage), name)
    for usage, name in enumerate(("Red", "Green", "Blue", "Alpha"), 6)
}
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
    for index, (name, (usage, usage_name)) in enumerate(_COLUMNS.items()):
        kind, kind_name = _STRING if name == "Class" else _INTEGER
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(column, "Name").text = name
        ET.SubElement(column, "Type", typeAsString=kind_name).text = kind
        ET.SubElement(column, "Usage", usageAsString=usage_name).text = usage
    classes = {entry.code: (entry.name, (*entry.rgb, 255)) for entry in legend}
    classes[0] = (zero, _CLEAR if zero_rgb is None else (*zero_rgb, 255))
    for code in range(max(classes) + 1):
        name, rgba = classes.get(code, ("", _CLEAR))
        ET.SubElement(names, "Category").text = printable(name)
        row = ET.SubElement(table, "Row", index=str(code))
        for value in (code, printable(name), *rgba):
            ET.SubElement(row, "F").text = str(value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 excludes."""


def printable(name: str) -> str:
    r"""Return a name on one line without the characters that XML cannot hold.

    Examples
    --------
    >>> printable("Corn\nno\x00till <b>")
    'Corn notill <b>'
    """
    return _NOT_IN_XML.sub("", " ".join(name.split()))
