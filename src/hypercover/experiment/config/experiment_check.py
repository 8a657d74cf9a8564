"""Looking before leaping: what would stop a run is found before anything is written."""

from hypercover.errors import CallError, ExperimentError, SceneError, SplitError, counted
from hypercover.experiment.config.builders import (
    build_classifier,
    build_split,
    load_scene,
)
from hypercover.experiment.config.schema import (
    CNNSpec,
    Experiment,
    ModelSpec,
    SplitSpec,
    SVMSpec,
)
from hypercover.experiment.search.search_problem import folds_for, preferred_folds
from hypercover.experiment.tasks.feature_tasks import parse_chain
from hypercover.experiment.tasks.network_training import check_tensorboard
from hypercover.experiment.tasks.torchrun import check_gpus
from hypercover.experiment.window_export import check_side, match_windows
from hypercover.features.feature import check_stack_memory
from hypercover.scene.samples import check_window
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile

__all__ = ["check_experiment", "check_models", "drop_unusable_parts"]


def check_experiment(experiment: Experiment) -> None:
    """Raise what an experiment would fail of in its scene, its splits or its models.

    Why it exists: an hour of training is no place to learn that the second
    model has no name, and a run that cannot be must not replace one that was.

    Raises
    ------
    CallError
        About the first thing that is wrong.
    """
    if experiment.tensorboard:
        check_tensorboard()
    scene = load_scene(experiment.scene)
    for name in experiment.features:
        parse_chain(experiment, name)
    for model in experiment.models.values():
        check_window(model.window, scene.shape)
    for model in experiment.models.values():
        _check_model(model, scene, experiment)
    for name, spec in experiment.splits.items():
        made = _made(experiment, name, scene)
        if name == "main":
            _check_best(experiment, made)
        _check_patience(experiment, made)
        for model in experiment.models.values():
            _check_windows(model, scene, made)
            _check_shares(model, experiment, made.count("train"))
        if any(_is_searched(model) for model in experiment.models.values()):
            _check_folds(experiment, spec, made, scene)


def check_models(experiment: Experiment) -> None:
    """Raise what an experiment would fail of on any scene: features, models, device.

    Why it exists: a scene that is simulated for the experiment takes minutes, and
    a mistyped name is not worth them.

    Raises
    ------
    CallError
        About the first thing that is wrong.
    """
    if experiment.tensorboard:
        check_tensorboard()
    for name in experiment.features:
        parse_chain(experiment, name)
    for model in experiment.models.values():
        build_classifier(model, seed=0, device=experiment.device)
        if isinstance(model, CNNSpec):
            _check_recipe(model, experiment)


def drop_unusable_parts(experiment: Experiment) -> Experiment:
    """Return an experiment less what cannot be done on its scene, each named in its notes.

    Dropped are the choice of water-absorption bands where no wavelength is known, models
    that cannot be built for the bands, and splits beside the main one that the labels do
    not allow.

    Raises
    ------
    CallError
        If the scene cannot be read, or no model is left.
    """
    notes = list(experiment.notes)
    try:
        scene = load_scene(experiment.scene)
    except SceneError:
        whole = experiment.scene.model_copy(update={"drop_bands": None})
        scene = load_scene(whole)
        if (
            experiment.scene.drop_bands != "water-absorption"
            or scene.wavelengths is not None
        ):
            raise
        notes.append(
            f"{scene.name} carries no wavelengths, so its water-absorption bands are not "
            f"known and {experiment.name} uses all {counted(scene.n_bands, 'band')}."
        )
        experiment = experiment.model_copy(update={"scene": whole})
    experiment = _fitting_models(experiment, scene, notes)
    experiment = _fitting_splits(experiment, scene, notes)
    return experiment.model_copy(update={"notes": notes})


def _fitting_models(experiment: Experiment, scene: Scene, notes: list[str]) -> Experiment:
    """Leave out models that cannot be built for a scene; raise where none can."""
    fitting, refused = {}, CallError("")
    for name, model in experiment.models.items():
        try:
            check_window(model.window, scene.shape)
            _check_model(model, scene, experiment)
            fitting[name] = model
        except CallError as error:
            refused = error
            notes.append(f"The model {name} is left out on this scene: {error}")
    if not fitting:
        raise refused
    used = {model.features for model in fitting.values()}
    chains = {name: chain for name, chain in experiment.features.items() if name in used}
    return experiment.model_copy(update={"models": fitting, "features": chains})


def _fitting_splits(experiment: Experiment, scene: Scene, notes: list[str]) -> Experiment:
    """Leave out splits beside the main one that a scene does not allow."""
    beside = {}
    for name, spec in experiment.beside.items():
        try:
            build_split(spec, scene, seed=experiment.seed, window=experiment.window)
            beside[name] = spec
        except SplitError as error:
            notes.append(f"The split {name} is left out on this scene: {error}")
    return experiment.model_copy(update={"beside": beside})


