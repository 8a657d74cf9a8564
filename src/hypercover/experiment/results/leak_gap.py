"""The leak gap: one experiment under splits that leak, leak less and do not leak."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hypercover.experiment.config.experiment_file import as_experiment, parse
from hypercover.experiment.config.schema import BlocksSpec, CNNSpec, Experiment, gap_splits
from hypercover.experiment.run import run_experiment
from hypercover.jobs.runner import Event

_USUAL = 9
"""Window of the splits if every model looks at single pixels."""


def leak_gap_experiment(
    experiment: Experiment,
    *,
    size: int | None = None,
    train: float | None = None,
    repeats: int | None = None,
) -> Experiment:
    """Put the models of an experiment under random, centre-free and overlap-free splits.

    The same network is nearly perfect on random pixels and far worse on unseen land; both
    figures are needed to see what the usual protocol hides (Nalepa et al. 2019).

    Scene, models, features and seeds stay.  Maps are those of the compared models, and
    pixels are set aside for validation only if a network uses them to stop early.  With
    the largest window w of the models, 9 if all look at single pixels, the splits are
    blocks with a guard of w − 1 pixels (``main``), the same blocks with a guard of w // 2
    (``centre-free``), and random pixels, all with the same share of training pixels.

    Parameters
    ----------
    experiment : what to run; its own splits are replaced
    size : side of a block in pixels; that of the experiment's blocks, or 15
    train : share that trains; that of the experiment's split, or 0.25
    repeats : seeds; as many as the experiment's

    Raises
    ------
    ExperimentError
        If the size, the share or the repeats cannot be.
    """
    window = experiment.window if experiment.window > 1 else _USUAL
    changes = {"size": size, "train": train}
    split = _blocks(experiment) | {
        k: value for k, value in changes.items() if value is not None
    }
    # Validated like a file, as the changes come from the user.
    document = experiment.model_dump() | {
        "name": experiment.name if experiment.gap else f"{experiment.name[:60]}-gap",
        "split": split | {"kind": "blocks", "guard": window - 1},
        "beside": {},
        "learning_curve": [],
        "gap": False,
        "map": experiment.map is not False,
        "map_from": "split",
        "repeats": experiment.repeats if repeats is None else repeats,
    }
    compared = parse(document, Path.cwd(), title=f"The leak gap of {experiment.name}")
    beside = gap_splits(cast(BlocksSpec, compared.split), window - 1)
    return compared.model_copy(update={"beside": beside, "gap": True})


def _blocks(experiment: Experiment) -> dict[str, Any]:
    """Return the block size and training share of an experiment.

    Validation pixels are set aside only for networks that stop early by them: in
    blocks the guard around them costs training pixels, among random pixels it does not.
    """
    spec = experiment.split
    patient = any(
        isinstance(model, CNNSpec) and (model.recipe or {}).get("patience")
        for model in experiment.models.values()
    )
    settings: dict[str, Any] = {"validation": spec.validation if patient else 0.0}
    if isinstance(spec, BlocksSpec):
        settings["size"] = spec.size
    share = getattr(spec, "train", None)
    # Masks name a file there, random splits a share or a number of pixels.
    if isinstance(share, float) and share < 1:
        settings["train"] = share
    return settings


def leak_gap(
    experiment: Experiment | str | Path,
    folder: str | Path,
    *,
    size: int | None = None,
    train: float | None = None,
    repeats: int | None = None,
    workers: int | None = None,
    progress: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Measure the leak gap: the same models under three splits, in one run.

    An interrupted run resumes, and a finished one contains ``gap.csv``,
    ``figures/gap.png`` and a report.

    Parameters
    ----------
    experiment : an experiment, its file, or the name of a built-in one
    folder : folder of the run
    size, train, repeats : as `leak_gap_experiment` takes them
    workers, progress : as `run_experiment` takes them

    Returns
    -------
    the key ``gap`` of ``metrics.json``: ``window``, and ``rows`` with ``model``,
    ``split``, ``train_count``, ``test_count``, ``centre_in_window``,
    ``window_overlap``, ``overall_accuracy``, ``spread`` (standard deviation over
    the seeds) and ``fall`` (accuracy under random pixels less that of the row);
    shares from 0 to 1, counts and shares in the mean over the seeds

    Raises
    ------
    HypercoverError
        What `load_experiment` and `run_experiment` raise.

    Examples
    --------
    >>> gap = leak_gap("fields.yaml", "runs/gap")  # doctest: +SKIP
    >>> [row["fall"] for row in gap["rows"]]  # doctest: +SKIP
    [0.0, 0.12, 0.19]
    """
    compared = leak_gap_experiment(
        as_experiment(experiment), size=size, train=train, repeats=repeats
    )
    metrics = run_experiment(compared, folder, workers=workers, progress=progress)
    gap: dict[str, Any] = metrics["gap"]
    return gap
