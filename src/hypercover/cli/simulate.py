"""``hypercover simulate``: simulated scenes with labels."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say
from hypercover.errors import CallError


def simulate(
    context: typer.Context,
    out: Annotated[
        Path, Argument(help="Image to write: .tif (GeoTIFF), .hdr (ENVI) or .h5.")
    ],
    rows: Annotated[int, Option(help="Rows of the scene.")] = 145,
    cols: Annotated[int, Option(help="Columns of the scene.")] = 145,
    bands: Annotated[int, Option(help="Bands; 220 are those of AVIRIS in 1992.")] = 220,
    classes: Annotated[int, Option(help="Land-cover classes.")] = 16,
    preset: Annotated[
        str | None,
        Option(
            help="A named scene instead of these: demo, indian-pines-full (1417 × "
            "617 × 220, with the 58 classes and the published numbers of pixels), or rome "
            "(grey image of 0.6 m, four bands of 2.4 m and both pansharpened; nine classes)."
        ),
    ] = None,
    seed: options.SEED = 0,
) -> None:
    """Write a simulated hyperspectral scene of fields, woods and roads, with its labels.

    Example: hypercover simulate fields.tif --rows 200 --cols 300
    """
    from hypercover.scene.simulation import simulate as simulation

    size = {"rows": rows, "cols": cols, "bands": bands, "classes": classes}
    sources = {name: context.get_parameter_source(name) for name in size}
    given = [
        name for name, source in sources.items() if source and source.name != "DEFAULT"
    ]
    if preset is not None and given:
        raise CallError(
            f"--preset {preset} says how large the scene is, and --{given[0]} was given too; "
            "leave one of them out."
        )
    with bar("Simulating") as advance:
        cube, labels = simulation.simulate(
            out, **size, seed=seed, preset=preset, progress=advance
        )
    say(f"Image (simulated): {cube}", f"Labels: {labels}")
