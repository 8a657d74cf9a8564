"""A run folder made ready: the plan and the experiment that whoever does a task reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypercover.errors import CallError, ExperimentError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.search.search_plan import make_search_plan
from hypercover.experiment.tasks.experiment_plan import make_plan
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder
from hypercover.jobs.plan import FOLDER, Plan
from hypercover.jobs.runner import check_links, prepare_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.inputs import facts_of_files, known_inputs

__all__ = ["PreparedRun", "load_prepared", "plan_folder", "plan_run", "prepare"]


@dataclass(frozen=True)
class PreparedRun:
    """A plan and the folder in which its tasks are done."""

    experiment: Experiment
    """What is to be done."""
    plan: Plan
    """Its tasks."""
    folder: Path
    """Where they are done: the run folder, or ``search`` in it."""
    search: bool
    """Whether it is a grid search."""
    facts: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    """Sizes and times of the files that the plan was made of, when it was found."""

    def check(self) -> None:
        """Refuse to go on where the experiment, or a file it reads, was changed meanwhile.

        Raises
        ------
        CallError
        """
        if facts_of_files(self.facts) != self.facts:
            load_prepared(self.folder)

    @property
    def title(self) -> str:
        """What the run is called, for the names of jobs."""
        return f"{self.folder.parent.name}-search" if self.search else self.folder.name


def plan_run(
    experiment: Experiment, folder: str | Path, *, search: bool = False
) -> PreparedRun:
    """Check an experiment and return its plan; nothing is written.

    Raises
    ------
    CallError
        About the first thing a run, or a search, of it would fail of.
    """
    # Here, as a task that is done by hand has no use for what checks an experiment.
    from hypercover.experiment.config.experiment_check import check_experiment
    from hypercover.experiment.search.search import check_search, check_search_folder
    from hypercover.experiment.tasks.reduce import versions

    asked = experiment.model_copy(update={"versions": versions()})
    place = Path(folder).resolve()
    if search:
        check_search(asked)
        check_search_folder(SearchFolder(place), asked)
        home = SearchFolder(place).home
        with known_inputs(RunFolder(home).inputs):
            return PreparedRun(asked, make_search_plan(asked), home, True)
    check_experiment(asked)
    with known_inputs(RunFolder(place).inputs):
        return PreparedRun(asked, make_plan(asked), place, False)


def prepare(asked: PreparedRun) -> None:
    """Write plan and experiment into the folder, so that any task can be done by hand.

    Raises
    ------
    CallError
        If jobs or another run are at work there, or the folder holds another search.
    """
    from hypercover.experiment.run import prepare_folder
    from hypercover.experiment.search.search import prepare_search

    check_idle(asked.folder, REGISTRY)
    writing = partial(prepare_folder, RunFolder(asked.folder), asked.experiment)
    if asked.search:
        place = SearchFolder(asked.folder.parent)
        writing = partial(prepare_search, place, asked.experiment)
    with known_inputs(RunFolder(asked.folder).inputs):
        # Asks for every file, so that it is remembered what is in them.
        (make_search_plan if asked.search else make_plan)(asked.experiment)
        prepare_plan(asked.plan, make_folder(asked.folder), writing)


def load_prepared(folder: str | Path) -> PreparedRun:
    """Return what a folder was made ready for: a run, or else a search.

    Raises
    ------
    CallError
        If there is no plan, or the experiment or a file it reads was changed since.
    """
    place = plan_folder(folder)
    check_links(place)
    plan = Plan.load(place, REGISTRY)
    search = any(task.kind == "tabulate" for task in plan.tasks)
    try:
        experiment = load_experiment(RunFolder(place).experiment)
    except ExperimentError as error:
        raise CallError(
            f"{place} holds a plan but no experiment that can be read ({error}); submit or "
            "run it again."
        ) from error
    with known_inputs(RunFolder(place).inputs) as inputs:
        now = (make_search_plan if search else make_plan)(experiment)
    if now.fingerprints != plan.fingerprints:
        raise CallError(
            f"The experiment in {place}, or a file it reads, was changed since its plan was "
            "made; have what is at work there end, and submit or run it again."
        )
    own = (str(RunFolder(place).experiment), str(place / FOLDER / "plan.json"))
    return PreparedRun(
        experiment, plan, place, search, facts_of_files((*own, *inputs.names))
    )


def plan_folder(folder: str | Path) -> Path:
    """Return where the plan of a run lies, or else that of a search in the same folder."""
    place = Path(folder).resolve()
    home = SearchFolder(place).home
    return home if not _has_plan(place) and _has_plan(home) else place


def _has_plan(folder: Path) -> bool:
    return (folder / FOLDER / "plan.json").is_file()
