"""The last tasks of a run: all results into one file of figures, and the report."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import fmean
from typing import Any, cast

from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import BlocksSpec, Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.results.summary import (
    best_model,
    calibration_notes,
    draw_calibration,
    draw_learning_curve,
    load_predictions,
    model_interval,
    never_predicted_notes,
    pool_splits,
    pooled_abstention,
    summarise,
    summarise_folds,
)
from hypercover.experiment.tasks.experiment_plan import task_name
from hypercover.experiment.tasks.feature_tasks import used_features
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import adopt, csv_text, disown, write_sealed, write_text
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles, result_of, task_record
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import mark, marked
from hypercover.splits.audit import audit
from hypercover.splits.split import Split

__all__ = ["draw_leak_gap", "leak_gap_rows", "reduce_run", "report_run", "versions"]

_SPLITS = {"random": "random", "centre-free": "centre-free", "overlap-free": "main"}
"""What a split of the gap is called, and its name in the experiment."""


def draw_leak_gap(
    run: RunFolder, experiment: Experiment, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the table and the figure of a leak gap; return it as a key of the metrics.

    Where the experiment asks for none, what an earlier one left is removed.
    """
    figure = run.figure("gap")
    if not experiment.gap:
        for stale in (run.gap, figure):
            stale.unlink(missing_ok=True)
        return {}
    from hypercover.figures.accuracy_curves import draw_gap
    from hypercover.figures.canvas import save_figure

    window, rows = leak_gap_rows(run, experiment, metrics)
    write_text(run.gap, _csv(rows))
    scene = metrics["scene"]
    title = marked(scene["name"], scene)
    drawn = draw_gap(rows, window=window, title=title, repeats=experiment.repeats)
    save_figure(drawn, figure)
    return {"gap": {"window": window, "rows": rows}}


