"""Checks of an experiment before a run: errors are raised before anything is written."""

from hypercover.errors import CallError, ExperimentError, SceneError, SplitError, counted
from hypercover.experiment.config.builders import build_classifier, build_split, load_scene
from hypercover.experiment.config.schema import CNNSpec, Experiment, ModelSpec, SVMSpec
from hypercover.experiment.search.search_problem import folds_for, preferred_folds
from hypercover.experiment.tasks.network_training import check_tensorboard
from hypercover.experiment.tasks.rank import check_gpus
from hypercover.experiment.tasks.run_context import parse_chain
from hypercover.experiment.window_export import check_side, match_windows
from hypercover.features.feature import check_stack_memory
from hypercover.scene.samples import check_window
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile


def check_experiment(experiment: Experiment) -> None:
    """Raise the errors that a run would meet in its scene, splits or models.

    They must not appear after an hour of training, nor after the results of an earlier run
    were removed.

    Raises
    ------
    CallError
        About the first error.
    """
    _check_features(experiment)
    scene, models = load_scene(experiment.scene), experiment.models.values()
    for model in models:
        check_window(model.window, scene.shape)
    for model in models:
        _check_model(model, scene, experiment)
    for name, spec in experiment.splits.items():
        split = _try_split(experiment, name, scene)
        _check_validation(experiment, name, split)
        for model in models:
            if isinstance(model, CNNSpec):
                _check_windows(model, scene, split)
                _check_batches(model, experiment, split.count("train"))
        if any(isinstance(model, SVMSpec) and model.searched for model in models):
            # Training pixels that the search inside the run cannot fold.
            by = preferred_folds(spec.kind, experiment.search.by)
            samples = split.samples("train", scene.usable_labels)
            folds_for(experiment.search, by, samples, scene=scene, seed=experiment.seed)


def check_models(experiment: Experiment) -> None:
    """Raise the errors that a run would meet on any scene: features, models, device.

    It comes before a scene is simulated, which takes minutes.

    Raises
    ------
    CallError
        About the first error.
    """
    _check_features(experiment)
    for model in experiment.models.values():
        build_classifier(model, seed=0, device=experiment.device)
        if isinstance(model, CNNSpec):
            _check_recipe(model, experiment)


def _check_features(experiment: Experiment) -> None:
    """Refuse chains that are none, and TensorBoard where it is not installed."""
    if experiment.tensorboard:
        check_tensorboard()
    for name in experiment.features:
        parse_chain(experiment, name)


def drop_unusable_parts(experiment: Experiment) -> Experiment:
    """Drop the parts of an experiment that its scene does not allow; notes name each.

    Dropped are the removal of water-absorption bands if wavelengths are unknown, models that
    cannot be built for the bands, and additional splits that the labels do not allow.

    Raises
    ------
    CallError
        If the scene cannot be read, or no model is left.
    """
    notes = list(experiment.notes)
    try:
        scene = load_scene(experiment.scene)
    except SceneError:
        water = experiment.scene.drop_bands == "water-absorption"
        whole = experiment.scene.model_copy(update={"drop_bands": None})
        scene = load_scene(whole)
        if not water or scene.wavelengths is not None:
            raise
        notes.append(
            f"{scene.name} carries no wavelengths, so its water-absorption bands are not "
            f"known and {experiment.name} uses all {counted(scene.n_bands, 'band')}."
        )
        experiment = experiment.model_copy(update={"scene": whole})
    experiment = _drop_models(experiment, scene, notes)
    experiment = _drop_splits(experiment, scene, notes)
    return experiment.model_copy(update={"notes": notes})


def _drop_models(experiment: Experiment, scene: Scene, notes: list[str]) -> Experiment:
    """Drop models that cannot be built for a scene; raise if none is left."""
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


