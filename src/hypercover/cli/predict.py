"""``hypercover predict``: a kept model, another image, a map."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.options import AXES, IMAGE, VARIABLE

__all__ = ["command"]


def command(
    model: Annotated[
        Path, typer.Argument(help="Folder of a model: runs/NAME/models/MODEL.")
    ],
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="Class map to write (.tif).")],
    confidence: Annotated[
        Path | None, typer.Option(help="Also write the confidence of each pixel (.tif).")
    ] = None,
    variable: VARIABLE = None,
    axes: AXES = None,
) -> None:
    """Map a whole image with a trained model, in bounded memory.

    Bands or wavelengths other than those the model was trained on are refused.  A model
    on image features computes them first, and these must fit in memory.

    Example: hypercover predict runs/demo/models/cnn cube.hdr -o map.tif
    """
    from hypercover.cli.progress import bar
    from hypercover.experiment.prediction import predict_image
    from hypercover.scene.reading import open_scene
    from hypercover.scene.writing import check_apart

    check_apart(out, image)
    if confidence is not None:
        check_apart(confidence, image)
    scene = open_scene(image, labels=False, variable=variable, axes=axes)
    with bar("Predicting") as advance:
        predict_image(model, scene, out, confidence=confidence, progress=advance)
    typer.echo(f"Map: {out}")
    if confidence:
        typer.echo(f"Confidence: {confidence}")
