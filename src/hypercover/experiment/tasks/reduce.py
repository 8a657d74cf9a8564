"""The last tasks of a run: joining all results into ``metrics.json``, and the report."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import fmean
from typing import Any, cast

from hypercover.evaluation.evaluate import Evaluation, confusion_csv
from hypercover.evaluation.run_metrics import (
    GapRow,
    LeakGap,
    LegendRow,
    MapTraining,
    MissingClass,
    ModelMetrics,
    PartCount,
    RunMetrics,
    SceneMetrics,
    SplitMetrics,
    SplitResults,
)
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import BlocksSpec, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.results.summary import (
    average_seeds,
    best_model,
    calibration_notes,
    combine_folds,
    draw_calibration,
    draw_learning_curve,
    load_predictions,
    model_interval,
    never_predicted_notes,
    pool_splits,
    pooled_abstention,
    title_suffix,
)
from hypercover.experiment.tasks.experiment_plan import task_name
from hypercover.experiment.tasks.feature_tasks import used_features
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import (
    add_written,
    csv_text,
    discard_written,
    write_checksummed,
    write_text,
)
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles, result_of, task_record
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import labelled_name
from hypercover.splits.audit import audit
from hypercover.splits.split import Split

_GAP_SPLITS = {"random": "random", "centre-free": "centre-free", "overlap-free": "main"}
"""Names of the splits of a leak gap, and of the same splits in the experiment."""

_PACKAGES = ("hypercover", "numpy", "scipy", "scikit-learn", "torch", "rasterio", "xarray")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": python_version()} | {name: version(name) for name in _PACKAGES}


def reduce_run(folder: Path, *, models: Sequence[str] | None = None) -> dict[str, Any]:
    """Join the results of all splits, seeds and models into ``metrics.json``.

    ``models`` restricts it to some models, for a first report before all are trained.
    """
    run = RunFolder(folder)
    experiment = load_experiment(run.experiment)
    if models is not None:
        experiment.check_names(models=models)
        # The metrics of all models must be computed after these.
        TaskFiles(folder, "reduce").result.unlink(missing_ok=True)
        some = {name: spec for name, spec in experiment.models.items() if name in models}
        experiment = experiment.model_copy(update={"models": some})
    metrics = _join_results(run, experiment)
    write_checksummed(run.metrics, metrics.to_json())
    _write_confusion(run, metrics)
    _write_curves(run, experiment)
    _draw(run, metrics)
    # The report shows the experiment file next to the results.
    add_written(run.experiment)
    if models is not None:
        # Only valid until the metrics of all models replace them.
        discard_written()
    return {"best": metrics.best}


def _join_results(run: RunFolder, experiment: Experiment) -> RunMetrics:
    folder = run.path
    scene = dict(result_of(folder, "scene"))
    legend = [LegendRow.model_validate(row) for row in scene.pop("legend")]
    main = _split_results(folder, experiment, "main")
    metrics = RunMetrics(
        name=experiment.name,
        seed=experiment.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=dict(versions()),
        scene=SceneMetrics.model_validate(scene),
        legend=legend,
        split=main.split,
        models=main.models,
        notes=[
            *experiment.notes,
            *_feature_notes(folder, experiment),
            *calibration_notes(main),
            *never_predicted_notes(main),
        ],
        best=best_model(main.models),
        beside={
            name: _split_results(folder, experiment, name) for name in experiment.beside
        },
    )
    shares = {
        name: _split_results(folder, experiment, name) for name in experiment.curve_splits
    }
    optional = {
        "map": _map_training(folder, experiment, metrics),
        "gap": draw_leak_gap(run, experiment, metrics),
        "curve": draw_learning_curve(run, experiment, shares, metrics.scene),
        "learning_curve": shares,
    }
    return metrics.model_copy(update={key: part for key, part in optional.items() if part})


def _split_results(folder: Path, experiment: Experiment, split: str) -> SplitResults:
    """Join the results under one split: its folds, and all seeds of its models."""
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    splits = [
        SplitMetrics.model_validate(result_of(folder, task_name(split, draw)))
        for draw in draws[:folds]
    ]
    models = {
        model: _model_metrics(folder, experiment, split, model, splits[0])
        for model in experiment.models
    }
    joined = splits[0] if folds == 1 else pool_splits(splits, refits=experiment.refits)
    return SplitResults(split=joined, models=models)


def _model_metrics(
    folder: Path, experiment: Experiment, split: str, model: str, made: SplitMetrics
) -> ModelMetrics:
    """Join the results of a model on all draws of a split, and add its intervals."""
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    results = [
        ModelMetrics.model_validate(
            result_of(folder, task_name(split, draw, model))["model"]
        )
        for draw in draws
    ]
    seeds = [draws[start : start + folds] for start in range(0, len(draws), folds)]
    predictions = load_predictions(RunFolder(folder), model, split=split, seeds=seeds)
    if folds == 1:
        joined = average_seeds(results, draws)
    else:
        joined = combine_folds(results, draws, folds)
    changes: dict[str, Any] = {}
    if folds > 1 and joined.calibration is not None:
        abstention = pooled_abstention(predictions)
        changes["calibration"] = joined.calibration.model_copy(
            update={"abstention": abstention}
        )
    codes = [score.code for score in joined.per_class]
    changes["interval"] = model_interval(predictions, split=made, codes=codes)
    return joined.model_copy(update=changes)


def _map_training(
    folder: Path, experiment: Experiment, metrics: RunMetrics
) -> MapTraining | None:
    """Return which pixels the mapping models are trained on; None if nothing is mapped."""
    if experiment.map is False:
        return None
    pixels, per_class = metrics.scene.labelled.pixels, metrics.scene.labelled.per_class
    if not experiment.refits:
        made = result_of(folder, task_name("main", experiment.seed))["train"]
        train = PartCount.model_validate(made)
        pixels = int(train.count)
        per_class = {code: int(count) for code, count in train.per_class.items()}
    return MapTraining(
        source="all" if experiment.split.kind == "none" else experiment.map_from,
        again=experiment.refits,
        pixels=pixels,
        per_class=per_class,
        missing=[
            MissingClass(code=row.code, name=row.name)
            for row in metrics.legend
            if not per_class.get(row.code)
        ],
    )


def _feature_notes(folder: Path, experiment: Experiment) -> list[str]:
    """List the notes of the image features, each once."""
    notes = [
        note
        for name in used_features(experiment)
        for note in result_of(folder, f"features-{name}")["notes"]
    ]
    return list(dict.fromkeys(notes))


def draw_leak_gap(
    run: RunFolder, experiment: Experiment, metrics: RunMetrics
) -> LeakGap | None:
    """Write the table and the figure of a leak gap, or remove those of an earlier one."""
    figure = run.figure("gap")
    if not experiment.gap:
        for stale in (run.gap, figure):
            stale.unlink(missing_ok=True)
        return None
    from hypercover.figures.accuracy_curves import draw_gap
    from hypercover.figures.canvas import save_figure

    gap = leak_gap_rows(run, experiment, metrics)
    rows = [row.to_json() for row in gap.rows]
    write_text(run.gap, csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    title = labelled_name(metrics.scene.name, metrics.scene.model_dump())
    drawn = draw_gap(rows, window=gap.window, title=title, repeats=experiment.repeats)
    save_figure(drawn, figure)
    return gap


def leak_gap_rows(run: RunFolder, experiment: Experiment, metrics: RunMetrics) -> LeakGap:
    """Compare each model under the three splits of a leak gap.

    The window is the one that the guard of the main split was made for.
    """
    window = int(cast(BlocksSpec, experiment.split).guard) + 1
    parts: dict[str, SplitResults] = {"main": metrics, **metrics.beside}
    leaks = {
        name: _mean_leaks(run, experiment, split, window)
        for name, split in _GAP_SPLITS.items()
    }
    rows = []
    for model in experiment.models:
        random = parts["random"].models[model].overall_accuracy or 0.0
        for name, split in _GAP_SPLITS.items():
            scores = parts[split].models[model]
            row = GapRow(
                model=model,
                split=name,
                **leaks[name],
                overall_accuracy=scores.overall_accuracy,
                spread=scores.spread_of("overall_accuracy"),
                fall=random - (scores.overall_accuracy or 0.0),
            )
            rows.append(row)
    return LeakGap(window=window, rows=rows)


def _mean_leaks(
    run: RunFolder, experiment: Experiment, split: str, window: int
) -> dict[str, float]:
    """Average over the seeds the pixels of a split, and what a window lets leak."""
    repeats = range(experiment.repeats)
    splits = [Split.load(*run.split(split, repeat)) for repeat in repeats]
    leaks = [audit(one, window) for one in splits]
    return {
        "train_count": fmean(one.count("train") for one in splits),
        "test_count": fmean(one.count("test") for one in splits),
        "centre_in_window": fmean(leak.centre_in_window or 0.0 for leak in leaks),
        "window_overlap": fmean(leak.window_overlap or 0.0 for leak in leaks),
    }


def _write_confusion(run: RunFolder, metrics: RunMetrics) -> None:
    suffix = title_suffix(metrics.scene)
    evaluations = {
        f"{name}{suffix}": Evaluation.from_metrics(model)
        for name, model in metrics.models.items()
    }
    write_text(run.confusion, confusion_csv(evaluations))


def _write_curves(run: RunFolder, experiment: Experiment) -> None:
    """Write the training curves of all networks as JSON lines."""
    rows = [
        {"model": model, "split": split, "seed": seed, **row}
        for split, seed in experiment.trials
        for model in experiment.models
        for row in result_of(run.path, task_name(split, seed, model))["curve"]
    ]
    write_text(run.log, "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows))


def _draw(run: RunFolder, metrics: RunMetrics) -> None:
    """Draw confusion, training and calibration of the models under the main split."""
    from hypercover.figures.accuracy_charts import draw_confusion
    from hypercover.figures.accuracy_curves import draw_training
    from hypercover.figures.canvas import save_figure

    rows = [json.loads(line) for line in run.log.read_text().splitlines()]
    suffix = title_suffix(metrics.scene)
    legend = Legend.from_json([row.to_json() for row in metrics.legend])
    for name, model in metrics.models.items():
        title = f"{name}{suffix}"
        figure = draw_confusion(
            model.confusion.matrix, legend, title, codes=model.confusion.codes
        )
        save_figure(figure, run.figure(f"confusion-{name}"))
        curve = [row for row in rows if (row["model"], row["split"]) == (name, "main")]
        if curve:
            save_figure(draw_training(curve, title), run.figure(f"training-{name}"))
    draw_calibration(run, metrics.models, suffix)


def report_run(folder: Path, *, first: bool = False) -> dict[str, Any]:
    """Write ``stages.csv`` and ``report.html`` from the files of the run folder.

    A first report shows the quick models; a later task replaces it.
    """
    from hypercover.report.report import write_report

    write_text(RunFolder(folder).stages, _stages_csv(folder))
    report = write_report(folder)
    if first:
        discard_written()
    return {"report": report.name}


def _stages_csv(folder: Path) -> str:
    """Return the seconds of each finished task and its share of the sum, as CSV."""
    plan = Plan.load(folder, REGISTRY)
    records = {task.name: task_record(plan, folder, task.name) for task in plan.tasks}
    seconds = {
        name: record.seconds
        for name, record in records.items()
        if record is not None and name != "report"
    }
    total = sum(seconds.values()) or 1.0
    rows = ((name, f"{took:.3f}", f"{took / total:.4f}") for name, took in seconds.items())
    return csv_text([("task", "seconds", "share"), *rows])