def leak_gap_rows(
    run: RunFolder, experiment: Experiment, metrics: Mapping[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    """Return the window that the splits were made for, and one row a model and split."""
    window = int(cast(BlocksSpec, experiment.split).guard) + 1
    parts = {"main": metrics} | metrics["beside"]
    facts = {
        said: _facts(run, experiment, split, window) for said, split in _SPLITS.items()
    }
    found = {said: parts[split]["models"] for said, split in _SPLITS.items()}
    rows = [
        {"model": model, "split": said}
        | facts[said]
        | _scores(found[said][model], found["random"][model])
        for model in experiment.models
        for said in _SPLITS
    ]
    return window, rows


def _facts(
    run: RunFolder, experiment: Experiment, split: str, window: int
) -> dict[str, Any]:
    """Say in the mean over the seeds what a split leaves, and what a window lets leak."""
    repeats = range(experiment.repeats)
    made = [Split.load(*run.split(split, repeat)) for repeat in repeats]
    leaks = [audit(one, window) for one in made]
    return {
        "train_count": fmean(one.count("train") for one in made),
        "test_count": fmean(one.count("test") for one in made),
        "centre_in_window": fmean(leak.centre_in_window or 0.0 for leak in leaks),
        "window_overlap": fmean(leak.window_overlap or 0.0 for leak in leaks),
    }


def _scores(model: Mapping[str, Any], random: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a model reaches, and how far that is below random pixels."""
    return {
        "overall_accuracy": model["overall_accuracy"],
        "spread": (model["spread"] or {}).get("overall_accuracy"),
        "fall": random["overall_accuracy"] - model["overall_accuracy"],
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table; what is not known stays empty."""
    columns = list(rows[0])
    return csv_text([columns, *([row[column] for column in columns] for row in rows)])


_PACKAGES = ("hypercover", "numpy", "scipy", "scikit-learn", "torch", "rasterio", "xarray")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": python_version()} | {name: version(name) for name in _PACKAGES}


def reduce_run(folder: Path, *, models: Sequence[str] | None = None) -> dict[str, Any]:
    """Join the results of all splits, seeds and models into ``metrics.json``.

    With ``models`` those of some models alone, until all are there.
    """
    run = RunFolder(folder)
    experiment = load_experiment(run.experiment)
    if models is not None:
        experiment.check_names(models=models)
        # The figures of the whole run have to be taken after these.
        TaskFiles(folder, "reduce").result.unlink(missing_ok=True)
        some = {name: spec for name, spec in experiment.models.items() if name in models}
        experiment = experiment.model_copy(update={"models": some})
    scene = dict(result_of(folder, "scene"))
    legend = scene.pop("legend")
    main = _part(folder, experiment, "main")
    metrics = {
        "name": experiment.name,
        "seed": experiment.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "scene": scene,
        "legend": legend,
        **main,
        "notes": [
            *experiment.notes,
            *_feature_notes(folder, experiment),
            *calibration_notes(main),
            *never_predicted_notes(main),
        ],
        "best": best_model(main["models"]),
        **map_facts(folder, experiment, legend),
        "beside": {name: _part(folder, experiment, name) for name in experiment.beside},
    }
    metrics |= draw_leak_gap(run, experiment, metrics)
    shares = {name: _part(folder, experiment, name) for name in experiment.curve_splits}
    metrics |= draw_learning_curve(run, experiment, shares, metrics["scene"])
    write_sealed(run.metrics, metrics)
    _write_confusion(run, metrics)
    _write_curves(run, experiment)
    _draw(run, metrics, Legend.from_json(legend))
    # The report shows it beside the figures that it led to.
    adopt(run.experiment)
    if models is not None:
        # They hold until the figures of all models are written in their place.
        disown()
    return {"best": metrics["best"]}


def map_facts(
    folder: Path, experiment: Experiment, legend: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Say which pixels the models that map are trained on, and which classes they lack.

    Empty where nothing is mapped.  ``legend`` are the classes, as plain values.
    """
    if experiment.map is False:
        return {}
    trained = dict(result_of(folder, "scene")["labelled"])
    if not experiment.refits:
        made = result_of(folder, task_name("main", experiment.seed))["train"]
        trained = {"pixels": made["count"], "per_class": made["per_class"]}
    missing = [
        {"code": row["code"], "name": row["name"]}
        for row in legend
        if not trained["per_class"].get(str(row["code"]))
    ]
    every = experiment.split.kind == "none"
    source = "all" if every else experiment.map_from
    facts = {"from": source, "again": experiment.refits, **trained, "missing": missing}
    return {"map": facts}


def _feature_notes(folder: Path, experiment: Experiment) -> list[str]:
    """List what was said while image features were computed, each once."""
    notes = [
        note
        for name in used_features(experiment)
        for note in result_of(folder, f"features-{name}")["notes"]
    ]
    return list(dict.fromkeys(notes))


def _part(folder: Path, experiment: Experiment, split: str) -> dict[str, Any]:
    """Join what was found under one split: its first seed's counts, all seeds' models."""
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    made = [result_of(folder, task_name(split, draw)) for draw in draws[:folds]]
    models = {
        model: _model(folder, experiment, split, model, made[0])
        for model in experiment.models
    }
    return {"split": made[0] if folds == 1 else _pooled(made, experiment), "models": models}


def _pooled(made: list[dict[str, Any]], experiment: Experiment) -> dict[str, Any]:
    return pool_splits(made, refits=experiment.refits)


def _model(
    folder: Path, experiment: Experiment, split: str, model: str, made: dict[str, Any]
) -> dict[str, Any]:
    """Join what all draws of a split found of a model, and say how sure it is."""
    draws, folds = experiment.draws(split), experiment.splits[split].draws
    results = [result_of(folder, task_name(split, draw, model))["model"] for draw in draws]
    joined = (
        summarise(results, draws) if folds == 1 else summarise_folds(results, draws, folds)
    )
    seeds = [draws[start : start + folds] for start in range(0, len(draws), folds)]
    answers = load_predictions(RunFolder(folder), model, split=split, seeds=seeds)
    if folds > 1 and "calibration" in joined:
        joined["calibration"] = joined["calibration"] | pooled_abstention(answers)
    codes = [row["code"] for row in joined["per_class"]]
    return joined | {"interval": model_interval(answers, made=made, codes=codes)}


def _write_confusion(run: RunFolder, metrics: dict[str, Any]) -> None:
    from hypercover.evaluation.confusion import confusion_csv
    from hypercover.evaluation.evaluate import Evaluation

    said = mark(metrics["scene"])
    about = f" ({said})" if said else ""
    evaluations = {
        f"{name}{about}": Evaluation.from_json(model)
        for name, model in metrics["models"].items()
    }
    write_text(run.confusion, confusion_csv(evaluations))


def _curves(run: RunFolder, experiment: Experiment) -> list[dict[str, Any]]:
    return [
        {"model": model, "split": split, "seed": seed, **row}
        for split, seed in experiment.trials
        for model in experiment.models
        for row in result_of(run.path, task_name(split, seed, model))["curve"]
    ]


def _write_curves(run: RunFolder, experiment: Experiment) -> None:
    rows = [json.dumps(row, allow_nan=False) for row in _curves(run, experiment)]
    write_text(run.log, "".join(f"{row}\n" for row in rows))


def _draw(run: RunFolder, metrics: dict[str, Any], legend: Legend) -> None:
    """Draw confusion, training and calibration of the models under the main split."""
    from hypercover.figures.accuracy_curves import draw_training
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.class_accuracy import draw_confusion

    rows = [json.loads(line) for line in run.log.read_text().splitlines()]
    said = mark(metrics["scene"])
    for name, model in metrics["models"].items():
        confusion = model["confusion"]
        title = f"{name} ({said})" if said else name
        figure = draw_confusion(
            confusion["matrix"], legend, title, codes=confusion["codes"]
        )
        save_figure(figure, run.figure(f"confusion-{name}"))
        curve = [row for row in rows if (row["model"], row["split"]) == (name, "main")]
        if curve:
            save_figure(draw_training(curve, title), run.figure(f"training-{name}"))
    draw_calibration(run, metrics["models"], f" ({said})" if said else "")


def report_run(folder: Path, *, first: bool = False) -> dict[str, Any]:
    """Write ``stages.csv`` and ``report.html`` from what is in the run folder.

    The first report shows the quick models; another task writes it anew.
    """
    from hypercover.report.report import write_report

    write_text(RunFolder(folder).stages, _stages_csv(folder))
    report = write_report(folder)
    if first:
        disown()
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
