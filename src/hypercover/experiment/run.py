"""Running an experiment: its plan, whoever does the tasks, and where it lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercover.errors import ExperimentError
from hypercover.experiment.config.builders import forget_scene
from hypercover.experiment.config.experiment_check import check_experiment
from hypercover.experiment.config.experiment_file import dump, load_experiment
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.outputs import (
    remove_drafts,
    remove_results,
    remove_stale_features,
    remove_stale_maps,
    remove_stale_models,
    remove_stale_splits,
)
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import make_plan, network_tasks
from hypercover.experiment.tasks.network_training import (
    log_resuming,
    set_aside_checkpoints,
)
from hypercover.experiment.tasks.reduce import versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder, read_sealed
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor, cores
from hypercover.jobs.plan import Plan
from hypercover.jobs.runner import Event, run_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.inputs import known_inputs, remember_inputs

__all__ = ["prepare_experiment", "prepare_folder", "run_experiment"]


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Do what an experiment says and return the content of its ``metrics.json``.

    Why it exists: interrupted in any way and called again it goes on where it
    was, because a run is a plan of tasks whose results are whole files.

    Parameters
    ----------
    experiment : Experiment
    folder : where the run lies; made where it is missing
    workers : local processes that share the tasks; by default this process
        alone for a single seed and one process a core for repeats
    executor : who does the tasks instead, such as
        `hypercover.jobs.dask_executor.DaskExecutor`
    progress : called with each event of the run

    Raises
    ------
    HypercoverError
        The error of a task, in its own type; or that submitted jobs are at work
        in the folder.
    """
    run = RunFolder(Path(folder).resolve())
    check_idle(run.path, REGISTRY)
    asked = experiment.model_copy(update={"versions": versions()})
    before = _experiment_in(run)
    if before != asked or not run.metrics.exists():
        check_experiment(asked)
    chosen = executor or _executor(asked, workers)
    if not isinstance(chosen, InProcessExecutor):
        forget_scene()
    with known_inputs(run.inputs):
        _do(make_plan(asked), run, asked, chosen, progress)
    metrics: dict[str, Any] = read_sealed(run.metrics.read_bytes())
    return metrics


def prepare_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    progress: Callable[[Event], None] | None = None,
) -> tuple[str, ...]:
    """Check an experiment, make its splits and image features, and train nothing yet.

    Why it exists: a batch system then trains the networks, each by the ranks it
    gives it, and `run_experiment` in the same folder does the rest.

    Returns
    -------
    names of the tasks that train a network
    """
    run = RunFolder(Path(folder).resolve())
    check_idle(run.path, REGISTRY)
    asked = experiment.model_copy(update={"versions": versions()})
    check_experiment(asked)
    with known_inputs(run.inputs):
        plan = make_plan(asked)
        trials = {task.name for task in plan.tasks if task.name.startswith("train-")}
        later = trials | plan.dependents(trials)
        first = Plan(tuple(t for t in plan.tasks if t.name not in later), plan.registry)
        _do(first, run, asked, InProcessExecutor(), progress)
    plan.save(run.path)
    # Those on all labelled pixels wait for the figures, which `run_experiment` takes.
    return tuple(
        name for name in network_tasks(asked) if later.isdisjoint(plan.task(name).needs)
    )


def _do(
    plan: Plan,
    run: RunFolder,
    experiment: Experiment,
    executor: Executor,
    progress: Callable[[Event], None] | None,
) -> None:
    """Do the tasks of a plan in the folder of a run."""

    def prepare() -> None:
        prepare_folder(run, experiment)
        # Trainings in other processes say in their logs alone that they go on.
        if not isinstance(executor, InProcessExecutor) or experiment.processes > 1:
            log_resuming(run, experiment)

    run_plan(
        plan,
        make_folder(run.path),
        executor,
        prepare=prepare,
        progress=progress,
    )


def _experiment_in(run: RunFolder) -> Experiment | None:
    """Return the experiment a folder was last run with, if there is a whole one."""
    try:
        return load_experiment(run.experiment)
    except ExperimentError:
        return None


def prepare_folder(run: RunFolder, experiment: Experiment) -> None:
    """Make a folder ready for an experiment, now that no other run is at work in it."""
    before = _experiment_in(run)
    remove_drafts(run)
    if before != experiment:
        remove_results(run)
    if before is not None:
        remove_stale_maps(run, before, experiment)
        remove_stale_models(run, before, experiment)
        remove_stale_splits(run, before, experiment)
        remove_stale_features(run, before, experiment)
    set_aside_checkpoints(run, before, experiment)
    dump(experiment, run.experiment)
    remember_inputs()


def _executor(experiment: Experiment, workers: int | None) -> Executor:
    # Each worker that trains a network has so many processes of its own.
    most = max(1, cores() // experiment.processes)
    wanted = workers or min(most, len(experiment.draws("main")))
    return InProcessExecutor() if wanted == 1 else LocalExecutor(workers=wanted)
