"""``hypercover search``: C and gamma of the SVMs of an experiment, by cross-validation."""

from typing import Annotated

import typer

from hypercover.cli.options import (
    DASK,
    DATA,
    EXECUTOR,
    EXPERIMENT,
    RUN_FOLDER,
    RUN_SEED,
    SCENE,
    SET,
    changes,
    run_folder,
)
from hypercover.errors import CallError

__all__ = ["command"]


def command(
    experiment: EXPERIMENT,
    out: RUN_FOLDER = None,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that share the rows; a single one uses all cores."
        ),
    ] = 1,
    executor: EXECUTOR = None,
    dask: DASK = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            help="Instead, measure speed-up and efficiency by 1 and so many workers: 1,2,4."
        ),
    ] = None,
) -> None:
    """Search C and gamma of every SVM, under random and guarded folds side by side.

    Stopped or killed, the same command goes on where it was.

    Example: hypercover search fixed.yaml -o runs/fixed --set search.folds=5
    """
    from hypercover.cli.executors import executor_asked
    from hypercover.cli.named import experiment_called
    from hypercover.cli.searching import scale_and_show, search_and_show

    done_by = executor_asked(executor, workers=workers, dask=dask)
    overrides = changes(set_, seed=seed)
    plan = experiment_called(experiment, out, overrides, data=data, choice=scene)
    if scaling is not None:
        scale_and_show(plan, run_folder(out, plan.name), _counts(scaling))
        return
    place = [] if out is None else ["-o", str(out)]
    place += [word for folder in data or () for word in ("--data", str(folder))]
    place += [] if scene is None else ["--scene", scene]
    called = [experiment, *place, *(word for each in overrides for word in ("--set", each))]
    place_of = run_folder(out, plan.name)
    search_and_show(plan, place_of, workers, executor=done_by, called=called)


def _counts(text: str) -> list[int]:
    """Read numbers of workers between commas."""
    words = text.split(",")
    if not all(word.strip().isdigit() and len(word) < 6 for word in words):
        raise CallError(
            f"--scaling takes numbers of workers between commas, got {text[:40]!r}; write "
            "for example 1,2,4."
        )
    return [int(word) for word in words]
