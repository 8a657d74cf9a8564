"""``hypercover export``: a network or a class map for other programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say


def export(
    *,
    source: Annotated[
        Path, Argument(help="A network (runs/NAME/models/MODEL) or a class map (.tif).")
    ],
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            help="A network: graph (.onnx). A map: polygons (.gpkg, .geojson), cleaned map "
            "(.tif) or STAC item (.json).",
        ),
    ],
    minimum_area: Annotated[
        float, Option(help="Smallest polygon in hectares; smaller ones are merged.")
    ] = 0.0,
    cleaning_options: options.CleaningOptions,
    datetime: Annotated[
        str | None, Option(help="Day the image was taken, for STAC: 1992-06-12.")
    ] = None,
) -> None:
    """Write a network as ONNX; or a class map as polygons, cleaned, or as a STAC item.

    ONNX: raw values in, probabilities out, of any height and width; scaling, repeated edge
    pixels and softmax are included; classes, bands and wavelengths are in the metadata.
    Polygons have class, colour and area, and a QGIS style next to them.

    Example: hypercover export runs/demo/models/cnn -o cnn.onnx

    Example: hypercover export runs/demo/maps/cnn.tif -o fields.gpkg --minimum-area 0.5
    """
    from hypercover.experiment.results.export import export_map, export_onnx
    from hypercover.scene.io.writing import check_overwrite

    if source.is_dir() or out.suffix.lower() == ".onnx":
        difference = export_onnx(source, out)
        say(f"Graph: {out}")
        if difference is None:
            say("Not compared with the model: onnxruntime is not installed.")
        else:
            say(f"ONNX Runtime and the model differ by {difference:.1g} on a random tile.")
        return
    check_overwrite(out, source, cleaning_options.within)
    with bar("Polygons") as advance:
        lines = export_map(
            source,
            out,
            **asdict(cleaning_options),
            minimum_area=minimum_area,
            when=datetime,
            progress=advance,
        )
    say(*lines)
