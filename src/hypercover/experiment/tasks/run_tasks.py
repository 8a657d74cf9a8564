"""The tasks of a run: what each does, given the run folder and a few names.

Every function here can be run by hand, in any process, any number of times:
it reads the experiment and the results of the tasks it needs, writes whole
files, and returns plain values.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
from hypercover.scene.metadata import mark
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split

if TYPE_CHECKING:
    from hypercover.prediction.scene_prediction import Prediction

__all__ = [
    "check_classes",
    "draw_map",
    "draw_scene",
    "keep_view",
    "make_features",
    "make_split",
    "refit",
    "train",
]


def check_classes(folder: Path) -> dict[str, Any]:
    """Draw per-class accuracies and the spectra of confused classes, model by model.

    Of the main split; repeats are joined: accuracies as the metrics hold them,
    confused pixels over all seeds.
    """
    setting = RunContext.of(folder)
    metrics = read_run_metrics(setting.folder.path)
    confused = {}
    for name, model in metrics.models.items():
        said = mark(setting.scene.origin)
        title = f"{name} ({said})" if said else name
        _draw_classes(setting, name, model, title)
        confused[name] = _draw_confused(setting, name, title)
    return {"confused": confused}


def _draw_classes(setting: RunContext, name: str, model: ModelMetrics, title: str) -> None:
    """Draw the accuracy of each class under one model."""
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.class_accuracy import draw_classes

    figure = draw_classes(
        [score.to_json() for score in model.per_class],
        title=f"{title}: how well each class is found",
        overall=model.overall_accuracy,
        interval=model.interval.to_json() if model.interval else None,
    )
    save_figure(figure, setting.folder.figure(f"classes-{name}"))


def _draw_confused(setting: RunContext, name: str, title: str) -> list[list[int]]:
    """Draw the classes that a model confuses most; return their codes, worst first."""
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.spectra import draw_confused

    run, path = setting.folder, setting.folder.figure(f"confused-{name}")
    seeds = setting.experiment.draws("main")
    answers = [Predictions.load(run.predictions("main", seed, name)) for seed in seeds]
    pairs = most_confused(answers)
    if pairs:
        what = "the classes it confuses most"
        figure = draw_confused(setting.scene, pairs, title=f"{title}: {what}")
        save_figure(figure, path)
    else:
        # Nothing was confused; a figure of an earlier run would say otherwise.
        path.unlink(missing_ok=True)
    return [[pair.first, pair.second] for pair in pairs]


def keep_view(folder: Path) -> dict[str, Any]:
    """Keep the scene, its splits of the first seed and its spectra for the page.

    Why it exists: a page is made again from the run folder alone, long after
    the image has moved away.
    """
    from hypercover.features.thresholds import metres_per_pixel
    from hypercover.report.scene_view import make_scene_view

    setting = RunContext.of(folder)
    # Those of a learning curve are the main split over again.
    splits = ("main", *setting.experiment.beside)
    parts = {
        name: setting.load_split(name, setting.experiment.seed).parts for name in splits
    }
    scene = setting.scene
    view = make_scene_view(scene, parts, metres=metres_per_pixel(scene.grid))
    path = setting.folder.view()
    view.save(path)
    return {"view": str(path.relative_to(RunFolder(Path(folder)).path)), "step": view.step}


Report = Callable[[float, str], None]


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


def draw_scene(folder: Path) -> dict[str, Any]:
    """Draw the scene and return what the metrics say of it."""
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_labels, draw_quicklook
    from hypercover.figures.spectra import draw_spectra

    setting = RunContext.of(folder)
    scene = setting.scene
    save_figure(draw_quicklook(scene), setting.folder.figure("scene"))
    save_figure(draw_labels(scene), setting.folder.figure("labels"))
    save_figure(draw_spectra(scene), setting.folder.figure("spectra"))
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
    """Make one split, keep it, draw it, and return its counts and leak audit.

    ``seed`` numbers the draws of a split, of which a seed may have several folds.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_split

    setting = RunContext.of(folder, split=split, seed=seed)
    scene, experiment = setting.scene, setting.experiment
    spec = experiment.splits[split]
    first, fold = experiment.origin(split, seed)
    made = kept = build_split(spec, scene, seed=first, window=experiment.window, fold=fold)
    if said := mark(scene.origin):
        # The file may be carried away from the run, whose scene says so itself.
        kept = replace(made, notes=(*made.notes, f"The image was not measured: {said}."))
    where, stem = setting.folder.split(split, seed - experiment.seed)
    kept.save(where, stem, grid=scene.grid, legend=scene.legend, labels=scene.usable_labels)
    if seed == experiment.seed:
        figure = "split" if split == "main" else f"split-{split}"
        save_figure(draw_split(scene, made), setting.folder.figure(figure))
    return made.to_json(scene.usable_labels, scene.legend)


