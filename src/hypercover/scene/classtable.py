"""Class names and colours from a table the user keeps: CSV, YAML or JSON."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hypercover.errors import LabelError
from hypercover.scene.classcolors import class_colors
from hypercover.scene.formats.plainyaml import plain_yaml
from hypercover.scene.labels import folded
from hypercover.scene.legend import LandClass, Legend

__all__ = ["read_legend"]

_LARGEST = 8 * 2**20
_HOW = (
    "give a table with the columns code, name and (if wanted) color, for example "
    "'code,name,color' and '1,Water,#4363d8'"
)
_HEADS = {
    "code": (
        "code", "classcode", "classid", "value", "gridcode", "dn", "pixelvalue", "id",
        "number", "nr", "no", "kode", "klassenid", "klassennummer", "nummer", "wert",
        "codigo", "código", "valor", "número", "numero", "codice", "valore", "valeur",
        "numéro", "class", "klasse", "classe", "clase", "label",
    ),
    "name": (
        "name", "classname", "class", "label", "category", "description", "landcover",
        "landuse", "text", "klasse", "klassenname", "bezeichnung", "beschreibung",
        "nutzung", "nom", "libellé", "libelle", "classe", "désignation", "nombre", "clase",
        "descripción", "descripcion", "nome", "descrizione", "descrição", "descricao",
    ),
    "color": (
        "color", "colour", "hex", "rgb", "hexcolor", "hexcolour", "farbe", "couleur",
        "colore", "cor",
    ),
    "red": ("red", "r", "rot", "rouge", "rojo", "rosso", "vermelho"),
    "green": ("green", "g", "grün", "gruen", "vert", "verde"),
    "blue": ("blue", "b", "blau", "bleu", "azul", "blu"),
}  # fmt: skip
"""Heads of columns as programs and people write them, without case and spaces; the
first of a list that a table has is taken, and no column twice."""
_WHOLE = re.compile(r"\d{1,9}([.,]0*)?", re.ASCII)
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


def read_legend(source: Legend | str | Path | None) -> Legend | None:
    """Return a legend as given, or read it from a CSV, YAML or JSON file.

    A CSV file may be as spreadsheets save it: in UTF-8, UTF-16 or Windows-1252, with
    commas, semicolons or tabs, with empty rows, and with heads such as ``Value``,
    ``Klasse`` or ``nombre``.  A YAML or JSON file holds a list of rows with code, name
    and color, or a mapping from code to name.  A row of code 0 counts only for labels in
    which 0 is a class.

    Raises
    ------
    LabelError
        If the file is missing or is no such table.
    """
    if source is None or isinstance(source, Legend):
        return source
    path = Path(source)
    text = _text(path)
    try:
        rows = _rows(path.suffix.lower(), text)
        found = [_class(row, where) for where, row in rows]
        zero = next(((name, color) for code, name, color in found if code == 0), None)
        classes = _colored([one for one in found if one[0]])
        legend = Legend(tuple(classes), zero)
    except LabelError as error:
        raise LabelError(f"In the class table {path}: {error}") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        csv.Error,
    ) as error:
        raise LabelError(f"{path} is no table of classes; {_HOW}.") from error
    if not classes:
        raise LabelError(f"The class table {path} holds no class from code 1 on; {_HOW}.")
    return legend


def _colored(rows: list[tuple[int, str, str | None]]) -> list[LandClass]:
    """Give each class the colour of its row, or else one by its name."""
    given = {code: color for code, _, color in rows if color}
    chosen = class_colors({code: name for code, name, _ in rows}, given)
    return [LandClass(code, name, color or chosen[code]) for code, name, color in rows]


def _text(path: Path) -> str:
    """Read a table in the encoding it was saved in."""
    try:
        if path.stat().st_size > _LARGEST:
            raise LabelError(f"{path} is too large for a table of classes; {_HOW}.")
        raw = path.read_bytes()
    except OSError as error:
        raise LabelError(f"The class table {path} cannot be read; {_HOW}.") from error
    marked = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if marked is None and raw[1:2] == b"\0" and raw[:1] != b"\0":
        marked = "utf-16-le"
    for encoding in filter(None, (marked, "utf-8", "cp1252")):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise LabelError(
        f"The class table {path} is in no encoding that is read (UTF-8, UTF-16, "
        "Windows-1252); save it as UTF-8."
    )


def _rows(suffix: str, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Give each row with words for where it stands."""
    if suffix in {".json", ".yaml", ".yml"}:
        entries = _listed(_document(suffix, text))
        return [
            (f"entry {at}", _by_head([*row], [*row.values()]))
            for at, row in enumerate(entries, 1)
        ]
    return _cells(text)


