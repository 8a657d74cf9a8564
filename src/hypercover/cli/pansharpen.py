"""``hypercover pansharpen``: coarse bands made as fine as a grey image."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hypercover.cli.opening import tell_fill
from hypercover.cli.options import NODATA
from hypercover.cli.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.scene.pansharpen.fusion import Injection
    from hypercover.scene.pansharpen.quality import Quality


def command(
    pan: Annotated[Path, typer.Argument(help="The fine grey image, of one band.")],
    bands: Annotated[Path, typer.Argument(help="The coarse image with the bands.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Image to write: .tif, .hdr (ENVI) or .h5.")
    ],
    injection: Annotated[
        str, typer.Option(help="additive, proportional, or none (interpolation alone).")
    ] = "additive",
    nodata: NODATA = None,
    keep_pan: Annotated[
        bool, typer.Option("--keep-pan", help="Put the grey image in front as a band.")
    ] = False,
    quality: Annotated[
        bool,
        typer.Option("--quality", help="Also measure SAM, ERGAS and Q by Wald's protocol."),
    ] = False,
) -> None:
    """Sharpen the bands of an image with a finer grey image of the same place.

    Undecimated wavelet transform (à trous, B3 spline); ratio and sub-pixel phase come from
    the georeferences.  Images of any size, in bounded memory.  Stopped at any time, the same
    command goes on where it was; the image appears when it is whole.

    Example: hypercover pansharpen pan.tif bands.tif -o sharp.tif --quality
    """
    from hypercover.cli.progress import bar
    from hypercover.cli.tables import show
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.io.writing import check_overwrite, driver_for, write_scene
    from hypercover.scene.metadata import labelled_name
    from hypercover.scene.pansharpen.fusion import pansharpen, pansharpen_plan
    from hypercover.scene.pansharpen.quality import wald_quality
    from hypercover.scene.tile_store import open_tile_store

    kind = cast("Injection", injection)
    check_overwrite(out, pan, bands)
    driver_for(out)
    grey, colours = (open_scene(path, labels=False, nodata=nodata) for path in (pan, bands))
    tell_fill(grey, colours)
    found = None

    def plan() -> dict[str, Any]:
        return pansharpen_plan(grey, colours, injection=kind, keep_pan=keep_pan)

    with open_tile_store(out, plan) as store:
        with bar("Statistics") as advance:
            sharp = pansharpen(
                grey,
                colours,
                injection=kind,
                keep_pan=keep_pan,
                store=store,
                progress=advance,
            )
        if quality:
            # Before anything is written: it may refuse a pair too small for it.
            with bar("Quality") as advance:
                found = wald_quality(grey, colours, store=store, progress=advance)
        with bar("Pansharpening") as advance:
            written = write_scene(sharp, out, store=store, progress=advance)
    say(*(f"Note: {note}" for note in sharp.notes[len(colours.notes) :]))
    say(f"{labelled_name('Image', sharp.origin)}: {written}")
    if found is not None:
        show(_table(found))


def _table(found: "list[Quality]") -> "Table":
    """Tabulate what each way of sharpening is worth."""
    from rich.table import Table

    title = f"Wald's protocol on {found[0].pixels:,} pixels"
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("method")
    for column in ("SAM in °", "ERGAS in %", "Q"):
        table.add_column(column, justify="right")
    for row in found:
        q = "–" if isnan(row.q) else f"{row.q:.4f}"
        table.add_row(row.method, f"{row.sam:.3f}", f"{row.ergas:.3f}", q)
    if isnan(found[0].q):
        table.caption = "Q needs 32 × 32 pixels with data"
    return table