def make_features(folder: Path, *, name: str, report: Report = _silent) -> dict[str, Any]:
    """Compute one chain of image features over the whole scene and keep it."""
    setting = RunContext.of(folder, features=[name])
    chain = parse_chain(setting.experiment, name)
    stack = fit_stack(
        chain,
        setting.scene,
        seed=setting.experiment.seed,
        progress=lambda done, total: report(done / total, "computing image features"),
    )
    save_features(setting.folder, name, chain, stack)
    notes = stack.notes[len(setting.scene.notes) :]
    return {"chain": chain.text, "features": stack.n_bands, "notes": list(notes)}


def train(
    folder: Path, *, model: str, split: str, seed: int, report: Report = _silent
) -> dict[str, Any]:
    """Train and evaluate one model on one split with one seed.

    Returns the model's figures and its training curve.  The answers for the test
    pixels are kept, and the bundle for the main split and the first seed.
    """
    setting = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec = setting.experiment.models[model]
    scene, parts = model_scene(setting, spec), setting.load_split(split, seed)
    training = NetworkTraining(setting, model, split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = training.trained(report)
    else:
        classifier, facts = _fitted(training, scene, parts, report)
    trial = evaluate_classifier(classifier, scene, parts, window=spec.window)
    chain = None if spec.features is None else load_chain(setting.folder, spec.features)
    text = None if chain is None else chain.text
    trial.predictions.save(setting.folder.predictions(split, seed, model))
    result = trial.to_metrics().to_json() | facts
    result["description"] = describe_model(spec, text)
    if chain is not None:
        result["leakage"]["features"] = feature_leakage(chain, scene, parts).to_json()
    if split == "main" and seed == setting.experiment.seed:
        _keep(setting, model, classifier, result, parts)
    training.forget()
    return {"model": result, "curve": list(getattr(classifier, "history_", []))}


def refit(
    folder: Path, *, model: str, split: str, seed: int, report: Report = _silent
) -> dict[str, Any]:
    """Train a model on all labelled pixels, for the map, and keep its bundle.

    Settings are those of the main split's first model, C and gamma as that search
    chose them, and so is the temperature that scales its confidence, unless that was
    fitted for test pixels beside the training pixels.  Where another model maps, the
    bundle is that of the split, and nothing is trained.
    """
    from hypercover.experiment.search.search_plan import best_parameters

    setting = RunContext.of(folder, models=[model], split=split, seed=seed)
    spec, training = (
        setting.experiment.models[model],
        NetworkTraining(setting, model, split, seed),
    )
    figures = result_of(folder, task_name("main", setting.experiment.seed, model))["model"]
    if not training.wanted:
        _copy_bundle(setting, model)
        return {"trained": False}
    parts = setting.load_split(split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = training.trained(report)
    else:
        classifier = build_classifier(spec, seed=seed).set_params(
            **best_parameters(figures)
        )
        scene = model_scene(setting, spec)
        facts = {
            "train_seconds": fit_classifier(classifier, scene, parts, window=spec.window)
        }
        figures = _for_land(setting, figures, classifier, scene, parts)
    _keep(setting, model, classifier, figures, parts)
    training.forget()
    return {"trained": True, **facts}


def _for_land(
    setting: RunContext,
    figures: dict[str, Any],
    classifier: Any,
    scene: Scene,
    parts: Split,
) -> dict[str, Any]:
    """Return figures whose temperature is one for land away from the training pixels.

    Why it exists: a random split asks about pixels beside these; the map is of all land.
    """
    tested = setting.load_split("main", setting.experiment.seed)
    if guard_distance(tested, scene.usable_labels) is not None:
        return figures
    found = fit_held_out_temperature(
        classifier, out_of_fold_for_split(classifier, scene, parts, 0)
    )
    return figures | {"calibration": {"temperature": found}}


def _copy_bundle(setting: RunContext, model: str) -> None:
    """Keep the model of the split as the one that may map other images."""
    run = setting.folder
    # The card holds the checksum of the weights: it comes last.
    for source, target in zip(
        reversed(run.bundle_files(model, split=True)),
        reversed(run.bundle_files(model)),
        strict=True,
    ):
        with atomic(target) as draft:
            draft.write_bytes(source.read_bytes())


def _fitted(
    training: NetworkTraining, scene: Scene, parts: Split, report: Report
) -> tuple[Any, dict[str, Any]]:
    """Return a trained classifier that is no network, and what the metrics say of it."""
    from hypercover.experiment.search.search_plan import search_best

    setting, model, seed = training.setting, training.model, training.seed
    spec = setting.experiment.models[model]
    choice = search_best(setting, model, split=training.split, seed=seed, report=report)
    classifier = build_classifier(spec, seed=seed).set_params(**choice.parameters)
    seconds = fit_classifier(classifier, scene, parts, window=spec.window)
    if choice.facts is None:
        return classifier, {"train_seconds": seconds}
    searching = choice.facts["wall_seconds"]
    times = {"train_seconds": seconds + searching, "search_seconds": searching}
    return classifier, times | {"search": choice.facts}


def _keep(
    setting: RunContext,
    name: str,
    classifier: Any,
    result: dict[str, Any],
    parts: Split,
) -> None:
    """Write the bundle: the trained model and what a stranger must know to use it.

    ``result`` holds the figures of the main split, whichever pixels the model was
    trained on; ``parts`` tells these.
    """
    from hypercover.classifiers.bundle import save_bundle
    from hypercover.prediction.model_input import describe_training_image

    scene, spec = setting.scene, setting.experiment.models[name]
    chain = None if spec.features is None else load_chain(setting.folder, spec.features)
    card = {
        "name": name,
        "description": result["description"],
        "experiment": setting.experiment.name,
        "trained_on": scene.name,
        **describe_training_image(scene),
        "legend": scene.legend.to_json(),
        "nodata": setting.experiment.scene.nodata,
        "window": spec.window,
        "features": None if chain is None else chain.text,
        "preprocessing": "scaling learnt from the training pixels alone and kept with the "
        "weights; pixels without data are zero; windows repeat the edge pixels of the scene",
        "training": {
            "from": ALL if parts.kind in (ALL, "none") else "split",
            **training_facts(parts.mask("train"), scene.usable_labels),
        },
        "split": setting.experiment.split.kind,
        "overall_accuracy": result["overall_accuracy"],
        "temperature": result.get("calibration", {}).get("temperature"),
    }
    learnt = None if chain is None else chain.state()
    run = setting.folder
    beside = setting.experiment.refits and parts.kind != ALL
    where = run.split_model(name) if beside else run.model(name)
    save_bundle(where, classifier, card, features=learnt)


def draw_map(
    folder: Path, *, model: str, best_of: str | None = None, report: Report = _silent
) -> dict[str, Any]:
    """Predict the whole scene with a kept model, and write and draw its maps.

    A model that is not the best of the task ``best_of``, by validation pixels, is
    passed over, and a map it had from an earlier run is removed.
    """
    if best_of is not None and result_of(folder, best_of)["best"] != model:
        for stale in RunFolder(Path(folder)).map_files(model):
            stale.unlink(missing_ok=True)
        return {"map": None}
    from hypercover.classifiers.bundle import load_bundle
    from hypercover.gis.agreement import class_check
    from hypercover.prediction.layers import has_probabilities
    from hypercover.prediction.map_view import ClassRanking, ModelView
    from hypercover.prediction.scene_prediction import predict_scene

    setting = RunContext.of(folder, models=[model])
    device = setting.experiment.device
    spec = setting.experiment.models[model]
    trusted = trusted_packages(spec)
    bundle = load_bundle(setting.folder.model(model), device=device, trusted=trusted)
    ranking = ClassRanking.of(setting.scene.shape, bundle.classifier)
    found = predict_scene(
        bundle.classifier,
        model_scene(setting, spec),
        ranking=ranking,
        temperature=bundle.temperature,
        progress=lambda done, total: report(done / total, "predicting the scene"),
    )
    held, parts = _held_out(setting, model, found)
    _show(setting, model, found, held, parts)
    again = setting.experiment.refits
    check = class_check(setting.scene.usable_labels, held, parts) if again else None
    view = ModelView.of(
        found.labels,
        found.confidence,
        ranking,
        held=held if again else None,
        check=check,
        calibrated=bundle.temperature is not None or has_probabilities(bundle.classifier),
    )
    view.save(setting.folder.view(model))
    return {"map": str(setting.folder.map(model).relative_to(setting.folder.path))}


def _held_out(
    setting: RunContext, model: str, found: "Prediction"
) -> tuple[npt.NDArray[np.integer], Split]:
    """Return what to hold against the labels: answers (y, x), and which pixels trained.

    A model that was trained on all labelled pixels has seen every answer.  Those that
    the class check shows are of the split's model or, under folds, of the fold that
    held a pixel out; elsewhere they are the map.
    """
    from hypercover.classifiers.bundle import load_bundle

    experiment = setting.experiment
    parts = setting.load_split("main", experiment.seed)
    if not experiment.refits:
        return found.labels, parts
    if experiment.split.draws > 1:
        return _of_folds(setting, model, found)
    device, spec = experiment.device, experiment.models[model]
    path, trusted = setting.folder.split_model(model), trusted_packages(spec)
    bundle = load_bundle(path, device=device, trusted=trusted)
    pixels = Samples.of(setting.scene.usable_labels)
    scene = model_scene(setting, spec)
    held = found.labels.copy()
    answers = predict_samples(bundle.classifier, scene, pixels, spec.window)["labels"]
    held[pixels.rows, pixels.cols] = answers
    return held, parts


def _of_folds(
    setting: RunContext, model: str, found: "Prediction"
) -> tuple[npt.NDArray[np.integer], Split]:
    """Return what each fold of the first seed answered for the pixels it held out."""
    held, tested = found.labels.copy(), np.zeros(setting.scene.shape, dtype=bool)
    for draw in setting.experiment.draws("main")[: setting.experiment.split.draws]:
        one = Predictions.load(setting.folder.predictions("main", draw, model))
        held[one.rows, one.cols] = one.predicted
        tested[one.rows, one.cols] = True
    always = (setting.scene.usable_labels > 0) & ~tested
    return held, Split.from_parts(train=always, test=tested)


def _show(
    setting: RunContext,
    model: str,
    found: "Prediction",
    held: npt.NDArray[np.integer],
    parts: Split,
) -> None:
    """Write and draw class map and confidence of a prediction, and the class check.

    ``held`` are the answers (y, x) that the class check holds against the labels, and
    ``parts`` tells which of these pixels trained.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.map_figures import draw_check, draw_confidence, draw_map
    from hypercover.gis import class_map_files, stac

    scene, run = setting.scene, setting.folder
    said = mark(scene.origin)
    title = f"{model} ({said})" if said else model
    trained = setting.load_split(ALL, 0) if setting.experiment.refits else parts
    facts = training_facts(trained.mask("train"), scene.usable_labels)
    made_by = {"model": model, "map_from": setting.experiment.map_from, **facts}
    class_map_files.write_class_map(
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
    _write_clean(setting, model, found)
    save_figure(draw_map(found.labels, scene.legend, title), run.figure(f"map-{model}"))
    if found.confidence is not None:
        class_map_files.write_confidence(
            run.map(model, "confidence"), found.confidence, scene.grid, **scene.origin
        )
        save_figure(
            draw_confidence(found.confidence, title), run.figure(f"confidence-{model}")
        )
    labels = scene.usable_labels
    class_map_files.write_class_check(
        run.map(model, "check"), labels, held, parts, scene.grid, **scene.origin
    )
    save_figure(draw_check(labels, held, parts, title), run.figure(f"check-{model}"))


def _write_clean(setting: RunContext, model: str, found: "Prediction") -> None:
    """Write the class map cleaned of specks beside it, where the experiment asks for it."""
    from hypercover.gis.class_map_files import write_class_map
    from hypercover.gis.cleaning import Cleaning
    from hypercover.gis.style import sidecar_paths

    scene, asked = setting.scene, setting.experiment.clean
    cleaning, path = (
        Cleaning(asked.majority, asked.sieve),
        setting.folder.map(model, "clean"),
    )
    if cleaning:
        cleaned = cleaning.apply(found.labels)
        write_class_map(path, cleaned, scene.legend, scene.grid, **scene.origin)
        return
    for stale in (path, *sidecar_paths(path)):
        stale.unlink(missing_ok=True)
