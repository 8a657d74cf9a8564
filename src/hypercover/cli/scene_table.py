"""What an image holds, as a table: shape, bands, place, header, classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from hypercover.cli.tables import cell
from hypercover.errors import counted
from hypercover.scene.orientation import orientation_words
from hypercover.scene.origin import marked
from hypercover.scene.reading import losses_on_data
from hypercover.scene.scene import Scene
from hypercover.scene.spectral import nm_words

__all__ = ["scene_table"]

_SHOWN = 3
"""Band names shown of each end of a long list."""
_LONGEST = 200
"""Signs shown of an entry of the header."""


def scene_table(scene: Scene) -> list[RenderableType]:
    """Say what a scene holds: its shape, bands, place and classes."""
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _facts(scene):
        facts.add_row(cell(name), cell(value))
    parts: list[RenderableType] = [facts]
    if scene.labels is not None:
        parts.append(_class_table(scene))
    return parts


def _facts(scene: Scene) -> list[tuple[str, str]]:
    rows, cols = scene.shape
    a, b, c, d, e, f = scene.grid.transform
    facts = [
        ("scene", marked(scene.name, scene.origin)),
        (
            "shape",
            f"{rows} rows × {cols} columns × {counted(scene.n_bands, 'band')}, "
            f"{scene.cube.dtype}",
        ),
        ("wavelengths", _reach(scene.wavelengths)),
        (
            "bad bands",
            f"{int(scene.bad.sum())} marked" if scene.bad.any() else "none marked",
        ),
        ("georeference", _place(scene)),
    ]
    if scene.band_names:
        facts.insert(2, ("band names", _shortened(scene.band_names)))
    words = orientation_words(scene.grid)
    if scene.grid.placed:
        facts.append(
            (
                "first corner" if words else "upper left",
                f"x {c:.10g}, y {f:.10g}; pixel {np.hypot(a, d):g} × {np.hypot(b, e):g}",
            )
        )
    if words:
        facts.append(("orientation", words))
    facts += _said(scene.header)
    masked = int((~scene.valid).sum())
    values = f" (no data is {scene.no_data})" if scene.no_data else ""
    facts.append(("no data", f"{masked} of {rows * cols} pixels{values}"))
    lost = (*scene.losses, *losses_on_data(scene))
    return facts + [("note", note) for note in (*scene.notes, *lost)]


def _said(header: Mapping[str, str]) -> list[tuple[str, str]]:
    """Show the entries of a header: equal numbers once, the long ones cut."""
    once = {key: _once(text) for key, text in header.items()}
    return [
        (key, text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …")
        for key, text in once.items()
    ]


def _once(text: str) -> str:
    """Write a list of equal entries as one.

    Examples
    --------
    >>> _once("{0.5, 0.5, 0.5}"), _once("{0.5, 1.0}")
    ('0.5 in all 3 bands', '{0.5, 1.0}')
    """
    entries = text.strip("{} ").split(",") if text.startswith("{") else []
    same = len(entries) > 1 and len({entry.strip() for entry in entries}) == 1
    return f"{entries[0].strip()} in all {len(entries)} bands" if same else text


def _shortened(names: Sequence[str]) -> str:
    """List names, leaving out the middle of a long list."""
    if len(names) <= 2 * _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} … {', '.join(names[-_SHOWN:])}"


def _reach(wavelengths: np.ndarray | None) -> str:
    if wavelengths is None:
        return "not known"
    ends = (nm_words(float(one)) for one in (wavelengths.min(), wavelengths.max()))
    return " to ".join(one if "." in one else f"{one}.0" for one in ends) + " nm"


def _place(scene: Scene) -> str:
    if scene.grid.crs is None:
        return "none" if not scene.grid.placed else "a transform, but no coordinate system"
    from rasterio.crs import CRS

    crs = CRS.from_wkt(scene.grid.crs)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt()[:60])


def _class_table(scene: Scene) -> Table:
    table = Table(title="classes", title_justify="left")
    for column, side in (
        ("code", "right"),
        ("", "left"),
        ("name", "left"),
        ("pixels", "right"),
    ):
        table.add_column(column, justify="right" if side == "right" else "left")
    counts = np.bincount(scene.usable_labels.ravel())
    for land in scene.legend:
        count = int(counts[land.code]) if land.code < len(counts) else 0
        table.add_row(str(land.code), f"[{land.color}]██[/]", cell(land.name), str(count))
    return table
