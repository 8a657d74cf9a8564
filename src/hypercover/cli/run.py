"""``hypercover run``: an experiment file in, a run folder out."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.options import DEVICE, WORKERS

__all__ = ["command"]


def command(
    experiment: Annotated[
        str, typer.Argument(help="An experiment file, or a built-in name.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: key.inner=value.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed instead of the file's.")
    ] = None,
    workers: WORKERS = None,
    device: DEVICE = "",
) -> None:
    """Split, train, evaluate, map and report, as an experiment file says.

    Stopped or killed, the same command goes on where it was.

    Example: hypercover run fixed.yaml -o runs/fixed --set models.cnn.epochs=50
    """
    from hypercover.cli.running import run_and_show
    from hypercover.experiment.reading import load_experiment

    overrides = list(set_ or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    if device:
        overrides.append(f"device={device}")
    plan = load_experiment(experiment, overrides)
    run_and_show(plan, out or Path("runs") / plan.name, workers)
