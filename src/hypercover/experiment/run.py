"""Runs and searches: from an experiment to its plan, its folder and its finished tasks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypercover.errors import CallError, ExperimentError
from hypercover.evaluation.run_metrics import SearchResult
from hypercover.experiment.config.builders import forget_scene, load_scene
from hypercover.experiment.config.experiment_file import (
    as_experiment,
    dump,
    load_experiment,
)
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results import run_folder
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.search import search_problem, search_tasks
from hypercover.experiment.tasks.experiment_plan import make_plan, network_tasks
from hypercover.experiment.tasks.run_context import versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder, read_checksummed
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor, cores
from hypercover.jobs.plan import FOLDER, Plan
from hypercover.jobs.runner import Event, check_links, prepare_plan, run_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.file_identity import file_record, file_stats, record_files

AnyExperiment = Experiment | Mapping[str, Any] | str | Path
"""An experiment, the content of an experiment file, the path of one, or its built-in name."""
Watch = Callable[[Event], None]
"""Called with each event of a run."""


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

    def write_experiment(self) -> None:
        """Prepare the locked folder: remove what belongs to another experiment."""
        # Imported here, as the other programs that read a plan need none of it.
        from hypercover.experiment.tasks.network_training import set_aside_checkpoints

        run = RunFolder(self.folder)
        run_folder.remove_drafts(run)
        if self.search:
            run_folder.remove_drafts(RunFolder(self.folder.parent))
        else:
            before = _experiment_in(run)
            if before != self.experiment:
                run_folder.remove_results(run)
            if before is not None:
                run_folder.remove_stale_outputs(run, before, self.experiment)
            set_aside_checkpoints(run, before, self.experiment)
        dump(self.experiment, run.experiment)
        record_files()


def plan_run(
    experiment: AnyExperiment, folder: str | Path, *, search: bool = False
) -> PreparedRun:
    """Check an experiment and return its plan; nothing is written.

    Raises
    ------
    CallError
        About the first error that the run or search would meet.
    """
    with _planned(experiment, folder, search=search) as prepared:
        return prepared


@contextmanager
def _planned(
    experiment: AnyExperiment, folder: str | Path, *, search: bool = False
) -> Iterator[PreparedRun]:
    """Check an experiment and make its plan; the block uses the record of its input files."""
    from hypercover.experiment.config.experiment_check import check_experiment

    current = as_experiment(experiment).model_copy(update={"versions": versions()})
    place = Path(folder).resolve()
    run = RunFolder(SearchFolder(place).home if search else place)
    if search:
        check_search(current)
        _check_search_folder(SearchFolder(place), current)
    elif _experiment_in(run) != current or not run.metrics.exists():
        check_experiment(current)
    with file_record(run.inputs):
        yield PreparedRun(current, _make_plan(current, search), run.path, search)


def _make_plan(experiment: Experiment, search: bool) -> Plan:
    return search_tasks.make_search_plan(experiment) if search else make_plan(experiment)


def prepare(prepared: PreparedRun) -> None:
    """Write plan and experiment into the run folder, so that any task can be done there.

    Raises
    ------
    CallError
        If jobs or another run are active there, or the folder holds another search.
    """
    check_idle(prepared.folder, REGISTRY)
    with file_record(RunFolder(prepared.folder).inputs):
        # Reads every file, so that their checksums are remembered.
        _make_plan(prepared.experiment, prepared.search)
        folder = make_folder(prepared.folder)
        prepare_plan(prepared.plan, folder, prepared.write_experiment)


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
            f"The experiment of the plan in {place} cannot be read ({error}); submit or run it "
            "again."
        ) from error
    with file_record(RunFolder(place).inputs) as inputs:
        now = _make_plan(experiment, search)
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


def run_experiment(
    experiment: AnyExperiment,
    folder: str | Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Watch | None = None,
) -> dict[str, Any]:
    """Run an experiment and return the content of its ``metrics.json``.

    Interrupted in any way and called again, it resumes: a run is a plan of tasks whose
    results are whole files.

    Parameters
    ----------
    experiment : Experiment, mapping, path or str
        An experiment, the content of an experiment file, the path of one, or the name of
        an experiment that comes with the package.
    folder : str or Path
        The run folder; created if it is missing.
    workers : int, optional
        Local processes that share the tasks; by default this process alone for a single seed,
        and one process per core for repeats.
    executor : Executor, optional
        Does the tasks instead, such as `hypercover.jobs.dask_executor.DaskExecutor`.
    progress : callable, optional
        Called with each event of the run.

    Returns
    -------
    dict
        The metrics of every model and split.

    Raises
    ------
    HypercoverError
        The error of a task, in its own type; or submitted jobs are active in the folder.

    Examples
    --------
    >>> metrics = run_experiment("fixed.yaml", "runs/fixed")  # doctest: +SKIP
    >>> metrics["models"]["svm"]["overall_accuracy"]  # doctest: +SKIP
    0.9
    """
    run = RunFolder(Path(folder).resolve())
    check_idle(run.path, REGISTRY)
    with _planned(experiment, folder) as prepared:
        # Each worker may start so many processes to train a network.
        most = max(1, cores() // prepared.experiment.processes)
        count = workers or min(most, len(prepared.experiment.draws("main")))
        _do_tasks(prepared, executor, count, progress)
    metrics: dict[str, Any] = read_checksummed(run.metrics.read_bytes())
    return metrics


def prepare_experiment(
    experiment: Experiment, folder: str | Path, *, progress: Watch | None = None
) -> tuple[str, ...]:
    """Check an experiment and make its splits and image features, without training.

    A batch system then trains the networks, each with several processes, and
    `run_experiment` in the same folder does the rest.

    Returns
    -------
    names of the tasks that train a network
    """
    check_idle(Path(folder).resolve(), REGISTRY)
    with _planned(experiment, folder) as prepared:
        plan = prepared.plan
        trials = {task.name for task in plan.tasks if task.name.startswith("train-")}
        later = trials | plan.dependents(trials)
        first = Plan(tuple(t for t in plan.tasks if t.name not in later), plan.registry)
        _do_tasks(replace(prepared, plan=first), None, 1, progress)
    plan.save(prepared.folder)
    # Trainings on all labelled pixels need the metrics, which `run_experiment` computes.
    names = network_tasks(prepared.experiment)
    return tuple(name for name in names if later.isdisjoint(plan.task(name).needs))


def run_search(
    experiment: AnyExperiment,
    folder: str | Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Watch | None = None,
) -> SearchResult:
    """Search C and gamma for every SVM of an experiment; return ``search.json``.

    Interrupted in any way and called again, it resumes; a larger grid takes over the
    cells of a smaller one.

    Parameters
    ----------
    experiment : Experiment, mapping, path or str
        As in `run_experiment`.
    folder : str or Path
        The run folder; created if it is missing.
    workers : int
        Processes that share the rows of the grid; a single one uses all cores for a row.
    executor : Executor, optional
        Does the tasks instead, such as `hypercover.jobs.dask_executor.DaskExecutor`.
    progress : callable, optional
        Called with each event.

    Raises
    ------
    HypercoverError
        If the experiment has no grid, the samples cannot be folded, the folder holds
        another experiment, or a task failed.

    Examples
    --------
    >>> found = run_search("grid.yaml", "runs/grid")  # doctest: +SKIP
    >>> found.to_frame()  # doctest: +SKIP
    """
    search = SearchFolder(Path(folder).resolve())
    check_idle(search.home, REGISTRY)
    try:
        with _planned(experiment, folder, search=True) as prepared:
            _do_tasks(prepared, executor, workers, progress)
    finally:
        search_tasks.forget_problem()
    return SearchResult(read_checksummed(search.table.read_bytes()))


def _do_tasks(
    prepared: PreparedRun, executor: Executor | None, workers: int, progress: Watch | None
) -> None:
    """Do the tasks of a plan by an executor, or else by so many local processes."""
    chosen = executor or (LocalExecutor(workers) if workers > 1 else InProcessExecutor())
    in_process = isinstance(chosen, InProcessExecutor)
    if not in_process:
        forget_scene()

    def write() -> None:
        from hypercover.experiment.tasks.network_training import log_resuming

        prepared.write_experiment()
        # Trainings in other processes only log that they resume.
        if not prepared.search and not (in_process and prepared.experiment.processes == 1):
            log_resuming(RunFolder(prepared.folder), prepared.experiment)

    folder = make_folder(prepared.folder)
    run_plan(prepared.plan, folder, chosen, prepare=write, progress=progress)


def _experiment_in(run: RunFolder) -> Experiment | None:
    """Return the experiment of the last run in a folder, if it can be read."""
    try:
        return load_experiment(run.experiment)
    except ExperimentError:
        return None


def check_search(experiment: Experiment) -> None:
    """Raise an error that a search would meet: no grid, features or folds.

    Raises
    ------
    CallError
        About the first thing that is wrong.
    """
    from hypercover.experiment.config.experiment_check import check_experiment

    grids = search_tasks.searched_grids(experiment)
    searched = {model: experiment.models[model] for model, _ in grids}
    check_experiment(experiment.model_copy(update={"models": searched, "beside": {}}))
    scene = load_scene(experiment.scene)
    samples = search_problem.samples_for(experiment, scene)
    for by in experiment.search.by:
        search_problem.folds_for(
            experiment.search, by, samples, scene=scene, seed=experiment.seed
        )


def _check_search_folder(search: SearchFolder, experiment: Experiment) -> None:
    """Refuse a folder that holds a run or a search of something else."""
    for folder in (search.path, search.home):
        other = _experiment_in(RunFolder(folder))
        if other and (other.name, other.scene) != (experiment.name, experiment.scene):
            raise CallError(
                f"{search.path} holds the experiment {other.name} on {other.scene.path}, not "
                f"{experiment.name} on {experiment.scene.path}; choose another folder with -o."
            )