def _document(suffix: str, text: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    try:
        return plain_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _cells(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the rows of a CSV file that are not empty."""
    # Excel's "CSV (Macintosh)" ends lines with a carriage return alone.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.splitlines()
    told = re.fullmatch(r"sep=(.)", lines[0]) if lines else None
    first = next((line for line in lines[1 if told else 0 :] if line.strip()), "")
    delimiter = told[1] if told else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    heads: list[str] | None = None
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or (told and reader.line_num == 1):
            continue
        if heads is None and not _WHOLE.fullmatch(cells[0]):
            heads = cells
            _check_heads(heads)
            continue
        # A table without heads begins with a code.
        heads = heads or ["code", "name", "color"]
        yield f"line {reader.line_num}", _by_head(heads, cells)


def _check_heads(heads: list[str]) -> None:
    """Refuse a table without the columns that are needed, naming those it has."""
    missing = [name for name in ("code", "name") if name not in _columns(heads)]
    if missing:
        shown = ", ".join(repr(head[:40]) for head in heads[:12])
        raise LabelError(
            f"no column is the {' or the '.join(missing)} among {shown}; {_HOW}."
        )


def _columns(heads: list[Any]) -> dict[str, int]:
    """Find the position of each column that is known by its head."""
    plain = [folded(str(head)).strip(".:#") for head in heads]
    found: dict[str, int] = {}
    for name, known in _HEADS.items():
        at = next(
            (
                plain.index(head)
                for head in (folded(one) for one in known)
                if head in plain and plain.index(head) not in found.values()
            ),
            None,
        )
        if at is not None:
            found[name] = at
    return found


def _by_head(heads: list[Any], cells: list[Any]) -> Mapping[str, Any]:
    return {name: cells[at] for name, at in _columns(heads).items() if at < len(cells)}


def _listed(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping) and set(value) == {"classes"}:
        value = value["classes"]
    if isinstance(value, Mapping):
        return [{"code": code, "name": name} for code, name in value.items()]
    return list(value)


def _class(row: Mapping[str, Any], where: str) -> tuple[int, str, str | None]:
    """Read code, name and colour of a row."""
    code, name = _code(row.get("code", ""), where), _text_of(row.get("name", ""))
    if not name:
        raise LabelError(f"{where} gives code {code} no name; {_HOW}.")
    return code, name, _color(row, where)


def _code(cell: object, where: str) -> int:
    """Read a code, which spreadsheets may write as 1.0 or 1,0."""
    text = _text_of(cell)
    if not _WHOLE.fullmatch(text):
        raise LabelError(
            f"{where} has {text[:40]!r} where a class code must stand; {_HOW}."
        )
    return int(re.split("[.,]", text)[0])


def _color(row: Mapping[str, Any], where: str) -> str | None:
    """Read a colour: #3cb44b, 3cb44b, or three numbers from 0 to 255; None without one."""
    parts = [_text_of(row.get(name, "")) for name in ("red", "green", "blue")]
    text = _text_of(row.get("color") or "") or ",".join(filter(None, parts))
    if not text:
        return None
    numbers = re.fullmatch(
        r"(?:rgb)?\(?\s*(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})\s*\)?", text
    )
    if numbers and all(int(part) <= 255 for part in numbers.groups()):
        return "#" + "".join(f"{int(part):02x}" for part in numbers.groups())
    if re.fullmatch("#?[0-9a-fA-F]{6}", text):
        return "#" + text.removeprefix("#").lower()
    raise LabelError(
        f"{where} has the colour {text[:40]!r}; write it as #3cb44b or 60, 180, 75."
    )


def _text_of(cell: object) -> str:
    """Return a cell as text; a list inside one could unfold to any length."""
    if not isinstance(cell, str | int | float):
        raise TypeError("a cell must be text or a number")
    return str(cell).strip()
