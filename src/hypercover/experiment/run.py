"""Run an experiment: make its plan and do the tasks in a run folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypercover.errors import ExperimentError
from hypercover.experiment.config.builders import forget_scene
from hypercover.experiment.config.experiment_check import check_experiment
from hypercover.experiment.config.experiment_file import (
    as_experiment,
    dump,
    load_experiment,
)
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results import outputs
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import make_plan, network_tasks
from hypercover.experiment.tasks.network_training import log_resuming, set_aside_checkpoints
from hypercover.experiment.tasks.run_context import versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder, read_checksummed
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor, cores
from hypercover.jobs.plan import Plan
from hypercover.jobs.runner import Event, run_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.file_identity import file_record, record_files


def run_experiment(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    folder: str | Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[Event], None] | None = None,
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
        Local processes that share the tasks; by default this process alone for a single
        seed, and one process per core for repeats.
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
    current = as_experiment(experiment).model_copy(update={"versions": versions()})
    if _experiment_in(run) != current or not run.metrics.exists():
        check_experiment(current)
    chosen = executor or _executor(current, workers)
    if not isinstance(chosen, InProcessExecutor):
        forget_scene()
    with file_record(run.inputs):
        _run_tasks(make_plan(current), run, current, chosen, progress)
    metrics: dict[str, Any] = read_checksummed(run.metrics.read_bytes())
    return metrics


def prepare_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    progress: Callable[[Event], None] | None = None,
) -> tuple[str, ...]:
    """Check an experiment and make its splits and image features, without training.

    A batch system then trains the networks, each with several processes, and
    `run_experiment` in the same folder does the rest.

    Returns
    -------
    names of the tasks that train a network
    """
    run = RunFolder(Path(folder).resolve())
    check_idle(run.path, REGISTRY)
    current = experiment.model_copy(update={"versions": versions()})
    check_experiment(current)
    with file_record(run.inputs):
        plan = make_plan(current)
        trials = {task.name for task in plan.tasks if task.name.startswith("train-")}
        later = trials | plan.dependents(trials)
        first = Plan(tuple(t for t in plan.tasks if t.name not in later), plan.registry)
        _run_tasks(first, run, current, InProcessExecutor(), progress)
    plan.save(run.path)
    # Trainings on all labelled pixels need the metrics, which `run_experiment` computes.
    return tuple(
        name for name in network_tasks(current) if later.isdisjoint(plan.task(name).needs)
    )


def _run_tasks(
    plan: Plan,
    run: RunFolder,
    experiment: Experiment,
    executor: Executor,
    progress: Callable[[Event], None] | None,
) -> None:
    """Do the tasks of a plan in the folder of a run."""

    def prepare() -> None:
        prepare_folder(run, experiment)
        # Trainings in other processes only log that they resume.
        if not isinstance(executor, InProcessExecutor) or experiment.processes > 1:
            log_resuming(run, experiment)

    run_plan(plan, make_folder(run.path), executor, prepare=prepare, progress=progress)


def _experiment_in(run: RunFolder) -> Experiment | None:
    """Return the experiment of the last run in a folder, if it can be read."""
    try:
        return load_experiment(run.experiment)
    except ExperimentError:
        return None


def prepare_folder(run: RunFolder, experiment: Experiment) -> None:
    """Prepare a locked folder for an experiment: remove what belongs to another one."""
    before = _experiment_in(run)
    outputs.remove_drafts(run)
    if before != experiment:
        outputs.remove_results(run)
    if before is not None:
        outputs.remove_stale_outputs(run, before, experiment)
    set_aside_checkpoints(run, before, experiment)
    dump(experiment, run.experiment)
    record_files()


def _executor(experiment: Experiment, workers: int | None) -> Executor:
    # Each worker may start so many processes to train a network.
    most = max(1, cores() // experiment.processes)
    count = workers or min(most, len(experiment.draws("main")))
    return InProcessExecutor() if count == 1 else LocalExecutor(workers=count)
