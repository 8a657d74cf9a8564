"""``hypercover info``: what is in an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercover.cli.options import (
    AXES,
    DROP_BANDS,
    IMAGE,
    KEEP_BANDS,
    LABEL_FIELD,
    LABEL_LAYER,
    LABEL_VARIABLE,
    LABELS,
    LEGEND,
    NODATA,
    VARIABLE,
)
from hypercover.cli.terminal import say
from hypercover.errors import counted

if TYPE_CHECKING:
    import numpy as np
    from rich.console import RenderableType
    from rich.table import Table

    from hypercover.scene.scene import Scene


_SHOWN = 3
"""Band names shown of each end of a long list."""

_LONGEST = 200
"""Signs shown of an entry of the header."""


def scene_table(scene: Scene) -> list[RenderableType]:
    """Say what a scene holds: its shape, bands, place and classes."""
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _facts(scene):
        facts.add_row(table_cell(name), table_cell(value))
    parts: list[RenderableType] = [facts]
    if scene.labels is not None:
        parts.append(_class_table(scene))
    return parts


def _facts(scene: Scene) -> list[tuple[str, str]]:
    import numpy as np

    from hypercover.scene.grid import describe_orientation
    from hypercover.scene.io.reading import label_losses
    from hypercover.scene.metadata import labelled_name

    rows, cols = scene.shape
    a, b, c, d, e, f = scene.grid.transform
    facts = [
        ("scene", labelled_name(scene.name, scene.origin)),
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
    words = describe_orientation(scene.grid)
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
    lost = (*scene.losses, *label_losses(scene))
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
    from hypercover.scene.wavelengths import format_nm

    if wavelengths is None:
        return "not known"
    ends = (format_nm(float(one)) for one in (wavelengths.min(), wavelengths.max()))
    return " to ".join(one if "." in one else f"{one}.0" for one in ends) + " nm"


def _place(scene: Scene) -> str:
    if scene.grid.crs is None:
        return "none" if not scene.grid.placed else "a transform, but no coordinate system"
    from rasterio.crs import CRS

    crs = CRS.from_wkt(scene.grid.crs)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt()[:60])


def _class_table(scene: Scene) -> Table:
    import numpy as np
    from rich.table import Table

    from hypercover.cli.tables import table_cell

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
        table.add_row(
            str(land.code), f"[{land.color}]██[/]", table_cell(land.name), str(count)
        )
    return table


def command(
    image: IMAGE,
    labels: LABELS = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for pictures (default: none are drawn)."),
    ] = None,
    variable: VARIABLE = None,
    label_variable: LABEL_VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    label_field: LABEL_FIELD = None,
    label_layer: LABEL_LAYER = None,
    legend: LEGEND = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
) -> None:
    """Show shape, bands, wavelengths, georeference and classes; with -o, draw pictures.

    Labels are counted as a run would use them: those without data are left out and told.

    Example: hypercover info cube.hdr --labels fields.gpkg -o pictures

    Example: hypercover info cube.hdr --labels fields.gpkg --label-field crop
    """
    from hypercover.cli.tables import show
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.selection import select_bands

    scene = open_scene(
        image,
        labels,
        variable=variable,
        label_variable=label_variable,
        axes=axes,
        label_field=label_field,
        label_layer=label_layer,
        legend=legend,
        nodata=nodata,
    )
    if keep_bands or drop_bands:
        scene = select_bands(scene, keep=keep_bands, drop=drop_bands)
    show(*scene_table(scene))
    if out is None:
        return
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_labels, draw_quicklook
    from hypercover.figures.spectra import draw_spectra

    pictures = {"quicklook": draw_quicklook(scene)}
    if scene.labels is not None:
        pictures |= {"labels": draw_labels(scene), "spectra": draw_spectra(scene)}
    for what, figure in pictures.items():
        path = out / f"{scene.name}-{what}.png"
        save_figure(figure, path)
        say(f"Picture: {path}")
