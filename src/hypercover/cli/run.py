"""``hypercover run``: runs an experiment in a run folder."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from hypercover.cli.terminal import say

if TYPE_CHECKING:
    from hypercover.experiment.config.schema import Experiment
    from hypercover.jobs.executor import Executor
    from hypercover.jobs.runner import Event


_QUIET = 10.0
"""Seconds without a line after which the progress of a task is printed."""


def run_and_show(
    experiment: Experiment,
    folder: Path,
    workers: int | None,
    *,
    executor: Executor | None = None,
) -> None:
    """Run an experiment with progress on stderr and its table on stdout."""
    from hypercover.cli.tables import (
        accuracy_table,
        calibration_lines,
        choice_lines,
        curve_table,
        feature_lines,
        gap_tables,
        interval_lines,
        map_lines,
        note_lines,
        show,
        spread_lines,
        unscored_lines,
    )
    from hypercover.evaluation.run_metrics import RunMetrics
    from hypercover.experiment.results.outputs import list_maps
    from hypercover.experiment.results.run_folder import RunFolder
    from hypercover.experiment.run import run_experiment

    with _watching(first=RunFolder(folder).report) as watch:
        results = run_experiment(
            experiment, folder, workers=workers, executor=executor, progress=watch
        )
    metrics = RunMetrics.model_validate(results)
    show(accuracy_table(metrics), *curve_table(metrics))
    say(*spread_lines(metrics), *interval_lines(metrics))
    show(*gap_tables(metrics))
    say(*calibration_lines(metrics))
    say(*choice_lines(metrics), *unscored_lines(metrics))
    say(*feature_lines(metrics), *note_lines(metrics))
    if metrics.best and len(metrics.models) > 1:
        say(f"Best on validation pixels: {metrics.best}")
    run = RunFolder(folder)
    if metrics.split.sha256:
        say(f"Split: {run.path / 'split.json'} (SHA-256 {metrics.split.sha256})")
    say(*map_lines(metrics))
    say(f"Report: {run.report}")
    say(*(f"Map: {made}" for made in list_maps(run, experiment)))
    say(f"To change something, edit {run.experiment} and call hypercover run.")


def prepare_and_show(experiment: Experiment, folder: Path) -> None:
    """Prepare a run for batch jobs; print the command of each training."""
    from hypercover.experiment.run import prepare_experiment

    with _watching() as watch:
        trainings = prepare_experiment(experiment, folder, progress=watch)
    several = ["torchrun", "--nproc-per-node", str(experiment.processes)]
    for task in trainings:
        say(
            shlex.join(
                [*several, "-m", "hypercover.experiment.tasks.rank", str(folder), task]
            )
        )


@contextmanager
def _watching(first: Path | None = None) -> Iterator[Callable[[Event], None]]:
    """Show progress; print the path of the report ``first`` once it shows the quick models."""
    from hypercover.cli.tables import new_console

    if not sys.stderr.isatty():
        yield _lines(first)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<48.48}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=new_console(stderr=True), transient=True) as progress:
        row = progress.add_task("starting", total=1.0, left="")

        def watch(event: Event) -> None:
            doing = f"{event.task} {event.message}".strip()
            progress.update(row, description=doing, completed=event.done, left=_left(event))
            if first is not None and _is_first(event):
                progress.console.print(_first_report(first), soft_wrap=True, markup=False)

        yield watch


def _is_first(event: Event) -> bool:
    from hypercover.experiment.tasks.experiment_plan import FIRST_REPORT

    return (event.task, event.what) == (FIRST_REPORT, "done")


def _first_report(report: Path) -> str:
    return f"First map and report, of the quick models: {report}"


def _left(event: Event) -> str:
    from hypercover.cli.progress import duration

    return "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"


def _lines(first: Path | None) -> Callable[[Event], None]:
    """Return a callback that prints a line for each task that ends, and now and then."""
    said = time.monotonic()

    def watch(event: Event) -> None:
        nonlocal said
        ends = event.what in ("done", "failed", "skipped")
        if not ends and (event.what != "progress" or time.monotonic() - said < _QUIET):
            return
        said = time.monotonic()
        what = event.what if ends else event.message
        line = ", ".join(filter(None, (f"{event.task}: {what}", _left(event))))
        say(f"[{100 * event.done:3.0f} %] {line}", err=True)
        if first is not None and _is_first(event):
            say(_first_report(first), err=True)

    return watch


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
            "--prepare",
            help="Check and split only, and print the trainings for batch jobs.",
        ),
    ] = False,
) -> None:
    """Split, train, evaluate, map and report, as described in an experiment file.

    Stopped or killed, the same command resumes it.

    The built-in lecture-small, lecture-full and rome find their scene by its
    content; if it is missing, a stand-in or simulated scene takes its place.

    Example: hypercover run fixed.yaml -o runs/fixed --set models.cnn.epochs=50
    """
    from hypercover.cli.executors import choose_executor
    from hypercover.cli.opening import experiment_called

    chosen = choose_executor(executor, workers=workers, dask=dask)
    overrides = changes(set_, seed=seed, device=device, processes=processes)
    plan = experiment_called(experiment, out, overrides, data=data, choice=scene)
    folder = run_folder(out, plan.name)
    if prepare:
        prepare_and_show(plan, folder)
        return
    run_and_show(plan, folder, workers, executor=chosen)


def report(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write the report of a finished run again, as one offline HTML file.

    Example: hypercover report runs/demo
    """
    from hypercover.experiment.results.outputs import renew_report

    say(f"Report: {renew_report(run)}")
