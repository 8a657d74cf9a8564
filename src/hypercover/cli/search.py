"""``hypercover search``: C and gamma of the SVMs of an experiment, by cross-validation."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from hypercover.cli.terminal import say
from hypercover.errors import CallError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from hypercover.experiment.config.schema import Experiment
    from hypercover.experiment.results.run_folder import SearchFolder
    from hypercover.experiment.search.search import ScalingRow
    from hypercover.jobs.executor import Executor
    from hypercover.jobs.runner import Event


_QUIET = 10.0
"""Seconds without a line after which the progress of a task is printed."""

_CELL, _MARGIN = 18, 40
"""Characters of a cell, and of everything before the cells."""


def search_and_show(
    experiment: Experiment,
    folder: Path,
    workers: int,
    *,
    executor: Executor | None = None,
    called: Sequence[str],
) -> None:
    """Search a grid with progress on stderr and its tables on stdout.

    ``called`` holds the arguments of a run of the same experiment in the same folder.
    """
    from hypercover.experiment.results.run_folder import SearchFolder
    from hypercover.experiment.search.search import run_search
    from hypercover.figures.formatting import (
        describe_accuracy_drop,
        describe_best_cell,
        describe_speed,
        suggest_wider_grid,
    )
    from hypercover.scene.metadata import origin_label

    with _watching(experiment, SearchFolder(folder)) as watch:
        found = run_search(
            experiment, folder, workers=workers, executor=executor, progress=watch
        )
    tables = found["tables"]
    for table in tables:
        say(_title(table, origin_label(found["scene"])))
        _show(grid_table(table), len(table["C"]))
        say(f"Best: {describe_best_cell(table)}; {describe_speed(table)}.")
        say(*suggest_wider_grid(table), *(f"Note: {note}" for note in table["notes"]))
    say(*describe_accuracy_drop(tables))
    say(*_advice(experiment, tables, called))
    _say_products(experiment, SearchFolder(folder))


def scale_and_show(experiment: Experiment, folder: Path, workers: Sequence[int]) -> None:
    """Measure how a search scales, and show it as in the lecture: best cell, all cells."""
    from hypercover.experiment.results.run_folder import RunFolder
    from hypercover.experiment.search.search import measure_scaling, scaling_csv
    from hypercover.figures.accuracy_curves import draw_scaling
    from hypercover.figures.canvas import save_figure
    from hypercover.files import write_text

    rows = measure_scaling(
        experiment,
        folder,
        workers,
        progress=lambda line: say(f"Measuring {line}", err=True),
    )
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        say(f"{model}: minutes by workers (speed-up, efficiency), {own[0].folds} folds")
        counts = sorted({row.workers for row in own})
        _show(_scaling_table(own, counts), len(counts) + 2)
        if not all(row.gains for row in own):
            say(
                "Too small to gain: if the speed-up is about 1 or less, starting and waiting "
                "take longer than the cells; a larger grid or more samples would gain."
            )
    table, figure = (
        folder / "search-scaling.csv",
        RunFolder(folder).figure("search-scaling"),
    )
    write_text(table, scaling_csv(rows))
    save_figure(draw_scaling([asdict(row) for row in rows], title=experiment.name), figure)
    say(f"Table: {table}", f"Picture: {figure}")


def _scaling_table(rows: Sequence[ScalingRow], counts: Sequence[int]) -> Table:
    """Tabulate the measurements of one model: (1) the best cell and (2) all cells."""
    from rich.table import Table

    drawn = Table()
    drawn.add_column("")
    for count in counts:
        drawn.add_column("serial" if count == 1 else f"{count} workers", no_wrap=True)
    for number, cells in enumerate(("best", "all"), start=1):
        own = [row for row in rows if row.cells == cells]
        first = own[0]
        title = (
            f"best cell: {100 * first.accuracy:.2f} %, C = {first.C:g}, "
            f"gamma = {first.gamma:.4g}"
            if cells == "best"
            else "all cells"
        )
        drawn.add_row(f"({number}) {title}", *map(_scaling_text, own))
    return drawn


def _scaling_text(row: ScalingRow) -> str:
    """Write the minutes of a measurement, with speed-up and efficiency."""
    from hypercover.figures.formatting import format_minutes

    minutes = format_minutes(row.wall_seconds / 60)
    if row.workers == 1:
        return minutes
    return f"{minutes} ({row.speed_up:.2f}, {100 * row.efficiency:.0f} %)"


def _advice(
    experiment: Experiment, tables: Sequence[Mapping[str, Any]], called: Sequence[str]
) -> list[str]:
    """Return the command of a run with the best cell of each model."""
    from hypercover.experiment.search.search_problem import preferred_folds
    from hypercover.figures.formatting import best_cell_options

    kind = preferred_folds(experiment.split.kind, experiment.search.by)
    chosen = [table for table in tables if table["kind"] == kind and table["best"]]
    words = [shlex.join(called), *(best_cell_options(table) for table in chosen)]
    if not chosen:
        return []
    return [f"To use the best by {kind}: hypercover run {' '.join(words)}"]


def _say_products(experiment: Experiment, place: SearchFolder) -> None:
    from hypercover.experiment.results.run_folder import RunFolder
    from hypercover.experiment.search.search_tasks import searched_grids

    say(f"Table: {place.csv}")
    say(
        *(f"Picture: {place.figure(model, by)}" for model, by in searched_grids(experiment))
    )
    if RunFolder(place.path).metrics.exists():
        say(f"Report: {RunFolder(place.path).report}")


def _title(table: Mapping[str, Any], note: str = "") -> str:
    """Return the title of a table: model and folds."""
    from hypercover.figures.formatting import describe_folds

    text = f"{table['model']}: accuracy in % (minutes), {describe_folds(table)}"
    return f"{text} ({note})" if note else text


def grid_table(table: Mapping[str, Any]) -> Table:
    """Tabulate a grid as in the lecture: a row per gamma, a column per C, the best marked."""
    from rich.table import Table

    from hypercover.figures.formatting import format_gamma

    drawn = Table()
    drawn.add_column("gamma \\ C", no_wrap=True)
    for cost in table["C"]:
        drawn.add_column(f"{cost:g}", justify="right", no_wrap=True)
    scales = table["scale"] or [None] * len(table["gamma"])
    for row, (gamma, scale) in enumerate(zip(table["gamma"], scales, strict=True)):
        cells = [_cell(table, row, column) for column in range(len(table["C"]))]
        drawn.add_row(format_gamma(gamma, scale), *cells)
    return drawn


def _cell(table: Mapping[str, Any], row: int, column: int) -> Text:
    """Write a cell, with a star for the best."""
    from rich.text import Text

    from hypercover.figures.formatting import format_cell

    words = format_cell(table["accuracy"][row][column], table["minutes"][row][column])
    best = table["best"]
    if best and (best["row"], best["column"]) == (row, column):
        return Text(f"{words} *", style="bold")
    return Text(words)


def _show(table: RenderableType, columns: int) -> None:
    """Print a table to stdout, in full width unless to a terminal."""
    from hypercover.cli.tables import new_console

    console = new_console()
    if not console.is_terminal:
        console = new_console(width=_MARGIN + _CELL * columns)
    console.print(table)


@contextmanager
def _watching(
    experiment: Experiment, place: SearchFolder
) -> Iterator[Callable[[Event], None]]:
    from hypercover.cli.tables import new_console

    watcher = _Watcher(experiment, place)
    if not sys.stderr.isatty():
        yield watcher.say
        return
    from rich.live import Live

    with Live(console=new_console(stderr=True), transient=True) as live:

        def watch(event: Event) -> None:
            live.update(watcher.screen(event))

        yield watch


class _Watcher:
    """The state of a search while it runs."""

    def __init__(self, experiment: Experiment, place: SearchFolder) -> None:
        self._experiment, self._home = experiment, place.home.resolve()
        self._done: set[str] = set()
        self._tables: list[dict[str, Any]] = []
        self._printed = time.monotonic()

    def _note(self, event: Event) -> bool:
        """Note a finished task; return whether there is one."""
        from hypercover.experiment.search.search_tasks import tables_of

        if event.what not in ("done", "kept"):
            return False
        self._done.add(event.task)
        self._tables = tables_of(self._experiment, self._home, self._done.__contains__)
        return True

    def screen(self, event: Event) -> RenderableType:
        """Return the current task and the tables so far, that of the task first.

        A small terminal cuts off the others.
        """
        from rich.console import Group
        from rich.text import Text

        self._note(event)
        doing = f"{100 * event.done:3.0f} %  {event.task} {event.message}  {_left(event)}"
        tables = sorted(self._tables, key=lambda table: event.task not in table["tasks"])
        shown = [(Text(_title(table)), grid_table(table)) for table in tables]
        return Group(Text(doing.strip()), *(part for pair in shown for part in pair))

    def say(self, event: Event) -> None:
        """Print a line for each finished row, and now and then the progress of the next."""
        new = self._note(event)
        ends = event.what in ("done", "failed", "skipped")
        quiet = time.monotonic() - self._printed < _QUIET
        if not ends and (new or event.what != "progress" or quiet):
            return
        self._printed = time.monotonic()
        what = event.message if event.what == "progress" else self._outcome(event)
        line = ", ".join(filter(None, (f"{event.task}: {what}", _left(event))))
        say(f"[{100 * event.done:3.0f} %] {line}", err=True)

    def _outcome(self, event: Event) -> str:
        """Return the accuracies of a finished row; for other tasks the kind of event."""
        for table in self._tables:
            for row, shares in enumerate(table["accuracy"]):
                if event.what == "done" and table["tasks"][row] == event.task:
                    pairs = zip(table["C"], shares, strict=True)
                    return ", ".join(
                        f"C {cost:g} {100 * share:.2f} %" for cost, share in pairs
                    )
        return event.what


def _left(event: Event) -> str:
    from hypercover.cli.progress import duration

    return "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"


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
            help="Instead, measure speed-up and efficiency with these numbers of workers: 1,2,4."
        ),
    ] = None,
) -> None:
    """Search C and gamma of every SVM, under random and guarded folds side by side.

    Stopped or killed, the same command resumes it.

    Example: hypercover search fixed.yaml -o runs/fixed --set search.folds=5
    """
    from hypercover.cli.executors import choose_executor
    from hypercover.cli.opening import experiment_called

    chosen = choose_executor(executor, workers=workers, dask=dask)
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
    search_and_show(plan, place_of, workers, executor=chosen, called=called)


def _counts(text: str) -> list[int]:
    """Read numbers of workers separated by commas."""
    words = text.split(",")
    if not all(word.strip().isdigit() and len(word) < 6 for word in words):
        raise CallError(
            f"--scaling takes numbers of workers separated by commas, got {text[:40]!r}; write "
            "for example 1,2,4."
        )
    return [int(word) for word in words]
