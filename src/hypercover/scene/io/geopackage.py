"""GeoPackages: checked before GDAL runs any SQL that they contain."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from hypercover.errors import LabelError

_MAGIC = b"SQLite format 3\0"
_SECONDS = 10.0
"""Time limit of the check."""
_MOST_OBJECTS = 10_000
_STEPS = 10_000
"""Instructions of SQLite between two checks of the time."""
_LONGEST_SQL = 2000
_CONTENTS = "gpkg_contents"


def is_sqlite(path: Path) -> bool:
    """Tell whether a file is a database of SQLite, as GeoPackages are."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def check_geopackage(path: Path) -> None:
    """Refuse a GeoPackage whose layers are computed instead of stored.

    A view is a program, which may never end, and a generated column may fill all memory; GDAL
    evaluates both on opening. Triggers, such as those of the R-tree that the standard asks
    for, only run on writing. Views that are not layers are never evaluated.

    Raises
    ------
    LabelError
        If the file is damaged or not a GeoPackage, or a layer is a view, a virtual table or
        has generated columns.

    Source: OGC 12-128r18 (GeoPackage 1.3), 1.1.3 and 2.1.
    """
    try:
        with _reading(path) as database:
            tables = _tables(path, database)
            for name in _layers(database):
                _check_stored(path, name, tables)
                _check_columns(path, name, database)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LabelError(
            f"{path} cannot be read as a GeoPackage: it is damaged, or listing its tables "
            "takes too long; save the shapes as a new GeoPackage or as GeoJSON."
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database read-only, for a limited time, without trusting its functions."""
    # GDAL will also see the latest changes, which are in files of their own.
    pending = any(path.with_name(path.name + one).exists() for one in ("-wal", "-journal"))
    mode = "mode=ro" if pending else "mode=ro&immutable=1"
    ends = time.monotonic() + _SECONDS
    address = f"file:{quote(str(path.absolute()))}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=_SECONDS)) as database:
        database.set_progress_handler(lambda: int(time.monotonic() > ends), _STEPS)
        database.execute("PRAGMA trusted_schema = OFF")
        yield database


def _tables(path: Path, database: sqlite3.Connection) -> dict[str, str]:
    """Return the SQL of the stored tables by their names in lower case."""
    objects = database.execute(
        "SELECT type, name, substr(sql, 1, ?) FROM sqlite_master "
        "WHERE type IN ('table', 'view') LIMIT ?",
        (_LONGEST_SQL, _MOST_OBJECTS + 1),
    ).fetchall()
    if len(objects) > _MOST_OBJECTS:
        raise LabelError(
            f"{path} holds more than {_MOST_OBJECTS:,} tables; save only the layer with the "
            "labels."
        )
    for kind, name, _ in objects:
        # GDAL reads these on opening.
        system = str(name).lower().startswith(("gpkg_", "gpkgext_", "ogr_", "layer_styles"))
        if kind == "view" and system:
            raise _computed(path, str(name), "is a view")
    tables = {str(n).lower(): str(sql or "") for kind, n, sql in objects if kind == "table"}
    if _CONTENTS not in tables:
        raise LabelError(
            f"{path} is a database but not a GeoPackage; save the shapes as GeoPackage or "
            "GeoJSON."
        )
    for name, sql in tables.items():
        if name.startswith("gpkg_") and _is_virtual(sql):
            raise _computed(path, name, "is a virtual table")
    return tables


def _layers(database: sqlite3.Connection) -> list[str]:
    """Return the layers of the GeoPackage, its table of contents first."""
    listed = database.execute(
        "SELECT table_name FROM gpkg_contents LIMIT ?", (_MOST_OBJECTS,)
    ).fetchall()
    return [_CONTENTS, *(str(name) for (name,) in listed if name is not None)]


def _check_stored(path: Path, name: str, tables: dict[str, str]) -> None:
    sql = tables.get(name.lower())
    if sql is None:
        raise _computed(path, name, "is a view or missing")
    if _is_virtual(sql):
        raise _computed(path, name, "is a virtual table")


def _check_columns(path: Path, name: str, database: sqlite3.Connection) -> None:
    """Refuse generated columns, which SQLite marks as hidden by 2 and 3."""
    columns = database.execute("SELECT hidden FROM pragma_table_xinfo(?)", (name,))
    if any(hidden in (2, 3) for (hidden,) in columns.fetchall()):
        raise _computed(path, name, "has generated columns")


def _is_virtual(sql: str) -> bool:
    return sql.lstrip().upper().startswith("CREATE VIRTUAL")


def _computed(path: Path, name: str, why: str) -> LabelError:
    return LabelError(
        f"{name[:80]} of {path} {why}, but only layers stored as tables are read; export it "
        "as a GeoPackage of its own."
    )
