"""Run the grid search of an experiment: make its plan and do the tasks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypercover.errors import CallError, ExperimentError
from hypercover.evaluation.search_metrics import SearchResult
from hypercover.experiment.config.builders import forget_scene, load_scene
from hypercover.experiment.config.experiment_check import check_experiment
from hypercover.experiment.config.experiment_file import (
    as_experiment,
    dump,
    load_experiment,
)
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.outputs import remove_drafts
from hypercover.experiment.results.run_folder import RunFolder, SearchFolder
from hypercover.experiment.search.search_plan import make_search_plan, searched_grids
from hypercover.experiment.search.search_problem import folds_for, samples_for
from hypercover.experiment.search.search_tasks import forget_problem
from hypercover.experiment.tasks.reduce import versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import make_folder, read_checksummed
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.runner import Event, run_plan
from hypercover.jobs.submission import check_idle
from hypercover.scene.inputs import known_inputs, record_inputs


def run_search(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    folder: str | Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[Event], None] | None = None,
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
    """
    place = SearchFolder(Path(folder).resolve())
    check_idle(place.home, REGISTRY)
    current = as_experiment(experiment).model_copy(update={"versions": versions()})
    check_search(current)
    check_search_folder(place, current)
    chosen = executor or (LocalExecutor(workers) if workers > 1 else InProcessExecutor())
    if not isinstance(chosen, InProcessExecutor):
        forget_scene()
    try:
        with known_inputs(RunFolder(place.home).inputs):
            run_plan(
                make_search_plan(current),
                make_folder(place.home),
                chosen,
                prepare=lambda: prepare_search(place, current),
                progress=progress,
            )
    finally:
        forget_problem()
    return SearchResult(read_checksummed(place.table.read_bytes()))


def check_search(experiment: Experiment) -> None:
    """Raise an error that a search would meet: no grid, features or folds.

    Raises
    ------
    CallError
        About the first thing that is wrong.
    """
    grids = searched_grids(experiment)
    searched = {model: experiment.models[model] for model, _ in grids}
    check_experiment(experiment.model_copy(update={"models": searched, "beside": {}}))
    scene = load_scene(experiment.scene)
    samples = samples_for(experiment, scene)
    for by in experiment.search.by:
        folds_for(experiment.search, by, samples, scene=scene, seed=experiment.seed)


def check_search_folder(place: SearchFolder, experiment: Experiment) -> None:
    """Refuse a folder that holds a run or a search of something else."""
    for path in (RunFolder(place.path).experiment, place.experiment):
        try:
            other = load_experiment(path)
        except ExperimentError:
            continue
        if (other.name, other.scene) != (experiment.name, experiment.scene):
            raise CallError(
                f"{place.path} holds the experiment {other.name} on {other.scene.path}, not "
                f"{experiment.name} on {experiment.scene.path}; choose another folder with -o."
            )


def prepare_search(place: SearchFolder, experiment: Experiment) -> None:
    """Prepare a locked folder for a search."""
    for folder in (place.path, place.home):
        remove_drafts(RunFolder(folder))
    dump(experiment, place.experiment)
    record_inputs()