def _drop_splits(experiment: Experiment, scene: Scene, notes: list[str]) -> Experiment:
    """Drop additional splits that a scene does not allow."""
    beside = {}
    for name, spec in experiment.beside.items():
        try:
            build_split(spec, scene, seed=experiment.seed, window=experiment.window)
            beside[name] = spec
        except SplitError as error:
            notes.append(f"The split {name} is left out on this scene: {error}")
    return experiment.model_copy(update={"beside": beside})


def _try_split(experiment: Experiment, name: str, scene: Scene) -> Split:
    """Make a split as the run would; an error names the split."""
    spec = experiment.splits[name]
    try:
        return build_split(spec, scene, seed=experiment.seed, window=experiment.window)
    except SplitError as error:
        if name == "main":
            raise
        raise SplitError(f"Of the split '{name}': {error}") from error


def _check_validation(experiment: Experiment, name: str, split: Split) -> None:
    """Refuse ``map: best`` and early stopping without validation pixels."""
    if split.count("validation"):
        return
    if name == "main" and experiment.map == "best":
        raise ExperimentError(
            "map: best chooses by validation pixels, and the split has none; set "
            "split.validation to a share above 0."
        )
    for key, model in experiment.models.items():
        if isinstance(model, CNNSpec) and (model.recipe or {}).get("patience"):
            raise ExperimentError(
                f"The model '{key}' is to stop early (recipe.patience), which needs "
                f"validation pixels, and its {split.kind} split has none; set validation to "
                "a share above 0 or leave patience out."
            )


def _check_batches(
    model: CNNSpec, experiment: Experiment, windows: int | None = None
) -> None:
    """Refuse batches, or training windows, that are too few for the processes."""
    from hypercover.classifiers.cnn.process_group import ProcessGroup
    from hypercover.classifiers.networks.network_catalog import get_network

    batch = build_classifier(model, seed=0).training_recipe().batch_size
    least = get_network(model.network).minimum_batch
    ProcessGroup(world_size=experiment.processes).check_batch_size(batch, windows, least)


def _check_windows(model: CNNSpec, scene: Scene, split: Split) -> None:
    """Refuse a window file without the training pixels, or of another scene."""
    if model.windows is None:
        return
    file = WindowFile(model.windows)
    check_side(file, model.window)
    # Windows of image features are compared later, once these are computed.
    for part in ("train", "validation") if model.features is None else ():
        samples = split.samples(part, scene.usable_labels)
        match_windows(file, scene, samples, model.window)


def _check_model(model: ModelSpec, scene: Scene, experiment: Experiment) -> None:
    """Refuse names, parameters and sizes that training would refuse."""
    build_classifier(model, seed=0, device=experiment.device)
    bands = scene.n_bands
    if model.features is not None:
        chain = parse_chain(experiment, model.features)
        bands = chain.outputs(scene.n_bands)
        # Other features are read from their file when they are needed.
        if chain.reach is None or isinstance(model, CNNSpec):
            check_stack_memory(scene, bands)
    if isinstance(model, SVMSpec) and model.nwfe is not None and model.nwfe > bands:
        raise ExperimentError(
            f"NWFE cannot make {model.nwfe} features from {counted(bands, 'band')}; use at "
            f"most {bands}."
        )
    if isinstance(model, CNNSpec):
        from hypercover.classifiers.networks.network_catalog import build

        _check_recipe(model, experiment)
        classes = len(scene.legend)
        build(model.network, bands=bands, classes=classes, window=model.window)


def _check_recipe(model: CNNSpec, experiment: Experiment) -> None:
    """Refuse an impossible recipe, precision, device, compiler or number of processes."""
    from hypercover.classifiers.cnn.acceleration import check_compiler, use_precision
    from hypercover.classifiers.cnn.inference import resolve_device

    device = resolve_device(experiment.device)
    if device.type == "cuda" and experiment.processes > 1:
        check_gpus(experiment.processes)
    if model.compile:
        check_compiler(device)
    with use_precision(model.precision or "float32", device):
        _check_batches(model, experiment)
