"""The data tables of the package, and the names by which files call a quantity."""

import csv
from functools import cache
from importlib.resources import files


def read_text(name: str) -> str:
    """Return the text of a table of the package."""
    table = files("hypercover.scene.datasets") / "tables" / name
    return table.read_text(encoding="utf-8")


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV table of the package."""
    return list(csv.DictReader(read_text(name).splitlines()))


@cache
def attribute_names(quantity: str) -> tuple[str, ...]:
    """Return the names by which files call a quantity, the preferred one first.

    Examples
    --------
    >>> attribute_names("width unit")
    ('fwhmunits', 'fwhmunit')
    """
    rows = {row["quantity"]: row["names"] for row in read_table("attribute-names.csv")}
    return tuple(rows[quantity].split("|"))
