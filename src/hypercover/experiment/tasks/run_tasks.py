"""The tasks of a run up to its trained models, as functions of the run folder and names.

Each can run in any process, any number of times: it reads the experiment and the results
of the tasks it needs, writes whole files, and returns plain values.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypercover.classifiers.bundle import save_bundle
from hypercover.experiment.config import builders
from hypercover.experiment.config.schema import ALL, CNNSpec
from hypercover.experiment.search.search_tasks import best_parameters, search_best
from hypercover.experiment.tasks import temperature_scaling
from hypercover.experiment.tasks.experiment_plan import task_name
from hypercover.experiment.tasks.network_training import NetworkTraining, Trained
from hypercover.experiment.tasks.rank import train_network
from hypercover.experiment.tasks.run_context import (
    RunContext,
    parse_chain,
    save_features,
)
from hypercover.experiment.tasks.trial import (
    evaluate_classifier,
    feature_leakage,
    fit_classifier,
)
from hypercover.features.thresholds import metres_per_pixel
from hypercover.files import atomic
from hypercover.jobs.task_files import result_of
from hypercover.prediction.model_input import describe_training_image
from hypercover.scene.metadata import origin_label
from hypercover.splits.split import Split
from hypercover.types import Report


def draw_scene(folder: Path) -> dict[str, Any]:
    """Draw the scene and return its entry in the metrics."""
    from hypercover.figures.map_figures import draw_labels, draw_quicklook
    from hypercover.figures.spectra import draw_spectra

    context = RunContext.of(folder)
    scene = context.scene
    context.folder.save_figure(draw_quicklook(scene), "scene")
    context.folder.save_figure(draw_labels(scene), "labels")
    context.folder.save_figure(draw_spectra(scene), "spectra")
    waves = scene.wavelengths
    return {
        "labelled": context.count_training_pixels(context.load_split(ALL, 0)),
        "name": scene.name,
        "source": scene.source,
        "rows": scene.shape[0],
        "cols": scene.shape[1],
        "bands": scene.n_bands,
        **scene.origin,
        "wavelengths": None if waves is None else [float(waves.min()), float(waves.max())],
        "crs": scene.grid.crs,
        "notes": list(scene.notes),
        "losses": list(scene.losses),
        "legend": scene.legend.to_json(),
    }


def make_split(folder: Path, *, split: str, seed: int) -> dict[str, Any]:
    """Make, save and draw one split; return its counts and leak audit.

    ``seed`` is the number of a draw: a split with folds has several draws per seed.
    """
    from hypercover.figures.map_figures import draw_split

    context = RunContext.of(folder, split=split, seed=seed)
    scene, experiment = context.scene, context.experiment
    spec = experiment.splits[split]
    first, fold = experiment.origin(split, seed)
    parts = saved = builders.build_split(
        spec, scene, seed=first, window=experiment.window, fold=fold
    )
    if origin := origin_label(scene.origin):
        # Noted in the file too, as it may be used without the run.
        saved = replace(
            parts, notes=(*parts.notes, f"The image was not measured: {origin}.")
        )
    path, stem = context.folder.split(split, seed - experiment.seed)
    saved.save(path, stem, grid=scene.grid, legend=scene.legend, labels=scene.usable_labels)
    if seed == experiment.seed:
        name = "split" if split == "main" else f"split-{split}"
        context.folder.save_figure(draw_split(scene, parts), name)
    return parts.to_json(scene.usable_labels, scene.legend)


def make_features(folder: Path, *, name: str, report: Report) -> dict[str, Any]:
    """Compute and save one chain of image features of the whole scene."""
    context = RunContext.of(folder, features=[name])
    chain = parse_chain(context.experiment, name)
    stack = chain.fit_stack(
        context.scene,
        seed=context.experiment.seed,
        progress=lambda done, total: report(done / total, "computing image features"),
    )
    save_features(context.folder, name, chain, stack)
    notes = stack.notes[len(context.scene.notes) :]
    return {"chain": chain.text, "features": stack.n_bands, "notes": list(notes)}


def keep_view(folder: Path) -> dict[str, Any]:
    """Save the view of the scene and its splits that the report shows.

    The report can then be written again from the run folder, without the image.
    """
    from hypercover.report.scene_view import make_scene_view

    context = RunContext.of(folder)
    scene, seed = context.scene, context.experiment.seed
    # The splits of a learning curve are the main split again.
    splits = ("main", *context.experiment.beside)
    parts = {name: context.load_split(name, seed).parts for name in splits}
    view = make_scene_view(scene, parts, metres=metres_per_pixel(scene.grid))
    path = context.folder.view()
    view.save(path)
    return {"view": str(path.relative_to(context.folder.path)), "step": view.step}


def train(
    folder: Path, *, model: str, split: str, seed: int, report: Report
) -> dict[str, Any]:
    """Train and evaluate one model on one split with one seed.

    Returns the metrics of the model and its training curve.  The predictions for the test
    pixels are kept, and for the main split and the first seed the bundle.
    """
    context = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec = context.experiment.models[model]
    scene, parts = context.model_scene(spec), context.load_split(split, seed)
    training = NetworkTraining(context, model, split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = train_network(training, report)
    else:
        classifier, facts = _search_and_fit(training, report)
    trial = evaluate_classifier(classifier, scene, parts, window=spec.window)
    trial.predictions.save(context.folder.predictions(split, seed, model))
    chain = context.load_chain(spec)
    result = trial.to_metrics().to_json() | facts
    result["description"] = builders.describe_model(
        spec, None if chain is None else chain.text
    )
    if chain is not None:
        result["leakage"]["features"] = feature_leakage(chain, scene, parts).to_json()
    if split == "main" and seed == context.experiment.seed:
        _save_bundle(context, model, classifier, result, parts)
    if isinstance(spec, CNNSpec):
        training.checkpoints.remove()
    return {"model": result, "curve": list(getattr(classifier, "history_", []))}


def refit(
    folder: Path, *, model: str, split: str, seed: int, report: Report
) -> dict[str, Any]:
    """Train a model on all labelled pixels, for the map, and keep its bundle.

    It takes its settings from the first model of the main split: C and gamma as found by
    its search, and the temperature that scales confidence, unless single pixels
    were held out to fit it, next to other training pixels.  If another model maps, the bundle of the split is
    copied and nothing is trained.
    """
    context = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec = context.experiment.models[model]
    training = NetworkTraining(context, model, split, seed)
    metrics = result_of(folder, task_name("main", context.experiment.seed, model))["model"]
    if not training.needed:
        sources = context.folder.bundle_files(model, split=True)
        targets = context.folder.bundle_files(model)
        # The card comes last, as it holds the checksum of the weights.
        for source, target in reversed(list(zip(sources, targets, strict=True))):
            with atomic(target) as draft:
                draft.write_bytes(source.read_bytes())
        return {"trained": False}
    parts = context.load_split(split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = train_network(training, report)
    else:
        classifier = builders.build_classifier(spec, seed=seed)
        classifier.set_params(**best_parameters(metrics))
        scene = context.model_scene(spec)
        seconds = fit_classifier(classifier, scene, parts, window=spec.window)
        facts = {"train_seconds": seconds}
        tested = context.load_split("main", context.experiment.seed)
        if temperature_scaling.guard_distance(tested, scene.usable_labels) is None:
            # The test pixels of a random split are next to training pixels; most of a map
            # are not.
            held_out = temperature_scaling.out_of_fold_for_split(
                classifier, scene, parts, 0
            )
            temperature = temperature_scaling.fit_held_out_temperature(classifier, held_out)
            metrics |= {"calibration": {"temperature": temperature}}
    _save_bundle(context, model, classifier, metrics, parts)
    if isinstance(spec, CNNSpec):
        training.checkpoints.remove()
    return {"trained": True, **facts}


def _search_and_fit(training: NetworkTraining, report: Report) -> Trained:
    """Search and fit a classifier other than a network; return it and its metrics."""
    context, model, seed = training.context, training.model, training.seed
    spec, parts = context.experiment.models[model], context.load_split(training.split, seed)
    search = search_best(context, model, split=training.split, seed=seed, report=report)
    parameters = best_parameters({"search": search})
    classifier = builders.build_classifier(spec, seed=seed).set_params(**parameters)
    scene = context.model_scene(spec)
    seconds = fit_classifier(classifier, scene, parts, window=spec.window)
    if search is None:
        return classifier, {"train_seconds": seconds}
    searched = search["wall_seconds"]
    times = {"train_seconds": seconds + searched, "search_seconds": searched}
    return classifier, times | {"search": search}


def _save_bundle(
    context: RunContext, name: str, classifier: Any, metrics: dict[str, Any], parts: Split
) -> None:
    """Write the bundle: the trained model and its card.

    ``metrics`` are those of the model under the main split; ``parts`` says which pixels it
    was trained on.
    """
    scene, experiment, run = context.scene, context.experiment, context.folder
    spec = experiment.models[name]
    chain = context.load_chain(spec)
    card = {
        "name": name,
        "description": metrics["description"],
        "experiment": experiment.name,
        "trained_on": scene.name,
        **describe_training_image(scene),
        "legend": scene.legend.to_json(),
        "nodata": experiment.scene.nodata,
        "window": spec.window,
        "features": None if chain is None else chain.text,
        "preprocessing": "scaling learnt from the training pixels alone and kept with the "
        "weights; pixels without data are zero; windows repeat the edge pixels of the scene",
        "training": {
            "from": ALL if parts.kind in (ALL, "none") else "split",
            **context.count_training_pixels(parts),
        },
        "split": experiment.split.kind,
        "overall_accuracy": metrics["overall_accuracy"],
        "temperature": metrics.get("calibration", {}).get("temperature"),
    }
    beside = experiment.refits and parts.kind != ALL
    path = run.split_model(name) if beside else run.model(name)
    state = None if chain is None else chain.state()
    save_bundle(path, classifier, card, features=state)
