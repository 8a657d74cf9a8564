"""``hypercover info``: what is in an image."""

from pathlib import Path
from typing import Annotated

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

__all__ = ["command"]


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
    from hypercover.cli.scene_table import scene_table
    from hypercover.cli.tables import show
    from hypercover.scene.bands import select_bands
    from hypercover.scene.reading import open_scene

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
    from hypercover.maps import draw

    pictures = {"quicklook": draw.draw_quicklook(scene)}
    if scene.labels is not None:
        pictures |= {"labels": draw.draw_labels(scene), "spectra": draw.draw_spectra(scene)}
    for what, figure in pictures.items():
        path = out / f"{scene.name}-{what}.png"
        draw.save(figure, path)
        say(f"Picture: {path}")
