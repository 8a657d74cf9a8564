"""Looking before leaping: what would stop a run is found before anything is written."""

from hypercover.experiment.schema import CNNSpec, Experiment, ModelSpec
from hypercover.experiment.stages import classifier_for, scene_for, split_for
from hypercover.samples.windows import check_window
from hypercover.scene.scene import Scene

__all__ = ["check_experiment"]


def check_experiment(experiment: Experiment) -> None:
    """Raise what an experiment would fail of in its scene, its splits or its models.

    Why it exists: an hour of training is no place to learn that the second
    model has no name, and a run that cannot be must not replace one that was.

    Raises
    ------
    CallError
        About the first thing that is wrong.
    """
    scene = scene_for(experiment.scene)
    for model in experiment.models.values():
        check_window(model.window, scene.shape)
    for model in experiment.models.values():
        _check_model(model, scene, experiment.device)
    for spec in experiment.splits.values():
        split_for(spec, scene, seed=experiment.seed, window=experiment.window)


def _check_model(model: ModelSpec, scene: Scene, device: str) -> None:
    """Refuse names, parameters, sizes and devices that training would refuse."""
    classifier_for(model, seed=0, device=device)
    if not isinstance(model, CNNSpec):
        return
    from hypercover.classifiers.dense import device_of
    from hypercover.classifiers.networks.catalog import build

    device_of(device)
    build(
        model.network,
        bands=scene.n_bands,
        classes=len(scene.legend),
        window=model.window,
    )
