"""``hypercover gap``: what random pixels hide."""

from functools import partial
from typing import Annotated

import typer

from hypercover.cli.options import (
    DASK,
    DATA,
    DEVICE,
    EXECUTOR,
    EXPERIMENT,
    PROCESSES,
    RUN_FOLDER,
    RUN_SEED,
    SCENE,
    SET,
    WORKERS,
    changes,
    run_folder,
)


def command(
    experiment: EXPERIMENT,
    out: RUN_FOLDER = None,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Seeds instead of the file's repeats.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of a block in pixels (default: the file's, or 15)."),
    ] = None,
    train: Annotated[
        float | None,
        typer.Option(help="Share that trains (default: the file's, or 0.25)."),
    ] = None,
    workers: WORKERS = None,
    executor: EXECUTOR = None,
    dask: DASK = None,
    device: DEVICE = "",
    processes: PROCESSES = None,
) -> None:
    """Run the models of an experiment under random, centre-free and overlap-free splits.

    One run with one table, gap.csv and figures/gap.png: how far each model falls
    once its test windows hold no training pixel, and once they share none. Stopped
    or killed, the same command goes on where it was.

    Example: hypercover gap fields.yaml -o runs/fields-gap --repeats 5
    """
    from hypercover.cli.executors import choose_executor
    from hypercover.cli.opening import experiment_called
    from hypercover.cli.run import run_and_show
    from hypercover.experiment.results.leak_gap import leak_gap_experiment

    done_by = choose_executor(executor, workers=workers, dask=dask)
    overrides = changes(set_, seed=seed, device=device, processes=processes)
    becomes = partial(leak_gap_experiment, size=size, train=train, repeats=repeats)
    plan = experiment_called(
        experiment, out, overrides, data=data, choice=scene, becomes=becomes
    )
    run_and_show(plan, run_folder(out, plan.name), workers, executor=done_by)
