"""``hypercover info``: what is in an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import say
from hypercover.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.scene.scene import Scene
    from hypercover.types import Floats


_SHOWN = 3
"""Band names shown of each end of a long list."""

_LONGEST = 200
"""Characters shown of an entry of the header."""


def scene_table(scene: Scene) -> list[Table]:
    """Say what a scene holds: its shape, bands, place and classes."""
    from hypercover.cli.tables import facts_table

    facts = facts_table(_facts(scene))
    return [facts] if scene.labels is None else [facts, _class_table(scene)]


def _facts(scene: Scene) -> list[tuple[str, str]]:
    import numpy as np

    from hypercover.scene.grid import describe_orientation
    from hypercover.scene.io.reading import label_losses
    from hypercover.scene.metadata import labelled_name

    rows, cols = scene.shape
    bands = counted(scene.n_bands, "band")
    bad = f"{scene.bad.sum()} marked" if scene.bad.any() else "none marked"
    facts = [
        ("scene", labelled_name(scene.name, scene.origin)),
        ("shape", f"{rows} rows × {cols} columns × {bands}, {scene.cube.dtype}"),
        ("wavelengths", _wavelength_range(scene.wavelengths)),
        ("bad bands", bad),
        ("georeference", _coordinate_system(scene)),
    ]
    if scene.band_names:
        facts.insert(2, ("band names", _shortened(scene.band_names)))
    orientation = describe_orientation(scene.grid)
    if scene.grid.placed:
        a, b, x, d, e, y = scene.grid.transform
        pixel = f"{np.hypot(a, d):g} × {np.hypot(b, e):g}"
        corner = "first corner" if orientation else "upper left"
        facts.append((corner, f"x {x:.10g}, y {y:.10g}; pixel {pixel}"))
    if orientation:
        facts.append(("orientation", orientation))
    facts += [(key, _header_value(text)) for key, text in scene.header.items()]
    values = f" (no data is {scene.nodata_rule})" if scene.nodata_rule else ""
    facts.append(("no data", f"{(~scene.valid).sum()} of {rows * cols} pixels{values}"))
    notes = (*scene.notes, *scene.losses, *label_losses(scene))
    return facts + [("note", note) for note in notes]


def _header_value(text: str) -> str:
    """Write a list of equal entries as one, and cut a long one.

    Examples
    --------
    >>> _header_value("{0.5, 0.5, 0.5}"), _header_value("{0.5, 1.0}")
    ('0.5 in all 3 bands', '{0.5, 1.0}')
    """
    entries = text.strip("{} ").split(",") if text.startswith("{") else []
    if len(entries) > 1 and len({entry.strip() for entry in entries}) == 1:
        text = f"{entries[0].strip()} in all {len(entries)} bands"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _shortened(names: Sequence[str]) -> str:
    """List names, leaving out the middle of a long list."""
    if len(names) <= 2 * _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} … {', '.join(names[-_SHOWN:])}"


def _wavelength_range(wavelengths: Floats | None) -> str:
    from hypercover.scene.wavelengths import format_nm

    if wavelengths is None:
        return "not known"
    ends = (format_nm(float(end)) for end in (wavelengths.min(), wavelengths.max()))
    return " to ".join(end if "." in end else f"{end}.0" for end in ends) + " nm"


def _coordinate_system(scene: Scene) -> str:
    if scene.grid.crs is None:
        return "none" if not scene.grid.placed else "a transform, but no coordinate system"
    from rasterio.crs import CRS

    crs = CRS.from_wkt(scene.grid.crs)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt()[:60])


def _class_table(scene: Scene) -> Table:
    import numpy as np

    from hypercover.cli.tables import new_table, table_cell
    from hypercover.scene.legend import MAX_CODE

    table = new_table("classes", left=("code", "", "name"), right=["pixels"])
    table.columns[0].justify = "right"
    counts = np.bincount(scene.usable_labels.ravel(), minlength=MAX_CODE + 1)
    for row in scene.legend:
        patch, count = f"[{row.color}]██[/]", str(counts[row.code])
        table.add_row(str(row.code), patch, table_cell(row.name), count)
    return table


def info(
    *,
    image: options.IMAGE,
    labels: options.LABELS = None,
    out: Annotated[
        Path | None,
        Option("--out", "-o", help="Folder for pictures (default: none are drawn)."),
    ] = None,
    scene_options: options.SceneOptions,
) -> None:
    """Show shape, bands, wavelengths, georeference and classes; with -o, draw pictures.

    Labels are counted as a run would use them: those without data are left out and told.

    Example: hypercover info cube.hdr --labels fields.gpkg -o pictures

    Example: hypercover info cube.hdr --labels fields.gpkg --label-field crop
    """
    from hypercover.cli.tables import show

    scene = scene_options.open(image, labels, warn=False)
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
