"""``hypercover clip``: an image cut to an area."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say


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
