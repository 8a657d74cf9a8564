"""The tasks of a run, as functions of the run folder and a few names.

Each can run in any process, any number of times: it reads the experiment and the results
of the tasks it needs, writes whole files, and returns plain values.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercover.evaluation.confusion import most_confused
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import ModelMetrics, read_run_metrics
from hypercover.experiment.config.builders import (
    build_classifier,
    build_split,
    describe_model,
    trusted_packages,
)
from hypercover.experiment.config.schema import ALL, CNNSpec
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import task_name
from hypercover.experiment.tasks.feature_tasks import (
    load_chain,
    model_scene,
    parse_chain,
    save_features,
)
from hypercover.experiment.tasks.network_training import NetworkTraining, training_facts
from hypercover.experiment.tasks.run_context import RunContext
from hypercover.experiment.tasks.trial import (
    evaluate_classifier,
    feature_leakage,
    fit_classifier,
    fit_held_out_temperature,
    guard_distance,
    out_of_fold_for_split,
    predict_samples,
)
from hypercover.features.blockwise import fit_stack
from hypercover.files import atomic
from hypercover.jobs.record import result_of
from hypercover.scene.metadata import origin_label
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split
from hypercover.types import Codes, Report

if TYPE_CHECKING:
    from hypercover.prediction.scene_prediction import Prediction


def check_classes(folder: Path) -> dict[str, Any]:
    """Draw the per-class accuracies and the confused classes of each model.

    For the main split: accuracies as in the metrics, confused pixels over all seeds.
    """
    context = RunContext.of(folder)
    metrics = read_run_metrics(context.folder.path)
    confused = {}
    for name, model in metrics.models.items():
        said = origin_label(context.scene.origin)
        title = f"{name} ({said})" if said else name
        _draw_classes(context, name, model, title)
        confused[name] = _draw_confused(context, name, title)
    return {"confused": confused}


def _draw_classes(context: RunContext, name: str, model: ModelMetrics, title: str) -> None:
    """Draw the accuracy of each class under one model."""
    from hypercover.figures.accuracy_charts import draw_classes
    from hypercover.figures.canvas import save_figure

    figure = draw_classes(
        [score.to_json() for score in model.per_class],
        title=f"{title}: how well each class is found",
        overall=model.overall_accuracy,
        interval=model.interval.to_json() if model.interval else None,
    )
    save_figure(figure, context.folder.figure(f"classes-{name}"))


def _draw_confused(context: RunContext, name: str, title: str) -> list[list[int]]:
    """Draw the classes that a model confuses most; return their codes, worst first."""
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.spectra import draw_confused

    run, path = context.folder, context.folder.figure(f"confused-{name}")
    seeds = context.experiment.draws("main")
    answers = [Predictions.load(run.predictions("main", seed, name)) for seed in seeds]
    pairs = most_confused(answers)
    if pairs:
        what = "the classes it confuses most"
        figure = draw_confused(context.scene, pairs, title=f"{title}: {what}")
        save_figure(figure, path)
    else:
        # Nothing was confused: remove the figure of an earlier run.
        path.unlink(missing_ok=True)
    return [[pair.first, pair.second] for pair in pairs]


def keep_view(folder: Path) -> dict[str, Any]:
    """Save the view of the scene and its splits that the report shows.

    The report can then be written again from the run folder, without the image.
    """
    from hypercover.features.thresholds import metres_per_pixel
    from hypercover.report.scene_view import make_scene_view

    context = RunContext.of(folder)
    # The splits of a learning curve are the main split again.
    splits = ("main", *context.experiment.beside)
    parts = {
        name: context.load_split(name, context.experiment.seed).parts for name in splits
    }
    scene = context.scene
    view = make_scene_view(scene, parts, metres=metres_per_pixel(scene.grid))
    path = context.folder.view()
    view.save(path)
    return {"view": str(path.relative_to(RunFolder(Path(folder)).path)), "step": view.step}


def _silent(_share: float, _what: str) -> None:
    """Ignore progress."""


def draw_scene(folder: Path) -> dict[str, Any]:
    """Draw the scene and return its entry in the metrics."""
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_labels, draw_quicklook
    from hypercover.figures.spectra import draw_spectra

    context = RunContext.of(folder)
    scene = context.scene
    save_figure(draw_quicklook(scene), context.folder.figure("scene"))
    save_figure(draw_labels(scene), context.folder.figure("labels"))
    save_figure(draw_spectra(scene), context.folder.figure("spectra"))
    reach = scene.wavelengths
    labels = scene.usable_labels
    return {
        "labelled": training_facts(labels > 0, labels),
        "name": scene.name,
        "source": scene.source,
        "rows": scene.shape[0],
        "cols": scene.shape[1],
        "bands": scene.n_bands,
        **scene.origin,
        "wavelengths": None if reach is None else [float(reach.min()), float(reach.max())],
        "crs": scene.grid.crs,
        "notes": list(scene.notes),
        "losses": list(scene.losses),
        "legend": scene.legend.to_json(),
    }


def make_split(folder: Path, *, split: str, seed: int) -> dict[str, Any]:
    """Make, save and draw one split; return its counts and leak audit.

    ``seed`` is the number of a draw: a split with folds has several draws per seed.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_split

    context = RunContext.of(folder, split=split, seed=seed)
    scene, experiment = context.scene, context.experiment
    spec = experiment.splits[split]
    first, fold = experiment.origin(split, seed)
    made = kept = build_split(spec, scene, seed=first, window=experiment.window, fold=fold)
    if said := origin_label(scene.origin):
        # Noted in the file too, as it may be used without the run.
        kept = replace(made, notes=(*made.notes, f"The image was not measured: {said}."))
    where, stem = context.folder.split(split, seed - experiment.seed)
    kept.save(where, stem, grid=scene.grid, legend=scene.legend, labels=scene.usable_labels)
    if seed == experiment.seed:
        figure = "split" if split == "main" else f"split-{split}"
        save_figure(draw_split(scene, made), context.folder.figure(figure))
    return made.to_json(scene.usable_labels, scene.legend)


