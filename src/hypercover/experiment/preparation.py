"""Prepared run folders: the plan and the experiment that each task reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypercover.errors import CallError, ExperimentError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.search.search_tasks import make_search_plan
from hypercover.experiment.tasks.experiment_plan import make_plan
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder
from hypercover.jobs.plan import FOLDER, Plan
from hypercover.jobs.runner import check_links, prepare_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.file_identity import file_record, file_stats


@dataclass(frozen=True)
class PreparedRun:
    """A plan and the folder in which its tasks are done."""

    experiment: Experiment
    """The experiment."""
    plan: Plan
    """Its tasks."""
    folder: Path
    """The run folder, or ``search`` in it."""
    search: bool
    """Whether it is a grid search."""
    facts: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    """Sizes and times of the files from which the plan was made, when it was loaded."""

    def check(self) -> None:
        """Refuse to continue if the experiment, or a file it reads, has changed since.

        Raises
        ------
        CallError
        """
        if file_stats(self.facts) != self.facts:
            load_prepared(self.folder)

    @property
    def title(self) -> str:
        """Name of the run, for the names of jobs."""
        return f"{self.folder.parent.name}-search" if self.search else self.folder.name


def plan_run(
    experiment: Experiment, folder: str | Path, *, search: bool = False
) -> PreparedRun:
    """Check an experiment and return its plan; nothing is written.

    Raises
    ------
    CallError
        About the first error that the run or search would meet.
    """
    # Imported here: a task that is done by hand needs none of it.
    from hypercover.experiment.config.experiment_check import check_experiment
    from hypercover.experiment.search.search import check_search, check_search_folder
    from hypercover.experiment.tasks.run_context import versions

    current = experiment.model_copy(update={"versions": versions()})
    place = Path(folder).resolve()
    if search:
        check_search(current)
        check_search_folder(SearchFolder(place), current)
        home = SearchFolder(place).home
        with file_record(RunFolder(home).inputs):
            return PreparedRun(current, make_search_plan(current), home, True)
    check_experiment(current)
    with file_record(RunFolder(place).inputs):
        return PreparedRun(current, make_plan(current), place, False)


def prepare(prepared: PreparedRun) -> None:
    """Write plan and experiment into the run folder, so that any task can be done there.

    Raises
    ------
    CallError
        If jobs or another run are active there, or the folder holds another search.
    """
    from hypercover.experiment.run import prepare_folder
    from hypercover.experiment.search.search import prepare_search

    check_idle(prepared.folder, REGISTRY)
    writing = partial(prepare_folder, RunFolder(prepared.folder), prepared.experiment)
    if prepared.search:
        place = SearchFolder(prepared.folder.parent)
        writing = partial(prepare_search, place, prepared.experiment)
    with file_record(RunFolder(prepared.folder).inputs):
        # Reads every file, so that their checksums are remembered.
        (make_search_plan if prepared.search else make_plan)(prepared.experiment)
        prepare_plan(prepared.plan, make_folder(prepared.folder), writing)


def load_prepared(folder: str | Path) -> PreparedRun:
    """Load the plan of a prepared folder: that of a run, or else of a search.

    Raises
    ------
    CallError
        If there is no plan, or the experiment or a file it reads has changed since.
    """
    place = plan_folder(folder)
    check_links(place)
    plan = Plan.load(place, REGISTRY)
    search = any(task.kind == "tabulate" for task in plan.tasks)
    try:
        experiment = load_experiment(RunFolder(place).experiment)
    except ExperimentError as error:
        raise CallError(
            f"{place} holds a plan, but its experiment cannot be read ({error}); submit or "
            "run it again."
        ) from error
    with file_record(RunFolder(place).inputs) as inputs:
        now = (make_search_plan if search else make_plan)(experiment)
    if now.fingerprints != plan.fingerprints:
        raise CallError(
            f"The experiment in {place}, or a file it reads, was changed since its plan was "
            "made; wait until its jobs end, and submit or run it again."
        )
    own = (str(RunFolder(place).experiment), str(place / FOLDER / "plan.json"))
    return PreparedRun(experiment, plan, place, search, file_stats((*own, *inputs.names)))


def plan_folder(folder: str | Path) -> Path:
    """Return the folder of a run's plan, or else of the search in the same folder."""
    place = Path(folder).resolve()
    home = SearchFolder(place).home
    return home if not _has_plan(place) and _has_plan(home) else place


def _has_plan(folder: Path) -> bool:
    return (folder / FOLDER / "plan.json").is_file()
