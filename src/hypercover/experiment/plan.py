"""From an experiment to the plan of its tasks."""

from hypercover.experiment.features import used_features
from hypercover.experiment.schema import (
    CNNSpec,
    Experiment,
    ModelSpec,
    SearchSpec,
    SVMSpec,
)
from hypercover.experiment.stages import fingerprint
from hypercover.experiment.task_kinds import REGISTRY
from hypercover.jobs.plan import Plan, Task

__all__ = ["features_task", "make_plan", "name_of", "training_tasks"]

_HEAVY = 10.0
"""Weight of training a network, where training an SVM has 1."""


def name_of(split: str, seed: int, model: str = "") -> str:
    """Name the task that makes a split, or that trains a model on it."""
    return f"train-{split}-{seed}-{model}" if model else f"split-{split}-{seed}"


def features_task(spec: ModelSpec) -> tuple[str, ...]:
    """Name the task that computes the features a model needs; nothing where it needs none."""
    return () if spec.features is None else (f"features-{spec.features}",)


def make_plan(experiment: Experiment) -> Plan:
    """Expand an experiment into tasks that can be done in any process.

    Order: draw the scene, make the splits and compute the image features; train and evaluate each model on
    each split with each seed, and fold; reduce to ``metrics.json``; check the classes;
    map; keep what the page shows; report.
    """
    features, trials = _features(experiment), _trials(experiment)
    splits = _splits(experiment)
    look = Task("scene", "draw_scene", weight=0.5, key=fingerprint(experiment))
    whole = fingerprint(experiment, experiment)
    reduce = Task(
        "reduce",
        "reduce_run",
        needs=tuple(task.name for task in (look, *splits, *trials)),
        weight=0.2,
        key=whole,
    )
    classes = Task(
        "classes",
        "check_classes",
        needs=("reduce",),
        weight=0.5,
    )
    maps = _maps(experiment)
    view = Task(
        "view",
        "keep_view",
        needs=tuple(
            name_of(split, experiment.seed) for split in ("main", *experiment.beside)
        ),
        weight=0.3,
        key=fingerprint(experiment),
    )
    report = Task(
        "report",
        "report_run",
        needs=("reduce", "classes", "view", *(task.name for task in maps)),
        weight=0.5,
        key=whole,
    )
    tasks = (look, *splits, *features, *trials, reduce, classes, *maps, view, report)
    return Plan(tasks, REGISTRY)


def training_tasks(experiment: Experiment) -> tuple[str, ...]:
    """Name the tasks that train a network."""
    nets = [name for name, spec in experiment.models.items() if isinstance(spec, CNNSpec)]
    return tuple(
        name_of(split, seed, model) for split, seed in experiment.trials for model in nets
    )


def _splits(experiment: Experiment) -> tuple[Task, ...]:
    return tuple(
        Task(
            name_of(split, seed),
            "make_split",
            {"split": split, "seed": seed},
            weight=0.3,
            key=fingerprint(
                experiment,
                experiment.splits[split],
                experiment.window,
                seed == experiment.seed,
                experiment.origin(split, seed),
            ),
        )
        for split, seed in experiment.trials
    )


def _features(experiment: Experiment) -> tuple[Task, ...]:
    """Compute each chain that a model uses once, whatever the splits and the repeats."""
    return tuple(
        Task(
            f"features-{name}",
            "make_features",
            {"name": name},
            weight=1.0,
            key=fingerprint(experiment, experiment.features[name], experiment.seed),
        )
        for name in used_features(experiment)
    )


def _trials(experiment: Experiment) -> tuple[Task, ...]:
    return tuple(
        Task(
            name_of(split, seed, model),
            "train",
            {"model": model, "split": split, "seed": seed},
            needs=(name_of(split, seed), *features_task(spec)),
            weight=_HEAVY if isinstance(spec, CNNSpec) else 1.0,
            key=fingerprint(
                experiment, spec, experiment.device, *_others(experiment, spec)
            ),
        )
        for split, seed in experiment.trials
        for model, spec in experiment.models.items()
    )


def _others(experiment: Experiment, spec: ModelSpec) -> tuple[SearchSpec | int, ...]:
    """Return what else a model depends on: the grid of its C or gamma, its processes."""
    if isinstance(spec, SVMSpec) and spec.searched:
        return (experiment.search,)
    several = isinstance(spec, CNNSpec) and experiment.processes > 1
    return (experiment.processes,) if several else ()


def _maps(experiment: Experiment) -> tuple[Task, ...]:
    if experiment.map is False:
        return ()
    return tuple(
        Task(
            f"map-{model}",
            "draw_map",
            {"model": model, "only_best": experiment.map == "best"},
            needs=(
                name_of("main", experiment.seed),
                name_of("main", experiment.seed, model),
                *features_task(spec),
                *(["reduce"] if experiment.map == "best" else []),
            ),
            weight=1.0,
            key=fingerprint(experiment, experiment.clean),
        )
        for model, spec in experiment.models.items()
    )