def _made(experiment: Experiment, name: str, scene: Scene) -> Split:
    """Make a split as the run would, and say of which one it is that there is none."""
    spec = experiment.splits[name]
    try:
        return build_split(spec, scene, seed=experiment.seed, window=experiment.window)
    except SplitError as error:
        if name == "main":
            raise
        raise SplitError(f"Of the split '{name}': {error}") from error


def _check_best(experiment: Experiment, split: Split) -> None:
    """Refuse to choose the best model by validation pixels where there are none."""
    if experiment.map == "best" and not split.count("validation"):
        raise ExperimentError(
            "map: best chooses by validation pixels, and the split has none; set "
            "split.validation to a share above 0."
        )


def _check_patience(experiment: Experiment, split: Split) -> None:
    """Refuse to stop early by validation pixels where there are none."""
    for name, model in experiment.models.items():
        patient = isinstance(model, CNNSpec) and (model.recipe or {}).get("patience")
        if patient and not split.count("validation"):
            raise ExperimentError(
                f"The model '{name}' is to stop early (recipe.patience), which needs "
                f"validation pixels, and its {split.kind} split has none; set validation to "
                "a share above 0 or leave patience out."
            )


def _check_shares(
    model: ModelSpec, experiment: Experiment, windows: int | None = None
) -> None:
    """Refuse batches, or all training windows, of which a process would get too few."""
    if not isinstance(model, CNNSpec):
        return
    from hypercover.classifiers.cnn.process_group import ProcessGroup
    from hypercover.classifiers.networks.network_catalog import get_network

    batch = build_classifier(model, seed=0).training_recipe().batch_size
    least = get_network(model.network).minimum_batch
    ProcessGroup(size=experiment.processes).check(batch, windows, least)


def _check_windows(model: ModelSpec, scene: Scene, split: Split) -> None:
    """Refuse a window file that lacks pixels to learn from or is of another scene."""
    if not isinstance(model, CNNSpec) or model.windows is None:
        return
    found = WindowFile(model.windows)
    check_side(found, model.window)
    # Image features are not computed yet, so windows of them are compared later.
    if model.features is None:
        for part in ("train", "validation"):
            match_windows(
                found, scene, split.samples(part, scene.usable_labels), model.window
            )


def _is_searched(model: ModelSpec) -> bool:
    return isinstance(model, SVMSpec) and model.searched


def _check_folds(
    experiment: Experiment, spec: SplitSpec, split: Split, scene: Scene
) -> None:
    """Refuse training pixels that cannot be folded as a search inside the run would."""
    by = preferred_folds(spec.kind, experiment.search.by)
    samples = split.samples("train", scene.usable_labels)
    folds_for(experiment.search, by, samples, scene=scene, seed=experiment.seed)


def _check_model(model: ModelSpec, scene: Scene, experiment: Experiment) -> None:
    """Refuse names, parameters and sizes that training would refuse."""
    build_classifier(model, seed=0, device=experiment.device)
    bands = _bands_seen(model, scene, experiment)
    if isinstance(model, SVMSpec):
        _check_nwfe(model, bands)
    if isinstance(model, CNNSpec):
        _check_recipe(model, experiment)
        _check_network(model, bands=bands, classes=len(scene.legend))


def _check_recipe(model: CNNSpec, experiment: Experiment) -> None:
    """Refuse a recipe, a precision, a device, a compiler or processes that cannot be."""
    from hypercover.classifiers.cnn.acceleration import check_compiler, use_precision
    from hypercover.classifiers.cnn.inference import resolve_device

    device = resolve_device(experiment.device)
    if device.type == "cuda" and experiment.processes > 1:
        check_gpus(experiment.processes)
    if model.compile:
        check_compiler(device)
    with use_precision(model.precision or "float32", device):
        _check_shares(model, experiment)


def _check_network(model: CNNSpec, *, bands: int, classes: int) -> None:
    """Refuse a network that cannot be built for a scene."""
    from hypercover.classifiers.networks.network_catalog import build

    build(model.network, bands=bands, classes=classes, window=model.window)


def _bands_seen(model: ModelSpec, scene: Scene, experiment: Experiment) -> int:
    """Return how many bands or features a model sees at most.

    Raises
    ------
    SceneError
        If so many features of the scene do not fit in memory.
    """
    if model.features is None:
        return scene.n_bands
    chain = parse_chain(experiment, model.features)
    count = chain.outputs(scene.n_bands)
    # Other features are read from their file where they are needed.
    if chain.reach is None or isinstance(model, CNNSpec):
        check_stack_memory(scene, count)
    return count


def _check_nwfe(model: SVMSpec, bands: int) -> None:
    """Refuse more features of NWFE than it is given bands."""
    if model.nwfe is not None and model.nwfe > bands:
        raise ExperimentError(
            f"NWFE was asked for {model.nwfe} features of {counted(bands, 'band')}; ask for at most "
            f"{bands}."
        )
