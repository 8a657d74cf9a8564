"""Class names and colours from a table the user keeps: CSV, YAML or JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hypercover.errors import LabelError
from hypercover.scene.formats.plainyaml import plain_yaml
from hypercover.scene.legend import LandClass, Legend, default_color

__all__ = ["read_legend"]

_LARGEST = 8 * 2**20
_HOW = (
    "give a table with the columns code, name and (if wanted) color, for example "
    "'code,name,color' and '1,Water,#4363d8'"
)


def read_legend(source: Legend | str | Path | None) -> Legend | None:
    """Return a legend as given, or read it from a CSV, YAML or JSON file.

    A YAML or JSON file holds a list of rows with code, name and color, or a
    mapping from code to name.

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
        classes = [_land(row, position) for position, row in enumerate(rows)]
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
        raise LabelError(f"The class table {path} holds no class; {_HOW}.")
    return Legend(tuple(classes))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise LabelError(f"{path} is too large for a table of classes; {_HOW}.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"The class table {path} cannot be read; {_HOW}.") from error


def _rows(suffix: str, text: str) -> Iterable[Mapping[str, Any]]:
    if suffix == ".json":
        return _listed(json.loads(text))
    if suffix in {".yaml", ".yml"}:
        try:
            return _listed(plain_yaml(text))
        except yaml.YAMLError as error:
            raise ValueError("no YAML") from error
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def _listed(value: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(value, Mapping) and set(value) == {"classes"}:
        value = value["classes"]
    if isinstance(value, Mapping):
        return [{"code": code, "name": name} for code, name in value.items()]
    return list(value)


def _land(row: Mapping[str, Any], position: int) -> LandClass:
    cells = {str(key).strip().lower(): cell for key, cell in row.items() if key is not None}
    color = _text_of(cells.get("color") or cells.get("colour") or "")
    name = _text_of(cells["name"])
    if not name:
        raise ValueError("no name")
    return LandClass(int(cells["code"]), name, color or default_color(position))


def _text_of(cell: object) -> str:
    """Return a cell as text; a list inside one could unfold to any length."""
    if not isinstance(cell, str | int | float):
        raise TypeError("a cell must be text or a number")
    return str(cell).strip()
