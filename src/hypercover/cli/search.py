"""``hypercover search``: C and gamma of the SVMs of an experiment, by cross-validation."""

from pathlib import Path
from typing import Annotated

import typer

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
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that share the rows; a single one uses all cores."
        ),
    ] = 1,
) -> None:
    """Search C and gamma of every SVM, under random and guarded folds side by side.

    Stopped or killed, the same command goes on where it was.

    Example: hypercover search fixed.yaml -o runs/fixed --set search.folds=5
    """
    from hypercover.cli.searching import search_and_show
    from hypercover.experiment.reading import load_experiment

    overrides = list(set_ or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    plan = load_experiment(experiment, overrides)
    place = [] if out is None else ["-o", str(out)]
    called = [experiment, *place, *(word for each in overrides for word in ("--set", each))]
    search_and_show(plan, out or Path("runs") / plan.name, workers, called=called)
