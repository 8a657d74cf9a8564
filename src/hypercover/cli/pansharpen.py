"""``hypercover pansharpen``: bands at the resolution of a grey image."""

from functools import partial
from math import isnan
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say


def pansharpen(
    pan: Annotated[Path, Argument(help="The fine grey image, of one band.")],
    bands: Annotated[Path, Argument(help="The coarse image with the bands.")],
    out: options.IMAGE_OUT,
    injection: Annotated[
        str, Option(help="additive, proportional, or none (interpolation alone).")
    ] = "additive",
    nodata: options.NODATA = None,
    keep_pan: Annotated[
        bool, Option("--keep-pan", help="Put the grey image in front as a band.")
    ] = False,
    quality: Annotated[
        bool, Option("--quality", help="Also measure SAM, ERGAS and Q by Wald's protocol.")
    ] = False,
) -> None:
    """Pansharpen the bands of an image with a finer panchromatic image of the same area.

    Undecimated wavelet transform (à trous, B3 spline); ratio and sub-pixel phase come from
    the georeferences.  Images of any size, in bounded memory.  If stopped, the same
    command resumes; the image appears when it is complete.

    Example: hypercover pansharpen pan.tif bands.tif -o sharp.tif --quality
    """
    from hypercover.cli.tables import new_table, show
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.io.writing import check_overwrite, driver_for, write_scene
    from hypercover.scene.metadata import labelled_name
    from hypercover.scene.pansharpen import fusion
    from hypercover.scene.pansharpen.fusion import Quality, wald_quality
    from hypercover.scene.tile_store import open_tile_store

    check_overwrite(out, pan, bands)
    driver_for(out)
    grey, colours = (open_scene(path, labels=False, nodata=nodata) for path in (pan, bands))
    options.warn_of_fill(grey, colours)
    measured: list[Quality] | None = None
    settings: dict[str, Any] = {"injection": injection, "keep_pan": keep_pan}
    plan = partial(fusion.pansharpen_plan, grey, colours, **settings)
    with open_tile_store(out, plan) as store:
        with bar("Statistics") as advance:
            sharp = fusion.pansharpen(
                grey, colours, **settings, store=store, progress=advance
            )
        if quality:
            # Before anything is written: it may refuse a pair too small for it.
            with bar("Quality") as advance:
                measured = wald_quality(grey, colours, store=store, progress=advance)
        with bar("Pansharpening") as advance:
            written = write_scene(sharp, out, store=store, progress=advance)
    say(*(f"Note: {note}" for note in sharp.notes[len(colours.notes) :]))
    say(f"{labelled_name('Image', sharp.origin)}: {written}")
    if measured is None:
        return
    title = f"Wald's protocol on {measured[0].pixels:,} pixels"
    heads = ("SAM in °", "ERGAS in %", "Q")
    table = new_table(title, left=["method"], right=heads, min_width=len(title))
    for row in measured:
        q = "–" if isnan(row.q) else f"{row.q:.4f}"
        table.add_row(row.method, f"{row.sam:.3f}", f"{row.ergas:.3f}", q)
    if isnan(measured[0].q):
        table.caption = "Q needs 32 × 32 pixels with data"
    show(table)
