"""The plan of an experiment: its tasks and their order."""

from collections.abc import Iterator, Sequence

from hypercover.experiment.config.builders import fingerprint
from hypercover.experiment.config.schema import (
    ALL,
    CNNSpec,
    Experiment,
    ModelSpec,
    SearchSpec,
    SVMSpec,
)
from hypercover.experiment.tasks.feature_tasks import used_features
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.plan import Plan, Task
from hypercover.scene.inputs import known_inputs

FIRST_REDUCE, FIRST_REPORT = "reduce-first", "report-first"
"""Tasks that reduce and report the results of quick models, before networks train."""
_HEAVY = 10.0
"""Weight of training a network; training an SVM has 1."""


def task_name(split: str, seed: int, model: str = "") -> str:
    """Name the task that makes a split or, with a model, trains it on that split."""
    return f"train-{split}-{seed}-{model}" if model else f"split-{split}-{seed}"


def best_model_task(experiment: Experiment, model: str) -> str:
    """Name the task that finds the best model of the stage of a model."""
    return FIRST_REDUCE if model in experiment.quick else "reduce"


def feature_needs(spec: ModelSpec) -> tuple[str, ...]:
    """Name the task that computes the features of a model; empty if it has none."""
    return () if spec.features is None else (f"features-{spec.features}",)


def make_plan(experiment: Experiment) -> Plan:
    """Expand an experiment into tasks that can be done in any process.

    Order: draw the scene, make the splits and compute the image features; train and evaluate
    each model on each split with each seed and fold; reduce to ``metrics.json``; check the
    classes; train the models that map on all labelled pixels; map; report.  If some models
    are networks, the others go through these stages first, so that their map and report do
    not wait for hours of training.
    """
    with known_inputs():
        return _planned(experiment)


def _planned(experiment: Experiment) -> Plan:
    quick = experiment.quick
    slow = tuple(name for name in experiment.models if name not in quick)
    tasks = [_scene(experiment), *_splits(experiment), *_features(experiment)]
    tasks.append(_view(experiment))
    if quick:
        tasks += _stage(experiment, quick, first=True)
    tasks += _stage(experiment, slow, first=False)
    return Plan(tuple(tasks), REGISTRY)


def _stage(experiment: Experiment, models: Sequence[str], *, first: bool) -> Iterator[Task]:
    """Evaluate, map and report some models: the quick ones first, or the rest."""
    reduced, reported = (FIRST_REDUCE, FIRST_REPORT) if first else ("reduce", "report")
    arguments = {"models": list(models)} if first else {}
    # The second stage reduces the quick models too.
    every = models if first else tuple(experiment.models)
    results = [
        task_name(split, seed, model)
        for split, seed in experiment.trials
        for model in ("", *every)
    ]
    before = [FIRST_REDUCE] if experiment.quick and not first else []
    key = fingerprint(experiment, experiment, models)
    yield from _trials(experiment, models)
    yield Task(
        reduced,
        "reduce_run",
        arguments,
        needs=("scene", *results, *before),
        weight=0.2,
        key=key,
    )
    if not first:
        yield Task("classes", "check_classes", needs=("reduce",), weight=0.5)
    maps = _maps(experiment, models, reduced)
    yield from _refits(experiment, models, reduced)
    yield from maps
    drawn = [task.name for task in maps]
    if not first:
        drawn += ["classes", *([FIRST_REPORT] if experiment.quick else [])]
    yield Task(
        reported,
        "report_run",
        {"first": True} if first else {},
        needs=(reduced, "view", *drawn),
        weight=0.5,
        key=key,
    )


def _scene(experiment: Experiment) -> Task:
    return Task("scene", "draw_scene", weight=0.5, key=fingerprint(experiment))


def _view(experiment: Experiment) -> Task:
    return Task(
        "view",
        "keep_view",
        needs=tuple(
            task_name(split, experiment.seed) for split in ("main", *experiment.beside)
        ),
        weight=0.3,
        key=fingerprint(experiment),
    )


def network_tasks(experiment: Experiment) -> tuple[str, ...]:
    """Name the tasks that train a network."""
    nets = [name for name, spec in experiment.models.items() if isinstance(spec, CNNSpec)]
    again = [(ALL, experiment.seed)] if experiment.refits else []
    return tuple(
        task_name(split, seed, model)
        for split, seed in (*experiment.trials, *again)
        for model in nets
    )


def _splits(experiment: Experiment) -> tuple[Task, ...]:
    return tuple(
        Task(
            task_name(split, seed),
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
    """Compute each chain that a model uses once for all splits and repeats."""
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


def _trials(experiment: Experiment, models: Sequence[str]) -> tuple[Task, ...]:
    # Computed once per model, as there may be thousands of draws.
    keys = {
        model: fingerprint(experiment, spec, experiment.device, *_others(experiment, spec))
        for model, spec in experiment.models.items()
        if model in models
    }
    return tuple(
        Task(
            task_name(split, seed, model),
            "train",
            {"model": model, "split": split, "seed": seed},
            needs=(task_name(split, seed), *feature_needs(spec)),
            weight=_HEAVY if isinstance(spec, CNNSpec) else 1.0,
            key=keys[model],
        )
        for split, seed in experiment.trials
        for model, spec in experiment.models.items()
        if model in models
    )


def _refits(
    experiment: Experiment, models: Sequence[str], reduced: str
) -> tuple[Task, ...]:
    """Train each model that maps on all labelled pixels, after its evaluation."""
    if not experiment.refits:
        return ()
    return tuple(
        Task(
            task_name(ALL, experiment.seed, model),
            "refit",
            {"model": model, "split": ALL, "seed": experiment.seed},
            needs=(
                task_name("main", experiment.seed, model),
                *feature_needs(spec),
                *([reduced] if experiment.map == "best" else []),
            ),
            weight=_HEAVY if isinstance(spec, CNNSpec) else 1.0,
            key=fingerprint(
                experiment, spec, experiment.device, *_others(experiment, spec)
            ),
        )
        for model, spec in experiment.models.items()
        if model in models
    )


def _others(experiment: Experiment, spec: ModelSpec) -> tuple[SearchSpec | int, ...]:
    """Return what else a model depends on: its grid search, or number of processes."""
    if isinstance(spec, SVMSpec) and spec.searched:
        return (experiment.search,)
    several = isinstance(spec, CNNSpec) and experiment.processes > 1
    return (experiment.processes,) if several else ()


def _checked(experiment: Experiment, model: str) -> list[str]:
    """Name the tasks that a map needs if its model trains on all labels."""
    if not experiment.refits:
        return []
    folds = experiment.draws("main")[1 : experiment.split.draws]
    return [
        task_name(ALL, experiment.seed, model),
        *(task_name("main", draw, model) for draw in folds),
    ]


def _maps(experiment: Experiment, models: Sequence[str], reduced: str) -> tuple[Task, ...]:
    if experiment.map is False:
        return ()
    return tuple(
        Task(
            f"map-{model}",
            "draw_map",
            {"model": model, "best_of": reduced if experiment.map == "best" else None},
            needs=(
                task_name("main", experiment.seed),
                task_name("main", experiment.seed, model),
                *_checked(experiment, model),
                *feature_needs(spec),
                *([reduced] if experiment.map == "best" else []),
            ),
            weight=1.0,
            key=fingerprint(experiment, experiment.clean, experiment.map_from),
        )
        for model, spec in experiment.models.items()
        if model in models
    )
