"""``hypercover export``: a kept network for programs without Python."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    model: Annotated[
        Path, typer.Argument(help="Folder of a network: runs/NAME/models/MODEL.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Graph to write (.onnx).")],
) -> None:
    """Write a trained network as ONNX: raw values in, probabilities of the classes out.

    What the sensor measured goes in, of any height and width; scaling, the repeated edge
    pixels and the softmax are inside.  Classes, bands and wavelengths stand in the file.

    Example: hypercover export runs/demo/models/cnn -o cnn.onnx
    """
    from hypercover.experiment.export import export_onnx

    apart = export_onnx(model, out)
    typer.echo(f"Graph: {out}")
    if apart is None:
        typer.echo("Not compared with the model: onnxruntime is not installed.")
    else:
        typer.echo(f"ONNX Runtime and the model differ by {apart:.1g} on a random tile.")
