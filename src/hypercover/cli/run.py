"""``hypercover run``: an experiment file in, a run folder out."""

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

__all__ = ["command"]


def command(
    experiment: EXPERIMENT,
    out: RUN_FOLDER = None,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    workers: WORKERS = None,
    executor: EXECUTOR = None,
    dask: DASK = None,
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

    The built-in lecture-small, lecture-full and rome find their scene by its
    content; where it is missing, a scene that says so takes its place.

    Example: hypercover run fixed.yaml -o runs/fixed --set models.cnn.epochs=50
    """
    from hypercover.cli.executors import executor_asked
    from hypercover.cli.named import experiment_called
    from hypercover.cli.running import prepare_and_show, run_and_show

    done_by = executor_asked(executor, workers=workers, dask=dask)
    overrides = changes(set_, seed=seed, device=device, processes=processes)
    plan = experiment_called(experiment, out, overrides, data=data, choice=scene)
    folder = run_folder(out, plan.name)
    if prepare:
        prepare_and_show(plan, folder)
        return
    run_and_show(plan, folder, workers, executor=done_by)
