"""The plan of an experiment: its tasks and their order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypercover.experiment.config import schema
from hypercover.experiment.config.builders import fingerprint
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.plan import Plan, Task
from hypercover.scene.file_identity import file_record

FIRST_RESULTS, FIRST_REPORT = "reduce-first", "report-first"
"""Tasks that collect and report the results of quick models, before networks train."""
_HEAVY = 10.0
"""Weight of training a network; training an SVM has 1."""


def task_name(split: str, seed: int, model: str = "") -> str:
    """Name the task that makes a split or, with a model, trains it on that split."""
    return f"train-{split}-{seed}-{model}" if model else f"split-{split}-{seed}"


def best_model_task(experiment: schema.Experiment, model: str) -> str:
    """Name the task that finds the best model of the stage of a model."""
    return FIRST_RESULTS if model in experiment.quick else "reduce"


def feature_needs(spec: schema.ModelSpec) -> tuple[str, ...]:
    """Name the task that computes the features of a model; empty if it has none."""
    return () if spec.features is None else (f"features-{spec.features}",)


def make_plan(experiment: schema.Experiment) -> Plan:
    """Expand an experiment into tasks that can be done in any process.

    Order: draw the scene, make the splits and compute the image features; train and evaluate
    each model on each split with each seed and fold; collect the results in
    ``metrics.json``; check the classes; train the models that map on all labelled pixels;
    map; report.  If some models are networks, the others go through these stages first, so
    that their map and report do not wait for hours of training.
    """
    with file_record():
        return Plan(tuple(_tasks(experiment)), REGISTRY)


def _tasks(experiment: schema.Experiment) -> Iterator[Task]:
    scene, seed, quick = fingerprint(experiment), experiment.seed, experiment.quick
    yield Task("scene", "draw_scene", weight=0.5, key=scene)
    for split, draw in experiment.trials:
        spec, origin = experiment.splits[split], experiment.origin(split, draw)
        key = fingerprint(experiment, spec, experiment.window, draw == seed, origin)
        arguments = {"split": split, "seed": draw}
        yield Task(task_name(split, draw), "make_split", arguments, weight=0.3, key=key)
    for name in experiment.used_features:
        key = fingerprint(experiment, experiment.features[name], seed)
        yield Task(f"features-{name}", "make_features", {"name": name}, key=key)
    splits = tuple(task_name(split, seed) for split in ("main", *experiment.beside))
    yield Task("view", "keep_view", needs=splits, weight=0.3, key=scene)
    if quick:
        yield from _stage(experiment, quick, first=True)
    slow = [name for name in experiment.models if name not in quick]
    yield from _stage(experiment, slow, first=False)


def _stage(
    experiment: schema.Experiment, models: Sequence[str], *, first: bool
) -> Iterator[Task]:
    """Evaluate, map and report some models: the quick ones first, or the rest."""
    collect, report = (FIRST_RESULTS, FIRST_REPORT) if first else ("reduce", "report")
    specs = {name: spec for name, spec in experiment.models.items() if name in models}
    # The second stage collects the results of the quick models too.
    every = models if first else tuple(experiment.models)
    results = [
        task_name(split, seed, model)
        for split, seed in experiment.trials
        for model in ("", *every)
    ]
    before = [FIRST_RESULTS] if experiment.quick and not first else []
    key = fingerprint(experiment, experiment, models)
    yield from _trainings(experiment, specs)
    yield Task(
        collect,
        "reduce_run",
        {"models": list(models)} if first else {},
        needs=("scene", *results, *before),
        weight=0.2,
        key=key,
    )
    drawn = []
    if not first:
        yield Task("classes", "check_classes", needs=("reduce",), weight=0.5)
        drawn = ["classes", *([FIRST_REPORT] if experiment.quick else [])]
    # With ``map: best`` it takes the metrics to know which model maps.
    metrics = (collect,) if experiment.map == "best" else ()
    yield from _refits(experiment, specs, metrics)
    maps = list(_maps(experiment, specs, metrics))
    yield from maps
    yield Task(
        report,
        "report_run",
        {"first": True} if first else {},
        needs=(collect, "view", *(task.name for task in maps), *drawn),
        weight=0.5,
        key=key,
    )


def network_tasks(experiment: schema.Experiment) -> tuple[str, ...]:
    """Name the tasks that train a network."""
    nets = [
        name for name, spec in experiment.models.items() if isinstance(spec, schema.CNNSpec)
    ]
    again = [(schema.ALL, experiment.seed)] if experiment.refits else []
    return tuple(
        task_name(split, seed, model)
        for split, seed in (*experiment.trials, *again)
        for model in nets
    )


def _weight_and_key(
    experiment: schema.Experiment, spec: schema.ModelSpec
) -> dict[str, Any]:
    """Return the weight of training a model, and a hash of what it depends on."""
    others: list[schema.SearchSpec | int] = []
    if isinstance(spec, schema.SVMSpec) and spec.searched:
        others.append(experiment.search)
    if isinstance(spec, schema.CNNSpec) and experiment.processes > 1:
        others.append(experiment.processes)
    return {
        "weight": _HEAVY if isinstance(spec, schema.CNNSpec) else 1.0,
        "key": fingerprint(experiment, spec, experiment.device, *others),
    }


def _trainings(
    experiment: schema.Experiment, specs: Mapping[str, schema.ModelSpec]
) -> Iterator[Task]:
    # Computed once per model, as there may be thousands of draws.
    options = {model: _weight_and_key(experiment, spec) for model, spec in specs.items()}
    for split, seed in experiment.trials:
        for model, spec in specs.items():
            yield Task(
                task_name(split, seed, model),
                "train",
                {"model": model, "split": split, "seed": seed},
                needs=(task_name(split, seed), *feature_needs(spec)),
                **options[model],
            )


def _refits(
    experiment: schema.Experiment,
    specs: Mapping[str, schema.ModelSpec],
    metrics: tuple[str, ...],
) -> Iterator[Task]:
    """Train each model that maps on all labelled pixels, after its evaluation."""
    seed = experiment.seed
    for model, spec in specs.items() if experiment.refits else ():
        yield Task(
            task_name(schema.ALL, seed, model),
            "refit",
            {"model": model, "split": schema.ALL, "seed": seed},
            needs=(task_name("main", seed, model), *feature_needs(spec), *metrics),
            **_weight_and_key(experiment, spec),
        )


def _maps(
    experiment: schema.Experiment,
    specs: Mapping[str, schema.ModelSpec],
    metrics: tuple[str, ...],
) -> Iterator[Task]:
    if experiment.map is False:
        return
    seed, refits = experiment.seed, experiment.refits
    trainings = [("main", seed)]
    if refits:
        folds = experiment.draws("main")[1 : experiment.split.draws]
        trainings += [(schema.ALL, seed), *(("main", draw) for draw in folds)]
    key = fingerprint(experiment, experiment.clean, experiment.map_from)
    for model, spec in specs.items():
        trained = [task_name(split, draw, model) for split, draw in trainings]
        yield Task(
            f"map-{model}",
            "draw_map",
            {"model": model, "best_of": metrics[0] if metrics else None},
            needs=(task_name("main", seed), *trained, *feature_needs(spec), *metrics),
            key=key,
        )
