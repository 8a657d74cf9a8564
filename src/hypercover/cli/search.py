"""``hypercover search``: C and gamma of the SVMs of an experiment, by cross-validation."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import event_lines, new_console, say, time_left
from hypercover.errors import CallError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from hypercover.experiment.config.schema import Experiment
    from hypercover.experiment.results.run_folder import SearchFolder
    from hypercover.experiment.search.search_scaling import ScalingRow
    from hypercover.jobs.executor import Executor
    from hypercover.jobs.runner import Event


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
    from hypercover.cli.tables import show
    from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
    from hypercover.experiment.run import run_search
    from hypercover.experiment.search.search_tasks import searched_grids
    from hypercover.figures import formatting
    from hypercover.scene.metadata import origin_label

    place = SearchFolder(folder)
    with _watching(experiment, place) as watch:
        results = run_search(
            experiment, folder, workers=workers, executor=executor, progress=watch
        )
    tables = results["tables"]
    for table in tables:
        say(_title(table, origin_label(results["scene"])))
        show(grid_table(table), width=_MARGIN + _CELL * len(table["C"]))
        best, speed = formatting.describe_best_cell(table), formatting.describe_speed(table)
        say(f"Best: {best}; {speed}.", *formatting.suggest_wider_grid(table))
        say(*(f"Note: {note}" for note in table["notes"]))
    say(*formatting.describe_accuracy_drop(tables))
    say(*_advice(experiment, tables, called), f"Table: {place.csv}")
    grids = searched_grids(experiment)
    say(*(f"Picture: {place.figure(model, by)}" for model, by in grids))
    if RunFolder(folder).metrics.exists():
        say(f"Report: {RunFolder(folder).report}")


def scale_and_show(experiment: Experiment, folder: Path, workers: Sequence[int]) -> None:
    """Measure how a search scales, and show it as in the lecture: best cell, all cells."""
    from hypercover.cli.tables import show
    from hypercover.experiment.results.run_folder import RunFolder
    from hypercover.experiment.search.search_scaling import measure_scaling, scaling_csv
    from hypercover.figures.accuracy_figures import draw_scaling
    from hypercover.figures.canvas import save_figure
    from hypercover.files import write_text

    def print_line(line: str) -> None:
        say(f"Measuring {line}", err=True)

    rows = measure_scaling(experiment, folder, workers, progress=print_line)
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        say(f"{model}: minutes by workers (speed-up, efficiency), {own[0].folds} folds")
        counts = sorted({row.workers for row in own})
        show(_scaling_table(own, counts), width=_MARGIN + _CELL * (len(counts) + 2))
        if not all(row.gains for row in own):
            say(
                "Too small to gain: if the speed-up is about 1 or less, starting and waiting "
                "take longer than the cells; a larger grid or more samples would gain."
            )
    table = folder / "search-scaling.csv"
    figure = RunFolder(folder).figure("search-scaling")
    write_text(table, scaling_csv(rows))
    save_figure(draw_scaling([asdict(row) for row in rows], title=experiment.name), figure)
    say(f"Table: {table}", f"Picture: {figure}")


def _scaling_table(rows: Sequence[ScalingRow], counts: Sequence[int]) -> Table:
    """Tabulate the measurements of one model: (1) the best cell and (2) all cells."""
    from hypercover.cli.tables import new_table

    heads = ["serial" if count == 1 else f"{count} workers" for count in counts]
    table = new_table(left=["", *heads])
    for column in table.columns[1:]:
        column.no_wrap = True
    best = [row for row in rows if row.cells == "best"]
    cell = f"C = {best[0].C:g}, gamma = {best[0].gamma:.4g}"
    title = f"(1) best cell: {100 * best[0].accuracy:.2f} %, {cell}"
    table.add_row(title, *map(_scaling_text, best))
    every = [row for row in rows if row.cells == "all"]
    table.add_row("(2) all cells", *map(_scaling_text, every))
    return table


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
    if not chosen:
        return []
    words = [shlex.join(called), *map(best_cell_options, chosen)]
    return [f"To use the best by {kind}: hypercover run {' '.join(words)}"]


def _title(table: Mapping[str, Any], note: str = "") -> str:
    """Return the title of a table: model and folds."""
    from hypercover.figures.formatting import describe_folds

    text = f"{table['model']}: accuracy in % (minutes), {describe_folds(table)}"
    return f"{text} ({note})" if note else text


def grid_table(grid: Mapping[str, Any]) -> Table:
    """Tabulate a grid as in the lecture: a row per gamma, a column per C, the best marked."""
    from hypercover.cli.tables import new_table
    from hypercover.figures.formatting import format_gamma

    table = new_table(left=["gamma \\ C"], right=[f"{cost:g}" for cost in grid["C"]])
    for column in table.columns:
        column.no_wrap = True
    scales = grid["scale"] or [None] * len(grid["gamma"])
    for row, (gamma, scale) in enumerate(zip(grid["gamma"], scales, strict=True)):
        cells = [_cell(grid, row, column) for column in range(len(grid["C"]))]
        table.add_row(format_gamma(gamma, scale), *cells)
    return table


def _cell(grid: Mapping[str, Any], row: int, column: int) -> Text:
    """Write a cell, with a star for the best."""
    from rich.text import Text

    from hypercover.figures.formatting import format_cell

    text = format_cell(grid["accuracy"][row][column], grid["minutes"][row][column])
    best = grid["best"]
    if best and (best["row"], best["column"]) == (row, column):
        return Text(f"{text} *", style="bold")
    return Text(text)


@contextmanager
def _watching(
    experiment: Experiment, place: SearchFolder
) -> Iterator[Callable[[Event], None]]:
    watcher = _Watcher(experiment, place)
    if not sys.stderr.isatty():
        print_line = event_lines(watcher.outcome)

        def watch_lines(event: Event) -> None:
            watcher.note(event)
            print_line(event)

        yield watch_lines
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

    def note(self, event: Event) -> None:
        """Read the tables again after a finished task."""
        from hypercover.experiment.search.search_tasks import tables_of

        if event.what in ("done", "kept"):
            self._done.add(event.task)
            finished = self._done.__contains__
            self._tables = tables_of(self._experiment, self._home, finished)

    def screen(self, event: Event) -> RenderableType:
        """Return the current task and the tables so far, that of the task first.

        A small terminal cuts off the others.
        """
        from rich.console import Group
        from rich.text import Text

        self.note(event)
        line = (
            f"{100 * event.done:3.0f} %  {event.task} {event.message}  {time_left(event)}"
        )
        tables = sorted(self._tables, key=lambda table: event.task not in table["tasks"])
        shown = [(Text(_title(table)), grid_table(table)) for table in tables]
        return Group(Text(line.strip()), *(part for pair in shown for part in pair))

    def outcome(self, event: Event) -> str:
        """Return the accuracies of a finished row; for other tasks the kind of event."""
        for table in self._tables:
            if event.what == "done" and event.task in table["tasks"]:
                shares = table["accuracy"][table["tasks"].index(event.task)]
                pairs = zip(table["C"], shares, strict=True)
                return ", ".join(f"C {cost:g} {100 * share:.2f} %" for cost, share in pairs)
        return event.what


def search(
    *,
    experiment: options.EXPERIMENT,
    out: options.RUN_FOLDER = None,
    experiment_options: options.ExperimentOptions,
    workers: Annotated[
        int,
        Option(min=1, help="Processes that share the rows; a single one uses all cores."),
    ] = 1,
    executor: options.EXECUTOR = None,
    dask: options.DASK = None,
    scaling: Annotated[
        str | None,
        Option(
            help="Instead, measure speed-up and efficiency with these numbers of workers: 1,2,4."
        ),
    ] = None,
) -> None:
    """Search C and gamma of every SVM, under random and guarded folds side by side.

    Stopped or killed, the same command resumes it.

    Example: hypercover search fixed.yaml -o runs/fixed --set search.folds=5
    """
    chosen = options.choose_executor(executor, workers=workers, dask=dask)
    loaded, folder = experiment_options.load(experiment, out)
    if scaling is not None:
        scale_and_show(loaded, folder, _counts(scaling))
        return
    data, scene = experiment_options.data or (), experiment_options.scene
    called = [experiment, *([] if out is None else ["-o", str(out)])]
    called += [word for path in data for word in ("--data", str(path))]
    called += [] if scene is None else ["--scene", scene]
    called += [word for text in experiment_options.overrides() for word in ("--set", text)]
    search_and_show(loaded, folder, workers, executor=chosen, called=called)


def _counts(text: str) -> list[int]:
    """Read numbers of workers separated by commas."""
    words = text.split(",")
    if not all(word.strip().isdigit() and len(word) < 6 for word in words):
        raise CallError(
            f"--scaling takes numbers of workers separated by commas, got {text[:40]!r}; write "
            "for example 1,2,4."
        )
    return [int(word) for word in words]
