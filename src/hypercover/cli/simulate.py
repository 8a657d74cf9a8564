"""``hypercover simulate`` and ``demo``: a scene to try things on."""

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


def demo(
    out: Annotated[Path, Option("--out", "-o", help="Folder of the run.")] = Path(
        "runs/demo"
    ),
    seed: options.SEED = 0,
    workers: options.WORKERS = None,
    device: options.DEVICE = "auto",
    processes: options.PROCESSES = None,
) -> None:
    """Simulate a scene, train an SVM and a CNN, and show what their accuracy is worth.

    Example: hypercover demo --out demo
    """
    from hypercover.cli.run import run_and_show
    from hypercover.experiment.config.experiment_file import built_in, load_experiment
    from hypercover.scene.simulation import simulate as simulation

    # The seed is part of the name: another seed is another scene.
    cube = out / "scene" / f"simulated-{seed}.tif"
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    overrides = options.ExperimentOptions(seed=seed).overrides(device, processes)
    options.check_without_scene("demo", overrides)
    if not (cube.exists() and labels.exists()):
        with bar("Simulating a scene") as advance:
            simulation.simulate(cube, preset="demo", seed=seed, progress=advance)
    scene = [f"scene.path={cube.resolve()}", f"scene.labels={labels.resolve()}"]
    experiment = load_experiment(built_in()["demo"], [*scene, *overrides])
    run_and_show(experiment, out, workers)
