"""``hypercover predict``: a map of an image by a saved model."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.opening import tell_fill
from hypercover.cli.options import (
    AXES,
    DASK,
    DEVICE,
    EXECUTOR,
    IMAGE,
    MAJORITY,
    NODATA,
    OVERLAP,
    SIEVE,
    TILE_WORKERS,
    VARIABLE,
    WITHIN,
    WITHIN_LAYER,
    stated,
)
from hypercover.cli.terminal import say


def command(
    model: Annotated[
        Path, typer.Argument(help="Folder of a model: runs/NAME/models/MODEL.")
    ],
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="Class map to write (.tif).")],
    confidence: Annotated[
        Path | None, typer.Option(help="Also write the confidence of each pixel (.tif).")
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Also write the probability of each class, a band each (.tif)."),
    ] = None,
    entropy: Annotated[
        Path | None,
        typer.Option(help="Also write the entropy: 0 certain, 1 any class (.tif)."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory each process may take, such as 500MB or 2GiB (default: its own "
            "and 1 GiB, or half of what is free)."
        ),
    ] = None,
    majority: MAJORITY = 1,
    sieve: SIEVE = 1,
    within: WITHIN = None,
    within_layer: WITHIN_LAYER = None,
    workers: TILE_WORKERS = None,
    executor: EXECUTOR = None,
    dask: DASK = None,
    overlap: OVERLAP = None,
    device: DEVICE = "auto",
    variable: VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
) -> None:
    """Map a whole image with a trained model, in bounded memory.

    Bands or wavelengths other than those the model was trained on are refused.  Image
    features of a model are computed tile by tile; attribute profiles first and in memory,
    unless --overlap is given.  Stopped at any time, the same command goes on where it
    was; the maps appear when they are whole.
    --majority, --sieve and --within change the class map alone.

    Example: hypercover predict runs/demo/models/cnn cube.hdr -o map.tif --memory 2GiB
    """
    from hypercover.cli.executors import tile_executor
    from hypercover.cli.progress import bar
    from hypercover.gis.cleaning import Cleaning
    from hypercover.memory import parse_size
    from hypercover.prediction.map_prediction import (
        check_map_names,
        nodata_from_card,
        predict_image,
    )
    from hypercover.prediction.tile_tasks import SceneSource
    from hypercover.scene.io.reading import product_file
    from hypercover.scene.io.writing import check_overwrite

    allowed = None if memory is None else parse_size(memory)
    shares = {"confidence": confidence, "probabilities": probabilities, "entropy": entropy}
    cleaning = Cleaning(majority, sieve)
    check_map_names(out, *shares.values())
    for path in (out, *shares.values()):
        if path is not None:
            check_overwrite(path, image, within)
    done_by = tile_executor(executor, workers=workers, dask=dask)
    # Workers may run in another folder; what is refused is named as it was given.
    opened = str(product_file(image).absolute())
    source = SceneSource(opened, variable, axes, nodata=stated(nodata))
    scene = source.open()
    carried = None if nodata else nodata_from_card(model, scene)
    if carried is not None:
        source = replace(source, nodata=carried)
        scene = source.open()
        say(
            f"Note: no data is {carried} too, as stated of the image that the model was "
            "trained on; --nodata states other values."
        )
    tell_fill(scene)
    with bar("Predicting") as advance:
        item = predict_image(
            model,
            scene,
            out,
            confidence=confidence,
            probabilities=probabilities,
            entropy=entropy,
            memory=allowed,
            device=device,
            cleaning=cleaning,
            within=within,
            within_layer=within_layer,
            overlap=overlap,
            source=source,
            executor=done_by,
            progress=advance,
        )
    say(f"Map: {out}")
    if item is not None:
        say(f"STAC item: {item}")
    for name, path in shares.items():
        if path is not None:
            say(f"{name.capitalize()}: {path}")
