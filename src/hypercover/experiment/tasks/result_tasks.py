"""The tasks of a run after its trainings: ``metrics.json``, class checks, maps and report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np

from hypercover import files
from hypercover.classifiers.bundle import load_bundle
from hypercover.evaluation import run_metrics
from hypercover.evaluation.evaluate import Evaluation, confusion_csv, most_confused
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.config.builders import trusted_packages
from hypercover.experiment.config.schema import ALL, BlocksSpec, Experiment
from hypercover.experiment.results import summary
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import task_name
from hypercover.experiment.tasks.run_context import RunContext, versions
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.experiment.tasks.trial import predict_samples
from hypercover.figures import accuracy_figures, map_figures
from hypercover.figures.spectra import draw_confused
from hypercover.gis import map_writing
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.stac import write_stac_item_of_map
from hypercover.gis.style import sidecar_paths
from hypercover.jobs.plan import Plan
from hypercover.jobs.task_files import TaskFiles, result_of, task_record
from hypercover.prediction.scene_prediction import (
    has_probabilities,
    predict_scene,
)
from hypercover.report.report import write_report
from hypercover.report.scene_view import ClassRanking, ModelView
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import labelled_name
from hypercover.scene.samples import Samples
from hypercover.splits.audit import audit
from hypercover.splits.split import Split
from hypercover.types import Bytes, Codes, Report, Singles

_GAP_SPLITS = {"random": "random", "centre-free": "centre-free", "overlap-free": "main"}
"""Names of the splits of a leak gap, and of the same splits in the experiment."""


def collect_results(folder: Path, *, models: Sequence[str] | None = None) -> dict[str, Any]:
    """Join the results of all splits, seeds and models into ``metrics.json``.

    ``models`` restricts it to some models, for a first report before all are trained.
    """
    context = RunContext.of(folder)
    run, experiment = context.folder, context.experiment
    if models is not None:
        experiment.check_names(models=models)
        # The metrics of all models must be computed after these.
        TaskFiles(folder, "reduce").result.unlink(missing_ok=True)
        some = {name: spec for name, spec in experiment.models.items() if name in models}
        experiment = experiment.model_copy(update={"models": some})
        context = replace(context, experiment=experiment)
    metrics = _join_results(context)
    files.write_checksummed(run.metrics, metrics.to_json())
    rows = [
        {"model": model, "split": split, "seed": seed, **row}
        for split, seed in experiment.trials
        for model in experiment.models
        for row in result_of(run.path, task_name(split, seed, model))["curve"]
    ]
    lines = (f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
    files.write_text(run.log, "".join(lines))
    _draw(run, metrics, rows)
    # The report shows the experiment file next to the results.
    files.add_written(run.experiment)
    if models is not None:
        # Only valid until the metrics of all models replace them.
        files.discard_written()
    return {"best": metrics.best}


def _join_results(context: RunContext) -> run_metrics.RunMetrics:
    run, experiment = context.folder, context.experiment
    scene = dict(result_of(run.path, "scene"))
    legend = [run_metrics.LegendRow.model_validate(row) for row in scene.pop("legend")]
    main = _split_results(context, "main")
    features = (f"features-{name}" for name in experiment.used_features)
    feature_notes = (
        note for task in features for note in result_of(run.path, task)["notes"]
    )
    notes = [
        *experiment.notes,
        *dict.fromkeys(feature_notes),
        *summary.calibration_notes(main),
        *summary.never_predicted_notes(main),
    ]
    metrics = run_metrics.RunMetrics(
        name=experiment.name,
        seed=experiment.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=dict(versions()),
        scene=run_metrics.SceneMetrics.model_validate(scene),
        legend=legend,
        split=main.split,
        models=main.models,
        notes=notes,
        best=summary.best_model(main.models),
        beside={name: _split_results(context, name) for name in experiment.beside},
    )
    shares = {name: _split_results(context, name) for name in experiment.curve_splits}
    optional = {
        "map": _map_training(context, metrics),
        "gap": draw_leak_gap(run, experiment, metrics),
        "curve": _draw_learning_curve(run, experiment, shares, metrics.scene),
        "learning_curve": shares,
    }
    return metrics.model_copy(update={key: part for key, part in optional.items() if part})


def _split_results(context: RunContext, split: str) -> run_metrics.SplitResults:
    """Join the results under one split: its folds, and all seeds of its models."""
    experiment, path = context.experiment, context.folder.path
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    splits = [
        run_metrics.SplitMetrics.model_validate(result_of(path, task_name(split, draw)))
        for draw in draws[:folds]
    ]
    models = {
        model: _model_metrics(context, split, model, splits[0])
        for model in experiment.models
    }
    joined = splits[0]
    if folds > 1:
        joined = summary.pool_splits(splits, refits=experiment.refits)
    return run_metrics.SplitResults(split=joined, models=models)


def _model_metrics(
    context: RunContext, split: str, model: str, parts: run_metrics.SplitMetrics
) -> run_metrics.ModelMetrics:
    """Join the results of a model on all draws of a split, and add its intervals."""
    run, experiment = context.folder, context.experiment
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    trainings = [result_of(run.path, task_name(split, draw, model)) for draw in draws]
    results = [
        run_metrics.ModelMetrics.model_validate(training["model"]) for training in trainings
    ]
    seeds = [draws[start : start + folds] for start in range(0, len(draws), folds)]
    predictions = summary.load_predictions(run, model, split=split, seeds=seeds)
    if folds == 1:
        joined = summary.average_seeds(results, draws)
    else:
        joined = summary.combine_folds(results, draws, folds)
    changes: dict[str, Any] = {}
    if folds > 1 and joined.calibration is not None:
        abstention = {"abstention": summary.pooled_abstention(predictions)}
        changes["calibration"] = joined.calibration.model_copy(update=abstention)
    codes = [score.code for score in joined.per_class]
    changes["interval"] = summary.model_interval(predictions, split=parts, codes=codes)
    return joined.model_copy(update=changes)


def _map_training(
    context: RunContext, metrics: run_metrics.RunMetrics
) -> run_metrics.MapTraining | None:
    """Return which pixels the mapping models are trained on; None if nothing is mapped."""
    experiment = context.experiment
    if experiment.map is False:
        return None
    pixels, per_class = metrics.scene.labelled.pixels, metrics.scene.labelled.per_class
    if not experiment.refits:
        split = result_of(context.folder.path, task_name("main", experiment.seed))
        train = run_metrics.PartCount.model_validate(split["train"])
        pixels = int(train.count)
        per_class = {code: int(count) for code, count in train.per_class.items()}
    return run_metrics.MapTraining(
        source="all" if experiment.split.kind == "none" else experiment.map_from,
        again=experiment.refits,
        pixels=pixels,
        per_class=per_class,
        missing=[
            run_metrics.ClassName(code=row.code, name=row.name)
            for row in metrics.legend
            if not per_class.get(row.code)
        ],
    )


def draw_leak_gap(
    run: RunFolder, experiment: Experiment, metrics: run_metrics.RunMetrics
) -> run_metrics.LeakGap | None:
    """Write the table and the figure of a leak gap, or remove those of an earlier one."""
    if not experiment.gap:
        run.gap.unlink(missing_ok=True)
        run.save_figure(None, "gap")
        return None
    gap = leak_gap_rows(run, experiment, metrics)
    rows = [row.to_json() for row in gap.rows]
    files.write_text(run.gap, files.csv_text([rows[0], *(row.values() for row in rows)]))
    title = labelled_name(metrics.scene.name, metrics.scene.model_dump())
    figure = accuracy_figures.draw_gap(
        rows, window=gap.window, title=title, repeats=experiment.repeats
    )
    run.save_figure(figure, "gap")
    return gap


def leak_gap_rows(
    run: RunFolder, experiment: Experiment, metrics: run_metrics.RunMetrics
) -> run_metrics.LeakGap:
    """Compare each model under the three splits of a leak gap.

    The window is the one that the guard of the main split was made for.
    """
    window = int(cast(BlocksSpec, experiment.split).guard) + 1
    results: dict[str, run_metrics.SplitResults] = {"main": metrics, **metrics.beside}
    leaks = {
        name: _mean_leaks(run, experiment, split, window)
        for name, split in _GAP_SPLITS.items()
    }
    rows = []
    for model in experiment.models:
        random = results["random"].models[model].overall_accuracy or 0.0
        for name, split in _GAP_SPLITS.items():
            scores = results[split].models[model]
            row = run_metrics.GapRow(
                model=model,
                split=name,
                **leaks[name],
                overall_accuracy=scores.overall_accuracy,
                spread=scores.spread_of("overall_accuracy"),
                fall=random - (scores.overall_accuracy or 0.0),
            )
            rows.append(row)
    return run_metrics.LeakGap(window=window, rows=rows)


def _mean_leaks(
    run: RunFolder, experiment: Experiment, split: str, window: int
) -> dict[str, float]:
    """Average over the seeds the pixels of a split, and what a window lets leak."""
    repeats = range(experiment.repeats)
    splits = [Split.load(*run.split(split, repeat)) for repeat in repeats]
    leaks = [audit(each, window) for each in splits]
    return {
        "train_count": fmean(each.count("train") for each in splits),
        "test_count": fmean(each.count("test") for each in splits),
        "centre_in_window": fmean(leak.centre_in_window or 0.0 for leak in leaks),
        "window_overlap": fmean(leak.window_overlap or 0.0 for leak in leaks),
    }


def _draw_learning_curve(
    run: RunFolder,
    experiment: Experiment,
    parts: Mapping[str, run_metrics.SplitResults],
    scene: run_metrics.SceneMetrics,
) -> run_metrics.LearningCurve | None:
    """Draw the learning curve of a run, or remove the figure of an earlier one.

    Parameters
    ----------
    parts : split and models of each share, by the name of its split
    """
    if not parts:
        run.save_figure(None, "curve")
        return None
    rows = []
    shares = sorted(zip(experiment.learning_curve, experiment.curve_splits, strict=True))
    for name, (share, split) in product(experiment.models, shares):
        model = parts[split].models[name]
        row = run_metrics.CurvePoint(
            model=name,
            train=share,
            overall_accuracy=model.overall_accuracy,
            spread=model.spread_of("overall_accuracy"),
            interval=model.interval.overall_accuracy if model.interval else None,
        )
        rows.append(row)
    title = labelled_name(scene.name, scene.model_dump())
    plain = [row.to_json() for row in rows]
    run.save_figure(accuracy_figures.draw_curve(plain, title=title), "curve")
    return run_metrics.LearningCurve(rows=rows)


def _draw(
    run: RunFolder, metrics: run_metrics.RunMetrics, rows: Sequence[dict[str, Any]]
) -> None:
    """Write confusion matrices, and draw them, training and calibration (main split)."""
    origin = metrics.scene.model_dump()
    legend = Legend.from_json([row.to_json() for row in metrics.legend])
    evaluations = {}
    for name, model in metrics.models.items():
        title, confusion = labelled_name(name, origin), model.confusion
        evaluations[title] = Evaluation.from_metrics(model)
        figure = accuracy_figures.draw_confusion(
            confusion.matrix, legend, title, codes=confusion.codes
        )
        run.save_figure(figure, f"confusion-{name}")
        curve = [row for row in rows if (row["model"], row["split"]) == (name, "main")]
        trained = accuracy_figures.draw_training(curve, title) if curve else None
        run.save_figure(trained, f"training-{name}")
        draw_calibration(run, name, model.calibration, title)
    files.write_text(run.confusion, confusion_csv(evaluations))


def draw_calibration(
    run: RunFolder,
    name: str,
    calibration: run_metrics.CalibrationMetrics | None,
    title: str,
) -> None:
    """Draw the reliability diagram and the abstention curve of a model.

    Those of a model that no longer gives a confidence are removed.
    """
    for kind, draw in (
        ("reliability", accuracy_figures.draw_reliability),
        ("abstention", accuracy_figures.draw_abstention),
    ):
        figure = draw(calibration.to_json(), title) if calibration else None
        run.save_figure(figure, f"{kind}-{name}")


def check_classes(folder: Path) -> dict[str, Any]:
    """Draw the per-class accuracies and the confused classes of each model.

    For the main split: accuracies as in the metrics, confused pixels over all seeds.
    """
    context = RunContext.of(folder)
    metrics = run_metrics.read_run_metrics(context.folder.path)
    confused = {}
    for name, model in metrics.models.items():
        figure = accuracy_figures.draw_classes(
            [score.to_json() for score in model.per_class],
            title=f"{context.title(name)}: how well each class is found",
            overall=model.overall_accuracy,
            interval=model.interval.to_json() if model.interval else None,
        )
        context.folder.save_figure(figure, f"classes-{name}")
        confused[name] = _draw_confused(context, name)
    return {"confused": confused}


def _draw_confused(context: RunContext, name: str) -> list[list[int]]:
    """Draw the classes that a model confuses most; return their codes, worst first."""
    run, seeds = context.folder, context.experiment.draws("main")
    pairs = most_confused(
        [Predictions.load(run.predictions("main", seed, name)) for seed in seeds]
    )
    figure = None
    if pairs:
        title = f"{context.title(name)}: the classes it confuses most"
        figure = draw_confused(context.scene, pairs, title=title)
    run.save_figure(figure, f"confused-{name}")
    return [[pair.first, pair.second] for pair in pairs]


def draw_map(
    folder: Path, *, model: str, best_of: str | None = None, report: Report
) -> dict[str, Any]:
    """Predict the whole scene with the saved model, and write and draw its maps.

    If ``best_of`` names a task and the model is not its best by validation pixels, no map
    is made, and that of an earlier run is removed.
    """
    if best_of is not None and result_of(folder, best_of)["best"] != model:
        for stale in RunFolder(Path(folder)).map_files(model):
            stale.unlink(missing_ok=True)
        return {"map": None}
    context = RunContext.of(folder, models=[model])
    run, scene, spec = context.folder, context.scene, context.experiment.models[model]
    bundle = _load_model(context, model, run.model(model))
    ranking = ClassRanking.of(scene.shape, bundle.classifier)
    prediction = predict_scene(
        bundle.classifier,
        context.model_scene(spec),
        on_probabilities=ranking.add,
        temperature=bundle.temperature,
        progress=lambda done, total: report(done / total, "predicting the scene"),
    )
    codes = prediction["labels"].values
    confidence = prediction["confidence"].values if "confidence" in prediction else None
    held_out, parts = _held_out_predictions(context, model, codes)
    check = map_writing.class_check(scene.usable_labels, held_out, parts.parts)
    _write_maps(context, model, (codes, confidence), check, parts)
    again = context.experiment.refits
    view = ModelView.of(
        codes,
        confidence,
        ranking,
        held=held_out if again else None,
        check=check if again else None,
        calibrated=bundle.temperature is not None or has_probabilities(bundle.classifier),
    )
    view.save(run.view(model))
    return {"map": str(run.map(model).relative_to(run.path))}


def _load_model(context: RunContext, model: str, path: Path) -> Any:
    """Load one of the bundles of a model."""
    trusted = trusted_packages(context.experiment.models[model])
    return load_bundle(path, device=context.experiment.device, trusted=trusted)


def _held_out_predictions(
    context: RunContext, model: str, codes: Codes
) -> tuple[Codes, Split]:
    """Return the predictions (y, x) to compare with the labels, and which pixels trained.

    A model that was trained on all labelled pixels has seen every label.  The class check
    shows predictions of the split's model or, under folds, of the fold that held a pixel
    out; elsewhere they are the map.
    """
    experiment, run = context.experiment, context.folder
    labels, held_out = context.scene.usable_labels, codes.copy()
    parts = context.load_split("main", experiment.seed)
    if not experiment.refits:
        return held_out, parts
    if experiment.split.draws > 1:
        tested = np.zeros(context.scene.shape, dtype=bool)
        for draw in experiment.draws("main")[: experiment.split.draws]:
            fold = Predictions.load(run.predictions("main", draw, model))
            held_out[fold.rows, fold.cols] = fold.predicted
            tested[fold.rows, fold.cols] = True
        return held_out, Split.from_parts(train=(labels > 0) & ~tested, test=tested)
    classifier = _load_model(context, model, run.split_model(model)).classifier
    spec, pixels = experiment.models[model], Samples.of(labels)
    predicted = predict_samples(classifier, context.model_scene(spec), pixels, spec.window)
    held_out[pixels.rows, pixels.cols] = predicted["labels"]
    return held_out, parts


def _write_maps(
    context: RunContext,
    model: str,
    prediction: tuple[Codes, Singles | None],
    check: Bytes,
    parts: Split,
) -> None:
    """Write and draw class map and confidence (y, x) of a prediction, and the class check.

    ``parts`` tells which pixels trained.
    """
    scene, run, title = context.scene, context.folder, context.title(model)
    codes, confidence = prediction
    legend, grid, origin = scene.legend, scene.grid, scene.origin
    map_writing.write_class_map(run.map(model), codes, legend, grid, **origin)
    trained = context.load_split(ALL, 0) if context.experiment.refits else parts
    made_by = {
        "model": model,
        "map_from": context.experiment.map_from,
        **context.count_training_pixels(trained),
    }
    write_stac_item_of_map(
        run.map(model),
        scene.header,
        legend=legend,
        grid=grid,
        origin=origin,
        made_by=made_by,
    )
    spec, clean = context.experiment.clean, run.map(model, "clean")
    if cleaning := Cleaning(spec.majority, spec.sieve):
        cleaned = cleaning.apply(codes)
        map_writing.write_class_map(clean, cleaned, legend, grid, **origin)
    else:
        for stale in (clean, *sidecar_paths(clean)):
            stale.unlink(missing_ok=True)
    run.save_figure(map_figures.draw_map(codes, legend, title), f"map-{model}")
    if confidence is not None:
        path = run.map(model, "confidence")
        map_writing.write_confidence(path, confidence, grid, **origin)
        figure = map_figures.draw_confidence(confidence, title)
        run.save_figure(figure, f"confidence-{model}")
    path = run.map(model, "check")
    map_writing.write_class_map(path, check, map_writing.CHECK_LEGEND, grid, **origin)
    run.save_figure(map_figures.draw_check(check, title), f"check-{model}")


def write_run_report(folder: Path, *, first: bool = False) -> dict[str, Any]:
    """Write ``stages.csv`` and ``report.html`` from the files of the run folder.

    A first report shows the quick models; a later task replaces it.
    """
    files.write_text(RunFolder(folder).stages, _stages_csv(folder))
    report = write_report(folder)
    if first:
        files.discard_written()
    return {"report": report.name}


def _stages_csv(folder: Path) -> str:
    """Return the seconds of each finished task and its share of the sum, as CSV."""
    plan = Plan.load(folder, REGISTRY)
    seconds = {
        task.name: record.seconds
        for task in plan.tasks
        if task.name != "report" and (record := task_record(plan, folder, task.name))
    }
    total = sum(seconds.values()) or 1.0
    rows = ((name, f"{took:.3f}", f"{took / total:.4f}") for name, took in seconds.items())
    return files.csv_text([("task", "seconds", "share"), *rows])
