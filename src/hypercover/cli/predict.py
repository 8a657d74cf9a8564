"""``hypercover predict``: a map of an image by a saved model."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say


def predict(
    *,
    model: Annotated[Path, Argument(help="Folder of a model: runs/NAME/models/MODEL.")],
    image: options.IMAGE,
    out: Annotated[Path, Option("--out", "-o", help="Class map to write (.tif).")],
    confidence: Annotated[
        Path | None, Option(help="Also write the confidence of each pixel (.tif).")
    ] = None,
    probabilities: Annotated[
        Path | None,
        Option(help="Also write the probability of each class, a band each (.tif)."),
    ] = None,
    entropy: Annotated[
        Path | None, Option(help="Also write the entropy: 0 certain, 1 any class (.tif).")
    ] = None,
    memory: Annotated[
        str | None,
        Option(
            help="Memory each process may take, such as 500MB or 2GiB (default: its own "
            "and 1 GiB, or half of what is free)."
        ),
    ] = None,
    cleaning_options: options.CleaningOptions,
    tile_options: options.TileOptions,
    device: options.DEVICE = "auto",
    variable: options.VARIABLE = None,
    axes: options.AXES = None,
    nodata: options.NODATA = None,
) -> None:
    """Map a whole image with a trained model, in bounded memory.

    Bands or wavelengths other than those the model was trained on are refused.  Image
    features of a model are computed tile by tile; attribute profiles first and in memory,
    unless --overlap is given.  If stopped, the same command resumes; the maps appear when
    they are complete.  --majority, --sieve and --within change only the class map.

    Example: hypercover predict runs/demo/models/cnn cube.hdr -o map.tif --memory 2GiB
    """
    from hypercover.gis.cleaning import Cleaning
    from hypercover.memory import parse_size
    from hypercover.prediction import map_prediction
    from hypercover.prediction.tile_tasks import SceneSource
    from hypercover.scene.io.reading import product_file
    from hypercover.scene.io.writing import check_overwrite

    limit = None if memory is None else parse_size(memory)
    shares = {"confidence": confidence, "probabilities": probabilities, "entropy": entropy}
    cleaning = Cleaning(cleaning_options.majority, cleaning_options.sieve)
    map_prediction.check_map_names(out, *shares.values())
    for path in (out, *shares.values()):
        if path is not None:
            check_overwrite(path, image, cleaning_options.within)
    tiles = tile_options.choose_executor()
    # Workers may run in another folder; what is refused is named as it was given.
    opened = str(product_file(image).absolute())
    source = SceneSource(opened, variable, axes, nodata=options.join_nodata(nodata))
    scene = source.open()
    carried = None if nodata else map_prediction.nodata_from_card(model, scene)
    if carried is not None:
        source = replace(source, nodata=carried)
        scene = source.open()
        say(
            f"Note: {carried} also means no data, as in the image that the model was trained "
            "on; --nodata gives other values."
        )
    options.warn_of_fill(scene)
    with bar("Predicting") as advance:
        item = map_prediction.predict_bundle_to_files(
            model,
            scene,
            out,
            **shares,
            memory=limit,
            device=device,
            cleaning=cleaning,
            within=cleaning_options.within,
            within_layer=cleaning_options.within_layer,
            overlap=tile_options.overlap,
            source=source,
            executor=tiles,
            progress=advance,
        )
    say(f"Map: {out}")
    if item is not None:
        say(f"STAC item: {item}")
    for name, path in shares.items():
        if path is not None:
            say(f"{name.capitalize()}: {path}")
