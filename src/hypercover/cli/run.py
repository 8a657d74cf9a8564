"""``hypercover run``: an experiment file in, a run folder out."""

from typing import Annotated

import typer

from hypercover.cli.options import (
    DEVICE,
    EXPERIMENT,
    PROCESSES,
    RUN_FOLDER,
    RUN_SEED,
    SET,
    WORKERS,
    changes,
    run_folder,
)

__all__ = ["command"]


def command(
    experiment: EXPERIMENT,
    out: RUN_FOLDER = None,
    set_: SET = None,
    seed: RUN_SEED = None,
    workers: WORKERS = None,
    device: DEVICE = "",
    processes: PROCESSES = None,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare", help="Check and split only, and name the trainings for batch jobs."
        ),
    ] = False,
) -> None:
    """Split, train, evaluate, map and report, as an experiment file says.

    Stopped or killed, the same command goes on where it was.

    Example: hypercover run fixed.yaml -o runs/fixed --set models.cnn.epochs=50
    """
    from hypercover.cli.running import prepare_and_show, run_and_show
    from hypercover.experiment.reading import load_experiment

    overrides = changes(set_, seed=seed, device=device, processes=processes)
    plan = load_experiment(experiment, overrides)
    folder = run_folder(out, plan.name)
    if prepare:
        prepare_and_show(plan, folder)
    else:
        run_and_show(plan, folder, workers)
