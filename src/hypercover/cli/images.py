"""``hypercover clip``, ``features`` and ``pansharpen``: images made of images."""

from dataclasses import asdict
from functools import partial
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say
from hypercover.errors import counted


def clip(
    *,
    image: options.IMAGE,
    area: Annotated[
        Path,
        Argument(help="Polygons (.gpkg, .geojson, .shp, .fgb), or a raster on its grid."),
    ],
    out: options.IMAGE_OUT,
    area_layer: Annotated[
        str | None, Option(help="Layer of the area, if there are several.")
    ] = None,
    image_options: options.ImageOptions,
) -> None:
    """Cut an image to an area; what lies outside it holds no data.

    An image of whole numbers that names no value for no data gets one that no pixel holds.

    Polygons may be in any coordinate system; a pixel is in where its centre is.
    Wavelengths, names and georeference are kept; to HDF5 also the labels in the file.

    Example: hypercover clip cube.hdr municipality.gpkg -o part.tif
    """
    from hypercover.scene import selection
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.io.writing import check_overwrite, driver_for, write_scene
    from hypercover.scene.metadata import labelled_name

    check_overwrite(out, image, area)
    # HDF5 alone has a place for labels; a label map of its own is for the others.
    labels: Literal[False] | None = None if driver_for(out) == "HDF5" else False
    scene = open_scene(image, labels, **asdict(image_options))
    options.warn_of_fill(scene)
    part = selection.clip(
        scene, selection.read_area(area, scene.grid, area_layer, "--area-layer")
    )
    with bar("Clipping") as advance:
        written = write_scene(part, out, progress=advance)
    rows, cols = part.shape
    say(f"{rows} rows × {cols} columns of {scene.shape[0]} × {scene.shape[1]}")
    say(*(f"Note: {note}" for note in part.notes[len(scene.notes) :]))
    say(f"{labelled_name('Image', part.origin)}: {written}")


def features(
    *,
    image: options.IMAGE,
    chain: Annotated[
        str,
        Option(
            "--chain",
            "-c",
            help="Features one after another: kpca:5,esdap:area+std; or pca:10, mnf:10, rome. "
            "With more settings as a list: [{kpca: {components: 5, gamma: 0.01}}, esdap].",
        ),
    ],
    out: options.IMAGE_OUT,
    variable: options.VARIABLE = None,
    axes: options.AXES = None,
    nodata: options.NODATA = None,
    keep_bands: options.KEEP_BANDS = None,
    drop_bands: options.DROP_BANDS = None,
    seed: options.SEED = 0,
    tile_options: options.TileOptions,
) -> None:
    """Compute image features: kernel PCA, PCA, MNF, attribute profiles, or a chain of them.

    They are fitted on all pixels with data and on no label, and written as a stack
    of float32 bands with their names, NaN where there is no data.  With --workers, and
    where the stack takes more than 64 MiB, they are computed tile by tile; attribute
    profiles need --overlap for that, and without it are computed whole.

    Example: hypercover features cube.hdr --chain kpca:5,esdap:area+std -o features.tif
    """
    from hypercover.experiment.tasks.feature_tiles import write_features
    from hypercover.features.chain import NWFE_FEATURES, Chain
    from hypercover.prediction.tile_tasks import SceneSource
    from hypercover.scene.io.writing import check_overwrite, data_path, driver_for
    from hypercover.scene.metadata import labelled_name

    check_overwrite(out, image)
    driver_for(out)
    steps = Chain.parse(chain)
    tiles = tile_options.choose_executor()
    path, values = str(image.absolute()), options.join_nodata(nodata)
    source = SceneSource(path, variable, axes, keep_bands, drop_bands, values)
    scene = source.open()
    options.warn_of_fill(scene)
    with bar("Features") as advance:
        overlap = tile_options.overlap
        stack = write_features(
            source, steps, out, tiles, seed=seed, overlap=overlap, progress=advance
        )
    features = counted(stack.n_bands, "feature")
    say(*(f"Note: {note}" for note in stack.notes[len(scene.notes) :]))
    say(f"{features} of {counted(scene.n_bands, 'band')}: {steps.text}")
    if chain in NWFE_FEATURES:
        say(
            f"Note: {chain} continues with {NWFE_FEATURES[chain]} features that NWFE learns from "
            "training pixels, which libsvm write, libsvm sets and a model's nwfe make."
        )
    say(f"{labelled_name('Image', scene.origin)}: {data_path(out)}")


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