def make_features(folder: Path, *, name: str, report: Report = _silent) -> dict[str, Any]:
    """Compute and save one chain of image features of the whole scene."""
    context = RunContext.of(folder, features=[name])
    chain = parse_chain(context.experiment, name)
    stack = fit_stack(
        chain,
        context.scene,
        seed=context.experiment.seed,
        progress=lambda done, total: report(done / total, "computing image features"),
    )
    save_features(context.folder, name, chain, stack)
    notes = stack.notes[len(context.scene.notes) :]
    return {"chain": chain.text, "features": stack.n_bands, "notes": list(notes)}


def train(
    folder: Path, *, model: str, split: str, seed: int, report: Report = _silent
) -> dict[str, Any]:
    """Train and evaluate one model on one split with one seed.

    Returns the metrics of the model and its training curve.  The predictions for the test
    pixels are kept, and for the main split and the first seed the bundle.
    """
    context = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec = context.experiment.models[model]
    scene, parts = model_scene(context, spec), context.load_split(split, seed)
    training = NetworkTraining(context, model, split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = training.result(report)
    else:
        classifier, facts = _fit(training, scene, parts, report)
    trial = evaluate_classifier(classifier, scene, parts, window=spec.window)
    chain = None if spec.features is None else load_chain(context.folder, spec.features)
    text = None if chain is None else chain.text
    trial.predictions.save(context.folder.predictions(split, seed, model))
    result = trial.to_metrics().to_json() | facts
    result["description"] = describe_model(spec, text)
    if chain is not None:
        result["leakage"]["features"] = feature_leakage(chain, scene, parts).to_json()
    if split == "main" and seed == context.experiment.seed:
        _save_bundle(context, model, classifier, result, parts)
    training.checkpoints.remove()
    return {"model": result, "curve": list(getattr(classifier, "history_", []))}


def refit(
    folder: Path, *, model: str, split: str, seed: int, report: Report = _silent
) -> dict[str, Any]:
    """Train a model on all labelled pixels, for the map, and keep its bundle.

    It takes its settings from the first model of the main split: C and gamma as found by
    its search, and the temperature that scales confidence, unless that was fitted on test
    pixels next to training pixels.  If another model maps, the bundle of the split is
    copied and nothing is trained.
    """
    from hypercover.experiment.search.search_tasks import best_parameters

    context = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec = context.experiment.models[model]
    training = NetworkTraining(context, model, split, seed)
    figures = result_of(folder, task_name("main", context.experiment.seed, model))["model"]
    if not training.needed:
        _copy_bundle(context, model)
        return {"trained": False}
    parts = context.load_split(split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = training.result(report)
    else:
        classifier = build_classifier(spec, seed=seed).set_params(
            **best_parameters(figures)
        )
        scene = model_scene(context, spec)
        facts = {
            "train_seconds": fit_classifier(classifier, scene, parts, window=spec.window)
        }
        figures = _with_temperature(context, figures, classifier, scene, parts)
    _save_bundle(context, model, classifier, figures, parts)
    training.checkpoints.remove()
    return {"trained": True, **facts}


def _with_temperature(
    context: RunContext,
    figures: dict[str, Any],
    classifier: Any,
    scene: Scene,
    parts: Split,
) -> dict[str, Any]:
    """Replace a temperature that was fitted on pixels next to the training pixels.

    The test pixels of a random split are next to them; most pixels of a map are not.
    """
    tested = context.load_split("main", context.experiment.seed)
    if guard_distance(tested, scene.usable_labels) is not None:
        return figures
    held_out = out_of_fold_for_split(classifier, scene, parts, 0)
    temperature = fit_held_out_temperature(classifier, held_out)
    return figures | {"calibration": {"temperature": temperature}}


def _copy_bundle(context: RunContext, model: str) -> None:
    """Copy the bundle of the split's model to that of the model that maps."""
    run = context.folder
    # The card comes last, as it holds the checksum of the weights.
    for source, target in zip(
        reversed(run.bundle_files(model, split=True)),
        reversed(run.bundle_files(model)),
        strict=True,
    ):
        with atomic(target) as draft:
            draft.write_bytes(source.read_bytes())


def _fit(
    training: NetworkTraining, scene: Scene, parts: Split, report: Report
) -> tuple[Any, dict[str, Any]]:
    """Search and fit a classifier other than a network; return it and its metrics."""
    from hypercover.experiment.search.search_tasks import best_parameters, search_best

    context, model, seed = training.context, training.model, training.seed
    spec = context.experiment.models[model]
    search = search_best(context, model, split=training.split, seed=seed, report=report)
    parameters = best_parameters({"search": search})
    classifier = build_classifier(spec, seed=seed).set_params(**parameters)
    seconds = fit_classifier(classifier, scene, parts, window=spec.window)
    if search is None:
        return classifier, {"train_seconds": seconds}
    searched = search["wall_seconds"]
    times = {"train_seconds": seconds + searched, "search_seconds": searched}
    return classifier, times | {"search": search}


def _save_bundle(
    context: RunContext,
    name: str,
    classifier: Any,
    result: dict[str, Any],
    parts: Split,
) -> None:
    """Write the bundle: the trained model and its card.

    ``result`` holds the metrics of the main split; ``parts`` the pixels that the model was
    trained on.
    """
    from hypercover.classifiers.bundle import save_bundle
    from hypercover.prediction.model_input import describe_training_image

    scene, spec = context.scene, context.experiment.models[name]
    chain = None if spec.features is None else load_chain(context.folder, spec.features)
    card = {
        "name": name,
        "description": result["description"],
        "experiment": context.experiment.name,
        "trained_on": scene.name,
        **describe_training_image(scene),
        "legend": scene.legend.to_json(),
        "nodata": context.experiment.scene.nodata,
        "window": spec.window,
        "features": None if chain is None else chain.text,
        "preprocessing": "scaling learnt from the training pixels alone and kept with the "
        "weights; pixels without data are zero; windows repeat the edge pixels of the scene",
        "training": {
            "from": ALL if parts.kind in (ALL, "none") else "split",
            **training_facts(parts.mask("train"), scene.usable_labels),
        },
        "split": context.experiment.split.kind,
        "overall_accuracy": result["overall_accuracy"],
        "temperature": result.get("calibration", {}).get("temperature"),
    }
    state = None if chain is None else chain.state()
    run = context.folder
    beside = context.experiment.refits and parts.kind != ALL
    where = run.split_model(name) if beside else run.model(name)
    save_bundle(where, classifier, card, features=state)


def draw_map(
    folder: Path, *, model: str, best_of: str | None = None, report: Report = _silent
) -> dict[str, Any]:
    """Predict the whole scene with the saved model, and write and draw its maps.

    If ``best_of`` names a task and the model is not its best by validation pixels, no map
    is made, and that of an earlier run is removed.
    """
    if best_of is not None and result_of(folder, best_of)["best"] != model:
        for stale in RunFolder(Path(folder)).map_files(model):
            stale.unlink(missing_ok=True)
        return {"map": None}
    from hypercover.classifiers.bundle import load_bundle
    from hypercover.gis.map_writing import class_check
    from hypercover.prediction.layers import has_probabilities
    from hypercover.prediction.map_view import ClassRanking, ModelView
    from hypercover.prediction.scene_prediction import predict_layers

    context = RunContext.of(folder, models=[model])
    device = context.experiment.device
    spec = context.experiment.models[model]
    trusted = trusted_packages(spec)
    bundle = load_bundle(context.folder.model(model), device=device, trusted=trusted)
    ranking = ClassRanking.of(context.scene.shape, bundle.classifier)
    found = predict_layers(
        bundle.classifier,
        model_scene(context, spec),
        ranking=ranking,
        temperature=bundle.temperature,
        progress=lambda done, total: report(done / total, "predicting the scene"),
    )
    held, parts = _held_out(context, model, found)
    _show(context, model, found, held, parts)
    again = context.experiment.refits
    check = class_check(context.scene.usable_labels, held, parts.parts) if again else None
    view = ModelView.of(
        found.labels,
        found.confidence,
        ranking,
        held=held if again else None,
        check=check,
        calibrated=bundle.temperature is not None or has_probabilities(bundle.classifier),
    )
    view.save(context.folder.view(model))
    return {"map": str(context.folder.map(model).relative_to(context.folder.path))}


def _held_out(context: RunContext, model: str, found: "Prediction") -> tuple[Codes, Split]:
    """Return what to hold against the labels: answers (y, x), and which pixels trained.

    A model that was trained on all labelled pixels has seen every answer.  Those that
    the class check shows are of the split's model or, under folds, of the fold that
    held a pixel out; elsewhere they are the map.
    """
    from hypercover.classifiers.bundle import load_bundle

    experiment = context.experiment
    parts = context.load_split("main", experiment.seed)
    if not experiment.refits:
        return found.labels, parts
    if experiment.split.draws > 1:
        return _of_folds(context, model, found)
    device, spec = experiment.device, experiment.models[model]
    path, trusted = context.folder.split_model(model), trusted_packages(spec)
    bundle = load_bundle(path, device=device, trusted=trusted)
    pixels = Samples.of(context.scene.usable_labels)
    scene = model_scene(context, spec)
    held = found.labels.copy()
    answers = predict_samples(bundle.classifier, scene, pixels, spec.window)["labels"]
    held[pixels.rows, pixels.cols] = answers
    return held, parts


def _of_folds(context: RunContext, model: str, found: "Prediction") -> tuple[Codes, Split]:
    """Return what each fold of the first seed answered for the pixels it held out."""
    held, tested = found.labels.copy(), np.zeros(context.scene.shape, dtype=bool)
    for draw in context.experiment.draws("main")[: context.experiment.split.draws]:
        one = Predictions.load(context.folder.predictions("main", draw, model))
        held[one.rows, one.cols] = one.predicted
        tested[one.rows, one.cols] = True
    always = (context.scene.usable_labels > 0) & ~tested
    return held, Split.from_parts(train=always, test=tested)


def _show(
    context: RunContext,
    model: str,
    found: "Prediction",
    held: Codes,
    parts: Split,
) -> None:
    """Write and draw class map and confidence of a prediction, and the class check.

    ``held`` are the answers (y, x) that the class check holds against the labels, and
    ``parts`` tells which of these pixels trained.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_check, draw_confidence, draw_map
    from hypercover.gis import map_writing, stac

    scene, run = context.scene, context.folder
    said = origin_label(scene.origin)
    title = f"{model} ({said})" if said else model
    trained = context.load_split(ALL, 0) if context.experiment.refits else parts
    facts = training_facts(trained.mask("train"), scene.usable_labels)
    made_by = {"model": model, "map_from": context.experiment.map_from, **facts}
    map_writing.write_class_map(
        run.map(model), found.labels, scene.legend, scene.grid, **scene.origin
    )
    stac.write_stac_item_of_map(
        run.map(model),
        scene.header,
        legend=scene.legend,
        grid=scene.grid,
        origin=scene.origin,
        made_by=made_by,
    )
    _write_clean(context, model, found)
    save_figure(draw_map(found.labels, scene.legend, title), run.figure(f"map-{model}"))
    if found.confidence is not None:
        map_writing.write_confidence(
            run.map(model, "confidence"), found.confidence, scene.grid, **scene.origin
        )
        save_figure(
            draw_confidence(found.confidence, title), run.figure(f"confidence-{model}")
        )
    labels = scene.usable_labels
    map_writing.write_class_check(
        run.map(model, "check"), labels, held, parts, scene.grid, **scene.origin
    )
    save_figure(draw_check(labels, held, parts, title), run.figure(f"check-{model}"))


def _write_clean(context: RunContext, model: str, found: "Prediction") -> None:
    """Write the class map cleaned of specks beside it, where the experiment asks for it."""
    from hypercover.gis.cleaning import Cleaning
    from hypercover.gis.map_writing import write_class_map
    from hypercover.gis.style import sidecar_paths

    scene, asked = context.scene, context.experiment.clean
    cleaning, path = (
        Cleaning(asked.majority, asked.sieve),
        context.folder.map(model, "clean"),
    )
    if cleaning:
        cleaned = cleaning.apply(found.labels)
        write_class_map(path, cleaned, scene.legend, scene.grid, **scene.origin)
        return
    for stale in (path, *sidecar_paths(path)):
        stale.unlink(missing_ok=True)
