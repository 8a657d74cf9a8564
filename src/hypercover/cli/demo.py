"""``hypercover demo``: the first thing a newcomer runs."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.options import DEVICE, PROCESSES, SEED, WORKERS, changes


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path(
        "runs/demo"
    ),
    seed: SEED = 0,
    workers: WORKERS = None,
    device: DEVICE = "auto",
    processes: PROCESSES = None,
) -> None:
    """Simulate a scene, train an SVM and a CNN, and show what their accuracy is worth.

    Example: hypercover demo --out demo
    """
    from hypercover.cli.opening import check_without_scene
    from hypercover.cli.progress import bar
    from hypercover.cli.run import run_and_show
    from hypercover.experiment.config.experiment_file import built_in, load_experiment
    from hypercover.scene.simulation.simulate import simulate

    # The seed is part of the name: another seed is another scene.
    cube = out / "scene" / f"simulated-{seed}.tif"
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    demo = built_in()["demo"]
    asked = changes(None, seed=seed, device=device, processes=processes)
    check_without_scene("demo", asked)
    if not (cube.exists() and labels.exists()):
        with bar("Simulating a scene") as advance:
            simulate(cube, preset="demo", seed=seed, progress=advance)
    here = [f"scene.path={cube.resolve()}", f"scene.labels={labels.resolve()}"]
    run_and_show(load_experiment(demo, [*here, *asked]), out, workers)
