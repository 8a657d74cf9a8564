"""``hypercover run``, ``gap`` and ``report``: an experiment in its run folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import event_lines, progress_bar, say, time_left

if TYPE_CHECKING:
    from hypercover.experiment.config.schema import Experiment
    from hypercover.jobs.executor import Executor
    from hypercover.jobs.runner import Event


def run_and_show(
    experiment: Experiment,
    folder: Path,
    workers: int | None,
    *,
    executor: Executor | None = None,
) -> None:
    """Run an experiment with progress on stderr and its table on stdout."""
    from hypercover.cli.tables import print_results
    from hypercover.evaluation.run_metrics import RunMetrics
    from hypercover.experiment.results.run_folder import RunFolder, list_maps
    from hypercover.experiment.run import run_experiment
    from hypercover.report import descriptions

    run = RunFolder(folder)
    with _watching(first_report=run.report) as watch:
        results = run_experiment(
            experiment, folder, workers=workers, executor=executor, progress=watch
        )
    metrics = RunMetrics.model_validate(results)
    print_results(metrics)
    if metrics.best and len(metrics.models) > 1:
        say(f"Best on validation pixels: {metrics.best}")
    if metrics.split.sha256:
        say(f"Split: {run.path / 'split.json'} (SHA-256 {metrics.split.sha256})")
    if metrics.map is not None:
        missing = descriptions.describe_missing_classes(metrics.map)
        say(*filter(None, (descriptions.describe_map_training(metrics.map), missing)))
    say(f"Report: {run.report}", *(f"Map: {path}" for path in list_maps(run, experiment)))
    say(f"To change something, edit {run.experiment} and call hypercover run.")


def prepare_and_show(experiment: Experiment, folder: Path) -> None:
    """Prepare a run for batch jobs; print the command of each training."""
    from hypercover.experiment.run import prepare_experiment

    with _watching() as watch:
        trainings = prepare_experiment(experiment, folder, progress=watch)
    command = ["torchrun", "--nproc-per-node", str(experiment.processes)]
    command += ["-m", "hypercover.experiment.tasks.rank", str(folder)]
    say(*(shlex.join([*command, task]) for task in trainings))


@contextmanager
def _watching(first_report: Path | None = None) -> Iterator[Callable[[Event], None]]:
    """Show progress; print the path of the first report once it shows the quick models."""
    if not sys.stderr.isatty():
        print_line = event_lines(lambda event: event.what)

        def watch_lines(event: Event) -> None:
            print_line(event)
            say(*_first_report(event, first_report), err=True)

        yield watch_lines
        return
    from rich.progress import TextColumn

    left = TextColumn("{task.fields[left]}")
    with progress_bar("{task.description:<48.48}", left) as progress:
        row = progress.add_task("starting", total=1.0, left="")

        def watch(event: Event) -> None:
            text = f"{event.task} {event.message}".strip()
            progress.update(
                row, description=text, completed=event.done, left=time_left(event)
            )
            for line in _first_report(event, first_report):
                progress.console.print(line, soft_wrap=True, markup=False)

        yield watch


def _first_report(event: Event, report: Path | None) -> list[str]:
    """Name the report of the quick models as soon as it is written."""
    from hypercover.experiment.tasks.experiment_plan import FIRST_REPORT

    if report is None or (event.task, event.what) != (FIRST_REPORT, "done"):
        return []
    return [f"First map and report, of the quick models: {report}"]


def run(
    *,
    experiment: options.EXPERIMENT,
    out: options.RUN_FOLDER = None,
    experiment_options: options.ExperimentOptions,
    run_options: options.RunOptions,
    prepare: Annotated[
        bool,
        Option(
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
    executor = run_options.choose_executor()
    loaded, folder = experiment_options.load(experiment, out, run_options)
    if prepare:
        prepare_and_show(loaded, folder)
    else:
        run_and_show(loaded, folder, run_options.workers, executor=executor)


def gap(
    *,
    experiment: options.EXPERIMENT,
    out: options.RUN_FOLDER = None,
    experiment_options: options.ExperimentOptions,
    repeats: Annotated[
        int | None, Option(min=1, help="Seeds instead of the file's repeats.")
    ] = None,
    size: Annotated[
        int | None,
        Option(min=1, help="Side of a block in pixels (default: the file's, or 15)."),
    ] = None,
    train: Annotated[
        float | None, Option(help="Share that trains (default: the file's, or 0.25).")
    ] = None,
    run_options: options.RunOptions,
) -> None:
    """Run the models of an experiment under random, centre-free and overlap-free splits.

    One run with one table, gap.csv and figures/gap.png: how far each model falls
    when its test windows contain no training pixel, and when they share none. If
    stopped or killed, the same command resumes.

    Example: hypercover gap fields.yaml -o runs/fields-gap --repeats 5
    """
    from hypercover.experiment.results.leak_gap import leak_gap_experiment

    executor = run_options.choose_executor()
    adapt = partial(leak_gap_experiment, size=size, train=train, repeats=repeats)
    loaded, folder = experiment_options.load(experiment, out, run_options, adapt)
    run_and_show(loaded, folder, run_options.workers, executor=executor)


def report(run: Annotated[Path, Argument(help="Folder of a run.")]) -> None:
    """Write the report of a finished run again, as one offline HTML file.

    Example: hypercover report runs/demo
    """
    from hypercover.experiment.results.run_folder import renew_report

    say(f"Report: {renew_report(run)}")
