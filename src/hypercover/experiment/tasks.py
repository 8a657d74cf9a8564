"""The tasks of a run: what each does, given the run folder and a few names.

Every function here can be run by hand, in any process, any number of times:
it reads the experiment and the results of the tasks it needs, writes whole
files, and returns plain values.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercover.experiment.features import (
    chain_of,
    keep_features,
    kept_chain,
    scene_for_model,
)
from hypercover.experiment.folder import RunFolder
from hypercover.experiment.leakage import feature_leakage
from hypercover.experiment.reading import load_experiment
from hypercover.experiment.schema import CNNSpec, Experiment
from hypercover.experiment.stages import (
    classifier_for,
    describe_model,
    scene_for,
    split_for,
)
from hypercover.experiment.training import Training
from hypercover.features.blockwise import fitted_stack
from hypercover.features.chain import Chain
from hypercover.jobs.record import result_of
from hypercover.samples.split import Split
from hypercover.scene.origin import mark
from hypercover.scene.scene import Scene

if TYPE_CHECKING:
    from hypercover.maps.predict import Prediction

__all__ = ["Setting", "draw_map", "draw_scene", "make_features", "make_split", "train"]

Report = Callable[[float, str], None]


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


@lru_cache(maxsize=1)
def _experiment(path: Path, _changed: int) -> Experiment:
    return load_experiment(path)


@dataclass(frozen=True)
class Setting:
    """What every task begins with: the folder, the experiment and its scene."""

    folder: RunFolder
    """Where the run lies."""
    experiment: Experiment
    """What it is to do."""
    scene: Scene
    """The image and labels it works on."""

    @classmethod
    def of(cls, folder: str | Path) -> "Setting":
        """Read the experiment of a run folder and open its scene."""
        run = RunFolder(Path(folder))
        experiment = _experiment(run.experiment, run.experiment.stat().st_mtime_ns)
        return cls(run, experiment, scene_for(experiment.scene))

    def load_split(self, split: str, seed: int) -> Split:
        """Read a split that was made before."""
        return Split.load(*self.folder.split(split, seed - self.experiment.seed))


def draw_scene(folder: Path) -> dict[str, Any]:
    """Draw the scene and return what the metrics say of it."""
    from hypercover.maps import draw

    setting = Setting.of(folder)
    scene = setting.scene
    draw.save(draw.draw_quicklook(scene), setting.folder.figure("scene"))
    draw.save(draw.draw_labels(scene), setting.folder.figure("labels"))
    draw.save(draw.draw_spectra(scene), setting.folder.figure("spectra"))
    reach = scene.wavelengths
    return {
        "name": scene.name,
        "source": scene.source,
        "rows": scene.shape[0],
        "cols": scene.shape[1],
        "bands": scene.n_bands,
        **scene.origin,
        "wavelengths": None if reach is None else [float(reach.min()), float(reach.max())],
        "crs": scene.grid.crs,
        "notes": list(scene.notes),
        "legend": scene.legend.to_json(),
    }


def make_split(folder: Path, *, split: str, seed: int) -> dict[str, Any]:
    """Make one split, keep it, draw it, and return its counts and leak audit.

    ``seed`` numbers the draws of a split, of which a seed may have several folds.
    """
    from hypercover.maps import draw

    setting = Setting.of(folder)
    scene, experiment = setting.scene, setting.experiment
    spec = experiment.splits[split]
    first, fold = experiment.origin(split, seed)
    made = kept = split_for(spec, scene, seed=first, window=experiment.window, fold=fold)
    if said := mark(scene.origin):
        # The file may be carried away from the run, whose scene says so itself.
        kept = replace(made, notes=(*made.notes, f"The image was not measured: {said}."))
    where, stem = setting.folder.split(split, seed - experiment.seed)
    kept.save(where, stem, grid=scene.grid, legend=scene.legend, labels=scene.usable_labels)
    if seed == experiment.seed:
        figure = "split" if split == "main" else f"split-{split}"
        draw.save(draw.draw_split(scene, made), setting.folder.figure(figure))
    return made.to_json(scene.usable_labels, scene.legend)


def make_features(folder: Path, *, name: str, report: Report = _silent) -> dict[str, Any]:
    """Compute one chain of image features over the whole scene and keep it."""
    setting = Setting.of(folder)
    chain = chain_of(setting.experiment, name)
    stack = fitted_stack(
        chain,
        setting.scene,
        seed=setting.experiment.seed,
        progress=lambda done, total: report(done / total, "computing image features"),
    )
    keep_features(setting.folder, name, chain, stack)
    notes = stack.notes[len(setting.scene.notes) :]
    return {"chain": chain.text, "features": stack.n_bands, "notes": list(notes)}


def train(
    folder: Path, *, model: str, split: str, seed: int, report: Report = _silent
) -> dict[str, Any]:
    """Train and evaluate one model on one split with one seed.

    Returns the model's figures and its training curve.  The answers for the test
    pixels are kept, and the bundle for the main split and the first seed.
    """
    from hypercover.experiment.trial import judge

    setting = Setting.of(folder)
    spec = setting.experiment.models[model]
    scene, parts = scene_for_model(setting, spec), setting.load_split(split, seed)
    training = Training(setting, model, split, seed)
    if isinstance(spec, CNNSpec):
        classifier, facts = training.trained(report)
    else:
        classifier, facts = _fitted(training, scene, parts, report)
    trial = judge(classifier, scene, parts, window=spec.window)
    chain = None if spec.features is None else kept_chain(setting.folder, spec.features)
    text = None if chain is None else chain.text
    trial.predictions.save(setting.folder.predictions(split, seed, model))
    result = trial.to_json() | facts | {"description": describe_model(spec, text)}
    if chain is not None:
        result["leakage"]["features"] = feature_leakage(chain, scene, parts)
    if split == "main" and seed == setting.experiment.seed:
        _keep(setting, model, classifier, result, chain)
    training.forget()
    return {"model": result, "curve": list(getattr(classifier, "history_", []))}


def _fitted(
    training: Training, scene: Scene, parts: Split, report: Report
) -> tuple[Any, dict[str, Any]]:
    """Return a trained classifier that is no network, and what the metrics say of it."""
    from hypercover.experiment.search_choice import choose
    from hypercover.experiment.trial import fit

    setting, model, seed = training.setting, training.model, training.seed
    spec = setting.experiment.models[model]
    choice = choose(setting, model, split=training.split, seed=seed, report=report)
    classifier = classifier_for(spec, seed=seed).set_params(**choice.parameters)
    seconds = fit(classifier, scene, parts, window=spec.window)
    if choice.facts is None:
        return classifier, {"train_seconds": seconds}
    searching = choice.facts["wall_seconds"]
    times = {"train_seconds": seconds + searching, "search_seconds": searching}
    return classifier, times | {"search": choice.facts}


def _keep(
    setting: Setting,
    name: str,
    classifier: Any,
    result: dict[str, Any],
    chain: Chain | None,
) -> None:
    """Write the bundle: the trained model and what a stranger must know to use it."""
    from hypercover.classifiers.bundle import save_bundle

    scene, spec = setting.scene, setting.experiment.models[name]
    card = {
        "name": name,
        "description": result["description"],
        "experiment": setting.experiment.name,
        "trained_on": scene.name,
        **scene.origin,
        "bands": scene.bands.tolist(),
        "wavelengths": None if scene.wavelengths is None else scene.wavelengths.tolist(),
        "fwhm": None if scene.fwhm is None else scene.fwhm.tolist(),
        "band_names": None if scene.band_names is None else list(scene.band_names),
        "legend": scene.legend.to_json(),
        "window": spec.window,
        "features": None if chain is None else chain.text,
        "preprocessing": "scaling learnt from the training pixels alone and kept with the "
        "weights; pixels without data are zero; windows repeat the edge pixels of the scene",
        "split": setting.experiment.split.kind,
        "overall_accuracy": result["overall_accuracy"],
        "temperature": result.get("calibration", {}).get("temperature"),
    }
    learnt = None if chain is None else chain.state()
    save_bundle(setting.folder.model(name), classifier, card, features=learnt)


def draw_map(
    folder: Path, *, model: str, only_best: bool = False, report: Report = _silent
) -> dict[str, Any]:
    """Predict the whole scene with a kept model, and write and draw its maps.

    With ``only_best``, a model that another beats on validation pixels is
    passed over, and a map it had from an earlier run is removed.
    """
    if only_best and result_of(folder, "reduce")["best"] != model:
        for stale in RunFolder(Path(folder)).map_files(model):
            stale.unlink(missing_ok=True)
        return {"map": None}
    from hypercover.classifiers.bundle import load_bundle
    from hypercover.maps.layers import gives_probabilities
    from hypercover.maps.predict import predict_scene
    from hypercover.maps.view_model import ModelView, Ranking

    setting = Setting.of(folder)
    device = setting.experiment.device
    bundle = load_bundle(setting.folder.model(model), device=device)
    ranking = Ranking.of(setting.scene.shape, bundle.classifier)
    found = predict_scene(
        bundle.classifier,
        scene_for_model(setting, setting.experiment.models[model]),
        ranking=ranking,
        temperature=bundle.temperature,
        progress=lambda done, total: report(done / total, "predicting the scene"),
    )
    _show(setting, model, found)
    view = ModelView.of(
        found.labels,
        found.confidence,
        ranking,
        calibrated=gives_probabilities(bundle.classifier),
    )
    view.save(setting.folder.view(model))
    return {"map": str(setting.folder.map(model).relative_to(setting.folder.path))}


def _show(setting: Setting, model: str, found: "Prediction") -> None:
    """Write and draw class map, confidence and class check of a prediction."""
    from hypercover.maps import draw, export, stac

    scene, run = setting.scene, setting.folder
    parts = setting.load_split("main", setting.experiment.seed)
    said = mark(scene.origin)
    title = f"{model} ({said})" if said else model
    export.write_class_map(
        run.map(model), found.labels, scene.legend, scene.grid, **scene.origin
    )
    stac.write_item_beside(
        run.map(model),
        scene.header,
        legend=scene.legend,
        grid=scene.grid,
        origin=scene.origin,
    )
    _write_clean(setting, model, found)
    draw.save(draw.draw_map(found.labels, scene.legend, title), run.figure(f"map-{model}"))
    if found.confidence is not None:
        export.write_confidence(
            run.map(model, "confidence"), found.confidence, scene.grid, **scene.origin
        )
        draw.save(
            draw.draw_confidence(found.confidence, title), run.figure(f"confidence-{model}")
        )
    labels = scene.usable_labels
    export.write_class_check(
        run.map(model, "check"), labels, found.labels, parts, scene.grid, **scene.origin
    )
    draw.save(
        draw.draw_check(labels, found.labels, parts, title), run.figure(f"check-{model}")
    )


def _write_clean(setting: Setting, model: str, found: "Prediction") -> None:
    """Write the class map cleaned of specks beside it, where the experiment asks for it."""
    from hypercover.maps.clean import Cleaning
    from hypercover.maps.export import write_class_map
    from hypercover.maps.style import sidecars_of

    scene, asked = setting.scene, setting.experiment.clean
    cleaning, path = (
        Cleaning(asked.majority, asked.sieve),
        setting.folder.map(model, "clean"),
    )
    if cleaning:
        cleaned = cleaning.apply(found.labels)
        write_class_map(path, cleaned, scene.legend, scene.grid, **scene.origin)
        return
    for stale in (path, *sidecars_of(path)):
        stale.unlink(missing_ok=True)
