"""``hypercover libsvm sets``: the lecture's data sets from one scene."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.opening import chosen_scene
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
    SEED,
    VARIABLE,
)
from hypercover.cli.terminal import say

__all__ = ["command"]


def command(
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    labels: LABELS = None,
    name: Annotated[
        str, typer.Option(help="What the names of files begin with.")
    ] = "indian",
    train: Annotated[
        float, typer.Option(help="Share of each class that trains, drawn at random.")
    ] = 0.1,
    min_pixels: Annotated[
        int, typer.Option(help="Leave out classes of fewer labelled pixels.")
    ] = 0,
    chain: Annotated[
        str, typer.Option(help="Image features of the processed files.")
    ] = "lecture",
    nwfe: Annotated[
        int, typer.Option(help="Features NWFE makes of them; 0: none.", min=0)
    ] = 30,
    window: Annotated[
        int, typer.Option(help="Side of the windows in pixels, odd; 0: none.", min=0)
    ] = 9,
    scale: Annotated[
        bool,
        typer.Option(
            help="Scale bands and features to 0 to 1 over the training pixels.",
        ),
    ] = True,
    crop: Annotated[
        str | None, typer.Option(help="Rows and columns to take: 0:1417,0:617.")
    ] = None,
    seed: SEED = 0,
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
    """Write the lecture's data sets: raw and processed LIBSVM files, and windows in HDF5.

    NAME_raw_training.el, NAME_raw_test.el, NAME_processed_training.el,
    NAME_processed_test.el and NAME_windows.h5, all with the same split, which is that of
    hypercover run lecture-small.  svm-train -c 100 -g 8 takes the files as they are;
    NAME_raw.range and NAME_processed.range say how they were scaled.

    Example: hypercover libsvm sets cube.tif --labels truth.tif --drop-bands
    water-absorption --min-pixels 100 -o sets
    """
    from hypercover.cli.progress import bar
    from hypercover.errors import counted
    from hypercover.experiment.sets import write_sets
    from hypercover.samples.random import RandomSplit
    from hypercover.scene.classes import drop_classes
    from hypercover.scene.cropping import crop as cut

    scene = chosen_scene(
        image, labels, variable=variable, label_variable=label_variable, axes=axes,
        nodata=nodata, label_field=label_field, label_layer=label_layer, legend=legend,
        keep_bands=keep_bands, drop_bands=drop_bands)  # fmt: skip
    if crop is not None:
        scene = cut(scene, crop)
    if min_pixels:
        scene = drop_classes(scene, min_pixels=min_pixels)
    split = RandomSplit(train=train, halves="up").split(scene.usable_labels, seed=seed)
    files = write_sets(
        scene, split, out, name=name, chain=chain, nwfe=nwfe, window=window, scale=scale, seed=seed,
        made=[variable, axes, nodata, crop], watch=bar)  # fmt: skip
    for file in files:
        say(f"Data: {file.path} ({counted(file.samples, 'sample')}: {file.seen})")
